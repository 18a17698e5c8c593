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
use crate::panics;
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
        let written = written.unwrap_or_else(|panic| {
            let cause = panics::take().unwrap_or_else(|| panics::text(&*panic));
            Err(Error::io(&path, "write", std::io::Error::other(cause)))
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

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;
    use crate::run::RunFolder;
    use crate::run::checkpoints::Checkpoints;
    use burn::record::PrecisionSettings;
    use burn_ndarray::NdArray;

    type B = NdArray<f32>;

    /// What a device that is gone cannot give back.
    struct Broken;

    impl Record<B> for Broken {
        type Item<S: PrecisionSettings> = u32;

        fn into_item<S: PrecisionSettings>(self) -> u32 {
            std::panic::resume_unwind(Box::new("the device is gone\nand with it its memory"))
        }

        fn from_item<S: PrecisionSettings>(
            _: u32,
            _: &<B as burn::tensor::backend::BackendTypes>::Device,
        ) -> Self {
            Self
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_back_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::at(dir.path());
        let lock = run.lock().unwrap();
        let unfinished = Checkpoints::new(&run, 1).begin(3, &lock).unwrap();
        let writing = Writing::default();
        writing.begin(&unfinished);
        let [broken, ..] = PARTS;
        for part in PARTS {
            let part = (writing.part(part), part == broken);
            let saved = match part {
                (part, true) => Checkpointer::<Broken, B>::save(&part, 0, Broken),
                (part, false) => Checkpointer::<usize, B>::save(&part, 0, 1),
            };
            saved.unwrap();
        }
        let error = writing.wait().unwrap_err().to_string();
        assert!(error.contains("model.mpk: cannot write: the device is gone"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
