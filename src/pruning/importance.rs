//! Importance and uncertainty of the weights of one parameter (PLATON, equations 6 to 9).

use burn::record::Record;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

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
    /// `sensitivity`: `[n]`
    pub fn update(&mut self, sensitivity: Tensor<B, 1>, position: usize, smoothing: Smoothing) {
        let Smoothing { beta1, beta2 } = smoothing;
        let window = self.window.clone();
        if position > 0 {
            let l = position as f64;
            self.window = (window.mul_scalar(l) + sensitivity).div_scalar(l + 1.0);
            return;
        }
        let importance =
            self.importance.clone().mul_scalar(beta1) + window.clone().mul_scalar(1.0 - beta1);
        let fluctuation = (window - importance.clone()).abs();
        self.uncertainty =
            self.uncertainty.clone().mul_scalar(beta2) + fluctuation.mul_scalar(1.0 - beta2);
        self.importance = importance;
        self.window = sensitivity;
    }

    /// S = I * U, `[n]`.
    pub fn score(&self) -> Tensor<B, 1> {
        self.importance.clone() * self.uncertainty.clone()
    }

    /// The state on another device.
    pub fn to_device(self, device: &B::Device) -> Self {
        Self {
            window: self.window.to_device(device),
            importance: self.importance.to_device(device),
            uncertainty: self.uncertainty.to_device(device),
        }
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
        for (s, position) in [(2.0, 0), (4.0, 1), (7.0, 0)] {
            state.update(Tensor::from_floats([s], &device), position, smoothing);
        }
        let tolerance = Tolerance::absolute(1e-6);
        state.score().to_data().assert_approx_eq::<f32>(&TensorData::from([1.6875f32]), tolerance);
        state.window.to_data().assert_approx_eq::<f32>(&TensorData::from([7.0f32]), tolerance);
    }
}
