//! Adamax as in MT-DNN, the inner optimizer of the original.

use burn::config::Config;
use burn::optim::{LearningRate, SimpleOptimizer};
use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{Device, Tensor};

use crate::kernels::{
    AdamaxStep, Averages, Fusion, InnerOptimizer, Stepped, UpdateKernels, Updated,
};

/// Configuration of [`Adamax`].
#[derive(Config, Debug)]
pub struct AdamaxConfig {
    /// Decay rate of the first moment, in [0, 1).
    #[config(default = 0.9)]
    pub beta_1: f64,
    /// Decay rate of the infinity norm, in [0, 1).
    #[config(default = 0.999)]
    pub beta_2: f64,
    /// Added to the absolute gradient and to the denominator.
    #[config(default = 1e-6)]
    pub epsilon: f64,
    /// Decoupled weight decay of parameters of rank 2 and above.
    #[config(default = 0.01)]
    pub weight_decay: f64,
}

/// Adamax (Kingma and Ba, 2015, section 7.1) as MT-DNN modified it: without bias correction, with
/// decoupled weight decay.
///
/// ```text
/// m <- b1 m + (1 - b1) g
/// u <- max(b2 u, |g| + eps)
/// w <- w - lr (m / (u + eps) + decay w)
/// ```
///
/// Parameters of rank 1 are not decayed: in BERT these are exactly the biases and LayerNorm's
/// weights, which the original exempts by name.
#[derive(Debug, Clone)]
pub struct Adamax {
    config: AdamaxConfig,
}

/// The state of [`Adamax`] for one parameter, of its shape.
#[derive(Record, Clone)]
pub struct AdamaxState<B: Backend, const D: usize> {
    /// First moment m.
    pub moment: Tensor<B, D>,
    /// Exponentially decayed infinity norm u.
    pub norm: Tensor<B, D>,
}

impl<B: UpdateKernels> InnerOptimizer<B> for Adamax {
    /// In one pass over memory, where the backend can.
    ///
    /// # Shapes
    /// As [`InnerOptimizer::step_with`].
    fn step_with<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<AdamaxState<B, D>>,
        fusion: Fusion<B>,
    ) -> Stepped<B, AdamaxState<B, D>, Averages<B>, D> {
        let AdamaxConfig { beta_1, beta_2, epsilon, weight_decay } = self.config;
        let shape = weight.shape();
        let size = [shape.num_elements()];
        let (moment, norm) = match state {
            Some(AdamaxState { moment, norm }) => (moment.reshape(size), norm.reshape(size)),
            None => {
                let zeros = || Tensor::zeros(size, &weight.device());
                (zeros(), zeros())
            }
        };
        let step = AdamaxStep {
            learning_rate: lr,
            beta_1,
            beta_2,
            epsilon,
            weight_decay: if D > 1 { weight_decay } else { 0.0 },
        };
        let Updated { weight, moment, norm, averages, pruning } =
            B::adamax(step, weight.reshape(size), grad.reshape(size), moment, norm, fusion);
        let [weight, moment, norm] = [weight, moment, norm].map(|t| t.reshape(shape.clone()));
        Stepped { weight, state: Some(AdamaxState { moment, norm }), observed: averages, pruning }
    }
}

impl<B: UpdateKernels> SimpleOptimizer<B> for Adamax {
    type State<const D: usize> = AdamaxState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        let stepped = self.step_with(lr, tensor, grad, state, Fusion::scale(1.0));
        (stepped.weight, stepped.state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        AdamaxState { moment: state.moment.to_device(device), norm: state.norm.to_device(device) }
    }
}

impl AdamaxConfig {
    /// The optimizer.
    pub fn init(&self) -> Adamax {
        Adamax { config: self.clone() }
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance};
    use burn_ndarray::NdArray;

    type B = NdArray<f32>;

    fn adamax(weight_decay: f64) -> Adamax {
        AdamaxConfig::new().with_weight_decay(weight_decay).with_epsilon(0.5).init()
    }

    #[test]
    fn two_steps_match_numbers_computed_by_hand() {
        // eps 0.5, lr 0.1, decay 0.01.
        // Step 1: w = 2, g = 1: m = 0.1, u = 1.5, update = 0.1/2 + 0.02 = 0.07, w = 1.993.
        // Step 2: g = -0.2: m = 0.09 - 0.02 = 0.07, u = max(1.4985, 0.7) = 1.4985,
        //         update = 0.07/1.9985 + 0.01993 = 0.05495627, w = 1.98750437.
        let device = Default::default();
        let w = Tensor::<B, 2>::from_floats([[2.0]], &device);
        let optimizer = adamax(0.01);
        let (w, state) = optimizer.step(0.1, w, Tensor::from_floats([[1.0]], &device), None);
        w.to_data()
            .assert_approx_eq::<f32>(&TensorData::from([[1.993f32]]), Tolerance::absolute(1e-6));
        let (w, state) = optimizer.step(0.1, w, Tensor::from_floats([[-0.2]], &device), state);
        w.to_data().assert_approx_eq::<f32>(
            &TensorData::from([[1.987_504_4f32]]),
            Tolerance::absolute(1e-6),
        );
        let norm = state.unwrap().norm.to_data();
        norm.assert_approx_eq::<f32>(&TensorData::from([[1.4985f32]]), Tolerance::absolute(1e-6));
    }

    #[test]
    fn parameters_of_rank_one_are_not_decayed() {
        let device = Default::default();
        let (w, _) = adamax(1.0).step(
            0.1,
            Tensor::<B, 1>::from_floats([2.0], &device),
            Tensor::from_floats([0.0], &device),
            None,
        );
        w.to_data().assert_eq(&TensorData::from([2.0f32]), true);
    }
}
