//! What a run's folder keeps of the files that it learnt from, so that nothing is evaluated on rows that
//! were learnt from.

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{FORMAT, Files, MAX_KEY_BYTES, sha256_of};
use crate::error::{Error, Result};
use crate::files::{sha256_file, write_json};
use crate::glue::read::text_at_most;
use crate::glue::task::{Kind, Part, Task};
use crate::glue::tsv::Row;

/// Which files a run learnt from: what its folder keeps of them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Learnt {
    /// [`FORMAT`] at that time; none was noted in the first one's.
    #[serde(default)]
    format: u32,
    train_file_sha256: String,
}

impl Files {
    /// Writes to the file `path` that the run in its folder learns from these.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn note(&self, path: &Path) -> Result<()> {
        let train_file_sha256 = sha256_file(&self.train)?;
        write_json(path, &Learnt { format: FORMAT, train_file_sha256 })
    }

    /// Refuses rows of `task` to evaluate on that are drawn from another training file than the one that
    /// stands in the note `path`, or in another way: most of them may be rows that were learnt from.
    ///
    /// # Errors
    /// As it says; a file cannot be read.
    pub fn check_noted(&self, task: &Task, path: &Path) -> Result<()> {
        let Some(learnt) = learnt(path)?.filter(|_| self.dev.is_none()) else { return Ok(()) };
        // More than half of the rows with numbers were drawn otherwise in the first format.
        if learnt.format < FORMAT && self.dev_share > 0.5 && task.kind == Kind::Regression {
            let expected = "a run whose rows were held back as they are now";
            return Err(Error::content(path, None, expected, "one of an older version of platon")
                .hint("train it anew, with rows to evaluate on of your own choice: --dev-file"));
        }
        if self.is_told_of(&learnt)? {
            return Ok(());
        }
        Err(Error::content(&self.train, None, "the rows that the run began with", "others")
            .hint("put that file back: the rows that were held back are drawn from it"))
    }

    /// What a run of `other` for the task `its`, whose note is `path`, has learnt from of the rows that
    /// these hold back for `task`, in words; none where it has learnt from none, or where that cannot be
    /// told, for its training file is nowhere.
    ///
    /// # Errors
    /// The note or a file cannot be read.
    pub fn seen(
        &self,
        task: &Task,
        other: &Self,
        its: &Task,
        path: &Path,
    ) -> Result<Option<String>> {
        let Some(learnt) = learnt(path)? else { return Ok(None) };
        let is_it = |files: &Self| Ok(files.train.is_file() && files.is_told_of(&learnt)?);
        let files = if is_it(other)? {
            other.clone()
        } else if is_it(self)? {
            Self { train: self.train.clone(), ..other.clone() }
        } else {
            let absolute = |files: &Self| std::path::absolute(&files.train).ok();
            let is_same = absolute(self) == absolute(other);
            return Ok(is_same.then(|| "rows of a file that has changed since".to_owned()));
        };
        let (known, _) = files.divided(its)?;
        let texts = |row: &Row| (row.text_a.clone(), row.text_b.clone());
        let known: HashSet<_> = known.iter().map(texts).collect();
        let (_, held) = self.divided(task)?;
        let count = held.iter().filter(|row| known.contains(&texts(row))).count();
        Ok((count > 0).then(|| format!("{count} of {} that it has", held.len())))
    }

    /// Whether a note is of this training file, as it is now.
    fn is_told_of(&self, learnt: &Learnt) -> Result<bool> {
        Ok(learnt.train_file_sha256 == sha256_of(Part::Train, &self.train)?)
    }
}

/// What the note `path` says, if it is there.
fn learnt(path: &Path) -> Result<Option<Learnt>> {
    if !path.is_file() {
        return Ok(None);
    }
    let learnt = serde_json::from_str(&text_at_most(path, MAX_KEY_BYTES)?)
        .map_err(|e| Error::content(path, e.line(), "the SHA-256 of a training file", e))?;
    Ok(Some(learnt))
}
