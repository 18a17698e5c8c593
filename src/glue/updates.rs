//! Which samples go into which update, and where a run pauses to evaluate and to save.

use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::seed::mix;

/// What a run's updates follow from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdatesConfig {
    /// Samples of an update.
    pub batch_size: usize,
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
}

/// All updates of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Updates {
    config: UpdatesConfig,
    /// Samples that may share a batch, by their numbers.
    bins: Vec<Vec<usize>>,
    chunks: Vec<Range<usize>>,
}

/// All of `samples` samples in one bin: any of them may share a batch.
pub fn one_bin(samples: usize) -> Vec<Vec<usize>> {
    vec![(0..samples).collect()]
}

/// Samples by their length in tokens: up to `size` in the first bin, and each further bin wider
/// than the one before it by the factor `1 + growth`. Empty bins are left out.
pub fn bins_by_length(
    lengths: impl Iterator<Item = usize>,
    size: usize,
    growth: f64,
) -> Vec<Vec<usize>> {
    let mut bins: Vec<Vec<usize>> = Vec::new();
    for (sample, length) in lengths.enumerate() {
        let (mut bin, mut end, mut width) = (0, size as f64, size as f64);
        while (length as f64) > end {
            width *= 1.0 + growth;
            end += width;
            bin += 1;
        }
        bins.resize_with(bins.len().max(bin + 1), Vec::new);
        if let Some(bin) = bins.get_mut(bin) {
            bin.push(sample);
        }
    }
    bins.retain(|bin| !bin.is_empty());
    bins
}

impl Updates {
    /// The updates over `bins`, which hold the numbers of all samples.
    pub fn new(bins: Vec<Vec<usize>>, config: UpdatesConfig) -> Self {
        let mut updates = Self { config, bins, chunks: Vec::new() };
        let total = updates.total();
        let end = updates.config.stop_after.map_or(total, |n| n.min(total));
        let per_epoch = updates.per_epoch();
        let mut start = 0;
        while start < end {
            let epoch_end = (start / per_epoch + 1) * per_epoch;
            let pauses = [updates.config.evaluate_every, updates.config.save_every];
            let next = |every: usize| (start / every + 1) * every;
            let due = pauses.into_iter().flatten().map(next).min().unwrap_or(epoch_end);
            let stop = epoch_end.min(due).min(end);
            updates.chunks.push(start..stop);
            start = stop;
        }
        updates
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.bins.iter().map(Vec::len).sum()
    }

    /// Updates of one epoch; the last batch of each bin may be smaller.
    pub fn per_epoch(&self) -> usize {
        self.bins.iter().map(|bin| bin.len().div_ceil(self.config.batch_size)).sum()
    }

    /// Updates T of the whole schedule, whether or not the run stops before.
    pub fn total(&self) -> usize {
        self.per_epoch() * self.config.epochs
    }

    /// Updates after which the run ends.
    pub fn last(&self) -> usize {
        self.chunks.last().map_or(0, |c| c.end)
    }

    /// Ranges of updates, from 0, between the run's pauses.
    pub fn chunks(&self) -> &[Range<usize>] {
        &self.chunks
    }

    /// The epoch, from 0, of the update numbered from 0.
    pub fn epoch_of(&self, update: usize) -> usize {
        update / self.per_epoch().max(1)
    }

    /// Whether an epoch ends with update `update`, counted from 1.
    pub fn ends_epoch(&self, update: usize) -> bool {
        update > 0 && update.is_multiple_of(self.per_epoch().max(1))
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

    /// The samples of each update of `epoch`, from 0, by their numbers: shuffled anew each epoch.
    pub fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut random = StdRng::seed_from_u64(mix(self.config.seed, epoch as u64));
        let mut batches = Vec::with_capacity(self.per_epoch());
        for bin in &self.bins {
            let mut order = bin.clone();
            order.shuffle(&mut random);
            batches.extend(order.chunks(self.config.batch_size).map(<[usize]>::to_vec));
        }
        // One after the other, bins would be learnt and forgotten.
        if self.bins.len() > 1 {
            batches.shuffle(&mut random);
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates([evaluate_every, save_every]: [usize; 2], stop_after: Option<usize>) -> Updates {
        let (batch_size, epochs, seed) = (4, 2, 7);
        let [evaluate_every, save_every] =
            [evaluate_every, save_every].map(|every| (every > 0).then_some(every));
        let config =
            UpdatesConfig { batch_size, epochs, seed, evaluate_every, save_every, stop_after };
        Updates::new(one_bin(10), config)
    }

    #[test]
    fn chunks_end_at_pauses_and_epochs() {
        assert_eq!(updates([0, 0], None).chunks(), [0..3, 3..6]);
        assert_eq!(updates([2, 0], None).chunks(), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(updates([0, 2], None).chunks(), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(updates([2, 5], None).chunks(), [0..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(updates([2, 0], Some(4)).chunks(), [0..2, 2..3, 3..4]);
        assert!(updates([0, 0], Some(0)).chunks().is_empty());
        let stopped = updates([2, 0], Some(4));
        assert_eq!((stopped.total(), stopped.last()), (6, 4));
        assert_eq!([0, 3, 4, 6].map(|n| stopped.ends_epoch(n)), [false, true, false, true]);
    }

    #[test]
    fn pauses_to_save_are_no_evaluations() {
        let evaluated = |updates: &Updates| -> Vec<usize> {
            (0..=6).filter(|n| updates.evaluates_after(*n)).collect()
        };
        for (every, stop_after, expected) in [
            ([0, 0], None, vec![3, 6]),
            ([0, 1], None, vec![3, 6]),
            ([2, 1], None, vec![2, 3, 4, 6]),
            ([0, 1], Some(5), vec![3, 5, 6]),
        ] {
            let updates = updates(every, stop_after);
            assert_eq!(evaluated(&updates), expected);
            let reached = expected.iter().filter(|n| **n <= updates.last()).count();
            assert_eq!(updates.evaluations(), reached);
        }
    }

    #[test]
    fn every_epoch_has_its_own_order_that_the_seed_repeats() {
        let mut updates = updates([0, 0], None);
        let first = updates.batches(0);
        assert_eq!(first, updates.batches(0));
        assert_ne!(first, updates.batches(1));
        let mut sorted = first.concat();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        updates.config.seed = 8;
        assert_ne!(first, updates.batches(0));
    }

    #[test]
    fn bins_end_at_growing_lengths() {
        // Ends: 4, 4 + 6 = 10, 10 + 9 = 19, ...
        let lengths = [1, 4, 5, 10, 11, 19, 20, 3];
        let bins = bins_by_length(lengths.into_iter(), 4, 0.5);
        assert_eq!(bins, [vec![0, 1, 7], vec![2, 3], vec![4, 5], vec![6]]);
        assert_eq!(bins_by_length([9, 1].into_iter(), 2, 0.0), [vec![1], vec![0]], "empty bins");
    }

    #[test]
    fn binned_batches_hold_every_sample_once_and_never_mix_bins() {
        let lengths: Vec<usize> = (0..23).map(|n| 1 + n * 7 % 30).collect();
        let bins = bins_by_length(lengths.iter().copied(), 8, 0.5);
        let config =
            UpdatesConfig { batch_size: 4, epochs: 1, seed: 7, ..UpdatesConfig::default() };
        let updates = Updates::new(bins.clone(), config);
        let batches = updates.batches(0);
        assert_eq!(batches.len(), updates.per_epoch());
        for batch in &batches {
            assert!(bins.iter().any(|bin| batch.iter().all(|n| bin.contains(n))), "{batch:?}");
        }
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..23).collect::<Vec<_>>());
    }
}
