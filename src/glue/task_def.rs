//! The original's task table in YAML, also for tasks of one's own.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::glue::names::{self, did_you_mean};
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
    let dropout_p = entry.dropout_p;
    if let Some(task) = TASKS.iter().find(|task| task.name == name) {
        let known: Option<Vec<&str>> = match task.kind {
            Kind::Classification { labels } => Some(labels.to_vec()),
            Kind::Regression => None,
        };
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
        return Ok(Defined { task, dropout_p });
    }
    // The name becomes part of file names.
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(wrong("a name of letters, digits and hyphens".into(), format!("{name:?}")));
    }
    let splits = splits(&entry).map_err(|(e, f)| wrong(e, f))?;
    let task = define(Definition { name, pair, labels, metrics, main, splits });
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

/// More than any table has.
const MOST_CLASSES: usize = 10_000;

fn metric(tag: &str) -> Option<Metric> {
    use Metric::{Accuracy, F1, Matthews, Pearson, Spearman};
    [Accuracy, F1, Matthews, Pearson, Spearman].into_iter().find(|metric| metric.tag() == tag)
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

struct Definition<'a> {
    name: &'a str,
    pair: bool,
    labels: Option<Vec<String>>,
    metrics: Vec<Metric>,
    main: Metric,
    splits: Vec<(String, Part)>,
}

/// The task of this definition; the same one each time, so that memory is taken once.
fn define(definition: Definition) -> &'static Task {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = own.iter().find(|known| definition.is_of(known)) {
        return known;
    }
    let Definition { name, pair, labels, metrics, main, splits } = definition;
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
    let test = Layout { label: None, ..labelled };
    let task = Task { name, folder: name, kind, metrics, main, splits, labelled, test };
    let task: &'static Task = Box::leak(Box::new(task));
    own.push(task);
    task
}

impl Definition<'_> {
    /// Whether `task` is what it defines.
    fn is_of(&self, task: &Task) -> bool {
        let labels = match task.kind {
            Kind::Classification { labels } => Some(labels),
            Kind::Regression => None,
        };
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
    }
}

fn forever(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tasks.yml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    /// Two entries as they stand in the original's table, and one of a user.
    const TABLE: &str = "\
cola:
  data_format: PremiseOnly
  dropout_p: 0.05
  enable_san: false
  metric_meta:
  - ACC
  - MCC
  loss: CeCriterion
  kd_loss: MseCriterion
  adv_loss: SymKlCriterion
  n_class: 2
  task_type: Classification
stsb:
  data_format: PremiseAndOneHypothesis
  enable_san: false
  metric_meta: [Pearson, Spearman]
  n_class: 1
  loss: MseCriterion
  task_type: Regression
mood: {data_format: PremiseOnly, metric_meta: [F1, ACC], n_class: 2, labels: [sad, glad],
  split_names: [train, home_dev], task_type: Classification}
";

    #[test]
    fn entries_of_the_original_s_table_are_its_tasks() {
        let (_dir, path) = table(TABLE);
        let cola = read(&path, "cola").unwrap();
        assert_eq!((cola.task.name, cola.dropout_p), ("cola", Some(0.05)));
        assert_eq!(
            read(&path, "stsb").unwrap().task,
            TASKS.iter().find(|t| t.name == "stsb").unwrap()
        );
    }

    #[test]
    fn another_entry_defines_a_task_of_canonical_rows() {
        let (_dir, path) = table(TABLE);
        let mood = read(&path, "mood").unwrap().task;
        assert_eq!(mood.kind, Kind::Classification { labels: &["sad", "glad"] });
        assert_eq!((mood.main, mood.is_pair(), mood.outputs()), (Metric::F1, false, 2));
        assert_eq!(mood.eval_name(&mood.splits[1]), "mood_home");
        assert!(std::ptr::eq(mood, read(&path, "mood").unwrap().task), "memory is taken once");
    }

    #[test]
    fn memory_is_taken_once_for_each_definition() {
        let (_dir, path) = table(TABLE);
        let mood = read(&path, "mood").unwrap().task;
        let known = OWN.lock().unwrap().len();
        for (from, to) in [
            ("glad]", "merry]"),
            ("[sad, glad]", "[glad, sad]"),
            ("[F1, ACC]", "[ACC, F1]"),
            ("[F1, ACC]", "[F1]"),
            ("home_dev", "far_dev"),
            ("[train, home_dev]", "[train]"),
            ("PremiseOnly, metric", "PremiseAndOneHypothesis, metric"),
            ("n_class: 2, labels: [sad, glad],\n  split", "n_class: 1, split"),
        ] {
            let other = TABLE.replacen(from, to, 1);
            let other = other.replace(
                "Classification}",
                match from.contains("n_class") {
                    true => "Regression}",
                    false => "Classification}",
                },
            );
            let (_dir, path) = table(&other);
            let task = read(&path, "mood").unwrap().task;
            assert_ne!(task, mood, "{to}");
            assert!(std::ptr::eq(task, read(&path, "mood").unwrap().task), "{to}");
        }
        assert!(std::ptr::eq(mood, read(&path, "mood").unwrap().task));
        assert_eq!(OWN.lock().unwrap().len(), known + 8);
    }

    #[test]
    fn plain_scalars_are_those_of_the_original_s_reader() {
        let (_dir, path) = table(
            "mood: {data_format: PremiseOnly, metric_meta: [ACC], n_class: 010, enable_san: off,\n\
             \x20 labels: [n, y, no, on, 1e3, 010, 1.0, ~a], task_type: Classification}\n\
             mood: {data_format: PremiseOnly, metric_meta: [ACC], n_class: 0x4, enable_san: No,\n\
             \x20 labels: [n, y, 1e3, 010], task_type: Classification, dropout_p: 1.0e-1}\n",
        );
        let mood = read(&path, "mood").unwrap();
        assert_eq!(mood.task.kind, Kind::Classification { labels: &["n", "y", "1e3", "010"] });
        assert_eq!(mood.dropout_p, Some(0.1));
    }

    #[test]
    fn a_task_is_found_under_its_other_names() {
        let (_dir, path) = table(&TABLE.replace("cola:", "sst:").replace("mood:", "sst2:"));
        assert_eq!(read(&path, "SST-2").unwrap().task.name, "sst");
        assert_eq!(read(&path, "STS-B").unwrap().task.name, "stsb");
        assert_eq!(
            read(&path, "sst2").unwrap().task.name,
            "sst2",
            "a name of one's own goes first"
        );
        let text = read(&path, "stbs").unwrap_err().to_string();
        assert!(text.ends_with("(hint: did you mean stsb?)"), "{text}");
    }

    #[test]
    fn tables_that_cannot_be_used_are_refused() {
        for (from, to, name, expected) in [
            ("cola:", "cola: [", "cola", "expected a task table in YAML"),
            ("", "", "rte", "expected an entry rte, found only cola, stsb, mood"),
            ("n_class: 2\n  task", "n_class: 3\n  task", "cola", "found one text with 0, 1, 2"),
            ("PremiseOnly\n", "Seqence\n", "cola", "expected data_format PremiseOnly or"),
            ("- MCC", "- BLEU", "cola", "expected metric_meta of ACC, F1, MCC"),
            (
                "enable_san: false\n  metric_meta:\n",
                "enable_san: true\n  metric_meta:\n",
                "cola",
                "expected enable_san false",
            ),
            ("Classification}", "Ranking}", "mood", "expected task_type Classification or"),
            ("[sad, glad]", "[sad, sad]", "mood", "expected each label once"),
            ("n_class: 2, labels", "n_class: 3, labels", "mood", "expected n_class from 2 to"),
            ("home_dev", "../dev", "mood", "expected split_names that end in"),
            ("metric_meta: [F1, ACC]", "metric_meta: []", "mood", "at least one metric"),
            ("n_class: 2, labels", "n_class: -1, labels", "mood", "expected a usable entry mood"),
        ] {
            let (_dir, path) = table(&TABLE.replacen(from, to, 1));
            let text = read(&path, name).unwrap_err().to_string();
            assert!(text.contains("tasks.yml: ") && text.contains(expected), "{text}");
        }
        let (_dir, path) = table(&TABLE.replace("mood:", "../mood:"));
        let text = read(&path, "../mood").unwrap_err().to_string();
        assert!(text.contains("a name of letters, digits and hyphens"), "{text}");
        // Each alias doubles what the one before unfolds to.
        let mut bomb = String::from("a0: &a0 [x, x]\n");
        for n in 1..60 {
            bomb += &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1);
        }
        let (_dir, path) = table(&bomb);
        assert!(read(&path, "a0").is_err());
    }
}
