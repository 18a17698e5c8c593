//! The decorator that clips, lets the inner optimizer step, scores the weights and masks them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::{AutodiffModule, ModuleMapper, Param, ParamId};
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    GradientsParams, LearningRate, MultiGradientsParams, Optimizer, SimpleOptimizer,
};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, Tensor};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::importance::{ScoreState, Smoothing};
use super::monitor::{PruningMonitor, PruningStatus};
use super::schedule::{RatioSchedule, Target};
use super::scope::Scope;
use super::threshold;
use super::visit::{Gather, Mask, clip, clip_factor, norm_of, prunable};
use crate::error::{Error, Result};
use crate::kernels::{Cut, InnerOptimizer, Observation, Pass, Scores, Stepped, UpdateKernels};

/// The version of [`PlatonOptimizer`]'s record.
pub const RECORD_FORMAT: usize = 2;

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
    /// After that, each tensor's gradient is scaled so that its own norm is at most this; 0 for
    /// never.
    pub max_tensor_norm: f64,
    /// Updates between two counts of what remains of each parameter; 0 for never.
    pub count_every: usize,
}

/// Decorates the optimizer `O`: clips gradients by their global norm, lets `O` step, updates the
/// scores with the new weights and the clipped gradients, and sets the weights of lowest score to
/// zero as the schedule demands (PLATON, algorithm 1).
///
/// All of this happens in one pass over the parameters; a new threshold takes a second one.
#[derive(Clone)]
pub struct PlatonOptimizer<O: SimpleOptimizer<B::InnerBackend>, B: AutodiffBackend> {
    inner: O,
    records: HashMap<ParamId, AdaptorRecord<O, B>>,
    config: PruningConfig,
    scope: Scope,
    step: usize,
    states: HashMap<ParamId, ScoreState<B::InnerBackend>>,
    decision: Option<Decision<B::InnerBackend>>,
    /// The threshold of the last masking.
    threshold: Option<f32>,
    monitor: PruningMonitor,
}

/// The record of [`PlatonOptimizer`]: format version, updates done, the inner optimizer's records,
/// the score states, and the last threshold's bits (0 for none yet, else one more).
pub type PlatonRecord<O, B> =
    (usize, usize, HashMap<ParamId, AdaptorRecord<O, B>>, HashMap<ParamId, ScoreState<B>>, usize);

/// Masks that hold as long as neither the scores nor the rank change.
#[derive(Clone)]
struct Decision<B: Backend> {
    window: usize,
    k: usize,
    cut: Option<Cut>,
    masks: HashMap<ParamId, Tensor<B, 1, Bool>>,
}

impl<O, B> PlatonOptimizer<O, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
{
    /// Decorates `inner`; `scope` names the parameters to prune.
    pub fn new(inner: O, config: PruningConfig, scope: Scope) -> Self {
        Self {
            inner,
            records: HashMap::new(),
            config,
            scope,
            step: 0,
            states: HashMap::new(),
            decision: None,
            threshold: None,
            monitor: PruningMonitor::default(),
        }
    }

    /// A handle to what the optimizer reports about each update.
    pub fn monitor(&self) -> PruningMonitor {
        self.monitor.clone()
    }

    /// Goes on from a record of update `update`.
    ///
    /// # Errors
    /// The record is of another version, of another update, or has not the scores of this scope.
    pub fn restored<M: AutodiffModule<B>>(
        self,
        record: PlatonRecord<O, B>,
        update: usize,
    ) -> Result<Self> {
        let (format, step, _, states, _) = &record;
        let scored = self.config.pruner == Pruner::Platon && update > 0;
        let parameters = if scored { self.scope.members().len() } else { 0 };
        let expected = (RECORD_FORMAT, update, parameters);
        let found = (*format, *step, states.len());
        if found != expected {
            let words = |(format, update, scored): (usize, usize, usize)| {
                format!("format {format} of update {update} with {scored} scored parameters")
            };
            return Err(Error::value("optimizer's record", words(expected), words(found)).hint(
                "resume with the settings and the version of platon that the run began with",
            ));
        }
        Ok(Optimizer::<M, B>::load_record(self, record))
    }

    /// The score state of one parameter, once it has been updated.
    pub fn state(&self, id: ParamId) -> Option<&ScoreState<B::InnerBackend>> {
        self.states.get(&id)
    }

    /// What the masks of this update depend on: window and rank; `None` if none are due.
    fn due(&self, target: Target) -> Option<(usize, usize)> {
        let masks = target.mask && self.config.pruner != Pruner::None;
        let window = match self.config.pruner {
            // PLATON's scores change at window boundaries only; magnitudes with every step.
            Pruner::Platon => self.step / self.config.schedule.delta_t(),
            _ => self.step,
        };
        masks.then(|| (window, threshold::rank(self.scope.size(), target.ratio)))
    }

    /// Lets the inner optimizer update every parameter that has a gradient; scores, and masks
    /// that are known beforehand, are taken along.
    fn update<M: AutodiffModule<B>>(
        &mut self,
        lr: LearningRate,
        module: M,
        grads: GradientsParams,
        grad_scale: f64,
        masks: Option<&HashMap<ParamId, Tensor<B::InnerBackend, 1, Bool>>>,
    ) -> (M, Duration) {
        let Smoothing { beta1, beta2 } = self.config.smoothing;
        let position = self.step % self.config.schedule.delta_t();
        let mut update = Update {
            lr,
            grads,
            grad_scale,
            max_tensor_norm: self.config.max_tensor_norm,
            masks,
            inner: &self.inner,
            records: &mut self.records,
            scope: &self.scope,
            states: &mut self.states,
            observation: (self.config.pruner == Pruner::Platon).then_some(Observation {
                position,
                beta1,
                beta2,
            }),
            pruning: Duration::ZERO,
            path: Vec::new(),
        };
        (module.map(&mut update), update.pruning)
    }

    fn zeros<M: AutodiffModule<B>>(&self, module: &M) -> usize {
        let weights =
            prunable::<B, M>(&self.scope, module).into_iter().map(|(_, weight)| weight).collect();
        B::InnerBackend::count_zeros(weights)
    }

    /// How many weights of each parameter of the scope are not zero, in its order.
    fn remaining<M: AutodiffModule<B>>(&self, module: &M) -> Arc<[usize]> {
        let parameters = prunable::<B, M>(&self.scope, module).into_iter();
        parameters
            .map(|(_, weight)| {
                let size = weight.shape().num_elements();
                size - B::InnerBackend::count_zeros(vec![weight])
            })
            .collect()
    }

    fn decide<M: AutodiffModule<B>>(
        &self,
        module: &M,
        (window, k): (usize, usize),
    ) -> Decision<B::InnerBackend> {
        let scores =
            prunable::<B, M>(&self.scope, module).into_iter().filter_map(|(id, weight)| {
                let scores = match self.config.pruner {
                    Pruner::Magnitude => Scores::Absolute(weight),
                    _ => {
                        let state = self.states.get(&id)?;
                        Scores::Product(state.importance.clone(), state.uncertainty.clone())
                    }
                };
                Some((id, scores))
            });
        let (ids, scores): (Vec<_>, Vec<_>) = scores.unzip();
        let cut = B::InnerBackend::cut(&scores, k);
        let masks = cut.map_or_else(HashMap::new, |cut| {
            let masks = scores.into_iter().map(|s| B::InnerBackend::below(s, cut.threshold));
            ids.into_iter().zip(masks).collect()
        });
        Decision { window, k, cut, masks }
    }
}

impl<M, B, O> Optimizer<M, B> for PlatonOptimizer<O, B>
where
    M: AutodiffModule<B>,
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
{
    type Record = PlatonRecord<O, B>;

    fn step(&mut self, lr: LearningRate, module: M, grads: GradientsParams) -> M {
        self.step += 1;
        let (grad_norm, grad_scale) = clip::<B, M>(&module, &grads, self.config.max_grad_norm);
        let target = self.config.schedule.at(self.step);
        let due = self.due(target);
        let decision = self.decision.take();
        let known = decision.as_ref().filter(|d| due == Some((d.window, d.k)));
        // A window's end changes the scores, so its masks are known after the pass only.
        let masks = known.map(|d| &d.masks);
        let (mut module, mut seconds) = self.update(lr, module, grads, grad_scale, masks);

        let started = Instant::now();
        self.decision = match due {
            Some(due) if known.is_none() => {
                let decision = self.decide(&module, due);
                module = module.map(&mut Mask::<B> { masks: &decision.masks });
                seconds += started.elapsed();
                Some(decision)
            }
            _ => decision,
        };
        let cut = self.decision.as_ref().and_then(|d| d.cut);
        self.threshold = cut.map(|cut| cut.threshold).or(self.threshold);
        // Between maskings pruned weights grow again, so what is zero now has to be counted.
        let zeros = self.threshold.map_or(0, |_| self.zeros(&module));
        let every = self.config.count_every;
        let counted = every > 0 && self.step.is_multiple_of(every);
        let remaining = counted.then(|| self.remaining(&module));
        let sparsity = zeros as f64 / self.scope.size().max(1) as f64;
        let status = PruningStatus {
            step: self.step,
            ratio: if self.config.pruner == Pruner::None { 1.0 } else { target.ratio },
            threshold: self.threshold,
            sparsity,
            grad_norm,
            pruning_seconds: self.monitor.seconds() + seconds.as_secs_f64(),
            remaining,
        };
        self.monitor.record(status);
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
        let threshold = self.threshold.map_or(0, |value| 1 + value.to_bits() as usize);
        (RECORD_FORMAT, self.step, self.records.clone(), states.collect(), threshold)
    }

    fn load_record(mut self, record: Self::Record) -> Self {
        let (_format, step, records, states, threshold) = record;
        let bits = threshold.checked_sub(1).and_then(|bits| u32::try_from(bits).ok());
        self.threshold = bits.map(f32::from_bits);
        self.records = records;
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

struct Update<'a, O: SimpleOptimizer<B::InnerBackend>, B: AutodiffBackend> {
    lr: LearningRate,
    grads: GradientsParams,
    grad_scale: f64,
    max_tensor_norm: f64,
    masks: Option<&'a HashMap<ParamId, Tensor<B::InnerBackend, 1, Bool>>>,
    inner: &'a O,
    records: &'a mut HashMap<ParamId, AdaptorRecord<O, B>>,
    scope: &'a Scope,
    states: &'a mut HashMap<ParamId, ScoreState<B::InnerBackend>>,
    observation: Option<Observation>,
    pruning: Duration,
    path: Vec<String>,
}

impl<O, B> ModuleMapper<B> for Update<'_, O, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
{
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let weight = tensor.inner();
        let (n, device) = (weight.shape().num_elements(), weight.device());
        // Taken out of the maps, so that nothing else holds the states while they are updated in
        // place.
        let scores =
            self.observation.filter(|_| self.scope.contains(&self.path)).map(|observation| {
                let state = self.states.remove(&id).map(|state| state.to_device(&device));
                (state.unwrap_or_else(|| ScoreState::new(n, &device)), observation)
            });
        let drop = self.masks.and_then(|masks| masks.get(&id)).cloned();
        let mut grad_scale = self.grad_scale;
        if self.max_tensor_norm > 0.0 {
            let norm = grad_scale * norm_of(grad.clone());
            grad_scale *= clip_factor(norm, self.max_tensor_norm);
        }
        let pass = Pass { grad_scale, scores, drop };
        // A restored state is on the default device.
        let state = self.records.remove(&id).map(AdaptorRecord::into_state);
        let state = state.map(|state| O::to_device(state, &device));
        let Stepped { weight, state, scores, pruning } =
            self.inner.step_with(self.lr, weight, grad, state, pass);
        self.pruning += pruning;
        self.records.extend(state.map(|state| (id, AdaptorRecord::from_state(state))));
        self.states.extend(scores.map(|scores| (id, scores)));
        let tensor = Tensor::from_inner(weight).set_require_grad(requires_grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}
