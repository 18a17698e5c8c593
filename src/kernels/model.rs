//! What a model calls: the fused operations, with their gradients where the backend has autodiff.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::layer::{LayerKernels, drop_out};
use super::operands::{Dense, Heads, Norm, SeededDropout, Setup, Tables, TokenIds};
use super::sequences::Sequences;
use crate::activation::Activation;

/// Shapes as in [`LayerKernels`]; a matrix has a row per token.
pub trait ModelKernels: Backend {
    /// Whether a batch of this backend had better hold its real tokens only.
    const PACKS: bool;

    /// Whether burn copies from one of this backend's devices to another.
    const HAS_PEERS: bool;

    /// Dropout, `[rows, width]`.
    fn dropout(x: Tensor<Self, 2>, dropout: Option<SeededDropout>) -> Tensor<Self, 2>;

    /// x weight + bias, `[rows, inputs]` to `[rows, outputs]`.
    fn dense(x: Tensor<Self, 2>, dense: Dense<Self>) -> Tensor<Self, 2>;

    /// The activation of x weight + bias, `[rows, inputs]` to `[rows, outputs]`.
    fn dense_activated(
        x: Tensor<Self, 2>,
        dense: Dense<Self>,
        activation: Activation,
    ) -> Tensor<Self, 2>;

    /// LayerNorm(dropout(x) + residual), all `[rows, width]`.
    fn dropout_add_norm(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2>;

    /// Multi-head attention within each sequence: `[rows of the queries, width]`.
    fn self_attention(inputs: Heads<Self>, sequences: &Sequences, setup: Setup) -> Tensor<Self, 2>;

    /// dropout(LayerNorm(word + position + segment)), `[rows, width]`.
    fn embed(
        tables: Tables<Tensor<Self, 2>>,
        ids: TokenIds<Self>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2>;
}

macro_rules! without_autodiff {
    ($backend:ty) => {
        impl ModelKernels for $backend {
            const PACKS: bool = <$backend as LayerKernels>::PACKS;
            const HAS_PEERS: bool = <$backend as LayerKernels>::HAS_PEERS;

            fn dropout(x: Tensor<Self, 2>, dropout: Option<SeededDropout>) -> Tensor<Self, 2> {
                drop_out(x, dropout)
            }

            fn dense(x: Tensor<Self, 2>, dense: Dense<Self>) -> Tensor<Self, 2> {
                Self::dense_forward(x, dense)
            }

            fn dense_activated(
                x: Tensor<Self, 2>,
                dense: Dense<Self>,
                activation: Activation,
            ) -> Tensor<Self, 2> {
                Self::dense_activated_forward(x, dense, activation, false).0
            }

            fn dropout_add_norm(
                x: Tensor<Self, 2>,
                residual: Tensor<Self, 2>,
                norm: Norm<Self>,
                dropout: Option<SeededDropout>,
            ) -> Tensor<Self, 2> {
                Self::add_norm_forward(x, residual, norm, dropout, false).0
            }

            fn self_attention(
                inputs: Heads<Self>,
                sequences: &Sequences,
                setup: Setup,
            ) -> Tensor<Self, 2> {
                Self::attention_forward(inputs, sequences, setup, false).0
            }

            fn embed(
                tables: Tables<Tensor<Self, 2>>,
                ids: TokenIds<Self>,
                norm: Norm<Self>,
                dropout: Option<SeededDropout>,
            ) -> Tensor<Self, 2> {
                Self::embed_forward(tables, ids, norm, dropout, false).0
            }
        }
    };
}

#[cfg(feature = "flex")]
without_autodiff!(burn_flex::Flex);
#[cfg(feature = "ndarray")]
without_autodiff!(burn_ndarray::NdArray<f32>);
#[cfg(feature = "cuda")]
without_autodiff!(burn_cuda::Cuda<f32, i32>);
#[cfg(feature = "wgpu")]
without_autodiff!(burn_wgpu::Wgpu<f32, i32>);
