//! What the layers of a forward pass have in common: how it computes, and what it drops.

use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::operands::{Dense, Norm};
use crate::kernels::{ModelKernels, Precision, Products, SeededDropout, Zeros};
use crate::seed::mix;

/// How the forward pass of an update differs from one that only wants the answers.
#[derive(Debug, Clone, Copy)]
pub struct Training {
    /// Seeds the dropout.
    pub noise: u64,
    /// Of the matrix products.
    pub precision: Precision,
}

/// The places of the model that drop elements, each with a stream of random numbers of its own.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Embeddings,
    HeadInput,
    HeadOutput,
    Attention(usize),
    AfterAttention(usize),
    AfterFeedForward(usize),
}

/// A forward pass.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    training: Option<Training>,
    zeros: Zeros,
}

impl Pass {
    /// That of an update, which leaves out zeros of the weights where that is faster.
    pub fn training(training: Training) -> Self {
        Self { training: Some(training), zeros: Zeros::Skip }
    }

    /// One that only wants the answers: nothing is dropped, products are in single precision.
    pub fn answers(zeros: Zeros) -> Self {
        Self { training: None, zeros }
    }

    pub(super) fn precision(self) -> Precision {
        self.training.map_or(Precision::Single, |training| training.precision)
    }

    pub(super) fn dropout(self, place: Place, rate: f64) -> Option<SeededDropout> {
        let stream = match place {
            Place::Embeddings => 0,
            Place::HeadInput => 1,
            Place::HeadOutput => 2,
            Place::Attention(layer) => 3 + 3 * layer,
            Place::AfterAttention(layer) => 4 + 3 * layer,
            Place::AfterFeedForward(layer) => 5 + 3 * layer,
        };
        self.training
            .map(|training| SeededDropout { rate, seed: mix(training.noise, stream as u64) })
    }
}

/// # Shapes
/// - `x`: `[rows, inputs]`
/// - output: `[rows, outputs]`
pub(super) fn linear<B: ModelKernels>(
    linear: &Linear<B>,
    x: Tensor<B, 2>,
    pass: Pass,
) -> Tensor<B, 2> {
    B::dense(x, dense(linear, pass))
}

/// # Shapes
/// - weight: `[inputs, outputs]`
/// - bias: `[outputs]`
pub(super) fn dense<B: Backend>(linear: &Linear<B>, pass: Pass) -> Dense<B> {
    let weight = linear.weight.val();
    let [_, outputs] = weight.dims();
    let zeros = || Tensor::zeros([outputs], &weight.device());
    let bias = linear.bias.as_ref().map_or_else(zeros, |bias| bias.val());
    let products = Products { precision: pass.precision(), zeros: pass.zeros };
    Dense { weight, bias, products }
}

/// # Shapes
/// - gamma, beta: `[width]`
pub(super) fn norm<B: Backend>(norm: &LayerNorm<B>, epsilon: f64) -> Norm<B> {
    let gamma = norm.gamma.val();
    let beta = norm.beta.as_ref().map_or_else(|| gamma.zeros_like(), |beta| beta.val());
    Norm { gamma, beta, epsilon }
}
