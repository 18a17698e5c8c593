//! Raw GLUE files to samples on disk, skipping what is up to date.
//!
//! `DATA/CoLA/train.tsv` -> `DATA/canonical_data/cola_train.tsv` ->
//! `DATA/canonical_data/bert-base-uncased/cola_train.json`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::files::{make_parent, open_own, remove_if_there, sha256_file, write_json, write_with};
use crate::glue::encode::{Encoder, MAX_TOKENS};
use crate::glue::encoder_at::EncoderAt;
use crate::glue::read::{open_data, text_at_most};
use crate::glue::sample::to_lines;
use crate::glue::task::{Part, Split, Task};
use crate::glue::tsv::{read_canonical, read_raw, write_canonical};

/// The folder of the prepared data inside the data folder.
const CANONICAL: &str = "canonical_data";

/// Raise this when the same source and tokenizer would give other files.
const FORMAT: u32 = 2;
/// In a folder of encoded data: held by the process that writes there.
const LOCK: &str = ".lock";
/// Some fifty times a key.
const MAX_KEY_BYTES: u64 = 1 << 16;
/// Rows per unit of parallel work and of progress: small enough for a bar that moves.
const CHUNK_ROWS: usize = 256;

/// Where to read and write.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Holds one folder of raw files per task; receives `canonical_data`.
    pub data_dir: &'a Path,
    /// The checkpoint folder with the tokenizer; the encoded data is named after it.
    pub tokenizer: &'a EncoderAt,
}

/// What is being done, for a progress bar. Calls come from several threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrepareEvent<'a> {
    /// An optional raw file is not there; its split is left out.
    Missing {
        /// `{task}_{split}`.
        data_set: &'a str,
        /// The file looked for.
        path: &'a Path,
    },
    /// Nothing has changed since the last time.
    UpToDate {
        /// `{task}_{split}`.
        data_set: &'a str,
        /// The number of samples on disk.
        rows: usize,
    },
    /// The raw file has been read and encoding begins.
    Started {
        /// `{task}_{split}`.
        data_set: &'a str,
        /// The number of rows to encode.
        rows: usize,
    },
    /// Some more rows have been encoded.
    Advanced {
        /// `{task}_{split}`.
        data_set: &'a str,
        /// The number of rows since the last report.
        rows: usize,
    },
    /// The samples are on disk.
    Finished {
        /// `{task}_{split}`.
        data_set: &'a str,
        /// The number of samples on disk.
        rows: usize,
    },
}

/// One prepared split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// `{task}_{split}`.
    pub data_set: String,
    /// The JSON lines.
    pub path: PathBuf,
    /// The number of samples.
    pub rows: usize,
    /// Whether the files were up to date already.
    pub skipped: bool,
    /// The file with the key of the JSON lines, and what it said.
    key: (PathBuf, Key),
}

impl Prepared {
    /// Whether the JSON lines are still those that were prepared: another process may have prepared
    /// them for another tokenizer whose folder has the same name.
    #[must_use]
    pub fn is_still_there(&self) -> bool {
        let (path, key) = &self.key;
        read_key(path).as_ref() == Some(key)
    }
}

/// What the encoded file was made from; written last, so that it vouches for a finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    format: u32,
    source_sha256: String,
    tokenizer_sha256: String,
    /// Samples hold a label's place among these; none for regression.
    labels: Option<Vec<String>>,
    /// Whether rows hold two texts.
    pair: bool,
    max_tokens: usize,
    rows: usize,
    /// The encoded file's size, which a later edit or truncation changes.
    encoded_bytes: u64,
}

/// The folder of the encoded data for a tokenizer: `DATA/canonical_data/{tokenizer's folder}`.
///
/// # Errors
/// The tokenizer's folder does not exist or has no name.
pub fn encoded_dir(options: &Options) -> Result<PathBuf> {
    let folder = options.tokenizer.path();
    // `.` and `..` have a name only once resolved.
    let full = fs::canonicalize(folder).map_err(|e| {
        Error::io(folder, "read", e).hint("name the checkpoint folder with the tokenizer files")
    })?;
    let name = folder
        .file_name()
        .or_else(|| full.file_name())
        .ok_or_else(|| Error::value("tokenizer", "a folder with a name", folder.display()))?;
    Ok(canonical_dir(options.data_dir).join(name))
}

/// The file of a split's samples in a folder of encoded data.
#[must_use]
pub fn encoded_file(task: &Task, split: &Split, dir: &Path) -> PathBuf {
    dir.join(format!("{}.json", task.data_set(split)))
}

/// Refuses the samples of `split` in the folder of encoded data `dir` where their key tells that another
/// tokenizer than that in the folder `tokenizer` made them, or that they are of other labels. Of samples
/// that other programs made, and without a tokenizer, nothing is known.
///
/// # Errors
/// As it says.
pub fn check_encoded(task: &Task, split: &Split, dir: &Path, tokenizer: &EncoderAt) -> Result<()> {
    let path = encoded_file(task, split, dir);
    let key = read_key(&key_file(dir, &task.data_set(split)));
    let is_of = |key: &Key| fs::metadata(&path).is_ok_and(|found| found.len() == key.encoded_bytes);
    let Some(key) = key.filter(is_of) else { return Ok(()) };
    let refuse = |expected: String, found: String| {
        Err(Error::content(&path, None, expected, found)
            .hint("prepare them anew: --data-dir names the folder of the raw files"))
    };
    if key.labels != labels_of(task) {
        let words = |labels: &Option<Vec<String>>| match labels {
            Some(labels) => format!("samples of the labels {}", labels.join(", ")),
            None => "samples with scores".to_owned(),
        };
        return refuse(words(&labels_of(task)), words(&key.labels));
    }
    let Ok(encoder) = tokenizer.encoder() else { return Ok(()) };
    if key.tokenizer_sha256 != encoder.fingerprint() {
        let expected =
            format!("samples encoded by the tokenizer in {}", tokenizer.path().display());
        return refuse(expected, "those of another one".to_owned());
    }
    Ok(())
}

/// What the key of the samples of `data_set` in `dir` is called.
fn key_file(dir: &Path, data_set: &str) -> PathBuf {
    dir.join(format!("{data_set}.key.json"))
}

/// The labels of a task, in their order; none for scores.
fn labels_of(task: &Task) -> Option<Vec<String>> {
    task.kind.labels().map(|labels| labels.iter().map(|label| (*label).to_owned()).collect())
}

/// The canonical file of the split called `split` of `task` in the data folder `data_dir`.
#[must_use]
pub fn canonical_file(task: &Task, split: &str, data_dir: &Path) -> PathBuf {
    canonical_dir(data_dir).join(format!("{}_{split}.tsv", task.name))
}

/// Whether `dir` is a folder of encoded data rather than of raw files: it holds samples of `task`.
#[must_use]
pub fn holds_encoded(task: &Task, dir: &Path) -> bool {
    task.splits.iter().any(|split| encoded_file(task, split, dir).is_file())
}

/// Whether `data_dir` holds the training set of `task` and its dev sets, or those of `data_sets` where
/// there are any, in one form or another.
#[must_use]
pub fn holds_source(task: &Task, data_sets: &[String], data_dir: &Path) -> bool {
    let is_wanted = |split: &&Split| match split.part {
        Part::Train => true,
        Part::Dev => {
            data_sets.is_empty() || data_sets.iter().any(|name| task.is_called(split, name))
        }
        Part::Test => false,
    };
    let is_there = |split: &Split| {
        data_dir.join(task.folder).join(split.file).is_file()
            || canonical_file(task, split.name, data_dir).is_file()
    };
    holds_encoded(task, data_dir) || task.splits.iter().filter(is_wanted).all(is_there)
}

/// The folder of canonical files: `DATA/canonical_data`, or `DATA` where that is its own name.
fn canonical_dir(data_dir: &Path) -> PathBuf {
    if data_dir.ends_with(CANONICAL) { data_dir.to_path_buf() } else { data_dir.join(CANONICAL) }
}

/// Prepares a task's splits, all of them or those named, in the task's order. A missing test file
/// is only reported, unless its split was named.
///
/// # Errors
/// A split is unknown, a needed raw file is missing or malformed, the tokenizer cannot be loaded,
/// or a file cannot be written. What was prepared before the error stays.
pub fn prepare(
    task: &Task,
    splits: Option<&[&str]>,
    options: &Options,
    on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
) -> Result<Vec<Prepared>> {
    let named = match splits {
        Some(names) => Some(names.iter().map(|name| task.split(name)).collect::<Result<Vec<_>>>()?),
        None => None,
    };
    let encoded_dir = encoded_dir(options)?;
    let encoder = options.tokenizer.encoder()?;
    let tokenizer_sha256 = encoder.fingerprint();
    let mut done = Vec::new();
    for split in task.splits {
        if named.as_ref().is_some_and(|named| !named.contains(&split)) {
            continue;
        }
        let data_set = task.data_set(split);
        let raw = options.data_dir.join(task.folder).join(split.file);
        let canonical = canonical_file(task, split.name, options.data_dir);
        // Canonical files may have come without the raw ones.
        let from_raw = is_there(&raw)?;
        let source = if from_raw { &raw } else { &canonical };
        if !source.is_file() {
            if named.is_some() || split.part != Part::Test {
                return Err(missing(task, split, (&raw, &canonical), options.data_dir));
            }
            on_progress(PrepareEvent::Missing { data_set: &data_set, path: &raw });
            continue;
        }
        // Before it is read to be hashed.
        open_data(source)?;
        let job = Job {
            task,
            split,
            encoded: encoded_file(task, split, &encoded_dir),
            key: key_file(&encoded_dir, &data_set),
            source_sha256: sha256_file(source)?,
            tokenizer_sha256: &tokenizer_sha256,
            raw: from_raw.then_some(raw),
            canonical,
            data_set,
        };
        let (known, _lock) = match job.up_to_date() {
            Some(key) => (Some(key), None),
            None => {
                let lock = locked(&encoded_dir.join(LOCK));
                // Another process may have prepared it until then.
                (job.up_to_date(), lock)
            }
        };
        let skipped = known.is_some();
        let key = match known {
            Some(key) => {
                let rows = key.rows;
                on_progress(PrepareEvent::UpToDate { data_set: &job.data_set, rows });
                key
            }
            None => job.run(encoder, on_progress)?,
        };
        let (rows, key) = (key.rows, (job.key, key));
        done.push(Prepared { data_set: job.data_set, path: job.encoded, rows, skipped, key });
    }
    Ok(done)
}

/// One split's files and what its key must say.
struct Job<'a> {
    task: &'a Task,
    split: &'a Split,
    data_set: String,
    /// `None` where only the canonical file is there.
    raw: Option<PathBuf>,
    canonical: PathBuf,
    encoded: PathBuf,
    key: PathBuf,
    source_sha256: String,
    tokenizer_sha256: &'a str,
}

impl Job<'_> {
    /// The key of the samples on disk if they are what would be written now.
    fn up_to_date(&self) -> Option<Key> {
        let key = read_key(&self.key)?;
        let encoded_bytes = fs::metadata(&self.encoded).ok()?.len();
        (key == self.key(key.rows, encoded_bytes) && self.canonical.is_file()).then_some(key)
    }

    fn key(&self, rows: usize, encoded_bytes: u64) -> Key {
        Key {
            format: FORMAT,
            source_sha256: self.source_sha256.clone(),
            tokenizer_sha256: self.tokenizer_sha256.to_owned(),
            labels: labels_of(self.task),
            pair: self.task.is_pair(),
            max_tokens: MAX_TOKENS,
            rows,
            encoded_bytes,
        }
    }

    fn run(
        &self,
        encoder: &Encoder,
        on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
    ) -> Result<Key> {
        // The old key goes first: it must not vouch for files of an interrupted run.
        remove_if_there(&self.key)?;
        let rows = match &self.raw {
            Some(raw) => {
                let rows = read_raw(self.task, self.split, raw)?;
                write_canonical(self.task, &rows, &self.canonical)?;
                rows
            }
            None => read_canonical(self.task, self.split.part, &self.canonical)?,
        };
        let data_set = self.data_set.as_str();
        on_progress(PrepareEvent::Started { data_set, rows: rows.len() });
        // As many memories of words as threads work at once.
        let memories = Mutex::new(Vec::new());
        let take = || memories.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lines = rows
            .par_chunks(CHUNK_ROWS)
            .map(|chunk| {
                let mut words = take().unwrap_or_else(|| encoder.words());
                let lines = to_lines(&encoder.encode_batch(chunk, MAX_TOKENS, &mut words)?)?;
                memories.lock().unwrap_or_else(PoisonError::into_inner).push(words);
                on_progress(PrepareEvent::Advanced { data_set, rows: chunk.len() });
                Ok(lines)
            })
            .collect::<Result<Vec<_>>>()?;
        write_with(&self.encoded, |file| lines.iter().try_for_each(|chunk| file.write_all(chunk)))?;
        let encoded_bytes =
            fs::metadata(&self.encoded).map_err(|e| Error::io(&self.encoded, "read", e))?.len();
        let key = self.key(rows.len(), encoded_bytes);
        write_json(&self.key, &key)?;
        on_progress(PrepareEvent::Finished { data_set, rows: rows.len() });
        Ok(key)
    }
}

/// Waits until no other process has the lock `path`, so that a key is that of the file beside it. None
/// where files cannot be locked.
fn locked(path: &Path) -> Option<File> {
    make_parent(path).ok()?;
    let file = open_own(path, OpenOptions::new().write(true).create(true)).ok()?;
    file.lock().ok().map(|()| file)
}

/// The key in the file `path`; an unreadable one is as good as none.
fn read_key(path: &Path) -> Option<Key> {
    serde_json::from_str(&text_at_most(path, MAX_KEY_BYTES).ok()?).ok()
}

/// Whether `path` is a file; one that cannot be read is not as good as none.
fn is_there(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(Error::io(path, "read", io::Error::from_raw_os_error(libc::EISDIR)))
        }
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(path, "read", e)),
    }
}

fn missing(task: &Task, split: &Split, (raw, canonical): (&Path, &Path), data_dir: &Path) -> Error {
    let put = format!("put GLUE's {} of {} at {}", split.file, task.folder, raw.display());
    let remedy = match task.is_own() {
        true => format!("put rows of identifier, label and texts at {}", canonical.display()),
        false if task.name == "demo" => put,
        false => format!(
            "platon download {} --data-dir {} brings it, or {put}",
            task.name,
            data_dir.display()
        ),
    };
    Error::io(raw, "read", io::Error::from_raw_os_error(libc::ENOENT)).hint(remedy)
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
