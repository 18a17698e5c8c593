//! The forward pass over evaluation sets.

use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::loss::{first, label_loss};
use super::predictions::Predictions;
use crate::bert::{BertClassifier, Pass};
use crate::glue::batch::{Batch, EvalLoader, Filling};
use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::kernels::operands::TokenIds;
use crate::kernels::{ModelKernels, Sequences, Zeros};
use crate::metrics::scores::argmax;

/// Runs `net` over all `sets`; the predictions of each, with the seconds from the assembly of its
/// first batch to its last prediction. `progress` is told how many of how many samples are done.
pub fn predict<B: ModelKernels>(
    net: &BertClassifier<B>,
    sets: Vec<Vec<Sample>>,
    batch_size: usize,
    device: &B::Device,
    progress: &dyn Fn(usize, usize),
) -> Vec<(Predictions, f64)> {
    let (mut done, total) = (0, sets.iter().map(Vec::len).sum());
    let empty = |set| (Predictions { set, ..Predictions::default() }, 0.0);
    let mut all: Vec<(Predictions, f64)> = (0..sets.len()).map(empty).collect();
    let mut started = Instant::now();
    let loader = EvalLoader::<B>::new(sets, batch_size, filling::<B>(), device.clone());
    for batch in loader.iter() {
        let predictions = infer(net, batch, Zeros::Multiply).read();
        done += predictions.predicted.len();
        progress(done, total);
        let now = Instant::now();
        if let Some((set, seconds)) = all.get_mut(predictions.set) {
            set.extend(&predictions);
            *seconds += (now - started).as_secs_f64();
        }
        started = now;
    }
    all.into_iter().map(|(set, seconds)| (set.in_order(), seconds)).collect()
}

/// The model's answers to one batch, still on its device.
pub struct Answers<B: Backend> {
    set: usize,
    places: Vec<usize>,
    /// `[batch, outputs]`
    logits: Tensor<B, 2>,
    /// `[1]`
    loss: Tensor<B, 1>,
    labels: Vec<Label>,
}

impl<B: Backend> Answers<B> {
    /// Brings them to the host.
    pub fn read(self) -> Predictions {
        let [_, outputs] = self.logits.dims();
        let logits: Vec<f32> = self.logits.into_data().iter::<f32>().collect();
        let (predicted, expected) = logits
            .chunks(outputs.max(1))
            .zip(&self.labels)
            .map(|(row, label)| answer(row, label))
            .unzip();
        Predictions {
            set: self.set,
            places: self.places,
            predicted,
            expected,
            logits,
            loss_sum: first(&self.loss.into_data()) * self.labels.len() as f64,
        }
    }
}

/// What is predicted, and what is right: a class, or a value.
pub(super) fn answer(logits: &[f32], label: &Label) -> (f32, f32) {
    match label {
        Label::Class(class) => (argmax(logits) as f32, *class as f32),
        Label::Score(score) => (logits.first().copied().unwrap_or(f32::NAN), *score),
    }
}

/// The answers of `net` to one batch, zeros of the weights being left out or not.
pub fn infer<B: ModelKernels>(
    net: &BertClassifier<B>,
    mut batch: Batch<B>,
    zeros: Zeros,
) -> Answers<B> {
    let (head, set, places) = (batch.head, batch.set, std::mem::take(&mut batch.places));
    let ((ids, sequences), labels) = inputs(batch);
    let logits = net.forward(ids, &sequences, head, Pass::answers(zeros));
    let loss = label_loss(logits.clone(), &labels);
    Answers { set, places, logits, loss, labels }
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
