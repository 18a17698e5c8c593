//! One training and one evaluation step, as burn-train calls them.

use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{AutodiffModule, Module};
use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::optim::{GradientsAccumulator, GradientsParams, LearningRate, Optimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use burn_train::metric::ItemLazy;
use burn_train::{InferenceStep, TrainOutput, TrainStep};

use super::clock::Clock;
use super::loss_scale::LossScale;
use super::replicas::{carried, gathered, replica};
use crate::bert::{BertClassifier, Training};
use crate::glue::batch::{Batch, Filling, UpdateBatch};
use crate::glue::tsv::Label;
use crate::kernels::operands::TokenIds;
use crate::kernels::{ModelKernels, Precision, Sequences, TrainingBackend};
use crate::metrics::learner::{Predictions, TrainPoint};
use crate::metrics::scores::argmax;
use crate::pruning::PruningMonitor;
use crate::pruning::visit::{self, norm_of_all};
use crate::seed::mix;

/// The classifier with what its training step needs besides the batch.
#[derive(Module, Debug)]
pub struct Trainee<B: Backend> {
    /// The model.
    pub net: BertClassifier<B>,
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
    /// Takes the predictions of evaluations.
    pub basket: Basket,
    /// Updates compute their products in half precision and scale their losses by it; `None` for
    /// single precision.
    pub loss_scale: Option<LossScale>,
}

impl StepContext {
    fn precision(&self) -> Precision {
        if self.loss_scale.is_some() { Precision::Half } else { Precision::Single }
    }
}

/// Collects the predictions of an evaluation, batch by batch.
#[derive(Debug, Clone, Default)]
pub struct Basket(Arc<Mutex<Vec<Predictions>>>);

impl Basket {
    fn put(&self, predictions: Predictions) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(predictions);
    }

    /// Takes what has been collected, set by set.
    pub fn empty(&self, sets: usize) -> Vec<Predictions> {
        let batches = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all: Vec<Predictions> =
            (0..sets).map(|data_set| Predictions { data_set, ..Predictions::default() }).collect();
        for batch in &batches {
            if let Some(set) = all.get_mut(batch.data_set) {
                set.extend(batch);
            }
        }
        all.into_iter().map(Predictions::in_order).collect()
    }
}

impl<B: Backend> Trainee<B> {
    /// Wraps a model for training.
    pub fn new(net: BertClassifier<B>, context: StepContext) -> Self {
        Self { net, context }
    }
}

/// The loss of some samples, as their share of the update's mean, and its gradients.
type Learned<B> = (Tensor<<B as AutodiffBackend>::InnerBackend, 1>, GradientsParams);

impl<B: TrainingBackend> Trainee<B> {
    /// Learns with the largest loss scale that keeps the gradients finite, if there is one.
    fn learn_scaled(
        &self,
        update: usize,
        shares: &[Vec<Batch<B>>],
        scale: &LossScale,
    ) -> Learned<B> {
        loop {
            let factor = scale.factor();
            let (loss, grads) = self.learn(update, shares.to_vec(), factor);
            let finite = norm_of_all::<B, _>(self, &grads).is_finite();
            if finite {
                scale.held();
            }
            // A loss that is not finite itself is so at any scale.
            let hopeless = || !first(&loss.to_data()).is_finite() || !scale.overflowed();
            if finite || hopeless() {
                return (loss, visit::scale::<B, _>(self, grads, 1.0 / factor));
            }
        }
    }

    /// Loss and gradients of an update, the gradients multiplied by `factor`. Each device works on
    /// its share with a replica of the model; GPUs do so at the same time, for what they are told
    /// here they only put in their queues.
    fn learn(&self, update: usize, shares: Vec<Vec<Batch<B>>>, factor: f64) -> Learned<B> {
        // Dropout depends on seed and update alone, whatever was drawn before.
        let noise = mix(self.context.seed, update as u64);
        let samples = shares.iter().flatten().map(|part| part.labels.len()).sum();
        let mut offset = 0;
        let mut learned = Vec::with_capacity(shares.len());
        for parts in shares {
            let Some(device) = parts.first().map(|part| part.token_ids.device()) else { continue };
            let share = Share { offset, samples, noise, factor };
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
            return (Tensor::zeros([1], &Default::default()), GradientsParams::new());
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
        let Share { offset, samples, noise, factor } = share;
        let (mut sum, mut grads) = (None, GradientsAccumulator::new());
        for (n, part) in (offset..).zip(parts) {
            // The first part of an update draws what an undivided one would.
            let noise = if n == 0 { noise } else { mix(noise, u64::MAX - n as u64) };
            let training = Training { noise, precision: self.context.precision() };
            let ((ids, sequences), labels) = inputs(part);
            let weight = labels.len() as f64 / samples as f64;
            let loss = loss(self.net.forward(ids, &sequences, Some(training)), &labels);
            let loss = loss.mul_scalar(weight);
            let value = loss.clone().inner();
            sum = Some(sum.map_or_else(|| value.clone(), |sum| sum + value.clone()));
            let loss = if factor == 1.0 { loss } else { loss.mul_scalar(factor) };
            grads.accumulate(self, GradientsParams::from_grads(loss.backward(), self));
        }
        (sum.unwrap_or_else(|| Tensor::zeros([1], &Default::default())), grads.grads())
    }
}

/// What one device does of an update.
struct Share {
    /// Its first part among those of the update.
    offset: usize,
    /// Samples of the update.
    samples: usize,
    noise: u64,
    /// Of the gradients.
    factor: f64,
}

impl<B: TrainingBackend> TrainStep for Trainee<B> {
    type Input = UpdateBatch<B>;
    type Output = StepOutput<B::InnerBackend>;

    fn step(&self, batch: UpdateBatch<B>) -> TrainOutput<Self::Output> {
        let context = self.context.clone();
        let UpdateBatch { update: step, started, shares } = batch;
        context.clock.start(started);
        let (loss, grads) = match &context.loss_scale {
            None => self.learn(step, shares, 1.0),
            Some(scale) => self.learn_scaled(step, &shares, scale),
        };
        TrainOutput { grads, item: StepOutput { step, loss, context } }
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

/// What one update leaves for the metrics.
pub struct StepOutput<B: Backend> {
    step: usize,
    loss: Tensor<B, 1>,
    context: StepContext,
}

impl<B: Backend> ItemLazy for StepOutput<B> {
    type ItemSync = TrainPoint;

    /// burn calls this once the optimizer has stepped, so the status of this update is there.
    fn sync(self) -> TrainPoint {
        let status = self.context.monitor.at(self.step);
        let seconds = self.context.clock.recent();
        TrainPoint {
            loss: first(&self.loss.into_data()),
            ratio: status.as_ref().map_or(1.0, |s| s.ratio),
            sparsity: status.as_ref().map_or(0.0, |s| s.sparsity),
            threshold: status.and_then(|s| s.threshold).map_or(0.0, f64::from),
            speed: if seconds > 0.0 { 1.0 / seconds } else { 0.0 },
        }
    }
}

impl<B: ModelKernels> InferenceStep for Trainee<B> {
    type Input = Batch<B>;
    type Output = EvalOutput<B>;

    fn step(&self, batch: Batch<B>) -> EvalOutput<B> {
        EvalOutput { basket: Some(self.context.basket.clone()), ..infer(&self.net, batch) }
    }
}

/// The model's answers to one batch of an evaluation.
pub struct EvalOutput<B: Backend> {
    data_set: usize,
    places: Vec<usize>,
    logits: Tensor<B, 2>,
    loss: Tensor<B, 1>,
    labels: Vec<Label>,
    basket: Option<Basket>,
}

impl<B: Backend> ItemLazy for EvalOutput<B> {
    type ItemSync = Predictions;

    fn sync(self) -> Predictions {
        let [_, outputs] = self.logits.dims();
        let logits: Vec<f32> = self.logits.into_data().iter::<f32>().collect();
        let (predicted, expected) = logits
            .chunks(outputs.max(1))
            .zip(&self.labels)
            .map(|(row, label)| match label {
                Label::Class(class) => (argmax(row) as f32, *class as f32),
                Label::Score(score) => (row.first().copied().unwrap_or(f32::NAN), *score),
            })
            .unzip();
        let predictions = Predictions {
            data_set: self.data_set,
            places: self.places,
            predicted,
            expected,
            logits,
            loss_sum: first(&self.loss.into_data()) * self.labels.len() as f64,
        };
        if let Some(basket) = self.basket {
            basket.put(predictions.clone());
        }
        predictions
    }
}

/// The answers of `net` to one batch.
pub fn infer<B: ModelKernels>(net: &BertClassifier<B>, mut batch: Batch<B>) -> EvalOutput<B> {
    let (data_set, places) = (batch.data_set, std::mem::take(&mut batch.places));
    let ((ids, sequences), labels) = inputs(batch);
    let logits = net.forward(ids, &sequences, None);
    let loss = loss(logits.clone(), &labels);
    EvalOutput { data_set, places, logits, loss, labels, basket: None }
}

/// What the model reads of a batch, and the labels.
pub fn inputs<B: Backend>(batch: Batch<B>) -> ((TokenIds<B>, Sequences), Vec<Label>) {
    let Batch { token_ids, position_ids, type_ids, lengths, padded_to, labels, .. } = batch;
    let ids = TokenIds::<B> { word: token_ids, position: position_ids, segment: type_ids };
    ((ids, Sequences::new(lengths, padded_to)), labels)
}

/// How batches are filled for the backend `B`.
pub fn filling<B: ModelKernels>() -> Filling {
    if B::PACKS { Filling::Packed } else { Filling::Padded }
}

/// Cross-entropy for classes, mean squared error for scores; the mean over the batch.
///
/// # Shapes
/// - `logits`: `[batch, outputs]`
/// - output: `[1]`
fn loss<B: Backend>(logits: Tensor<B, 2>, labels: &[Label]) -> Tensor<B, 1> {
    let device = logits.device();
    let rows = labels.len();
    let classes: Option<Vec<i64>> = labels
        .iter()
        .map(|label| match label {
            Label::Class(class) => Some(*class as i64),
            Label::Score(_) => None,
        })
        .collect();
    if let Some(classes) = classes {
        let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(classes, [rows]), &device);
        return CrossEntropyLossConfig::new().init(&device).forward(logits, targets);
    }
    let scores: Vec<f32> = labels
        .iter()
        .map(|label| match label {
            Label::Class(class) => *class as f32,
            Label::Score(score) => *score,
        })
        .collect();
    let targets = Tensor::<B, 1>::from_data(TensorData::new(scores, [rows]), &device);
    MseLoss::new().forward(logits.reshape([rows]), targets, Reduction::Mean)
}

fn first(data: &TensorData) -> f64 {
    data.iter::<f64>().next().unwrap_or(f64::NAN)
}
