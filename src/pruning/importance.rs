//! Importance and uncertainty of the weights of one parameter (PLATON, equations 6 to 8).

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

pub use crate::kernels::ScoreState;

/// Smoothing constants of the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Of the importance, in [0, 1).
    pub beta1: f64,
    /// Of the uncertainty, in [0, 1).
    pub beta2: f64,
}

impl<B: Backend> ScoreState<B> {
    /// All zero, for `n` weights.
    pub fn new(n: usize, device: &B::Device) -> Self {
        let zeros = || Tensor::zeros([n], device);
        Self { window: zeros(), importance: zeros(), uncertainty: zeros() }
    }

    /// The same on `device`.
    #[must_use]
    pub fn to_device(self, device: &B::Device) -> Self {
        let Self { window, importance, uncertainty } = self;
        let [window, importance, uncertainty] =
            [window, importance, uncertainty].map(|t| t.to_device(device));
        Self { window, importance, uncertainty }
    }

    /// S = I * U, `[n]`.
    pub fn score(&self) -> Tensor<B, 1> {
        self.importance.clone() * self.uncertainty.clone()
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;
    use crate::kernels::{Observation, UpdateKernels};
    use burn::tensor::{TensorData, Tolerance};

    type B = burn_ndarray::NdArray<f32>;

    #[test]
    fn a_window_is_averaged_and_then_smoothed_as_computed_by_hand() {
        // Sensitivities 2, 4 within a window: mean 3. At its end with b1 = 0.5, b2 = 0.25:
        // I = 1.5, U = 0.75 * |3 - 1.5| = 1.125, S = 1.6875, window = the new sensitivity 7.
        let device = Default::default();
        let mut state = ScoreState::<B>::new(1, &device);
        for (weight, grad, position) in [(2.0, -1.0, 0), (-2.0, 2.0, 1), (1.0, 7.0, 0)] {
            let (weight, grad) =
                (Tensor::from_floats([weight], &device), Tensor::from_floats([grad], &device));
            let observation = Observation { position, beta1: 0.5, beta2: 0.25 };
            state = B::observe(state, weight, grad, observation);
        }
        let tolerance = Tolerance::absolute(1e-6);
        state.score().to_data().assert_approx_eq::<f32>(&TensorData::from([1.6875f32]), tolerance);
        state.window.to_data().assert_approx_eq::<f32>(&TensorData::from([7.0f32]), tolerance);
    }
}
