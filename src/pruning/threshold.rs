//! The global threshold: the k-th smallest score over all prunable parameters together.

/// The scores of one pruning decision, cut at their k-th smallest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Weights whose score is strictly below this become zero; ties survive.
    pub threshold: f32,
    /// How many scores lie strictly below it.
    pub below: usize,
}

/// How many of `n` scores the remaining ratio puts at or below the threshold: k = floor(n (1 - r)).
pub fn rank(n: usize, ratio: f64) -> usize {
    (n as f64 * (1.0 - ratio)) as usize
}

/// Finds the `k`-th smallest of `scores`, counted from 1, in expected linear time; `None` for
/// `k` = 0 or above their number: nothing is to be masked. The scores are reordered. A NaN is
/// never strictly below the threshold, so that a weight whose score is undefined survives.
pub fn cut(scores: &mut [f32], k: usize) -> Option<Cut> {
    if k == 0 || k > scores.len() {
        return None;
    }
    let (smaller, kth, _) = scores.select_nth_unstable_by(k - 1, f32::total_cmp);
    let threshold = *kth;
    let below = smaller.iter().filter(|s| **s < threshold).count();
    Some(Cut { threshold, below })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kth_value_survives() {
        assert_eq!(cut(&mut [3.0, 1.0, 2.0, 4.0], 2), Some(Cut { threshold: 2.0, below: 1 }));
    }

    #[test]
    fn ties_at_the_threshold_survive() {
        assert_eq!(cut(&mut [1.0, 2.0, 2.0, 2.0], 3), Some(Cut { threshold: 2.0, below: 1 }));
        assert_eq!(cut(&mut [0.0; 5], 4), Some(Cut { threshold: 0.0, below: 0 }));
    }

    #[test]
    fn rank_zero_masks_nothing() {
        assert_eq!(rank(10, 1.0), 0);
        assert_eq!(rank(10, 0.25), 7);
        assert_eq!(cut(&mut [1.0, 2.0], 0), None);
    }

    #[test]
    fn an_undefined_score_survives() {
        assert_eq!(cut(&mut [f32::NAN, 1.0, 2.0], 2), Some(Cut { threshold: 2.0, below: 1 }));
    }

    proptest! {
        #[test]
        fn the_cut_equals_that_of_a_full_sort(
            scores in prop::collection::vec(-4i8..4, 1..200), share in 0.0f64..1.0
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let k = rank(scores.len(), share);
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            let expected = (k > 0).then(|| Cut {
                threshold: sorted[k - 1],
                below: scores.iter().filter(|s| **s < sorted[k - 1]).count(),
            });
            prop_assert_eq!(cut(&mut scores.clone(), k), expected);
        }
    }
}
