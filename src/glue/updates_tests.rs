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
fn a_ratio_that_leaves_the_other_sets_out_is_refused() {
    let bin = |samples: Range<usize>| Bin { samples: samples.collect(), batch_size: 2 };
    let bins = [bin(0..40), bin(40..48)];
    let check = |ratio, bins: &[Bin]| Mix { first: 1, others_first: false, ratio }.check(bins);
    for ratio in [0.0, 0.05, 0.5, 9.0] {
        check(ratio, &bins).unwrap();
    }
    let text = check(0.049, &bins).unwrap_err().to_string();
    let expected = "ratio: expected at least 0.0500, or 0 for all: the first task has 20 batches in an \
                    epoch, found 0.049";
    assert!(text.starts_with(expected), "{text}");
    check(0.049, &bins[..1]).unwrap();
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
