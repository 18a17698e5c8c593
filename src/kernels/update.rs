//! What happens to every parameter at every update: sum of squares, Adamax, sensitivities.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

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

/// Operations over whole parameters, flattened to `[n]`. States are taken by value, so that a
/// backend can write to them in place.
pub trait UpdateKernels: Backend {
    /// The sum of the squares of all elements, `[1]`.
    fn sum_of_squares(values: Tensor<Self, 1>) -> Tensor<Self, 1> {
        reduce::sum_of_squares(values)
    }

    /// How many elements are zero.
    fn count_zeros(values: Tensor<Self, 1>) -> usize {
        let zeros = reduce::sum(values.equal_elem(0.0).float());
        zeros.into_data().iter::<f64>().next().unwrap_or(0.0) as usize
    }

    /// One update of Adamax without bias correction; gives weight, moment and norm.
    ///
    /// # Shapes
    /// All `[n]`.
    fn adamax(
        step: AdamaxStep,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        moment: Tensor<Self, 1>,
        norm: Tensor<Self, 1>,
    ) -> [Tensor<Self, 1>; 3] {
        let AdamaxStep { learning_rate, beta_1, beta_2, epsilon, weight_decay } = step;
        let size = grad.clone().abs().add_scalar(epsilon);
        let moment = moment.mul_scalar(beta_1) + grad.mul_scalar(1.0 - beta_1);
        let norm = norm.mul_scalar(beta_2).max_pair(size);
        let mut update = moment.clone() / norm.clone().add_scalar(epsilon);
        if weight_decay != 0.0 {
            update = update + weight.clone().mul_scalar(weight_decay);
        }
        [weight - update.mul_scalar(learning_rate), moment, norm]
    }

    /// Takes the sensitivity |w g| into the mean over a window of which `position` updates are in:
    /// `(window * position + |w g|) / (position + 1)`.
    ///
    /// # Shapes
    /// All `[n]`.
    fn accumulate_sensitivity(
        window: Tensor<Self, 1>,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        position: f64,
    ) -> Tensor<Self, 1> {
        let sensitivity = (weight * grad).abs();
        (window.mul_scalar(position) + sensitivity).div_scalar(position + 1.0)
    }

    /// Ends a window: smooths importance and uncertainty with it and begins the next one with
    /// |w g|; gives window, importance and uncertainty.
    ///
    /// # Shapes
    /// All `[n]`.
    fn close_window(
        window: Tensor<Self, 1>,
        importance: Tensor<Self, 1>,
        uncertainty: Tensor<Self, 1>,
        weight: Tensor<Self, 1>,
        grad: Tensor<Self, 1>,
        betas: (f64, f64),
    ) -> [Tensor<Self, 1>; 3] {
        let (beta1, beta2) = betas;
        let importance = importance.mul_scalar(beta1) + window.clone().mul_scalar(1.0 - beta1);
        let fluctuation = (window - importance.clone()).abs();
        let uncertainty = uncertainty.mul_scalar(beta2) + fluctuation.mul_scalar(1.0 - beta2);
        [(weight * grad).abs(), importance, uncertainty]
    }
}

#[cfg(feature = "ndarray")]
impl UpdateKernels for burn_ndarray::NdArray<f32> {}

#[cfg(feature = "cuda")]
impl UpdateKernels for burn_cuda::Cuda<f32, i32> {}

#[cfg(feature = "wgpu")]
impl UpdateKernels for burn_wgpu::Wgpu<f32, i32> {}
