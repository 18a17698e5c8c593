//! Reading files: text checked as UTF-8, and hashes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files::{check_pointer, most_bytes, not_utf8, open, read_at_most, text};

/// What programs for Windows put at the start of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The longest line of a data file, in bytes: a thousand times what BERT can take in.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// The largest data file, in bytes: four times the largest file of one's own, for encoded samples take
/// up to three times the room of their texts.
const MAX_DATA_BYTES: u64 = 16 << 30;

/// The error of a line that is too long.
pub(super) fn line_too_long(path: &Path, line: usize) -> Error {
    let expected = format!("a line of at most {MAX_LINE_BYTES} bytes");
    Error::content(path, line, expected, "more")
        .hint("texts so long are cut off in any case: shorten this one")
}

/// Line `line` of the file `path`, which has these bytes.
///
/// # Errors
/// They are not UTF-8.
pub(super) fn line_of(path: &Path, line: usize, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| not_utf8(path, line, e.as_bytes(), e.utf8_error()))
}

/// Reads a UTF-8 file without its byte-order mark.
///
/// # Errors
/// The file cannot be read, has more bytes than a file of its name may, or is not UTF-8: the error
/// then names the line of the first bad byte.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    text_at_most(path, most_bytes(path))
}

/// The same of a file of at most `most` bytes.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn text_at_most(path: &Path, most: u64) -> Result<String> {
    let bytes = read_at_most(path, most)?;
    check_pointer(path, &bytes)?;
    let mut text = text(path, bytes)?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// Opens a data file for reading.
///
/// # Errors
/// It cannot be read, or is longer than any data set.
pub fn open_data(path: &Path) -> Result<File> {
    let file = open(path)?;
    let bytes = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
    if bytes > MAX_DATA_BYTES {
        let expected = format!("at most {MAX_DATA_BYTES} bytes");
        return Err(Error::content(path, None, expected, bytes));
    }
    Ok(file)
}

/// The lines of a data file, one in memory at a time. Only LF ends a line: texts may hold other
/// separators. Line ends at the end of the file make no empty lines.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: String,
    /// The number of the last line read, from 1.
    read: usize,
    /// Empty lines that have been read and are none if nothing follows them.
    empty: usize,
    /// Whether `line` is still to be given out.
    waits: bool,
}

impl Lines {
    /// Opens a UTF-8 file, whose byte-order mark is left out.
    ///
    /// # Errors
    /// As [`open_data`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = open_data(path)?;
        let (path, reader) = (path.to_path_buf(), BufReader::with_capacity(1 << 16, file));
        Ok(Self { path, reader, line: String::new(), read: 0, empty: 0, waits: false })
    }

    /// The next line and its number, from 1.
    ///
    /// # Errors
    /// The file cannot be read, or the line is no UTF-8 or longer than [`MAX_LINE_BYTES`], of which
    /// no more is read.
    pub(crate) fn next(&mut self) -> Result<Option<(usize, &str)>> {
        while !self.waits && self.fill()? {
            self.waits = !self.line.trim_end_matches('\r').is_empty();
            self.empty += usize::from(!self.waits);
        }
        if !self.waits {
            return Ok(None);
        }
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(Some((self.read - 1 - self.empty, "")));
        }
        self.waits = false;
        Ok(Some((self.read, &self.line)))
    }

    /// Reads a line without its end; false at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        let Self { path, reader, line, read, .. } = self;
        let mut bytes = std::mem::take(line).into_bytes();
        bytes.clear();
        let mut bounded = reader.take(MAX_LINE_BYTES as u64 + 2);
        bounded.read_until(b'\n', &mut bytes).map_err(|e| Error::io(&*path, "read", e))?;
        if bytes.is_empty() {
            return Ok(false);
        }
        *read += 1;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.len() > MAX_LINE_BYTES {
            return Err(line_too_long(path, *read));
        }
        *line = line_of(path, *read, bytes)?;
        if *read == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        Ok(true)
    }
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lines(content: &[u8]) -> Result<Vec<(usize, String)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tsv");
        fs::write(&path, content).unwrap();
        let (mut lines, mut all) = (Lines::open(&path)?, Vec::new());
        while let Some((number, line)) = lines.next()? {
            all.push((number, line.to_owned()));
        }
        Ok(all)
    }

    #[test]
    fn lines_come_with_their_numbers_and_none_after_the_last() {
        let all = |text: &str| -> Vec<String> {
            let lines = lines(text.as_bytes()).unwrap();
            lines.into_iter().map(|(number, line)| format!("{number}{line}")).collect()
        };
        assert_eq!(all("\u{feff}a\nb\r\n"), ["1a", "2b\r"]);
        assert_eq!(all("\n\r\na\u{2028}b\n\nc\n\n\r\n"), ["1", "2", "3a\u{2028}b", "4", "5c"]);
        assert_eq!(all("a\n\u{feff}b"), ["1a", "2\u{feff}b"]);
        for empty in ["", "\n", "\r\n\n", "\u{feff}\n"] {
            assert!(all(empty).is_empty(), "{empty:?}");
        }
    }

    #[test]
    fn a_line_is_refused_by_its_length_before_it_is_in_memory() {
        let longest = [b"a\n", vec![b'x'; MAX_LINE_BYTES].as_slice(), b"\nb"].concat();
        assert_eq!(lines(&longest).unwrap().len(), 3);
        let expected = "a.tsv:2: expected a line of at most 1048576 bytes, found more";
        let text = lines(&longest.repeat(2)[..]).map(|lines| lines.len());
        assert_eq!(text.unwrap(), 5, "b and a are one line");
        let longer = [b"a\n", vec![b'x'; MAX_LINE_BYTES + 1].as_slice(), b"\nb"].concat();
        assert!(lines(&longer).unwrap_err().to_string().contains(expected));

        // A line of 3 GB, which takes no room on the disk: the rest of it is never read.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tsv");
        fs::write(&path, "a\n").unwrap();
        File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
        let mut all = Lines::open(&path).unwrap();
        assert_eq!(all.next().unwrap(), Some((1, "a")));
        assert!(all.next().unwrap_err().to_string().contains(expected));
        File::options().write(true).open(&path).unwrap().set_len(17 << 30).unwrap();
        let text = Lines::open(&path).err().unwrap().to_string();
        assert!(
            text.contains("a.tsv: expected at most 17179869184 bytes, found 18253611008"),
            "{text}"
        );
    }

    #[test]
    fn a_bad_byte_of_a_line_is_named_with_it() {
        let text = lines(b"one\n\ntwo \xff\n").unwrap_err().to_string();
        assert!(text.contains("a.tsv:3: expected UTF-8 text, found the byte 0xff"), "{text}");
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tsv");
        fs::write(&path, "\u{feff}Quality\u{feff}\n").unwrap();
        assert_eq!(read_text(&path).unwrap(), "Quality\u{feff}\n");
    }

    #[test]
    fn a_bad_byte_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tsv");
        fs::write(&path, b"one\ntwo \xff\n").unwrap();
        let message = read_text(&path).unwrap_err().to_string();
        assert!(message.contains("a.tsv:2: expected UTF-8 text, found the byte 0xff"), "{message}");
    }

    #[test]
    fn the_hash_of_a_file_is_that_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(crate::files::sha256_file(&path).unwrap(), expected);
        assert_eq!(sha256_hex(b"abc"), expected);
    }
}
