//! A model on the sparse engine.

use super::forward::answer;
use super::model::Model;
use super::predictions::Predictions;
use super::source::Source;
use super::vectors::{Pooling, mean};
use crate::bert::weights::Tensors;
use crate::bert::{BertConfig, HeadSettings, names};
use crate::error::Result;
use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::metrics::scores::log_sum_exp;
use crate::sparse::{Builder, Engine, Instructions, Text, Wanted};

/// Texts computed at a time: enough for all threads, and few enough to tell of progress.
const WINDOW: usize = 256;

/// A model whose layers are packed.
#[derive(Debug)]
pub struct PackedModel {
    engine: Engine,
    head: Option<HeadSettings>,
}

impl PackedModel {
    /// The model of this configuration, of what [`Load::read`](super::model::Load::read) gave, for
    /// these instructions.
    ///
    /// # Errors
    /// The weights lack a part.
    pub fn new(
        bert: &BertConfig,
        (tensors, head): (Tensors, Option<HeadSettings>),
        instructions: Instructions,
    ) -> Result<Self> {
        let outputs = head.as_ref().map(|head| head.labels.len());
        let engine = engine(tensors, bert, outputs, instructions)?;
        Ok(Self { engine, head })
    }

    /// What computes it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Model for PackedModel {
    fn head(&self) -> Option<&HeadSettings> {
        self.head.as_ref()
    }

    fn pads(&self) -> bool {
        false
    }

    fn predict(
        &self,
        sets: Vec<Vec<Sample>>,
        _batch_size: usize,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<(Predictions, f64)> {
        let (mut done, total) = (0, sets.iter().map(Vec::len).sum());
        let mut all = Vec::with_capacity(sets.len());
        for (set, samples) in sets.into_iter().enumerate() {
            let started = std::time::Instant::now();
            let mut predictions = Predictions { set, ..Predictions::default() };
            for window in samples.chunks(WINDOW) {
                let first = predictions.places.len();
                let logits = with_texts(window, |texts| self.engine.logits(texts));
                predictions.extend(&answers(set, first, window, logits));
                done += window.len();
                progress(done, total);
            }
            all.push((predictions, started.elapsed().as_secs_f64()));
        }
        all
    }

    fn vectors(
        &self,
        samples: Vec<Sample>,
        _batch_size: usize,
        pooling: Pooling,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<f32> {
        let (width, total) = (self.engine.hidden(), samples.len());
        let mut all = Vec::with_capacity(total * width);
        for window in samples.chunks(WINDOW) {
            all.extend(with_texts(window, |texts| match pooling {
                Pooling::First => self.engine.vectors(texts, Wanted::First),
                Pooling::Mean => {
                    let vectors = self.engine.vectors(texts, Wanted::All);
                    let mut rest = vectors.as_slice();
                    let mut pooled = Vec::with_capacity(texts.len() * width);
                    for text in texts {
                        let (own, others) = rest.split_at(text.words.len() * width);
                        pooled.extend(mean(own, width));
                        rest = others;
                    }
                    pooled
                }
            }));
            progress(all.len() / width.max(1), total);
        }
        all
    }
}

/// The share of the encoder layers' weights that are not zero; 0 for none.
pub fn remaining(tensors: &Tensors) -> f64 {
    let (mut left, mut all) = (0, 0);
    for (name, tensor) in &tensors.tensors {
        if tensor.shape.len() == 2 && names::layer_and_matrix(name).is_some() {
            left += tensor.values.iter().filter(|value| **value != 0.0).count();
            all += tensor.values.len();
        }
    }
    for tensor in tensors.compact.values() {
        left += tensor.stored().count();
        all += tensor.elements();
    }
    left as f64 / all.max(1) as f64
}

/// The tokens of `samples` that are attended to.
fn with_texts<R>(samples: &[Sample], work: impl FnOnce(&[Text<'_>]) -> R) -> R {
    let attended = |sample: &Sample| {
        let tokens = sample.token_id.iter().zip(&sample.type_id).zip(&sample.attention_mask);
        let tokens = (0u32..).zip(tokens).filter(|(_, (_, mask))| **mask != 0);
        let (mut words, mut positions, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for (position, ((word, segment), _)) in tokens {
            words.push(*word);
            positions.push(position);
            segments.push(*segment);
        }
        (words, positions, segments)
    };
    let tokens: Vec<_> = samples.iter().map(attended).collect();
    let view = |(words, positions, segments)| Text { words, positions, segments };
    let texts: Vec<Text<'_>> = tokens.iter().map(|(w, p, s)| view((w, p, s))).collect();
    work(&texts)
}

/// The predictions of neighbouring samples of a set, the first of which stands at `first`.
fn answers(set: usize, first: usize, samples: &[Sample], logits: Vec<f32>) -> Predictions {
    let outputs = (logits.len() / samples.len().max(1)).max(1);
    let rows = || logits.chunks(outputs).zip(samples);
    let (predicted, expected) = rows().map(|(row, sample)| answer(row, &sample.label)).unzip();
    let loss_sum = rows().map(|(row, sample)| loss(row, &sample.label)).sum();
    let places = (first..first + samples.len()).collect();
    Predictions { set, places, predicted, expected, logits, loss_sum }
}

/// Cross-entropy for a class, squared error for a score.
fn loss(logits: &[f32], label: &Label) -> f64 {
    let of = |n: usize| logits.get(n).map_or(f64::NAN, |logit| f64::from(*logit));
    match label {
        Label::Class(class) => log_sum_exp(logits) - of(*class),
        Label::Score(score) => (of(0) - f64::from(*score)).powi(2),
    }
}

/// Packs the tensors of a model, layer by layer; a layer's are freed once they are packed.
fn engine(
    tensors: Tensors,
    bert: &BertConfig,
    outputs: Option<usize>,
    instructions: Instructions,
) -> Result<Engine> {
    let mut source = Source::new(tensors, bert);
    let mut builder = Builder::new(instructions, source.embeddings(bert)?);
    for n in 0..bert.num_hidden_layers {
        builder.layer(source.layer(bert, n)?);
    }
    let head = outputs.map(|outputs| source.head(outputs)).transpose()?;
    Ok(builder.finish(head))
}
