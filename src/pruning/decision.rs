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

/// The parameters of a group with their scores, `[n]` each.
pub(super) type Scored<B> = Vec<(ParamId, Scores<B>)>;

/// Masks that hold as long as the same ones are due.
#[derive(Clone)]
pub(super) struct Decision<B: Backend> {
    pub due: Due,
    /// Weights whose score is strictly below this go; ties survive. That of the first group that has
    /// one.
    pub threshold: Option<f32>,
    pub masks: Masks<B>,
}

impl<B: UpdateKernels> Decision<B> {
    /// Decides on `groups`, as many as `due` has ranks.
    pub fn new(due: Due, groups: Vec<Scored<B>>) -> Self {
        let mut decision = Self { due, threshold: None, masks: HashMap::new() };
        for (group, rank) in groups.into_iter().zip(&decision.due.ranks) {
            let (ids, scores): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let Some(threshold) = B::kth_smallest(&scores, *rank) else { continue };
            decision.threshold = decision.threshold.or(Some(threshold));
            let masks = scores.into_iter().map(|s| B::below(s, threshold));
            decision.masks.extend(ids.into_iter().zip(masks));
        }
        decision
    }
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
            (ParamId::new(), Scores::<B>::Absolute(Tensor::from_floats(values, &device)))
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
    }
}
