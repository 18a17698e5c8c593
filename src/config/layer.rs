//! Settings as somebody wrote them.

use std::path::{Path, PathBuf};

use toml::Table;

use crate::error::{Error, Result};

/// Settings as somebody wrote them, and where.
#[derive(Debug, Clone)]
pub struct Layer {
    /// A file's path, or `command line`.
    pub origin: PathBuf,
    /// By their names.
    pub settings: Table,
}

impl Layer {
    /// Reads a recipe, or the `config.toml` of a run.
    ///
    /// # Errors
    /// The file cannot be read, or is not TOML.
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::parse(path, &std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?)
    }

    /// Reads what stands in the file `origin`.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(origin: &Path, text: &str) -> Result<Self> {
        let settings = text.parse::<Table>().map_err(|e| {
            let line =
                e.span().map(|s| 1 + text.get(..s.start).unwrap_or("").matches('\n').count());
            Error::content(origin, line, "TOML", e.message())
        })?;
        Ok(Self { origin: origin.to_path_buf(), settings })
    }

    /// What was given on the command line.
    pub fn command_line(settings: Table) -> Self {
        Self { origin: "command line".into(), settings }
    }
}
