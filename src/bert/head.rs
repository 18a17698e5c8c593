//! What turns the encoder's vector of a text into an answer to a task, as the original program has
//! it: dropout -> dense + tanh -> dropout -> dense. Other families have another activation.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::tanh;
use burn::tensor::backend::Backend;

use super::family::HeadForm;
use super::pass::{Pass, Place, dense, linear};
use crate::activation::Activation;
use crate::kernels::ModelKernels;

/// What a head is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadConfig {
    /// Number of outputs: classes, or 1 for regression.
    pub outputs: usize,
    /// The task's dropout, before the last layer.
    pub dropout: f64,
}

/// The classification (or regression) head of one task.
#[derive(Module, Debug)]
pub struct Head<B: Backend> {
    input_dropout: f64,
    /// Of the first head, and with it of all others, as in the original.
    dense: Option<Linear<B>>,
    output_dropout: f64,
    output: Linear<B>,
    #[module(skip)]
    activation: Activation,
}

impl HeadConfig {
    /// A head over vectors of `hidden` values, initialised as PyTorch's `nn.Linear`:
    /// U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too. `input_dropout` is the encoder's; the first
    /// head of a model has the dense layer.
    pub(super) fn init<B: Backend>(
        self,
        is_first: bool,
        form: HeadForm,
        hidden: usize,
        input_dropout: f64,
        device: &B::Device,
    ) -> Head<B> {
        Head {
            input_dropout: if form.drops_input { input_dropout } else { 0.0 },
            dense: is_first.then(|| LinearConfig::new(hidden, hidden).init(device)),
            output_dropout: self.dropout,
            output: LinearConfig::new(hidden, self.outputs).init(device),
            activation: form.activation,
        }
    }
}

impl<B: Backend> Head<B> {
    /// This head with the dense layer of the model's `first` one.
    pub(super) fn beside(&self, first: &Self) -> Self {
        Self { dense: first.dense.clone(), ..self.clone() }
    }
}

impl<B: ModelKernels> Head<B> {
    /// # Shapes
    /// - `first`: the vectors of first tokens, `[batch, hidden]`
    /// - output: `[batch, outputs]`
    pub(super) fn forward(&self, leading: &Self, first: Tensor<B, 2>, pass: Pass) -> Tensor<B, 2> {
        let first = B::dropout(first, pass.dropout(Place::HeadInput, self.input_dropout));
        let pooled = match (&leading.dense, self.activation) {
            (Some(layer), Activation::Tanh) => tanh(linear(layer, first, pass)),
            (Some(layer), other) => B::dense_activated(first, dense(layer, pass), other),
            (None, _) => first,
        }; // [batch, hidden]
        let pooled = B::dropout(pooled, pass.dropout(Place::HeadOutput, self.output_dropout));
        linear(&self.output, pooled, pass)
    }
}
