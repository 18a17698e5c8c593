//! A file under way: `NAME.part` with what has come, `NAME.part.json` with where it came from.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{open_own, read_at_most, remove_if_there, sha256_file, write_json};

/// Addresses and tags are shorter.
const MAX_NOTE_BYTES: u64 = 1 << 16;

/// What the bytes that have come are a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    pub url: String,
    /// The server's tag of this version of the file.
    pub etag: Option<String>,
    /// The hash that the server publishes for it.
    #[serde(default)]
    pub sha256: Option<String>,
    /// The size of the whole file.
    pub total: Option<u64>,
}

/// An open partial file.
pub(super) struct Partial {
    target: PathBuf,
    path: PathBuf,
    note_path: PathBuf,
    file: File,
    /// None as long as nothing has come.
    note: Option<Note>,
    done: u64,
}

impl Partial {
    /// Opens what an earlier run left of `target`, if it came from `url`, or an empty file.
    pub(super) fn open(target: &Path, url: &str) -> Result<Self> {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        }
        let (path, note_path) = (beside(target, ".part"), beside(target, ".part.json"));
        let mut options = OpenOptions::new();
        let file = open_own(&path, options.read(true).write(true).create(true).truncate(false))
            .map_err(|e| match e {
                Error::Io { .. } => e.hint("check the folder's permissions"),
                e => e,
            })?;
        // Some network file systems have no locks: that is no reason not to go on.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            let message = format!("{}: another process is downloading this file", path.display());
            return Err(Error::run(message).hint("wait until it has ended, then run again"));
        }
        // Between the opening and the lock the other process may have given it its final name.
        if !path.exists() {
            let message = format!("{}: another process has just finished", target.display());
            return Err(Error::run(message).hint("run again"));
        }
        let done = file.metadata().map_err(|e| Error::io(&path, "read", e))?.len();
        // Without a readable note nobody knows what the bytes are part of.
        let note = read_at_most(&note_path, MAX_NOTE_BYTES).ok();
        let note = note.and_then(|text| serde_json::from_slice(&text).ok());
        let note = note.filter(|note: &Note| {
            note.url == url && done > 0 && note.total.is_none_or(|total| done <= total)
        });
        let target = target.to_path_buf();
        let mut partial = Self { target, path, note_path, file, note, done };
        if partial.note.is_none() {
            partial.restart()?;
        }
        partial.file.seek(SeekFrom::End(0)).map_err(|e| Error::io(&partial.path, "read", e))?;
        Ok(partial)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes have come.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// The tag of the file that they are part of.
    pub(super) fn etag(&self) -> Option<&str> {
        self.note.as_ref()?.etag.as_deref()
    }

    /// Whether it will be seen if the rest is that of another version: by the tag, or by the hash.
    pub(super) fn is_vouched_for(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.etag.is_some() || note.sha256.is_some())
    }

    /// The size of the whole file.
    pub(super) fn total(&self) -> Option<u64> {
        self.note.as_ref()?.total
    }

    /// Throws away what has come.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.note = None;
        self.done = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|e| Error::io(&self.path, "write", e))?;
        remove_if_there(&self.note_path)
    }

    /// Begins anew with the file that `note` describes.
    pub(super) fn begin(&mut self, note: Note) -> Result<()> {
        self.restart()?;
        write_json(&self.note_path, &note)?;
        self.note = Some(note);
        Ok(())
    }

    /// Adds what has come.
    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.file.write_all(chunk).map_err(|e| self.write_failed(e))?;
        self.done += chunk.len() as u64;
        Ok(())
    }

    fn write_failed(&self, error: io::Error) -> Error {
        let full =
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let remedy = match self.total() {
            Some(total) if full => {
                let more = total.saturating_sub(self.done);
                format!("free {more} bytes more and run again to go on")
            }
            _ if full => "free some space and run again to go on".to_owned(),
            _ => "check the disk and the folder's permissions, then run again to go on".to_owned(),
        };
        Error::io(&self.path, "write", error).hint(remedy)
    }

    /// Puts everything on the disk and gives the hash of it.
    pub(super) fn sha256(&self) -> Result<String> {
        self.file.sync_all().map_err(|e| self.write_failed(e))?;
        sha256_file(&self.path)
    }

    /// Gives the finished file its name.
    pub(super) fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|e| self.write_failed(e))?;
        fs::rename(&self.path, &self.target).map_err(|e| Error::io(&self.target, "write", e))?;
        remove_if_there(&self.note_path)
    }

    /// Removes what has come.
    pub(super) fn discard(self) -> Result<()> {
        remove_if_there(&self.note_path)?;
        remove_if_there(&self.path)
    }
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(suffix);
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://m/a.bin";

    fn note(total: u64) -> Note {
        let etag = Some("\"1\"".to_owned());
        Note { url: URL.to_owned(), etag, sha256: None, total: Some(total) }
    }

    #[test]
    fn what_an_earlier_run_left_is_taken_up_only_with_its_note() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/a.bin");
        let mut partial = Partial::open(&target, URL).unwrap();
        partial.begin(note(9)).unwrap();
        partial.write(b"12345").unwrap();
        drop(partial);

        let mut partial = Partial::open(&target, URL).unwrap();
        assert_eq!((partial.done(), partial.etag(), partial.total()), (5, Some("\"1\""), Some(9)));
        partial.write(b"6789").unwrap();
        drop(partial);
        assert_eq!(fs::read(beside(&target, ".part")).unwrap(), b"123456789");

        let partial = Partial::open(&target, "http://other/a.bin").unwrap();
        assert_eq!(
            (partial.done(), partial.total()),
            (0, None),
            "another address: nothing is kept"
        );
        drop(partial);
        fs::write(beside(&target, ".part"), b"12345").unwrap();
        fs::write(beside(&target, ".part.json"), b"{").unwrap();
        assert_eq!(Partial::open(&target, URL).unwrap().done(), 0, "a broken note");
    }

    #[test]
    fn more_bytes_than_there_can_be_are_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.bin");
        let mut partial = Partial::open(&target, URL).unwrap();
        partial.begin(note(3)).unwrap();
        partial.write(b"12345").unwrap();
        drop(partial);
        assert_eq!(Partial::open(&target, URL).unwrap().done(), 0);
    }

    #[test]
    fn two_processes_do_not_write_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.bin");
        let first = Partial::open(&target, URL).unwrap();
        let message = Partial::open(&target, URL).err().unwrap().to_string();
        assert!(message.contains("another process is downloading this file"), "{message}");
        first.discard().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_full_disk_is_named_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut partial = Partial::open(&dir.path().join("a.bin"), URL).unwrap();
        partial.begin(note(900)).unwrap();
        partial.write(b"12345").unwrap();
        let message = partial.write_failed(io::Error::from_raw_os_error(libc::ENOSPC)).to_string();
        assert!(message.contains("a.bin.part: cannot write: No space left"), "{message}");
        assert!(message.ends_with("(hint: free 895 bytes more and run again to go on)"));
    }
}
