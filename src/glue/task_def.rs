//! The original's task table in YAML, also for tasks of one's own.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::glue::names::{self, did_you_mean};
use crate::glue::own::labels::MOST_CLASSES;
use crate::glue::read::text_at_most;
use crate::glue::task::{Column, Kind, Layout, Metric, Part, Split, TASKS, Task, Uid};
use crate::glue::yaml;

/// What the table says of one task. Keys that are not here concern other networks.
#[derive(Debug, Deserialize)]
struct Entry {
    data_format: String,
    task_type: String,
    n_class: usize,
    #[serde(default)]
    labels: Option<Vec<String>>,
    metric_meta: Vec<String>,
    #[serde(default)]
    split_names: Option<Vec<String>>,
    #[serde(default)]
    dropout_p: Option<f64>,
    #[serde(default)]
    enable_san: bool,
}

/// A task of such a table.
#[derive(Debug, Clone, Copy)]
pub struct Defined {
    /// One of [`TASKS`], or one that lives as long as the program.
    pub task: &'static Task,
    /// The dropout before the head's last layer, if the table has one.
    pub dropout_p: Option<f64>,
}

/// Tasks of tables that have been read, each once.
static OWN: Mutex<Vec<&'static Task>> = Mutex::new(Vec::new());

/// Reads the task `name` from the table `path`. An entry for one of GLUE's tasks must agree with
/// it; any other defines a task whose rows are canonical: uid, label, text a[, text b].
///
/// # Errors
/// The file is no such table, or has no usable entry of this name.
pub fn read(path: &Path, name: &str) -> Result<Defined> {
    let text = text_at_most(path, MAX_BYTES)?;
    let known = yaml::keys(&text)
        .map_err(|e| Error::content(path, None, "a task table in YAML", e.without_snippet()))?;
    // An entry of this very name may be anybody's; else it is one of GLUE's tasks.
    let own = |name: &str| known.iter().any(|known| known == name);
    let name = match names::canonical(name) {
        canonical if !own(name) && own(&canonical) => canonical,
        _ => name.to_string(),
    };
    let name = name.as_str();
    if !own(name) {
        let expected = format!("an entry {name}");
        let error = Error::content(path, None, expected, format!("only {}", known.join(", ")));
        return Err(did_you_mean(error, name, known.iter().map(String::as_str)));
    }
    let entry: Option<Entry> = yaml::value(&text, name).map_err(|e| {
        Error::content(path, None, format!("a usable entry {name}"), e.without_snippet())
    })?;
    let Some(entry) = entry else {
        return Err(Error::content(path, None, format!("a usable entry {name}"), "none"));
    };
    let wrong = |expected: String, found: String| {
        Error::content(path, None, format!("{expected} for {name}"), found)
    };
    if entry.enable_san {
        return Err(wrong("enable_san false".into(), "true".into())
            .hint("answer networks (SAN) are not there"));
    }
    let pair = match entry.data_format.as_str() {
        "PremiseOnly" => false,
        "PremiseAndOneHypothesis" => true,
        other => {
            let expected = "data_format PremiseOnly or PremiseAndOneHypothesis";
            return Err(wrong(expected.into(), format!("{other:?}")));
        }
    };
    let labels = match entry.task_type.as_str() {
        "Regression" => None,
        "Classification" => Some(classes(&entry).map_err(|(e, f)| wrong(e, f))?),
        other => {
            let expected = "task_type Classification or Regression";
            return Err(wrong(expected.into(), format!("{other:?}")));
        }
    };
    let metrics = entry.metric_meta.iter().map(|tag| metric(tag).ok_or(tag));
    let metrics: Vec<Metric> = metrics.collect::<Result<_, _>>().map_err(|tag| {
        wrong("metric_meta of ACC, F1, MCC, Pearson, Spearman".into(), format!("{tag:?}"))
    })?;
    let Some(main) = metrics.first().copied() else {
        return Err(wrong("at least one metric in metric_meta".into(), "none".into()));
    };
    let classes = labels.as_ref().map(Vec::len);
    if let Some(other) = metrics.iter().find(|metric| !metric.measures(classes)) {
        let known = Metric::ALL.into_iter().filter(|known| known.measures(classes));
        let known: Vec<&str> = known.map(Metric::tag).filter(|tag| metric(tag).is_some()).collect();
        let of = classes.map_or("scores".to_owned(), |count| format!("{count} classes"));
        let expected = format!("metric_meta of {}, which measure {of},", known.join(", "));
        return Err(wrong(expected, other.tag().into()));
    }
    let dropout_p = entry.dropout_p;
    if let Some(task) = TASKS.iter().find(|task| task.name == name) {
        let known: Option<Vec<&str>> = task.kind.labels().map(<[_]>::to_vec);
        let named: Option<Vec<&str>> =
            labels.as_ref().map(|labels| labels.iter().map(String::as_str).collect());
        if (task.is_pair(), &known) != (pair, &named) {
            let words = |pair: bool, labels: &Option<Vec<&str>>| {
                let texts = if pair { "two texts" } else { "one text" };
                let labels = labels.as_ref().map_or("scores".into(), |l| l.join(", "));
                format!("{texts} with {labels}")
            };
            return Err(wrong(words(task.is_pair(), &known), words(pair, &named)));
        }
        let main = if metrics.contains(&task.main) { task.main } else { main };
        return Ok(Defined { task: measured_by(task, metrics, main), dropout_p });
    }
    // The name becomes part of file names.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(wrong("a name of letters, digits and hyphens".into(), format!("{name:?}")));
    }
    let splits = splits(&entry).map_err(|(e, f)| wrong(e, f))?;
    let test_is_labelled = false;
    let task = define(Definition { name, pair, labels, metrics, main, splits, test_is_labelled });
    Ok(Defined { task, dropout_p })
}

/// The label names: those named, or as many numbers.
fn classes(entry: &Entry) -> Result<Vec<String>, (String, String)> {
    let labels = entry
        .labels
        .clone()
        .unwrap_or_else(|| (0..entry.n_class.min(MOST_CLASSES)).map(|n| n.to_string()).collect());
    if labels.len() != entry.n_class || !(2..=MOST_CLASSES).contains(&entry.n_class) {
        let expected = format!("n_class from 2 to {MOST_CLASSES}, the number of the labels");
        return Err((expected, format!("{} and {} labels", entry.n_class, labels.len())));
    }
    let mut seen = labels.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != labels.len()
        || labels.iter().any(|l| l.trim() != l || l.contains(char::is_control))
    {
        return Err(("each label once, on one line".into(), format!("{labels:?}")));
    }
    Ok(labels)
}

/// The largest table, in bytes; the original's has 6,000.
const MAX_BYTES: u64 = 1 << 20;

fn metric(tag: &str) -> Option<Metric> {
    let original = |metric: &Metric| *metric != Metric::MacroF1;
    Metric::ALL.into_iter().filter(original).find(|metric| metric.tag() == tag)
}

/// The names and parts of the splits.
fn splits(entry: &Entry) -> Result<Vec<(String, Part)>, (String, String)> {
    let default = || ["train", "dev", "test"].map(str::to_string).to_vec();
    let names = entry.split_names.clone().unwrap_or_else(default);
    let part = |name: &str| match name.rsplit('_').next() {
        Some("train") => Some(Part::Train),
        Some("dev") => Some(Part::Dev),
        Some("test") => Some(Part::Test),
        _ => None,
    };
    let split = |name: &String| {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let part = part(name).filter(|_| plain);
        let part = part.ok_or_else(|| {
            ("split_names that end in train, dev or test".to_string(), format!("{name:?}"))
        })?;
        Ok((name.clone(), part))
    };
    names.iter().map(split).collect()
}

/// A task of canonical rows.
pub(super) struct Definition<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Whether a row holds two texts.
    pub(super) pair: bool,
    /// The classes; `None` for a regression.
    pub(super) labels: Option<Vec<String>>,
    /// What is measured.
    pub(super) metrics: Vec<Metric>,
    /// What decides.
    pub(super) main: Metric,
    /// Names and parts.
    pub(super) splits: Vec<(String, Part)>,
    /// Whether test rows have their true labels.
    pub(super) test_is_labelled: bool,
}

/// `task` with these metrics, of which `main` chooses the best model.
fn measured_by(task: &'static Task, metrics: Vec<Metric>, main: Metric) -> &'static Task {
    let is_it = |known: &Task| {
        known.metrics == metrics
            && known.main == main
            && *task == Task { metrics: task.metrics, main: task.main, ..*known }
    };
    if is_it(task) {
        return task;
    }
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = own.iter().find(|known| is_it(known)) {
        return known;
    }
    let measured = Task { metrics: Vec::leak(metrics), main, ..*task };
    let measured: &'static Task = Box::leak(Box::new(measured));
    own.push(measured);
    measured
}

/// `task` with `metric` to choose the best model by.
///
/// # Errors
/// It is not measured on the task.
pub fn decided_by(task: &'static Task, metric: Metric) -> Result<&'static Task> {
    if !task.metrics.contains(&metric) {
        let known: Vec<_> = task.metrics.iter().map(|metric| metric.tag()).collect();
        let expected = format!("a metric of {}: {}", task.name, known.join(", "));
        return Err(Error::value("metric", expected, metric.tag()));
    }
    Ok(measured_by(task, task.metrics.to_vec(), metric))
}

/// The task of this definition; the same one each time, so that memory is taken once.
pub(super) fn define(definition: Definition) -> &'static Task {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = own.iter().find(|known| definition.is_of(known)) {
        return known;
    }
    let Definition { name, pair, labels, metrics, main, splits, test_is_labelled } = definition;
    let splits = splits.into_iter().map(|(name, part)| {
        let file = forever(format!("{name}.tsv"));
        Split { name: forever(name), file, part }
    });
    let splits = splits.collect::<Vec<_>>();
    let labels = labels.map(|labels| labels.into_iter().map(forever).collect::<Vec<_>>());
    let kind = match labels {
        Some(labels) => Kind::Classification { labels: Vec::leak(labels) },
        None => Kind::Regression,
    };
    let labelled = Layout {
        header: false,
        fields: if pair { 4 } else { 3 },
        skip_short: false,
        text_a: Column::First(2),
        text_b: pair.then_some(Column::First(3)),
        label: Some(Column::First(1)),
        skip_label: None,
        uid: Uid::FirstColumn,
    };
    let name = forever(name.to_string());
    let (metrics, splits) = (Vec::leak(metrics), Vec::leak(splits));
    let test = Layout { label: labelled.label.filter(|_| test_is_labelled), ..labelled };
    let task = Task { name, folder: name, kind, metrics, main, splits, labelled, test };
    let task: &'static Task = Box::leak(Box::new(task));
    own.push(task);
    task
}

impl Definition<'_> {
    /// Whether `task` is what it defines.
    fn is_of(&self, task: &Task) -> bool {
        let labels = task.kind.labels();
        let own = |(split, (name, part)): (&Split, &(String, Part))| {
            split.name == name && split.part == *part
        };
        let same =
            task.splits.len() == self.splits.len() && task.splits.iter().zip(&self.splits).all(own);
        let labels_match = match (labels, &self.labels) {
            (Some(known), Some(named)) => known.iter().eq(named.iter()),
            (known, named) => known.is_none() && named.is_none(),
        };
        same && labels_match
            && (task.name, task.is_pair()) == (self.name, self.pair)
            && (task.metrics, task.main) == (self.metrics.as_slice(), self.main)
            && task.test.label.is_some() == self.test_is_labelled
    }
}

fn forever(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[cfg(test)]
#[path = "task_def_tests.rs"]
mod tests;
