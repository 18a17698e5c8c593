//! JSON lines: an object per line.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::bytes::{Lines, text};
use super::table::{Record, Value};
use crate::error::{Error, Result};

/// The objects of such a file.
pub(super) struct JsonLines {
    lines: Lines,
    line: Vec<u8>,
    /// The first object, until it is handed out.
    first: Option<(usize, Map<String, Json>)>,
    header: Vec<String>,
    wanted: Vec<String>,
    /// Whether a field that a later object lacks is as good as null.
    may_lack: bool,
}

impl JsonLines {
    /// The objects of `lines`; the first one names the fields.
    ///
    /// # Errors
    /// There is none, or the first line holds none.
    pub(super) fn new(lines: Lines) -> Result<Self> {
        let (header, wanted) = (Vec::new(), Vec::new());
        let line = Vec::new();
        let mut rows = Self { lines, line, first: None, header, wanted, may_lack: false };
        let Some(first) = rows.object()? else {
            return Err(Error::content(rows.lines.path(), None, "a JSON object per line", "none"));
        };
        rows.header = first.1.keys().cloned().collect();
        rows.first = Some(first);
        Ok(rows)
    }

    /// The names of the first object's fields.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Chooses the fields to read, by their places in the first object.
    pub(super) fn choose(&mut self, wanted: Vec<usize>) {
        let names = wanted.into_iter().filter_map(|place| self.header.get(place).cloned());
        self.wanted = names.collect();
    }

    /// Takes a field that a later object lacks for null.
    pub(super) fn may_lack(&mut self) {
        self.may_lack = true;
    }

    /// Bytes of the file that have been read.
    pub(super) fn taken(&self) -> u64 {
        self.lines.taken()
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The line cannot be read or holds no object, or the object lacks a field.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Record>> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.object()?,
        };
        let Some((line, mut object)) = next else { return Ok(None) };
        let known = |object: &Map<String, Json>| {
            object.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        let mut values = Vec::with_capacity(self.wanted.len());
        for name in &self.wanted {
            let Some(value) = object.get_mut(name) else {
                if self.may_lack {
                    values.push(Value::Nothing);
                    continue;
                }
                let expected = format!("a field called {name}, as the first line has");
                return Err(Error::content(path, line, expected, known(&object))
                    .hint("every line must have it; null stands for nothing"));
            };
            values.push(match value.take() {
                Json::Null => Value::Nothing,
                Json::Bool(value) => Value::Bool(value),
                Json::Number(number) => match number.as_i64() {
                    Some(whole) => Value::Whole(whole),
                    // One with a fraction would not have all of its digits.
                    None if number.is_u64() => Value::Text(number.to_string()),
                    None => number.as_f64().map_or(Value::Other("a number"), Value::Number),
                },
                Json::String(text) => Value::Text(text),
                Json::Array(_) => Value::Other("a list"),
                Json::Object(_) => Value::Other("an object"),
            });
        }
        Ok(Some(Record { line, values }))
    }

    /// The next object and its line.
    fn object(&mut self) -> Result<Option<(usize, Map<String, Json>)>> {
        loop {
            if !self.lines.next(&mut self.line)? {
                return Ok(None);
            }
            let (path, number) = (self.lines.path(), self.lines.number);
            let line = text(path, number, &self.line)?.trim();
            if line.is_empty() {
                continue;
            }
            let object = serde_json::from_str(line).map_err(|e| {
                let reason = e.to_string();
                let reason = reason.split(" at line ").next().unwrap_or(&reason);
                let error = Error::content(
                    path,
                    number,
                    "a JSON object on each line",
                    format!("{reason} at column {}", e.column()),
                );
                match line.starts_with('[') && number == 1 {
                    true => error.hint("one list of objects becomes lines by `jq -c '.[]'`"),
                    false => {
                        error.hint("an object must be on one line, and one line holds one object")
                    }
                }
            })?;
            return Ok(Some((number, object)));
        }
    }
}
