//! One run folder, one process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::files::open_own;

/// Longer than another process takes to see whether a run is at work, for which it locks it too.
const GLANCE: Duration = Duration::from_millis(200);

/// Keeps other processes from a run folder for as long as it or a clone lives. The operating system
/// lets go of it when its process dies, in whatever way.
#[derive(Debug, Clone)]
pub struct RunLock {
    path: PathBuf,
    file: Arc<File>,
}

impl RunLock {
    /// Takes the run folder `dir` by its file `name`.
    ///
    /// # Errors
    /// Another process works on it, or the folder cannot be written to.
    pub(super) fn take(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        let mut open = OpenOptions::new();
        let mut file = open_own(&path, open.read(true).write(true).create(true).truncate(false))?;
        let began = Instant::now();
        let mut locked = file.try_lock();
        while matches!(locked, Err(TryLockError::WouldBlock)) && began.elapsed() < GLANCE {
            std::thread::sleep(GLANCE / 20);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // The number is for the message only.
                let _ = file.take(20).read_to_string(&mut owner);
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
        let lock = Self { path, file: Arc::new(file) };
        // Between the opening and the lock another process may have removed it.
        lock.check()?;
        Ok(lock)
    }

    /// Whether another process holds the run folder `dir` by its file `name`.
    pub(super) fn is_taken(dir: &Path, name: &str) -> bool {
        let file = open_own(&dir.join(name), OpenOptions::new().read(true));
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Makes sure that the folder is still kept from others: that the file there is the one that
    /// was locked.
    ///
    /// # Errors
    /// It is another one, or gone.
    pub fn check(&self) -> Result<()> {
        let failed = |e| Error::io(&self.path, "read", e).hint(VANISHED);
        let own = self.file.metadata().map_err(failed)?;
        let there = fs::symlink_metadata(&self.path).map_err(failed)?;
        if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
            return Ok(());
        }
        Err(Error::content(&self.path, None, "the file that this process has locked", "another")
            .hint("another process may be at work on this run: let one of them go on"))
    }
}

const VANISHED: &str = "the run folder was moved or removed during the run, or its lock";

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

    #[test]
    fn one_who_looks_whether_a_run_is_at_work_keeps_none_from_beginning() {
        let dir = tempfile::tempdir().unwrap();
        drop(RunLock::take(dir.path(), "lock").unwrap());
        let looked = File::open(dir.path().join("lock")).unwrap();
        looked.try_lock_shared().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(looked);
        });
        RunLock::take(dir.path(), "lock").unwrap();
    }

    #[test]
    fn a_lock_that_was_replaced_no_longer_counts() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::take(dir.path(), "lock").unwrap();
        first.check().unwrap();
        fs::remove_file(dir.path().join("lock")).unwrap();
        let text = first.check().unwrap_err().to_string();
        assert!(text.contains("lock: cannot read: No such file"), "{text}");
        let second = RunLock::take(dir.path(), "lock").unwrap();
        let text = first.check().unwrap_err().to_string();
        assert!(text.contains("expected the file that this process has locked, found another"));
        second.check().unwrap();
    }

    #[test]
    fn a_planted_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("theirs"), "content").unwrap();
        std::os::unix::fs::symlink("theirs", dir.path().join("lock")).unwrap();
        let text = RunLock::take(dir.path(), "lock").unwrap_err().to_string();
        assert!(text.contains("lock: expected a file, found a link"), "{text}");
        assert_eq!(fs::read_to_string(dir.path().join("theirs")).unwrap(), "content");
    }
}
