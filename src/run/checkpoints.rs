//! Checkpoints: folders that count only when they are whole.
//!
//! `RUN/checkpoint/update-120/` holds `model.mpk`, `optimizer.mpk` and `rate.mpk` (burn's records),
//! `progress.json` and, written last, `manifest.json` with the sizes and hashes of the others. It is
//! filled under another name and renamed when all of it is on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::lock::RunLock;
use super::record::RunRecord;
use crate::error::{Error, Result};
use crate::files::{self, read_at_most, remove_if_there, sha256_file, write_json};

/// The version of the manifest and of what it vouches for.
pub const FORMAT: u32 = 3;

const PREFIX: &str = "update-";
const UNFINISHED: &str = ".unfinished";
const MANIFEST: &str = "manifest.json";
const PROGRESS: &str = "progress.json";
const DAMAGED: &str = "remove this folder; an earlier checkpoint may be whole";

const OTHER_VERSION: &str = "resume with the version of platon that the run began with";

/// What burn's learner hands out, a file each.
pub const PARTS: [&str; 3] = ["model", "optimizer", "rate"];

/// What the manifests of all versions have.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    update: usize,
    files: BTreeMap<String, Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

/// The checkpoints of one run folder.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// A whole checkpoint.
#[derive(Debug)]
pub struct Whole {
    folder: PathBuf,
    /// The last update in it.
    pub update: usize,
    /// Where the run stood.
    pub record: RunRecord,
}

impl Checkpoints {
    /// The checkpoints of the run folder `run`, of which the last `keep` are kept.
    pub fn new(run: &RunFolder, keep: usize) -> Self {
        Self { folder: run.checkpoints(), keep }
    }

    /// The newest whole checkpoint, and what was wrong with newer ones.
    ///
    /// # Errors
    /// The folder cannot be read, or it is of another version, whole all the same: a run that did
    /// without it would begin anew.
    pub fn newest(&self) -> Result<(Option<Whole>, Vec<Error>)> {
        let mut skipped = Vec::new();
        for update in self.updates()?.into_iter().rev() {
            match Whole::open(self.path(update), update) {
                Ok(whole) => return Ok((Some(whole), skipped)),
                Err(error) => {
                    check_version(&self.path(update))?;
                    skipped.push(error);
                }
            }
        }
        Ok((None, skipped))
    }

    /// The checkpoint after `update`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn of(&self, update: usize) -> Result<Whole> {
        Whole::open(self.path(update), update)
    }

    /// Removes all of them, of a run that needs none any more.
    ///
    /// # Errors
    /// The folder cannot be removed.
    pub fn remove(&self) -> Result<()> {
        remove_folder(&self.folder)
    }

    /// The updates of all checkpoints, whole or not, ascending.
    fn updates(&self) -> Result<Vec<usize>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io(&self.folder, "read", e)),
        };
        let number = |entry: fs::DirEntry| {
            // A link of such a name leads to what is not the run's to remove.
            let folder = entry.file_type().ok()?.is_dir();
            let name = entry.file_name();
            name.to_str()?.strip_prefix(PREFIX)?.parse::<usize>().ok().filter(|_| folder)
        };
        let mut updates: Vec<usize> = entries.flatten().filter_map(number).collect();
        updates.sort_unstable();
        Ok(updates)
    }

    fn path(&self, update: usize) -> PathBuf {
        self.folder.join(format!("{PREFIX}{update}"))
    }

    /// Begins the checkpoint after `update`; its [`PARTS`] are to be written to
    /// [`Unfinished::part`].
    ///
    /// # Errors
    /// The folder cannot be made, or `lock` no longer keeps others from it.
    pub fn begin(&self, update: usize, lock: &RunLock) -> Result<Unfinished> {
        lock.check()?;
        let folder = self.folder.join(format!("{PREFIX}{update}{UNFINISHED}"));
        remove_folder(&folder)?;
        // A run folder that has vanished is not made anew: it would look like a run.
        for folder in [&self.folder, &folder] {
            match fs::create_dir(folder) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::io(folder, "create", e));
                }
                _ => {}
            }
        }
        Ok(Unfinished { folder, update })
    }

    /// Completes a checkpoint and removes those that are neither among the last nor the best.
    ///
    /// # Errors
    /// A file cannot be read, written or removed; the checkpoint then does not count.
    pub fn complete(&self, unfinished: &Unfinished, record: &RunRecord) -> Result<()> {
        let Unfinished { folder, update } = unfinished;
        let update = *update;
        write_json(&folder.join(PROGRESS), record)?;
        let mut files = BTreeMap::new();
        for name in file_names() {
            let path = folder.join(&name);
            let file = files::open(&path)?;
            file.sync_all().map_err(|e| Error::io(&path, "write", e))?;
            let bytes = file.metadata().map_err(|e| Error::io(&path, "read", e))?.len();
            files.insert(name, Entry { bytes, sha256: sha256_file(&path)? });
        }
        write_json(&folder.join(MANIFEST), &Manifest { format: FORMAT, update, files })?;
        sync_folder(folder)?;
        self.name(folder, update)?;
        self.remove_old(update, record.best.as_ref().map(|best| best.update))
    }

    /// Keeps the last ones up to `newest`, and `best`.
    fn remove_old(&self, newest: usize, best: Option<usize>) -> Result<()> {
        let updates = self.updates()?;
        let old = updates.iter().rev().filter(|update| **update <= newest).skip(self.keep.max(1));
        for update in old.filter(|update| Some(**update) != best) {
            let folder = self.path(*update);
            // Without its manifest it no longer counts, however far the removal gets.
            remove_if_there(&folder.join(MANIFEST))?;
            remove_folder(&folder)?;
        }
        Ok(())
    }

    /// Settles what a killed process left: a whole checkpoint that only lacked its name gets it,
    /// anything else goes.
    ///
    /// # Errors
    /// A folder cannot be renamed or removed, or holds a checkpoint of another version.
    pub fn settle(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_str().and_then(|name| name.strip_suffix(UNFINISHED));
            let update = name.and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            let Some(update) = update else { continue };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            check_version(&path)?;
            match Whole::open(path.clone(), update) {
                Ok(_) => self.name(&path, update)?,
                Err(_) => remove_folder(&path)?,
            }
        }
        Ok(())
    }

    /// Gives a whole checkpoint its name. One that is there already is damaged, or lacks an
    /// evaluation that this one has; if the process dies in between, [`settle`](Self::settle) ends
    /// it.
    fn name(&self, folder: &Path, update: usize) -> Result<()> {
        let target = self.path(update);
        remove_folder(&target)?;
        fs::rename(folder, &target).map_err(|e| Error::io(&target, "create", e))?;
        sync_folder(&self.folder)
    }
}

impl Whole {
    fn open(folder: PathBuf, update: usize) -> Result<Self> {
        check_version(&folder)?;
        let path = folder.join(MANIFEST);
        let manifest: Manifest = read_json(&path)?;
        if (manifest.format, manifest.update) != (FORMAT, update) {
            let expected = format!("format {FORMAT} and update {update}");
            let found = format!("format {} and update {}", manifest.format, manifest.update);
            return Err(Error::content(&path, None, expected, found).hint(DAMAGED));
        }
        for name in file_names() {
            let file = folder.join(&name);
            let Some(entry) = manifest.files.get(&name) else {
                return Err(Error::content(&path, None, format!("an entry for {name}"), "none")
                    .hint(DAMAGED));
            };
            let bytes = fs::metadata(&file).map_err(|e| Error::io(&file, "read", e))?.len();
            if bytes != entry.bytes {
                let expected = format!("{} bytes", entry.bytes);
                return Err(Error::content(&file, None, expected, bytes).hint(DAMAGED));
            }
            let hash = sha256_file(&file)?;
            if hash != entry.sha256 {
                let expected = format!("the SHA-256 {}", entry.sha256);
                return Err(Error::content(&file, None, expected, hash).hint(DAMAGED));
            }
        }
        let path = folder.join(PROGRESS);
        let record: RunRecord = read_json(&path)?;
        if record.update != update {
            let expected = format!("update {update}");
            return Err(Error::content(&path, None, expected, record.update).hint(DAMAGED));
        }
        Ok(Self { folder, update, record })
    }

    /// The file of one of [`PARTS`].
    pub fn part(&self, name: &str) -> PathBuf {
        part_in(&self.folder, name)
    }

    /// All its files.
    ///
    /// # Errors
    /// Its folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        let failed = |e| Error::io(&self.folder, "read", e);
        let entries = fs::read_dir(&self.folder).map_err(failed)?;
        entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect()
    }
}

/// A checkpoint whose parts are being written.
#[derive(Debug, Clone)]
pub struct Unfinished {
    folder: PathBuf,
    update: usize,
}

impl Unfinished {
    /// Where one of [`PARTS`] is to be written.
    pub fn part(&self, name: &str) -> PathBuf {
        part_in(&self.folder, name)
    }

    /// Removes it, unless it is whole already.
    pub fn discard(&self) {
        if !self.folder.join(MANIFEST).exists() {
            // Best effort: the first error is the one to report.
            let _ = remove_folder(&self.folder);
        }
    }
}

fn part_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(part_name(name))
}

fn part_name(part: &str) -> String {
    format!("{part}.mpk")
}

fn file_names() -> impl Iterator<Item = String> {
    PARTS.into_iter().map(part_name).chain([PROGRESS.to_string()])
}

/// Refuses a checkpoint of another version; what has none that can be read is damaged, and passes.
fn check_version(folder: &Path) -> Result<()> {
    let path = folder.join(MANIFEST);
    match read_json::<Version>(&path) {
        Ok(Version { format }) if format != FORMAT => {
            let expected = format!("format {FORMAT}");
            let found = format!("format {format}");
            Err(Error::content(&path, None, expected, found).hint(OTHER_VERSION))
        }
        _ => Ok(()),
    }
}

/// The largest JSON file of a checkpoint, in bytes.
const MAX_JSON: u64 = 16 << 20;

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = read_at_most(path, MAX_JSON).map_err(|e| match e {
        Error::Content { .. } => e.hint(DAMAGED),
        e => e,
    })?;
    serde_json::from_slice(&text)
        .map_err(|e| Error::content(path, e.line(), "a checkpoint's JSON", e).hint(DAMAGED))
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(folder, "remove", e)),
        _ => Ok(()),
    }
}

/// Makes a rename inside `folder` last.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| Error::io(folder, "write", e))
}
