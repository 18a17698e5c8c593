//! The decorator that clips, lets the inner optimizer step, scores the weights and masks them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::{AutodiffModule, ParamId};
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    GradientsParams, LearningRate, MultiGradientsParams, Optimizer, SimpleOptimizer,
};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use hashbrown::{HashMap, HashSet};

use super::clip::{GradNorm, clip};
use super::criterion::Criterion;
use super::decision::{Decision, Due};
use super::monitor::{Counting, PruningMonitor, PruningStatus};
use super::record::{PlatonRecord, RECORD_FORMAT};
use super::schedule::{RatioSchedule, Target};
use super::scope::Scope;
use super::threshold;
use super::update::{Masking, Update, Weights};
use super::visit::Gather;
use crate::error::{Error, Result};
use crate::kernels::{InnerOptimizer, Scores, UpdateKernels};

/// Configuration of [`PlatonOptimizer`].
#[derive(Debug, Clone, PartialEq)]
pub struct PruningConfig<C> {
    /// What decides which weights go; without it nothing is pruned.
    pub criterion: Option<C>,
    /// How many go, and when.
    pub schedule: RatioSchedule,
    /// Gradients are scaled so that the norm of all of them together is at most this.
    pub max_grad_norm: Option<f64>,
    /// After that, each tensor's gradient is scaled so that its own norm is at most this.
    pub max_tensor_norm: Option<f64>,
    /// After which updates it is counted what remains of each parameter.
    pub counting: Counting,
}

/// Decorates the optimizer `O`: clips gradients by their global norm, lets `O` step, lets the
/// criterion `C` observe the new weights and the clipped gradients, and sets the weights of lowest
/// score to zero as the schedule demands (PLATON, algorithm 1).
///
/// All of this happens in one pass over the parameters; a new threshold takes a second one.
#[derive(Clone)]
pub struct PlatonOptimizer<O, C, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: SimpleOptimizer<B::InnerBackend>,
    C: Criterion<B::InnerBackend>,
{
    inner: O,
    records: HashMap<ParamId, AdaptorRecord<O, B>>,
    config: PruningConfig<C>,
    scope: Scope,
    /// The scope's parameters in the module that is trained, found at the first step: loading a
    /// checkpoint into it changes them.
    ids: Option<HashSet<ParamId>>,
    step: usize,
    states: HashMap<ParamId, C::State>,
    decision: Option<Decision<B::InnerBackend>>,
    /// The threshold of the last masking.
    threshold: Option<f32>,
    /// The share of zeros as last counted.
    sparsity: Option<f64>,
    monitor: PruningMonitor,
}

impl<O, C, B> PlatonOptimizer<O, C, B>
where
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
    C: Criterion<B::InnerBackend>,
{
    /// Decorates `inner`; `scope` names the parameters to prune.
    pub fn new(inner: O, config: PruningConfig<C>, scope: Scope) -> Self {
        Self {
            inner,
            records: HashMap::new(),
            config,
            scope,
            ids: None,
            step: 0,
            states: HashMap::new(),
            decision: None,
            threshold: None,
            sparsity: None,
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
    /// The record is of another version, of another update, or has not the states that the criterion
    /// keeps of this scope.
    pub fn restored<M: AutodiffModule<B>>(
        self,
        record: PlatonRecord<O, B>,
        update: usize,
    ) -> Result<Self> {
        let observes = self.config.criterion.as_ref().is_some_and(C::observes);
        let scored = if observes && update > 0 { self.scope.members().len() } else { 0 };
        let expected = (RECORD_FORMAT, update, scored);
        let (format, step, _, states, _) = &record;
        let (format, step, recorded) = (*format, *step, states.len());
        let restored = Optimizer::<M, B>::load_record(self, record);
        // Another criterion's states do not count.
        let scored = if observes { restored.states.len() } else { recorded };
        let found = (format, step, scored);
        if found != expected {
            let words = |(format, update, scored): (usize, usize, usize)| {
                format!("format {format} of update {update} with {scored} scored parameters")
            };
            return Err(Error::value("optimizer's record", words(expected), words(found)).hint(
                "resume with the settings and the version of platon that the run began with",
            ));
        }
        Ok(restored)
    }

    /// The scores of one parameter of the scope, whose weights are `weight`, once it has any.
    ///
    /// # Shapes
    /// - `weight` and the scores: `[n]`
    #[doc(hidden)]
    pub fn scores(
        &self,
        id: ParamId,
        weight: Tensor<B::InnerBackend, 1>,
    ) -> Option<Scores<B::InnerBackend>> {
        self.config.criterion.as_ref()?.scores(self.states.get(&id), weight)
    }

    /// What the masks of this update depend on; `None` if none are due.
    fn due(&self, target: Target) -> Option<Due> {
        let criterion = self.config.criterion.as_ref().filter(|_| target.mask)?;
        let generation = criterion.generation(self.step);
        Some(Due { generation, rank: threshold::rank(self.scope.size(), target.ratio) })
    }

    fn decide(&self, due: Due, weights: Weights<B::InnerBackend>) -> Decision<B::InnerBackend> {
        let scores = weights.into_iter();
        Decision::new(due, scores.filter_map(|(id, weight)| Some((id, self.scores(id, weight)?))))
    }

    /// Notes how update `self.step` ended.
    fn report(
        &self,
        (learning_rate, grad_norm): (LearningRate, GradNorm),
        ratio: f64,
        pruning: Duration,
        remaining: Option<Arc<[usize]>>,
    ) {
        self.monitor.record(PruningStatus {
            step: self.step,
            ratio: self.config.criterion.as_ref().map_or(1.0, |_| ratio),
            threshold: self.threshold,
            // Weights that were zero before anything was pruned are none of ours.
            sparsity: self.threshold.and(self.sparsity).unwrap_or_default(),
            learning_rate,
            grad_norm,
            pruning_seconds: self.monitor.seconds() + pruning.as_secs_f64(),
            remaining,
        });
    }

    /// Whether what remains is counted after this update: where it is due, and once at the start.
    fn counts(&self) -> bool {
        self.config.counting.after(self.step) || self.sparsity.is_none()
    }

    /// Counts what is not zero of each of the scope's weights. Between maskings pruned weights grow
    /// again, so that this cannot be known otherwise.
    fn count(&mut self, weights: Weights<B::InnerBackend>) -> Arc<[usize]> {
        let weights: Vec<_> = weights.into_iter().map(|(_, weight)| weight).collect();
        let sizes: Vec<_> = weights.iter().map(|w| w.shape().num_elements()).collect();
        let zeros = B::InnerBackend::count_zeros(weights);
        let pruned: usize = zeros.iter().sum();
        self.sparsity = Some(pruned as f64 / self.scope.size().max(1) as f64);
        sizes.into_iter().zip(zeros).map(|(size, zeros)| size - zeros).collect()
    }
}

impl<M, B, O, C> Optimizer<M, B> for PlatonOptimizer<O, C, B>
where
    M: AutodiffModule<B>,
    B: AutodiffBackend<InnerBackend: UpdateKernels>,
    O: InnerOptimizer<B::InnerBackend>,
    C: Criterion<B::InnerBackend>,
{
    type Record = PlatonRecord<O, B>;

    fn step(&mut self, lr: LearningRate, module: M, grads: GradientsParams) -> M {
        self.step += 1;
        let ids = self.ids.take().unwrap_or_else(|| self.scope.ids(&module));
        let (grad_norm, grad_scale) = clip::<B, M>(&module, &grads, self.config.max_grad_norm);
        let target = self.config.schedule.at(self.step);
        let due = self.due(target);
        let counts = self.counts();
        let wanted = due.is_some() || counts;
        let decision = self.decision.take();
        let known = decision.as_ref().filter(|d| due == Some(d.due));
        let mut update = Update {
            step: self.step,
            lr,
            grads,
            grad_scale,
            max_tensor_norm: self.config.max_tensor_norm,
            inner: &self.inner,
            records: &mut self.records,
            criterion: self.config.criterion.as_ref(),
            states: &mut self.states,
            scope: &ids,
            // Where the scores change with this update, its masks are known after the pass only.
            masks: known.map(|d| &d.masks),
            weights: wanted.then(Vec::new),
            pruning: Duration::ZERO,
        };
        let mut module = module.map(&mut update);
        let Update { weights, mut pruning, .. } = update;
        let mut weights = weights.unwrap_or_default();

        self.decision = match (&self.config.criterion, due) {
            (Some(criterion), Some(due)) if known.is_none() => {
                let started = Instant::now();
                let decision = self.decide(due, weights);
                let masks = &decision.masks;
                let mut masking =
                    Masking::<C, B> { criterion, scope: &ids, masks, weights: vec![] };
                module = module.map(&mut masking);
                weights = masking.weights;
                pruning += started.elapsed();
                Some(decision)
            }
            _ => decision,
        };
        self.threshold = self.decision.as_ref().and_then(|d| d.threshold).or(self.threshold);
        let started = Instant::now();
        let remaining = counts.then(|| self.count(weights));
        pruning += started.elapsed();
        self.report((lr, grad_norm), target.ratio, pruning, remaining);
        self.ids = Some(ids);
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
        let states = self.states.iter().map(|(id, state)| (*id, C::to_record(state).lifted()));
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
        self.sparsity = None;
        self.ids = None;
        let criterion = self.config.criterion.as_ref();
        let states = states
            .into_iter()
            .filter_map(|(id, state)| Some((id, criterion?.restore(state.inner())?)));
        self.states = states.collect();
        self
    }
}
