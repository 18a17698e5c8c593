//! Runs that somebody names on the command line.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::bars::PrepareBars;
use super::printer::Printer;
use crate::bert::Checkpoint;
use crate::config::{Layer, Own, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encoder_at::EncoderAt;
use crate::glue::prepare::{Options, holds_encoded};
use crate::glue::task::Task;
use crate::infer::sets::{Data, EvalSet, Wanted};
use crate::infer::tokenizer::TokenizerFolder;
use crate::run::RunFolder;
use crate::run::origin::{meant, model_in, origin, unfinished};
use crate::train::plan::{data_dir_of, tasks_of, with_own_names};

/// A finished run, or a model that comes from elsewhere.
pub struct SavedRun {
    /// As it was named.
    pub path: PathBuf,
    /// What its run was; `None` of a model that comes from elsewhere.
    own: Option<OwnRun>,
    /// A run's settings, or else the defaults, with flags over them.
    pub config: RunConfig,
    /// The model.
    model: PathBuf,
    /// Whether its tokenizer was named, and is not only what the run began with.
    has_named_tokenizer: bool,
}

/// A run as its folder tells.
struct OwnRun {
    folder: RunFolder,
    /// The tasks that it has learnt, the first one first.
    tasks: Vec<&'static Task>,
    /// Whether one of its models was named rather than the run.
    is_model: bool,
}

/// Flags over the settings of a run.
#[derive(Clone, Copy, Default)]
pub struct Flags<'a> {
    pub task: Option<&'a str>,
    pub task_def: Option<&'a Path>,
    pub data_dir: Option<&'a Path>,
    pub train_file: Option<&'a Path>,
    pub dev_file: Option<&'a Path>,
    pub test_file: Option<&'a Path>,
    pub tokenizer: Option<&'a Path>,
    pub backend: Option<&'a str>,
}

impl Flags<'_> {
    fn layer(self) -> Layer {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let settings = [
            ("task", self.task.map(str::to_string)),
            ("task_def", self.task_def.map(path)),
            ("data_dir", self.data_dir.map(path)),
            ("train_file", self.train_file.map(path)),
            ("dev_file", self.dev_file.map(path)),
            ("test_file", self.test_file.map(path)),
            ("tokenizer", self.tokenizer.map(path)),
            ("backend", self.backend.map(str::to_string)),
        ];
        let given =
            settings.into_iter().filter_map(|(key, value)| Some((key.into(), value?.into())));
        Layer::command_line(given.collect())
    }

    /// Refuses files of one's own that are not there, lack the columns of the run's, or where none
    /// are learnt from.
    fn check_files(&self, begun: Option<&RunConfig>) -> Result<()> {
        for (name, file, is_labelled) in [
            ("train-file", self.train_file, true),
            ("dev-file", self.dev_file, true),
            ("test-file", self.test_file, false),
        ] {
            let Some(file) = file else { continue };
            let Some(files) = begun.and_then(RunConfig::own_files) else {
                let expected = "none: only a run on files of your own has such rows";
                return Err(Error::value(name, expected, file.display()));
            };
            if !file.exists() {
                return Err(Error::value(
                    name,
                    "a file",
                    format!("{}, which is not there", file.display()),
                ));
            }
            files.check_columns(file, is_labelled)?;
        }
        Ok(())
    }
}

impl SavedRun {
    /// The run in the folder `path`, or the model there; `None` for a model whose task nothing tells.
    ///
    /// # Errors
    /// There is neither, or the settings cannot be used.
    pub fn open(path: &Path, flags: Flags) -> Result<Option<Self>> {
        let path = path.to_path_buf();
        let has_named_tokenizer = flags.tokenizer.is_some();
        if let Some(origin) = origin(&path) {
            let run = &origin.run;
            run.check()?;
            let mut layer = Layer::from_file(&run.config())?;
            let config = RunConfig::resolve(std::slice::from_ref(&layer))?;
            flags.check_files(Some(&config))?;
            let tasks = tasks_of(&config)?;
            let of = origin.task(&tasks).map(|task| task.name);
            let flags = Flags { task: flags.task.or(of), ..flags };
            if flags.task.is_some_and(|task| task != config.data().task) {
                layer = layer.without(Own::HEADING);
            }
            let is_model = origin.model.is_some();
            let own = OwnRun { folder: run.clone(), tasks, is_model };
            let one = Layer::command_line(
                [
                    ("more_tasks", Vec::<String>::new().into()),
                    ("more_dropouts", Vec::<f64>::new().into()),
                    ("mix_opt", 0.into()),
                    ("ratio", 0.0.into()),
                ]
                .into_iter()
                .map(|(name, value): (&str, Value)| (name.to_string(), value))
                .collect(),
            );
            let config = with_own_names(&RunConfig::resolve(&[layer, flags.layer(), one])?)?;
            let task = &config.data().task;
            let head = own.tasks.iter().position(|other| other.name == task);
            let model = match is_model {
                true => path.clone(),
                false => run.model_for(head.unwrap_or(0), task),
            };
            return Ok(Some(Self { path, own: Some(own), config, model, has_named_tokenizer }));
        }
        flags.check_files(None)?;
        let model = model_in(&path)?;
        let named = Checkpoint::open(&model)?.task().map(str::to_string);
        let Some(task) = flags.task.or(named.as_deref()) else { return Ok(None) };
        let layer = Flags { task: Some(task), ..flags }.layer();
        let config = with_own_names(&RunConfig::resolve(&[layer])?)?;
        Ok(Some(Self { path, own: None, config, model, has_named_tokenizer }))
    }

    /// As [`open`](Self::open), one for each task that the run in the folder `path` has learnt, unless
    /// `flags` name one.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_each(path: &Path, flags: Flags) -> Result<Option<Vec<Self>>> {
        let Some(first) = Self::open(path, flags)? else { return Ok(None) };
        let several = |own: &&OwnRun| flags.task.is_none() && !own.is_model && own.tasks.len() > 1;
        let Some(own) = first.own.as_ref().filter(several) else { return Ok(Some(vec![first])) };
        let of = |task: &&'static Task| {
            Self::open(path, Flags { task: Some(task.name), ..flags }).transpose()
        };
        own.tasks.iter().filter_map(of).collect::<Result<_>>().map(Some)
    }

    /// The name of its task.
    pub fn task(&self) -> &str {
        &self.config.data().task
    }

    /// The tasks that its run has learnt, the first one first; none of a model that comes from elsewhere.
    pub fn learnt(&self) -> &[&'static Task] {
        self.own.as_ref().map_or(&[], |own| &own.tasks)
    }

    /// The final model.
    pub fn model(&self) -> Result<Checkpoint> {
        if self.own.as_ref().is_some_and(|own| !own.is_model) && !self.model.exists() {
            return Err(unfinished(&self.path));
        }
        Checkpoint::open(&self.model)
    }

    /// The evaluation sets of `task` for `model`, prepared with progress bars.
    pub fn sets(
        &self,
        task: &'static Task,
        model: &Checkpoint,
        wanted: &Wanted,
        printer: &Printer,
    ) -> Result<Vec<EvalSet>> {
        let own = TokenizerFolder::of(None, model)?;
        let files = self.config.own_files().filter(|_| self.task() == task.name);
        if let Some((files, run)) = files.zip(self.own.as_ref()) {
            files.check_noted(task, &run.folder.own_data())?;
        }
        let data_dir = data_dir_of(&self.config, task, &wanted.parts())?;
        let other = self.other_tokenizer(task, &own, &data_dir)?;
        let tokenizer = other.as_ref().unwrap_or(own.at());
        let options = Options { data_dir: &data_dir, tokenizer };
        let bars = PrepareBars::new(printer, false);
        Data { task, options, bert: &model.config, on_progress: &|p| bars.show(p) }
            .eval_sets(wanted)
    }

    /// The folder with the tokenizer to prepare data with, where that is not the model's: of a run the
    /// one that it began with, if it is still there with the tokenizer of its model, for then the data
    /// encoded for the training serves again.
    fn other_tokenizer(
        &self,
        task: &Task,
        model: &TokenizerFolder,
        data_dir: &Path,
    ) -> Result<Option<EncoderAt>> {
        let settings = self.config.model();
        // Encoded data needs none.
        if holds_encoded(task, data_dir) {
            return Ok(None);
        }
        let named = settings.tokenizer.as_deref();
        if self.own.is_none() || self.has_named_tokenizer {
            return Ok(named.map(EncoderAt::new));
        }
        let first = [named, Some(settings.init_checkpoint.as_path())];
        let first = first.into_iter().flatten().map(EncoderAt::new).find(EncoderAt::has_one);
        let own = model.encoder()?.fingerprint();
        Ok(first.filter(|at| at.encoder().is_ok_and(|other| other.fingerprint() == own)))
    }
}

/// The error of a model at `path` whose task nothing tells.
pub fn no_task(path: &Path) -> Error {
    let expected = "a run folder, or a model whose config.json names its finetuning_task";
    Error::value(path.display(), expected, "neither")
}

/// The settings and the folder of a run to go on with; `moved` are settings that lie elsewhere now.
pub fn begun(path: &Path, moved: Table) -> Result<(RunConfig, RunFolder)> {
    let folder = RunFolder::at(path);
    folder.check()?;
    let layer = Layer::from_file(&folder.config()).map_err(|e| match meant(path) {
        Some(meant) => e.hint(format!("did you mean {}?", meant.display())),
        None => e.hint("name the folder of a run that was begun"),
    })?;
    let own = RunConfig::resolve(std::slice::from_ref(&layer))?.to_table()?;
    // Elsewhere can only be what there is; the model brought a tokenizer.
    let had_none = |name: &str| own.get(name).and_then(Value::as_str) == Some("");
    if let Some(name) = moved.keys().find(|name| had_none(name) && *name != "tokenizer") {
        let expected = format!("none, as the run in {} began", path.display());
        let found = moved.get(name).map_or_else(String::new, ToString::to_string);
        return Err(
            Error::value(name, expected, found).hint("leave it away; only a new run can have it")
        );
    }
    let config = RunConfig::resolve(&[layer, Layer::command_line(moved)])?.absolute()?;
    Ok((config, folder))
}

/// Refuses settings that differ from those the run began with; its folder may have moved, or be
/// seen from elsewhere.
pub fn check_same(begun: &RunConfig, asked: &RunConfig) -> Result<()> {
    let is_found = asked.pruning().initial_threshold.is_none();
    let (begun, asked) = (begun.to_table()?, asked.absolute()?.to_table()?);
    let settings = begun.iter().filter(|(key, _)| *key != "output_dir");
    for (key, value) in settings {
        // What was found where the run began stands in its file.
        let is_the_found = is_found && key == "initial_threshold";
        // Runs of older versions did not note it.
        let is_new = key == "more_dropouts" && value.as_array().is_some_and(Vec::is_empty);
        if asked.get(key) != Some(value) && !is_the_found && !is_new {
            let found = asked.get(key).map_or("none".to_string(), ToString::to_string);
            return Err(Error::value(key, format!("{value}, as the run began"), found)
                .hint("platon resume RUN goes on without naming the settings again"));
        }
    }
    Ok(())
}
