//! Tensor operations that every backend needs and none provides as wanted.
//!
//! [`UpdateKernels`] and [`LayerKernels`] are backend extensions: each operation has a default body
//! made of burn's own operations, and backends that can do better replace it. [`ModelKernels`] is
//! what a model calls; on `Autodiff` its operations have hand-written gradients.

mod autodiff;
mod default_layer;
mod default_update;
pub mod inner;
pub mod layer;
pub mod model;
pub mod operands;
pub mod reduce;
pub mod sequences;
pub mod update;

#[cfg(feature = "flex")]
mod flex;

use burn::tensor::backend::AutodiffBackend;

pub use inner::{InnerOptimizer, Stepped};
pub use layer::LayerKernels;
pub use model::ModelKernels;
pub use operands::{
    AdamaxStep, Averages, Fusion, Observation, Precision, Products, Scores, SeededDropout, Updated,
    Zeros,
};
pub use sequences::{Queries, Sequences};
pub use update::UpdateKernels;

/// A backend that models are trained on.
pub trait TrainingBackend:
    AutodiffBackend<InnerBackend: UpdateKernels + ModelKernels> + ModelKernels
{
}

impl<B> TrainingBackend for B where
    B: AutodiffBackend<InnerBackend: UpdateKernels + ModelKernels> + ModelKernels
{
}
