//! The forward pass over a few texts.

use rayon::prelude::*;

use super::attention::{Attention, HeadSize, Source, Span, scatter};
use super::engine::{Engine, PackedLayer, Text, Wanted};
use super::packing::Packed;
use super::panels::Panels;
use super::rowwise::apply;

/// Activations of one chunk.
#[derive(Default)]
pub(super) struct Memory {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    attention: Attention,
}

/// Texts whose tokens stand one after the other.
pub(super) struct Chunk<'a> {
    pub engine: &'a Engine,
    pub texts: &'a [Text<'a>],
    pub memory: &'a mut Memory,
    /// In how many parts each product is divided.
    pub parts: usize,
}

impl Chunk<'_> {
    /// The last layer's vectors of the wanted tokens, in panels.
    pub fn forward(&mut self, wanted: Wanted) -> (Vec<f32>, Panels) {
        let engine = self.engine;
        let (mut hidden, mut panels) = self.embed();
        let last = engine.layers.len().saturating_sub(1);
        if engine.layers.is_empty() && wanted == Wanted::First {
            return self.firsts(&hidden, panels);
        }
        for (n, layer) in engine.layers.iter().enumerate() {
            let wanted = if n == last { wanted } else { Wanted::All };
            (hidden, panels) = self.layer(layer, hidden, panels, wanted);
        }
        (hidden, panels)
    }

    /// Each text's tokens.
    fn spans(&self) -> impl Iterator<Item = Span> + use<'_> {
        self.texts.iter().scan(0, |next, text| {
            let (first, count) = (*next, text.words.len());
            *next += count;
            Some(Span { first, count })
        })
    }

    /// LayerNorm(word + position + segment), brought to the layers' width.
    fn embed(&self) -> (Vec<f32>, Panels) {
        let Engine { embeddings, projection, instructions, .. } = self.engine;
        let features = embeddings.norm.gamma.len();
        let tokens = self.texts.iter().map(|text| text.words.len()).sum();
        let panels = Panels::new(tokens, *instructions);
        let mut values = vec![0.0; panels.floats(features)];
        let row = |n: usize| n * features..(n + 1) * features;
        for (text, span) in self.texts.iter().zip(self.spans()) {
            for piece in panels.pieces(span.first, span.count) {
                for token in 0..piece.count {
                    let position = piece.place + token;
                    let word = &embeddings.word.values[row(text.words[position] as usize)];
                    let place = row(text.positions[position] as usize);
                    let place = &embeddings.position.values[place];
                    let segment = row(usize::from(text.segments[position]));
                    let segment = &embeddings.segment.values[segment];
                    let sums = word.iter().zip(place).zip(segment).enumerate();
                    for (feature, ((w, p), s)) in sums {
                        values[piece.range(feature, features).start + token] = *w + *p + *s;
                    }
                }
            }
        }
        for n in 0..panels.count() {
            let panel = panels.panel_mut(&mut values, n, features);
            embeddings.norm.apply(*instructions, panel);
        }
        if let Some(projection) = projection {
            let mut projected = Vec::new();
            self.linear(projection, &values, panels, &mut projected);
            values = projected;
        }
        (values, panels)
    }

    /// The vectors of each text's first token.
    fn firsts(&self, hidden: &[f32], panels: Panels) -> (Vec<f32>, Panels) {
        let features = self.engine.hidden;
        let firsts = Panels::new(self.texts.len(), self.engine.instructions);
        let mut values = vec![0.0; firsts.floats(features)];
        for (n, span) in self.spans().enumerate() {
            let from = panels.pieces(span.first, span.count.min(1));
            for (from, to) in from.zip(firsts.pieces(n, 1)) {
                for feature in 0..features {
                    let value = hidden[from.range(feature, features).start];
                    values[to.range(feature, features).start] = value;
                }
            }
        }
        (values, firsts)
    }

    /// One layer's vectors of the wanted tokens.
    fn layer(
        &mut self,
        layer: &PackedLayer,
        hidden: Vec<f32>,
        panels: Panels,
        wanted: Wanted,
    ) -> (Vec<f32>, Panels) {
        let (engine, instructions) = (self.engine, self.engine.instructions);
        let features = engine.hidden;
        let (asking, asked) = match wanted {
            Wanted::All => (None, panels),
            Wanted::First => {
                let (values, firsts) = self.firsts(&hidden, panels);
                (Some(values), firsts)
            }
        };
        let mut memory = std::mem::take(self.memory);
        let queries = asking.as_deref().unwrap_or(&hidden);
        self.linear(&layer.query, queries, asked, &mut memory.query);
        self.linear(&layer.key, &hidden, panels, &mut memory.key);
        self.linear(&layer.value, &hidden, panels, &mut memory.value);
        self.attend(layer, panels, asked, wanted, &mut memory);
        let mut values = asking.unwrap_or(hidden);
        let (contexts, neurons) = (layer.output.inputs(), layer.intermediate.outputs());
        for n in 0..asked.count() {
            let width = asked.width(n);
            let panel = asked.panel_mut(&mut values, n, features);
            let context = asked.panel(&memory.context, n, contexts);
            self.multiply(&layer.output, context, width, panel, true, |_| ());
            layer.attention_norm.apply(instructions, panel);
            memory.inner.resize(neurons * width, 0.0);
            let activate = |values: &mut [f32]| apply(layer.activation, instructions, values);
            self.multiply(&layer.intermediate, panel, width, &mut memory.inner, false, activate);
            self.multiply(&layer.feed_forward, &memory.inner, width, panel, true, |_| ());
            layer.norm.apply(instructions, panel);
        }
        *self.memory = memory;
        (values, asked)
    }

    /// Every text's attention, head by head, into `memory.context`.
    fn attend(
        &self,
        layer: &PackedLayer,
        panels: Panels,
        asked: Panels,
        wanted: Wanted,
        memory: &mut Memory,
    ) {
        let (instructions, contexts) = (self.engine.instructions, layer.output.inputs());
        let Memory { query, key, value, context, attention, .. } = memory;
        context.resize(asked.floats(contexts), 0.0);
        let keys = layer.key.outputs();
        let source = |panels, values, features| Source { panels, values, features };
        let query = source(asked, query.as_slice(), keys);
        let key = source(panels, key.as_slice(), keys);
        let value = source(panels, value.as_slice(), contexts);
        let firsts = layer.heads.iter().scan(HeadSize { keys: 0, values: 0 }, |next, size| {
            let first = *next;
            next.keys += size.keys;
            next.values += size.values;
            Some((first, *size))
        });
        let heads: Vec<(HeadSize, HeadSize)> = firsts.collect();
        for (n, tokens) in self.spans().enumerate() {
            let queries = match wanted {
                Wanted::All => tokens,
                Wanted::First => Span { first: n, count: 1 },
            };
            let of = |attention: &mut Attention, (first, size): (HeadSize, HeadSize)| {
                let keys = (key, value, tokens);
                attention.head(instructions, (query, queries), keys, size, first, layer.scale);
            };
            let pieces = || asked.pieces(queries.first, queries.count);
            if self.parts == 1 {
                for head in &heads {
                    of(attention, *head);
                    scatter(pieces(), attention.context(), context, head.0.values, contexts);
                }
                continue;
            }
            let each = heads.par_iter().map(|head| {
                let mut attention = Attention::default();
                of(&mut attention, *head);
                attention
            });
            for (head, attention) in heads.iter().zip(each.collect::<Vec<_>>()) {
                scatter(pieces(), attention.context(), context, head.0.values, contexts);
            }
        }
    }

    /// weight x + bias for all panels of `x`, into `y`.
    fn linear(&self, layer: &Packed, x: &[f32], panels: Panels, y: &mut Vec<f32>) {
        y.resize(panels.floats(layer.outputs()), 0.0);
        for n in 0..panels.count() {
            let x = panels.panel(x, n, layer.inputs());
            let width = panels.width(n);
            let y = panels.panel_mut(y, n, layer.outputs());
            self.multiply(layer, x, width, y, false, |_| ());
        }
    }

    /// One product with one panel, and what is done to its result, in as many parts as there are
    /// threads for.
    pub fn multiply(
        &self,
        layer: &Packed,
        x: &[f32],
        width: usize,
        y: &mut [f32],
        add: bool,
        after: impl Fn(&mut [f32]) + Sync,
    ) {
        let instructions = self.engine.instructions;
        layer.multiply_in_parts((instructions, self.parts), x, width, y, add, after);
    }
}

/// From panels to a row for each token.
pub(super) fn by_token(panels: Panels, values: &[f32], features: usize) -> Vec<f32> {
    let mut rows = vec![0.0; panels.tokens() * features];
    for piece in panels.pieces(0, panels.tokens()) {
        for feature in 0..features {
            for (n, value) in values[piece.range(feature, features)].iter().enumerate() {
                rows[(piece.place + n) * features + feature] = *value;
            }
        }
    }
    rows
}
