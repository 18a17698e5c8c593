//! Runs that somebody names on the command line.

use std::path::Path;

use super::bars::PrepareBars;
use super::printer::Printer;
use crate::bert::Checkpoint;
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::{Encoder, has_tokenizer};
use crate::glue::prepare::{Options, holds_encoded};
use crate::glue::task::Task;
use crate::infer::sets::{Data, EvalSet, Wanted};
use crate::run::RunFolder;
use crate::train::plan::with_own_name;

/// A finished run.
pub struct SavedRun {
    pub folder: RunFolder,
    /// Its settings, as it had them.
    pub own: RunConfig,
    /// Its settings with flags over them.
    pub config: RunConfig,
}

impl SavedRun {
    /// The run in the folder `path`; the others are flags over its settings.
    pub fn open(
        path: &Path,
        task: Option<&str>,
        data_dir: Option<&Path>,
        backend: Option<&str>,
    ) -> Result<Self> {
        let data_dir = data_dir.map(|dir| dir.to_string_lossy().into_owned());
        let mut settings = toml::Table::new();
        for (key, value) in
            [("task", task), ("data_dir", data_dir.as_deref()), ("backend", backend)]
        {
            settings.extend(value.map(|value| (key.to_string(), value.into())));
        }
        let folder = RunFolder::at(path);
        let layer = Layer::from_file(&folder.config())?;
        let own = RunConfig::resolve(std::slice::from_ref(&layer))?;
        let flags = Layer::command_line(settings);
        let config = with_own_name(RunConfig::resolve(&[layer, flags])?)?;
        Ok(Self { folder, own, config })
    }

    /// Its final model.
    pub fn model(&self) -> Result<Checkpoint> {
        Checkpoint::open(&self.folder.model())
    }

    /// The evaluation sets of `task` for `model`, prepared with progress bars.
    pub fn sets(
        &self,
        task: &'static Task,
        model: &Checkpoint,
        wanted: &Wanted,
        printer: &Printer,
    ) -> Result<Vec<EvalSet>> {
        let folder = self.folder.model();
        let tokenizer = self.tokenizer_for(task, &folder)?;
        let options = Options { data_dir: &self.config.data().data_dir, tokenizer };
        let bars = PrepareBars::new(printer, false);
        Data { task, options, bert: &model.config, on_progress: &|p| bars.show(p) }
            .eval_sets(wanted)
    }

    /// The folder with the tokenizer to prepare data with: the one that the run began with, if it
    /// is still there with the tokenizer in `model`, for then the data encoded for the training
    /// serves again.
    fn tokenizer_for<'a>(&'a self, task: &Task, model: &'a Path) -> Result<&'a Path> {
        // Encoded data needs none.
        if holds_encoded(task, &self.config.data().data_dir) {
            return Ok(model);
        }
        let settings = self.config.model();
        let first = [settings.tokenizer.as_deref(), Some(settings.init_checkpoint.as_path())];
        let first = first.into_iter().flatten().find(|dir| has_tokenizer(dir));
        let own = Encoder::from_dir(model)?.fingerprint();
        let same =
            |dir: &Path| Encoder::from_dir(dir).is_ok_and(|other| other.fingerprint() == own);
        Ok(first.filter(|dir| same(dir)).unwrap_or(model))
    }
}

/// The settings and the folder of a run to go on with.
pub fn begun(path: &Path) -> Result<(RunConfig, RunFolder)> {
    let folder = RunFolder::at(path);
    let layer = Layer::from_file(&folder.config())
        .map_err(|e| e.hint("name the folder of a run that was begun"))?;
    Ok((RunConfig::resolve(&[layer])?, folder))
}

/// Refuses settings that differ from those the run began with; its folder may have moved, or be
/// seen from elsewhere.
pub fn check_same(begun: &RunConfig, asked: &RunConfig) -> Result<()> {
    let (begun, asked) = (begun.to_table()?, asked.to_table()?);
    let settings = begun.iter().filter(|(key, _)| *key != "output_dir");
    for (key, value) in settings {
        if asked.get(key) != Some(value) {
            let found = asked.get(key).map_or("none".to_string(), ToString::to_string);
            return Err(Error::value(key, format!("{value}, as the run began"), found)
                .hint("platon resume RUN goes on without naming the settings again"));
        }
    }
    Ok(())
}
