//! Takes the wanted files out of an archive that may be broken or hostile.
//!
//! Names in the archive never become paths: a file goes under its wanted name into the given
//! folder. Archives with names that point elsewhere are refused all the same.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::error::{Error, Result};
use crate::files;
use crate::zipped;

const BUFFER_BYTES: usize = 64 * 1024;
/// Small files may be packed well by chance.
const RATIO_FROM_BYTES: u64 = 1 << 20;

/// How much may come out of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file.
    pub entry_bytes: u64,
    /// All files together.
    pub total_bytes: u64,
    /// How many times larger than its packed form a file may be; texts are 2 to 10 times as large.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entry_bytes: 1 << 30, total_bytes: 4 << 30, ratio: 100 }
    }
}

/// What became of the wanted files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// New or replaced.
    pub written: Vec<PathBuf>,
    /// There already, and left alone.
    pub kept: Vec<PathBuf>,
    /// Test files that the archive does not hold.
    pub missing: Vec<String>,
}

/// Unpacks the `wanted` files, wherever they lie in the archive, into `folder`; where a name occurs
/// several times, that nearest to the top is meant. Files that are there are left alone unless
/// `force` is set. Each file appears whole or not at all.
///
/// # Errors
/// The archive cannot be read, holds a name that points out of a folder, lacks a wanted file that
/// is no test file, or holds more than the limits allow; or a file cannot be written.
pub fn unpack(
    archive: &Path,
    wanted: &[&str],
    folder: &Path,
    force: bool,
    limits: &Limits,
) -> Result<Unpacked> {
    let file = files::open(archive)?;
    let zip = zipped::open(io::BufReader::new(file)).map_err(|e| broken(archive, &e))?;
    for name in zip.file_names() {
        check_name(archive, name)?;
    }
    let mut unpacked = Unpacked::default();
    let mut entries = Vec::new();
    for name in wanted {
        let target = folder.join(name);
        if target.is_file() && !force {
            unpacked.kept.push(target);
            continue;
        }
        match find(archive, &zip, name)? {
            Some(entry) => entries.push((entry, target)),
            None if name.starts_with("test") => unpacked.missing.push((*name).to_owned()),
            None => return Err(lacks(archive, &zip, name)),
        }
    }
    let mut job = Job { archive, zip, limits, total: 0 };
    for (entry, _) in &entries {
        job.check(entry)?;
    }
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
    for (entry, target) in entries {
        job.write(&entry, &target)?;
        unpacked.written.push(target);
    }
    Ok(unpacked)
}

type Zip = ZipArchive<io::BufReader<File>>;

/// Refuses names that would leave the folder, also on other systems.
fn check_name(archive: &Path, name: &str) -> Result<()> {
    let drive = name.as_bytes().get(1) == Some(&b':');
    let outside = name.starts_with('/') || drive || name.split('/').any(|part| part == "..");
    if outside || name.contains(['\\', '\0']) {
        let found = format!("'{}'", name.escape_default());
        return Err(Error::content(archive, None, "names of files inside a folder", found)
            .hint(hostile(archive)));
    }
    Ok(())
}

/// The entry with the file name `wanted` that is nearest to the top.
fn find(archive: &Path, zip: &Zip, wanted: &str) -> Result<Option<String>> {
    let depth = |name: &str| name.split('/').count();
    let mut found: Vec<&str> = zip
        .file_names()
        // Beside each file, macOS puts one with its attributes here.
        .filter(|name| name.split('/').next() != Some("__MACOSX"))
        .filter(|name| name.rsplit('/').next() == Some(wanted))
        .collect();
    found.sort_by_key(|name| depth(name));
    match found.as_slice() {
        [] => Ok(None),
        [first, second, ..] if depth(first) == depth(second) => Err(Error::content(
            archive,
            None,
            format!("one {wanted}"),
            format!("'{}' and '{}'", first.escape_default(), second.escape_default()),
        )
        .hint(hostile(archive))),
        [first, ..] => Ok(Some((*first).to_owned())),
    }
}

struct Job<'a> {
    archive: &'a Path,
    zip: Zip,
    limits: &'a Limits,
    total: u64,
}

impl Job<'_> {
    /// Refuses an entry by what the archive says of it, before anything is written.
    fn check(&mut self, name: &str) -> Result<()> {
        let entry = self.zip.by_name(name).map_err(|e| broken(self.archive, &e))?;
        if !entry.is_file() {
            let kind = if entry.is_symlink() { "a symbolic link" } else { "no file" };
            return Err(Error::content(self.archive, None, format!("a file '{name}'"), kind)
                .hint(hostile(self.archive)));
        }
        let (size, packed) = (entry.size(), entry.compressed_size());
        drop(entry);
        self.total = self.total.saturating_add(size);
        self.check_size(name, size, packed)
    }

    fn check_size(&self, name: &str, size: u64, packed: u64) -> Result<()> {
        let Limits { entry_bytes, total_bytes, ratio } = *self.limits;
        let refuse = |expected: String| {
            let found = format!("{size} bytes in '{}'", name.escape_default());
            Err(Error::content(self.archive, None, expected, found).hint(hostile(self.archive)))
        };
        if size > entry_bytes {
            return refuse(format!("at most {entry_bytes} bytes in a file"));
        }
        if self.total > total_bytes {
            return refuse(format!("at most {total_bytes} bytes in all"));
        }
        if size > RATIO_FROM_BYTES && size / packed.max(1) > ratio {
            return refuse(format!("at most {ratio} times the packed {packed} bytes"));
        }
        Ok(())
    }

    fn write(&mut self, name: &str, target: &Path) -> Result<()> {
        let failed = |e| Error::io(target, "write", e);
        files::write_by(target, |file| self.write_to(name, file, &failed))
    }

    fn write_to(
        &mut self,
        name: &str,
        file: &mut File,
        failed: &dyn Fn(io::Error) -> Error,
    ) -> Result<()> {
        let mut entry = self.zip.by_name(name).map_err(|e| broken(self.archive, &e))?;
        let declared = entry.size();
        let mut size = 0;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let read = match entry.read(&mut buffer) {
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(broken(self.archive, &ZipError::Io(e))),
            };
            let chunk = buffer.get(..read).unwrap_or_default();
            if chunk.is_empty() {
                break;
            }
            size += read as u64;
            // What an entry says of its size was checked before, but need not be true.
            if size > declared {
                break;
            }
            file.write_all(chunk).map_err(failed)?;
        }
        if size != declared {
            let expected = format!("{declared} bytes in '{name}'");
            let found = if size > declared { "more".to_owned() } else { size.to_string() };
            return Err(
                Error::content(self.archive, None, expected, found).hint(again(self.archive))
            );
        }
        Ok(())
    }
}

fn lacks(archive: &Path, zip: &Zip, name: &str) -> Error {
    let names: Vec<_> =
        zip.file_names().take(5).map(|name| name.escape_default().to_string()).collect();
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Error::content(archive, None, format!("a file {name}"), found).hint(again(archive))
}

fn broken(archive: &Path, error: &ZipError) -> Error {
    Error::content(archive, None, "a zip archive", error).hint(again(archive))
}

fn hostile(archive: &Path) -> String {
    format!("this is not GLUE's: remove {} and name another server", archive.display())
}

fn again(archive: &Path) -> String {
    format!("remove {} and run again", archive.display())
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
