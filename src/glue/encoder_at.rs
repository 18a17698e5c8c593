//! A folder's tokenizer, loaded once.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::encode::{Encoder, has_tokenizer};
use crate::error::Result;

/// A folder with a tokenizer, which is loaded when somebody asks for it, and once: one of a quarter of a
/// million words takes a second.
#[derive(Debug)]
pub struct EncoderAt {
    path: PathBuf,
    encoder: OnceLock<Encoder>,
}

impl EncoderAt {
    /// The folder `path`; nothing is read yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), encoder: OnceLock::new() }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a tokenizer in it.
    #[must_use]
    pub fn has_one(&self) -> bool {
        has_tokenizer(&self.path)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As [`Encoder::from_dir`].
    pub fn encoder(&self) -> Result<&Encoder> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let encoder = Encoder::from_dir(&self.path)?;
        Ok(self.encoder.get_or_init(|| encoder))
    }
}
