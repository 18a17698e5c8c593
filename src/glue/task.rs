//! What a GLUE task is: files, columns, labels, metrics. The nine tasks stand in `table`.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::glue::names;
pub use crate::glue::table::TASKS;

/// The scores a regression label (STS-B's similarity) may take.
pub const SCORE_RANGE: RangeInclusive<f32> = 0.0..=5.0;

/// What a task's labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of the named classes; a class's number is its place in the list.
    Classification {
        /// The names as the raw files write them.
        labels: &'static [&'static str],
    },
    /// A number, as [`Task::is_score`] has it.
    Regression,
}

impl Kind {
    /// The names of the classes; `None` for regression.
    #[must_use]
    pub const fn labels(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Classification { labels } => Some(labels),
            Self::Regression => None,
        }
    }
}

/// What Hugging Face's copy of GLUE, and with it many a model there, calls the classes that are only
/// numbered in the raw files.
const HUGGING_FACE_LABELS: [(&str, [&str; 2]); 5] = [
    ("cola", ["unacceptable", "acceptable"]),
    ("sst", ["negative", "positive"]),
    ("mrpc", ["not_equivalent", "equivalent"]),
    ("qqp", ["not_duplicate", "duplicate"]),
    ("wnli", ["not_entailment", "entailment"]),
];

/// A whole-split quality measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// The share of right predictions.
    Accuracy,
    /// The harmonic mean of precision and recall of class 1.
    F1,
    /// The mean over the classes of the same of each.
    MacroF1,
    /// Matthews' correlation coefficient.
    Matthews,
    /// Pearson's correlation coefficient.
    Pearson,
    /// Spearman's rank correlation coefficient.
    Spearman,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Accuracy, Self::F1, Self::MacroF1, Self::Matthews, Self::Pearson, Self::Spearman];

    /// The name in score files and TensorBoard tags.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Accuracy => "ACC",
            Self::F1 => "F1",
            Self::MacroF1 => "MacroF1",
            Self::Matthews => "MCC",
            Self::Pearson => "Pearson",
            Self::Spearman => "Spearman",
        }
    }

    /// Whether it measures predictions of one of so many `classes`, or of numbers where there are none.
    #[must_use]
    pub const fn measures(self, classes: Option<usize>) -> bool {
        match self {
            Self::Accuracy | Self::MacroF1 | Self::Matthews => classes.is_some(),
            Self::F1 => matches!(classes, Some(2)),
            Self::Pearson | Self::Spearman => classes.is_none(),
        }
    }

    /// The metric called `name`: by its tag or in full, in any spelling.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let name = names::plain(name);
        let full = |metric: Self| match metric {
            Self::Accuracy => "accuracy",
            Self::Matthews => "matthews",
            other => other.tag(),
        };
        let is = |metric: &Self| [metric.tag(), full(*metric)].map(names::plain).contains(&name);
        Self::ALL.into_iter().find(is)
    }
}

/// What a split is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Labelled rows to learn from.
    Train,
    /// Labelled rows to choose the best model by.
    Dev,
    /// Rows to predict; of GLUE's only its server knows the labels, one's own may have some.
    Test,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];
}

/// One raw file of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The name in data-set names: `train`, `dev`, `matched_dev`, ...
    pub name: &'static str,
    /// The raw file's name inside the task's folder.
    pub file: &'static str,
    /// What the split is used for.
    pub part: Part,
}

/// A column of a raw file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Counted from the first column, which is 0.
    First(usize),
    /// Counted from the last column, which is 1.
    Last(usize),
}

/// Where a row's identifier comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uid {
    /// The row's number, from 0, among the rows kept.
    RowNumber,
    /// The first column.
    FirstColumn,
}

/// How to read the rows of a raw file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whether the first line names the columns.
    pub header: bool,
    /// The fewest fields a row of the official file has.
    pub fields: usize,
    /// Whether rows with fewer fields are skipped rather than refused.
    pub skip_short: bool,
    /// The first text.
    pub text_a: Column,
    /// The second text, of tasks on pairs.
    pub text_b: Option<Column>,
    /// The label; `None` in test files.
    pub label: Option<Column>,
    /// A label that marks a row to skip.
    pub skip_label: Option<&'static str>,
    /// Where the row's identifier comes from.
    pub uid: Uid,
}

/// One task of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The name in data-set names and on the command line.
    pub name: &'static str,
    /// The folder of the raw files.
    pub folder: &'static str,
    /// Classification or regression.
    pub kind: Kind,
    /// What is measured, in the order it is reported.
    pub metrics: &'static [Metric],
    /// The measure by which the best model is chosen.
    pub main: Metric,
    /// The raw files, training first.
    pub splits: &'static [Split],
    /// How train and dev files are read.
    pub labelled: Layout,
    /// How test files are read.
    pub test: Layout,
}

impl Task {
    /// The number of the model's outputs: one per class, or 1 for regression.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        match self.kind.labels() {
            Some(labels) => labels.len(),
            None => 1,
        }
    }

    /// The dropout before the head where the original's table of tasks has one for this task, of GLUE's.
    #[must_use]
    pub fn head_dropout(&self) -> Option<f64> {
        (self.name == "cola").then_some(0.05)
    }

    /// The names that each class goes by, the task's own first; none for regression.
    #[must_use]
    pub fn class_names(&self) -> Vec<Vec<&'static str>> {
        let labels = self.kind.labels().unwrap_or_default();
        let others = HUGGING_FACE_LABELS.iter().find(|(name, _)| *name == self.name);
        let other = |class: usize| others?.1.get(class).copied();
        labels
            .iter()
            .enumerate()
            .map(|(n, own)| [Some(*own), other(n)].into_iter().flatten().collect())
            .collect()
    }

    /// Whether `score` may be a label of a regression: from STS-B's range, or any number where the
    /// task is one's own.
    #[must_use]
    pub fn is_score(&self, score: f32) -> bool {
        match self.is_own() {
            true => score.is_finite(),
            false => SCORE_RANGE.contains(&score),
        }
    }

    /// Whether the task is none of [`TASKS`].
    #[must_use]
    pub fn is_own(&self) -> bool {
        TASKS.iter().all(|task| task.name != self.name)
    }

    /// The name of the task at Hugging Face, as `finetuning_task` in a `config.json` gives it; `None` where
    /// it is none of [`TASKS`].
    #[must_use]
    pub fn hub_name(&self) -> Option<&'static str> {
        (!self.is_own()).then_some(if self.name == "sst" { "sst2" } else { self.name })
    }

    /// Whether a row holds two texts.
    #[must_use]
    pub const fn is_pair(&self) -> bool {
        self.labelled.text_b.is_some()
    }

    /// The data set's name, `{task}_{split}`, such as `mnli_matched_dev`.
    #[must_use]
    pub fn data_set(&self, split: &Split) -> String {
        format!("{}_{}", self.name, split.name)
    }

    /// A data set's name without its part, as `mnli_matched` or `rte`.
    #[must_use]
    pub fn eval_name(&self, split: &Split) -> String {
        let name = self.data_set(split);
        let part = ["_train", "_dev", "_test"].into_iter().find_map(|part| name.strip_suffix(part));
        part.map_or_else(|| name.clone(), str::to_owned)
    }

    /// How the raw file of `split` is read.
    #[must_use]
    pub const fn layout(&self, split: &Split) -> &Layout {
        match split.part {
            Part::Train | Part::Dev => &self.labelled,
            Part::Test => &self.test,
        }
    }

    /// The split called `name`, in any case.
    ///
    /// # Errors
    /// The task has no such split.
    pub fn split(&self, name: &str) -> Result<&'static Split> {
        self.splits.iter().find(|split| split.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let names: Vec<_> = self.splits.iter().map(|split| split.name).collect();
            let expected = format!("one of {}", names.join(", "));
            let error = Error::value(format!("split of {}", self.name), expected, name);
            names::did_you_mean(error, name, names.iter().copied())
        })
    }

    /// Whether `name`, however it is spelled, is that of the evaluation set of `split`, or of the
    /// whole task.
    #[must_use]
    pub fn is_called(&self, split: &Split, name: &str) -> bool {
        let name = names::plain(name);
        let is_set = |split: &Split| {
            // The GLUE server's letters for MNLI's sets.
            let letters = match split.name.split_once('_') {
                Some(("matched", _)) => Some("m"),
                Some(("mismatched", _)) => Some("mm"),
                _ => None,
            };
            name == names::plain(&self.eval_name(split))
                || letters.is_some_and(|m| name == format!("{}{m}", names::plain(self.name)))
        };
        let is_task = name == names::plain(self.name) || names::canonical(&name) == self.name;
        let mut sets = self.splits.iter().filter(|split| split.part != Part::Train);
        is_set(split) || (is_task && !sets.any(is_set))
    }
}

/// The task called `name`, in any of its usual spellings: `sst`, `SST-2` and `sst2` are one.
///
/// # Errors
/// There is no such task; the error lists those there are.
pub fn task(name: &str) -> Result<&'static Task> {
    let canonical = names::canonical(name);
    TASKS.iter().find(|task| task.name == canonical).ok_or_else(|| {
        let names: Vec<_> = TASKS.iter().map(|task| task.name).collect();
        let error = Error::value("task", format!("one of {}", names.join(", ")), name);
        names::did_you_mean(error, name, names.iter().copied())
    })
}

/// The task and split of a data set's name, such as `mnli_matched_dev`.
///
/// # Errors
/// The task or the split does not exist; the error lists those there are.
pub fn data_set(name: &str) -> Result<(&'static Task, &'static Split)> {
    let (task_name, split_name) = name.split_once('_').unwrap_or((name, ""));
    let task = task(task_name)?;
    let split = task.split(split_name).map_err(|_| {
        let names: Vec<_> = task.splits.iter().map(|split| task.data_set(split)).collect();
        let error = Error::value("data set", format!("one of {}", names.join(", ")), name);
        names::did_you_mean(error, name, names.iter().map(String::as_str))
    })?;
    Ok((task, split))
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
