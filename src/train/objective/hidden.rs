//! The distance from a teacher's hidden states, layer by layer (Jiao et al., 2020, equation 8).

use std::any::Any;
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

use super::{Answered, Term};
use crate::bert::{BertClassifier, Pass};
use crate::kernels::operands::TokenIds;
use crate::kernels::{Sequences, TrainingBackend, Zeros};

/// The term: the mean over the layers of the mean squared difference of the tokens' vectors, the
/// embeddings' being the first. Layer n of L is compared with the teacher's layer n L' / L, rounded
/// down; where widths differ, after a projection that is learnt with the model. Of the last layer there
/// are the first tokens' vectors. The mean is over the samples of that over their tokens: long ones count
/// no more than short ones, however a batch is divided.
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
        let samples = sequences.batch().max(1) as f64;
        let mut sum: Option<Tensor<B, 1>> = None;
        for (n, state) in states.iter().enumerate() {
            let state = projection.map_or_else(|| state.clone(), |p| p.forward(state.clone()));
            let target = Tensor::from_inner(taught.get(n * all / own.max(1))?.clone());
            let difference = state - target;
            let square = (difference.clone() * difference).mean_dim(1);
            let square = match n < own {
                true => square * tokens.clone(),
                false => square.div_scalar(samples),
            };
            let square = square.sum();
            sum = Some(sum.map_or(square.clone(), |sum| sum + square));
        }
        Some(sum?.mul_scalar(self.weight / states.len() as f64))
    }
}

/// The weight of each row in a mean over the samples of that over their tokens; padding has none.
///
/// # Shapes
/// - output: `[rows, 1]`
fn tokens<B: Backend>(sequences: &Sequences, device: &B::Device) -> Tensor<B, 2> {
    let mut weights = vec![0.0_f32; sequences.rows()];
    for (span, length) in sequences.spans().zip(sequences.lengths()) {
        let weight = 1.0 / (sequences.batch() * length.max(&1)) as f32;
        weights.iter_mut().skip(span.start).take(*length).for_each(|w| *w = weight);
    }
    let rows = weights.len();
    Tensor::from_data(TensorData::new(weights, [rows, 1]), device)
}
