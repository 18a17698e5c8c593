//! The global threshold against a full sort, on every backend.

use burn::tensor::{Bool, Tensor};
use platon::kernels::{Scores, UpdateKernels};
use platon::pruning::threshold::rank;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::backends::on_every_backend;
use crate::kernels::{on, random};

on_every_backend!(
    kth_value_survives,
    ties_at_the_threshold_survive,
    ranks_beyond_the_scores_mask_nothing,
    an_undefined_score_survives,
    the_cut_equals_that_of_a_full_sort,
    every_kind_of_score_is_cut_exactly,
    many_scores_of_several_parameters_are_cut_exactly,
    the_mask_holds_what_lies_below,
);

/// The scores cut at their k-th smallest.
#[derive(Debug, PartialEq)]
struct Cut {
    threshold: f32,
    /// How many scores lie strictly below it.
    below: usize,
}

fn cut_of<B: UpdateKernels>(parts: &[Scores<B>], k: usize) -> Option<Cut> {
    let threshold = B::kth_smallest(parts, k)?;
    let masks = parts.iter().map(|scores| B::below(scores.clone(), threshold));
    let below = masks.map(|mask| mask.into_data().iter::<bool>().filter(|b| *b).count()).sum();
    Some(Cut { threshold, below })
}

fn cut<B: UpdateKernels>(scores: &[f32], k: usize) -> Option<Cut> {
    // In two parts, of which the second may be empty.
    let (a, b) = scores.split_at(scores.len().div_ceil(2));
    let parts: Vec<Scores<B>> =
        [a, b].iter().filter(|p| !p.is_empty()).map(|p| Scores::Absolute(on(p))).collect();
    cut_of(&parts, k)
}

fn sorted(scores: &[f32], k: usize) -> Option<Cut> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    (k > 0).then(|| {
        let threshold = sorted[k - 1];
        Cut { threshold, below: scores.iter().filter(|s| **s < threshold).count() }
    })
}

fn kth_value_survives<B: UpdateKernels>() {
    assert_eq!(cut::<B>(&[3.0, 1.0, 2.0, 4.0], 2), Some(Cut { threshold: 2.0, below: 1 }));
}

fn ties_at_the_threshold_survive<B: UpdateKernels>() {
    assert_eq!(cut::<B>(&[1.0, 2.0, 2.0, 2.0], 3), Some(Cut { threshold: 2.0, below: 1 }));
    assert_eq!(cut::<B>(&[0.0; 5], 4), Some(Cut { threshold: 0.0, below: 0 }));
}

fn ranks_beyond_the_scores_mask_nothing<B: UpdateKernels>() {
    assert_eq!(cut::<B>(&[1.0, 2.0], 0), None);
    assert_eq!(cut::<B>(&[1.0, 2.0], 3), None);
    assert_eq!(B::kth_smallest(&[], 1), None);
}

fn an_undefined_score_survives<B: UpdateKernels>() {
    let scores = [f32::NAN, 1.0, -f32::NAN, 2.0];
    assert_eq!(cut::<B>(&scores, 2), Some(Cut { threshold: 2.0, below: 1 }));
    let none = cut::<B>(&scores, 3).unwrap();
    assert!(none.threshold.is_nan() && none.below == 0);
}

fn the_cut_equals_that_of_a_full_sort<B: UpdateKernels>() {
    let runs = Config { failure_persistence: None, ..Config::with_cases(32) };
    let scores = prop::collection::vec(0u8..8, 1..200);
    TestRunner::new(runs)
        .run(&(scores, 0.0f64..1.0), |(scores, share)| {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let k = rank(scores.len(), share);
            prop_assert_eq!(cut::<B>(&scores, k), sorted(&scores, k));
            Ok(())
        })
        .unwrap();
}

/// All floats that are not negative, from denormal to infinite, and any rank.
fn every_kind_of_score_is_cut_exactly<B: UpdateKernels>() {
    let runs = Config { failure_persistence: None, ..Config::with_cases(32) };
    // Neighbours and ties at the edge of a bin of the upper half of the bits, and anything else.
    let bits = prop_oneof![0x3f7f_fffeu32..0x3f80_0002, 0u32..3, 0u32..=0x7f80_0000];
    let scores = prop::collection::vec(bits, 1..60).prop_flat_map(|scores| {
        let ranks = 1..=scores.len();
        (Just(scores), ranks)
    });
    TestRunner::new(runs)
        .run(&scores, |(scores, k)| {
            let scores: Vec<f32> = scores.into_iter().map(f32::from_bits).collect();
            prop_assert_eq!(cut::<B>(&scores, k), sorted(&scores, k));
            Ok(())
        })
        .unwrap();
}

/// Products, spread over many orders of magnitude, in parameters of different sizes.
fn many_scores_of_several_parameters_are_cut_exactly<B: UpdateKernels>() {
    let sizes = [1, 700_001, 3, 70_000];
    let factors: Vec<[Vec<f32>; 2]> = sizes
        .iter()
        .map(|n| {
            [0, 1].map(|_| random(*n, -12.0, 0.0).into_iter().map(|e| 10f32.powf(e)).collect())
        })
        .collect();
    let parts: Vec<Scores<B>> =
        factors.iter().map(|[a, b]| Scores::Product(on(a), on(b))).collect();
    let products = factors.iter().flat_map(|[a, b]| a.iter().zip(b).map(|(a, b)| a * b));
    let products: Vec<f32> = products.collect();
    for ratio in [0.999, 0.5, 0.1] {
        let k = rank(products.len(), ratio);
        assert_eq!(cut_of(&parts, k), sorted(&products, k), "ratio {ratio}");
    }
}

fn the_mask_holds_what_lies_below<B: UpdateKernels>() {
    let mask = |scores: Scores<B>| -> Vec<bool> {
        let mask: Tensor<B, 1, Bool> = B::below(scores, 2.0);
        mask.into_data().iter::<bool>().collect()
    };
    let values = on::<B>(&[-3.0, -1.0, 2.0, 0.0, f32::NAN]);
    assert_eq!(mask(Scores::Absolute(values)), [false, true, false, true, false]);
    let (a, b) = (on::<B>(&[1.0, 2.0, 0.0]), on::<B>(&[1.0, 2.0, 5.0]));
    assert_eq!(mask(Scores::Product(a, b)), [true, false, true]);
}
