//! The names of everything in a run folder, and how one is taken and given back.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::lock::RunLock;
use crate::error::{Error, Result};
use crate::files::check_own;

const CONFIG: &str = "config.toml";
const POINTS: &str = "metrics.jsonl";
const REPORT: &str = "report.json";
pub(super) const MODEL: &str = "model";
pub(super) const BEST: &str = "best";
const CHECKPOINTS: &str = "checkpoint";
const LOCK: &str = "lock";
pub(super) const HUGGING_FACE: &str = "export-hf";
const ONNX: &str = "export-onnx";
pub(super) const SPARSE: &str = "model-sparse.safetensors";
pub(super) const BEST_HUGGING_FACE: &str = "export-hf-best";
const BEST_ONNX: &str = "export-onnx-best";
pub(super) const BEST_SPARSE: &str = "best-sparse.safetensors";
const PAGE: &str = "report.html";
const TEACHER: &str = "teacher";
const TEACHER_ANSWERS: &str = "teacher-answers.safetensors";
const OWN_DATA: &str = "own-data.json";

/// Where runs go that nobody gives another folder.
pub const RUNS: &str = "checkpoints/runs";

/// The names that a run gives itself, so that no setting may give them to anything else.
pub const OWN_NAMES: [&str; 17] = [
    CONFIG,
    POINTS,
    REPORT,
    PAGE,
    MODEL,
    BEST,
    CHECKPOINTS,
    LOCK,
    HUGGING_FACE,
    ONNX,
    SPARSE,
    BEST_HUGGING_FACE,
    BEST_ONNX,
    BEST_SPARSE,
    TEACHER,
    TEACHER_ANSWERS,
    OWN_DATA,
];

/// Whether a run gives itself the name `name`.
pub fn is_own_name(name: &str) -> bool {
    // Names of tasks have no dots.
    let of_a_task = |kind: &str| {
        name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-') && !rest.contains('.'))
    };
    // Of evaluations and predictions.
    let is_table = name.contains("_scores") && (name.ends_with(".json") || name.ends_with(".tsv"));
    OWN_NAMES.contains(&name) || [MODEL, BEST].into_iter().any(of_a_task) || is_table
}

/// The folder of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run folder at `path`, whether or not it is there.
    pub fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Makes the folder `path` for a new run.
    ///
    /// # Errors
    /// It holds something, or cannot be made.
    pub fn new_at(path: &Path) -> Result<Self> {
        let folder = Self::at(path);
        folder.check_unused()?;
        fs::create_dir_all(path).map_err(|e| Error::io(path, "create", e))?;
        Ok(folder)
    }

    /// Refuses a folder that holds something.
    ///
    /// # Errors
    /// It does.
    pub fn check_unused(&self) -> Result<()> {
        // A process that was killed before it began its run may have left a lock.
        let is_lock = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name() == OsStr::new(LOCK))
        };
        if fs::read_dir(&self.0).is_ok_and(|mut entries| !entries.all(is_lock)) {
            let hint = match self.config().is_file() && !self.is_finished() {
                true => format!("platon resume {} goes on with the run in it", self.0.display()),
                false => "name another folder, or remove this one".to_owned(),
            };
            return Err(
                Error::value("output-dir", "a new or empty folder", self.0.display()).hint(hint)
            );
        }
        Ok(())
    }

    /// Makes the first free folder of `name`, `name-2`, `name-3`, ... in `parent`, so that two runs
    /// that start at once take two folders.
    ///
    /// # Errors
    /// None can be made.
    pub fn numbered(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", e))?;
        let mut path = parent.join(name);
        for n in 2.. {
            match fs::create_dir(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    path = parent.join(format!("{name}-{n}"));
                }
                Err(e) => return Err(Error::io(&path, "create", e)),
                Ok(()) => break,
            }
        }
        Ok(Self(path))
    }

    /// Keeps other processes from it.
    ///
    /// # Errors
    /// Another process works on it, or the folder cannot be written to.
    pub fn lock(&self) -> Result<RunLock> {
        RunLock::take(&self.0, LOCK)
    }

    /// Whether a process works on it.
    pub fn is_at_work(&self) -> bool {
        RunLock::is_taken(&self.0, LOCK)
    }

    /// Refuses links, pipes and the like under the names that a run gives itself: the folder may be
    /// from elsewhere.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self) -> Result<()> {
        for name in OWN_NAMES {
            check_own(&self.0.join(name))?;
        }
        // The models of further tasks. A folder that cannot be listed has none that could be found.
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_own_name) {
                check_own(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether a run has got to its first update here.
    pub fn has_begun(&self) -> bool {
        self.points().exists()
    }

    /// Whether the run in it is finished.
    pub fn is_finished(&self) -> bool {
        self.report().is_file()
    }

    /// Removes what a run left that did not get to its first update: the folder too, unless it
    /// holds something else.
    pub fn remove_unbegun(&self) {
        // Best effort: what kept the run from beginning is the error to report.
        for file in [CONFIG, LOCK, TEACHER_ANSWERS, OWN_DATA] {
            let _ = fs::remove_file(self.0.join(file));
        }
        self.remove_if_empty();
    }

    /// Removes the folder if it is empty.
    pub fn remove_if_empty(&self) {
        // A folder with something in it cannot be removed this way.
        let _ = fs::remove_dir(&self.0);
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The settings that the run began with.
    pub fn config(&self) -> PathBuf {
        self.0.join(CONFIG)
    }

    /// The page that shows the run.
    pub fn page(&self) -> PathBuf {
        self.0.join(PAGE)
    }

    /// A JSON object per logged update and per evaluation.
    pub fn points(&self) -> PathBuf {
        self.0.join(POINTS)
    }

    /// What the run reached; there once it is finished.
    pub fn report(&self) -> PathBuf {
        self.0.join(REPORT)
    }

    /// The final model, a Hugging Face folder.
    pub fn model(&self) -> PathBuf {
        self.0.join(MODEL)
    }

    /// The final model for `task`, the run's task number `head`: [`model`](Self::model) of the first.
    pub fn model_for(&self, head: usize, task: &str) -> PathBuf {
        if head == 0 { self.model() } else { self.0.join(format!("{MODEL}-{task}")) }
    }

    /// As [`best`](Self::best), for such a task.
    pub fn best_for(&self, head: usize, task: &str) -> PathBuf {
        if head == 0 { self.best() } else { self.0.join(format!("{BEST}-{task}")) }
    }

    /// The model of the best evaluation, a Hugging Face folder; there where a finished run did not
    /// end with it.
    pub fn best(&self) -> PathBuf {
        self.0.join(BEST)
    }

    /// The folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join(CHECKPOINTS)
    }

    /// Where the final model is exported to as a Hugging Face folder, or with `best` that of the best
    /// evaluation.
    pub fn hugging_face(&self, best: bool) -> PathBuf {
        self.0.join(if best { BEST_HUGGING_FACE } else { HUGGING_FACE })
    }

    /// Where such a model is exported to as a folder with an ONNX model.
    pub fn onnx(&self, best: bool) -> PathBuf {
        self.0.join(if best { BEST_ONNX } else { ONNX })
    }

    /// Where such a model is exported to as a sparse file.
    pub fn sparse(&self, best: bool) -> PathBuf {
        self.0.join(if best { BEST_SPARSE } else { SPARSE })
    }

    /// The run of a teacher of the run's own.
    pub fn teacher(&self) -> Self {
        Self(self.0.join(TEACHER))
    }

    /// What files of one's own the run learns from.
    pub fn own_data(&self) -> PathBuf {
        self.0.join(OWN_DATA)
    }

    /// A teacher's answers to the training samples.
    pub fn teacher_answers(&self) -> PathBuf {
        self.0.join(TEACHER_ANSWERS)
    }

    /// What a setting gave the name `name`: the log, the folder of the events.
    pub fn named(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The predictions of an evaluation under the original program's name: `unit` is `epoch` or
    /// `updates`, `n` their number.
    pub fn scores(&self, data_set: &str, part: &str, unit: &str, n: usize) -> PathBuf {
        self.0.join(format!("{data_set}_{part}_scores_{unit}_{n}.json"))
    }

    /// The last evaluation's answers for the GLUE server.
    pub fn submission(&self, data_set: &str, part: &str) -> PathBuf {
        self.0.join(format!("{data_set}_{part}_scores.tsv"))
    }

    /// The encoder's vectors of the evaluation set `set`.
    pub fn vectors(&self, set: &str) -> PathBuf {
        self.0.join(format!("{set}_encoding.safetensors"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_refused_but_a_lock_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let run = RunFolder::new_at(&path).unwrap();
        drop(run.lock().unwrap());
        assert_eq!(RunFolder::new_at(&path).unwrap(), run);
        fs::write(run.named("log.log"), "x").unwrap();
        let text = RunFolder::new_at(&path).unwrap_err().to_string();
        assert!(text.contains("expected a new or empty folder"), "{text}");
    }

    #[test]
    fn planted_links_and_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in OWN_NAMES.into_iter().chain(["model-wnli", "best-own-a"]) {
            assert!(is_own_name(name), "{name}");
            let run = RunFolder::new_at(&dir.path().join(name)).unwrap();
            run.check().unwrap();
            std::os::unix::fs::symlink(dir.path(), run.named(name)).unwrap();
            let text = run.check().unwrap_err().to_string();
            let expected =
                format!("{name}/{name}: expected a file or folder of its own, found a link");
            assert!(text.contains(&expected), "{text}");
        }
        assert!(!["models", "log.log", "best.log", "model-a.log"].into_iter().any(is_own_name));
    }

    #[test]
    fn names_that_are_taken_are_counted_on() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3)
            .map(|_| RunFolder::numbered(dir.path(), "rte").unwrap().path().to_path_buf())
            .collect();
        assert_eq!(names, ["rte", "rte-2", "rte-3"].map(|name| dir.path().join(name)));
    }

    #[test]
    fn a_run_that_did_not_begin_leaves_nothing_but_what_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunFolder::new_at(&dir.path().join("run")).unwrap();
        fs::write(run.config(), "").unwrap();
        drop(run.lock().unwrap());
        fs::write(run.named("notes"), "").unwrap();
        run.remove_unbegun();
        assert!(!run.config().exists() && run.named("notes").exists());
        fs::remove_file(run.named("notes")).unwrap();
        run.remove_unbegun();
        assert!(!run.path().exists());
    }
}
