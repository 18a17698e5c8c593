//! Reading files: text checked as UTF-8, and hashes.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::files::check_pointer;

/// What programs for Windows put at the start of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a UTF-8 file without its byte-order mark.
///
/// # Errors
/// The file cannot be read, or is not UTF-8: the error then names the line of the first bad byte.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    check_pointer(path, &bytes)?;
    let mut text = String::from_utf8(bytes).map_err(|e| {
        let start = e.utf8_error().valid_up_to();
        let before = e.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let found = match e.as_bytes().get(start) {
            Some(byte) => format!("the byte 0x{byte:02x}"),
            None => "a cut-off character".to_owned(),
        };
        Error::content(path, line, "UTF-8 text", found).hint("save the file as UTF-8")
    })?;
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    Ok(text)
}

/// The SHA-256 of `bytes` in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

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
