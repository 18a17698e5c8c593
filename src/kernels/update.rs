//! What happens to every parameter at every update: norm, optimizer, sensitivities, masks; and the
//! k-th smallest of all scores.

use std::time::Instant;

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use super::operands::{AdamaxStep, Averages, Fusion, Observation, Scores, Updated};
use super::{default_update as default, reduce};

/// Operations over whole parameters, flattened to `[n]`. States are taken by value, so that a
/// backend can write to them in place.
pub trait UpdateKernels: Backend {
    /// Whether work is put in a queue, so that reading a number waits for all that is before it.
    const QUEUES: bool = true;

    /// The sum of the squares of all elements of all `values` together.
    ///
    /// # Shapes
    /// - `values`: `[n]` each, any n, on `device`
    /// - output: `[1]`
    fn sum_of_squares(values: Vec<Tensor<Self, 1>>, device: &Self::Device) -> Tensor<Self, 1> {
        reduce::sum_of_squares(values, device)
    }

    /// One update of Adamax without bias correction, and what `fusion` asks for.
    ///
    /// # Shapes
    /// - `weight`, `grad`, `moment`, `norm`: `[n]`
    fn adamax(
        step: AdamaxStep,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        moment: Tensor<Self, 1>,
        norm: Tensor<Self, 1>,
        fusion: Fusion<Self>,
    ) -> Updated<Self> {
        let Fusion { grad_scale, averages, mask } = fusion;
        let grad = if grad_scale == 1.0 { grad } else { grad.mul_scalar(grad_scale) };
        let [weight, moment, norm] = default::adamax(step, weight, grad.clone(), moment, norm);
        let started = Instant::now();
        let averages = averages.map(|(a, o)| Self::observe(a, weight.clone(), grad, o));
        let weight = match mask {
            Some(mask) => weight.mask_fill(mask, 0.0),
            None => weight,
        };
        Updated { weight, moment, norm, averages, pruning: started.elapsed() }
    }

    /// Takes in the sensitivities s = |w g| of one update (PLATON, equations 6 to 8). Where a
    /// window ends:
    ///
    /// ```text
    /// I <- b1 I + (1 - b1) window;  U <- b2 U + (1 - b2) |window - I|;  window <- s
    /// ```
    ///
    /// Otherwise `window <- (window * position + s) / (position + 1)`.
    ///
    /// # Shapes
    /// - `weight`, `grad`: `[n]`
    fn observe(
        averages: Averages<Self>,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        observation: Observation,
    ) -> Averages<Self> {
        default::observe(averages, weight, grad, observation)
    }

    /// How many elements of each of `parameters` are zero.
    ///
    /// # Shapes
    /// - `parameters`: `[n]` each, any n
    fn count_zeros(parameters: Vec<Tensor<Self, 1>>) -> Vec<usize> {
        reduce::count_each(parameters.into_iter().map(|values| values.equal_elem(0.0)))
    }

    /// The `k`-th smallest of all `scores` together, counted from 1, exactly; `None` for `k` = 0 or
    /// above their number. Undefined scores (NaN) count as larger than all others.
    ///
    /// The default neither sorts the scores nor copies them to the host: it halves the range of the
    /// floats' bit patterns, which for numbers that are not negative are in the order of the
    /// numbers, 31 times.
    ///
    /// # Shapes
    /// - `scores`: `[n]` each, any n
    fn kth_smallest(scores: &[Scores<Self>], k: usize) -> Option<f32> {
        default::kth_smallest(scores, k)
    }

    /// Which scores lie strictly below `threshold`.
    ///
    /// # Shapes
    /// - `scores`: `[n]`
    /// - output: `[n]`
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
