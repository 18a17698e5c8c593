//! Which weights go at a masking: those whose score lies strictly below the threshold of their group,
//! which is one for all parameters unless some have one of their own.

use burn::module::ParamId;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};
use hashbrown::HashMap;

use crate::kernels::{Scores, UpdateKernels};

/// For each parameter of n weights those that are pruned, `[n]`.
pub(super) type Masks<B> = HashMap<ParamId, Tensor<B, 1, Bool>>;

/// What masks depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    /// Of the scores.
    pub generation: usize,
    /// The threshold of a group is the score of this rank in it, from 1; at 0 nothing is masked.
    pub ranks: Vec<usize>,
}

/// The parameters of a group with their scores and weights, `[n]` each.
pub(super) type Scored<B> = Vec<(ParamId, Scores<B>, Tensor<B, 1>)>;

/// Masks that hold as long as the same ones are due.
#[derive(Clone)]
pub(super) struct Decision<B: Backend> {
    pub due: Due,
    /// Weights whose score is strictly below this go; ties survive. That of the first group that has
    /// one.
    pub threshold: Option<f32>,
    /// Whether weights have had their say, so that the masks do not outlive the update.
    pub is_momentary: bool,
    pub masks: Masks<B>,
}

impl<B: UpdateKernels> Decision<B> {
    /// Decides on `groups`, as many as `due` has ranks. In the first, weights that tie at the threshold
    /// survive, as in the original. The others are parts that somebody gave a ratio of their own, as
    /// the embeddings, most of which may never have had a gradient: where so many scores are 0 that
    /// nothing would go, the smallest of these weights go.
    pub fn new(due: Due, groups: Vec<Scored<B>>) -> Self {
        let mut decision =
            Self { due, threshold: None, is_momentary: false, masks: HashMap::new() };
        for (n, (group, rank)) in groups.into_iter().zip(&decision.due.ranks).enumerate() {
            let (mut ids, mut scores, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            for (id, of_parameter, weight) in group {
                ids.push(id);
                scores.push(of_parameter);
                weights.push(weight);
            }
            let Some(mut threshold) = B::kth_smallest(&scores, *rank) else { continue };
            decision.threshold = decision.threshold.or(Some(threshold));
            if n > 0 && threshold == 0.0 {
                scores = scores.into_iter().zip(weights).map(|(s, w)| unscored(s, w)).collect();
                threshold = B::kth_smallest(&scores, *rank).unwrap_or_default();
                decision.is_momentary = true;
            }
            let masks = scores.into_iter().map(|s| B::below(s, threshold));
            decision.masks.extend(ids.into_iter().zip(masks));
        }
        decision
    }
}

/// The magnitudes of weights whose score is 0; all others are above them.
fn unscored<B: UpdateKernels>(scores: Scores<B>, weight: Tensor<B, 1>) -> Scores<B> {
    let has_score = scores.values().equal_elem(0.0).bool_not();
    Scores::Absolute(weight.mask_fill(has_score, f32::INFINITY))
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use burn::tensor::Tensor;

    use super::*;

    type B = burn_ndarray::NdArray<f32>;

    #[test]
    fn each_group_has_the_threshold_of_its_own_rank() {
        let device = Default::default();
        let scored = |values: &[f32]| {
            let values = Tensor::<B, 1>::from_floats(values, &device);
            (ParamId::new(), Scores::<B>::Absolute(values.clone()), values)
        };
        let (a, b) = (scored(&[1.0, 2.0, 3.0]), scored(&[4.0, 5.0]));
        let (c, d) = (scored(&[10.0, 20.0, 30.0, 30.0]), scored(&[0.0]));
        let ids = [a.0, b.0, c.0, d.0];
        // Group 0: the fourth of 5 scores is 4, which ties survive. Group 1: the third of 4 is 30.
        // Group 2: nothing goes.
        let due = Due { generation: 1, ranks: vec![4, 3, 0] };
        let decision = Decision::new(due, vec![vec![a, b], vec![c], vec![d]]);
        assert_eq!(decision.threshold, Some(4.0));
        let masks = ids.map(|id| decision.masks.get(&id).map(|mask| mask.to_data()));
        let masks = masks.map(|mask| mask.map(|data| data.iter::<bool>().collect::<Vec<_>>()));
        assert_eq!(masks[0].as_deref(), Some([true, true, true].as_slice()));
        assert_eq!(masks[1].as_deref(), Some([false, false].as_slice()));
        assert_eq!(masks[2].as_deref(), Some([true, true, false, false].as_slice()));
        assert_eq!(masks[3], None);
        assert!(!decision.is_momentary);
    }

    #[test]
    fn weights_without_a_score_go_by_their_size_in_parts_alone() {
        let device = Default::default();
        // 4 of 6 have no score, 3 are to go.
        let scored = || {
            let scores = Tensor::<B, 1>::from_floats([0.0, 2.0, 0.0, 0.0, 1.0, 0.0], &device);
            let weight = Tensor::from_floats([0.3, 0.1, -0.2, 0.0, 0.1, -0.5], &device);
            vec![(ParamId::new(), Scores::Absolute(scores), weight)]
        };
        let (all, part) = (scored(), scored());
        let ids = [all[0].0, part[0].0];
        let due = Due { generation: 1, ranks: vec![3, 3] };
        let decision = Decision::new(due, vec![all, part]);
        assert_eq!((decision.threshold, decision.is_momentary), (Some(0.0), true));
        let gone = ids.map(|id| decision.masks[&id].to_data().iter::<bool>().collect::<Vec<_>>());
        assert_eq!(gone[0], [false; 6]);
        // The third smallest of them survives.
        assert_eq!(gone[1], [false, false, true, true, false, false]);
    }
}
