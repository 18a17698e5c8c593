//! Files that appear whole or not at all, and files from elsewhere that are what they look like.

mod waiting_file;

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::str::Utf8Error;

use sha2::{Digest, Sha256};

pub use self::waiting_file::WaitingFile;
use crate::error::{Error, Result};

/// Opens the file `path`, or the one that a link of this name leads to, for reading. A pipe is not
/// waited on.
///
/// # Errors
/// It cannot be read, or is no plain file.
pub fn open(path: &Path) -> Result<File> {
    let failed = |e| Error::io(path, "read", e);
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if found.is_dir() {
        return Err(failed(io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if !found.is_file() {
        return Err(no_file(path, &found));
    }
    Ok(file)
}

/// Opens a file that the program itself keeps at `path` and that grows in place, as `options` say.
/// The folder may be from elsewhere: links are not followed, a pipe is not waited on, and a file
/// that has a second name is left alone.
///
/// # Errors
/// It cannot be opened, or is no file of one name.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let options = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|e| match fs::symlink_metadata(path) {
        // What the system says of these is not what is wrong with them.
        Ok(found) if !found.is_file() && !found.is_dir() => no_file(path, &found),
        _ => Error::io(path, "open", e),
    })?;
    let found = file.metadata().map_err(|e| Error::io(path, "read", e))?;
    if !found.is_file() {
        return Err(no_file(path, &found));
    }
    if found.nlink() > 1 {
        let found = format!("one of {} names of the same file", found.nlink());
        return Err(Error::content(path, None, "a file of its own", found)
            .hint("copy it, and put the copy in its place"));
    }
    Ok(file)
}

/// Refuses what stands at `path`, if anything does, unless it is a plain file or folder. Links are
/// not followed.
///
/// # Errors
/// It is a link, a pipe or the like.
pub fn check_own(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            let expected = "a file or folder of its own";
            Err(Error::content(path, None, expected, kind(&found)).hint(PLANTED))
        }
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(path, "read", e)),
        _ => Ok(()),
    }
}

const PLANTED: &str = "platon put no such thing there: put the file or folder itself in its place";

fn no_file(path: &Path, found: &fs::Metadata) -> Error {
    Error::content(path, None, "a file", kind(found)).hint(PLANTED)
}

fn kind(found: &fs::Metadata) -> &'static str {
    match found.file_type() {
        kind if kind.is_file() => "a file",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a link",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

/// Reads a whole file, of which there are at most `most` bytes.
///
/// # Errors
/// As [`open`], or the file is longer, which is found out before it is in memory.
pub fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let failed = |e| Error::io(path, "read", e);
    let length = file.metadata().map_err(failed)?.len();
    check_size(path, length, most)?;
    let mut bytes = Vec::new();
    let room = bytes.try_reserve_exact(usize::try_from(length).unwrap_or(usize::MAX));
    room.map_err(|_| failed(io::ErrorKind::OutOfMemory.into()))?;
    // It may grow meanwhile, and some of the system's own files do not tell their length.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    check_size(path, bytes.len() as u64, most)?;
    Ok(bytes)
}

/// The most bytes of a file that is read as a whole, by how its name ends. Each is far more than any
/// BERT has, and little enough for the memory of any machine that runs one.
const MOST_BYTES: [(&str, u64); 9] = [
    ("vocab.txt", 64 << 20),
    ("vocab.json", 64 << 20),
    ("merges.txt", 64 << 20),
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
/// As [`read_at_most`], the limit being [`most_bytes`].
pub fn read_whole(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, most_bytes(path))
}

/// The text of a UTF-8 file.
///
/// # Errors
/// As [`read_whole`], or it is not UTF-8: the error then names the line of the first bad byte.
pub fn read_text(path: &Path) -> Result<String> {
    text(path, read_whole(path)?)
}

/// The text in `bytes`, which are those of the file `path`.
///
/// # Errors
/// They are not UTF-8: the error then names the line of the first bad one.
pub fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| {
        let before = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        not_utf8(path, line, e.as_bytes(), e.utf8_error())
    })
}

/// The error of a text whose line `line` is not UTF-8, which `error` found in `bytes`.
pub fn not_utf8(path: &Path, line: usize, bytes: &[u8], error: Utf8Error) -> Error {
    let found = match bytes.get(error.valid_up_to()) {
        Some(byte) => format!("the byte 0x{byte:02x}"),
        None => "a cut-off character".to_owned(),
    };
    Error::content(path, line, "UTF-8 text", found).hint("save the file as UTF-8")
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
        .hint("far more than a file of its kind takes: look at what it is"))
}

/// Makes an empty file in place of whatever stands there; a link is removed and not followed.
///
/// # Errors
/// The folder cannot be written to.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => create_new(path),
    }
}

/// Makes an empty file where nothing stands.
fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

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
    write_with(path, |file| file.write_all(content))
}

/// As [`write_whole`], of a file that `content` writes.
///
/// # Errors
/// As [`write_whole`], or those of `content`.
pub fn write_with(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    write_by(path, |file| content(file).map_err(|e| Error::io(path, "write", e)))
}

/// As [`write_with`], where not only writing can fail.
///
/// # Errors
/// As [`write_with`].
pub fn write_by(path: &Path, content: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
    let temporary = beside(path)?;
    let failed = |e| Error::io(path, "write", e);
    let mut file = create_new(&temporary).map_err(failed)?;
    let written = content(&mut file)
        .and_then(|()| file.sync_all().map_err(failed))
        .and_then(|()| fs::rename(&temporary, path).map_err(failed));
    written.inspect_err(|_| {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    })
}

/// Looks whether [`write_whole`] could write to `path`, before hours are spent on what it is to hold.
///
/// # Errors
/// It could not.
pub fn check_writable(path: &Path) -> Result<()> {
    let failed = |e| Error::io(path, "write", e);
    let temporary = beside(path)?;
    create_new(&temporary).map_err(failed)?;
    remove_if_there(&temporary)?;
    if path.is_dir() {
        return Err(failed(io::Error::from_raw_os_error(libc::EISDIR)));
    }
    Ok(())
}

/// A name beside `path` that no other process uses, in a folder that is made.
fn beside(path: &Path) -> Result<PathBuf> {
    make_parent(path)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    // In containers several processes have the same number.
    let random = RandomState::new().hash_one(0);
    name.push(format!(".{random:016x}.{}{TEMPORARY}", std::process::id()));
    Ok(path.with_file_name(name))
}

/// How a temporary file ends, after a file's name, what no other has, and the process that writes it.
const TEMPORARY: &str = ".tmp";

/// Whether nothing is in the folder `dir`, if it is there, but temporary files for one of `names` of
/// processes of this machine that are no more; these are removed then.
///
/// # Errors
/// One of them cannot be removed.
pub fn is_free(dir: &Path, names: &[&str]) -> Result<bool> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(true) };
    let mut left_over = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, "read", e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let process = name.strip_suffix(TEMPORARY).and_then(|name| {
            let (rest, process) = name.rsplit_once('.')?;
            let (file, _) = rest.rsplit_once('.')?;
            names.contains(&file).then_some(process)
        });
        match process.and_then(|process| process.parse().ok()) {
            Some(process) if path.is_file() && !is_running(process) => left_over.push(path),
            _ => return Ok(false),
        }
    }
    left_over.iter().try_for_each(|path| remove_if_there(path))?;
    Ok(true)
}

/// Whether this machine has such a process.
fn is_running(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else { return false };
    // SAFETY: the signal 0 is none; the call only looks whether it could be sent.
    let answer = unsafe { libc::kill(process, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Makes the folder that `path` is in, if it is missing; the folder.
///
/// # Errors
/// It cannot be made.
pub fn make_parent(path: &Path) -> Result<&Path> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", e))?;
    Ok(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
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
    io::copy(&mut open(path)?, &mut hash).map_err(|e| Error::io(path, "read", e))?;
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
#[path = "files_tests.rs"]
mod tests;
