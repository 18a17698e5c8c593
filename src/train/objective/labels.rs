//! The distance from the true labels: cross-entropy for classes, mean squared error for scores.

use burn::tensor::Tensor;

use super::{Answered, Term};
use crate::config::Objective;
use crate::infer::loss::label_loss;
use crate::kernels::TrainingBackend;

/// The term.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    weight: f64,
}

impl Default for Labels {
    fn default() -> Self {
        Self { weight: 1.0 }
    }
}

impl Labels {
    /// What a teacher leaves.
    pub fn new(settings: &Objective) -> Self {
        let taught = if settings.teacher.is_some() { settings.distill_weight } else { 0.0 };
        Self { weight: 1.0 - taught }
    }
}

impl<B: TrainingBackend> Term<B> for Labels {
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>> {
        if self.weight == 0.0 {
            return None;
        }
        let loss = label_loss(answered.logits.clone(), answered.labels);
        Some(if self.weight == 1.0 { loss } else { loss.mul_scalar(self.weight) })
    }
}
