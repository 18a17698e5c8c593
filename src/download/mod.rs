//! Downloads GLUE's official files and checkpoints of Hugging Face.
//!
//! `CACHE/CoLA.zip` -> `DATA/CoLA/train.tsv`, and `google-bert/bert-base-uncased` -> a folder with
//! `config.json`, `model.safetensors` and the tokenizer. What is in place is not fetched again.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use crate::download::fetch::{Fetcher, Request, Settings};
use crate::download::sources::{CHECKSUMS, Form, GLUE_URL, HF_URL, Remote};
use crate::download::unpack::{Limits, Unpacked, unpack};
use crate::error::{Error, Result};
use crate::files::{read_at_most, write_whole};

pub mod fetch;
mod http;
mod model;
mod mrpc;
mod pace;
mod partial;
pub mod sources;
mod text;
pub mod unpack;

pub use model::{Model, is_of, model};

/// How other servers are named, for remedies.
const GLUE_MIRROR: &str = "PLATON_GLUE_URL, or platon download --glue-url";
const HF_MIRROR: &str = "HF_ENDPOINT, or platon download --hf-url";

/// Far more than any of the files that are read as a whole has, vocabularies among them.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// Three times the largest of GLUE's archives, MNLI's.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;

/// What is being done, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadEvent<'a> {
    /// Bytes begin to come. It is sent again for each further attempt, which takes up what has come
    /// or starts over.
    Started {
        /// The file's name: `CoLA.zip`.
        name: &'a str,
        /// Its size, if the server tells.
        total: Option<u64>,
        /// How many bytes of it are there already.
        done: u64,
    },
    /// Some more bytes have come.
    Advanced {
        /// The file's name.
        name: &'a str,
        /// The number of bytes since the last report.
        bytes: u64,
    },
    /// The file is whole, right and in its place.
    Finished {
        /// The file's name.
        name: &'a str,
    },
    /// Nothing is fetched, because the file is there.
    Cached {
        /// The file's name, with the task's folder if it is one of the unpacked files.
        name: &'a str,
    },
}

/// Where to get the files and where to put them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Receives one folder of raw GLUE files per task.
    pub data_dir: PathBuf,
    /// Keeps what has been downloaded to be unpacked.
    pub cache_dir: PathBuf,
    /// Instead of GLUE's addresses: one at which all files lie.
    pub glue_url: Option<String>,
    /// Instead of Hugging Face's address.
    pub hf_url: Option<String>,
    /// Hashes in hexadecimal by file name, which take precedence over all others.
    pub checksums: BTreeMap<String, String>,
    /// Replace what is there. Downloads are fetched again unless their hash proves them right.
    pub force: bool,
    /// How patient to be with servers.
    pub settings: Settings,
    /// How much may come out of an archive.
    pub limits: Limits,
}

impl Options {
    /// The official addresses, or those that `PLATON_GLUE_URL` and `HF_ENDPOINT` name.
    pub fn new(data_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cache_dir: cache_dir.into(),
            glue_url: env::var(GLUE_URL).ok(),
            hf_url: env::var(HF_URL).ok(),
            checksums: BTreeMap::new(),
            force: false,
            settings: Settings::default(),
            limits: Limits::default(),
        }
    }
}

/// Brings a GLUE task's `files` into `DATA/folder`. Test files that do not exist are only reported.
///
/// # Errors
/// The task is unknown, its files cannot be fetched (see [`Fetcher::fetch`]) or unpacked (see
/// [`unpack()`]), or an address or hash in the options is none.
pub fn glue_task(
    name: &str,
    folder: &str,
    files: &[&str],
    options: &Options,
    on_progress: &(dyn Fn(DownloadEvent<'_>) + Sync),
) -> Result<Unpacked> {
    let source = sources::source(name)?;
    let target = options.data_dir.join(folder);
    let (kept, wanted): (Vec<&str>, Vec<&str>) =
        files.iter().partition(|file| !options.force && target.join(file).is_file());
    for file in &kept {
        on_progress(DownloadEvent::Cached { name: &format!("{folder}/{file}") });
    }
    let mut result = Unpacked::default();
    if !wanted.is_empty() {
        let glue = Glue::new(&source.form, options)?;
        let get = |remote: &Remote| glue.fetch(remote, MAX_TEXT_BYTES, on_progress);
        match &source.form {
            Form::Archive(remote) => {
                let archive = glue.fetch(remote, MAX_ARCHIVE_BYTES, on_progress)?;
                result = unpack(&archive, &wanted, &target, options.force, &options.limits)?;
            }
            Form::Plain(remote) => {
                let content = read_small(&get(remote)?)?;
                for file in &wanted {
                    write_whole(&target.join(file), &content)?;
                    result.written.push(target.join(file));
                }
            }
            Form::Mrpc { train, test, dev_ids } => {
                let (train, test, dev_ids) = (get(train)?, get(test)?, get(dev_ids)?);
                let inputs = mrpc::Inputs { train: &train, test: &test, dev_ids: &dev_ids };
                result.written = mrpc::assemble(&inputs, &target, &wanted)?;
            }
        }
    }
    result.kept.extend(kept.iter().map(|file| target.join(file)));
    Ok(result)
}

/// Where GLUE's files come from and what they must be.
struct Glue<'a> {
    options: &'a Options,
    mirror: Option<&'a str>,
    /// What the mirror says of its files.
    checksums: BTreeMap<String, String>,
    fetcher: Fetcher,
}

impl<'a> Glue<'a> {
    fn new(form: &Form, options: &'a Options) -> Result<Self> {
        let mirror = sources::base_url("glue-url", options.glue_url.as_deref())?;
        let fetcher = Fetcher::new(options.settings.clone());
        let checksums = match mirror.map(|base| format!("{base}/{CHECKSUMS}")) {
            None => BTreeMap::new(),
            Some(url) => match fetcher.text(&url, GLUE_MIRROR) {
                Ok(text) => sources::parse_checksums(&url, &text.unwrap_or_default())?,
                // Without the mirror, what it has given before is still good.
                Err(_) if !options.force && all_cached(form, &options.cache_dir) => BTreeMap::new(),
                Err(error) => return Err(error),
            },
        };
        Ok(Self { options, mirror, checksums, fetcher })
    }

    fn fetch(
        &self,
        remote: &Remote,
        max_bytes: u64,
        on_progress: &(dyn Fn(DownloadEvent<'_>) + Sync),
    ) -> Result<PathBuf> {
        let target = self.options.cache_dir.join(remote.name);
        let own = self.options.checksums.get(remote.name).map(String::as_str);
        if let Some(wrong) = own.filter(|sha256| !sources::is_sha256(sha256)) {
            let name = format!("checksum of {}", remote.name);
            return Err(Error::value(name, "64 hexadecimal digits", format!("'{wrong}'")));
        }
        // A mirror may have packed the same files in another way: the official hash is not its.
        let official = remote.sha256.filter(|_| self.mirror.is_none());
        let mirrored = self.checksums.get(remote.name).map(String::as_str);
        let request = Request {
            url: &remote.url(self.mirror),
            target: &target,
            sha256: own.or(mirrored).or(official),
            hub: false,
            max_bytes,
            optional: false,
            force: self.options.force,
            mirror: GLUE_MIRROR,
        };
        self.fetcher.fetch(&request, on_progress)?;
        Ok(target)
    }
}

fn all_cached(form: &Form, cache_dir: &Path) -> bool {
    let cached = |remote: &Remote| cache_dir.join(remote.name).is_file();
    match form {
        Form::Archive(remote) | Form::Plain(remote) => cached(remote),
        Form::Mrpc { train, test, dev_ids } => [train, test, dev_ids].into_iter().all(cached),
    }
}

/// Reads a file that is used as a whole.
fn read_small(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, MAX_TEXT_BYTES).map_err(|e| match e {
        Error::Content { .. } => e.hint(format!("remove {} and run again", path.display())),
        e => e,
    })
}

#[cfg(test)]
mod test_server;
#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
