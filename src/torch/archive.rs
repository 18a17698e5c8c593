//! Checkpoints of torch 1.6 and later: a zip archive of `NAME/data.pkl` and `NAME/data/KEY`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::CompressionMethod;
use zip::read::ZipArchive;
use zip::result::ZipError;

use super::graph::Pickle;
use super::machine::MAX_PICKLE;
use super::pickle::unpickle;
use super::refusal::{damaged, printable, read_error};
use super::tensor::Storages;
use crate::error::{Error, Result};
use crate::zipped;

pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// The archive's only folder.
    folder: String,
    /// Bytes of each entry.
    sizes: BTreeMap<String, u64>,
}

impl Archive {
    pub(super) fn open(file: BufReader<File>, length: u64, path: &Path) -> Result<(Pickle, Self)> {
        let mut zip = zipped::open(file).map_err(|e| zip_error(path, e))?;
        let sizes = scan(&mut zip, length, path)?;
        let mut folders = sizes.keys().filter_map(|name| {
            name.strip_suffix("/data.pkl").filter(|folder| !folder.contains('/'))
        });
        let (Some(folder), None) = (folders.next().map(String::from), folders.next()) else {
            return Err(damaged(path, "an archive with one NAME/data.pkl", "none or several"));
        };
        let mut archive = Self { zip, folder, sizes };
        if archive.sizes.contains_key(&archive.entry("byteorder")) {
            let order = archive.bytes("byteorder", 64, path)?;
            if order.trim_ascii() != b"little" {
                let found = printable(&String::from_utf8_lossy(&order));
                return Err(Error::content(path, None, "byteorder little", found)
                    .hint("write the checkpoint on a machine with that order of bytes"));
            }
        }
        let pickle = archive.bytes("data.pkl", MAX_PICKLE, path)?;
        Ok((unpickle(&mut pickle.as_slice(), pickle.len() as u64, path)?, archive))
    }

    fn entry(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The bytes of the entry `name`, of which there are at most `most`.
    fn bytes(&mut self, name: &str, most: u64, path: &Path) -> Result<Vec<u8>> {
        let name = self.entry(name);
        let size = self.sizes.get(&name).copied().unwrap_or(0);
        if size > most {
            let expected = format!("{} of at most {most} bytes", printable(&name));
            return Err(damaged(path, expected, size));
        }
        let mut entry = self.zip.by_name(&name).map_err(|e| zip_error(path, e))?;
        // Bounded: `scan` has found the entry's size to be within the file's.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        entry.read_to_end(&mut bytes).map_err(|e| read_error(path, e))?;
        if bytes.len() as u64 != size {
            let expected = format!("{} of {size} bytes", printable(&name));
            return Err(damaged(path, expected, bytes.len()));
        }
        Ok(bytes)
    }
}

/// The entries' sizes, as far as they can be true: torch stores its entries as they are, so that
/// together they are no longer than the file.
fn scan(
    zip: &mut ZipArchive<BufReader<File>>,
    length: u64,
    path: &Path,
) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    let mut left = length;
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|e| zip_error(path, e))?;
        let name = entry.name();
        if name.starts_with('/') || name.split(['/', '\\']).any(|part| part == "..") {
            let found = format!("an entry {}", printable(name));
            return Err(damaged(path, "an archive whose entries lie in one folder", found));
        }
        if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
            let found = format!("{} compressed or encrypted", printable(name));
            return Err(Error::content(
                path,
                None,
                "an archive of entries stored as they are",
                found,
            )
            .hint("torch.save writes such archives; other programs that pack zip files do not"));
        }
        let (Some(rest), true) =
            (left.checked_sub(entry.size()), entry.size() == entry.compressed_size())
        else {
            let found = format!("{} of {} bytes", printable(name), entry.size());
            let expected = format!("entries that fit in a file of {length} bytes");
            return Err(damaged(path, expected, found));
        };
        left = rest;
        sizes.insert(name.to_string(), entry.size());
    }
    Ok(sizes)
}

impl Storages for Archive {
    fn size(&self, key: &str) -> Option<u64> {
        self.sizes.get(&self.entry(&format!("data/{key}"))).copied()
    }

    fn read(&mut self, key: &str, path: &Path) -> Result<Vec<u8>> {
        self.bytes(&format!("data/{key}"), u64::MAX, path)
    }
}

fn zip_error(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => read_error(path, error),
        other => damaged(path, "a whole zip archive", printable(&other.to_string())),
    }
}
