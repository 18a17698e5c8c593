//! The data of a run: prepares what is missing, reads it, and checks it against the model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bert::BertConfig;
use crate::error::{Error, Result};
use crate::glue::prepare::{Options, Progress, encoded_dir, encoded_file, holds_encoded, prepare};
use crate::glue::sample::{Sample, read_samples};
use crate::glue::task::{Part, Split, Task};

/// One evaluation set.
#[derive(Debug, Clone)]
pub struct EvalSet {
    /// Its name, and what is known about it.
    pub about: SetInfo,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// What is known about an evaluation set.
#[derive(Debug, Clone, PartialEq)]
pub struct SetInfo {
    /// With its part, as `mnli_matched_dev`.
    pub name: String,
    /// Without it, as `mnli_matched`: the name in the original's files and tags.
    pub data_set: String,
    /// Dev or test.
    pub part: Part,
    /// Whether its labels are true ones, so that there is something to score.
    pub labelled: bool,
    /// The samples' identifiers.
    pub uids: Arc<[String]>,
}

/// The training samples that are short enough.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// The samples.
    pub samples: Vec<Sample>,
    /// How many more were too long.
    pub dropped: usize,
}

/// Which evaluation sets are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// As `mnli_matched`; none for all.
    pub data_sets: &'a [String],
    /// No dev sets.
    pub no_dev: bool,
    /// The test sets too.
    pub tests: bool,
    /// Test sets with true labels, from files of their own.
    pub with_label: bool,
}

/// A task's data for a model.
pub struct Data<'a> {
    /// The task.
    pub task: &'static Task,
    /// Where its files and the tokenizer are.
    pub options: Options<'a>,
    /// The model's sizes.
    pub bert: &'a BertConfig,
    /// Told about what is being prepared.
    pub on_progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

impl Data<'_> {
    /// The training samples of at most `max_tokens` tokens.
    ///
    /// # Errors
    /// A file is missing or malformed, does not belong to the model, or holds no sample that is
    /// short enough.
    pub fn training_set(&self, max_tokens: usize) -> Result<TrainingSet> {
        let limit = max_tokens.min(self.bert.max_position_embeddings);
        let mut samples = Vec::new();
        for split in self.splits(Part::Train) {
            samples.extend(self.read(&self.prepared(split)?)?);
        }
        let all = samples.len();
        samples.retain(|s| s.token_id.len() <= limit);
        if samples.is_empty() {
            let name = if limit == max_tokens { "max_seq_len" } else { "max_position_embeddings" };
            return Err(Error::value(
                name,
                format!("training samples of at most {limit} tokens"),
                format!("{all} samples, all of them longer"),
            ));
        }
        Ok(TrainingSet { dropped: all - samples.len(), samples })
    }

    /// The evaluation sets, dev sets first.
    ///
    /// # Errors
    /// A data set is not the task's, a file is missing or malformed, or a sample is longer than
    /// the model's positions reach.
    pub fn eval_sets(&self, wanted: &Wanted) -> Result<Vec<EvalSet>> {
        self.check_names(wanted.data_sets)?;
        let mut sets = Vec::new();
        for part in [Part::Dev, Part::Test] {
            let skipped = match part {
                Part::Test => !wanted.tests && !wanted.with_label,
                _ => wanted.no_dev,
            };
            if skipped {
                continue;
            }
            for split in self.splits(part) {
                let data_set = self.task.eval_name(split);
                let all = wanted.data_sets.is_empty();
                if !all && !wanted.data_sets.iter().any(|w| *w == data_set || w == self.task.name) {
                    continue;
                }
                let labelled = part == Part::Dev || wanted.with_label;
                let path = if part == Part::Test && wanted.with_label {
                    self.labelled_test(&data_set)?
                } else {
                    self.prepared(split)?
                };
                let samples = self.read(&path)?;
                self.check_lengths(&samples, &path)?;
                let name = self.task.data_set(split);
                let uids = samples.iter().map(|s| s.uid.clone()).collect();
                let about = SetInfo { name, data_set, part, labelled, uids };
                sets.push(EvalSet { about, samples });
            }
        }
        Ok(sets)
    }

    fn splits(&self, part: Part) -> impl Iterator<Item = &'static Split> {
        self.task.splits.iter().filter(move |split| split.part == part)
    }

    fn check_names(&self, names: &[String]) -> Result<()> {
        let known: Vec<String> = self.splits(Part::Dev).map(|s| self.task.eval_name(s)).collect();
        match names.iter().find(|name| !known.contains(name) && *name != self.task.name) {
            Some(name) => Err(Error::value(
                "test_datasets",
                format!("data sets of {}: {}", self.task.name, known.join(", ")),
                name,
            )),
            None => Ok(()),
        }
    }

    /// The encoded file of `split`, made if need be.
    fn prepared(&self, split: &Split) -> Result<PathBuf> {
        if holds_encoded(self.task, self.options.data_dir) {
            return Ok(encoded_file(self.task, split, self.options.data_dir));
        }
        let done = prepare(self.task, Some(&[split.name]), &self.options, self.on_progress)?;
        done.into_iter()
            .next()
            .map(|p| p.path)
            .ok_or_else(|| Error::run(format!("{} was not prepared", self.task.data_set(split))))
    }

    fn labelled_test(&self, data_set: &str) -> Result<PathBuf> {
        let dir = if holds_encoded(self.task, self.options.data_dir) {
            self.options.data_dir.to_path_buf()
        } else {
            encoded_dir(&self.options)?
        };
        let path = dir.join(format!("{data_set}_test_labeled.json"));
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::value("with_label", format!("a file {}", path.display()), "none")
            .hint("GLUE's test labels are not public: encode your own, or leave out --with-label"))
    }

    fn check_lengths(&self, samples: &[Sample], path: &Path) -> Result<()> {
        let reach = self.bert.max_position_embeddings;
        let longest = samples.iter().map(|s| s.token_id.len()).max().unwrap_or(0);
        if longest <= reach {
            return Ok(());
        }
        let expected = format!("samples of at most {reach} tokens, the model's longest");
        Err(Error::content(path, None, expected, format!("one of {longest}"))
            .hint("start from a model with more positions (max_position_embeddings)"))
    }

    fn read(&self, path: &Path) -> Result<Vec<Sample>> {
        let samples = read_samples(self.task, path)?;
        check_ids(&samples, path, 1, self.bert)?;
        Ok(samples)
    }
}

/// An upper bound of the number of training samples, from the lines of the raw file; `None` where
/// there is none to count.
pub fn raw_training_rows(task: &Task, data_dir: &Path) -> Option<usize> {
    let split = task.splits.iter().find(|s| s.part == Part::Train)?;
    let mut file = std::fs::File::open(data_dir.join(task.folder).join(split.file)).ok()?;
    let (mut lines, mut last, mut buffer) = (0usize, b'\n', [0u8; 1 << 16]);
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).ok()?;
        let read = buffer.get(..n)?;
        let Some(end) = read.last() else { break };
        lines += read.iter().filter(|byte| **byte == b'\n').count();
        last = *end;
    }
    let rows = lines + usize::from(last != b'\n');
    Some(rows.saturating_sub(usize::from(task.layout(split).header)))
}

/// Checks the ids of samples from `path`, the first of them from line `first`: one beyond its
/// embedding table would read outside of it.
///
/// # Errors
/// A token id or type that the model has no embedding for; it names its line.
pub fn check_ids(samples: &[Sample], path: &Path, first: usize, bert: &BertConfig) -> Result<()> {
    for (line, sample) in (first..).zip(samples) {
        if let Some(id) = sample.token_id.iter().find(|id| **id as usize >= bert.vocab_size) {
            return Err(Error::content(
                path,
                line,
                format!("token ids below the model's vocab_size {}", bert.vocab_size),
                id,
            )
            .hint("the tokenizer must belong to the checkpoint"));
        }
        if let Some(id) = sample.type_id.iter().find(|id| usize::from(**id) >= bert.type_vocab_size)
        {
            return Err(Error::content(
                path,
                line,
                format!("token types below the model's type_vocab_size {}", bert.type_vocab_size),
                id,
            ));
        }
    }
    Ok(())
}
