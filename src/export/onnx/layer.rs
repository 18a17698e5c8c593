//! One encoder layer.

use super::Builder;
use super::graph::{Dim, Graph, int, ints};
use super::nodes::Part;
use super::places::{Dense, Places};
use crate::bert::family::Family;
use crate::error::Result;
use crate::export::Shape;
use crate::sparse::rowwise::Norm;
use crate::sparse::shrink;
use crate::sparse::weights::{Layer, Linear};

impl Builder<'_> {
    /// The layer `n` over `hidden`, which is `[batch, length, hidden]`. Its output is as large, but of
    /// the last layer `[batch, 1, hidden]`: nobody reads more than the vectors of first tokens.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn layer(&mut self, n: usize, hidden: &str, mask: &str) -> Result<String> {
        let mut layer = self.source.layer(self.config, n)?;
        if self.shape == Shape::Shrunk {
            let (shrunk, left) = shrink(layer);
            self.left.push(left);
            layer = shrunk;
        }
        let (family, path) = (self.config.family, format!("bert.encoder.{n}"));
        let width = self.config.hidden_size;
        let mut block = Block { graph: &mut self.graph, family, path, width, rows: Dim::Length };
        let mut asking = hidden.to_string();
        if n + 1 == self.config.num_hidden_layers {
            block.rows = Dim::Of(1);
            asking = block.first(hidden);
        }
        let attended = block.attention(&layer, &asking, hidden, mask);
        let hidden = block.add_norm(
            "attention.layer_norm",
            &attended,
            &asking,
            layer.attention_norm.clone(),
        );
        let changed = block.feed_forward(&layer, &hidden);
        Ok(block.add_norm("layer_norm", &changed, &hidden, layer.norm))
    }
}

/// A layer's place in the graph.
struct Block<'a> {
    graph: &'a mut Graph,
    family: &'static Family,
    /// Of the layer's fields.
    path: String,
    /// Features of its vectors.
    width: usize,
    /// Tokens whose vectors it gives.
    rows: Dim,
}

impl Block<'_> {
    fn part(&self, name: &str) -> Part {
        Part::new(self.family, &format!("{}.{name}", self.path))
    }

    /// The name of a node.
    fn at(&self, name: &str) -> String {
        self.part(name).output
    }

    /// The vectors of first tokens: `[batch, 1, hidden]`
    fn first(&mut self, hidden: &str) -> String {
        let [zero, one] = [[0], [1]].map(|place| self.graph.integers(&place));
        let first = self.graph.node(self.at("first"), "Slice", [hidden, &zero, &one, &one]);
        self.graph.describe(&first, &[Dim::Batch, self.rows, Dim::Of(self.width)]);
        first
    }

    /// What the tokens `asking` are told by all. Heads are as wide as the layer's widest.
    fn attention(&mut self, layer: &Layer, asking: &str, hidden: &str, mask: &str) -> String {
        if layer.heads.is_empty() {
            return self.constant("attention.output", &layer.output);
        }
        let keys: Vec<usize> = layer.heads.iter().map(|head| head.keys).collect();
        let values: Vec<usize> = layer.heads.iter().map(|head| head.values).collect();
        let query = self.heads("attention.query", &layer.query, &keys, asking, [0, 2, 1, 3]);
        let key = self.heads("attention.key", &layer.key, &keys, hidden, [0, 2, 3, 1]);
        let value = self.heads("attention.value", &layer.value, &values, hidden, [0, 2, 1, 3]);

        let scale = self.graph.number(layer.scale);
        let scores = self.node("attention.scores", "MatMul", [&query, &key]);
        let scores = self.node("attention.scaled", "Mul", [&scores, &scale]);
        let scores = self.node("attention.masked", "Add", [&scores, mask]);
        let along_keys = vec![int("axis", -1)];
        let name = self.at("attention.weights");
        let weights = self.graph.node_with(name, "Softmax", [&scores], along_keys);
        let context = self.node("attention.context", "MatMul", [&weights, &value]);

        let order = vec![ints("perm", &[0, 2, 1, 3])];
        let name = self.at("attention.context.by_token");
        let context = self.graph.node_with(name, "Transpose", [&context], order);
        let places = Places::of_heads(&values);
        let shape = self.graph.integers(&[0, 0, places.width as i64]);
        let context = self.node("attention.joined", "Reshape", [&context, &shape]);
        self.graph.describe(&context, &[Dim::Batch, self.rows, Dim::Of(places.width)]);
        let dense = Dense::new(&layer.output, &Places::all(self.width), &places);
        self.graph.dense(&self.part("attention.output"), &context, dense)
    }

    /// Queries, keys or values, their dimensions `[batch, tokens, head, features]` in this order.
    fn heads(
        &mut self,
        name: &str,
        linear: &Linear,
        sizes: &[usize],
        x: &str,
        order: [i64; 4],
    ) -> String {
        let dense = Dense::new(linear, &Places::of_heads(sizes), &Places::all(self.width));
        let all = self.graph.dense(&self.part(name), x, dense);
        let shape = [0, 0, sizes.len() as i64, Places::room(sizes) as i64];
        let shape = self.graph.integers(&shape);
        let apart = self.node(&format!("{name}.by_head"), "Reshape", [&all, &shape]);
        let name = self.at(&format!("{name}.turned"));
        self.graph.node_with(name, "Transpose", [&apart], vec![ints("perm", &order)])
    }

    fn feed_forward(&mut self, layer: &Layer, hidden: &str) -> String {
        let neurons = Places::all(layer.intermediate.weight.height());
        if neurons.width == 0 {
            return self.constant("output", &layer.feed_forward);
        }
        let features = Places::all(self.width);
        let dense = Dense::new(&layer.intermediate, &neurons, &features);
        let inner = self.graph.dense(&self.part("intermediate"), hidden, dense);
        let inner = self.graph.activate(&self.at("activation"), &inner, layer.activation);
        let dense = Dense::new(&layer.feed_forward, &features, &neurons);
        self.graph.dense(&self.part("output"), &inner, dense)
    }

    /// The output of a dense layer that has no inputs left.
    fn constant(&mut self, name: &str, linear: &Linear) -> String {
        let name = format!("{}.bias", self.part(name).module);
        self.graph.weight(name, &[linear.bias.len()], linear.bias.clone())
    }

    fn add_norm(&mut self, name: &str, changed: &str, before: &str, norm: Norm) -> String {
        let sum = self.node(&format!("{name}.sum"), "Add", [changed, before]);
        self.graph.normalise(&self.part(name), &sum, norm)
    }

    fn node<const N: usize>(&mut self, name: &str, operator: &str, inputs: [&str; N]) -> String {
        self.graph.node(self.at(name), operator, inputs)
    }
}
