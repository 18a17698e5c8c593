//! What an optimizer offers to a decorator that scores and masks weights.

use std::time::{Duration, Instant};

use burn::optim::{Adam, AdamW, LearningRate, Sgd, SimpleOptimizer};
use burn::tensor::Tensor;

use super::operands::{Averages, Fusion};
use super::update::UpdateKernels;

/// A parameter after an update.
pub struct Stepped<B: UpdateKernels, S, T, const D: usize> {
    /// The new weight, of any shape.
    pub weight: Tensor<B, D>,
    /// The optimizer's new state.
    pub state: Option<S>,
    /// What the scores are made of, where something was observed.
    pub observed: Option<T>,
    /// The time that observation and mask took.
    pub pruning: Duration,
}

/// An optimizer of burn's that a decorator can share its pass over memory with. The default body
/// suits any; an optimizer with a kernel of its own does better.
pub trait InnerOptimizer<B: UpdateKernels>: SimpleOptimizer<B> {
    /// Updates one parameter and does what `fusion` asks for.
    ///
    /// # Shapes
    /// - `weight`, `grad` and the new weight: the parameter's, of n elements
    /// - tensors of `fusion`: `[n]`
    fn step_with<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
        fusion: Fusion<B>,
    ) -> Stepped<B, Self::State<D>, Averages<B>, D> {
        let Fusion { grad_scale, averages, mask } = fusion;
        let shape = weight.shape();
        let size = [shape.num_elements()];
        let grad = if grad_scale == 1.0 { grad } else { grad.mul_scalar(grad_scale) };
        let (weight, state) = self.step(lr, weight, grad.clone(), state);
        let started = Instant::now();
        let observed = averages.map(|(averages, observation)| {
            let (weight, grad) = (weight.clone().reshape(size), grad.reshape(size));
            B::observe(averages, weight, grad, observation)
        });
        let weight = match mask {
            Some(mask) => weight.mask_fill(mask.reshape(shape), 0.0),
            None => weight,
        };
        Stepped { weight, state, observed, pruning: started.elapsed() }
    }
}

impl<B: UpdateKernels> InnerOptimizer<B> for Adam {}
impl<B: UpdateKernels> InnerOptimizer<B> for AdamW {}
impl<B: UpdateKernels> InnerOptimizer<B> for Sgd<B> {}
