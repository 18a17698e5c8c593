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
    /// The groups in which weights have had their say: their masks do not outlive the update, and are not
    /// among these.
    pub momentary: Vec<usize>,
    pub masks: Masks<B>,
}

impl<B: UpdateKernels> Decision<B> {
    /// Decides on `groups`, as many as `due` has ranks. In the first, weights that tie at the threshold
    /// survive, as in the original. The others are parts that somebody gave a ratio of their own, as
    /// the embeddings, most of which may never have had a gradient: where so many scores are 0 that
    /// nothing would go, the smallest of these weights go. Also all masks of this update.
    pub fn new(due: Due, groups: Vec<Scored<B>>) -> (Self, Masks<B>) {
        let (mut threshold, mut momentary) = (None, Vec::new());
        let (mut masks, mut passing) = (HashMap::new(), HashMap::new());
        for (n, (group, rank)) in groups.into_iter().zip(&due.ranks).enumerate() {
            let scores: Vec<_> = group.iter().map(|(_, scores, _)| scores.clone()).collect();
            let Some(found) = B::kth_smallest(&scores, *rank) else { continue };
            threshold = threshold.or(Some(found));
            if n > 0 && found == 0.0 {
                momentary.push(n);
                passing.extend(by_size(group, *rank));
                continue;
            }
            let ids = group.into_iter().map(|(id, ..)| id);
            masks.extend(ids.zip(scores.into_iter().map(|scores| B::below(scores, found))));
        }
        passing.extend(masks.iter().map(|(id, mask)| (*id, mask.clone())));
        (Self { due, threshold, momentary, masks }, passing)
    }

    /// Whether all masks hold as long as the same ones are due.
    pub fn lasts(&self) -> bool {
        self.momentary.is_empty()
    }

    /// The masks of the groups in which weights have their say, at another update at which the same are
    /// due. Of `groups` the others do not matter.
    pub fn again(&self, groups: Vec<Scored<B>>) -> Masks<B> {
        let groups = groups.into_iter().zip(&self.due.ranks).enumerate();
        let momentary = groups.filter(|(n, _)| self.momentary.contains(n));
        momentary.flat_map(|(_, (group, rank))| by_size(group, *rank)).collect()
    }
}

/// The masks of a group in which so many scores are 0 that nothing would go: of these weights the smallest
/// go, as many as the rank says.
fn by_size<B: UpdateKernels>(
    group: Scored<B>,
    rank: usize,
) -> impl Iterator<Item = (ParamId, Tensor<B, 1, Bool>)> {
    let (ids, sizes): (Vec<_>, Vec<_>) =
        group.into_iter().map(|(id, scores, weight)| (id, unscored(scores, weight))).unzip();
    let threshold = B::kth_smallest(&sizes, rank).unwrap_or_default();
    ids.into_iter().zip(sizes.into_iter().map(move |sizes| B::below(sizes, threshold)))
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
        let (decision, masks) = Decision::new(due, vec![vec![a, b], vec![c], vec![d]]);
        assert_eq!(masks.len(), decision.masks.len());
        assert_eq!(decision.threshold, Some(4.0));
        let masks = ids.map(|id| decision.masks.get(&id).map(|mask| mask.to_data()));
        let masks = masks.map(|mask| mask.map(|data| data.iter::<bool>().collect::<Vec<_>>()));
        assert_eq!(masks[0].as_deref(), Some([true, true, true].as_slice()));
        assert_eq!(masks[1].as_deref(), Some([false, false].as_slice()));
        assert_eq!(masks[2].as_deref(), Some([true, true, false, false].as_slice()));
        assert_eq!(masks[3], None);
        assert!(decision.lasts());
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
        let groups = [all, part];
        let (decision, masks) = Decision::new(due, groups.to_vec());
        assert_eq!((decision.threshold, decision.lasts()), (Some(0.0), false));
        let gone = ids.map(|id| masks[&id].to_data().iter::<bool>().collect::<Vec<_>>());
        assert_eq!(gone[0], [false; 6]);
        // The third smallest of them survives.
        assert_eq!(gone[1], [false, false, true, true, false, false]);
        // The masks of the part hold for this update, those of the others for all at which they are due.
        assert_eq!(decision.masks.keys().collect::<Vec<_>>(), [&ids[0]]);
        let (first, mut later) = (groups[0].clone(), groups[1].clone());
        later[0].2 = Tensor::from_floats([0.1, 0.1, -0.2, 0.3, 0.1, -0.5], &device);
        let again = decision.again(vec![first, later]);
        assert_eq!(again.keys().collect::<Vec<_>>(), [&ids[1]]);
        let gone = again[&ids[1]].to_data().iter::<bool>().collect::<Vec<_>>();
        assert_eq!(gone, [true, false, true, false, false, false]);
    }
}
