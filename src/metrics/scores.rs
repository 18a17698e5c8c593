//! GLUE's quality measures: pure functions of whole splits, not times 100.
//!
//! Undefined cases are as in scikit-learn and SciPy. Beyond these, every function is NaN where
//! there is no example or where the two slices differ in length.

use std::collections::BTreeMap;

/// The share of right predictions, in `[0, 1]`.
#[must_use]
pub fn accuracy(predicted: &[usize], expected: &[usize]) -> f64 {
    if !comparable(predicted, expected) {
        return f64::NAN;
    }
    count(predicted, expected, |p, y| p == y) / expected.len() as f64
}

/// The harmonic mean of precision and recall of class 1, in `[0, 1]`; 0 where class 1 is neither
/// predicted nor expected.
#[must_use]
pub fn f1(predicted: &[usize], expected: &[usize]) -> f64 {
    if !comparable(predicted, expected) {
        return f64::NAN;
    }
    let right = count(predicted, expected, |p, y| p == 1 && y == 1);
    let wrong = count(predicted, expected, |p, y| (p == 1) != (y == 1));
    if right == 0.0 { 0.0 } else { 2.0 * right / (2.0 * right + wrong) }
}

/// The mean over the classes that are predicted or expected of the harmonic mean of precision and
/// recall of each, in `[0, 1]`.
#[must_use]
pub fn macro_f1(predicted: &[usize], expected: &[usize]) -> f64 {
    if !comparable(predicted, expected) {
        return f64::NAN;
    }
    // Per class: how often right, how often predicted and expected together.
    let mut classes = BTreeMap::<usize, (f64, f64)>::new();
    for (p, y) in predicted.iter().zip(expected) {
        classes.entry(*p).or_default().1 += 1.0;
        classes.entry(*y).or_default().1 += 1.0;
        classes.entry(*p).or_default().0 += f64::from(p == y);
    }
    classes.values().map(|(right, all)| 2.0 * right / all).sum::<f64>() / classes.len() as f64
}

/// Matthews' correlation coefficient of any number of classes, in `[-1, 1]`; 0 where all
/// predictions or all expectations are alike.
#[must_use]
pub fn matthews(predicted: &[usize], expected: &[usize]) -> f64 {
    if !comparable(predicted, expected) {
        return f64::NAN;
    }
    // Per class: how often predicted, how often expected. Exact, as they are under 2^53.
    let mut classes = BTreeMap::<usize, (f64, f64)>::new();
    for (p, y) in predicted.iter().zip(expected) {
        classes.entry(*p).or_default().0 += 1.0;
        classes.entry(*y).or_default().1 += 1.0;
    }
    let sum = |f: fn(f64, f64) -> f64| classes.values().map(|(p, y)| f(*p, *y)).sum::<f64>();
    let n = expected.len() as f64;
    let right = count(predicted, expected, |p, y| p == y);
    let covariance = right * n - sum(|p, y| p * y);
    let spread = (n * n - sum(|p, _| p * p)) * (n * n - sum(|_, y| y * y));
    if spread == 0.0 { 0.0 } else { covariance / spread.sqrt() }
}

/// Pearson's correlation coefficient, in `[-1, 1]`; NaN where either side is constant or not
/// finite.
#[must_use]
pub fn pearson(predicted: &[f32], expected: &[f32]) -> f64 {
    let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
    correlation(&wide(predicted), &wide(expected))
}

/// Spearman's rank correlation coefficient, ties at their mean rank, in `[-1, 1]`; NaN where
/// either side is constant or holds a NaN.
#[must_use]
pub fn spearman(predicted: &[f32], expected: &[f32]) -> f64 {
    if predicted.iter().chain(expected).any(|value| value.is_nan()) {
        return f64::NAN;
    }
    correlation(&ranks(predicted), &ranks(expected))
}

fn comparable<T>(predicted: &[T], expected: &[T]) -> bool {
    predicted.len() == expected.len() && !expected.is_empty()
}

fn count(predicted: &[usize], expected: &[usize], is: fn(usize, usize) -> bool) -> f64 {
    predicted.iter().zip(expected).filter(|(p, y)| is(**p, **y)).count() as f64
}

fn correlation(xs: &[f64], ys: &[f64]) -> f64 {
    // Rounding may leave a constant side with a tiny spread, and so with a meaningless result.
    let constant = |values: &[f64]| values.windows(2).all(|pair| pair.first() == pair.last());
    if !comparable(xs, ys) || constant(xs) || constant(ys) {
        return f64::NAN;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(xs), mean(ys));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in xs.iter().zip(ys) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
}

/// Ranks from 1 in the order of the values, equal values sharing their mean rank.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<(f32, usize)> =
        values.iter().enumerate().map(|(place, value)| (*value, place)).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut ranked = Vec::with_capacity(order.len());
    for tie in order.chunk_by(|a, b| a.0 == b.0) {
        let rank = ranked.len() as f64 + (tie.len() as f64 + 1.0) / 2.0;
        ranked.extend(tie.iter().map(|(_, place)| (*place, rank)));
    }
    ranked.sort_unstable_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, rank)| rank).collect()
}

/// The place of the largest value, the first of equal ones; 0 for none.
pub fn argmax(row: &[f32]) -> usize {
    let best = row
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (n, v)| if *v > best.1 { (n, *v) } else { best });
    best.0
}

/// The classes' probabilities, sample by sample, of as many class scores; `classes` per sample.
pub fn softmax(logits: &[f32], classes: usize) -> Vec<f32> {
    let of = |row: &[f32]| {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = row.iter().map(|score| (score - highest).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    logits.chunks(classes.max(1)).flat_map(of).collect()
}

/// The logarithm of the sum of the scores' powers of e: what a class's score is below it is the
/// logarithm of its probability.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|score| (f64::from(*score) - f64::from(highest)).exp());
    f64::from(highest) + powers.sum::<f64>().ln()
}

/// The probabilities of labels that hold or not, each by itself, of their scores.
pub fn sigmoid(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|score| 1.0 / (1.0 + (-score).exp())).collect()
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;
