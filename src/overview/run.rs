//! One run, from the files in its folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::course::{TRAIN, is_score};
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::files::{open, read_text};
use crate::glue::task::{Metric, task};
use crate::pruning::Pruner;
use crate::report::Report;
use crate::run::RunFolder;

/// How much is read of the end of a log or of `metrics.jsonl` at first: some hundred lines.
const TAIL_BYTES: u64 = 1 << 16;

/// The state of a run that is to have a teacher of its own first.
const WAITS: &str = "its teacher is not finished";

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Its model is there.
    Finished,
    /// A process is at work on it, at this update.
    Running {
        /// The last update that it wrote of.
        step: usize,
    },
    /// It can be gone on with.
    Stopped {
        /// The last update that it wrote of.
        step: usize,
        /// Its last word, where there was one: a run that was killed has none.
        why: Option<String>,
    },
}

impl State {
    /// As a user would say it.
    pub fn words(&self) -> String {
        match self {
            Self::Finished => "finished".to_string(),
            Self::Running { step } => format!("running, at update {step}"),
            Self::Stopped { step, why: None } => format!("killed after update {step}"),
            Self::Stopped { why: Some(why), .. } => why.clone(),
        }
    }
}

/// What is known about a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Its folder, as it was named.
    pub path: PathBuf,
    /// The name of its folder, with as many of those that it is in as tell it from others.
    pub name: String,
    /// Its settings.
    pub config: RunConfig,
    /// How far it is.
    pub state: State,
    /// What it reached, where it is finished.
    pub report: Option<Report>,
    /// The share of the prunable weights that its model has, or had at the last logged update; `None`
    /// before the first.
    pub remaining: Option<f64>,
    /// The scores of its last evaluation, times 100, by their names; that of the main metric first.
    pub scores: Vec<(String, f64)>,
    /// When its last file was written.
    pub at: Option<SystemTime>,
}

impl Summary {
    /// The run in the folder `path`.
    ///
    /// # Errors
    /// There is none, or its files are malformed.
    pub fn read(path: &Path) -> Result<Self> {
        let folder = RunFolder::at(path);
        let settings = Layer::from_file(&folder.config()).map_err(|e| match e {
            e @ Error::Io { .. } => e.hint("name the folder of a run"),
            e => e,
        })?;
        let config = RunConfig::resolve(&[settings])?;
        let config = with_usual_names(config);
        let report = folder.is_finished().then(|| report(&folder.report())).transpose()?;
        let mut points = points(&folder, TAIL_BYTES);
        if report.is_none() && last_scores(&points).is_empty() {
            // The last evaluation may be many logged updates back.
            points = self::points(&folder, u64::MAX);
        }
        let step = points.iter().filter_map(|point| point.get("step")?.as_u64()).max();
        let step = step.and_then(|step| usize::try_from(step).ok()).unwrap_or(0);
        let state = if report.is_some() {
            State::Finished
        } else if folder.is_at_work() {
            State::Running { step }
        } else {
            let log = folder.named(&config.logging().log_file);
            let log = tail(&log, TAIL_BYTES).unwrap_or_default();
            let teacher = folder.teacher();
            let waits = teacher.config().is_file() && !teacher.is_finished();
            let why = if waits { Some(WAITS.to_string()) } else { last_word(&log) };
            State::Stopped { step, why }
        };
        let mut scores = match &report {
            Some(report) => numbers(Some(&report.dev)),
            None => last_scores(&points),
        };
        let main = main_metric(&config);
        scores.sort_by_key(|(name, _)| name.split(' ').next() != main);
        let remaining = match &report {
            Some(report) => Some(report.reached_ratio),
            None => {
                points.iter().rev().find_map(|point| Some(1.0 - point.get("sparsity")?.as_f64()?))
            }
        };
        let newest = [folder.report(), folder.points(), folder.config()];
        let written = |path: &PathBuf| fs::metadata(path).and_then(|about| about.modified()).ok();
        let at = newest.iter().find_map(written);
        let (path, name) = (path.to_path_buf(), end_of(path, 1));
        Ok(Self { path, name, config, state, report, remaining, scores, at })
    }

    /// When its last file was written, in UTC, to the second.
    pub fn when(&self) -> Option<String> {
        let text = humantime::format_rfc3339_seconds(self.at?).to_string();
        Some(text.replace('T', " ").trim_end_matches('Z').to_string())
    }

    /// What made the model small, in a word or two.
    pub fn method(&self) -> String {
        let pruner = match self.config.pruning().pruner {
            Pruner::None => "dense",
            other => other.name(),
        };
        let objective = self.config.objective();
        let others = [
            (objective.teacher.is_some(), " + teacher"),
            (objective.mkd_opt > 0, " + softlabel"),
            (objective.adv_train, " + smoothness"),
        ];
        let others = others.iter().filter(|(is_there, _)| *is_there).map(|(_, name)| *name);
        std::iter::once(pruner).chain(others).collect()
    }

    /// The tasks that are learnt.
    pub fn tasks(&self) -> String {
        let data = self.config.data();
        let names = std::iter::once(&data.task).chain(&data.more_tasks);
        names.map(String::as_str).collect::<Vec<_>>().join(",")
    }
}

/// The tag of the metric that decides which of a run's evaluations is the best, where its first task is
/// known here.
fn main_metric(config: &RunConfig) -> Option<&'static str> {
    let of_task = || task(&config.data().task).ok().map(|task| task.main);
    config.own().asked_metric().or_else(of_task).map(Metric::tag)
}

/// The settings with GLUE's tasks and the metric under their usual names: runs of older versions have them
/// as they were typed.
fn with_usual_names(config: RunConfig) -> RunConfig {
    let usual = |name: &String| task(name).map_or_else(|_| name.clone(), |task| task.name.into());
    let data = config.data();
    let more: Vec<_> = data.more_tasks.iter().map(usual).collect();
    let metric = config.own().asked_metric().map_or("", Metric::tag);
    let named = config.with([
        ("task", usual(&data.task).into()),
        ("more_tasks", more.into()),
        ("metric", metric.into()),
    ]);
    named.unwrap_or(config)
}

/// The folders of runs below `folder`, itself among them, in the order of their names.
///
/// # Errors
/// It cannot be read.
pub fn runs_below(folder: &Path) -> Result<Vec<PathBuf>> {
    /// Deeper ones are hardly meant; and links may lead in a circle.
    const DEPTH: usize = 6;
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), 0)];
    while let Some((path, depth)) = folders.pop() {
        let is_run = RunFolder::at(&path).config().is_file();
        if is_run {
            found.push(path.clone());
        }
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if depth == 0 => return Err(Error::io(&path, "read", e)),
            // What others may not see is not theirs to list.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // Of a run only its teacher's run is a run.
            if is_folder
                && depth < DEPTH
                && (!is_run || entry.path() == RunFolder::at(&path).teacher().path())
            {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Gives runs whose folders are called the same longer names.
pub fn tell_apart(runs: &mut [Summary]) {
    const LONGEST: usize = 64;
    for parts in 2..LONGEST {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        runs.iter().for_each(|run| *count.entry(run.name.clone()).or_default() += 1);
        let is_shared = |run: &&mut Summary| count.get(&run.name).is_some_and(|count| *count > 1);
        let mut shared = runs.iter_mut().filter(is_shared).peekable();
        if shared.peek().is_none() {
            return;
        }
        shared.for_each(|run| run.name = end_of(&run.path, parts));
    }
}

/// The last `parts` names of a path, all of it if there are no more.
fn end_of(path: &Path, parts: usize) -> String {
    let path = match path.components().any(|part| part == Component::ParentDir) {
        true => path.canonicalize(),
        false => std::path::absolute(path),
    }
    .unwrap_or_else(|_| path.to_path_buf());
    let names: Vec<_> = path.iter().collect();
    let end = names.get(names.len().saturating_sub(parts)..).unwrap_or_default();
    end.iter().collect::<PathBuf>().display().to_string()
}

/// A run's report.
fn report(path: &Path) -> Result<Report> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|e| Error::content(path, e.line(), "a run's report", e))
}

/// What the last `bytes` of the run's `metrics.jsonl` hold; nothing where it cannot be read.
fn points(folder: &RunFolder, bytes: u64) -> Vec<Map<String, Value>> {
    let lines = tail(&folder.points(), bytes).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The last `most` bytes of a file, from the beginning of a line on.
fn tail(path: &Path, most: u64) -> Result<String> {
    let mut file = open(path)?;
    let failed = |e| Error::io(path, "read", e);
    let length = file.metadata().map_err(failed)?.len();
    let start = length.saturating_sub(most);
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, whole)) if start > 0 => whole.to_string(),
        _ => text,
    })
}

/// What the last line of a log says of the run's end; `None` where it says something else, as that of
/// a run that was killed. Lines begin with a time.
fn last_word(log: &str) -> Option<String> {
    const ENDS: [&str; 4] =
        ["stopped", "failed", "killed from the dashboard", "the training ended abnormally"];
    let (_, line) = log.lines().last()?.split_once(' ')?;
    let is_of_end = ENDS
        .iter()
        .any(|end| line.strip_prefix(end).is_some_and(|rest| rest.starts_with(" after update ")));
    is_of_end.then(|| line.to_string())
}

/// The scores of the last evaluation among `points`.
fn last_scores(points: &[Map<String, Value>]) -> Vec<(String, f64)> {
    let split = |point: &Map<String, Value>| point.get("split")?.as_str().map(str::to_string);
    let is_evaluation =
        |point: &&Map<String, Value>| split(point).is_some_and(|name| name != TRAIN);
    let step = |point: &Map<String, Value>| point.get("step").cloned();
    let Some(last) = points.iter().rfind(is_evaluation) else { return Vec::new() };
    let of_it: Vec<_> =
        points.iter().filter(is_evaluation).filter(|point| step(point) == step(last)).collect();
    let mut scores = Vec::new();
    for point in &of_it {
        for (name, value) in point.iter().filter(|(name, _)| is_score(name)) {
            let set = split(point).unwrap_or_default();
            let name = if of_it.len() == 1 { name.clone() } else { format!("{name} {set}") };
            scores.extend(value.as_f64().map(|value| (name, value)));
        }
    }
    scores
}

/// The numbers of an object, whatever is around them.
fn numbers(object: Option<&Map<String, Value>>) -> Vec<(String, f64)> {
    let entries = object.into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_one_about_the_end() {
        let word = |text: &str| last_word(text);
        assert_eq!(
            word("T update 5/9  loss 1\nT stopped after update 5 of 9: SIGTERM\n").unwrap(),
            "stopped after update 5 of 9: SIGTERM"
        );
        assert_eq!(word("T update 5/9  loss 1\n"), None);
        assert_eq!(word("T going on after update 5\n"), None);
        assert_eq!(word("T best/ holds the model after update 4, whose score was 60.00\n"), None);
        assert_eq!(word("T no best/: the model after update 4 is lost: a\n"), None);
        for end in ["failed after update 4: b", "killed from the dashboard after update 4"] {
            assert_eq!(word(&format!("T {end}\n")).as_deref(), Some(end));
        }
        assert_eq!(word("T 2400 updates of 16 on demo training samples, seed 1\n"), None);
        assert_eq!(word(""), None);
    }

    #[test]
    fn the_scores_are_those_of_the_last_evaluation() {
        let points = |text: &str| -> Vec<Map<String, Value>> {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let one = r#"{"step":1,"split":"train","loss":2.0}
{"step":2,"split":"rte_dev","ACC":50.0,"loss":1.0}
{"step":4,"split":"rte_dev","ACC":60.0,"loss":1.0}
{"step":5,"split":"train","loss":2.0}"#;
        assert_eq!(last_scores(&points(one)), [("ACC".to_string(), 60.0)]);
        let two = r#"{"step":4,"split":"a_dev","ACC":60.0}
{"step":4,"split":"b_dev","ACC":70.0}"#;
        let names: Vec<String> =
            last_scores(&points(two)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ACC a_dev", "ACC b_dev"]);
        assert!(last_scores(&points(r#"{"step":1,"split":"train","loss":2.0}"#)).is_empty());
    }

    #[test]
    fn the_main_metric_is_the_one_asked_for_or_the_task_s() {
        for (settings, expected) in [
            ("task = \"cola\"", Some("MCC")),
            ("task = \"mrpc\"", Some("ACC")),
            ("task = \"mrpc\"\nmetric = \"F1\"", Some("F1")),
            ("task = \"MRPC\"\nmetric = \"f1\"", Some("F1")),
        ] {
            let layer = Layer::command_line(settings.parse().unwrap());
            assert_eq!(main_metric(&RunConfig::resolve(&[layer]).unwrap()), expected);
        }
    }

    #[test]
    fn a_name_is_the_end_of_a_path() {
        let path = Path::new("/runs/a/demo");
        assert_eq!(
            [1, 2, 4, 9].map(|parts| end_of(path, parts)),
            ["demo", "a/demo", "/runs/a/demo", "/runs/a/demo"]
        );
    }

    #[test]
    fn only_the_end_of_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let line = "x".repeat(99) + "\n";
        fs::write(&path, line.repeat(2000)).unwrap();
        let text = tail(&path, TAIL_BYTES).unwrap();
        assert!(text.len() <= 1 << 16 && text.len() > 65_000);
        assert!(text.lines().all(|found| found.len() == 99));
        fs::write(&path, "one\ntwo").unwrap();
        assert_eq!(tail(&path, TAIL_BYTES).unwrap(), "one\ntwo");
    }
}
