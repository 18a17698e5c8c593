//! RAdam, which burn does not have.

use burn::config::Config;
use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{Device, Tensor};

/// Configuration of [`RAdam`].
#[derive(Config, Debug)]
pub struct RAdamConfig {
    /// Decay rate of the first moment, in [0, 1).
    #[config(default = 0.9)]
    pub beta_1: f64,
    /// Decay rate of the second moment, in [0, 1).
    #[config(default = 0.999)]
    pub beta_2: f64,
    /// Added to the denominator.
    #[config(default = 1e-6)]
    pub epsilon: f64,
    /// Decoupled weight decay.
    #[config(default = 0.0)]
    pub weight_decay: f64,
}

/// Rectified Adam (Liu et al., 2020, "On the Variance of the Adaptive Learning Rate and Beyond",
/// algorithm 2), with decoupled weight decay.
///
/// With t = 1, 2, ... and rho_inf = 2 / (1 - b2) - 1:
///
/// ```text
/// w <- w - lr decay w
/// m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2
/// rho = rho_inf - 2 t b2^t / (1 - b2^t)
/// rho > 5:  r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
///           w <- w - lr r m / (1 - b1^t) * sqrt(1 - b2^t) / (sqrt(v) + eps)
/// else:     w <- w - lr m / (1 - b1^t)
/// ```
///
/// The paper's bound is rho > 4; 5 is that of its authors' program and of PyTorch.
#[derive(Debug, Clone)]
pub struct RAdam {
    config: RAdamConfig,
}

/// The state of [`RAdam`] for one parameter, of its shape.
#[derive(Record, Clone)]
pub struct RAdamState<B: Backend, const D: usize> {
    /// Updates t.
    pub time: usize,
    /// First moment m.
    pub moment_1: Tensor<B, D>,
    /// Second moment v.
    pub moment_2: Tensor<B, D>,
}

impl RAdamConfig {
    /// The optimizer.
    pub fn init(&self) -> RAdam {
        RAdam { config: self.clone() }
    }
}

impl<B: Backend> SimpleOptimizer<B> for RAdam {
    type State<const D: usize> = RAdamState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<RAdamState<B, D>>,
    ) -> (Tensor<B, D>, Option<RAdamState<B, D>>) {
        let RAdamConfig { beta_1, beta_2, epsilon, weight_decay } = self.config;
        let RAdamState { time, moment_1, moment_2 } = state.unwrap_or_else(|| RAdamState {
            time: 0,
            moment_1: grad.zeros_like(),
            moment_2: grad.zeros_like(),
        });
        let time = time + 1;
        let moment_1 = moment_1.mul_scalar(beta_1) + grad.clone().mul_scalar(1.0 - beta_1);
        let moment_2 = moment_2.mul_scalar(beta_2) + grad.square().mul_scalar(1.0 - beta_2);
        let t = time as f64;
        let (correction_1, correction_2) = (1.0 - beta_1.powf(t), 1.0 - beta_2.powf(t));
        let limit = 2.0 / (1.0 - beta_2) - 1.0;
        let length = limit - 2.0 * t * beta_2.powf(t) / correction_2;
        let step = moment_1.clone().mul_scalar(lr / correction_1);
        let step = if length > 5.0 {
            let rectification = ((length - 4.0) * (length - 2.0) * limit
                / ((limit - 4.0) * (limit - 2.0) * length))
                .sqrt();
            step.mul_scalar(rectification * correction_2.sqrt())
                / moment_2.clone().sqrt().add_scalar(epsilon)
        } else {
            step
        };
        let weight =
            if weight_decay > 0.0 { weight.mul_scalar(1.0 - lr * weight_decay) } else { weight };
        (weight - step, Some(RAdamState { time, moment_1, moment_2 }))
    }

    fn to_device<const D: usize>(state: RAdamState<B, D>, device: &Device<B>) -> RAdamState<B, D> {
        RAdamState {
            time: state.time,
            moment_1: state.moment_1.to_device(device),
            moment_2: state.moment_2.to_device(device),
        }
    }
}
