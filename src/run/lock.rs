//! One run folder, one process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// Keeps other processes from a run folder for as long as it lives. The operating system lets go of
/// it when its process dies, in whatever way.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the run folder `dir` by its file `name`.
    ///
    /// # Errors
    /// Another process works on it, or the folder cannot be written to.
    pub(super) fn take(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false);
        let mut file = open.open(&path).map_err(|e| Error::io(&path, "create", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The number is for the message only.
                let _ = file.read_to_string(&mut owner);
                return Err(Error::value(
                    dir.display(),
                    "a run that no other process works on",
                    format!("process {} at work", owner.trim()),
                )
                .hint("wait for it, or stop it"));
            }
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, "lock", e)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|e| Error::io(&path, "write", e))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::take(dir.path(), "lock").unwrap();
        let text = RunLock::take(dir.path(), "lock").unwrap_err().to_string();
        let own = format!("found process {} at work", std::process::id());
        assert!(text.contains(&own), "{text}");
        drop(first);
        RunLock::take(dir.path(), "lock").unwrap();
    }
}
