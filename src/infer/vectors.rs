//! The encoder's vectors of texts.

use burn::data::dataloader::DataLoader;

use super::forward::{filling, inputs};
use crate::bert::{BertClassifier, Pass};
use crate::glue::batch::EvalLoader;
use crate::glue::sample::Sample;
use crate::kernels::{ModelKernels, Queries, Zeros};

/// What stands for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The vector of its first token, `[CLS]`.
    First,
    /// The mean of the vectors of all its tokens.
    Mean,
}

impl Pooling {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Mean => "mean",
        }
    }
}

/// The last layer's vectors of `samples`, in their order: `[samples, hidden]`, row by row.
/// `progress` is told how many of how many samples are done.
pub fn vectors<B: ModelKernels>(
    net: &BertClassifier<B>,
    samples: Vec<Sample>,
    batch_size: usize,
    pooling: Pooling,
    device: &B::Device,
    progress: &dyn Fn(usize, usize),
) -> Vec<f32> {
    let total = samples.len();
    let mut rows: Vec<(usize, Vec<f32>)> = Vec::with_capacity(total);
    let loader = EvalLoader::<B>::new(vec![samples], batch_size, filling::<B>(), device.clone());
    for mut batch in loader.iter() {
        let places = std::mem::take(&mut batch.places);
        let ((ids, sequences), _) = inputs(batch);
        let queries = if pooling == Pooling::First { Queries::First } else { Queries::All };
        let hidden =
            net.encoder().forward(ids, &sequences, queries, Pass::answers(Zeros::Multiply));
        let [_, width] = hidden.dims();
        let hidden: Vec<f32> = hidden.into_data().iter::<f32>().collect();
        // A span may end in padding.
        let tokens = sequences.spans().zip(sequences.lengths());
        let pooled = tokens.enumerate().map(|(n, (span, length))| {
            let tokens = span.start..span.start + length;
            let span = if pooling == Pooling::First { n..n + 1 } else { tokens };
            mean(hidden.get(span.start * width..span.end * width).unwrap_or_default(), width)
        });
        rows.extend(places.into_iter().zip(pooled));
        progress(rows.len(), total);
    }
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().flat_map(|(_, row)| row).collect()
}

/// The mean of the rows of `values`.
pub(super) fn mean(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.len() / width.max(1);
    let mut sum = vec![0.0; width];
    for row in values.chunks(width.max(1)) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sum.into_iter().map(|sum| sum / rows.max(1) as f32).collect()
}

/// The first row of `values` with a number that is not finite, and that number.
pub fn not_finite(values: &[f32], width: usize) -> Option<(usize, f32)> {
    let (n, value) = values.iter().copied().enumerate().find(|(_, value)| !value.is_finite())?;
    Some((n / width.max(1), value))
}
