//! Which samples go into which update, and where a run pauses to evaluate and to save.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::seed::mix;

/// How the batches of several training sets follow one another, as in the original. A batch is of one
/// set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// The bins of the first set.
    pub first: usize,
    /// The first set's batches come after the others', instead of among them.
    pub others_first: bool,
    /// So many batches of the others for each of the first set, as far as there are any; drawn anew
    /// each epoch. 0 for all.
    pub ratio: f64,
}

impl Mix {
    /// The batches of the first training set, and those of the others.
    fn batches(self, bins: &[Bin]) -> (usize, usize) {
        let (first, others) = self.sets(bins);
        (count(first), count(others))
    }

    /// The bins of the first training set, and those of the others.
    fn sets(self, bins: &[Bin]) -> (&[Bin], &[Bin]) {
        bins.split_at(self.first.min(bins.len()))
    }

    /// Refuses a ratio so small that no epoch has a batch of the other sets.
    ///
    /// # Errors
    /// As it says.
    pub fn check(self, bins: &[Bin]) -> Result<()> {
        let (first, others) = self.batches(bins);
        if others == 0 || self.picked(first, others) > 0 {
            return Ok(());
        }
        let least = 1.0 / first.max(1) as f64;
        let expected = format!(
            "at least {least:.4}, or 0 for all: the first task has {first} batches in an epoch"
        );
        Err(Error::value("ratio", expected, self.ratio)
            .hint("as it is, the other tasks would never be learnt"))
    }

    /// How many of the others' batches an epoch has.
    fn picked(self, first: usize, others: usize) -> usize {
        match self.ratio > 0.0 {
            true => ((first as f64 * self.ratio) as usize).min(others),
            false => others,
        }
    }
}

/// The batches of one epoch over `bins`.
pub fn batches_of(bins: &[Bin], mix: Option<Mix>) -> usize {
    let Some(mix) = mix else { return count(bins) };
    let (first, others) = mix.batches(bins);
    first + mix.picked(first, others)
}

/// The batches of all of `bins`.
fn count(bins: &[Bin]) -> usize {
    bins.iter().map(Bin::batches).sum()
}

/// What a run's updates follow from.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdatesConfig {
    /// Batches of an update, whose gradients add up.
    pub batches: usize,
    /// Passes over the samples.
    pub epochs: usize,
    /// Seeds the order.
    pub seed: u64,
    /// The run evaluates at each epoch's end, at its own, and at the multiples of this.
    pub evaluate_every: Option<usize>,
    /// It saves wherever it evaluates, and at the multiples of this.
    pub save_every: Option<usize>,
    /// The run ends after so many updates, the schedules being those of the full run.
    pub stop_after: Option<usize>,
    /// Of several training sets.
    pub mix: Option<Mix>,
}

impl Default for UpdatesConfig {
    fn default() -> Self {
        let none = None;
        Self {
            batches: 1,
            epochs: 1,
            seed: 0,
            evaluate_every: none,
            save_every: none,
            stop_after: none,
            mix: None,
        }
    }
}

/// Samples that may share a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bin {
    /// Their numbers.
    pub samples: Vec<usize>,
    /// How many make a batch, at least 1; the last one may be smaller.
    pub batch_size: usize,
}

impl Bin {
    /// Its batches in an epoch.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.samples.len().div_ceil(self.batch_size.max(1))
    }
}

/// All updates of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Updates {
    config: UpdatesConfig,
    bins: Vec<Bin>,
    chunks: Vec<Range<usize>>,
}

/// All of `samples` samples in one bin: any of them may share a batch.
pub fn one_bin(samples: usize, batch_size: usize) -> Vec<Bin> {
    vec![Bin { samples: (0..samples).collect(), batch_size }]
}

/// Samples by their length in tokens, `width` lengths to a bin, as the original has them: the first
/// bin's batches have `batch_size` samples, and the next one's `growth` times as many, rounded down.
/// Empty bins are left out.
pub fn bins_by_length(
    lengths: impl Iterator<Item = usize>,
    width: usize,
    batch_size: usize,
    growth: f64,
) -> Vec<Bin> {
    let mut bins: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (sample, length) in lengths.enumerate() {
        let bin = length.saturating_sub(1) / width.max(1);
        bins.entry(bin).or_default().push(sample);
    }
    let sizes = std::iter::successors(Some(batch_size.max(1)), |size| {
        Some(((*size as f64 * growth) as usize).max(1))
    });
    bins.into_values().zip(sizes).map(|(samples, batch_size)| Bin { samples, batch_size }).collect()
}

impl Updates {
    /// The updates over `bins`, which hold the numbers of all samples.
    pub fn new(bins: Vec<Bin>, config: UpdatesConfig) -> Self {
        let mut updates = Self { config, bins, chunks: Vec::new() };
        let end = updates.config.stop_after.map_or(updates.total(), |n| n.min(updates.total()));
        let mut start = 0;
        while start < end {
            let pauses = [updates.config.evaluate_every, updates.config.save_every];
            let next = |every: usize| (start / every + 1) * every;
            let due = pauses.into_iter().flatten().map(next).min().unwrap_or(end);
            let stop = updates.epoch_end_after(start).min(due).min(end);
            updates.chunks.push(start..stop);
            start = stop;
        }
        updates
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.bins.iter().map(|bin| bin.samples.len()).sum()
    }

    /// Batches of one epoch; the last one of each bin may be smaller.
    pub fn batches_per_epoch(&self) -> usize {
        batches_of(&self.bins, self.config.mix)
    }

    /// The most updates that an epoch ends.
    pub fn per_epoch(&self) -> usize {
        self.batches_per_epoch().div_ceil(self.config.batches.max(1))
    }

    /// Updates T of the whole schedule, whether or not the run stops before. They go through the
    /// batches of all epochs, one after the other; what is left at the end is too little for one.
    pub fn total(&self) -> usize {
        self.done_by(self.config.epochs)
    }

    /// The updates that are done when `epochs` epochs are over.
    fn done_by(&self, epochs: usize) -> usize {
        self.batches_per_epoch().saturating_mul(epochs) / self.config.batches.max(1)
    }

    /// The first epoch's end after update `update`, counted from 1, as an update too.
    fn epoch_end_after(&self, update: usize) -> usize {
        // That of the epoch in which the next update gets its last batch.
        self.done_by(self.epoch_of(update) + 1)
    }

    /// Updates after which the run ends.
    pub fn last(&self) -> usize {
        self.chunks.last().map_or(0, |c| c.end)
    }

    /// Ranges of updates, from 0, between the run's pauses.
    pub fn chunks(&self) -> &[Range<usize>] {
        &self.chunks
    }

    /// The epoch, from 0, in which the update numbered from 0 gets its last batch.
    pub fn epoch_of(&self, update: usize) -> usize {
        let batches = update.saturating_add(1).saturating_mul(self.config.batches.max(1));
        (batches - 1) / self.batches_per_epoch().max(1)
    }

    /// Whether an epoch ends with update `update`, counted from 1.
    pub fn ends_epoch(&self, update: usize) -> bool {
        update > 0 && self.epoch_end_after(update - 1) == update
    }

    /// The batches of the update numbered from 0, each by its epoch and its place in
    /// [`batches`](Self::batches).
    pub fn batches_of(&self, update: usize) -> impl Iterator<Item = (usize, usize)> {
        let per_epoch = self.batches_per_epoch().max(1);
        let first = update * self.config.batches.max(1);
        let places = first..first + self.config.batches.max(1);
        places.map(move |place| (place / per_epoch, place % per_epoch))
    }

    /// Whether the run evaluates after update `update`, counted from 1.
    pub fn evaluates_after(&self, update: usize) -> bool {
        let every = self.config.evaluate_every;
        let due = update > 0 && every.is_some_and(|every| update.is_multiple_of(every));
        due || self.ends_epoch(update) || update == self.last()
    }

    /// How often the run evaluates.
    pub fn evaluations(&self) -> usize {
        self.chunks.iter().filter(|chunk| self.evaluates_after(chunk.end)).count()
    }

    /// The samples of each batch of `epoch`, from 0, by their numbers: shuffled anew each epoch.
    pub fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = StdRng::seed_from_u64(mix(self.config.seed, epoch as u64));
        let Some(mix) = self.config.mix else { return shuffled(&self.bins, &mut random) };
        let (first, others) = mix.sets(&self.bins);
        let mut batches = shuffled(first, &mut random);
        let mut others = shuffled(others, &mut random);
        others.shuffle(&mut random);
        others.truncate(mix.picked(batches.len(), others.len()));
        others.append(&mut batches);
        if !mix.others_first {
            others.shuffle(&mut random);
        }
        others
    }
}

/// The batches of these bins.
fn shuffled(bins: &[Bin], random: &mut StdRng) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    for bin in bins {
        let mut order = bin.samples.clone();
        order.shuffle(random);
        batches.extend(order.chunks(bin.batch_size.max(1)).map(<[usize]>::to_vec));
    }
    // One after the other, bins would be learnt and forgotten.
    if bins.len() > 1 {
        batches.shuffle(random);
    }
    batches
}

#[cfg(test)]
#[path = "updates_tests.rs"]
mod tests;
