//! A model that answers, whatever computes it.

use super::forward::{filling, predict};
use super::predictions::Predictions;
use super::vectors::{Pooling, vectors};
use crate::bert::weights::{self, Parts, Tensors};
use crate::bert::{
    BertClassifier, BertConfig, Checkpoint, ClassifierConfig, HeadConfig, HeadSettings,
};
use crate::error::Result;
use crate::glue::batch::Filling;
use crate::glue::sample::Sample;
use crate::glue::task::Task;
use crate::kernels::ModelKernels;

/// A loaded model. Its callers need not know its backend.
pub trait Model {
    /// What its head's outputs are; `None` for an encoder alone.
    fn head(&self) -> Option<&HeadSettings>;

    /// Whether every sample of a batch costs as much as the longest.
    fn pads(&self) -> bool;

    /// The predictions for each of `sets`, with the seconds from the assembly of its first batch to
    /// its last prediction. `progress` is told how many of how many samples are done.
    fn predict(
        &self,
        sets: Vec<Vec<Sample>>,
        batch_size: usize,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<(Predictions, f64)>;

    /// The last layer's vectors of `samples`, in their order: `[samples, hidden]`, row by row.
    /// `progress` is told how many of how many samples are done.
    fn vectors(
        &self,
        samples: Vec<Sample>,
        batch_size: usize,
        pooling: Pooling,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<f32>;
}

/// What of a checkpoint is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// The encoder alone.
    Encoder,
    /// The encoder and its head, whatever it answers.
    Classifier,
    /// The encoder and its head, which answers this task; its outputs in the order of the task's
    /// labels.
    For(&'static Task),
}

impl Load {
    /// Reads the weights, and with a head what it answers.
    ///
    /// # Errors
    /// The weights cannot be read, or lack a part of what is to be loaded.
    pub fn read(self, checkpoint: Checkpoint) -> Result<(Tensors, Option<HeadSettings>)> {
        let (tensors, head) = match self {
            Self::Encoder => return Ok((checkpoint.into_tensors()?, None)),
            Self::Classifier => checkpoint.into_classifier()?,
            Self::For(task) => classifier_for(checkpoint, task)?,
        };
        Ok((tensors, Some(head)))
    }
}

/// The weights of a classifier for `task`, its outputs in the order of the task's labels.
///
/// # Errors
/// Those of [`Checkpoint::into_classifier`] and [`HeadSettings::order`].
pub fn classifier_for(checkpoint: Checkpoint, task: &Task) -> Result<(Tensors, HeadSettings)> {
    let (mut tensors, mut head) = checkpoint.into_classifier()?;
    let order = head.order(task.name, &task.class_names())?;
    tensors.reorder_outputs(&order);
    head.reorder(&order);
    Ok((tensors, head))
}

/// A model on one of burn's backends.
pub struct BurnModel<B: ModelKernels> {
    net: BertClassifier<B>,
    head: Option<HeadSettings>,
    device: B::Device,
}

impl<B: ModelKernels> BurnModel<B> {
    /// The model of this configuration, of what [`Load::read`] gave.
    ///
    /// # Errors
    /// The weights lack a part.
    pub fn new(
        bert: BertConfig,
        (tensors, head): (Tensors, Option<HeadSettings>),
        device: &B::Device,
    ) -> Result<Self> {
        let parts = if head.is_some() { Parts::All } else { Parts::Encoder };
        let of = |head: &HeadSettings| HeadConfig { outputs: head.labels.len(), dropout: 0.0 };
        let heads = head.iter().map(of).collect();
        let config = ClassifierConfig { bert, bert_dropout: 0.0, heads };
        let net = config.init::<B>(device);
        let net = weights::load(net, tensors, parts, device)?.model;
        Ok(Self { net, head, device: device.clone() })
    }

    /// The model itself.
    pub fn into_net(self) -> BertClassifier<B> {
        self.net
    }
}

impl<B: ModelKernels> Model for BurnModel<B> {
    fn head(&self) -> Option<&HeadSettings> {
        self.head.as_ref()
    }

    fn pads(&self) -> bool {
        filling::<B>() == Filling::Padded
    }

    fn predict(
        &self,
        sets: Vec<Vec<Sample>>,
        batch_size: usize,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<(Predictions, f64)> {
        predict(&self.net, sets, batch_size, &self.device, progress)
    }

    fn vectors(
        &self,
        samples: Vec<Sample>,
        batch_size: usize,
        pooling: Pooling,
        progress: &dyn Fn(usize, usize),
    ) -> Vec<f32> {
        vectors(&self.net, samples, batch_size, pooling, &self.device, progress)
    }
}
