//! Quotation marks around the fields of CSV and TSV, as RFC 4180 has them.

use std::path::Path;

use crate::error::{Error, Result};
use crate::glue::read::MAX_LINE_BYTES;

/// Follows the marks of a file, line by line.
#[derive(Debug)]
pub(super) struct Quoting {
    separator: u8,
    at: At,
}

/// Where in a field a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At its beginning.
    Start,
    /// In one without quotation marks around it.
    Plain,
    /// Between such marks.
    Quoted,
    /// After a mark, which closes the field or is doubled.
    Mark,
    /// After the spaces that follow a closing mark.
    Closed,
}

impl At {
    /// Where the next byte is, after `byte`; `None` where a field goes on after its closing mark.
    fn after(self, byte: u8, separator: u8) -> Option<Self> {
        let ends = byte == separator || matches!(byte, b'\r' | b'\n');
        match (self, byte) {
            (Self::Start, b'"') | (Self::Mark, b'"') => Some(Self::Quoted),
            (Self::Quoted, b'"') => Some(Self::Mark),
            (Self::Quoted, _) => Some(Self::Quoted),
            _ if ends => Some(Self::Start),
            (Self::Mark | Self::Closed, b' ') => Some(Self::Closed),
            (Self::Mark | Self::Closed, _) => None,
            (Self::Start | Self::Plain, _) => Some(Self::Plain),
        }
    }
}

impl Quoting {
    /// At the beginning of a file whose fields have `separator` between them.
    pub(super) fn new(separator: u8) -> Self {
        Self { separator, at: At::Start }
    }

    /// Follows `line`, the line `number` of the file `path`, which has its end.
    ///
    /// # Errors
    /// A field goes on after its closing quotation mark: most likely one of the text's own, which would
    /// make one row of several.
    pub(super) fn follow(&mut self, line: &[u8], path: &Path, number: usize) -> Result<()> {
        for (place, byte) in line.iter().enumerate() {
            let Some(next) = self.at.after(*byte, self.separator) else {
                let rest = line.get(place..).unwrap_or_default();
                let rest = String::from_utf8_lossy(rest);
                let found = rest.chars().take(20).collect::<String>();
                let expected = "the end of the field after its closing quotation mark";
                let found = format!("{:?}", found.trim_end());
                return Err(Error::content(path, number, expected, found).hint(
                    "a field with quotation marks of its own is quoted, and they are doubled",
                ));
            };
            self.at = next;
        }
        Ok(())
    }
}

/// The error of a file that ends within the row that begins in `line`.
pub(super) fn unclosed(path: &Path, line: usize) -> Error {
    Error::content(path, line, "a closing quotation mark", "the end of the file")
        .hint("close it, or double it where it is part of the text and the field is quoted")
}

/// The error of a line, or of a row that begins there, that is too long.
pub(super) fn too_long(path: &Path, line: usize) -> Error {
    let expected = format!("a row of at most {MAX_LINE_BYTES} bytes");
    Error::content(path, line, expected, "more")
        .hint("a quotation mark that is never closed makes one row of many; shorten texts so long")
}
