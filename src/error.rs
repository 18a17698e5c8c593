//! The one error type: every variant names the place, what was expected and what was found.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, each printed as one line that ends in a remedy where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read or write a file.
    #[error("{}: cannot {action}: {source}{}", one_line(path.display()), hint_suffix(.hint))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
        /// A remedy.
        hint: Option<String>,
    },
    /// A file was read, but its content is not what it must be.
    #[error("{}{}: expected {expected}, found {found}{}", one_line(path.display()), line_suffix(.line), hint_suffix(.hint))]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What would have been right.
        expected: String,
        /// What stands there.
        found: String,
        /// A remedy.
        hint: Option<String>,
    },
    /// An option or a recipe's value cannot be used.
    #[error("{name}: expected {expected}, found {found}{}", hint_suffix(.hint))]
    Value {
        /// The option's or value's name.
        name: String,
        /// What would have been right.
        expected: String,
        /// What was given.
        found: String,
        /// A remedy.
        hint: Option<String>,
    },
    /// Whoever read standard output has seen enough, as `| head` has: no failure.
    #[error("standard output was closed")]
    Closed,
    /// The run itself failed: a missing device, a diverged loss, an inner thread that died.
    #[error("{message}{}", hint_suffix(.hint))]
    Run {
        /// What happened.
        message: String,
        /// A remedy.
        hint: Option<String>,
    },
}

impl Error {
    /// An operating-system error at `path` while trying to `action` it.
    pub fn io(path: impl AsRef<Path>, action: &'static str, source: io::Error) -> Self {
        let hint = remedy(action, source.kind()).map(Into::into);
        Self::Io { path: path.as_ref().to_path_buf(), action, source, hint }
    }

    /// A file's content is wrong; `line` counts from 1.
    pub fn content(
        path: impl AsRef<Path>,
        line: impl Into<Option<usize>>,
        expected: impl Display,
        found: impl Display,
    ) -> Self {
        Self::Content {
            path: path.as_ref().to_path_buf(),
            line: line.into(),
            expected: shortened(expected, LONGEST_EXPECTED),
            found: shortened(found, LONGEST_FOUND),
            hint: None,
        }
    }

    /// An option or recipe value is wrong.
    pub fn value(name: impl Display, expected: impl Display, found: impl Display) -> Self {
        Self::Value {
            name: shortened(name, LONGEST_FOUND),
            expected: shortened(expected, LONGEST_EXPECTED),
            found: shortened(found, LONGEST_FOUND),
            hint: None,
        }
    }

    /// The run failed.
    pub fn run(message: impl Display) -> Self {
        Self::Run { message: one_line(message), hint: None }
    }

    /// Adds a remedy, printed after the error as `(hint: ...)`.
    #[must_use]
    pub fn hint(mut self, remedy: impl Display) -> Self {
        match &mut self {
            Self::Io { hint, .. }
            | Self::Content { hint, .. }
            | Self::Value { hint, .. }
            | Self::Run { hint, .. } => *hint = Some(one_line(remedy)),
            Self::Closed => {}
        }
        self
    }
}

/// What helps where a file cannot be written.
fn remedy(action: &str, kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        _ if !matches!(action, "write" | "create") => None,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space, or choose another folder")
        }
        io::ErrorKind::FileTooLarge => {
            Some("files may grow no further than the limit that `ulimit -f` shows; raise it")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("check the permissions of the folder")
        }
        _ => None,
    }
}

/// The longest text that an error repeats of what was found, in characters.
const LONGEST_FOUND: usize = 200;
/// The same of what was expected, which may name something found elsewhere.
const LONGEST_EXPECTED: usize = 500;

/// What was found may be anything: it becomes one line that no terminal obeys, of a length that can
/// be read.
fn shortened(value: impl Display, longest: usize) -> String {
    let line = one_line(value);
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// A text of whatever origin as one line that no terminal obeys.
pub fn one_line(value: impl Display) -> String {
    let text = value.to_string();
    let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn line_suffix(line: &Option<usize>) -> String {
    line.map_or(String::new(), |n| format!(":{n}"))
}

fn hint_suffix(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |h| format!(" (hint: {h})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_shortened_and_moves_no_cursor() {
        let found = format!("\u{1b}[2Ja\nb{}", "x".repeat(1_000_000));
        let text = Error::content("a.tsv", None, "4 fields", found).to_string();
        assert!(text.starts_with("a.tsv: expected 4 fields, found ?[2Ja bxxx"), "{text}");
        assert!(text.ends_with("xxx...") && text.len() < 300, "{}", text.len());
    }

    #[test]
    fn what_was_expected_is_shortened_too() {
        let expected = format!("tensor {} of type F32", "x".repeat(1_000_000));
        let length = Error::content("a", None, expected, "I8").to_string().len();
        assert!(length < 1000, "{length}");
    }

    #[test]
    fn neither_paths_nor_remedies_break_the_line() {
        let path = Path::new("a\n\u{1b}[2Jb");
        let missing = io::Error::from(io::ErrorKind::NotFound);
        for error in [Error::content(path, 1, "x", "y"), Error::io(path, "read", missing)] {
            let text = error.hint(format!("remove {}", path.display())).to_string();
            assert!(text.starts_with("a ?[2Jb:") && text.ends_with("remove a ?[2Jb)"), "{text}");
        }
    }

    #[test]
    fn a_write_that_fails_names_what_was_in_its_way() {
        let failed = |action, number| {
            Error::io("a", action, io::Error::from_raw_os_error(number)).to_string()
        };
        for (number, remedy) in [
            (libc::ENOSPC, "free some space"),
            (libc::EDQUOT, "free some space"),
            (libc::EFBIG, "`ulimit -f`"),
            (libc::EACCES, "permissions"),
            (libc::EROFS, "permissions"),
        ] {
            let text = failed("write", number);
            assert!(text.contains("(hint: ") && text.contains(remedy), "{text}");
        }
        assert!(!failed("read", libc::EACCES).contains("hint"));
        assert!(!failed("write", libc::EIO).contains("hint"));
    }

    #[test]
    fn a_content_error_is_one_line_with_place_expectation_and_remedy() {
        let error = Error::content("a.tsv", 3, "4 fields", "2 fields").hint("download it again");
        assert_eq!(
            error.to_string(),
            "a.tsv:3: expected 4 fields, found 2 fields (hint: download it again)"
        );
    }
}
