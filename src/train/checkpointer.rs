//! The parts of a checkpoint, as burn's learner hands them out and takes them back.

use std::io::{self, BufReader, BufWriter, Write};
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
    /// The takers of parts that are no longer there.
    gone: usize,
}

impl Writing {
    /// The taker of the part called `name`.
    pub fn part(&self, name: &'static str) -> PartWriter {
        PartWriter { name, writing: self.clone() }
    }

    /// Where parts go from now on.
    pub fn begin(&self, unfinished: &Unfinished) {
        let mut state = self.lock();
        (state.done, state.error) = (0, None);
        state.checkpoint = Some(unfinished.clone());
    }

    /// Waits for all parts.
    ///
    /// # Errors
    /// One of them could not be written, or its taker is no longer there.
    pub fn wait(&self) -> Result<()> {
        let unfinished = |state: &mut State| state.done < PARTS.len() && state.gone == 0;
        let state = self.0.1.wait_while(self.lock(), unfinished);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        match state.error.take() {
            Some(error) => Err(error),
            None if state.done < PARTS.len() => {
                Err(Error::run(format!("a checkpoint was not written: {}", panics::take())))
            }
            None => Ok(()),
        }
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
        let written = panics::catch(|| write::<B, R>(&path, record));
        let written = written.unwrap_or_else(|cause| {
            let cause = format!("the model cannot be read back: {cause}");
            Err(Error::io(&path, "write", io::Error::other(cause)))
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

impl Drop for PartWriter {
    /// Whoever waits for this part waits no longer.
    fn drop(&mut self) {
        self.writing.lock().gone += 1;
        self.writing.0.1.notify_all();
    }
}

/// Writes a record in full precision, to the last byte.
fn write<B: Backend, R: Record<B>>(path: &Path, record: R) -> Result<()> {
    let failed = |e| Error::io(path, "write", e);
    let item = record.into_item::<FullPrecisionSettings>();
    let mut file = BufWriter::new(files::create(path).map_err(failed)?);
    rmp_serde::encode::write_named(&mut file, &item).map_err(|e| failed(cause(&e)))?;
    file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)
}

/// What lies at the bottom of an error: the operating system's answer.
fn cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    match (error.source(), error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error)) {
        (_, Some(number)) => io::Error::from_raw_os_error(number),
        (Some(source), None) => cause(source),
        (None, None) => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;

    type Backend = burn_flex::Flex;

    /// A record whose tensors cannot be read back.
    struct Lost;

    impl Record<Backend> for Lost {
        type Item<S: burn::record::PrecisionSettings> = usize;

        fn into_item<S: burn::record::PrecisionSettings>(self) -> usize {
            panic!("the device is lost")
        }

        fn from_item<S: burn::record::PrecisionSettings>(_: usize, _: &Device) -> Self {
            Self
        }
    }

    type Device = <Backend as burn::tensor::backend::BackendTypes>::Device;

    fn begun(writing: &Writing) -> (tempfile::TempDir, Unfinished) {
        let dir = tempfile::tempdir().unwrap();
        let folder = crate::run::RunFolder::new_at(&dir.path().join("run")).unwrap();
        let lock = folder.lock().unwrap();
        let checkpoints = crate::run::checkpoints::Checkpoints::new(&folder, 1);
        let unfinished = checkpoints.begin(3, &lock).unwrap();
        writing.begin(&unfinished);
        (dir, unfinished)
    }

    #[test]
    fn a_part_that_panics_names_its_cause() {
        let writing = Writing::default();
        let (_dir, _unfinished) = begun(&writing);
        let [model, optimizer, rate] = PARTS.map(|name| writing.part(name));
        Checkpointer::<Lost, Backend>::save(&model, 3, Lost).unwrap();
        Checkpointer::<usize, Backend>::save(&optimizer, 3, 1).unwrap();
        Checkpointer::<usize, Backend>::save(&rate, 3, 2).unwrap();
        let error = writing.wait().unwrap_err().to_string();
        assert!(error.contains("update-3.unfinished/model.mpk: cannot write: "), "{error}");
        assert!(error.contains("the model cannot be read back: "), "{error}");
    }

    #[test]
    fn nobody_waits_for_a_part_whose_taker_is_gone() {
        let writing = Writing::default();
        let (_dir, _unfinished) = begun(&writing);
        let waiting = writing.clone();
        let waiting = std::thread::spawn(move || waiting.wait());
        drop(writing.part("model"));
        let error = waiting.join().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("a checkpoint was not written: "), "{error}");
    }

    #[test]
    fn the_system_s_answer_is_found_below_the_format_s_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EFBIG))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = rmp_serde::encode::write_named(&mut Full, &vec![1, 2]).unwrap_err();
        assert_eq!(cause(&error).kind(), io::ErrorKind::FileTooLarge);
    }
}
