//! Files that appear whole or not at all, and files that are read whole within limits.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The most bytes of a file that is read as a whole, by how its name ends. Each is far more than any
/// BERT has, and little enough for the memory of any machine that runs one.
const MOST_BYTES: [(&str, u64); 7] = [
    ("vocab.txt", 64 << 20),
    ("tokenizer.json", 128 << 20),
    ("config.json", 16 << 20),
    ("added_tokens.json", 16 << 20),
    ("special_tokens_map.json", 16 << 20),
    (".yaml", 16 << 20),
    (".yml", 16 << 20),
];
/// The same of every other file, weights and data sets among them.
const MOST_BYTES_ELSE: u64 = 16 << 30;

/// The most bytes that the file `path` may have, by its name.
#[must_use]
pub fn most_bytes(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kind = MOST_BYTES.iter().find(|(end, _)| name.ends_with(end));
    kind.map_or(MOST_BYTES_ELSE, |(_, most)| *most)
}

/// The bytes of a file.
///
/// # Errors
/// It cannot be read, or has more bytes than [`most_bytes`]: no more are read then.
pub fn read_whole(path: &Path) -> Result<Vec<u8>> {
    read_up_to(path, most_bytes(path))
}

/// The text of a UTF-8 file.
///
/// # Errors
/// As [`read_whole`], or it is not UTF-8: the error then names the line of the first bad byte.
pub fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read_whole(path)?).map_err(|e| {
        let start = e.utf8_error().valid_up_to();
        let before = e.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let found = match e.as_bytes().get(start) {
            Some(byte) => format!("the byte 0x{byte:02x}"),
            None => "a cut-off character".to_owned(),
        };
        Error::content(path, line, "UTF-8 text", found).hint("download the file again")
    })
}

fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |e| Error::io(path, "read", e);
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    check_size(path, size, most)?;
    let mut bytes = Vec::new();
    let room = bytes.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX));
    room.map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    // It may grow meanwhile, or be of a kind that has no size.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    check_size(path, bytes.len() as u64, most)?;
    Ok(bytes)
}

/// Checks the size of what is, or would be, the file `path`.
///
/// # Errors
/// It has more than `most` bytes.
pub fn check_size(path: &Path, bytes: u64, most: u64) -> Result<()> {
    if bytes <= most {
        return Ok(());
    }
    Err(Error::content(path, None, format!("at most {most} bytes"), format!("{bytes} or more"))
        .hint("no BERT has such a file; use the one that its authors publish"))
}

/// Writes `content` to `path` through a temporary file beside it, synced and renamed, so that a
/// crash leaves either the old file or the new one. Missing parent folders are made.
///
/// # Errors
/// The folder cannot be made or written to, or the disk is full.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", e))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        Error::io(path, "write", e).hint("check the free space and the permissions of the folder")
    })
}

/// Writes `value` as indented JSON, whole or not at all.
///
/// # Errors
/// It has no form in JSON, or as [`write_whole`].
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|e| Error::run(format!("{}: cannot be written as JSON: {e}", path.display())))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// The SHA-256 of a file in hexadecimal.
///
/// # Errors
/// The file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hash))
        .map_err(|e| Error::io(path, "read", e))?;
    Ok(format!("{:x}", hash.finalize()))
}

/// Removes a file, if it is there.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "remove", e)),
        _ => Ok(()),
    }
}

/// Whether `name`, taken as a path, stays in the folder that it is joined to: one part, no `..`.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_file_has_its_own_limit() {
        for (name, most) in [
            ("a/config.json", 16 << 20),
            ("a/tokenizer_config.json", 16 << 20),
            ("a/special_tokens_map.json", 16 << 20),
            ("a/added_tokens.json", 16 << 20),
            ("a/vocab.txt", 64 << 20),
            ("a/tokenizer.json", 128 << 20),
            ("a/tasks.yaml", 16 << 20),
            ("a/model.safetensors", 16 << 30),
            ("a/mnli_train.json", 16_u64 << 30),
        ] {
            assert_eq!(most_bytes(Path::new(name)), most, "{name}");
        }
    }

    #[test]
    fn a_file_beyond_its_limit_is_refused_with_its_size_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_up_to(&path, 5).unwrap(), b"12345");
        let text = read_up_to(&path, 4).unwrap_err().to_string();
        assert!(text.contains("config.json: expected at most 4 bytes, found 5 or more (hint: "));
        // A hole that takes no room on the disk.
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        let text = read_whole(&path).unwrap_err().to_string();
        assert!(text.contains("at most 16777216 bytes, found 1099511627776 or more"), "{text}");
        // Of no size, as the system's own files are, and without an end.
        let text = read_up_to(Path::new("/dev/zero"), 4).unwrap_err().to_string();
        assert!(text.contains("/dev/zero: expected at most 4 bytes, found 5 or more"), "{text}");
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("folder");
        fs::create_dir(&target).unwrap();
        assert!(write_whole(&target, b"x").is_err(), "a folder cannot be replaced by a file");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
