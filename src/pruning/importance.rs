//! Importance and uncertainty of the weights of one parameter (PLATON, equations 6 to 9).

use burn::record::Record;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::kernels::UpdateKernels;

/// Smoothing constants of the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Of the importance, in [0, 1).
    pub beta1: f64,
    /// Of the uncertainty, in [0, 1).
    pub beta2: f64,
}

/// The score state of one parameter of n weights, flattened to `[n]`.
#[derive(Record, Clone, Debug)]
pub struct ScoreState<B: Backend> {
    /// Mean sensitivity |w * g| over the window so far.
    pub window: Tensor<B, 1>,
    /// Smoothed importance I.
    pub importance: Tensor<B, 1>,
    /// Smoothed uncertainty U.
    pub uncertainty: Tensor<B, 1>,
}

impl<B: Backend> ScoreState<B> {
    /// All zero, for `n` weights.
    pub fn new(n: usize, device: &B::Device) -> Self {
        let zeros = || Tensor::zeros([n], device);
        Self { window: zeros(), importance: zeros(), uncertainty: zeros() }
    }

    /// S = I * U, `[n]`.
    pub fn score(&self) -> Tensor<B, 1> {
        self.importance.clone() * self.uncertainty.clone()
    }
}

impl<B: UpdateKernels> ScoreState<B> {
    /// Takes in the sensitivity s = |w * g| of one update; `position` is the update's number
    /// modulo the window's length. At 0 a window ends:
    ///
    /// ```text
    /// I <- b1 I + (1 - b1) window;  U <- b2 U + (1 - b2) |window - I|;  window <- s
    /// ```
    ///
    /// Otherwise `window <- (window * position + s) / (position + 1)`.
    ///
    /// # Shapes
    /// `weight`, `grad`: `[n]`
    #[must_use]
    pub fn update(
        self,
        weight: Tensor<B, 1>,
        grad: Tensor<B, 1>,
        position: usize,
        smoothing: Smoothing,
    ) -> Self {
        let Self { window, importance, uncertainty } = self;
        if position > 0 {
            let window = B::accumulate_sensitivity(window, weight, grad, position as f64);
            return Self { window, importance, uncertainty };
        }
        let betas = (smoothing.beta1, smoothing.beta2);
        let [window, importance, uncertainty] =
            B::close_window(window, importance, uncertainty, weight, grad, betas);
        Self { window, importance, uncertainty }
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance};

    type B = burn_ndarray::NdArray<f32>;

    #[test]
    fn a_window_is_averaged_and_then_smoothed_as_computed_by_hand() {
        // Sensitivities 2, 4 within a window: mean 3. At its end with b1 = 0.5, b2 = 0.25:
        // I = 1.5, U = 0.75 * |3 - 1.5| = 1.125, S = 1.6875, window = the new sensitivity 7.
        let device = Default::default();
        let smoothing = Smoothing { beta1: 0.5, beta2: 0.25 };
        let mut state = ScoreState::<B>::new(1, &device);
        for (weight, grad, position) in [(2.0, -1.0, 0), (-2.0, 2.0, 1), (1.0, 7.0, 0)] {
            let (weight, grad) =
                (Tensor::from_floats([weight], &device), Tensor::from_floats([grad], &device));
            state = state.update(weight, grad, position, smoothing);
        }
        let tolerance = Tolerance::absolute(1e-6);
        state.score().to_data().assert_approx_eq::<f32>(&TensorData::from([1.6875f32]), tolerance);
        state.window.to_data().assert_approx_eq::<f32>(&TensorData::from([7.0f32]), tolerance);
    }
}
