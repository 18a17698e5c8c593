//! A model that answers, whatever computes it.

use super::forward::predict;
use super::predictions::Predictions;
use super::vectors::{Pooling, vectors};
use crate::bert::weights::{self, Parts};
use crate::bert::{BertClassifier, Checkpoint, ClassifierConfig, HeadConfig, names};
use crate::error::{Error, Result};
use crate::glue::sample::Sample;
use crate::kernels::ModelKernels;

/// A loaded model. Its callers need not know its backend.
pub trait Model {
    /// The number of its head's outputs; 0 for an encoder alone.
    fn outputs(&self) -> usize;

    /// The predictions for each of `sets`, with the seconds from the assembly of its first batch to
    /// its last prediction.
    fn predict(&self, sets: Vec<Vec<Sample>>, batch_size: usize) -> Vec<(Predictions, f64)>;

    /// The last layer's vectors of `samples`, in their order: `[samples, hidden]`, row by row.
    fn vectors(&self, samples: Vec<Sample>, batch_size: usize, pooling: Pooling) -> Vec<f32>;
}

/// What of a checkpoint is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The encoder alone.
    Encoder,
    /// The encoder and its head of so many outputs; `None` for whatever number there is.
    Classifier(Option<usize>),
}

/// A model on one of burn's backends.
pub struct BurnModel<B: ModelKernels> {
    net: BertClassifier<B>,
    outputs: usize,
    device: B::Device,
}

impl<B: ModelKernels> BurnModel<B> {
    /// The model of `checkpoint`.
    ///
    /// # Errors
    /// The weights cannot be read, or lack a part of what is to be loaded.
    pub fn load(checkpoint: Checkpoint, load: Load, device: &B::Device) -> Result<Self> {
        let bert = checkpoint.config.clone();
        let tensors = checkpoint.into_tensors()?;
        let (outputs, parts) = match load {
            Load::Encoder => (None, Parts::Encoder),
            Load::Classifier(Some(outputs)) => (Some(outputs), Parts::All),
            Load::Classifier(None) => {
                let outputs = tensors.outputs(bert.hidden_size)?.ok_or_else(|| {
                    let expected = format!("a tensor {}", names::output_weight());
                    Error::content(&tensors.file, None, expected, "none of that name")
                        .hint("name a fine-tuned model; this one has no head")
                })?;
                (Some(outputs), Parts::All)
            }
        };
        let heads = outputs.map(|outputs| HeadConfig { outputs, dropout: 0.0 });
        let heads = heads.into_iter().collect();
        let config = ClassifierConfig { bert, bert_dropout: 0.0, heads };
        let net = config.init::<B>(device);
        let net = weights::load(net, tensors, parts, device)?.model;
        Ok(Self { net, outputs: outputs.unwrap_or(0), device: device.clone() })
    }
}

impl<B: ModelKernels> Model for BurnModel<B> {
    fn outputs(&self) -> usize {
        self.outputs
    }

    fn predict(&self, sets: Vec<Vec<Sample>>, batch_size: usize) -> Vec<(Predictions, f64)> {
        predict(&self.net, sets, batch_size, &self.device)
    }

    fn vectors(&self, samples: Vec<Sample>, batch_size: usize, pooling: Pooling) -> Vec<f32> {
        vectors(&self.net, samples, batch_size, pooling, &self.device)
    }
}
