//! What the operations take and give.

use std::time::Duration;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, FloatDType, Int, Tensor};
use serde::{Deserialize, Serialize};

use super::sequences::Queries;

/// Dropout whose random numbers follow from a seed alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeededDropout {
    /// Share of the elements set to zero, in [0, 1); the others are scaled by 1 / (1 - rate).
    pub rate: f64,
    /// Different for every update and every place in the model.
    pub seed: u64,
}

/// What matrix products inside the model are computed in. Weights, gradients and everything else
/// stay in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precision {
    /// 32 bits.
    #[default]
    #[serde(rename = "f32")]
    Single,
    /// Factors of 16 bits (IEEE binary16: 11 bits precision, up to 65504); results are widened to
    /// 32 bits.
    #[serde(rename = "f16")]
    Half,
    /// Factors of 16 bits with the range of 32 (bfloat16: 8 bits precision); results are widened to
    /// 32 bits.
    #[serde(rename = "bf16")]
    Bf16,
}

impl Precision {
    /// As settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "f32",
            Self::Half => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// What factors are rounded to, if they are.
    pub fn factors(self) -> Option<FloatDType> {
        match self {
            Self::Single => None,
            Self::Half => Some(FloatDType::F16),
            Self::Bf16 => Some(FloatDType::BF16),
        }
    }
}

/// Whether products with weights that are mostly zero may leave the zeros out, where that is faster.
/// Results differ by rounding only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zeros {
    /// They are multiplied like all others.
    #[default]
    Multiply,
    /// They may be left out.
    Skip,
}

/// How products with weights are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Products {
    /// In which precision.
    pub precision: Precision,
    /// What of zeros.
    pub zeros: Zeros,
}

impl From<Precision> for Products {
    fn from(precision: Precision) -> Self {
        Self { precision, zeros: Zeros::Multiply }
    }
}

/// A dense layer's parameters.
#[derive(Debug, Clone)]
pub struct Dense<B: Backend> {
    /// `[inputs, outputs]`
    pub weight: Tensor<B, 2>,
    /// `[outputs]`
    pub bias: Tensor<B, 1>,
    /// Of the product, and of those of its gradients.
    pub products: Products,
}

/// LayerNorm's parameters.
#[derive(Debug, Clone)]
pub struct Norm<B: Backend> {
    /// `[width]`
    pub gamma: Tensor<B, 1>,
    /// `[width]`
    pub beta: Tensor<B, 1>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// What LayerNorm's gradient needs.
#[derive(Debug, Clone)]
pub struct NormSaved<B: Backend> {
    /// Before gamma and beta, `[rows, width]`.
    pub normalized: Tensor<B, 2>,
    /// 1 / sqrt(variance + epsilon), `[rows, 1]`.
    pub inverse_deviation: Tensor<B, 2>,
}

/// Gradients of a dense layer.
pub struct DenseGradients<B: Backend> {
    /// `[rows, inputs]`
    pub x: Tensor<B, 2>,
    /// `[inputs, outputs]`
    pub weight: Tensor<B, 2>,
    /// `[outputs]`
    pub bias: Tensor<B, 1>,
}

/// Gradients of LayerNorm(dropout(x) + residual).
pub struct AddNormGradients<B: Backend> {
    /// `[rows, width]`
    pub x: Tensor<B, 2>,
    /// `[rows, width]`
    pub residual: Tensor<B, 2>,
    /// `[width]`
    pub gamma: Tensor<B, 1>,
    /// `[width]`
    pub beta: Tensor<B, 1>,
}

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setup {
    /// Number of heads.
    pub heads: usize,
    /// Which tokens ask.
    pub queries: Queries,
    /// Dropout of the probabilities.
    pub dropout: Option<SeededDropout>,
    /// Of all products.
    pub precision: Precision,
}

/// Queries, keys and values, or their gradients, each `[rows, heads * head]`.
#[derive(Debug, Clone)]
pub struct Heads<B: Backend> {
    /// What is looked for; its rows are those of [`Queries::rows`].
    pub query: Tensor<B, 2>,
    /// What it is compared with.
    pub key: Tensor<B, 2>,
    /// What is found.
    pub value: Tensor<B, 2>,
}

/// One value for each of the three embedding tables.
#[derive(Debug, Clone)]
pub struct Tables<T> {
    /// Of the words.
    pub word: T,
    /// Of the positions.
    pub position: T,
    /// Of the segments.
    pub segment: T,
}

/// The ids of every row, `[rows]` each.
pub type TokenIds<B> = Tables<Tensor<B, 1, Int>>;

/// Gradients of the embeddings.
pub struct EmbedGradients<B: Backend> {
    /// As the tables.
    pub tables: Tables<Tensor<B, 2>>,
    /// `[width]`
    pub gamma: Tensor<B, 1>,
    /// `[width]`
    pub beta: Tensor<B, 1>,
}

/// The constants of one Adamax update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamaxStep {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay rate of the first moment, in [0, 1).
    pub beta_1: f64,
    /// Decay rate of the infinity norm, in [0, 1).
    pub beta_2: f64,
    /// Added to the absolute gradient and to the denominator.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Running averages over the sensitivities |w g| of one parameter of n weights, each `[n]`.
#[derive(Clone, Debug)]
pub struct Averages<B: Backend> {
    /// Mean over the window so far.
    pub window: Tensor<B, 1>,
    /// Windows' means, smoothed: the importance I.
    pub importance: Tensor<B, 1>,
    /// How far windows depart from it, smoothed: the uncertainty U.
    pub uncertainty: Tensor<B, 1>,
}

/// How the sensitivities of one update are taken in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The update's place in its window; at 0 the window before it ends.
    pub position: usize,
    /// Smoothing of the importance, in [0, 1).
    pub beta1: f64,
    /// Smoothing of the uncertainty, in [0, 1).
    pub beta2: f64,
}

/// What is fused with an optimizer's step of one parameter of n weights.
#[derive(Debug, Clone)]
pub struct Fusion<B: Backend> {
    /// The gradient is multiplied by this first.
    pub grad_scale: f64,
    /// Takes in |w g|, with the new weight and the scaled gradient.
    pub averages: Option<(Averages<B>, Observation)>,
    /// Weights to set to zero at last, `[n]`.
    pub mask: Option<Tensor<B, 1, Bool>>,
}

impl<B: Backend> Fusion<B> {
    /// The gradient's scale alone.
    pub fn scale(grad_scale: f64) -> Self {
        Self { grad_scale, averages: None, mask: None }
    }
}

/// A parameter after an update of Adamax, all `[n]`.
#[derive(Debug, Clone)]
pub struct Updated<B: Backend> {
    /// The new weight.
    pub weight: Tensor<B, 1>,
    /// The new first moment.
    pub moment: Tensor<B, 1>,
    /// The new infinity norm.
    pub norm: Tensor<B, 1>,
    /// The new averages, where there are any.
    pub averages: Option<Averages<B>>,
    /// The time that averages and mask took; on a GPU, the time to launch them.
    pub pruning: Duration,
}

/// The scores of one parameter's weights, none of them negative, `[n]`.
#[derive(Debug, Clone)]
pub enum Scores<B: Backend> {
    /// Of two factors, `[n]` each.
    Product(Tensor<B, 1>, Tensor<B, 1>),
    /// The absolute values, `[n]`.
    Absolute(Tensor<B, 1>),
}

impl<B: Backend> Scores<B> {
    /// The scores themselves, `[n]`.
    pub fn values(self) -> Tensor<B, 1> {
        match self {
            Self::Product(a, b) => a * b,
            Self::Absolute(values) => values.abs(),
        }
    }

    /// Their number.
    pub(super) fn len(&self) -> usize {
        let (Self::Product(values, _) | Self::Absolute(values)) = self;
        values.dims()[0]
    }
}
