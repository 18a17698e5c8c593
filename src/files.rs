//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// Refuses what git leaves in the place of a file that git-lfs keeps elsewhere. `start` is what the
/// file `path` begins with.
///
/// # Errors
/// It is such a pointer.
pub fn check_pointer(path: &Path, start: &[u8]) -> Result<()> {
    if !start.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Ok(());
    }
    Err(Error::content(path, None, "the file itself", "a git-lfs pointer to it")
        .hint("`git lfs pull` in its folder brings the file"))
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
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("folder");
        fs::create_dir(&target).unwrap();
        assert!(write_whole(&target, b"x").is_err(), "a folder cannot be replaced by a file");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
