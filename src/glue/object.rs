//! A JSON file beside a vocabulary: one object, whose entries are optional.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::glue::read::read_text;

/// The entries of a JSON object and the file that they stand in.
#[derive(Debug)]
pub(super) struct Object {
    pub path: PathBuf,
    pub entries: Map<String, Value>,
}

impl Object {
    /// The object in the file `path`; an empty one where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or holds no object.
    pub fn read(path: &Path) -> Result<Self> {
        let path = path.to_path_buf();
        if !path.is_file() {
            return Ok(Self { path, entries: Map::new() });
        }
        let json = serde_json::from_str(&read_text(&path)?)
            .map_err(|e| Error::content(&path, e.line(), "JSON", e))?;
        match json {
            Value::Object(entries) => Ok(Self { path, entries }),
            other => Err(Error::content(path, None, "a JSON object", other)),
        }
    }

    /// The entry `name`, unless it is missing or null.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.get(name).filter(|value| !value.is_null())
    }

    /// The entry `name`, which is true or false; `default` where it is missing.
    ///
    /// # Errors
    /// It is neither.
    pub fn flag(&self, name: &str, default: Option<bool>) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(format!("true or false for {name}"), other)),
        }
    }

    /// An error about an entry of this file.
    pub fn wrong(&self, expected: impl Display, found: impl Display) -> Error {
        Error::content(&self.path, None, expected, found)
    }
}
