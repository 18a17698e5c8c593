//! The one job of all commands that only want a model's answers.

use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::BackendName;
use crate::error::Result;
use crate::infer::model::{BurnModel, Load, Model};
use crate::kernels::TrainingBackend;

/// Loads `checkpoint`, or the part of it that is wanted, on `backend` and hands it to `work`.
pub fn with_model<R: Send>(
    backend: BackendName,
    checkpoint: Checkpoint,
    load: Load,
    work: impl FnOnce(&dyn Model) -> Result<R> + Send,
) -> Result<R> {
    run_on(backend, Inference { checkpoint, load, work })
}

struct Inference<W> {
    checkpoint: Checkpoint,
    load: Load,
    work: W,
}

impl<R: Send, W: FnOnce(&dyn Model) -> Result<R> + Send> Job for Inference<W> {
    type Output = R;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<R> {
        let Self { checkpoint, load, work } = self;
        work(&BurnModel::<B::InnerBackend>::load(checkpoint, load, &device)?)
    }
}
