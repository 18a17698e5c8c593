//! The decorator that clips, lets the inner optimizer step, scores the weights and masks them.

use std::time::Instant;

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Bool, Tensor};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::importance::{ScoreState, Smoothing};
use super::monitor::{PruningMonitor, PruningStatus};
use super::schedule::{RatioSchedule, Target};
use super::scope::Scope;
use super::threshold::{self, Cut};
use crate::kernels::UpdateKernels;

/// The version of [`PlatonOptimizer`]'s record.
pub const RECORD_FORMAT: usize = 1;

/// What decides which weights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// Importance times uncertainty.
    Platon,
    /// The weight's absolute value after the step.
    Magnitude,
    /// Nothing is pruned.
    None,
}

/// Configuration of [`PlatonOptimizer`].
#[derive(Debug, Clone, PartialEq)]
pub struct PruningConfig {
    /// What decides which weights go.
    pub pruner: Pruner,
    /// How many go, and when.
    pub schedule: RatioSchedule,
    /// Smoothing of the scores.
    pub smoothing: Smoothing,
    /// Gradients are scaled so that the norm of all of them together is at most this; 0 for never.
    pub max_grad_norm: f64,
}

/// Decorates the optimizer `O`: clips gradients by their global norm, lets `O` step, updates the
/// scores with the new weights and the clipped gradients, and sets the weights of lowest score to
/// zero as the schedule demands (PLATON, algorithm 1).
#[derive(Clone)]
pub struct PlatonOptimizer<O, B: AutodiffBackend> {
    inner: O,
    config: PruningConfig,
    scope: Scope,
    step: usize,
    states: HashMap<ParamId, ScoreState<B::InnerBackend>>,
    decision: Option<Decision<B>>,
    monitor: PruningMonitor,
}

/// Masks that hold as long as neither the scores nor the rank change.
#[derive(Clone)]
struct Decision<B: AutodiffBackend> {
    window: usize,
    k: usize,
    cut: Option<Cut>,
    masks: HashMap<ParamId, Tensor<B::InnerBackend, 1, Bool>>,
}

impl<O, B: AutodiffBackend<InnerBackend: UpdateKernels>> PlatonOptimizer<O, B> {
    /// Decorates `inner`; `scope` names the parameters to prune.
    pub fn new(inner: O, config: PruningConfig, scope: Scope) -> Self {
        Self {
            inner,
            config,
            scope,
            step: 0,
            states: HashMap::new(),
            decision: None,
            monitor: PruningMonitor::default(),
        }
    }

    /// A handle to what the optimizer reports about each update.
    pub fn monitor(&self) -> PruningMonitor {
        self.monitor.clone()
    }

    /// The score state of one parameter, once it has been updated.
    pub fn state(&self, id: ParamId) -> Option<&ScoreState<B::InnerBackend>> {
        self.states.get(&id)
    }

    /// Scores and masks after the inner optimizer's step.
    fn prune<M: AutodiffModule<B>>(
        &mut self,
        module: M,
        grads: HashMap<ParamId, Tensor<B::InnerBackend, 1>>,
    ) -> (M, Target) {
        let target = self.config.schedule.at(self.step);
        let delta_t = self.config.schedule.delta_t();
        if self.config.pruner == Pruner::Platon {
            module.visit(&mut Observe {
                grads,
                states: &mut self.states,
                position: self.step % delta_t,
                smoothing: self.config.smoothing,
            });
        }
        if !target.mask {
            return (module, target);
        }
        let k = threshold::rank(self.scope.size(), target.ratio);
        // PLATON's scores change at window boundaries only; magnitudes with every step.
        let window = match self.config.pruner {
            Pruner::Platon => self.step / delta_t,
            _ => self.step,
        };
        if self.decision.as_ref().is_none_or(|d| (d.window, d.k) != (window, k)) {
            self.decision = Some(self.decide(&module, window, k));
        }
        match &self.decision {
            Some(Decision { masks, .. }) => (module.map(&mut Mask::<B> { masks }), target),
            None => (module, target),
        }
    }

    fn decide<M: AutodiffModule<B>>(&self, module: &M, window: usize, k: usize) -> Decision<B> {
        let scores = match self.config.pruner {
            Pruner::Magnitude => {
                let mut magnitudes = Magnitudes::<B> { scope: &self.scope, scores: HashMap::new() };
                module.visit(&mut magnitudes);
                magnitudes.scores
            }
            _ => self.states.iter().map(|(id, state)| (*id, state.score())).collect(),
        };
        let mut flat: Vec<f32> = Vec::with_capacity(self.scope.size());
        for score in scores.values() {
            flat.extend(score.to_data().convert::<f32>().iter::<f32>());
        }
        let cut = threshold::cut(&mut flat, k);
        let masks = cut.map_or_else(HashMap::new, |cut| {
            scores.into_iter().map(|(id, s)| (id, s.lower_elem(cut.threshold))).collect()
        });
        Decision { window, k, cut, masks }
    }
}

impl<M, B, O> Optimizer<M, B> for PlatonOptimizer<O, B>
where
    M: AutodiffModule<B>,
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: Optimizer<M, B>,
{
    /// Format version, updates done, the inner optimizer's record, the score states.
    type Record = (usize, usize, O::Record, HashMap<ParamId, ScoreState<B>>);

    fn step(&mut self, lr: LearningRate, module: M, mut grads: GradientsParams) -> M {
        self.step += 1;
        let grad_norm = clip(&module, &mut grads, self.config.max_grad_norm);
        if self.config.pruner == Pruner::None {
            let module = self.inner.step(lr, module, grads);
            self.monitor.record(PruningStatus::unpruned(self.step, grad_norm), 0.0);
            return module;
        }
        let kept = match self.config.pruner {
            Pruner::Platon => keep(&module, &grads, &self.scope),
            _ => HashMap::new(),
        };
        let module = self.inner.step(lr, module, grads);

        let started = Instant::now();
        let (module, target) = self.prune(module, kept);
        let cut = self.decision.as_ref().and_then(|d| d.cut);
        // Between maskings pruned weights grow again, so what is zero now has to be counted.
        let zeros = match cut {
            None => 0,
            Some(_) => {
                let mut zeros = Zeros { scope: &self.scope, count: 0 };
                module.visit(&mut zeros);
                zeros.count
            }
        };
        let sparsity = zeros as f64 / self.scope.size().max(1) as f64;
        let status = PruningStatus {
            step: self.step,
            ratio: target.ratio,
            threshold: cut.map(|c| c.threshold),
            sparsity,
            grad_norm,
        };
        self.monitor.record(status, started.elapsed().as_secs_f64());
        module
    }

    /// Gradients of several devices are averaged: burn hands over their sum.
    fn step_multi(&mut self, lr: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        let devices = grads.grads.len().max(1);
        let mut gather = Gather { devices, many: grads, one: GradientsParams::new() };
        module.visit(&mut gather);
        self.step(lr, module, gather.one)
    }

    fn to_record(&self) -> Self::Record {
        let states = self.states.iter().map(|(id, s)| {
            let wrap = |t: &Tensor<B::InnerBackend, 1>| Tensor::from_inner(t.clone());
            let state = ScoreState {
                window: wrap(&s.window),
                importance: wrap(&s.importance),
                uncertainty: wrap(&s.uncertainty),
            };
            (*id, state)
        });
        (RECORD_FORMAT, self.step, self.inner.to_record(), states.collect())
    }

    fn load_record(mut self, record: Self::Record) -> Self {
        let (_format, step, inner, states) = record;
        self.inner = self.inner.load_record(inner);
        self.step = step;
        self.decision = None;
        let states = states.into_iter().map(|(id, s)| {
            let state = ScoreState {
                window: s.window.inner(),
                importance: s.importance.inner(),
                uncertainty: s.uncertainty.inner(),
            };
            (id, state)
        });
        self.states = states.collect();
        self
    }
}

/// Scales all gradients by min(1, max / (norm + 1e-6)) and returns their norm before that.
fn clip<B: AutodiffBackend<InnerBackend: UpdateKernels>, M: AutodiffModule<B>>(
    module: &M,
    grads: &mut GradientsParams,
    max: f64,
) -> f64 {
    let mut squares = SumSquares::<B> { grads, sum: None };
    module.visit(&mut squares);
    let norm = squares.sum.map_or(0.0, |s| scalar(s).sqrt());
    let scale = max / (norm + 1e-6);
    if max > 0.0 && scale < 1.0 {
        module.visit(&mut Scale { grads, scale });
    }
    norm
}

fn scalar<B: burn::tensor::backend::Backend>(tensor: Tensor<B, 1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(0.0)
}

fn keep<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: &GradientsParams,
    scope: &Scope,
) -> HashMap<ParamId, Tensor<B::InnerBackend, 1>> {
    let mut keep = Keep::<B> { grads, scope, kept: HashMap::new() };
    module.visit(&mut keep);
    keep.kept
}

struct SumSquares<'a, B: AutodiffBackend> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend<InnerBackend: UpdateKernels>> ModuleVisitor<B> for SumSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id) {
            let squares = B::InnerBackend::sum_of_squares(flat(grad));
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + squares,
                None => squares,
            });
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    scale: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.grads.register(param.id, grad.mul_scalar(self.scale));
        }
    }
}

struct Keep<'a, B: AutodiffBackend> {
    grads: &'a GradientsParams,
    scope: &'a Scope,
    kept: HashMap<ParamId, Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Keep<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.scope.contains(param.id)
            && let Some(grad) = self.grads.get::<B::InnerBackend, D>(param.id)
        {
            self.kept.insert(param.id, flat(grad));
        }
    }
}

struct Observe<'a, B: AutodiffBackend> {
    grads: HashMap<ParamId, Tensor<B::InnerBackend, 1>>,
    states: &'a mut HashMap<ParamId, ScoreState<B::InnerBackend>>,
    position: usize,
    smoothing: Smoothing,
}

impl<B: AutodiffBackend<InnerBackend: UpdateKernels>> ModuleVisitor<B> for Observe<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(grad) = self.grads.remove(&param.id) else { return };
        let weight = flat(param.val().inner());
        let [n] = weight.dims();
        let device = weight.device();
        // Taken out of the map, so that nothing else holds the state while it is updated in place.
        let state = self.states.remove(&param.id).unwrap_or_else(|| ScoreState::new(n, &device));
        let state = state.update(weight, grad, self.position, self.smoothing);
        self.states.insert(param.id, state);
    }
}

struct Magnitudes<'a, B: AutodiffBackend> {
    scope: &'a Scope,
    scores: HashMap<ParamId, Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Magnitudes<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.scope.contains(param.id) {
            self.scores.insert(param.id, flat(param.val().inner()).abs());
        }
    }
}

struct Zeros<'a> {
    scope: &'a Scope,
    count: usize,
}

impl<B: AutodiffBackend<InnerBackend: UpdateKernels>> ModuleVisitor<B> for Zeros<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.scope.contains(param.id) {
            self.count += B::InnerBackend::count_zeros(flat(param.val().inner()));
        }
    }
}

struct Mask<'a, B: AutodiffBackend> {
    masks: &'a HashMap<ParamId, Tensor<B::InnerBackend, 1, Bool>>,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Mask<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(mask) = self.masks.get(&param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let shape = tensor.shape();
        let masked = tensor.inner().mask_fill(mask.clone().reshape(shape), 0.0);
        let tensor = Tensor::from_inner(masked).set_require_grad(requires_grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

struct Gather {
    devices: usize,
    many: MultiGradientsParams,
    one: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Gather {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some((sum, _)) = self.many.remove::<B::InnerBackend, D>(param.id) {
            let mean = sum.to_device(&param.val().device()).div_scalar(self.devices as f64);
            self.one.register(param.id, mean);
        }
    }
}

fn flat<B: burn::tensor::backend::Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    let n = tensor.shape().num_elements();
    tensor.reshape([n])
}
