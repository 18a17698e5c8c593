//! The distance from a teacher's answers (Hinton et al., 2015).

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Tensor, TensorData};

use super::{Answered, Term};
use crate::config::Objective;
use crate::glue::tsv::Label;
use crate::kernels::TrainingBackend;

/// The term. With logits z of the model and y of the teacher, over a batch of N:
///
/// - classes: T² Σ KL(softmax(y / T) || softmax(z / T)) / N; by T² its gradient is of about the same
///   size at any temperature T;
/// - scores: the mean squared difference.
#[derive(Debug, Clone)]
pub(super) struct Teacher {
    weight: f64,
    temperature: f64,
}

impl Teacher {
    /// The term, where there is a teacher whose word counts.
    pub fn new(settings: &Objective) -> Option<Self> {
        let (weight, temperature) = (settings.distill_weight, settings.distill_temperature);
        (settings.teacher.is_some() && weight > 0.0).then_some(Self { weight, temperature })
    }
}

impl<B: TrainingBackend> Term<B> for Teacher {
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>> {
        let (logits, targets) = (answered.logits.clone(), targets(answered)?);
        let loss = match answered.labels.first()? {
            Label::Score(_) => {
                let difference = logits - targets;
                (difference.clone() * difference).mean()
            }
            Label::Class(_) => {
                let [batch, _] = logits.dims();
                let own = log_softmax(logits.div_scalar(self.temperature), 1);
                let targets = targets.div_scalar(self.temperature);
                let divergence = softmax(targets.clone(), 1) * (log_softmax(targets, 1) - own);
                divergence.sum().mul_scalar(self.temperature.powi(2) / batch as f64)
            }
        };
        Some(if self.weight == 1.0 { loss } else { loss.mul_scalar(self.weight) })
    }
}

/// What other models answer to the batch: `[batch, outputs]`.
pub(super) fn targets<B: TrainingBackend>(answered: &Answered<'_, B>) -> Option<Tensor<B, 2>> {
    let shape = answered.logits.dims();
    let is_whole = answered.soft.len() == shape.iter().product::<usize>();
    is_whole.then(|| {
        let data = TensorData::new(answered.soft.to_vec(), shape);
        Tensor::from_data(data, &answered.logits.device())
    })
}
