//! What an optimizer offers to a decorator that scores and masks weights.

use std::time::{Duration, Instant};

use burn::optim::{Adam, AdamW, LearningRate, Sgd, SimpleOptimizer};
use burn::tensor::Tensor;

use super::operands::{Pass, ScoreState};
use super::update::UpdateKernels;

/// A parameter after an update.
pub struct Stepped<B: UpdateKernels, S, const D: usize> {
    /// The new weight.
    pub weight: Tensor<B, D>,
    /// The optimizer's new state.
    pub state: Option<S>,
    /// The new scores, where there are any.
    pub scores: Option<ScoreState<B>>,
    /// The time that scores and masks took.
    pub pruning: Duration,
}

/// An optimizer of burn's that `PlatonOptimizer` can decorate. The
/// default body suits any; an optimizer of ours shares its pass over memory with the scores.
pub trait InnerOptimizer<B: UpdateKernels>: SimpleOptimizer<B> {
    /// Updates one parameter and does what `pass` asks for.
    fn step_with<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
        pass: Pass<B>,
    ) -> Stepped<B, Self::State<D>, D> {
        let Pass { grad_scale, scores, drop } = pass;
        let shape = weight.shape();
        let size = [shape.num_elements()];
        let grad = if grad_scale == 1.0 { grad } else { grad.mul_scalar(grad_scale) };
        let (weight, state) = self.step(lr, weight, grad.clone(), state);
        let started = Instant::now();
        let scores = scores.map(|(scores, observation)| {
            let (weight, grad) = (weight.clone().reshape(size), grad.reshape(size));
            B::observe(scores, weight, grad, observation)
        });
        let weight = match drop {
            Some(drop) => weight.mask_fill(drop.reshape(shape), 0.0),
            None => weight,
        };
        Stepped { weight, state, scores, pruning: started.elapsed() }
    }
}

impl<B: UpdateKernels> InnerOptimizer<B> for Adam {}
impl<B: UpdateKernels> InnerOptimizer<B> for AdamW {}
impl<B: UpdateKernels> InnerOptimizer<B> for Sgd<B> {}
