//! One training and one evaluation step, as burn-train calls them.

use burn::module::{AutodiffModule, Module};
use burn::nn::Linear;
use burn::optim::{GradientsAccumulator, GradientsParams, LearningRate, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_train::metric::ItemLazy;
use burn_train::{InferenceStep, TrainOutput, TrainStep};

use super::clock::Clock;
use super::gauges::{Answered, Shown};
use super::loss_scale::LossScale;
use super::objective::Objective;
use super::replicas::{carried, gathered, replica};
use crate::bert::{BertClassifier, Training};
use crate::error::Error;
use crate::glue::batch::{Batch, UpdateBatch};
use crate::infer::forward::{Answers, infer};
use crate::infer::loss::first;
use crate::infer::predictions::Predictions;
use crate::kernels::{ModelKernels, Precision, TrainingBackend, Zeros};
use crate::pruning::PruningMonitor;
use crate::pruning::visit::{self, norm_of_all};
use crate::run::{Journal, Point};
use crate::seed::mix;
use crate::world::{At, World};

/// The classifier with what its training step needs besides the batch.
#[derive(Module, Debug)]
pub struct Trainee<B: Backend> {
    /// The model.
    pub net: BertClassifier<B>,
    /// Brings its vectors to the width of a teacher's, where a teacher's count and are of another.
    pub projection: Option<Linear<B>>,
    #[module(skip)]
    context: StepContext,
}

/// What stays the same from step to step.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The run's.
    pub seed: u64,
    /// The optimizer's, which is made after the model.
    pub monitor: PruningMonitor,
    /// Times the updates.
    pub clock: Clock,
    /// Is told of updates and evaluations; `None` where nobody wants to know.
    pub journal: Option<Journal>,
    /// Of the products of updates.
    pub precision: Precision,
    /// Updates scale their losses by it, as those of small range must; `None` for no scale.
    pub loss_scale: Option<LossScale>,
    /// Those that each do a share of every update.
    pub world: World,
    /// What updates minimise.
    pub objective: Objective,
}

impl StepContext {
    /// Ends the run.
    fn failed(&self, error: Error) {
        if let Some(journal) = &self.journal {
            journal.fail(error);
        }
    }

    fn has_failed(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::has_failed)
    }
}

impl<B: Backend> Trainee<B> {
    /// Wraps a model for training.
    pub fn new(net: BertClassifier<B>, context: StepContext) -> Self {
        Self { net, projection: None, context }
    }

    /// The same with this projection, if there is one.
    #[must_use]
    pub fn with_projection(self, projection: Option<Linear<B>>) -> Self {
        Self { projection, ..self }
    }
}

/// The loss of some samples, as their share of the update's mean, and its gradients.
type Learned<B> = (Tensor<<B as AutodiffBackend>::InnerBackend, 1>, GradientsParams);

impl<B: TrainingBackend> Trainee<B> {
    /// Learns, together with the other ranks. Where one of them fails, so does the run, and what is
    /// learned here is of no use.
    fn learn_together(
        &self,
        update: usize,
        portion: (Vec<Vec<Batch<B>>>, usize, usize),
        factor: f64,
    ) -> Learned<B> {
        let (loss, grads) = self.learn(update, portion, factor);
        let device = loss.device();
        self.context.world.sum::<B, _>(self, loss, grads).unwrap_or_else(|error| {
            self.context.failed(error);
            (Tensor::zeros([1], &device), GradientsParams::new())
        })
    }

    /// Learns with the largest loss scale that keeps the gradients finite, if there is one.
    fn learn_scaled(
        &self,
        update: usize,
        (shares, offset, divisor): (&[Vec<Batch<B>>], usize, usize),
        scale: &LossScale,
    ) -> Learned<B> {
        loop {
            let factor = scale.factor();
            let (loss, grads) =
                self.learn_together(update, (shares.to_vec(), offset, divisor), factor);
            let finite = norm_of_all::<B, _>(self, &grads).is_finite();
            if finite {
                scale.held();
            }
            // A loss that is not finite itself is so at any scale.
            let hopeless = || {
                self.context.has_failed()
                    || !first(&loss.to_data()).is_finite()
                    || !scale.overflowed()
            };
            if finite || hopeless() {
                return (loss, visit::scale::<B, _>(self, grads, 1.0 / factor));
            }
        }
    }

    /// Loss and gradients of an update, the gradients multiplied by `factor`. Each device works on
    /// its share with a replica of the model; GPUs do so at the same time, for what they are told
    /// here they only put in their queues.
    fn learn(
        &self,
        update: usize,
        (shares, mut offset, divisor): (Vec<Vec<Batch<B>>>, usize, usize),
        factor: f64,
    ) -> Learned<B> {
        // Dropout depends on seed and update alone, whatever was drawn before.
        let noise = mix(self.context.seed, update as u64);
        let mut learned = Vec::with_capacity(shares.len());
        for parts in shares {
            let Some(device) = parts.first().map(|part| part.token_ids.device()) else { continue };
            let share = Share { offset, divisor, noise, factor };
            offset += parts.len();
            let result = if learned.is_empty() {
                self.learn_share(share, parts)
            } else {
                replica::<B, _>(self.clone(), &device).learn_share(share, parts)
            };
            learned.push((device, result));
        }
        let mut learned = learned.into_iter();
        let Some((main, (mut loss, grads))) = learned.next() else {
            return (self.no_loss(), GradientsParams::new());
        };
        if learned.len() == 0 {
            return (loss, grads);
        }
        // On CUDA, what another device sends may be written over what this one still works with. A
        // device that fails here fails at its next operation too, where that is seen.
        let _ = B::InnerBackend::sync(&main);
        let mut sum = GradientsAccumulator::new();
        sum.accumulate(self, grads);
        for (_, (other, grads)) in learned {
            loss = loss + carried(other, &main);
            sum.accumulate(self, gathered::<B, _>(self, grads, &main));
        }
        (loss, sum.grads())
    }

    fn learn_share(&self, share: Share, parts: Vec<Batch<B>>) -> Learned<B> {
        let Share { offset, divisor, noise, factor } = share;
        let (mut sum, mut grads) = (None, GradientsAccumulator::new());
        for (n, part) in (offset..).zip(parts) {
            // The first part of an update draws what an undivided one would.
            let noise = if n == 0 { noise } else { mix(noise, u64::MAX - n as u64) };
            let training = Training { noise, precision: self.context.precision };
            let weight = part.labels.len() as f64 / divisor as f64;
            let (objective, projection) = (&self.context.objective, self.projection.as_ref());
            let loss = objective.loss(&self.net, projection, part, training).mul_scalar(weight);
            let value = loss.clone().inner();
            sum = Some(sum.map_or_else(|| value.clone(), |sum| sum + value.clone()));
            let loss = if factor == 1.0 { loss } else { loss.mul_scalar(factor) };
            grads.accumulate(self, GradientsParams::from_grads(loss.backward(), self));
        }
        (sum.unwrap_or_else(|| self.no_loss()), grads.grads())
    }

    /// The loss of no samples, where the model is: the gradients that come from elsewhere go there.
    fn no_loss(&self) -> Tensor<B::InnerBackend, 1> {
        Tensor::zeros([1], &self.net.devices().first().cloned().unwrap_or_default())
    }
}

/// What one device does of an update.
struct Share {
    /// Its first part among those of the update.
    offset: usize,
    /// What the losses of the update are divided by.
    divisor: usize,
    noise: u64,
    /// Of the gradients.
    factor: f64,
}

impl<B: TrainingBackend> TrainStep for Trainee<B> {
    type Input = UpdateBatch<B>;
    type Output = StepOutput<B::InnerBackend>;

    fn step(&self, batch: UpdateBatch<B>) -> TrainOutput<Self::Output> {
        let context = self.context.clone();
        let UpdateBatch { update: step, started, shares, offset, divisor, samples } = batch;
        context.clock.start(started);
        let (loss, grads) = match &context.loss_scale {
            None => self.learn_together(step, (shares, offset, divisor), 1.0),
            Some(scale) => self.learn_scaled(step, (&shares, offset, divisor), scale),
        };
        let mean = divisor as f64 / samples.max(1) as f64;
        TrainOutput { grads, item: StepOutput { step, loss, mean, context } }
    }

    fn optimize<B1, O>(self, optim: &mut O, lr: LearningRate, grads: GradientsParams) -> Self
    where
        B1: AutodiffBackend,
        O: Optimizer<Self, B1>,
        Self: AutodiffModule<B1>,
    {
        let clock = self.context.clock.clone();
        let updated = optim.step(lr, self, grads);
        clock.stop();
        updated
    }
}

/// What one update leaves for journal and dashboard.
pub struct StepOutput<B: Backend> {
    step: usize,
    loss: Tensor<B, 1>,
    /// What makes of it the mean of the samples' losses: 1 but where batches are of several sizes.
    mean: f64,
    context: StepContext,
}

impl<B: Backend> ItemLazy for StepOutput<B> {
    type ItemSync = Shown;

    /// burn calls this once the optimizer has stepped, so the status of this update is there.
    fn sync(self) -> Shown {
        let Self { step, loss, mean, context } = self;
        let status = context.monitor.at(step);
        let recent = context.clock.recent();
        let point = Point {
            step,
            loss: mean * first(&loss.into_data()),
            ratio: status.as_ref().map_or(1.0, |s| s.ratio),
            sparsity: status.as_ref().map_or(0.0, |s| s.sparsity),
            threshold: status.as_ref().and_then(|s| s.threshold).map_or(0.0, f64::from),
            learning_rate: status.as_ref().map_or(0.0, |s| s.learning_rate),
            grad_norm: status.as_ref().map_or(0.0, |s| s.grad_norm.value()),
            speed: if recent > 0.0 { 1.0 / recent } else { 0.0 },
            seconds: context.clock.total_at(step).unwrap_or(f64::NAN),
            pruning_seconds: status.as_ref().map_or(f64::NAN, |s| s.pruning_seconds),
            remaining: status.and_then(|s| s.remaining),
        };
        if let Some(journal) = &context.journal {
            journal.trained(&point);
        }
        Shown(point)
    }
}

impl<B: ModelKernels> InferenceStep for Trainee<B> {
    type Input = Batch<B>;
    type Output = EvalOutput<B>;

    fn step(&self, batch: Batch<B>) -> EvalOutput<B> {
        let context = &self.context;
        let answers = infer(&self.net, batch, Zeros::Skip);
        let answers = if context.world.is_alone() {
            Given::OnDevice(answers)
        } else {
            let all = context.world.gather(At::Answers, &answers.read());
            let parts = all.unwrap_or_else(|error| {
                context.failed(error);
                Vec::new()
            });
            Given::OnHost(Predictions::joined(parts))
        };
        EvalOutput { answers, journal: context.journal.clone() }
    }
}

/// What one batch of an evaluation leaves for journal and dashboard.
pub struct EvalOutput<B: Backend> {
    answers: Given<B>,
    journal: Option<Journal>,
}

/// Answers, still on their device or brought together from all ranks.
enum Given<B: Backend> {
    OnDevice(Answers<B>),
    OnHost(Predictions),
}

impl<B: Backend> ItemLazy for EvalOutput<B> {
    type ItemSync = Answered;

    fn sync(self) -> Answered {
        let predictions = match self.answers {
            Given::OnDevice(answers) => answers.read(),
            Given::OnHost(predictions) => predictions,
        };
        if let Some(journal) = &self.journal {
            journal.predicted(&predictions);
        }
        Answered(predictions)
    }
}
