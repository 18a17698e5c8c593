//! Which samples go into which update, and where a run pauses to evaluate and to save.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

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
    /// The bins of the first training set, and those of the others.
    fn sets(self, bins: &[Bin]) -> (&[Bin], &[Bin]) {
        bins.split_at(self.first.min(bins.len()))
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
    let count = |bins: &[Bin]| bins.iter().map(Bin::batches).sum::<usize>();
    let Some(mix) = mix else { return count(bins) };
    let (first, others) = mix.sets(bins);
    count(first) + mix.picked(count(first), count(others))
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
mod tests {
    use super::*;

    fn updates([evaluate_every, save_every]: [usize; 2], stop_after: Option<usize>) -> Updates {
        let [evaluate_every, save_every] =
            [evaluate_every, save_every].map(|every| (every > 0).then_some(every));
        let config = UpdatesConfig {
            batches: 1,
            epochs: 2,
            seed: 7,
            evaluate_every,
            save_every,
            stop_after,
            mix: None,
        };
        Updates::new(one_bin(10, 4), config)
    }

    #[test]
    fn batches_of_several_sets_are_mixed_by_the_original_s_rules() {
        // 5 batches of the first set, whose samples are 0 to 9, and 4 + 3 of two others.
        let bin = |samples: Range<usize>| Bin { samples: samples.collect(), batch_size: 2 };
        let bins = || vec![bin(0..10), bin(10..18), bin(18..23)];
        let of = |others_first, ratio| {
            let mix = Some(Mix { first: 1, others_first, ratio });
            Updates::new(bins(), UpdatesConfig { epochs: 2, seed: 3, mix, ..Default::default() })
        };
        let set = |batch: &Vec<usize>| match batch[0] {
            0..10 => 0,
            10..18 => 1,
            _ => 2,
        };
        for (others_first, ratio, batches) in
            [(false, 0.0, 12), (true, 0.0, 12), (false, 0.7, 8), (true, 0.7, 8), (true, 9.0, 12)]
        {
            let updates = of(others_first, ratio);
            assert_eq!((updates.batches_per_epoch(), updates.total()), (batches, 2 * batches));
            let epochs = [updates.batches(0), updates.batches(1)];
            assert_ne!(epochs[0], epochs[1]);
            for epoch in &epochs {
                assert_eq!(epoch.len(), batches);
                let sets: Vec<usize> = epoch.iter().map(set).collect();
                let one = |batch: &Vec<usize>| batch.iter().all(|n| set(&vec![*n]) == set(batch));
                assert!(epoch.iter().all(one));
                assert_eq!(sets.iter().filter(|set| **set == 0).count(), 5);
                let is_last = sets[batches - 5..].iter().all(|set| *set == 0);
                assert_eq!(is_last, others_first, "{sets:?}");
                let mut all: Vec<usize> = epoch.concat();
                all.sort_unstable();
                let count = all.len();
                all.dedup();
                assert_eq!(all.len(), count, "without replacement");
            }
        }
        assert_eq!(of(false, 0.0).samples(), 23);
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

    /// As the original's `num_all_batches`: floor(epochs * batches / batches per update).
    #[test]
    fn updates_go_on_over_the_ends_of_epochs() {
        let updates = |samples, batches, epochs| {
            let config = UpdatesConfig { batches, epochs, seed: 7, ..UpdatesConfig::default() };
            Updates::new(one_bin(samples, 2), config)
        };
        // Five batches in an epoch, three in an update.
        let updates_of_three = updates(10, 3, 4);
        assert_eq!(updates_of_three.total(), 6);
        assert_eq!(updates_of_three.chunks(), [0..1, 1..3, 3..5, 5..6]);
        let epochs = [0, 1, 1, 2, 2, 3];
        assert_eq!([0, 1, 2, 3, 4, 5].map(|n| updates_of_three.epoch_of(n)), epochs);
        let second: Vec<_> = updates_of_three.batches_of(1).collect();
        assert_eq!(second, [(0, 3), (0, 4), (1, 0)]);
        let ends = (0..8).filter(|n| updates_of_three.ends_epoch(*n)).collect::<Vec<_>>();
        assert_eq!(ends, [1, 3, 5, 6]);
        // An update may take several epochs.
        let slow = updates(4, 5, 6);
        assert_eq!((slow.total(), slow.chunks()), (2, [0..1, 1..2].as_slice()));
        assert_eq!(updates(4, 5, 2).total(), 0);
        for (batches, epochs) in [(1, 3), (2, 3), (3, 5), (7, 4), (20, 30)] {
            let updates = updates(13, batches, epochs);
            assert_eq!(updates.total(), epochs * 7 / batches);
            assert_eq!(updates.last(), updates.total());
            let reached = |epoch: usize| epoch * 7 / batches;
            for n in 1..=updates.total() {
                let expected = (1..=epochs).any(|epoch| reached(epoch) == n);
                assert_eq!(updates.ends_epoch(n), expected, "{batches} {epochs} {n}");
            }
        }
    }

    /// The original's `create_bins(4, 20)` and `_get_shuffled_index_batches_bin`.
    #[test]
    fn bins_are_of_one_width_and_their_batches_grow() {
        let lengths = [1, 4, 5, 8, 9, 19, 20, 3];
        let bin = |samples: &[usize], batch_size| Bin { samples: samples.to_vec(), batch_size };
        let bins = |growth| bins_by_length(lengths.into_iter(), 4, 5, growth);
        let expected = [bin(&[0, 1, 7], 5), bin(&[2, 3], 2), bin(&[4], 1), bin(&[5, 6], 1)];
        assert_eq!(bins(0.5), expected);
        assert_eq!(bins(1.5).iter().map(|bin| bin.batch_size).collect::<Vec<_>>(), [5, 7, 10, 15]);
        assert_eq!(bins(0.0).iter().map(|bin| bin.batch_size).collect::<Vec<_>>(), [5, 1, 1, 1]);
    }

    #[test]
    fn binned_batches_hold_every_sample_once_and_never_mix_bins() {
        let lengths: Vec<usize> = (0..23).map(|n| 1 + n * 7 % 30).collect();
        let bins = bins_by_length(lengths.iter().copied(), 8, 4, 0.5);
        let config = UpdatesConfig { seed: 7, ..UpdatesConfig::default() };
        let updates = Updates::new(bins.clone(), config);
        let batches = updates.batches(0);
        assert_eq!(batches.len(), updates.per_epoch());
        for batch in &batches {
            let of = |bin: &&Bin| batch.iter().all(|n| bin.samples.contains(n));
            let bin = bins.iter().find(of);
            assert!(bin.is_some_and(|bin| batch.len() <= bin.batch_size), "{batch:?}");
        }
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..23).collect::<Vec<_>>());
    }
}
