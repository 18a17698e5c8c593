//! A classifier of packed weights.

use rayon::prelude::*;

use super::attention::HeadSize;
use super::choice::Chooser;
use super::chunk::{Chunk, Memory, by_token};
use super::packing::Packed;
use super::rowwise::{Norm, apply};
use super::shrink::{Shrunk, shrink};
use super::vector::Instructions;
use super::weights::{Embeddings, Head, Layer, Linear};
use crate::activation::Activation;

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
    pub(super) instructions: Instructions,
    pub(super) embeddings: Embeddings,
    pub(super) projection: Option<Packed>,
    pub(super) hidden: usize,
    pub(super) layers: Vec<PackedLayer>,
    head: Option<PackedHead>,
    shrunk: Vec<Shrunk>,
}

#[derive(Debug)]
pub(super) struct PackedLayer {
    pub heads: Vec<HeadSize>,
    pub scale: f32,
    pub query: Packed,
    pub key: Packed,
    pub value: Packed,
    pub output: Packed,
    pub attention_norm: Norm,
    pub intermediate: Packed,
    pub activation: Activation,
    pub feed_forward: Packed,
    pub norm: Norm,
}

#[derive(Debug)]
struct PackedHead {
    dense: Packed,
    activation: Activation,
    output: Packed,
}

/// Packs weights layer by layer, so that no more than one layer is in memory twice.
#[derive(Debug)]
pub struct Builder {
    chooser: Chooser,
    engine: Engine,
}

impl Builder {
    /// An engine that computes with these instructions.
    pub fn new(instructions: Instructions, mut embeddings: Embeddings) -> Self {
        let mut chooser = Chooser::new(instructions);
        let projection = embeddings.projection.take();
        let projection = projection.map(|linear| chooser.pack(&linear.weight, linear.bias));
        let width = embeddings.norm.gamma.len();
        let engine = Engine {
            instructions,
            embeddings,
            hidden: projection.as_ref().map_or(width, Packed::outputs),
            projection,
            layers: Vec::new(),
            head: None,
            shrunk: Vec::new(),
        };
        Self { chooser, engine }
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
            activation: layer.activation,
            feed_forward: self.pack(layer.feed_forward),
            norm: layer.norm,
        };
        self.engine.layers.push(packed);
        self.engine.shrunk.push(shrunk);
    }

    /// The engine, with this head.
    pub fn finish(mut self, head: Option<Head>) -> Engine {
        self.engine.head = head.map(|head| PackedHead {
            dense: self.pack(head.dense),
            activation: head.activation,
            output: self.pack(head.output),
        });
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
        let head = self.head.iter().flat_map(|head| [&head.dense, &head.output]);
        let packed = self.projection.iter().chain(head).map(Packed::bytes);
        tables.into_iter().chain(packed).sum()
    }

    /// The answers to `texts` in their order, row by row: `[texts, outputs]`; nothing without a head.
    /// On all of rayon's threads; their number, and what other texts there are, makes no difference
    /// beyond rounding.
    pub fn logits(&self, texts: &[Text<'_>]) -> Vec<f32> {
        let Some(PackedHead { dense, activation, output }) = &self.head else { return Vec::new() };
        let rows = self.each_chunk(texts, |chunk| {
            let (firsts, panels) = chunk.forward(Wanted::First);
            let mut pooled = vec![0.0; panels.floats(dense.outputs())];
            let mut logits = vec![0.0; panels.floats(output.outputs())];
            for n in 0..panels.count() {
                let width = panels.width(n);
                let x = panels.panel(&firsts, n, self.hidden);
                let y = panels.panel_mut(&mut pooled, n, dense.outputs());
                chunk.multiply(dense, x, width, y, false, |_| ());
                apply(*activation, self.instructions, y);
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
        let run = |memory: &mut Memory, texts: &&[Text<'_>]| {
            let own: usize = texts.iter().map(|text| text.words.len()).sum();
            // Where a chunk is more than a thread's share of the work, several threads are at it.
            let parts = ((threads * own + tokens / 2) / tokens.max(1)).max(1);
            work(&mut Chunk { engine: self, texts, memory, parts })
        };
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

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
