//! A saved model that somebody names on the command line, and the rows to run it on.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use super::inference::{EngineName, default_backend};
use super::windows::Input;
use crate::bert::Checkpoint;
use crate::config::{BackendName, Layer, RunConfig};
use crate::error::{Error, Result};
use crate::export::Columns;
use crate::glue::encode::Encoder;
use crate::glue::own::input::Named;
use crate::glue::task::{Task, task};
use crate::infer::tokenizer::TokenizerFolder;
use crate::run::RunFolder;
use crate::run::origin::{model_in, origin};
use crate::train::plan::tasks_of;

/// What `predict` and `encode` have in common.
#[derive(Args)]
pub struct SavedArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    pub model: PathBuf,
    /// File with a text per line, or two with a tab between them, or with named columns or fields
    /// (.tsv, .csv, .jsonl, these also with .gz or .zst, .parquet); - for standard input.
    #[arg(long)]
    input: PathBuf,
    /// Column of the text; without it that which the run learnt from, or one with a usual name.
    #[arg(long)]
    text: Option<String>,
    /// Column of the second text, of pairs.
    #[arg(long)]
    text_pair: Option<String>,
    /// Folder with tokenizer files; without it that of the model.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Samples per batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch_size: u16,
    /// flex, ndarray, cuda or wgpu.
    #[arg(long)]
    backend: Option<String>,
    /// What computes the answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
}

impl SavedArgs {
    /// Opens the model.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        Checkpoint::open(&model_in(&self.model)?)
    }

    /// The model's tokenizer.
    pub fn encoder(&self, checkpoint: &Checkpoint) -> Result<Encoder> {
        encoder_of(self.tokenizer.as_deref(), checkpoint)
    }

    /// The task that the model is for, where its run or its configuration says so.
    pub fn task(&self, checkpoint: &Checkpoint) -> Option<&'static Task> {
        task_for(&self.model, checkpoint)
    }

    /// The columns of the texts: those asked for, else those that the run or the model learnt from.
    fn named(&self, model: &Checkpoint) -> Named {
        let settings = origin(&self.model).and_then(|origin| settings_of(&origin.run));
        let of_run = settings.and_then(|settings| {
            let (text, text_pair) =
                (settings.own().text.clone()?, settings.own().text_pair.clone());
            Some(Columns { text, text_pair })
        });
        let learnt = of_run.or_else(|| Columns::read_from(&model.json));
        let (text, text_pair) = learnt.map(|own| (own.text, own.text_pair)).unzip();
        let text_pair = text_pair.flatten();
        Named {
            text: self.text.clone().or(text),
            text_pair: self.text_pair.clone().or(text_pair),
            for_this: self.text.is_some() || self.text_pair.is_some(),
        }
    }

    pub fn batch_size(&self) -> usize {
        usize::from(self.batch_size)
    }

    /// What computes the answers: the engine, and the backend asked for, or the default one.
    pub fn engine(&self) -> Result<(EngineName, BackendName)> {
        Ok((self.engine, default_backend(self.backend.as_deref())?))
    }

    /// What the input is called.
    fn place(&self) -> &Path {
        if self.input == Path::new("-") { Path::new("standard input") } else { &self.input }
    }

    /// The error of the line `line`, counted from 1.
    pub fn wrong(&self, line: usize, expected: &str, found: impl Display) -> Error {
        Error::content(self.place(), line, expected, found)
    }

    /// Opens the input for `model`, of texts for `task` where that is known.
    pub fn open(&self, model: &Checkpoint, task: Option<&'static Task>) -> Result<Input> {
        let file = if self.input == Path::new("-") {
            // Its descriptor, which tells whether it is a file: its size is then known.
            io::stdin().as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::open(&self.input)
        };
        let file = file.map_err(|e| Error::io(self.place(), "read", e))?;
        Input::new(self.place(), file, task, &self.named(model))
    }
}

/// Refuses to write to a file that is there.
pub fn check_new(output: &Path) -> Result<()> {
    if output.exists() {
        return Err(Error::value("output", "a new file", output.display())
            .hint("name another one, or remove this one"));
    }
    Ok(())
}

/// The tokenizer in the folder `named`, or else that of the model.
pub fn encoder_of(named: Option<&Path>, checkpoint: &Checkpoint) -> Result<Encoder> {
    let folder = TokenizerFolder::of(named, checkpoint)?;
    let encoder = folder.encoder().map_err(|e| match folder.has_one() {
        true => e,
        false => e.hint("name the folder that holds the tokenizer with --tokenizer"),
    })?;
    encoder.check_fits(checkpoint.config.vocab_size, named.unwrap_or_else(|| checkpoint.path()))?;
    Ok(encoder.clone())
}

/// The task that the model `path` is for, where its run or its configuration says so.
pub fn task_for(path: &Path, checkpoint: &Checkpoint) -> Option<&'static Task> {
    let Some(origin) = origin(path) else { return task(checkpoint.task()?).ok() };
    origin.task(&tasks_of(&settings_of(&origin.run)?).ok()?)
}

/// The settings of a run, where they can be read.
fn settings_of(run: &RunFolder) -> Option<RunConfig> {
    let layer = Layer::from_file(&run.config()).ok()?;
    RunConfig::resolve(&[layer]).ok()
}
