//! The distance from the answers that encoded samples bring along: the original's `mkd_opt`.

use burn::tensor::Tensor;

use super::teacher::targets;
use super::{Answered, Term};
use crate::config::Objective;
use crate::kernels::TrainingBackend;

/// The term: the mean of the squared differences of all logits, as MT-DNN's `MseCriterion`.
#[derive(Debug, Clone)]
pub(super) struct Softlabel;

impl Softlabel {
    /// The term, where it is wanted.
    pub fn new(settings: &Objective) -> Option<Self> {
        (settings.mkd_opt > 0).then_some(Self)
    }
}

impl<B: TrainingBackend> Term<B> for Softlabel {
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>> {
        let difference = answered.logits.clone() - targets(answered)?;
        Some((difference.clone() * difference).mean())
    }
}
