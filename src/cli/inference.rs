//! The one job of all commands that only want a model's answers.

use clap::ValueEnum;

use super::printer::Printer;
use crate::backend::{Job, run_on};
use crate::bert::weights::Tensors;
use crate::bert::{BertConfig, Checkpoint, HeadSettings};
use crate::config::{BackendName, Layer, RunConfig};
use crate::error::Result;
use crate::infer::model::{BurnModel, Load, Model};
use crate::infer::packed::{PackedModel, remaining};
use crate::kernels::TrainingBackend;
use crate::sparse::Instructions;

/// What computes a model's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum EngineName {
    /// The sparse one for a pruned model on the default backend, else the dense one.
    #[default]
    Auto,
    /// The backend's products, zeros and all.
    Dense,
    /// Products of the weights that remain, on the CPU whatever the backend.
    Sparse,
}

/// With fewer of the encoder layers' weights remaining the sparse engine is worth it.
const SPARSE_BELOW: f64 = 0.6;

/// Loads `checkpoint`, or the part of it that is wanted, on `engine` or else `backend`, and hands it
/// to `work`. Says which it is.
pub fn with_model<R: Send>(
    (engine, backend): (EngineName, BackendName),
    checkpoint: Checkpoint,
    load: Load,
    printer: &Printer,
    work: impl FnOnce(&dyn Model) -> Result<R> + Send,
) -> Result<R> {
    let bert = checkpoint.config.clone();
    let read = load.read(checkpoint)?;
    match sparse_on((engine, backend), &read.0, printer) {
        None => run_on(backend, Inference { bert, read, work }),
        Some(instructions) => work(&PackedModel::new(&bert, read, instructions)?),
    }
}

/// The same model as one that stays, for whoever asks.
#[cfg(feature = "serve")]
pub fn model_on(
    (engine, backend): (EngineName, BackendName),
    checkpoint: Checkpoint,
    load: Load,
    printer: &Printer,
) -> Result<Box<dyn Model + Send>> {
    let bert = checkpoint.config.clone();
    let read = load.read(checkpoint)?;
    match sparse_on((engine, backend), &read.0, printer) {
        None => run_on(backend, Loading { bert, read }),
        Some(instructions) => Ok(Box::new(PackedModel::new(&bert, read, instructions)?)),
    }
}

/// What the sparse engine is to compute with; `None` where the dense one is to be taken. Says which.
fn sparse_on(
    (engine, backend): (EngineName, BackendName),
    tensors: &Tensors,
    printer: &Printer,
) -> Option<Instructions> {
    let share = remaining(tensors);
    let left = format!("{:.1} % of the encoder layers' weights remain", 100.0 * share);
    let dense = match engine {
        EngineName::Sparse => None,
        EngineName::Dense => Some("as asked for".to_string()),
        EngineName::Auto if backend != BackendName::Flex => {
            Some("for the sparse one computes on the CPU".to_string())
        }
        EngineName::Auto => (share >= SPARSE_BELOW).then(|| format!("for {left}")),
    };
    if let Some(why) = dense {
        printer.log(&format!("engine: dense ({}), {why}", backend.name()));
        return None;
    }
    let instructions = Instructions::widest();
    printer.log(&format!("engine: sparse ({}), for {left}", instructions.name()));
    Some(instructions)
}

/// Work with the dense model on a backend.
pub struct Inference<W> {
    /// The model's sizes.
    pub bert: BertConfig,
    /// What [`Load::read`] gave.
    pub read: (Tensors, Option<HeadSettings>),
    /// What is to be done with it.
    pub work: W,
}

/// The backend named, or the default one.
pub fn default_backend(named: Option<&str>) -> Result<BackendName> {
    let named = named.iter().map(|name| ("backend".to_string(), (*name).into()));
    let layer = Layer::command_line(toml::Table::from_iter(named));
    Ok(RunConfig::resolve(&[layer])?.run().backend)
}

impl<R: Send, W: FnOnce(&dyn Model) -> Result<R> + Send> Job for Inference<W> {
    type Output = R;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<R> {
        let Self { bert, read, work } = self;
        work(&BurnModel::<B::InnerBackend>::new(bert, read, &device)?)
    }
}

/// The loading alone.
#[cfg(feature = "serve")]
struct Loading {
    bert: BertConfig,
    read: (Tensors, Option<HeadSettings>),
}

#[cfg(feature = "serve")]
impl Job for Loading {
    type Output = Box<dyn Model + Send>;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<Self::Output> {
        Ok(Box::new(BurnModel::<B::InnerBackend>::new(self.bert, self.read, &device)?))
    }
}
