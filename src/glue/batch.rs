//! Batches in an order that follows from seed and epoch alone, as burn data loaders.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_dataset::{Dataset, InMemDataset};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::seed::mix;

/// Samples as rows of tokens, one sample after the other.
#[derive(Debug, Clone)]
pub struct Batch<B: Backend> {
    /// The update this batch is for, from 1; 0 in evaluation.
    pub update: usize,
    /// Its epoch, from 1; 0 in evaluation.
    pub epoch: usize,
    /// When its assembly began, where no update before it led here: the first of each chunk.
    pub started: Option<Instant>,
    /// Which of several evaluation sets it is from.
    pub data_set: usize,
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
    /// The labels, on the host.
    pub labels: Vec<Label>,
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
    /// A batch of `samples`.
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
            update: 0,
            epoch: 0,
            started: None,
            data_set: 0,
            token_ids,
            position_ids,
            type_ids,
            lengths,
            padded_to,
            labels: samples.iter().map(|s| s.label).collect(),
        }
    }
}

/// Which samples go into which update, and where the run pauses to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    samples: usize,
    batch_size: usize,
    epochs: usize,
    seed: u64,
    chunks: Vec<Range<usize>>,
}

impl Plan {
    /// A plan for `samples` samples over `epochs` epochs. A chunk of updates ends with each epoch,
    /// every `evaluate_every` updates (0: never), and for good after `stop_after` updates.
    pub fn new(
        samples: usize,
        batch_size: usize,
        epochs: usize,
        seed: u64,
        evaluate_every: usize,
        stop_after: Option<usize>,
    ) -> Self {
        let mut plan = Self { samples, batch_size, epochs, seed, chunks: Vec::new() };
        let end = stop_after.map_or(plan.updates(), |n| n.min(plan.updates()));
        let per_epoch = plan.updates_per_epoch();
        let mut start = 0;
        while start < end {
            let epoch_end = (start / per_epoch + 1) * per_epoch;
            let due = match evaluate_every {
                0 => epoch_end,
                n => (start / n + 1) * n,
            };
            let stop = epoch_end.min(due).min(end);
            plan.chunks.push(start..stop);
            start = stop;
        }
        plan
    }

    /// Updates of one epoch; its last batch may be smaller.
    pub fn updates_per_epoch(&self) -> usize {
        self.samples.div_ceil(self.batch_size)
    }

    /// Updates T of the whole schedule, whether or not the run stops before.
    pub fn updates(&self) -> usize {
        self.updates_per_epoch() * self.epochs
    }

    /// Updates after which the run ends.
    pub fn last_update(&self) -> usize {
        self.chunks.last().map_or(0, |c| c.end)
    }

    /// Ranges of updates, from 0, between evaluations.
    pub fn chunks(&self) -> &[Range<usize>] {
        &self.chunks
    }

    /// The epoch, from 0, of the update numbered from 0.
    pub fn epoch_of(&self, update: usize) -> usize {
        update / self.updates_per_epoch().max(1)
    }

    /// The samples' order in `epoch`, from 0: shuffled anew each epoch.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.samples).collect();
        order.shuffle(&mut StdRng::seed_from_u64(mix(self.seed, epoch as u64)));
        order
    }
}

/// Hands out the next chunk of the plan at each call of [`DataLoader::iter`].
pub struct TrainLoader<B: Backend> {
    samples: Arc<InMemDataset<Sample>>,
    plan: Arc<Plan>,
    filling: Filling,
    next_chunk: Arc<AtomicUsize>,
    /// The rows of every batch that this loader takes: the share `start..end` of `whole`.
    share: (usize, usize, usize),
    device: B::Device,
}

impl<B: Backend> TrainLoader<B> {
    /// A loader of whole batches, from the plan's first chunk.
    pub fn new(
        samples: Arc<InMemDataset<Sample>>,
        plan: Arc<Plan>,
        filling: Filling,
        device: B::Device,
    ) -> Self {
        Self { samples, plan, filling, next_chunk: Arc::default(), share: (0, 1, 1), device }
    }
}

impl<B: Backend> DataLoader<B, Batch<B>> for TrainLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<B>> + 'a> {
        let chunk = self.next_chunk.fetch_add(1, Ordering::SeqCst);
        let updates = self.plan.chunks().get(chunk).cloned().unwrap_or(0..0);
        Box::new(TrainIterator {
            order: self.plan.order(self.plan.epoch_of(updates.start)),
            next: updates.start,
            updates,
            loader: self,
        })
    }

    fn num_items(&self) -> usize {
        self.plan.samples * (self.share.1 - self.share.0) / self.share.2
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self {
            samples: self.samples.clone(),
            plan: self.plan.clone(),
            filling: self.filling,
            next_chunk: self.next_chunk.clone(),
            share: self.share,
            device: device.clone(),
        })
    }

    /// A share of every batch, so that several devices work on the same update. Each share counts
    /// its chunks for itself.
    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self {
            samples: self.samples.clone(),
            plan: self.plan.clone(),
            filling: self.filling,
            next_chunk: Arc::new(AtomicUsize::new(self.next_chunk.load(Ordering::SeqCst))),
            share: (start, end, self.num_items().max(1)),
            device: self.device.clone(),
        })
    }
}

struct TrainIterator<'a, B: Backend> {
    loader: &'a TrainLoader<B>,
    order: Vec<usize>,
    updates: Range<usize>,
    next: usize,
}

impl<B: Backend> Iterator for TrainIterator<'_, B> {
    type Item = Batch<B>;

    fn next(&mut self) -> Option<Batch<B>> {
        if self.next >= self.updates.end {
            return None;
        }
        let started = (self.next == self.updates.start).then(Instant::now);
        let TrainLoader { samples, plan, filling, share, device, .. } = self.loader;
        let first = self.next % plan.updates_per_epoch() * plan.batch_size;
        let rows = plan.batch_size.min(self.order.len() - first);
        let (start, end, whole) = *share;
        let mine = first + rows * start / whole..first + rows * end / whole;
        let picked: Vec<Sample> = self
            .order
            .get(mine)
            .unwrap_or_default()
            .iter()
            .filter_map(|n| samples.get(*n))
            .collect();
        let mut batch = Batch::new(picked.iter(), *filling, device);
        batch.started = started;
        self.next += 1;
        batch.update = self.next;
        batch.epoch = plan.epoch_of(self.next - 1) + 1;
        Some(batch)
    }
}

impl<B: Backend> DataLoaderIterator<Batch<B>> for TrainIterator<'_, B> {
    fn progress(&self) -> Progress {
        Progress::new(self.next - self.updates.start, self.updates.len())
    }
}

/// Whole evaluation sets, one after the other, each from its shortest sample to its longest so
/// that little padding is computed.
pub struct EvalLoader<B: Backend> {
    sets: Arc<Vec<Vec<Sample>>>,
    batch_size: usize,
    filling: Filling,
    device: B::Device,
}

impl<B: Backend> EvalLoader<B> {
    /// A loader over `sets`; batches never mix two of them.
    pub fn new(
        mut sets: Vec<Vec<Sample>>,
        batch_size: usize,
        filling: Filling,
        device: B::Device,
    ) -> Self {
        for set in &mut sets {
            set.sort_by_key(|s| s.token_id.len());
        }
        Self { sets: Arc::new(sets), batch_size, filling, device }
    }
}

impl<B: Backend> DataLoader<B, Batch<B>> for EvalLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Batch<B>> + 'a> {
        let chunks = self.sets.iter().enumerate().flat_map(|(n, set)| {
            set.chunks(self.batch_size.max(1)).map(move |samples| (n, samples))
        });
        Box::new(EvalIterator {
            chunks: Box::new(chunks),
            filling: self.filling,
            device: &self.device,
            progress: Progress::new(0, self.num_items()),
        })
    }

    fn num_items(&self) -> usize {
        self.sets.iter().map(Vec::len).sum()
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, Batch<B>>> {
        Arc::new(Self {
            sets: self.sets.clone(),
            batch_size: self.batch_size,
            filling: self.filling,
            device: device.clone(),
        })
    }

    /// Evaluation is not divided among devices: whole-split metrics need every prediction in one
    /// place.
    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<B, Batch<B>>> {
        self.to_device(&self.device)
    }
}

struct EvalIterator<'a, B: Backend> {
    chunks: Box<dyn Iterator<Item = (usize, &'a [Sample])> + 'a>,
    filling: Filling,
    device: &'a B::Device,
    progress: Progress,
}

impl<B: Backend> Iterator for EvalIterator<'_, B> {
    type Item = Batch<B>;

    fn next(&mut self) -> Option<Batch<B>> {
        let (data_set, samples) = self.chunks.next()?;
        self.progress.items_processed += samples.len();
        let mut batch = Batch::new(samples.iter(), self.filling, self.device);
        batch.data_set = data_set;
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
