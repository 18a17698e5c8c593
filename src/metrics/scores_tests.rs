use proptest::prelude::*;

use super::*;

// The expected numbers were printed by this script (scikit-learn 1.9.1, SciPy 1.17.1):
//
// import warnings; warnings.filterwarnings("ignore")
// import numpy as np
// from scipy.stats import pearsonr, spearmanr
// from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
//
// def classes(name, p, y):
//     f1 = f1_score(y, p, pos_label=1, zero_division=0) if max(p + y) < 2 else None
//     print(name, repr(float(accuracy_score(y, p))), f1, repr(float(matthews_corrcoef(y, p))))
//
// def numbers(name, p, y):
//     print(name, repr(float(pearsonr(p, y).statistic)), repr(float(spearmanr(p, y).statistic)))
//
// rng = np.random.default_rng(7)
// p, y = rng.integers(0, 2, 24).tolist(), rng.integers(0, 2, 24).tolist()
// print(p, y); classes("binary", p, y)
// p, y = rng.integers(0, 3, 24).tolist(), rng.integers(0, 3, 24).tolist()
// print(p, y); classes("three", p, y)
// classes("perfect", [0, 1, 2, 1], [0, 1, 2, 1])
// classes("inverted", [0, 1, 0, 1], [1, 0, 1, 0])
// classes("constant prediction", [1, 1, 1, 1], [0, 1, 0, 1])
// classes("constant label", [0, 1, 0, 1], [0, 0, 0, 0])
// classes("no positive at all", [0, 0, 0], [0, 0, 0])
// p = (rng.integers(0, 501, 12) / 64).tolist()
// y = (rng.integers(0, 321, 12) / 64).tolist()
// print(p, y); numbers("random", p, y)
// numbers("ties", [1, 2, 2, 3, 3, 3, 0.5, 4], [0, 1, 3, 3, 2, 5, 5, 4])
// numbers("two", [1, 2], [5, 3])
// numbers("constant", [0.25, 0.25, 0.25], [1, 2, 3])
// numbers("offset", [1e6 + 1, 1e6 + 2, 1e6 + 4], [1, 2, 3])

// Those of macro_f1 by this one, the formula that scikit-learn's f1_score(y, p, average="macro",
// zero_division=0) documents:
//
// def macro(p, y):
//     count = lambda f: sum(map(f, p, y))
//     parts = lambda c: [count(lambda a, b: (a == c) + (b == c) == n) for n in (2, 1)]
//     of = [(tp, rest) for tp, rest in map(parts, sorted(set(p + y)))]
//     return sum(2 * tp / (2 * tp + rest) for tp, rest in of) / len(of)

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "expected {expected}, found {found}");
}

#[test]
fn two_classes_score_as_in_scikit_learn() {
    let p = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0];
    let y = [1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0];
    close(accuracy(&p, &y), 0.5416666666666666);
    close(f1(&p, &y), 0.5925925925925926);
    close(matthews(&p, &y), 0.08606629658238706);
}

#[test]
fn macro_f1_is_the_mean_over_the_classes_there_are() {
    let p = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0];
    let y = [1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0];
    close(macro_f1(&p, &y), 0.5343915343915344);
    let p = [1, 0, 0, 1, 2, 1, 2, 2, 2, 1, 1, 1, 0, 1, 1, 0, 2, 0, 0, 0, 2, 2, 2, 0];
    let y = [2, 1, 1, 0, 1, 2, 1, 0, 1, 0, 2, 2, 0, 1, 2, 2, 2, 1, 0, 2, 1, 0, 0, 1];
    close(macro_f1(&p, &y), 0.16977124183006534);
    close(macro_f1(&[0, 1, 0, 1], &[1, 0, 1, 0]), 0.0);
    // A class that is predicted and never right, one that is never predicted, and one alone.
    close(macro_f1(&[0, 1, 0, 1], &[0, 0, 0, 0]), 1.0 / 3.0);
    close(macro_f1(&[0, 2, 2], &[0, 1, 2]), (1.0 + 0.0 + 2.0 / 3.0) / 3.0);
    close(macro_f1(&[0, 0, 0], &[0, 0, 0]), 1.0);
}

#[test]
fn three_classes_score_as_in_scikit_learn() {
    let p = [1, 0, 0, 1, 2, 1, 2, 2, 2, 1, 1, 1, 0, 1, 1, 0, 2, 0, 0, 0, 2, 2, 2, 0];
    let y = [2, 1, 1, 0, 1, 2, 1, 0, 1, 0, 2, 2, 0, 1, 2, 2, 2, 1, 0, 2, 1, 0, 0, 1];
    close(accuracy(&p, &y), 0.16666666666666666);
    close(matthews(&p, &y), -0.25065359588661407);
    close(matthews(&[0, 1, 2, 1], &[0, 1, 2, 1]), 1.0);
}

#[test]
fn degenerate_classes_score_as_in_scikit_learn() {
    for (p, y, expected) in [
        (vec![0, 1, 0, 1], vec![1, 0, 1, 0], [0.0, 0.0, -1.0]),
        (vec![1, 1, 1, 1], vec![0, 1, 0, 1], [0.5, 0.6666666666666666, 0.0]),
        (vec![0, 1, 0, 1], vec![0, 0, 0, 0], [0.5, 0.0, 0.0]),
        (vec![0, 0, 0], vec![0, 0, 0], [1.0, 0.0, 0.0]),
    ] {
        let found = [accuracy(&p, &y), f1(&p, &y), matthews(&p, &y)];
        for (found, expected) in found.into_iter().zip(expected) {
            close(found, expected);
        }
    }
}

#[test]
fn numbers_correlate_as_in_scipy() {
    let p = [
        5.6875, 3.96875, 4.796875, 6.8125, 5.359375, 2.8125, 5.03125, 4.671875, 0.84375, 0.453125,
        5.15625, 3.03125,
    ];
    let y = [
        3.0, 1.609375, 1.125, 0.75, 1.90625, 4.09375, 2.0, 1.890625, 2.875, 4.90625, 1.953125,
        2.953125,
    ];
    close(pearson(&p, &y), -0.7653087600089811);
    close(spearman(&p, &y), -0.5244755244755246);
}

#[test]
fn ties_share_their_mean_rank_as_in_scipy() {
    let p = [1.0, 2.0, 2.0, 3.0, 3.0, 3.0, 0.5, 4.0];
    let y = [0.0, 1.0, 3.0, 3.0, 2.0, 5.0, 5.0, 4.0];
    close(pearson(&p, &y), 0.2250759078113059);
    close(spearman(&p, &y), 0.2050045368815509);
    assert_eq!(ranks(&p), [2.0, 3.5, 3.5, 6.0, 6.0, 6.0, 1.0, 8.0]);
}

#[test]
fn few_or_large_numbers_keep_their_precision() {
    close(pearson(&[1.0, 2.0], &[5.0, 3.0]), -1.0);
    close(spearman(&[1.0, 2.0], &[5.0, 3.0]), -1.0);
    close(pearson(&[1e6 + 1.0, 1e6 + 2.0, 1e6 + 4.0], &[1.0, 2.0, 3.0]), 0.9819805060619655);
}

#[test]
fn a_constant_side_has_no_correlation() {
    let (p, y) = ([0.1; 3], [1.0, 2.0, 3.0]);
    assert!(pearson(&p, &y).is_nan() && pearson(&y, &p).is_nan());
    assert!(spearman(&p, &y).is_nan() && spearman(&y, &p).is_nan());
    assert!(pearson(&[1.0], &[2.0]).is_nan() && spearman(&[1.0], &[2.0]).is_nan());
    assert!(pearson(&[f32::NAN, 1.0, 2.0], &y).is_nan());
    assert!(spearman(&[f32::NAN, 1.0, 2.0], &y).is_nan());
}

#[test]
fn nothing_to_compare_is_not_a_number() {
    for score in [accuracy, f1, macro_f1, matthews] {
        assert!(score(&[], &[]).is_nan() && score(&[1], &[1, 0]).is_nan());
    }
    for score in [pearson, spearman] {
        assert!(score(&[], &[]).is_nan() && score(&[1.0, 2.0], &[1.0, 2.0, 3.0]).is_nan());
    }
}

fn classes() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    prop::collection::vec((0usize..3, 0usize..3), 1..40).prop_map(|pairs| pairs.into_iter().unzip())
}

// Whole numbers, so that ties happen and the maps below are exact.
fn numbers() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let number = || (-20i16..20).prop_map(f32::from);
    prop::collection::vec((number(), number()), 2..40).prop_map(|pairs| pairs.into_iter().unzip())
}

proptest! {
    #[test]
    fn scores_of_classes_stay_in_their_bounds((p, y) in classes()) {
        prop_assert!((0.0..=1.0).contains(&accuracy(&p, &y)));
        prop_assert!((0.0..=1.0).contains(&f1(&p, &y)));
        prop_assert!((0.0..=1.0 + 1e-12).contains(&macro_f1(&p, &y)));
        prop_assert!(matthews(&p, &y).abs() <= 1.0 + 1e-12);
        prop_assert_eq!(accuracy(&y, &y), 1.0);
    }

    #[test]
    fn spearman_ignores_monotone_maps((p, y) in numbers()) {
        let cubed: Vec<_> = p.iter().map(|x| x * x * x + 7.0).collect();
        let (before, after) = (spearman(&p, &y), spearman(&cubed, &y));
        prop_assert!(before == after || before.is_nan() && after.is_nan());
    }

    #[test]
    fn correlations_are_symmetric_and_bounded((p, y) in numbers()) {
        for score in [pearson, spearman] {
            let (one, other) = (score(&p, &y), score(&y, &p));
            prop_assert!(one.is_nan() && other.is_nan() || (one - other).abs() < 1e-12);
            prop_assert!(one.is_nan() || one.abs() <= 1.0);
        }
    }
}

#[test]
fn probabilities_are_per_sample_and_survive_large_scores() {
    // e^0, e^1 and e^-1, over their sum.
    let found = softmax(&[0.0, 1.0, -1.0, 1000.0, 1000.0, -1000.0], 3);
    let expected = [0.244_728_47, 0.665_240_94, 0.090_030_57, 0.5, 0.5, 0.0];
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    assert!(softmax(&[], 3).is_empty());
}
