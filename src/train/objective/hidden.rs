//! The distance from a teacher's hidden states, layer by layer (Jiao et al., 2020, equation 8).

use std::any::Any;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use super::{Answered, Term};
use crate::bert::{BertClassifier, Pass};
use crate::kernels::operands::TokenIds;
use crate::kernels::{Sequences, TrainingBackend, Zeros};

/// The term: the mean over the layers of the mean squared difference of the tokens' vectors, the
/// embeddings' being the first. Layer n of L is compared with the teacher's layer n L' / L, rounded
/// down; where widths differ, after a projection that is learnt with the model. Of the last layer there
/// are the first tokens' vectors.
#[derive(Clone)]
pub(super) struct Hidden {
    weight: f64,
    /// A `BertClassifier<B::InnerBackend>`: what stays the same from step to step knows no backend.
    teacher: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hidden").field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Hidden {
    /// The term with this teacher.
    pub fn new<B: TrainingBackend>(weight: f64, teacher: BertClassifier<B::InnerBackend>) -> Self {
        Self { weight, teacher: Arc::new(teacher) }
    }
}

impl<B: TrainingBackend> Term<B> for Hidden {
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>> {
        let teacher = self.teacher.downcast_ref::<BertClassifier<B::InnerBackend>>()?;
        let Answered { ids, sequences, head, states, projection, .. } = answered;
        let ids = TokenIds::<B::InnerBackend> {
            word: ids.word.clone().inner(),
            position: ids.position.clone().inner(),
            segment: ids.segment.clone().inner(),
        };
        let mut taught = Vec::new();
        let see = |state: &Tensor<B::InnerBackend, 2>| taught.push(state.clone());
        teacher.forward_seen(ids, sequences, *head, Pass::answers(Zeros::Skip), see);
        let (own, all) = (states.len().checked_sub(1)?, taught.len().checked_sub(1)?);
        let tokens = tokens::<B>(sequences, &answered.logits.device());
        let mut sum: Option<Tensor<B, 1>> = None;
        for (n, state) in states.iter().enumerate() {
            let state = projection.map_or_else(|| state.clone(), |p| p.forward(state.clone()));
            let target = Tensor::from_inner(taught.get(n * all / own.max(1))?.clone());
            let mut difference = state - target;
            if let Some(tokens) = tokens.as_ref().filter(|_| n < own) {
                difference = difference.select(0, tokens.clone());
            }
            let square = (difference.clone() * difference).mean();
            sum = Some(sum.map_or(square.clone(), |sum| sum + square));
        }
        Some(sum?.mul_scalar(self.weight / states.len() as f64))
    }
}

/// The rows that are no padding; `None` for all.
fn tokens<B: Backend>(sequences: &Sequences, device: &B::Device) -> Option<Tensor<B, 1, Int>> {
    sequences.padded_to()?;
    let spans = sequences.spans().zip(sequences.lengths());
    let rows = spans.flat_map(|(span, length)| span.start..span.start + length);
    let rows: Vec<i64> = rows.map(|row| row as i64).collect();
    let count = rows.len();
    Some(Tensor::from_data(TensorData::new(rows, [count]), device))
}
