//! Settings as somebody wrote them.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::settings::SETTINGS;
use crate::error::{Error, Result, one_line};
use crate::files;
use crate::kernels::Precision;

/// The original's name for half precision.
const FP16: &str = "fp16";
const COMMAND_LINE: &str = "command line";
/// A thousand times what all settings take.
const MAX_BYTES: u64 = 1 << 20;

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
    /// The file cannot be read, is longer than 1 MiB, or is not TOML.
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::parse(path, &text_of(path)?)
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

    /// The settings by the names that they have here: `fp16`, which the original has and runs of
    /// older versions were saved with, is `precision` `f16`, or `f32` where it is false.
    ///
    /// # Errors
    /// `fp16` is neither true nor false, or stands beside `precision`.
    pub fn renamed(&self) -> Result<Table> {
        let mut settings = self.settings.clone();
        let Some(value) = settings.remove(FP16) else { return Ok(settings) };
        let Some(is_half) = value.as_bool() else {
            return Err(Error::content(&self.origin, None, "a valid fp16: true or false", value));
        };
        let precision = if is_half { Precision::Half } else { Precision::Single };
        let name = Value::from(precision.name());
        if let Some(other) = settings.insert("precision".into(), name) {
            let found = format!("fp16 = {is_half}, precision = {other}");
            return Err(Error::content(&self.origin, None, "precision or fp16, not both", found)
                .hint("fp16 is the original's name for precision = \"f16\""));
        }
        Ok(settings)
    }

    /// The same without the settings of the group `heading`.
    #[must_use]
    pub fn without(mut self, heading: &str) -> Self {
        for setting in SETTINGS.iter().filter(|setting| setting.group == heading) {
            self.settings.remove(setting.name);
        }
        self
    }

    /// What was given on the command line.
    pub fn command_line(settings: Table) -> Self {
        Self { origin: COMMAND_LINE.into(), settings }
    }

    /// The file in which the setting `name` stands, and its line, where that can be found; `None` of the
    /// command line.
    pub(super) fn place(&self, name: &str) -> Option<String> {
        if self.is_command_line() {
            return None;
        }
        let is_of_it = |line: &str| {
            let rest = line.trim_start().strip_prefix(name);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let line = text_of(&self.origin).ok().and_then(|text| text.lines().position(is_of_it));
        let line = line.map_or(String::new(), |line| format!(":{}", line + 1));
        Some(format!("{}{line}", one_line(self.origin.display())))
    }

    /// Whether it was given on the command line.
    pub fn is_command_line(&self) -> bool {
        self.origin.as_os_str() == COMMAND_LINE
    }
}

/// The text of a recipe or a `config.toml`.
///
/// # Errors
/// The file cannot be read, is longer than 1 MiB, or is not UTF-8.
pub(super) fn text_of(path: &Path) -> Result<String> {
    files::text(path, files::read_at_most(path, MAX_BYTES)?)
}
