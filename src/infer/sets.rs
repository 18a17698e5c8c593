//! A task's data for a model: prepares what is missing, reads it, and checks it against the model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bert::BertConfig;
use crate::error::{Error, Result};
use crate::glue::names::did_you_mean;
use crate::glue::prepare::{
    Options, PrepareEvent, check_encoded, encoded_dir, encoded_file, holds_encoded, prepare,
};
use crate::glue::sample::{Sample, read_samples};
use crate::glue::task::{Part, Split, Task};

/// How often data is prepared anew that another process has replaced before it was read.
const TRIES: usize = 5;

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
    /// The task that it is of.
    pub task: &'static Task,
    /// The model's head for that task.
    pub head: usize,
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

/// Which evaluation sets are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// As `mnli_matched`; none for all.
    pub data_sets: &'a [String],
    /// No dev sets.
    pub no_dev: bool,
    /// The test sets too.
    pub tests: bool,
    /// Test sets with true labels: of GLUE's tasks, which have none, from files of their own.
    pub with_label: bool,
}

impl Wanted<'_> {
    /// The parts of the data that they are of.
    pub fn parts(&self) -> Vec<Part> {
        let dev = (!self.no_dev).then_some(Part::Dev);
        let test = (self.tests || self.with_label).then_some(Part::Test);
        dev.into_iter().chain(test).collect()
    }
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
    pub on_progress: &'a (dyn Fn(PrepareEvent<'_>) + Sync),
}

impl Data<'_> {
    /// The samples of all splits of `part`.
    ///
    /// # Errors
    /// A file is missing or malformed, or does not belong to the model.
    pub fn samples(&self, part: Part) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for split in self.splits(part) {
            samples.extend(self.prepared(part != Part::Test, split)?.0);
        }
        Ok(samples)
    }

    /// The evaluation sets, dev sets first.
    ///
    /// # Errors
    /// A data set is not the task's, a file is missing or malformed, or a sample is longer than
    /// the model's positions reach.
    pub fn eval_sets(&self, wanted: &Wanted) -> Result<Vec<EvalSet>> {
        self.check_names(wanted.data_sets)?;
        let mut sets = Vec::new();
        for part in wanted.parts() {
            for split in self.splits(part) {
                let data_set = self.task.eval_name(split);
                let all = wanted.data_sets.is_empty();
                if !all && !wanted.data_sets.iter().any(|w| self.task.is_called(split, w)) {
                    continue;
                }
                let labelled = part == Part::Dev || wanted.with_label;
                let elsewhere = part == Part::Test && self.task.test.label.is_none();
                let (samples, path) = if elsewhere && wanted.with_label {
                    let path = self.labelled_test(&data_set)?;
                    (self.read(labelled, &path)?, path)
                } else {
                    self.prepared(labelled, split)?
                };
                self.check_lengths(&samples, &path)?;
                let name = self.task.data_set(split);
                let uids = samples.iter().map(|s| s.uid.clone()).collect();
                let (task, head) = (self.task, 0);
                let about = SetInfo { task, head, name, data_set, part, labelled, uids };
                sets.push(EvalSet { about, samples });
            }
        }
        Ok(sets)
    }

    fn splits(&self, part: Part) -> impl Iterator<Item = &'static Split> {
        self.task.splits.iter().filter(move |split| split.part == part)
    }

    fn check_names(&self, names: &[String]) -> Result<()> {
        let known = |name: &&String| self.splits(Part::Dev).any(|s| self.task.is_called(s, name));
        match names.iter().find(|name| !known(name)) {
            Some(name) => {
                let known = self.splits(Part::Dev).map(|s| self.task.eval_name(s));
                let known: Vec<String> = known.collect();
                let expected = format!("data sets of {}: {}", self.task.name, known.join(", "));
                let error = Error::value("test_datasets", expected, name);
                Err(did_you_mean(error, name, known.iter().map(String::as_str)))
            }
            None => Ok(()),
        }
    }

    /// The samples of `split`, and their file, made if need be.
    fn prepared(&self, labelled: bool, split: &Split) -> Result<(Vec<Sample>, PathBuf)> {
        if holds_encoded(self.task, self.options.data_dir) {
            let Options { data_dir, tokenizer } = self.options;
            check_encoded(self.task, split, data_dir, tokenizer)?;
            let path = encoded_file(self.task, split, data_dir);
            return Ok((self.read(labelled, &path)?, path));
        }
        for _ in 0..TRIES {
            let done = prepare(self.task, Some(&[split.name]), &self.options, self.on_progress)?;
            let Some(set) = done.into_iter().next() else { break };
            let samples = self.read(labelled, &set.path);
            if set.is_still_there() {
                return Ok((samples?, set.path));
            }
        }
        let (set, folder) = (self.task.data_set(split), encoded_dir(&self.options)?);
        Err(Error::run(format!(
            "{set}: other processes keep preparing it in {} for other tokenizers",
            folder.display()
        ))
        .hint("give each its own --data-dir, or name the tokenizers' folders differently"))
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
        Err(Error::value("with_label", format!("a file {}", path.display()), "none").hint(
            "GLUE's test labels are not public: put your own there, encoded; only a run with the \
                    setting with_label needs them",
        ))
    }

    fn check_lengths(&self, samples: &[Sample], path: &Path) -> Result<()> {
        let reach = self.bert.max_tokens();
        let longest = samples.iter().map(|s| s.token_id.len()).max().unwrap_or(0);
        if longest <= reach {
            return Ok(());
        }
        let expected = format!("samples of at most {reach} tokens, the model's longest");
        Err(Error::content(path, None, expected, format!("one of {longest}"))
            .hint("start from a model with more positions (max_position_embeddings)"))
    }

    fn read(&self, labelled: bool, path: &Path) -> Result<Vec<Sample>> {
        let samples = read_samples(self.task, labelled, path)?;
        check_ids(&samples, path, 1, self.bert)?;
        Ok(samples)
    }
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
        let types = bert.token_types();
        if let Some(id) = sample.type_id.iter().find(|id| usize::from(**id) >= types) {
            return Err(Error::content(
                path,
                line,
                format!("token types below the model's type_vocab_size {types}"),
                id,
            ));
        }
    }
    Ok(())
}
