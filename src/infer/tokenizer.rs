//! Where a model's tokenizer lies.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::bert::Checkpoint;
use crate::bert::checkpoint::CONFIG;
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::glue::encoder_at::EncoderAt;

/// The folder with a model's tokenizer, for as long as it is needed.
#[derive(Debug)]
pub struct TokenizerFolder {
    at: EncoderAt,
    /// What the folder stands for, where it was made.
    unpacked: Option<Unpacked>,
}

#[derive(Debug)]
struct Unpacked {
    /// The sparse file that holds the tokenizer's files.
    file: PathBuf,
    /// Removes them.
    _around: TempDir,
}

impl TokenizerFolder {
    /// The folder `named`, or else the one that belongs to `checkpoint`: a sparse file's tokenizer is
    /// unpacked into one of the file's name.
    ///
    /// # Errors
    /// It cannot be unpacked.
    pub fn of(named: Option<&Path>, checkpoint: &Checkpoint) -> Result<Self> {
        let Some(named) = named else { return Self::own(checkpoint) };
        Ok(Self { at: EncoderAt::new(named), unpacked: None })
    }

    fn own(checkpoint: &Checkpoint) -> Result<Self> {
        let file = checkpoint.path();
        if checkpoint.texts.is_empty() {
            return Ok(Self { at: EncoderAt::new(checkpoint.folder()), unpacked: None });
        }
        let failed = |e| Error::io(std::env::temp_dir(), "write", e);
        let around = TempDir::with_prefix("platon-").map_err(failed)?;
        let path = around.path().join(file.file_stem().unwrap_or_default());
        std::fs::create_dir_all(&path).map_err(failed)?;
        for (name, text) in &checkpoint.texts {
            std::fs::write(path.join(name), text).map_err(failed)?;
        }
        // It tells whose tokenizer this is, where the tokenizer's own files do not.
        let config = checkpoint.json.to_string();
        std::fs::write(path.join(CONFIG), config).map_err(failed)?;
        let unpacked = Unpacked { file: file.to_path_buf(), _around: around };
        Ok(Self { at: EncoderAt::new(&path), unpacked: Some(unpacked) })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.at.path()
    }

    /// The folder, for those who prepare data with its tokenizer.
    #[must_use]
    pub fn at(&self) -> &EncoderAt {
        &self.at
    }

    /// Whether there is a tokenizer in it.
    #[must_use]
    pub fn has_one(&self) -> bool {
        self.at.has_one()
    }

    /// Whether its tokenizer is `encoder`.
    ///
    /// # Errors
    /// As [`encoder`](Self::encoder).
    pub fn holds(&self, encoder: &Encoder) -> Result<bool> {
        Ok(self.encoder()?.fingerprint() == encoder.fingerprint())
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As [`Encoder::from_dir`]; they name the sparse file where it is from one.
    pub fn encoder(&self) -> Result<&Encoder> {
        self.at.encoder().map_err(|mut error| {
            if let (Error::Io { path, .. } | Error::Content { path, .. }, Some(unpacked)) =
                (&mut error, &self.unpacked)
                && let Ok(inside) = path.strip_prefix(self.path())
            {
                *path = unpacked.file.join(inside);
            }
            error
        })
    }
}
