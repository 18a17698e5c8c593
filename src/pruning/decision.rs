//! Which weights go at a masking: those whose score lies strictly below one threshold for all
//! parameters.

use burn::module::ParamId;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};
use hashbrown::HashMap;

use crate::kernels::{Scores, UpdateKernels};

/// For each parameter of n weights those that are pruned, `[n]`.
pub(super) type Masks<B> = HashMap<ParamId, Tensor<B, 1, Bool>>;

/// What masks depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Of the scores.
    pub generation: usize,
    /// The threshold is the score of this rank, from 1; at 0 nothing is masked.
    pub rank: usize,
}

/// Masks that hold as long as the same ones are due.
#[derive(Clone)]
pub(super) struct Decision<B: Backend> {
    pub due: Due,
    /// Weights whose score is strictly below this go; ties survive.
    pub threshold: Option<f32>,
    pub masks: Masks<B>,
}

impl<B: UpdateKernels> Decision<B> {
    /// # Shapes
    /// - `scores`: `[n]` each, any n
    pub fn new(due: Due, scores: impl Iterator<Item = (ParamId, Scores<B>)>) -> Self {
        let (ids, scores): (Vec<_>, Vec<_>) = scores.unzip();
        let threshold = B::kth_smallest(&scores, due.rank);
        let masks = threshold.map_or_else(HashMap::new, |threshold| {
            let masks = scores.into_iter().map(|s| B::below(s, threshold));
            ids.into_iter().zip(masks).collect()
        });
        Self { due, threshold, masks }
    }
}
