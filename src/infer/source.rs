//! From a checkpoint's tensors to the weights that the sparse engine packs.

use crate::bert::compact::CompactTensor;
use crate::bert::weights::{StoredTensor, Tensors};
use crate::bert::{BertConfig, names};
use crate::error::Result;
use crate::sparse::Rows;
use crate::sparse::rowwise::Norm;
use crate::sparse::weights::{Embeddings, Head, Layer, Linear, Table};

/// A model's tensors, taken one by one.
pub struct Source {
    tensors: Tensors,
    hidden: usize,
    epsilon: f32,
}

impl Source {
    /// Those of a model of this configuration.
    pub fn new(tensors: Tensors, bert: &BertConfig) -> Self {
        Self { tensors, hidden: bert.hidden_size, epsilon: bert.layer_norm_eps as f32 }
    }

    /// Takes the embeddings.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn embeddings(&mut self, bert: &BertConfig) -> Result<Embeddings> {
        Ok(Embeddings {
            word: self.table("word_embeddings", bert.vocab_size)?,
            position: self.table("position_embeddings", bert.max_position_embeddings)?,
            segment: self.table("token_type_embeddings", bert.type_vocab_size)?,
            norm: self.norm("bert.embeddings.layer_norm")?,
        })
    }

    /// Takes the head with so many outputs.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn head(&mut self, outputs: usize) -> Result<Head> {
        let hidden = self.hidden;
        let dense = self.linear("heads.0.dense", [hidden, hidden])?;
        Ok(Head { dense, output: self.linear("heads.0.output", [outputs, hidden])? })
    }

    /// Takes the layer `n` of a model of this configuration.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn layer(&mut self, bert: &BertConfig, n: usize) -> Result<Layer> {
        let (hidden, neurons) = (bert.hidden_size, bert.intermediate_size);
        let (heads, scale) = Layer::whole_heads(hidden, bert.num_attention_heads);
        let module = |name: &str| format!("bert.encoder.{n}.{name}");
        Ok(Layer {
            heads,
            scale,
            query: self.linear(&module("attention.query"), [hidden, hidden])?,
            key: self.linear(&module("attention.key"), [hidden, hidden])?,
            value: self.linear(&module("attention.value"), [hidden, hidden])?,
            output: self.linear(&module("attention.output"), [hidden, hidden])?,
            attention_norm: self.norm(&module("attention.layer_norm"))?,
            intermediate: self.linear(&module("intermediate"), [neurons, hidden])?,
            feed_forward: self.linear(&module("output"), [hidden, neurons])?,
            norm: self.norm(&module("layer_norm"))?,
        })
    }

    /// The parameter with this path of fields, of this shape.
    fn take(&mut self, path: &str, shape: &[usize]) -> Result<StoredTensor> {
        let path: Vec<String> = path.split('.').map(str::to_string).collect();
        self.tensors.take(&names::hf_name(&path), shape)
    }

    /// The same where it is not expanded.
    fn compact(&mut self, path: &str, shape: [usize; 2]) -> Option<CompactTensor> {
        let path: Vec<String> = path.split('.').map(str::to_string).collect();
        let tensor = self.tensors.compact.remove(&names::hf_name(&path))?;
        (tensor.shape == shape).then_some(tensor)
    }

    fn table(&mut self, name: &str, entries: usize) -> Result<Table> {
        let path = format!("bert.embeddings.{name}.weight");
        Ok(Table { values: self.take(&path, &[entries, self.hidden])?.values })
    }

    fn linear(&mut self, module: &str, shape: [usize; 2]) -> Result<Linear> {
        let (weight, bias) = (format!("{module}.weight"), format!("{module}.bias"));
        let weight = match self.compact(&weight, shape) {
            Some(tensor) => Rows::new(shape, tensor.stored()),
            None => Rows::dense(shape, &self.take(&weight, &shape)?.values),
        };
        Ok(Linear { weight, bias: self.take(&bias, &[shape[0]])?.values })
    }

    fn norm(&mut self, module: &str) -> Result<Norm> {
        let gamma = self.take(&format!("{module}.gamma"), &[self.hidden])?.values;
        let beta = self.take(&format!("{module}.beta"), &[self.hidden])?.values;
        Ok(Norm { gamma, beta, epsilon: self.epsilon })
    }
}
