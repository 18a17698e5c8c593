//! What decides which weights go. A criterion is one file here, and its lines in [`any`].

pub mod any;
pub mod magnitude;
pub mod platon;

use std::time::Instant;

use burn::optim::LearningRate;
use burn::tensor::{Bool, Tensor};

use super::record::StateRecord;
use crate::kernels::{Fusion, InnerOptimizer, Scores, Stepped, UpdateKernels};

/// One parameter at one update, all tensors of its shape.
pub struct Parameter<B: UpdateKernels, S, const D: usize> {
    /// Before the update.
    pub weight: Tensor<B, D>,
    /// To be multiplied by `grad_scale`, whatever has been done before.
    pub grad: Tensor<B, D>,
    /// What the gradient is to be multiplied by.
    pub grad_scale: f64,
    /// The inner optimizer's state.
    pub state: Option<S>,
}

/// Scores weights; those of lowest score are pruned. Updates are counted from 1.
pub trait Criterion<B: UpdateKernels>: Clone + Send {
    /// What it keeps of one parameter from update to update.
    type State: Clone + Send;

    /// Whether it observes updates, and so keeps a state of every parameter that is pruned.
    fn observes(&self) -> bool;

    /// The state of `n` weights before their first update.
    fn init(&self, n: usize, device: &B::Device) -> Self::State;

    /// The same state on `device`.
    fn to_device(state: Self::State, device: &B::Device) -> Self::State;

    /// What a checkpoint holds of a state.
    fn to_record(state: &Self::State) -> StateRecord<B>;

    /// The state that a checkpoint holds; `None` where it is not one of this criterion.
    fn restore(&self, record: StateRecord<B>) -> Option<Self::State>;

    /// Takes in update `step`: the weight after it, before masking, and the scaled gradient.
    ///
    /// # Shapes
    /// - `weight`, `grad`: `[n]`
    fn observe(
        &self,
        step: usize,
        state: Self::State,
        weight: Tensor<B, 1>,
        grad: Tensor<B, 1>,
    ) -> Self::State;

    /// A number that changes whenever the scores do: as long as it stays what it was after an
    /// update, masks made of the scores then still hold after update `step`.
    fn generation(&self, step: usize) -> usize;

    /// The scores after an update; `None` where nothing has been observed that they are made of.
    ///
    /// # Shapes
    /// - `weight` and the scores: `[n]`
    fn scores(&self, state: Option<&Self::State>, weight: Tensor<B, 1>) -> Option<Scores<B>>;

    /// What becomes of the weights that are pruned, those where `mask` is true: zero.
    ///
    /// # Shapes
    /// - `weight`, output: any, of n elements
    /// - `mask`: `[n]`
    fn apply<const D: usize>(
        &self,
        weight: Tensor<B, D>,
        mask: Tensor<B, 1, Bool>,
    ) -> Tensor<B, D> {
        let shape = weight.shape();
        weight.mask_fill(mask.reshape(shape), 0.0)
    }

    /// Update `step` of one parameter of n weights: the inner optimizer steps, the criterion
    /// observes, and a mask that is known beforehand is applied. A criterion whose arithmetic has a
    /// kernel does better in one pass over memory. `state` is there where the criterion observes.
    ///
    /// # Shapes
    /// - `mask`: `[n]`
    fn update<O: InnerOptimizer<B>, const D: usize>(
        &self,
        inner: &O,
        (step, lr): (usize, LearningRate),
        parameter: Parameter<B, O::State<D>, D>,
        state: Option<Self::State>,
        mask: Option<Tensor<B, 1, Bool>>,
    ) -> Stepped<B, O::State<D>, Self::State, D> {
        let Parameter { weight, grad, grad_scale, state: inner_state } = parameter;
        // Where the scaled gradient is needed twice it is made once; else in the inner step's pass.
        let (grad, grad_scale) = match &state {
            Some(_) if grad_scale != 1.0 => (grad.mul_scalar(grad_scale), 1.0),
            _ => (grad, grad_scale),
        };
        let fusion = Fusion::scale(grad_scale);
        let Stepped { weight, state: inner_state, .. } =
            inner.step_with(lr, weight, grad.clone(), inner_state, fusion);
        let started = Instant::now();
        let observed = state.map(|state| {
            let n = [weight.shape().num_elements()];
            self.observe(step, state, weight.clone().reshape(n), grad.reshape(n))
        });
        let weight = match mask {
            Some(mask) => self.apply(weight, mask),
            None => weight,
        };
        Stepped { weight, state: inner_state, observed, pruning: started.elapsed() }
    }
}
