//! Files of one's own as a task: what is to be learnt from them, and their rows in canonical form.
//!
//! `DATA/own/reviews-1f2e3d4c5b6a/canonical_data/reviews_train.tsv`: from there on they are as the
//! rows of any other task. A file that has changed is noticed by its hash.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::examples::{Columns, Examples};
use super::labels::{Labels, Mismatch, Target, class_name, score};
use super::numbers::{MEND, Numbers};
use super::split::held_back;
use super::table::{Table, Value};
use crate::error::{Error, Result};
use crate::files::{remove_if_there, sha256_file, write_json};
use crate::glue::prepare::canonical_file;
use crate::glue::read::{sha256_hex, text_at_most};
use crate::glue::task::{Kind, Metric, Part, Task};
use crate::glue::task_def::{Definition, define};
use crate::glue::tsv::{Row, dummy, write_canonical};

/// Raise this when the same files would give other rows.
pub(super) const FORMAT: u32 = 2;
/// The folder of own data inside the data folder.
const FOLDER: &str = "own";
/// Some fifty times what is written.
pub(super) const MAX_KEY_BYTES: u64 = 1 << 16;
/// What to do without rows to evaluate on.
pub const SHARE: &str = "without it, --dev-share of the training rows are held back";

/// Files of one's own, and what of them is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Files {
    /// The rows to learn from.
    pub train: PathBuf,
    /// The rows to evaluate on; without them `dev_share` of the training rows.
    pub dev: Option<PathBuf>,
    /// Rows to predict, and to score where they have labels.
    pub test: Option<PathBuf>,
    /// The column of the text.
    pub text: String,
    /// The column of the second text, of pairs.
    pub text_pair: Option<String>,
    /// The column of the label.
    pub label: String,
    /// The share of the training rows that is held back.
    pub dev_share: f64,
    /// Draws them.
    pub seed: u64,
}

/// What is to be learnt from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// A class of these, in their order, or a number.
    pub target: Target,
    /// Whether the test file has labels.
    pub test_is_labelled: bool,
    /// The labels of the training file with their rows; none for numbers.
    pub classes: Vec<(String, usize)>,
    /// Rows of the training file.
    pub rows: usize,
}

/// What prepared rows were made from, as far as they have been asked for: the hashes of the files;
/// written last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    format: u32,
    train: Option<String>,
    dev: Option<String>,
    test: Option<String>,
}

impl Key {
    /// This one, and of what it does not have what `known` has.
    fn or(self, known: Self) -> Self {
        let Self { format, train, dev, test } = self;
        Self {
            format,
            train: train.or(known.train),
            dev: dev.or(known.dev),
            test: test.or(known.test),
        }
    }
}

impl Files {
    /// Reads all files once, and tells what is to be learnt: a number with `regression`, one of
    /// `labels` where there are any, else what the training file shows.
    ///
    /// # Errors
    /// A file cannot be read, lacks a column, or has a row without text or label; the labels cannot be
    /// told apart, or one occurs in another file only. Each of these names its file and line.
    pub fn settle(&self, labels: &[String], regression: bool) -> Result<Settled> {
        let mut counts = Labels::default();
        let mut rows = Examples::new(Table::open(&self.train)?, self.columns(true))?;
        while let Some(example) = rows.next_filled()? {
            let wrong = |mismatch| self.wrong(&self.train, example.line, (mismatch, MEND));
            counts.add(&example.label, example.line).map_err(wrong)?;
            if regression {
                score(&example.label).map_err(wrong)?;
            }
        }
        if counts.rows() == 0 {
            return Err(Error::content(&self.train, None, "at least one row", "none"));
        }
        let target = match (regression, labels) {
            (true, _) => Target::Number,
            (false, []) => counts.target().map_err(|((expected, found), remedy)| {
                let expected = format!("{expected} in {}", self.label);
                Error::content(&self.train, None, expected, found).hint(remedy)
            })?,
            (false, named) => Target::Classes(named.to_vec()),
        };
        let test_is_labelled = match &self.test {
            Some(test) => self.is_labelled(test, &target)?,
            None => false,
        };
        let classes = match target {
            Target::Classes(_) => counts.classes(),
            Target::Number => Vec::new(),
        };
        let classes = classes.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect();
        let settled = Settled { target, test_is_labelled, classes, rows: counts.rows() };
        self.check_labels(&settled, labels)?;
        Ok(settled)
    }

    /// Every label of every file is one that can be learnt.
    fn check_labels(&self, settled: &Settled, named: &[String]) -> Result<()> {
        let numbers = Numbers::of(&settled.target);
        let train = (!named.is_empty()).then_some(&self.train);
        let test = self.test.as_ref().filter(|_| settled.test_is_labelled);
        for path in train.into_iter().chain(&self.dev).chain(test) {
            let (mut rows, mut count) = (Examples::new(Table::open(path)?, self.columns(true))?, 0);
            while let Some(example) = rows.next_filled()? {
                let label = numbers.label(&example.label);
                label.map_err(|fault| self.wrong(path, example.line, fault))?;
                count += 1;
            }
            if count == 0 {
                return Err(Error::content(path, None, "at least one row", "none"));
            }
        }
        Ok(())
    }

    /// The task `name` of these files, of which `target` is to be learnt.
    #[must_use]
    pub fn task(&self, name: &str, target: &Target, test_is_labelled: bool) -> &'static Task {
        use Metric::{Accuracy, F1, MacroF1, Matthews, Pearson, Spearman};
        let (labels, metrics) = match target {
            Target::Classes(labels) if labels.len() == 2 => {
                (Some(labels.clone()), vec![Accuracy, MacroF1, F1, Matthews])
            }
            Target::Classes(labels) => (Some(labels.clone()), vec![Accuracy, MacroF1]),
            Target::Number => (None, vec![Pearson, Spearman]),
        };
        let main = if labels.is_some() { Accuracy } else { Pearson };
        let mut splits = vec![("train".to_owned(), Part::Train), ("dev".to_owned(), Part::Dev)];
        splits.extend(self.test.is_some().then(|| ("test".to_owned(), Part::Test)));
        let pair = self.text_pair.is_some();
        define(Definition { name, pair, labels, metrics, main, splits, test_is_labelled })
    }

    /// The folder with the rows of `task` in canonical form, of which those of `parts` are written anew if
    /// their file has changed. No other file need be there.
    ///
    /// # Errors
    /// As [`settle`](Self::settle), or a file cannot be written.
    pub fn prepare(&self, task: &Task, data_dir: &Path, parts: &[Part]) -> Result<PathBuf> {
        let folder = self.folder(task, data_dir)?;
        let path = folder.join("source.json");
        // Rows that are held back are drawn from the training file.
        let draws = self.dev.is_none() && parts.contains(&Part::Dev);
        let wants = |part| parts.contains(&part) || (draws && part == Part::Train);
        let sha256 = |part, path: Option<&PathBuf>| {
            path.filter(|_| wants(part)).map(|path| sha256_of(part, path)).transpose()
        };
        let key = Key {
            format: FORMAT,
            train: sha256(Part::Train, Some(&self.train))?,
            dev: sha256(Part::Dev, self.dev.as_ref())?,
            test: sha256(Part::Test, self.test.as_ref())?,
        };
        if let Some(dev) = self.dev.as_ref().filter(|_| key.train.is_some() && key.train == key.dev)
        {
            let expected = format!("other rows than those of {}", self.train.display());
            return Err(Error::content(dev, None, expected, "the same file").hint(SHARE));
        }
        let canonical = |split: &str| canonical_file(task, split, &folder);
        let mut wanted = task.splits.iter().filter(|split| wants(split.part));
        let is_there = wanted.all(|split| canonical(split.name).is_file());
        let known = text_at_most(&path, MAX_KEY_BYTES).ok();
        let known = known.and_then(|text| serde_json::from_str::<Key>(&text).ok());
        let known = known.filter(|known| known.format == FORMAT).unwrap_or_default();
        if is_there && key.clone().or(known.clone()) == known {
            return Ok(folder);
        }
        // The old key goes first: it must not vouch for files of an interrupted run.
        remove_if_there(&path)?;
        if wants(Part::Train) {
            let (train, held) = self.divided(task)?;
            if self.dev.is_none() {
                write_canonical(task, &held, &canonical("dev"))?;
            }
            write_canonical(task, &train, &canonical("train"))?;
        }
        if let Some(dev) = self.dev.as_ref().filter(|_| wants(Part::Dev)) {
            write_canonical(task, &self.rows(task, dev, true)?, &canonical("dev"))?;
        }
        if let Some(test) = self.test.as_ref().filter(|_| wants(Part::Test)) {
            let rows = self.rows(task, test, task.test.label.is_some())?;
            write_canonical(task, &rows, &canonical("test"))?;
        }
        write_json(&path, &key.or(known))?;
        Ok(folder)
    }

    /// Refuses a file `path` without the columns that these have.
    ///
    /// # Errors
    /// As it says; it cannot be read.
    pub fn check_columns(&self, path: &Path, is_labelled: bool) -> Result<()> {
        let examples = Examples::new(Table::open(path)?, self.columns(is_labelled));
        let remedy = "the run's own files have it; name the column so in a copy of this one";
        examples.map(drop).map_err(|error| error.hint(remedy))
    }

    /// The folder of what is made of these files and settings.
    fn folder(&self, task: &Task, data_dir: &Path) -> Result<PathBuf> {
        let absolute = |path: &PathBuf| {
            let absolute = std::path::absolute(path).map_err(|e| Error::io(path, "read", e))?;
            Ok(absolute.to_string_lossy().into_owned())
        };
        let paths = [Some(&self.train), self.dev.as_ref(), self.test.as_ref()];
        let paths = paths.map(|path| path.map(absolute).transpose());
        let [train, dev, test] = paths;
        let drawn = self.dev.is_none().then_some((self.dev_share.to_bits(), self.seed));
        let columns = (&self.text, &self.text_pair, &self.label);
        let labels = task.kind.labels().unwrap_or_default();
        let what = (train?, dev?, test?, columns, labels, drawn);
        let what = serde_json::to_vec(&what)
            .map_err(|e| Error::run(format!("the settings cannot be written as JSON: {e}")))?;
        let hash = sha256_hex(&what);
        let name = format!("{}-{}", task.name, hash.get(..12).unwrap_or_default());
        Ok(data_dir.join(FOLDER).join(name))
    }

    /// The rows of the file `path`.
    fn rows(&self, task: &Task, path: &Path, is_labelled: bool) -> Result<Vec<Row>> {
        let numbers = Numbers::of_task(task);
        let mut examples = Examples::new(Table::open(path)?, self.columns(is_labelled))?;
        let mut rows = Vec::new();
        while let Some(example) = examples.next_filled()? {
            let label = match is_labelled {
                true => numbers.label(&example.label),
                false => Ok(dummy(task)),
            };
            let label = label.map_err(|fault| self.wrong(path, example.line, fault))?;
            let (uid, text_a) = (rows.len().to_string(), example.text_a.unwrap_or_default());
            rows.push(Row { uid, label, text_a, text_b: example.text_b });
        }
        if rows.is_empty() {
            return Err(Error::content(path, None, "at least one row", "none"));
        }
        Ok(rows)
    }

    /// The rows of the training file that are learnt from, and those that are held back.
    pub(super) fn divided(&self, task: &Task) -> Result<(Vec<Row>, Vec<Row>)> {
        let mut train = self.rows(task, &self.train, true)?;
        let held = match self.dev {
            None => self.hold_back(task, &mut train)?,
            Some(_) => Vec::new(),
        };
        Ok((train, held))
    }

    /// Takes the rows to evaluate on out of `rows`.
    fn hold_back(&self, task: &Task, rows: &mut Vec<Row>) -> Result<Vec<Row>> {
        let held = held_back(rows, self.dev_share, self.seed);
        let mut held = held.into_iter();
        let dev: Vec<Row> = rows.extract_if(.., |_| held.next().unwrap_or(false)).collect();
        if dev.is_empty() {
            let expected = match task.kind {
                Kind::Regression => "at least 2 rows of different texts",
                Kind::Classification { .. } => "at least 2 rows of different texts of a label",
            };
            return Err(Error::content(&self.train, None, expected, "none to hold back")
                .hint("name rows to evaluate on with --dev-file"));
        }
        Ok(dev)
    }

    fn columns(&self, is_labelled: bool) -> Columns<'_> {
        Columns {
            text: &self.text,
            text_pair: self.text_pair.as_deref(),
            label: is_labelled.then_some(self.label.as_str()),
        }
    }

    fn wrong(&self, path: &Path, line: usize, fault: (Mismatch, &str)) -> Error {
        let ((expected, found), remedy) = fault;
        let error = Error::content(path, line, format!("{expected} in {}", self.label), found);
        match self.test.as_deref() == Some(path) {
            true => error.hint(format!("{remedy}; without labels all rows are predicted")),
            false => error.hint(remedy),
        }
    }

    /// Whether the test file `path` has labels: a column of them which is not empty, nor -1
    /// throughout, as in the data sets of Hugging Face that keep theirs secret.
    fn is_labelled(&self, path: &Path, target: &Target) -> Result<bool> {
        let table = Table::open(path)?;
        if !table.header().names().contains(&self.label) {
            return Ok(false);
        }
        let is_class = |name: &str| match target {
            Target::Classes(labels) => labels.iter().any(|label| label == name),
            Target::Number => false,
        };
        let is_blank = |label: &Value| match label {
            Value::Nothing => true,
            Value::Text(text) if text.trim().is_empty() => true,
            label => class_name(label).is_ok_and(|name| name == SECRET && !is_class(SECRET)),
        };
        let mut rows = Examples::new(table, self.columns(true))?;
        while let Some(example) = rows.next_filled()? {
            if !is_blank(&example.label) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The SHA-256 of the file `path`, whose rows are `part`.
pub(super) fn sha256_of(part: Part, path: &Path) -> Result<String> {
    let flag = match part {
        Part::Train => "--train-file",
        Part::Dev => "--dev-file",
        Part::Test => "--test-file",
    };
    sha256_file(path).map_err(|e| match path.exists() {
        true => e,
        false => e.hint(format!("put it back, or name its place with {flag}")),
    })
}

/// What stands for a label that is kept secret.
const SECRET: &str = "-1";

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
