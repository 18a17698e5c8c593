//! The inner optimizers to choose from.

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    Adam, AdamConfig, AdamState, AdamW, AdamWConfig, AdamWState, LearningRate, Sgd, SgdConfig,
    SgdState, SimpleOptimizer,
};
use burn::record::Record;
use burn::tensor::backend::Backend;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::adamax::{Adamax, AdamaxConfig, AdamaxState};
use super::radam::{RAdam, RAdamConfig, RAdamState};
use crate::kernels::{Averages, Fusion, InnerOptimizer, Stepped, UpdateKernels};

/// The inner optimizers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Adamax without bias correction, decoupled weight decay: the original's default.
    Adamax,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Rectified Adam with decoupled weight decay.
    RAdam,
    /// Stochastic gradient descent with momentum; weight decay is added to the gradient.
    Sgd,
}

/// Configuration of [`AnyOptimizer`].
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerConfig {
    /// Which one.
    pub name: OptimizerName,
    /// Epsilon of those that have one.
    pub epsilon: f64,
    /// Weight decay; parameters of rank 1 (in BERT: biases and LayerNorm) are exempt.
    pub weight_decay: f64,
    /// SGD's momentum, in [0, 1).
    pub momentum: f64,
}

/// One of the optimizers, chosen at run time so that the training is compiled once.
#[derive(Clone)]
pub enum AnyOptimizer<B: Backend> {
    /// See [`OptimizerName::Adamax`].
    Adamax(Adamax),
    /// See [`OptimizerName::Adam`].
    Adam(ByRank<Adam>),
    /// See [`OptimizerName::AdamW`].
    AdamW(ByRank<AdamW>),
    /// See [`OptimizerName::RAdam`].
    RAdam(ByRank<RAdam>),
    /// See [`OptimizerName::Sgd`].
    Sgd(ByRank<Sgd<B>>),
}

/// An optimizer with weight decay for matrices, and without for parameters of rank 1.
#[derive(Clone)]
pub struct ByRank<O> {
    matrices: O,
    vectors: O,
}

impl<O> ByRank<O> {
    fn new(decay: f64, build: impl Fn(f64) -> O) -> Self {
        Self { matrices: build(decay), vectors: build(0.0) }
    }

    fn of(&self, rank: usize) -> &O {
        if rank > 1 { &self.matrices } else { &self.vectors }
    }
}

/// The state of [`AnyOptimizer`] for one parameter.
#[derive(Record, Clone)]
pub enum AnyState<B: Backend, const D: usize> {
    /// See [`OptimizerName::Adamax`].
    Adamax(AdamaxState<B, D>),
    /// See [`OptimizerName::Adam`].
    Adam(AdamState<B, D>),
    /// See [`OptimizerName::AdamW`].
    AdamW(AdamWState<B, D>),
    /// See [`OptimizerName::RAdam`].
    RAdam(RAdamState<B, D>),
    /// See [`OptimizerName::Sgd`].
    Sgd(SgdState<B, D>),
}

impl OptimizerConfig {
    /// The optimizer.
    pub fn init<B: Backend>(&self) -> AnyOptimizer<B> {
        let Self { name, epsilon, weight_decay, momentum } = *self;
        // burn takes weight decay as f32, and none for 0.
        let coupled = |decay: f64| (decay > 0.0).then(|| WeightDecayConfig::new(decay as f32));
        match name {
            OptimizerName::Adamax => AnyOptimizer::Adamax(
                AdamaxConfig::new().with_epsilon(epsilon).with_weight_decay(weight_decay).init(),
            ),
            OptimizerName::Adam => AnyOptimizer::Adam(ByRank::new(weight_decay, |decay| {
                let config = AdamConfig::new().with_epsilon(epsilon as f32);
                config.with_weight_decay(coupled(decay)).build()
            })),
            OptimizerName::AdamW => AnyOptimizer::AdamW(ByRank::new(weight_decay, |decay| {
                let config = AdamWConfig::new().with_epsilon(epsilon as f32);
                config.with_weight_decay(decay as f32).build()
            })),
            OptimizerName::RAdam => AnyOptimizer::RAdam(ByRank::new(weight_decay, |decay| {
                RAdamConfig::new().with_epsilon(epsilon).with_weight_decay(decay).init()
            })),
            OptimizerName::Sgd => AnyOptimizer::Sgd(ByRank::new(weight_decay, |decay| {
                let momentum = (momentum > 0.0)
                    .then(|| MomentumConfig::new().with_momentum(momentum).with_dampening(0.0));
                SgdConfig::new().with_weight_decay(coupled(decay)).with_momentum(momentum).build()
            })),
        }
    }
}

impl<B: UpdateKernels> InnerOptimizer<B> for AnyOptimizer<B> {
    fn step_with<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<AnyState<B, D>>,
        fusion: Fusion<B>,
    ) -> Stepped<B, AnyState<B, D>, Averages<B>, D> {
        // A state of another optimizer is as good as none.
        macro_rules! step {
            ($variant:ident, $optimizer:expr) => {{
                let state = match state {
                    Some(AnyState::$variant(state)) => Some(state),
                    _ => None,
                };
                let Stepped { weight, state, observed, pruning } =
                    $optimizer.step_with(lr, weight, grad, state, fusion);
                Stepped { weight, state: state.map(AnyState::$variant), observed, pruning }
            }};
        }
        match self {
            Self::Adamax(optimizer) => step!(Adamax, optimizer),
            Self::Adam(optimizer) => step!(Adam, optimizer.of(D)),
            Self::AdamW(optimizer) => step!(AdamW, optimizer.of(D)),
            Self::RAdam(optimizer) => step!(RAdam, optimizer.of(D)),
            Self::Sgd(optimizer) => step!(Sgd, optimizer.of(D)),
        }
    }
}

impl<B: UpdateKernels> InnerOptimizer<B> for RAdam {}

impl<B: UpdateKernels> SimpleOptimizer<B> for AnyOptimizer<B> {
    type State<const D: usize> = AnyState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<AnyState<B, D>>,
    ) -> (Tensor<B, D>, Option<AnyState<B, D>>) {
        let stepped = self.step_with(lr, weight, grad, state, Fusion::scale(1.0));
        (stepped.weight, stepped.state)
    }

    fn to_device<const D: usize>(state: AnyState<B, D>, device: &Device<B>) -> AnyState<B, D> {
        match state {
            AnyState::Adamax(state) => AnyState::Adamax(Adamax::to_device(state, device)),
            AnyState::Adam(state) => AnyState::Adam(Adam::to_device(state, device)),
            AnyState::AdamW(state) => AnyState::AdamW(AdamW::to_device(state, device)),
            AnyState::RAdam(state) => AnyState::RAdam(RAdam::to_device(state, device)),
            AnyState::Sgd(state) => AnyState::Sgd(Sgd::to_device(state, device)),
        }
    }
}

#[cfg(all(test, feature = "ndarray"))]
#[path = "any_tests.rs"]
mod tests;
