//! The weights of a classifier as they come, before anything is left out or packed.

use super::attention::HeadSize;
use super::rows::Rows;
use super::rowwise::Norm;
use crate::activation::Activation;

/// A dense layer: weight x + bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// `[outputs, inputs]`
    pub weight: Rows,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// Rows of vectors, by their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `[entries, width]`, row by row.
    pub values: Vec<f32>,
}

/// Word, position and segment embeddings, summed and normalised; brought to the layers' width where
/// they have another.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// By token id.
    pub word: Table,
    /// By position in the text.
    pub position: Table,
    /// By token type; one row of zeros where there are none.
    pub segment: Table,
    /// Applied to the sum.
    pub norm: Norm,
    /// `[hidden, width of the embeddings]`
    pub projection: Option<Linear>,
}

/// One encoder layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Dimensions of each head, one head after the other.
    pub heads: Vec<HeadSize>,
    /// What the scores are multiplied by: 1 / sqrt(head) with the head's dimensions at first.
    pub scale: f32,
    /// `[dimensions of keys of all heads, hidden]`
    pub query: Linear,
    /// `[dimensions of keys of all heads, hidden]`
    pub key: Linear,
    /// `[dimensions of values of all heads, hidden]`
    pub value: Linear,
    /// `[hidden, dimensions of values of all heads]`
    pub output: Linear,
    /// After attention and residual.
    pub attention_norm: Norm,
    /// `[neurons, hidden]`
    pub intermediate: Linear,
    /// After it.
    pub activation: Activation,
    /// `[hidden, neurons]`
    pub feed_forward: Linear,
    /// After the feed-forward layers and residual.
    pub norm: Norm,
}

/// What turns a text's vector into an answer: dense + activation, then dense.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// `[hidden, hidden]`
    pub dense: Linear,
    /// After it.
    pub activation: Activation,
    /// `[outputs, hidden]`
    pub output: Linear,
}

impl Layer {
    /// A layer's heads before anything is left out: `count` of them over `hidden` features.
    pub fn whole_heads(hidden: usize, count: usize) -> (Vec<HeadSize>, f32) {
        let head = hidden / count.max(1);
        let size = HeadSize { keys: head, values: head };
        (vec![size; count], (1.0 / (head as f64).sqrt()) as f32)
    }
}
