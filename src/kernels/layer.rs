//! Forward and backward bodies of the fused operations inside the model.
//!
//! Matrices have one row per token. What a forward body leaves for the gradient is computed only
//! where `keep` asks for it.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::default_layer as default;
use super::operands::{
    AddNormGradients, Dense, DenseGradients, EmbedGradients, Heads, Norm, NormSaved, Products,
    SeededDropout, Setup, Tables, TokenIds,
};
use super::sequences::Sequences;
use crate::activation::Activation;

/// Forward and backward bodies; the defaults are made of burn's own operations.
pub trait LayerKernels: Backend {
    /// Whether a batch of this backend had better hold its real tokens only.
    const PACKS: bool = false;

    /// Whether burn copies from one of this backend's devices to another.
    const HAS_PEERS: bool = true;

    /// 0 or 1 / (1 - rate) for every element, `[rows, width]`; the same for the same seed.
    fn dropout_mask(
        shape: [usize; 2],
        dropout: SeededDropout,
        device: &Self::Device,
    ) -> Tensor<Self, 2> {
        default::dropout_mask(shape, dropout, device)
    }

    /// x weight + bias, `[rows, outputs]`.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    fn dense_forward(x: Tensor<Self, 2>, dense: Dense<Self>) -> Tensor<Self, 2> {
        default::dense_forward(x, dense)
    }

    /// The gradients of [`dense_forward`](Self::dense_forward) for `grad` `[rows, outputs]`.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - `weight`: `[inputs, outputs]`
    fn dense_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        grad: Tensor<Self, 2>,
        products: Products,
    ) -> DenseGradients<Self> {
        default::dense_backward(x, weight, grad, products)
    }

    /// Of the gradients of [`dense_forward`](Self::dense_forward) that of its inputs alone, `[rows, inputs]`,
    /// for those who want no other.
    ///
    /// # Shapes
    /// - `weight`: `[inputs, outputs]`
    /// - `grad`: `[rows, outputs]`
    fn dense_inputs_backward(
        weight: Tensor<Self, 2>,
        grad: Tensor<Self, 2>,
        products: Products,
    ) -> Tensor<Self, 2> {
        default::dense_inputs_backward(weight, grad, products)
    }

    /// The activation of x weight + bias, with its slope; both `[rows, outputs]`. The slope of the
    /// exact GELU x Φ(x) is Φ(x) + x φ(x): burn's own `gelu` has the same value, but on most backends
    /// the gradient of its tanh approximation, off by up to 9e-4.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    fn dense_activated_forward(
        x: Tensor<Self, 2>,
        dense: Dense<Self>,
        activation: Activation,
        keep: bool,
    ) -> (Tensor<Self, 2>, Option<Tensor<Self, 2>>) {
        default::activate(Self::dense_forward(x, dense), activation, keep)
    }

    /// The gradients of [`dense_activated_forward`](Self::dense_activated_forward).
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - `weight`: `[inputs, outputs]`
    /// - `slope`, `grad`: `[rows, outputs]`
    fn dense_activated_backward(
        x: Tensor<Self, 2>,
        weight: Tensor<Self, 2>,
        slope: Tensor<Self, 2>,
        grad: Tensor<Self, 2>,
        products: Products,
    ) -> DenseGradients<Self> {
        Self::dense_backward(x, weight, grad * slope, products)
    }

    /// LayerNorm(dropout(x) + residual), all `[rows, width]`.
    fn add_norm_forward(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
        keep: bool,
    ) -> (Tensor<Self, 2>, Option<NormSaved<Self>>) {
        let (output, saved) = default::norm_forward(drop_out(x, dropout) + residual, norm);
        (output, keep.then_some(saved))
    }

    /// The gradients of [`add_norm_forward`](Self::add_norm_forward).
    ///
    /// # Shapes
    /// - `gamma`: `[width]`
    /// - `grad`: `[rows, width]`
    fn add_norm_backward(
        saved: NormSaved<Self>,
        gamma: Tensor<Self, 1>,
        grad: Tensor<Self, 2>,
        dropout: Option<SeededDropout>,
    ) -> AddNormGradients<Self> {
        let (residual, gamma, beta) = default::norm_backward(saved, gamma, grad);
        AddNormGradients { x: drop_out(residual.clone(), dropout), residual, gamma, beta }
    }

    /// Multi-head attention within each sequence, dropout(softmax(query keyᵀ / sqrt(head))) value
    /// (Vaswani et al., 2017), a row per query, and the probabilities before dropout in an order of
    /// the backend's own. Rows of padding come out as anything finite.
    ///
    /// # Shapes
    /// - `inputs`: `[rows, width]` each
    /// - output: `[rows of the queries, width]`, and the probabilities `[n]`
    fn attention_forward(
        inputs: Heads<Self>,
        sequences: &Sequences,
        setup: Setup,
        keep: bool,
    ) -> (Tensor<Self, 2>, Option<Tensor<Self, 1>>) {
        composed_attention(inputs, sequences, setup, keep)
    }

    /// The gradients of [`attention_forward`](Self::attention_forward) for `grad`, a row per query;
    /// rows of padding have no part in them.
    ///
    /// # Shapes
    /// - `inputs`, outputs: `[rows, width]` each
    /// - `probabilities`: `[n]`
    /// - `grad`: `[rows of the queries, width]`
    fn attention_backward(
        inputs: Heads<Self>,
        probabilities: Tensor<Self, 1>,
        grad: Tensor<Self, 2>,
        sequences: &Sequences,
        setup: Setup,
    ) -> Heads<Self> {
        composed_attention_backward(inputs, probabilities, grad, sequences, setup)
    }

    /// dropout(LayerNorm(word + position + segment)) of the rows of the tables, `[entries, width]`
    /// each, that `ids` names: `[rows, width]`.
    fn embed_forward(
        tables: Tables<Tensor<Self, 2>>,
        ids: TokenIds<Self>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
        keep: bool,
    ) -> (Tensor<Self, 2>, Option<NormSaved<Self>>) {
        let sum = tables.word.select(0, ids.word)
            + tables.position.select(0, ids.position)
            + tables.segment.select(0, ids.segment);
        let (output, saved) = default::norm_forward(sum, norm);
        (drop_out(output, dropout), keep.then_some(saved))
    }

    /// The gradients of [`embed_forward`](Self::embed_forward); `entries` of each table.
    ///
    /// # Shapes
    /// - `gamma`: `[width]`
    /// - `grad`: `[rows, width]`
    fn embed_backward(
        entries: Tables<usize>,
        ids: TokenIds<Self>,
        saved: NormSaved<Self>,
        gamma: Tensor<Self, 1>,
        grad: Tensor<Self, 2>,
        dropout: Option<SeededDropout>,
    ) -> EmbedGradients<Self> {
        let (sum, gamma, beta) = default::norm_backward(saved, gamma, drop_out(grad, dropout));
        EmbedGradients { tables: default::scatter(entries, ids, sum), gamma, beta }
    }
}

/// Zeroes and scales `x`; the same seed gives the same zeros, so the gradient goes the same way.
///
/// # Shapes
/// - `x`, output: `[rows, width]`
pub(super) fn drop_out<B: LayerKernels>(
    x: Tensor<B, 2>,
    dropout: Option<SeededDropout>,
) -> Tensor<B, 2> {
    let Some(dropout) = dropout.filter(|d| d.rate > 0.0) else { return x };
    let mask = B::dropout_mask(x.dims(), dropout, &x.device());
    x * mask
}

/// The default body of [`LayerKernels::attention_forward`].
///
/// # Shapes
/// As [`LayerKernels::attention_forward`].
pub(super) fn composed_attention<B: LayerKernels>(
    inputs: Heads<B>,
    sequences: &Sequences,
    setup: Setup,
    keep: bool,
) -> (Tensor<B, 2>, Option<Tensor<B, 1>>) {
    let mask = attention_mask(sequences, setup, &inputs.query.device());
    let (context, saved) = default::attention_forward(inputs, sequences, setup, mask);
    (context, keep.then_some(saved))
}

/// The default body of [`LayerKernels::attention_backward`].
///
/// # Shapes
/// As [`LayerKernels::attention_backward`].
pub(super) fn composed_attention_backward<B: LayerKernels>(
    inputs: Heads<B>,
    probabilities: Tensor<B, 1>,
    grad: Tensor<B, 2>,
    sequences: &Sequences,
    setup: Setup,
) -> Heads<B> {
    let mask = attention_mask(sequences, setup, &grad.device());
    default::attention_backward(inputs, probabilities, grad, sequences, setup, mask)
}

/// What the probabilities of the default attention are multiplied by.
///
/// # Shapes
/// - output: a row for each sequence, head and query, a column for each token
fn attention_mask<B: LayerKernels>(
    sequences: &Sequences,
    setup: Setup,
    device: &B::Device,
) -> Option<Tensor<B, 2>> {
    let dropout = setup.dropout.filter(|d| d.rate > 0.0)?;
    Some(B::dropout_mask(default::attention_shape(sequences, setup), dropout, device))
}

#[cfg(feature = "ndarray")]
impl LayerKernels for burn_ndarray::NdArray<f32> {
    const PACKS: bool = true;
}
#[cfg(feature = "cuda")]
impl LayerKernels for burn_cuda::Cuda<f32, i32> {}
#[cfg(feature = "wgpu")]
impl LayerKernels for burn_wgpu::Wgpu<f32, i32> {
    const HAS_PEERS: bool = false;
}
