//! Which run a model is from, and which model a run has.

use std::path::{Path, PathBuf};

use super::folder::{
    BEST, BEST_HUGGING_FACE, BEST_SPARSE, HUGGING_FACE, MODEL, RUNS, RunFolder, SPARSE,
};
use crate::error::{Error, Result};
use crate::glue::task::Task;

/// Where a model is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The run that made it.
    pub run: RunFolder,
    /// Which of the run's models it is; `None` for the whole run.
    pub model: Option<Of>,
}

/// Whose of a run's tasks a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// The first one's.
    First,
    /// That of a further one of this name.
    Further(String),
}

impl Origin {
    /// The task of the model among those of the run, the first one first; the first one of a whole run,
    /// and where none is called so. `None` without any tasks.
    pub fn task(&self, tasks: &[&'static Task]) -> Option<&'static Task> {
        let further = match &self.model {
            Some(Of::Further(name)) => tasks.iter().find(|task| task.name == name),
            Some(Of::First) | None => None,
        };
        further.or(tasks.first()).copied()
    }
}

impl Of {
    /// The model that a run calls `name`.
    fn called(name: &str) -> Option<Self> {
        if [HUGGING_FACE, SPARSE, BEST_HUGGING_FACE, BEST_SPARSE].contains(&name) {
            return Some(Self::First);
        }
        [MODEL, BEST].into_iter().find_map(|model| match name.strip_prefix(model)? {
            "" => Some(Self::First),
            rest => rest.strip_prefix('-').map(|task| Self::Further(task.to_owned())),
        })
    }
}

/// The run whose folder, or one of whose models, `path` is.
pub fn origin(path: &Path) -> Option<Origin> {
    // Whatever it is: what keeps it from being read is the error to report.
    let is_run = |run: &RunFolder| run.config().symlink_metadata().is_ok();
    let run = RunFolder::at(path);
    if is_run(&run) {
        return Some(Origin { run, model: None });
    }
    let model = Some(Of::called(path.file_name()?.to_str()?)?);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let run = RunFolder::at(parent.unwrap_or(Path::new(".")));
    is_run(&run).then_some(Origin { run, model })
}

/// The model's folder where `path` is a run folder, or else `path` itself.
///
/// # Errors
/// The run has left no model yet.
pub fn model_in(path: &Path) -> Result<PathBuf> {
    let (run, model) = (RunFolder::at(path), RunFolder::at(path).model());
    let is_model = |folder: &Path| folder.join("config.json").is_file();
    let is_run = run.config().is_file();
    if let Some(meant) = meant(path) {
        let expected = "a run's or a model's folder, or a model's file";
        return Err(Error::value(path.display(), expected, "none")
            .hint(format!("did you mean {}?", meant.display())));
    }
    if is_model(path) || !(is_run || is_model(&model)) {
        return Ok(path.to_path_buf());
    }
    if model.exists() {
        return Ok(model);
    }
    Err(unfinished(path))
}

/// The run among those in their usual place that somebody means by `path`, where nothing else is: as
/// `platon list` names it.
pub fn meant(path: &Path) -> Option<PathBuf> {
    let run = Path::new(RUNS).join(path);
    (!path.exists() && RunFolder::at(&run).config().is_file()).then_some(run)
}

/// The error of the run in the folder `path`, which has left no model yet.
pub fn unfinished(path: &Path) -> Error {
    Error::value(path.display(), "a finished run", "one without its model")
        .hint(format!("platon resume {} goes on with it", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn models_are_known_by_their_names_in_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        assert_eq!(origin(&path.join(MODEL)), None);
        assert_eq!(model_in(&path).unwrap(), path);
        let run = RunFolder::new_at(&path).unwrap();
        fs::write(run.config(), "").unwrap();
        let text = model_in(&path).unwrap_err().to_string();
        assert!(
            text.contains("expected a finished run") && text.contains("platon resume"),
            "{text}"
        );
        fs::create_dir(run.model()).unwrap();
        fs::write(run.model().join("config.json"), "").unwrap();
        assert_eq!(model_in(&path).unwrap(), run.model());
        assert_eq!(model_in(&run.model()).unwrap(), run.model());
        let further = |task: &str| Some(Of::Further(task.to_owned()));
        for (name, of) in [
            ("model", Some(Of::First)),
            ("best", Some(Of::First)),
            ("model-sparse.safetensors", Some(Of::First)),
            ("export-hf", Some(Of::First)),
            ("best-sparse.safetensors", Some(Of::First)),
            ("export-hf-best", Some(Of::First)),
            ("model-rte", further("rte")),
            ("best-own-a", further("own-a")),
        ] {
            let found = origin(&path.join(name));
            assert_eq!(found, Some(Origin { run: run.clone(), model: of }), "{name}");
        }
        assert_eq!(origin(&path), Some(Origin { run, model: None }));
        for name in ["models", "bestial", "report.json"] {
            assert_eq!(origin(&path.join(name)), None, "{name}");
        }
    }
}
