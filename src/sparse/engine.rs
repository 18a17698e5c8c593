//! A classifier of packed weights.

use rayon::prelude::*;

use super::attention::{Attention, HeadSize, Source, Span, scatter};
use super::choice::Chooser;
use super::packing::{Packed, STRIPE};
use super::panels::Panels;
use super::rowwise::{Norm, apply_gelu};
use super::shrink::{Shrunk, shrink};
use super::vector::Instructions;
use super::weights::{Embeddings, Head, Layer, Linear};

/// Tokens that one thread computes at a time: their activations fit its second-level cache, and the
/// weights that pass by are used by several panels.
const CHUNK: usize = 128;

/// One text as the engine reads it: three lists of one length, in tokens.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Places in the vocabulary.
    pub words: &'a [u32],
    /// Places in the text.
    pub positions: &'a [u32],
    /// Token types.
    pub segments: &'a [u8],
}

/// Which tokens' vectors are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Each text's first.
    First,
    /// All.
    All,
}

/// An encoder, and a head if there is one.
#[derive(Debug)]
pub struct Engine {
    instructions: Instructions,
    embeddings: Embeddings,
    hidden: usize,
    layers: Vec<PackedLayer>,
    head: Option<(Packed, Packed)>,
    shrunk: Vec<Shrunk>,
}

#[derive(Debug)]
struct PackedLayer {
    heads: Vec<HeadSize>,
    scale: f32,
    query: Packed,
    key: Packed,
    value: Packed,
    output: Packed,
    attention_norm: Norm,
    intermediate: Packed,
    feed_forward: Packed,
    norm: Norm,
}

/// Packs weights layer by layer, so that no more than one layer is in memory twice.
#[derive(Debug)]
pub struct Builder {
    chooser: Chooser,
    engine: Engine,
}

impl Builder {
    /// An engine that computes with these instructions.
    pub fn new(instructions: Instructions, embeddings: Embeddings) -> Self {
        let hidden = embeddings.norm.gamma.len();
        let (layers, shrunk) = (Vec::new(), Vec::new());
        let engine = Engine { instructions, embeddings, hidden, layers, head: None, shrunk };
        Self { chooser: Chooser::new(instructions), engine }
    }

    fn pack(&mut self, linear: Linear) -> Packed {
        self.chooser.pack(&linear.weight, linear.bias)
    }

    /// Adds the next layer, without what is superfluous in it.
    pub fn layer(&mut self, layer: Layer) {
        let (layer, shrunk) = shrink(layer);
        let packed = PackedLayer {
            heads: layer.heads,
            scale: layer.scale,
            query: self.pack(layer.query),
            key: self.pack(layer.key),
            value: self.pack(layer.value),
            output: self.pack(layer.output),
            attention_norm: layer.attention_norm,
            intermediate: self.pack(layer.intermediate),
            feed_forward: self.pack(layer.feed_forward),
            norm: layer.norm,
        };
        self.engine.layers.push(packed);
        self.engine.shrunk.push(shrunk);
    }

    /// The engine, with this head.
    pub fn finish(mut self, head: Option<Head>) -> Engine {
        self.engine.head = head.map(|head| (self.pack(head.dense), self.pack(head.output)));
        self.engine
    }
}

/// One packed matrix, for people.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// Number of the layer.
    pub layer: usize,
    /// Which of its matrices.
    pub name: &'static str,
    /// The matrix.
    pub matrix: &'a Packed,
}

impl Engine {
    /// The instructions that it computes with.
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// Width of a token's vector.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Outputs of the head; 0 without one.
    pub fn outputs(&self) -> usize {
        self.head.as_ref().map_or(0, |(_, output)| output.outputs())
    }

    /// What is left of each layer.
    pub fn shrunk(&self) -> &[Shrunk] {
        &self.shrunk
    }

    /// The matrices of all layers, as they are packed.
    pub fn choices(&self) -> impl Iterator<Item = Choice<'_>> {
        self.layers.iter().enumerate().flat_map(|(n, layer)| {
            layer.matrices().map(move |(name, matrix)| Choice { layer: n, name, matrix })
        })
    }

    /// The memory that the layers' weights take, in bytes.
    pub fn layer_bytes(&self) -> usize {
        let norm = |norm: &Norm| size_of_val(norm.gamma.as_slice()) * 2;
        let norms: usize =
            self.layers.iter().map(|layer| norm(&layer.attention_norm) + norm(&layer.norm)).sum();
        self.choices().map(|choice| choice.matrix.bytes()).sum::<usize>() + norms
    }

    /// The memory that embeddings and head take, in bytes.
    pub fn other_bytes(&self) -> usize {
        let Embeddings { word, position, segment, .. } = &self.embeddings;
        let tables = [word, position, segment].map(|table| size_of_val(table.values.as_slice()));
        let head = self.head.iter().map(|(dense, output)| dense.bytes() + output.bytes());
        tables.into_iter().chain(head).sum()
    }

    /// The answers to `texts` in their order, row by row: `[texts, outputs]`; nothing without a head.
    /// On all of rayon's threads; their number, and what other texts there are, makes no difference
    /// beyond rounding.
    pub fn logits(&self, texts: &[Text<'_>]) -> Vec<f32> {
        let Some((dense, output)) = &self.head else { return Vec::new() };
        let rows = self.each_chunk(texts, |chunk| {
            let (firsts, panels) = chunk.forward(Wanted::First);
            let mut pooled = vec![0.0; panels.floats(dense.outputs())];
            let mut logits = vec![0.0; panels.floats(output.outputs())];
            for n in 0..panels.count() {
                let width = panels.width(n);
                let x = panels.panel(&firsts, n, self.hidden);
                let y = panels.panel_mut(&mut pooled, n, dense.outputs());
                chunk.multiply(dense, x, width, y, false, |_| ());
                for value in y.iter_mut() {
                    *value = value.tanh();
                }
                let x = panels.panel(&pooled, n, dense.outputs());
                let y = panels.panel_mut(&mut logits, n, output.outputs());
                chunk.multiply(output, x, width, y, false, |_| ());
            }
            by_token(panels, &logits, output.outputs())
        });
        rows.concat()
    }

    /// The last layer's vectors of `texts` in their order, of their first or of all tokens:
    /// for each text `[tokens, hidden]`, row by row. Otherwise as [`logits`](Self::logits).
    pub fn vectors(&self, texts: &[Text<'_>], wanted: Wanted) -> Vec<f32> {
        let rows = self.each_chunk(texts, |chunk| {
            let (values, panels) = chunk.forward(wanted);
            by_token(panels, &values, self.hidden)
        });
        rows.concat()
    }

    fn each_chunk(
        &self,
        texts: &[Text<'_>],
        work: impl Fn(&mut Chunk<'_>) -> Vec<f32> + Sync,
    ) -> Vec<Vec<f32>> {
        let threads = rayon::current_num_threads();
        let tokens: usize = texts.iter().map(|text| text.words.len()).sum();
        let chunks = divide(texts, tokens.div_ceil(threads).clamp(1, CHUNK));
        // Where there are not enough texts for all threads, they share the work on each.
        let parts = threads.div_ceil(chunks.len().max(1));
        let run = |memory: &mut Memory, texts: &&[Text<'_>]| {
            work(&mut Chunk { engine: self, texts, memory, parts })
        };
        if parts > 1 {
            let mut memory = Memory::default();
            return chunks.iter().map(|texts| run(&mut memory, texts)).collect();
        }
        let chunks = chunks.par_iter().with_max_len(1);
        chunks.map_init(Memory::default, run).collect()
    }
}

impl PackedLayer {
    fn matrices(&self) -> impl Iterator<Item = (&'static str, &Packed)> {
        [
            ("query", &self.query),
            ("key", &self.key),
            ("value", &self.value),
            ("attention output", &self.output),
            ("intermediate", &self.intermediate),
            ("output", &self.feed_forward),
        ]
        .into_iter()
    }
}

/// Neighbouring texts of about `size` tokens each time.
fn divide<'a, 'b>(texts: &'a [Text<'b>], size: usize) -> Vec<&'a [Text<'b>]> {
    let (mut chunks, mut first, mut tokens) = (Vec::new(), 0, 0);
    for (n, text) in texts.iter().enumerate() {
        if tokens > 0 && tokens + text.words.len() > size {
            chunks.push(&texts[first..n]);
            (first, tokens) = (n, 0);
        }
        tokens += text.words.len();
    }
    if first < texts.len() {
        chunks.push(&texts[first..]);
    }
    chunks
}

/// From panels to a row for each token.
fn by_token(panels: Panels, values: &[f32], features: usize) -> Vec<f32> {
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

/// Activations of one chunk, kept for the next.
#[derive(Default)]
struct Memory {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    attention: Attention,
}

/// Texts whose tokens stand one after the other.
struct Chunk<'a> {
    engine: &'a Engine,
    texts: &'a [Text<'a>],
    memory: &'a mut Memory,
    /// In how many parts each product is divided.
    parts: usize,
}

impl Chunk<'_> {
    /// The last layer's vectors of the wanted tokens, in panels.
    fn forward(&mut self, wanted: Wanted) -> (Vec<f32>, Panels) {
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

    /// LayerNorm(word + position + segment).
    fn embed(&self) -> (Vec<f32>, Panels) {
        let Engine { embeddings, hidden, instructions, .. } = self.engine;
        let tokens = self.texts.iter().map(|text| text.words.len()).sum();
        let panels = Panels::new(tokens, *instructions);
        let mut values = vec![0.0; panels.floats(*hidden)];
        let row = |n: usize| n * hidden..(n + 1) * hidden;
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
                        values[piece.range(feature, *hidden).start + token] = *w + *p + *s;
                    }
                }
            }
        }
        for n in 0..panels.count() {
            let panel = panels.panel_mut(&mut values, n, *hidden);
            embeddings.norm.apply(*instructions, panel);
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
        let (mut asking, asked) = match wanted {
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
        let mut values = asking.take().unwrap_or(hidden);
        let (contexts, neurons) = (layer.output.inputs(), layer.intermediate.outputs());
        for n in 0..asked.count() {
            let width = asked.width(n);
            let panel = asked.panel_mut(&mut values, n, features);
            let context = asked.panel(&memory.context, n, contexts);
            self.multiply(&layer.output, context, width, panel, true, |_| ());
            layer.attention_norm.apply(instructions, panel);
            memory.inner.resize(neurons * width, 0.0);
            let gelu = |values: &mut [f32]| apply_gelu(instructions, values);
            self.multiply(&layer.intermediate, panel, width, &mut memory.inner, false, gelu);
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
    fn multiply(
        &self,
        layer: &Packed,
        x: &[f32],
        width: usize,
        y: &mut [f32],
        add: bool,
        after: impl Fn(&mut [f32]) + Sync,
    ) {
        let instructions = self.engine.instructions;
        let run = |rows: std::ops::Range<usize>, y: &mut [f32]| {
            layer.multiply(instructions, rows, x, width, y, add);
            after(y);
        };
        if self.parts == 1 || layer.outputs() <= STRIPE {
            return run(0..layer.outputs(), y);
        }
        let mut rest = y;
        let mut parts = Vec::with_capacity(self.parts);
        for rows in layer.divide(self.parts) {
            let (part, others) = rest.split_at_mut(rows.len() * width);
            parts.push((rows, part));
            rest = others;
        }
        parts.into_par_iter().with_max_len(1).for_each(|(rows, y)| run(rows, y));
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
