//! Files whose content comes bit by bit, and which are there once all of it has come.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use super::{make_parent, write_with};
use crate::error::{Error, Result};

/// A file that is to appear whole or not at all. Until its end is known, its content waits on the same
/// disk in a file without a name, which is gone when the program is, however it ends.
#[derive(Debug)]
pub struct WaitingFile {
    path: PathBuf,
    content: BufWriter<File>,
}

impl WaitingFile {
    /// Nothing yet of the file `path`. Missing parent folders are made.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn new(path: &Path) -> Result<Self> {
        let content = tempfile::tempfile_in(make_parent(path)?);
        let content = BufWriter::new(content.map_err(|e| Error::io(path, "write", e))?);
        Ok(Self { path: path.to_path_buf(), content })
    }

    /// Where it is to appear.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds to it.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.content.write_all(bytes).map_err(|e| Error::io(&self.path, "write", e))
    }

    /// Writes the file itself: `head`, and what has been added.
    ///
    /// # Errors
    /// As [`write_with`].
    pub fn finish(mut self, head: &[u8]) -> Result<()> {
        let rewound = self.content.flush().and_then(|()| self.content.get_mut().rewind());
        rewound.map_err(|e| Error::io(&self.path, "write", e))?;
        write_with(&self.path, |file| {
            file.write_all(head)?;
            io::copy(self.content.get_mut(), file).map(drop)
        })
    }
}
