//! Walks that change a module's parameters: the pass of an update, and masking after it.

use std::time::Duration;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::optim::record::AdaptorRecord;
use burn::optim::{GradientsParams, LearningRate, SimpleOptimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use hashbrown::HashMap;

use super::clip::{Scale, clip_factor};
use super::criterion::{Criterion, Parameter};
use super::decision::Masks;
use super::scope::Groups;
use super::visit::{flat, norm_of};
use crate::kernels::{Fusion, InnerOptimizer, Stepped, UpdateKernels};

/// The weights of the scope's parameters, `[n]` each, in the module's order.
pub(super) type Weights<B> = Vec<(ParamId, Tensor<B, 1>)>;

/// Lets the inner optimizer update every parameter that has a gradient; in the scope the criterion
/// observes it, and masks that are known beforehand are applied.
pub(super) struct Update<'a, O, C, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: SimpleOptimizer<B::InnerBackend>,
    C: Criterion<B::InnerBackend>,
{
    pub step: usize,
    pub lr: LearningRate,
    pub grads: GradientsParams,
    pub grad_scale: Scale<B>,
    pub max_tensor_norm: Option<f64>,
    pub inner: &'a O,
    pub records: &'a mut HashMap<ParamId, AdaptorRecord<O, B>>,
    pub criterion: Option<&'a C>,
    pub states: &'a mut HashMap<ParamId, C::State>,
    pub scope: &'a Groups,
    pub masks: Option<&'a Masks<B::InnerBackend>>,
    /// Takes the new weights of the scope, where they are wanted.
    pub weights: Option<Weights<B::InnerBackend>>,
    pub pruning: Duration,
}

impl<O, C, B> ModuleMapper<B> for Update<'_, O, C, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
    C: Criterion<B::InnerBackend>,
{
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let in_scope = self.scope.contains_key(&param.id);
        let weights = self.weights.as_mut().filter(|_| in_scope);
        let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) else {
            if let Some(weights) = weights {
                weights.push((param.id, flat(param.val().inner())));
            }
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let weight = tensor.inner();
        let (n, device) = (weight.shape().num_elements(), weight.device());
        let mut grad_scale = self.grad_scale.host;
        let grad = match &self.grad_scale.device {
            Some(factor) => grad * factor.clone().reshape([1; D]),
            None => grad,
        };
        if let Some(max) = self.max_tensor_norm {
            let norm = grad_scale * norm_of(grad.clone());
            grad_scale *= clip_factor(norm, max);
        }
        // A restored state is on the default device. States are taken out of the maps, so that
        // nothing else holds them while they are updated in place.
        let state = self.records.remove(&id).map(AdaptorRecord::into_state);
        let state = state.map(|state| O::to_device(state, &device));
        let (state, weight) = match self.criterion.filter(|_| in_scope) {
            None => {
                let fusion = Fusion::scale(grad_scale);
                let Stepped { weight, state, .. } =
                    self.inner.step_with(self.lr, weight, grad, state, fusion);
                (state, weight)
            }
            Some(criterion) => {
                let own = criterion.observes().then(|| {
                    let own = self.states.remove(&id).map(|own| C::to_device(own, &device));
                    own.unwrap_or_else(|| criterion.init(n, &device))
                });
                let mask = self.masks.and_then(|masks| masks.get(&id)).cloned();
                let parameter = Parameter { weight, grad, grad_scale, state };
                let Stepped { weight, state, observed, pruning } =
                    criterion.update(self.inner, (self.step, self.lr), parameter, own, mask);
                self.states.extend(observed.map(|own| (id, own)));
                self.pruning += pruning;
                (state, weight)
            }
        };
        self.records.extend(state.map(|state| (id, AdaptorRecord::from_state(state))));
        if let Some(weights) = weights {
            weights.push((id, flat(weight.clone())));
        }
        let tensor = Tensor::from_inner(weight).set_require_grad(requires_grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// Applies masks, and takes the weights of the scope as they are then.
pub(super) struct Masking<'a, C, B: AutodiffBackend> {
    pub criterion: &'a C,
    pub scope: &'a Groups,
    pub masks: &'a Masks<B::InnerBackend>,
    pub weights: Weights<B::InnerBackend>,
}

impl<C, B> ModuleMapper<B> for Masking<'_, C, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    C: Criterion<B::InnerBackend>,
{
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !self.scope.contains_key(&param.id) {
            return param;
        }
        let Some(mask) = self.masks.get(&param.id) else {
            self.weights.push((param.id, flat(param.val().inner())));
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let weight = self.criterion.apply(tensor.inner(), mask.clone());
        self.weights.push((id, flat(weight.clone())));
        let tensor = Tensor::from_inner(weight).set_require_grad(requires_grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}
