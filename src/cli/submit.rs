//! `platon submit`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::evaluate::{run_config, tokenizer_for};
use super::output::{self, PrepareBars};
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::glue::prepare::{Options, Progress};
use crate::glue::task::{Task, task};
use crate::kernels::{ModelKernels, TrainingBackend};
use crate::submission::{self, ENTRIES, Entry};
use crate::train::data::{Data, EvalSet, Wanted};
use crate::train::evaluate::{load_classifier, predict};
use crate::train::outputs::answers;

#[derive(Args)]
pub struct SubmitArgs {
    /// Run folders, at most one per task.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The archive to write.
    #[arg(long, default_value = "submission.zip")]
    output: PathBuf,
    /// Another data folder than the runs'.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Another backend than the runs'.
    #[arg(long)]
    backend: Option<String>,
}

pub fn run(args: &SubmitArgs) -> Result<ExitCode> {
    let mut runs = BTreeMap::new();
    for path in &args.runs {
        let dir = args.data_dir.as_deref();
        let [_, config] = run_config(path, None, dir, args.backend.as_deref())?;
        if ENTRIES.iter().all(|entry| entry.task != config.task) {
            let tasks: Vec<_> = ENTRIES.iter().map(|entry| entry.task).collect();
            let expected = format!("a run of one of GLUE's tasks: {}", tasks.join(", "));
            return Err(Error::value(path.display(), expected, &config.task));
        }
        if let Some((other, _)) = runs.insert(config.task.clone(), (path.clone(), config)) {
            return Err(Error::value(
                "RUN",
                "one run per task",
                format!("{}, {}", other.display(), path.display()),
            ));
        }
    }
    let mut files = BTreeMap::new();
    for (path, config) in runs.values() {
        let entries = ENTRIES.iter().filter(|entry| entry.task == config.task);
        for entry in entries {
            let text = predicted(entry, path, config)?;
            output::log(&format!(
                "{}: {} predictions of {}",
                entry.file,
                text.lines().count().saturating_sub(1),
                path.display()
            ));
            files.insert(entry.file, text);
        }
    }
    for entry in ENTRIES.iter().filter(|entry| !runs.contains_key(entry.task)) {
        let constant = entry.labels.first().copied().unwrap_or("a constant score");
        output::log(&format!(
            "{}: no run of {} was named: {constant} for all",
            entry.file, entry.task
        ));
        files.insert(entry.file, submission::constant(entry));
    }
    write_whole(&args.output, &submission::zip(&files)?)?;
    output::data(&args.output.display().to_string());
    Ok(ExitCode::SUCCESS)
}

/// The file of `entry`, predicted by the model of a run.
fn predicted(entry: &Entry, path: &std::path::Path, config: &RunConfig) -> Result<String> {
    let folder = path.join("model");
    let model = Checkpoint::open(&folder)?;
    // The diagnostic set has files of its own.
    let task = task(if entry.split == "ax" { "ax" } else { entry.task })?;
    let options =
        Options { data_dir: &config.data_dir, tokenizer: tokenizer_for(config, task, &folder)? };
    let bars = PrepareBars::new(false);
    let on_progress = |progress: Progress<'_>| bars.show(progress);
    let data = Data { task, options, bert: &model.config, on_progress: &on_progress };
    let wanted = Wanted { no_dev: true, tests: true, ..Wanted::default() };
    let split = if entry.split == "ax" { "test" } else { entry.split };
    let name = format!("{}_{split}", task.name);
    let sets = data.eval_sets(&wanted)?.into_iter();
    let set = sets.filter(|set| set.about.name == name).collect();
    run_on(config.backend, SubmitJob { task, model, set, batch_size: config.batch_size_eval })
}

struct SubmitJob {
    task: &'static Task,
    model: Checkpoint,
    set: Vec<EvalSet>,
    batch_size: usize,
}

impl Job for SubmitJob {
    type Output = String;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<String> {
        self.predict::<B::InnerBackend>(&device)
    }
}

impl SubmitJob {
    fn predict<B: ModelKernels>(self, device: &B::Device) -> Result<String> {
        let (net, _) = load_classifier::<B>(self.model, Some(self.task.outputs()), device)?;
        let mut rows = Vec::new();
        for EvalSet { about, samples } in self.set {
            for (predictions, _) in predict(&net, vec![samples], self.batch_size, device) {
                rows.extend(answers(self.task, &about, &predictions)?);
            }
        }
        Ok(submission::tsv(&rows))
    }
}
