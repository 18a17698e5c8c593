//! From the inputs to the vectors that the first layer takes.

use super::Builder;
use super::graph::{Dim, int};
use super::messages::element;
use super::nodes::Part;
use super::places::Dense;
use crate::bert::BertConfig;
use crate::error::Result;

/// The token ids, `[batch, length]` like the other inputs.
const IDS: &str = "input_ids";
/// Which tokens count: all that are not 0.
const MASK: &str = "attention_mask";
/// The types of the tokens.
const TYPES: &str = "token_type_ids";

/// What a model takes, in this order, with a word on each.
pub fn inputs(config: &BertConfig) -> Vec<(&'static str, &'static str)> {
    let types = (TYPES, "0 for tokens of the first text, 1 for those of the second");
    let types = config.family.takes_token_types.then_some(types);
    let mut inputs = vec![(IDS, "tokens"), (MASK, "1 for tokens, 0 for padding")];
    inputs.extend(types);
    inputs
}

impl Builder<'_> {
    /// `[batch, length, hidden]`
    pub fn embed(&mut self) -> Result<String> {
        let (config, width) = (self.config, self.config.embedding_width());
        let table = self.table("word_embeddings", config.vocab_size)?;
        let mut sum = self.graph.node("embeddings.word", "Gather", [&table, IDS]);
        if config.type_vocab_size > 0 {
            let types = self.types()?;
            sum = self.graph.node("embeddings.word_and_type", "Add", [&sum, &types]);
        }
        let position = self.positions()?;
        let sum = self.graph.node("embeddings.sum", "Add", [&sum, &position]);
        self.graph.describe(&sum, &[Dim::Batch, Dim::Length, Dim::Of(width)]);
        let path = "bert.embeddings.layer_norm";
        let norm = self.source.norm(path, width)?;
        let hidden = self.graph.normalise(&Part::new(config.family, path), &sum, norm);
        if config.embedding_size.is_none() {
            return Ok(hidden);
        }
        let (path, shape) = ("bert.embeddings.projection", [config.hidden_size, width]);
        let weight = self.source.take(&format!("{path}.weight"), &shape)?.values;
        let bias = self.source.take(&format!("{path}.bias"), &[config.hidden_size])?.values;
        let dense = Dense::whole(shape, &weight, bias);
        Ok(self.graph.dense(&Part::new(config.family, path), &hidden, dense))
    }

    /// The vectors of the tokens' types: `[batch, length, width]`, or `[1, width]` for all.
    fn types(&mut self) -> Result<String> {
        let (name, count) = ("token_type_embeddings", self.config.type_vocab_size);
        if self.config.family.takes_token_types {
            let table = self.table(name, count)?;
            return Ok(self.graph.node("embeddings.type", "Gather", [&table, TYPES]));
        }
        // All tokens are of the first type.
        self.rows(name, count, 1)
    }

    /// The vectors of the tokens' positions: `[batch, length, width]` or `[length, width]`.
    fn positions(&mut self) -> Result<String> {
        let table = self.table("position_embeddings", self.config.max_position_embeddings)?;
        let graph = &mut self.graph;
        if !self.config.family.positions_after_padding {
            let part = vec![int("start", 1), int("end", 2)];
            let length = graph.node_with("embeddings.length", "Shape", [IDS], part);
            let zero = graph.integers(&[0]);
            return Ok(graph.node("embeddings.position", "Slice", [&table, &zero, &length, &zero]));
        }
        // As transformers has it: padding stands at its own number, and tokens are counted from the
        // next on.
        let padding = graph.integer(self.config.pad_token_id as i64);
        let axis = graph.integer(1);
        let is_padding = graph.node("embeddings.is_padding", "Equal", [IDS, &padding]);
        let is_token = graph.node("embeddings.is_token", "Not", [&is_padding]);
        let to = vec![int("to", i64::from(element::INT64))];
        let tokens = graph.node_with("embeddings.tokens", "Cast", [&is_token], to);
        let counted = graph.node("embeddings.counted", "CumSum", [&tokens, &axis]);
        let counted = graph.node("embeddings.counted_tokens", "Mul", [&counted, &tokens]);
        let places = graph.node("embeddings.places", "Add", [&counted, &padding]);
        Ok(graph.node("embeddings.position", "Gather", [&table, &places]))
    }

    /// What is added to the scores of keys: nothing, or for padding the least number there is.
    /// `[batch, 1, 1, length]`
    pub fn mask(&mut self) -> String {
        let graph = &mut self.graph;
        let [none, least] = [0.0, f32::MIN].map(|value| graph.number(value));
        let axes = graph.integers(&[1, 2]);
        let mask = graph.node("mask.of_keys", "Unsqueeze", [MASK, &axes]);
        let to = vec![int("to", i64::from(element::BOOL))];
        let counts = graph.node_with("mask.counts", "Cast", [&mask], to);
        graph.node("mask", "Where", [&counts, &none, &least])
    }

    fn table(&mut self, name: &str, entries: usize) -> Result<String> {
        self.rows(name, entries, entries)
    }

    /// The first `rows` of the table `name`.
    fn rows(&mut self, name: &str, entries: usize, rows: usize) -> Result<String> {
        let (path, width) = (format!("bert.embeddings.{name}"), self.config.embedding_width());
        let mut values = self.source.take(&format!("{path}.weight"), &[entries, width])?.values;
        values.truncate(rows * width);
        let Part { module, .. } = Part::new(self.config.family, &path);
        Ok(self.graph.weight(format!("{module}.weight"), &[rows, width], values))
    }
}
