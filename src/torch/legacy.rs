//! Checkpoints of torch before 1.6: pickles in sequence, then the storages.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::graph::{Node, Pickle};
use super::pickle::unpickle;
use super::refusal::{damaged, printable, read_error};
use super::tensor::Storages;
use crate::error::{Error, Result};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

pub(super) struct Legacy {
    file: BufReader<File>,
    /// Where each storage starts, and its bytes.
    places: BTreeMap<String, (u64, u64)>,
}

impl Legacy {
    pub(super) fn open(
        mut file: BufReader<File>,
        length: u64,
        path: &Path,
    ) -> Result<(Pickle, Self)> {
        for (expected, what) in [(MAGIC, "magic number"), (PROTOCOL, "protocol version")] {
            let pickle = next(&mut file, length, path)?;
            match pickle.get(pickle.root) {
                Node::Integer(found) if *found == expected => {}
                other => {
                    let expected = format!("the {what} {expected:#x} of a PyTorch checkpoint");
                    return Err(damaged(path, expected, found(other)));
                }
            }
        }
        let system = next(&mut file, length, path)?;
        let little = match system.get(system.root) {
            Node::Dict(pairs) => system.lookup(pairs, "little_endian"),
            other => {
                let expected = "a dict that describes the writer's machine";
                return Err(damaged(path, expected, found(other)));
            }
        };
        if little.is_some_and(|id| matches!(system.get(id), Node::Bool(false))) {
            return Err(Error::content(path, None, "little_endian True", "False")
                .hint("write the checkpoint on a machine with that order of bytes"));
        }
        let pickle = next(&mut file, length, path)?;
        let keys = next(&mut file, length, path)?;
        let Some(keys) = texts(&keys) else {
            let other = keys.get(keys.root);
            return Err(damaged(path, "a list of the storages' names", found(other)));
        };
        let places = places(&mut file, &pickle, &keys, length, path)?;
        Ok((pickle, Self { file, places }))
    }
}

fn found(node: &Node) -> String {
    match node {
        Node::Integer(value) => format!("{value:#x}"),
        other => other.kind().to_string(),
    }
}

fn next(file: &mut BufReader<File>, length: u64, path: &Path) -> Result<Pickle> {
    let position = file.stream_position().map_err(|e| read_error(path, e))?;
    unpickle(file, length.saturating_sub(position), path)
}

fn texts(keys: &Pickle) -> Option<Vec<&str>> {
    keys.items(keys.root)?.iter().map(|key| keys.text(*key)).collect()
}

/// Walks over the storages, which state their counts but not the sizes of their elements.
fn places(
    file: &mut BufReader<File>,
    pickle: &Pickle,
    keys: &[&str],
    length: u64,
    path: &Path,
) -> Result<BTreeMap<String, (u64, u64)>> {
    let sizes: HashMap<&str, u64> = pickle
        .nodes
        .iter()
        .filter_map(|node| match node {
            Node::Storage(storage) => {
                Some((pickle.text(storage.key)?, storage.element.size() as u64))
            }
            _ => None,
        })
        .collect();
    let mut places = BTreeMap::new();
    for key in keys {
        let Some(size) = sizes.get(key) else {
            let expected = "storages that tensors use";
            return Err(damaged(path, expected, format!("storage {}", printable(key))));
        };
        let mut count = [0; 8];
        file.read_exact(&mut count).map_err(|e| read_error(path, e))?;
        let start = file.stream_position().map_err(|e| read_error(path, e))?;
        let count = i64::from_le_bytes(count);
        let bytes = u64::try_from(count).ok().and_then(|count| count.checked_mul(*size));
        let held = length.saturating_sub(start);
        let Some(bytes) = bytes.filter(|bytes| *bytes <= held) else {
            let expected =
                format!("storage {} within the file's last {held} bytes", printable(key));
            return Err(damaged(path, expected, format!("{count} values of {size} bytes")));
        };
        file.seek(SeekFrom::Start(start + bytes)).map_err(|e| read_error(path, e))?;
        places.insert((*key).to_string(), (start, bytes));
    }
    Ok(places)
}

impl Storages for Legacy {
    fn size(&self, key: &str) -> Option<u64> {
        self.places.get(key).map(|(_, bytes)| *bytes)
    }

    fn read(&mut self, key: &str, path: &Path) -> Result<Vec<u8>> {
        let (start, size) = self.places.get(key).copied().unwrap_or((0, 0));
        self.file.seek(SeekFrom::Start(start)).map_err(|e| read_error(path, e))?;
        // Bounded: `places` has found the storage to lie within the file.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.file.read_exact(&mut bytes).map_err(|e| read_error(path, e))?;
        Ok(bytes)
    }
}
