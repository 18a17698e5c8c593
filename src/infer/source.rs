//! From a checkpoint's tensors to the weights that the sparse engine packs and exports write.

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
        let width = bert.embedding_width();
        let mut position =
            self.table("position_embeddings", bert.max_position_embeddings, width)?;
        // The rows before it stand for no place in a text.
        position.values.drain(..bert.first_position() * width);
        let segment = match bert.type_vocab_size {
            0 => Table { values: vec![0.0; width] },
            types => self.table("token_type_embeddings", types, width)?,
        };
        let projection = bert
            .embedding_size
            .map(|width| self.linear("bert.embeddings.projection", [bert.hidden_size, width]));
        Ok(Embeddings {
            word: self.table("word_embeddings", bert.vocab_size, width)?,
            position,
            segment,
            norm: self.norm("bert.embeddings.layer_norm", width)?,
            projection: projection.transpose()?,
        })
    }

    /// Takes the head with so many outputs.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn head(&mut self, outputs: usize) -> Result<Head> {
        let hidden = self.hidden;
        let dense = self.linear("heads.0.dense", [hidden, hidden])?;
        let activation = self.tensors.family.head.activation;
        Ok(Head { dense, activation, output: self.linear("heads.0.output", [outputs, hidden])? })
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
            attention_norm: self.norm(&module("attention.layer_norm"), hidden)?,
            intermediate: self.linear(&module("intermediate"), [neurons, hidden])?,
            activation: bert.hidden_act,
            feed_forward: self.linear(&module("output"), [hidden, neurons])?,
            norm: self.norm(&module("layer_norm"), hidden)?,
        })
    }

    /// Takes the parameter with this path of fields, of this shape at Hugging Face.
    ///
    /// # Errors
    /// It is missing or has another shape.
    pub fn take(&mut self, path: &str, shape: &[usize]) -> Result<StoredTensor> {
        self.tensors.take(&names::hf_name_at(self.tensors.family, path), shape)
    }

    /// The names of the tensors that nobody took.
    pub fn left(self) -> Vec<String> {
        let Tensors { tensors, compact, unused, .. } = self.tensors;
        let mut names: Vec<String> = tensors.into_keys().chain(compact.into_keys()).collect();
        names.extend(unused);
        names.sort();
        names
    }

    /// The same where it is not expanded.
    fn compact(&mut self, path: &str, shape: [usize; 2]) -> Option<CompactTensor> {
        let name = names::hf_name_at(self.tensors.family, path);
        let tensor = self.tensors.compact.remove(&name)?;
        (tensor.shape == shape).then_some(tensor)
    }

    fn table(&mut self, name: &str, entries: usize, width: usize) -> Result<Table> {
        let path = format!("bert.embeddings.{name}.weight");
        Ok(Table { values: self.take(&path, &[entries, width])?.values })
    }

    fn linear(&mut self, module: &str, shape: [usize; 2]) -> Result<Linear> {
        let (weight, bias) = (format!("{module}.weight"), format!("{module}.bias"));
        let weight = match self.compact(&weight, shape) {
            Some(tensor) => Rows::new(shape, tensor.stored()),
            None => Rows::dense(shape, &self.take(&weight, &shape)?.values),
        };
        Ok(Linear { weight, bias: self.take(&bias, &[shape[0]])?.values })
    }

    /// Takes the layer normalisation with this path of fields.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn norm(&mut self, module: &str, width: usize) -> Result<Norm> {
        let gamma = self.take(&format!("{module}.gamma"), &[width])?.values;
        let beta = self.take(&format!("{module}.beta"), &[width])?.values;
        Ok(Norm { gamma, beta, epsilon: self.epsilon })
    }
}
