//! What happens to every parameter at every update: norm, optimizer, sensitivities, masks; and the
//! global threshold.

use std::time::{Duration, Instant};

use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use super::default_update as default;
use super::reduce;

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

/// The score state of one parameter of n weights, flattened to `[n]`.
#[derive(Record, Clone, Debug)]
pub struct ScoreState<B: Backend> {
    /// Mean sensitivity |w g| over the window so far.
    pub window: Tensor<B, 1>,
    /// Smoothed importance I.
    pub importance: Tensor<B, 1>,
    /// Smoothed uncertainty U.
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

/// What else happens to a parameter of n weights when its optimizer steps.
#[derive(Debug, Clone)]
pub struct Pass<B: Backend> {
    /// The gradient is multiplied by this first.
    pub grad_scale: f64,
    /// Takes in |w g|, with the new weight and the scaled gradient.
    pub scores: Option<(ScoreState<B>, Observation)>,
    /// Weights to set to zero at last, `[n]`.
    pub drop: Option<Tensor<B, 1, Bool>>,
}

/// A parameter after an update, all `[n]`.
#[derive(Debug, Clone)]
pub struct Updated<B: Backend> {
    /// The new weight.
    pub weight: Tensor<B, 1>,
    /// The new first moment.
    pub moment: Tensor<B, 1>,
    /// The new infinity norm.
    pub norm: Tensor<B, 1>,
    /// The new scores, where there are any.
    pub scores: Option<ScoreState<B>>,
    /// The time that scores and masks took; on a GPU, the time to launch them.
    pub pruning: Duration,
}

/// The scores of one parameter's weights, none of them negative, `[n]`.
#[derive(Debug, Clone)]
pub enum Scores<B: Backend> {
    /// Importance times uncertainty.
    Product(Tensor<B, 1>, Tensor<B, 1>),
    /// The absolute value.
    Absolute(Tensor<B, 1>),
}

/// The scores of one pruning decision, cut at their k-th smallest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Weights whose score is strictly below this become zero; ties survive.
    pub threshold: f32,
    /// How many scores lie strictly below it.
    pub below: usize,
}

impl<B: Backend> Scores<B> {
    /// The scores themselves.
    pub fn values(self) -> Tensor<B, 1> {
        match self {
            Self::Product(a, b) => a * b,
            Self::Absolute(values) => values.abs(),
        }
    }

    /// Their number.
    pub fn len(&self) -> usize {
        let (Self::Product(values, _) | Self::Absolute(values)) = self;
        values.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Operations over whole parameters, flattened to `[n]`. States are taken by value, so that a
/// backend can write to them in place.
pub trait UpdateKernels: Backend {
    /// The sum of the squares of all elements, `[1]`.
    fn sum_of_squares(values: Tensor<Self, 1>) -> Tensor<Self, 1> {
        reduce::sum_of_squares(values)
    }

    /// One update of Adamax without bias correction, and what `pass` asks for.
    fn adamax(
        step: AdamaxStep,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        moment: Tensor<Self, 1>,
        norm: Tensor<Self, 1>,
        pass: Pass<Self>,
    ) -> Updated<Self> {
        let Pass { grad_scale, scores, drop } = pass;
        let grad = if grad_scale == 1.0 { grad } else { grad.mul_scalar(grad_scale) };
        let [weight, moment, norm] = default::adamax(step, weight, grad.clone(), moment, norm);
        let started = Instant::now();
        let scores = scores.map(|(scores, o)| Self::observe(scores, weight.clone(), grad, o));
        let weight = match drop {
            Some(drop) => weight.mask_fill(drop, 0.0),
            None => weight,
        };
        Updated { weight, moment, norm, scores, pruning: started.elapsed() }
    }

    /// Takes in the sensitivities s = |w g| of one update (PLATON, equations 6 to 8). Where a
    /// window ends:
    ///
    /// ```text
    /// I <- b1 I + (1 - b1) window;  U <- b2 U + (1 - b2) |window - I|;  window <- s
    /// ```
    ///
    /// Otherwise `window <- (window * position + s) / (position + 1)`.
    fn observe(
        scores: ScoreState<Self>,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        observation: Observation,
    ) -> ScoreState<Self> {
        default::observe(scores, weight, grad, observation)
    }

    /// How many elements of all `parameters` together are zero.
    fn count_zeros(parameters: Vec<Tensor<Self, 1>>) -> usize {
        reduce::count(parameters.into_iter().map(|values| values.equal_elem(0.0)))
    }

    /// Cuts all `scores` together at their `k`-th smallest, counted from 1, exactly; `None` for `k`
    /// = 0 or above their number: nothing is to be masked. Undefined scores (NaN) count as larger
    /// than all others, so that a weight whose score is undefined survives.
    ///
    /// The default neither sorts nor concatenates nor copies the scores to the host: it halves the
    /// range of the floats' bit patterns, which for numbers that are not negative are in the order
    /// of the numbers, 31 times.
    fn cut(scores: &[Scores<Self>], k: usize) -> Option<Cut> {
        default::cut(scores, k)
    }

    /// Which scores lie strictly below `threshold`, `[n]`.
    fn below(scores: Scores<Self>, threshold: f32) -> Tensor<Self, 1, Bool> {
        scores.values().lower_elem(threshold)
    }
}

#[cfg(feature = "ndarray")]
impl UpdateKernels for burn_ndarray::NdArray<f32> {}

#[cfg(feature = "cuda")]
impl UpdateKernels for burn_cuda::Cuda<f32, i32> {}

#[cfg(feature = "wgpu")]
impl UpdateKernels for burn_wgpu::Wgpu<f32, i32> {}
