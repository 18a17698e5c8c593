//! The loss that an update minimises: a sum of terms, a file each. A new one is a file here, a place
//! in [`Objective`], and its settings.

mod hidden;
mod labels;
mod smoothness;
mod softlabel;
mod teacher;

use burn::nn::Linear;
use burn::tensor::Tensor;

use self::hidden::Hidden;
use self::labels::Labels;
use self::smoothness::Smoothness;
use self::softlabel::Softlabel;
use self::teacher::Teacher;
use crate::bert::{BertClassifier, Pass, Training};
use crate::config::RunConfig;
use crate::glue::batch::Batch;
use crate::glue::tsv::Label;
use crate::infer::forward::inputs;
use crate::kernels::operands::TokenIds;
use crate::kernels::{Sequences, TrainingBackend};

/// One part of the loss.
trait Term<B: TrainingBackend> {
    /// The mean over the batch, weighted; `None` where the term has nothing to say.
    ///
    /// # Shapes
    /// - output: `[1]`
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>>;
}

/// A batch, and what the model answers to it.
struct Answered<'a, B: TrainingBackend> {
    net: &'a BertClassifier<B>,
    ids: TokenIds<B>,
    sequences: Sequences,
    head: usize,
    training: Training,
    /// The vectors of the embeddings and of each layer, as the model's `forward_seen` shows them;
    /// none where no term wants them.
    states: Vec<Tensor<B, 2>>,
    /// Brings them to a teacher's width.
    projection: Option<&'a Linear<B>>,
    /// `[batch, outputs]`
    logits: Tensor<B, 2>,
    labels: &'a [Label],
    /// What other models answer: `[batch, outputs]`, or empty.
    soft: &'a [f32],
}

/// All terms of a run.
#[derive(Debug, Clone, Default)]
pub struct Objective {
    labels: Labels,
    teacher: Option<Teacher>,
    softlabel: Option<Softlabel>,
    smoothness: Option<Smoothness>,
    hidden: Option<Hidden>,
}

impl Objective {
    /// That of these settings.
    pub fn new(config: &RunConfig) -> Self {
        let settings = config.objective();
        Self {
            labels: Labels::new(settings),
            teacher: Teacher::new(settings),
            softlabel: Softlabel::new(settings),
            smoothness: Smoothness::new(settings),
            hidden: None,
        }
    }

    /// The same with the hidden states of this teacher, by this weight.
    #[must_use]
    pub fn with_states_of<B: TrainingBackend>(
        self,
        teacher: BertClassifier<B::InnerBackend>,
        weight: f64,
    ) -> Self {
        Self { hidden: Some(Hidden::new::<B>(weight, teacher)), ..self }
    }

    fn terms<B: TrainingBackend>(&self) -> impl Iterator<Item = &dyn Term<B>> {
        let Self { labels, teacher, softlabel, smoothness, hidden } = self;
        let terms: [Option<&dyn Term<B>>; 5] = [
            Some(labels),
            teacher.as_ref().map(|term| term as &dyn Term<B>),
            softlabel.as_ref().map(|term| term as &dyn Term<B>),
            smoothness.as_ref().map(|term| term as &dyn Term<B>),
            hidden.as_ref().map(|term| term as &dyn Term<B>),
        ];
        terms.into_iter().flatten()
    }

    /// The mean loss of the samples of `batch`; `projection` is what brings the model's vectors to the
    /// width of a teacher's.
    ///
    /// # Shapes
    /// - output: `[1]`
    pub fn loss<B: TrainingBackend>(
        &self,
        net: &BertClassifier<B>,
        projection: Option<&Linear<B>>,
        mut batch: Batch<B>,
        training: Training,
    ) -> Tensor<B, 1> {
        let (head, soft) = (batch.head, std::mem::take(&mut batch.soft));
        let ((ids, sequences), labels) = inputs(batch);
        let pass = Pass::training(training);
        let mut states = Vec::new();
        let see = |state: &Tensor<B, 2>| {
            if self.hidden.is_some() {
                states.push(state.clone());
            }
        };
        let logits = net.forward_seen(ids.clone(), &sequences, head, pass, see); // [batch, outputs]
        let (labels, soft) = (labels.as_slice(), soft.as_slice());
        let answered = Answered {
            net,
            ids,
            sequences,
            head,
            training,
            states,
            projection,
            logits,
            labels,
            soft,
        };
        self.sum(&answered)
    }

    fn sum<B: TrainingBackend>(&self, answered: &Answered<'_, B>) -> Tensor<B, 1> {
        let terms = self.terms().filter_map(|term| term.of(answered));
        let sum = terms.reduce(|sum, term| sum + term);
        sum.unwrap_or_else(|| Tensor::zeros([1], &answered.logits.device()))
    }
}

#[cfg(test)]
mod tests;
