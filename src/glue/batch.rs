//! Batches in an order that follows from seed and epoch alone, as burn data loaders.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_dataset::{Dataset, InMemDataset};

use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::glue::updates::Updates;

/// What one update learns from.
#[derive(Debug, Clone)]
pub struct UpdateBatch<B: Backend> {
    /// The update, from 1.
    pub update: usize,
    /// When its assembly began, where no update before it led here: the first of each chunk.
    pub started: Option<Instant>,
    /// Its samples in one or several batches for each device, whose gradients add up; of many
    /// processes each has its own share of them, which may be none.
    pub shares: Vec<Vec<Batch<B>>>,
    /// The number of the first of these batches among those of all processes.
    pub offset: usize,
    /// The loss is the sum over the samples divided by this: by their number, or, where batches are
    /// of several sizes, by what an update of the largest would have.
    pub divisor: usize,
    /// The number of its samples, of all processes together.
    pub samples: usize,
}

/// Samples as rows of tokens, one sample after the other.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// Which of the model's heads it is for.
    pub head: usize,
    /// Which of several evaluation sets it is from.
    pub set: usize,
    /// `[rows]`
    pub token_ids: Tensor<B, 1, Int>,
    /// The place of each token in its sample, `[rows]`.
    pub position_ids: Tensor<B, 1, Int>,
    /// `[rows]`
    pub type_ids: Tensor<B, 1, Int>,
    /// Tokens of each sample, without those that the attention mask hides.
    pub lengths: Vec<usize>,
    /// The rows that each sample takes; `None` where it takes as many as it has tokens.
    pub padded_to: Option<usize>,
    /// Where each sample stands in its evaluation set; empty in training.
    pub places: Vec<usize>,
    /// The labels, on the host.
    pub labels: Vec<Label>,
    /// What other models answer, sample after sample, on the host: `[batch, outputs]`; empty where
    /// not all samples have such an answer.
    pub soft: Vec<f32>,
}

/// The part of each batch that one of several processes takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// The process, from 0.
    pub rank: usize,
    /// How many there are.
    pub of: usize,
}

impl Portion {
    /// All of it.
    pub const WHOLE: Self = Self { rank: 0, of: 1 };
}

/// How samples of different lengths share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Without padding: each takes as many rows as it has tokens.
    Packed,
    /// Each takes as many rows as the longest.
    Padded,
}

impl<B: Backend> Batch<B> {
    /// A batch of `samples`, for the first head.
    pub fn new<'a>(
        samples: impl Iterator<Item = &'a Sample>,
        filling: Filling,
        device: &B::Device,
    ) -> Self {
        let samples: Vec<&Sample> = samples.collect();
        let attended = |s: &Sample| s.attention_mask.iter().filter(|m| **m != 0).count();
        let lengths: Vec<usize> = samples.iter().map(|s| attended(s)).collect();
        let padded_to = match filling {
            Filling::Packed => None,
            Filling::Padded => Some(lengths.iter().copied().max().unwrap_or(0)),
        };
        let rows = lengths.iter().map(|n| padded_to.unwrap_or(*n)).sum();
        let mut columns = [0; 3].map(|_| Vec::<i64>::with_capacity(rows));
        for (sample, length) in samples.iter().zip(&lengths) {
            let ids = sample.token_id.iter().zip(&sample.type_id);
            let tokens = ids.zip(&sample.attention_mask).enumerate().filter(|(_, (_, m))| **m != 0);
            for (position, ((id, kind), _)) in tokens {
                let values = [i64::from(*id), position as i64, i64::from(*kind)];
                for (column, value) in columns.iter_mut().zip(values) {
                    column.push(value);
                }
            }
            let padding = padded_to.map_or(0, |rows| rows - length);
            for column in &mut columns {
                column.resize(column.len() + padding, 0);
            }
        }
        let [token_ids, position_ids, type_ids] =
            columns.map(|column| Tensor::from_data(TensorData::new(column, [rows]), device));
        Self {
            head: 0,
            set: 0,
            token_ids,
            position_ids,
            type_ids,
            lengths,
            padded_to,
            places: Vec::new(),
            labels: samples.iter().map(|s| s.label).collect(),
            soft: if samples.iter().all(|s| !s.softlabel.is_empty()) {
                samples.iter().flat_map(|s| s.softlabel.iter().copied()).collect()
            } else {
                Vec::new()
            },
        }
    }
}

/// Hands out the next chunk of the plan at each call of [`DataLoader::iter`].
#[derive(Clone)]
pub struct TrainLoader<B: Backend> {
    samples: Arc<InMemDataset<Sample>>,
    updates: Arc<Updates>,
    filling: Filling,
    /// What the losses of an update are divided by; `None` for the number of its samples.
    divisor: Option<usize>,
    /// Updates done before.
    start: usize,
    next_chunk: Arc<AtomicUsize>,
    devices: Vec<B::Device>,
    portion: Portion,
    /// The first samples of the second head, the third, ...
    heads: Vec<usize>,
}

impl<B: Backend> TrainLoader<B> {
    /// A loader of whole updates, each of whose batches is divided among `devices`, from the one
    /// after `start` on.
    pub fn new(
        samples: Arc<InMemDataset<Sample>>,
        updates: Arc<Updates>,
        filling: Filling,
        divisor: Option<usize>,
        start: usize,
        devices: Vec<B::Device>,
    ) -> Self {
        let done = updates.chunks().iter().filter(|chunk| chunk.end <= start).count();
        let next_chunk = Arc::new(AtomicUsize::new(done));
        let (portion, heads) = (Portion::WHOLE, Vec::new());
        Self { samples, updates, filling, divisor, start, next_chunk, devices, portion, heads }
    }

    /// The same for several heads: the samples from each of `heads` on are those of the next one.
    #[must_use]
    pub fn for_heads(self, heads: Vec<usize>) -> Self {
        Self { heads, ..self }
    }

    /// The same, of whose batches a process takes its `portion`, and divides that.
    #[must_use]
    pub fn of(self, portion: Portion) -> Self {
        Self { portion, ..self }
    }
}

impl<B: Backend> DataLoader<B, UpdateBatch<B>> for TrainLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<UpdateBatch<B>> + 'a> {
        let chunk = self.next_chunk.fetch_add(1, Ordering::SeqCst);
        let updates = self.updates.chunks().get(chunk).cloned().unwrap_or(0..0);
        let updates = updates.start.max(self.start.min(updates.end))..updates.end;
        Box::new(TrainIterator { epoch: None, next: updates.start, updates, loader: self })
    }

    fn num_items(&self) -> usize {
        self.updates.samples()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, UpdateBatch<B>>> {
        Arc::new(Self { devices: vec![device.clone()], ..self.clone() })
    }

    /// All of it. Only burn's own strategies for several devices ask for a range of samples; ours
    /// has one loader, which divides each update among them.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<B, UpdateBatch<B>>> {
        Arc::new(self.clone())
    }
}

struct TrainIterator<'a, B: Backend> {
    loader: &'a TrainLoader<B>,
    /// The epoch it is in, and the samples of each of its batches.
    epoch: Option<(usize, Vec<Vec<usize>>)>,
    updates: Range<usize>,
    next: usize,
}

impl<B: Backend> Iterator for TrainIterator<'_, B> {
    type Item = UpdateBatch<B>;

    fn next(&mut self) -> Option<UpdateBatch<B>> {
        if self.next >= self.updates.end {
            return None;
        }
        let started = (self.next == self.updates.start).then(Instant::now);
        let TrainLoader { samples, updates, filling, divisor, devices, portion, heads, .. } =
            self.loader;
        let Portion { rank, of } = *portion;
        let mut shares = vec![Vec::new(); devices.len()];
        let mut count = 0;
        for (epoch, place) in updates.batches_of(self.next) {
            let known = self.epoch.take().filter(|(known, _)| *known == epoch);
            let (_, batches) = self.epoch.insert(known.unwrap_or((epoch, updates.batches(epoch))));
            let batch = batches.get(place)?;
            let picked: Vec<Sample> = batch.iter().filter_map(|n| samples.get(*n)).collect();
            count += picked.len();
            let size = picked.len().div_ceil((of * devices.len()).max(1)).max(1);
            let own = picked.chunks(size).skip(rank * devices.len());
            let head = batch.first().map_or(0, |n| heads.partition_point(|start| start <= n));
            for (part, (share, device)) in own.zip(shares.iter_mut().zip(devices)) {
                share.push(Batch { head, ..Batch::new(part.iter(), *filling, device) });
            }
        }
        shares.retain(|share| !share.is_empty());
        let divisor = divisor.unwrap_or(count);
        let offset = rank * devices.len() * updates.batches_of(self.next).count();
        self.next += 1;
        Some(UpdateBatch { update: self.next, started, shares, offset, divisor, samples: count })
    }
}

impl<B: Backend> DataLoaderIterator<UpdateBatch<B>> for TrainIterator<'_, B> {
    fn progress(&self) -> Progress {
        Progress::new(self.next - self.updates.start, self.updates.len())
    }
}

/// A sample with its place in its evaluation set.
type Placed = (usize, Sample);

/// Whole evaluation sets, one after the other, each from its shortest sample to its longest so
/// that little padding is computed.
#[derive(Clone)]
pub struct EvalLoader<B: Backend> {
    sets: Arc<Vec<Vec<Placed>>>,
    batch_size: usize,
    filling: Filling,
    device: B::Device,
    portion: Portion,
    /// Of each set; the first one without.
    heads: Vec<usize>,
}

impl<B: Backend> EvalLoader<B> {
    /// A loader over `sets`; batches never mix two of them.
    pub fn new(
        sets: Vec<Vec<Sample>>,
        batch_size: usize,
        filling: Filling,
        device: B::Device,
    ) -> Self {
        let sorted = |set: Vec<Sample>| {
            let mut set: Vec<_> = set.into_iter().enumerate().collect();
            set.sort_by_key(|(_, sample)| sample.token_id.len());
            set
        };
        let sets = Arc::new(sets.into_iter().map(sorted).collect());
        let (portion, heads) = (Portion::WHOLE, Vec::new());
        Self { sets, batch_size, filling, device, portion, heads }
    }

    /// The same, each set for its own head.
    #[must_use]
    pub fn for_heads(self, heads: Vec<usize>) -> Self {
        Self { heads, ..self }
    }

    /// The same, for a process that takes its `portion` of windows of as many batches as there are
    /// processes. Where nothing is left for it, it gets the window's first sample, without a place:
    /// the answer is nobody's.
    #[must_use]
    pub fn of(self, portion: Portion) -> Self {
        Self { portion, ..self }
    }
}

impl<B: Backend> DataLoader<B, Batch<B>> for EvalLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<B>> + 'a> {
        let chunks = self.sets.iter().enumerate().flat_map(|(n, set)| {
            set.chunks((self.portion.of * self.batch_size).max(1)).map(move |samples| (n, samples))
        });
        Box::new(EvalIterator {
            chunks: Box::new(chunks),
            filling: self.filling,
            device: &self.device,
            portion: self.portion,
            heads: &self.heads,
            progress: Progress::new(0, self.num_items()),
        })
    }

    fn num_items(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    /// All of it: evaluation is not divided among devices, for the scores need every prediction in
    /// one place.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(self.clone())
    }
}

struct EvalIterator<'a, B: Backend> {
    chunks: Box<dyn Iterator<Item = (usize, &'a [Placed])> + 'a>,
    filling: Filling,
    device: &'a B::Device,
    portion: Portion,
    heads: &'a [usize],
    progress: Progress,
}

impl<B: Backend> Iterator for EvalIterator<'_, B> {
    type Item = Batch<B>;

    fn next(&mut self) -> Option<Batch<B>> {
        let (set, window) = self.chunks.next()?;
        self.progress.items_processed += window.len();
        let Portion { rank, of } = self.portion;
        let own = window.chunks(window.len().div_ceil(of).max(1)).nth(rank);
        let samples = own.or(window.get(..1)).unwrap_or_default();
        let (places, samples): (Vec<_>, Vec<_>) = samples.iter().map(|(n, s)| (*n, s)).unzip();
        let mut batch = Batch::new(samples.into_iter(), self.filling, self.device);
        batch.set = set;
        batch.head = self.heads.get(set).copied().unwrap_or(0);
        batch.places = if own.is_some() { places } else { Vec::new() };
        Some(batch)
    }
}

impl<B: Backend> DataLoaderIterator<Batch<B>> for EvalIterator<'_, B> {
    fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
