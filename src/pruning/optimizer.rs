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
use hashbrown::HashMap;

use super::clip::{GradNorm, clip};
use super::criterion::Criterion;
use super::decision::{Decision, Due, Scored};
use super::histogram::Histogram;
use super::monitor::{Counting, PruningMonitor, PruningStatus};
use super::record::{Contents, PlatonRecord, RECORD_FORMAT};
use super::schedule::RatioSchedule;
use super::scope::{Groups, Scope, overall_ratio};
use super::threshold;
use super::update::{Masking, Update, Weights};
use super::visit::Gather;
use super::zeros::{ZEROS, Zeros};
use crate::error::{Error, Result};
use crate::kernels::{InnerOptimizer, Scores, UpdateKernels};

/// Configuration of [`PlatonOptimizer`].
#[derive(Debug, Clone, PartialEq)]
pub struct PruningConfig<C> {
    /// What decides which weights go; without it nothing is pruned.
    pub criterion: Option<C>,
    /// How many go, and when.
    pub schedule: RatioSchedule,
    /// The same for the scope's groups from 1 on, where it has any: courses to other final ratios.
    pub groups: Vec<RatioSchedule>,
    /// Whether what is zero in the scope at the first update stays zero.
    pub keep_zeros: bool,
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
    /// The number of weights of each group.
    sizes: Vec<usize>,
    /// The scope's parameters in the module that is trained, found at the first step: loading a
    /// checkpoint into it changes them.
    groups: Option<Groups>,
    /// The zeros that stay, where they do.
    zeros: Option<Zeros<B::InnerBackend>>,
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
            sizes: scope.sizes(1 + config.groups.len()),
            zeros: config.keep_zeros.then(Zeros::unknown),
            config,
            scope,
            groups: None,
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
        let members = if update > 0 { self.scope.members().len() } else { 0 };
        let of_all = |kept: bool| if kept { members } else { 0 };
        let expected = Contents {
            format: RECORD_FORMAT,
            update,
            scored: of_all(observes),
            zeros: of_all(self.config.keep_zeros),
        };
        let (format, step, _, states, _) = &record;
        let mut found = Contents {
            format: *format,
            update: *step,
            scored: states.values().filter(|state| state.has_more_than(ZEROS)).count(),
            zeros: states.values().filter(|state| state.has(ZEROS)).count(),
        };
        let restored = Optimizer::<M, B>::load_record(self, record);
        if observes {
            // Another criterion's states do not count.
            found.scored = restored.states.len();
        }
        if !found.fits(&expected) {
            return Err(Error::value("optimizer's record", expected, found).hint(
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

    /// The remaining ratio of each group at this update.
    fn ratios(&self) -> Vec<f64> {
        let schedules = std::iter::once(&self.config.schedule).chain(&self.config.groups);
        schedules.map(|schedule| schedule.at(self.step).ratio).collect()
    }

    /// What the masks of this update depend on; `None` if none are due.
    fn due(&self, ratios: &[f64]) -> Option<Due> {
        // All groups are masked at the same updates.
        let is_due = self.config.schedule.at(self.step).mask;
        let criterion = self.config.criterion.as_ref().filter(|_| is_due)?;
        let generation = criterion.generation(self.step);
        let ranks = self.sizes.iter().zip(ratios).map(|(n, ratio)| threshold::rank(*n, *ratio));
        Some(Due { generation, ranks: ranks.collect() })
    }

    /// The scores of `weights` by their groups; `kept` is what holds from an update before, for whose other
    /// groups none are needed.
    fn scored(
        &self,
        groups: &Groups,
        weights: Weights<B::InnerBackend>,
        kept: Option<&Decision<B::InnerBackend>>,
    ) -> Vec<Scored<B::InnerBackend>> {
        let mut scored: Vec<Scored<B::InnerBackend>> = vec![Vec::new(); self.sizes.len()];
        let is_wanted = |group: &usize| kept.is_none_or(|kept| kept.momentary.contains(group));
        for (id, weight) in weights {
            let group = groups.get(&id).filter(|group| is_wanted(group));
            let group = group.and_then(|group| scored.get_mut(*group));
            let Some(group) = group else { continue };
            if let Some(scores) = self.scores(id, weight.clone()) {
                group.push((id, scores, weight));
            }
        }
        scored
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
            // Weights that were zero before anything was pruned are none of ours, unless they stay.
            sparsity: self
                .sparsity
                .filter(|_| self.threshold.is_some() || self.config.keep_zeros)
                .unwrap_or_default(),
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

    /// Whether the scores are of interest after this update: once, at the end.
    fn shows_scores(&self) -> bool {
        let observes = self.config.criterion.as_ref().is_some_and(C::observes);
        observes && self.config.schedule.ends_at(self.step)
    }

    /// Notes how the scores of `weights` spread.
    fn show_scores(&self, weights: &Weights<B::InnerBackend>) {
        let scores = weights.iter().filter_map(|(id, weight)| {
            let scores = self.scores(*id, weight.clone())?.values().into_data();
            Some(Histogram::of(scores.iter::<f32>()))
        });
        self.monitor.record_scores(scores.fold(Histogram::default(), |sum, one| sum.and(&one)));
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
        let groups = self.groups.take().unwrap_or_else(|| self.scope.groups(&module));
        let grads = match &mut self.zeros {
            Some(zeros) => zeros.clear(&module, &groups, grads),
            None => grads,
        };
        let (grad_norm, grad_scale) = clip::<B, M>(&module, &grads, self.config.max_grad_norm);
        let ratios = self.ratios();
        let due = self.due(&ratios);
        let counts = self.counts();
        let shows_scores = self.shows_scores();
        let wanted = due.is_some() || counts || shows_scores;
        let decision = self.decision.take();
        let known = decision.as_ref().filter(|d| due.as_ref() == Some(&d.due));
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
            scope: &groups,
            // Where the scores change with this update, its masks are known after the pass only.
            masks: known.map(|d| &d.masks),
            weights: wanted.then(Vec::new),
            pruning: Duration::ZERO,
        };
        let mut module = module.map(&mut update);
        let Update { weights, mut pruning, .. } = update;
        let mut weights = weights.unwrap_or_default();

        self.decision = match (&self.config.criterion, due) {
            (Some(criterion), Some(due)) if !known.is_some_and(Decision::lasts) => {
                let started = Instant::now();
                let scored = self.scored(&groups, weights, known);
                let (decision, masks) = match known {
                    Some(known) => (known.clone(), known.again(scored)),
                    None => Decision::new(due, scored),
                };
                let masks = &masks;
                let mut masking =
                    Masking::<C, B> { criterion, scope: &groups, masks, weights: vec![] };
                module = module.map(&mut masking);
                weights = masking.weights;
                pruning += started.elapsed();
                Some(decision)
            }
            _ => decision,
        };
        self.threshold = self.decision.as_ref().and_then(|d| d.threshold).or(self.threshold);
        let started = Instant::now();
        if shows_scores {
            self.show_scores(&weights);
        }
        let remaining = counts.then(|| self.count(weights));
        pruning += started.elapsed();
        let ratio = overall_ratio(&self.sizes, &ratios);
        self.report((lr, grad_norm), ratio, pruning, remaining);
        self.groups = Some(groups);
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
        let mut states: HashMap<_, _> =
            self.states.iter().map(|(id, state)| (*id, C::to_record(state))).collect();
        for (id, packed) in self.zeros.iter().flat_map(Zeros::packed) {
            states.entry(id).or_default().put(ZEROS, packed);
        }
        let states = states.into_iter().map(|(id, state)| (id, state.lifted()));
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
        self.groups = None;
        let mut zeros = HashMap::new();
        self.states.clear();
        for (id, state) in states {
            let mut state = state.inner();
            zeros.extend(state.take(ZEROS).map(|packed| (id, packed)));
            let restored = self.config.criterion.as_ref().and_then(|c| c.restore(state));
            self.states.extend(restored.map(|state| (id, state)));
        }
        self.zeros = self.config.keep_zeros.then(|| Zeros::restored(zeros));
        self
    }
}
