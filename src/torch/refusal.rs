//! Errors of files that are damaged or lie.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::error::Error;

const DAMAGED: &str =
    "the file is damaged or no PyTorch checkpoint; copy it again or write it with torch.save";

/// A file that does not hold what it must.
pub(super) fn damaged(path: &Path, expected: impl Display, found: impl Display) -> Error {
    Error::content(path, None, expected, found).hint(DAMAGED)
}

/// A file that ends early is damaged; anything else is the operating system's refusal.
pub(super) fn read_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(path, "a whole file", "its end too early"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            damaged(path, "a whole file", error)
        }
        _ => Error::io(path, "read", error),
    }
}

/// A text of the file as it may stand in a message: short, and without control characters.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    shown
}
