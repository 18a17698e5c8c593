//! The parts of a checkpoint, as burn's learner hands them out and takes them back.

use std::io::{BufReader, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::record::{FullPrecisionSettings, Record};
use burn::tensor::backend::Backend;
use burn_train::checkpoint::{Checkpointer, CheckpointerError};

use crate::error::{Error, Result};
use crate::files;
use crate::run::checkpoints::{PARTS, Unfinished, Whole};

/// The record of one of [`PARTS`].
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read<B: Backend, R: Record<B>>(whole: &Whole, part: &str, device: &B::Device) -> Result<R> {
    let path = whole.part(part);
    let file = files::open(&path)?;
    let item = rmp_serde::decode::from_read(BufReader::new(file)).map_err(|e| {
        Error::content(&path, None, "a record of this run's model and optimizer", e)
            .hint("another version of platon may have written it; resume with that one")
    })?;
    Ok(R::from_item::<FullPrecisionSettings>(item, device))
}

/// Takes one part of every checkpoint from burn's learner.
pub struct PartWriter {
    name: &'static str,
    writing: Writing,
}

/// The checkpoint that the parts go to, and those that are done.
#[derive(Debug, Clone, Default)]
pub struct Writing(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    checkpoint: Option<Unfinished>,
    done: usize,
    error: Option<Error>,
}

impl Writing {
    /// The taker of the part called `name`.
    pub fn part(&self, name: &'static str) -> PartWriter {
        PartWriter { name, writing: self.clone() }
    }

    /// Where parts go from now on.
    pub fn begin(&self, unfinished: &Unfinished) {
        *self.lock() = State { checkpoint: Some(unfinished.clone()), done: 0, error: None };
    }

    /// Waits for all parts.
    ///
    /// # Errors
    /// One of them could not be written.
    pub fn wait(&self) -> Result<()> {
        let unfinished = |state: &mut State| state.done < PARTS.len();
        let state = self.0.1.wait_while(self.lock(), unfinished);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        state.error.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend, R: Record<B>> Checkpointer<R, B> for PartWriter {
    /// Errors go to [`Writing::wait`]: burn would make a panic of them.
    fn save(&self, _epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let checkpoint = self.writing.lock().checkpoint.clone();
        let Some(path) = checkpoint.map(|checkpoint| checkpoint.part(self.name)) else {
            return Err(CheckpointerError::Unknown("no checkpoint was begun".into()));
        };
        // Reading tensors back from a device may panic, and the run waits for this part.
        let written = catch_unwind(AssertUnwindSafe(|| write::<B, R>(&path, record)));
        let written = written.unwrap_or_else(|_| {
            Err(Error::io(&path, "write", std::io::Error::other("the model cannot be read back")))
        });
        let mut state = self.writing.lock();
        state.done += 1;
        if let Err(error) = written {
            state.error.get_or_insert(error);
        }
        self.writing.0.1.notify_all();
        Ok(())
    }

    fn delete(&self, _epoch: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    /// Records are loaded before the learner is made, see [`read`].
    fn restore(&self, _epoch: usize, _device: &B::Device) -> Result<R, CheckpointerError> {
        Err(CheckpointerError::Unknown("checkpoints are read elsewhere".into()))
    }
}

/// Writes a record in full precision, to the last byte.
fn write<B: Backend, R: Record<B>>(path: &Path, record: R) -> Result<()> {
    let failed = |e| {
        Error::io(path, "write", e).hint("check the free space and the permissions of the folder")
    };
    let item = record.into_item::<FullPrecisionSettings>();
    let mut file = BufWriter::new(files::create(path).map_err(failed)?);
    rmp_serde::encode::write_named(&mut file, &item)
        .map_err(|e| failed(std::io::Error::other(cause(&e))))?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}

/// What lies at the bottom of an error: the operating system's answer.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}
