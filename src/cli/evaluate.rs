//! `platon evaluate`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{self, PrepareBars};
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::{Encoder, has_tokenizer};
use crate::glue::prepare::{Options, Progress, holds_encoded};
use crate::glue::task::Task;
use crate::kernels::{ModelKernels, TrainingBackend};
use crate::train::data::{Data, EvalSet, Wanted};
use crate::train::evaluate::{SetScores, load_classifier, predict};
use crate::train::plan::task_of;

#[derive(Args)]
pub struct EvaluateArgs {
    /// Run folder.
    run: PathBuf,
    /// Another task than the run's, with the same labels.
    #[arg(long)]
    task: Option<String>,
    /// Another data folder than the run's.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Another backend than the run's.
    #[arg(long)]
    backend: Option<String>,
    /// One JSON object per dev set, with all digits.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    let dir = args.data_dir.as_deref();
    let [own, config] = run_config(&args.run, args.task.as_deref(), dir, args.backend.as_deref())?;
    let (trained, task) = (task_of(&own)?, task_of(&config)?);
    if trained.kind != task.kind {
        return Err(Error::value(
            "task",
            format!("a task with the labels of {}, which the model has", trained.name),
            task.name,
        ));
    }
    let folder = args.run.join("model");
    let model = Checkpoint::open(&folder)?;
    let options =
        Options { data_dir: &config.data_dir, tokenizer: tokenizer_for(&config, task, &folder)? };
    let bars = PrepareBars::new(false);
    let on_progress = |progress: Progress<'_>| bars.show(progress);
    let data = Data { task, options, bert: &model.config, on_progress: &on_progress };
    let data_sets = if trained.name == task.name { config.test_datasets.as_slice() } else { &[] };
    let wanted = Wanted { data_sets, with_label: config.with_label, ..Wanted::default() };
    let sets = data.eval_sets(&wanted)?;
    run_on(config.backend, EvaluateJob { config, task, model, sets, json: args.json })
}

/// The settings of a finished run: as it had them, and with flags over them.
pub fn run_config(
    run: &Path,
    task: Option<&str>,
    data_dir: Option<&Path>,
    backend: Option<&str>,
) -> Result<[RunConfig; 2]> {
    let data_dir = data_dir.map(|dir| dir.to_string_lossy().into_owned());
    let mut settings = toml::Table::new();
    for (key, value) in [("task", task), ("data_dir", data_dir.as_deref()), ("backend", backend)] {
        settings.extend(value.map(|value| (key.to_string(), value.into())));
    }
    let layer = Layer::from_file(&run.join("config.toml"))?;
    let own = RunConfig::resolve(std::slice::from_ref(&layer))?;
    let flags = Layer { origin: "command line".into(), settings };
    Ok([own, RunConfig::resolve(&[layer, flags])?])
}

/// The folder with the tokenizer to prepare data with: the one that the run began with, if it is
/// still there with the model's tokenizer, for then the data encoded for the training serves again.
pub fn tokenizer_for<'a>(config: &'a RunConfig, task: &Task, model: &'a Path) -> Result<&'a Path> {
    // Encoded data needs none.
    if holds_encoded(task, &config.data_dir) {
        return Ok(model);
    }
    let first = [&config.tokenizer, &config.init_checkpoint];
    let first = first.into_iter().find(|dir| !dir.as_os_str().is_empty() && has_tokenizer(dir));
    let own = Encoder::from_dir(model)?.fingerprint();
    let same = |dir: &Path| Encoder::from_dir(dir).is_ok_and(|other| other.fingerprint() == own);
    Ok(first.map(PathBuf::as_path).filter(|dir| same(dir)).unwrap_or(model))
}

struct EvaluateJob {
    config: RunConfig,
    task: &'static Task,
    model: Checkpoint,
    sets: Vec<EvalSet>,
    json: bool,
}

impl Job for EvaluateJob {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        self.evaluate::<B::InnerBackend>(&device)
    }
}

impl EvaluateJob {
    fn evaluate<B: ModelKernels>(self, device: &B::Device) -> Result<ExitCode> {
        let (net, _) = load_classifier::<B>(self.model, Some(self.task.outputs()), device)?;
        let (about, samples): (Vec<_>, Vec<_>) =
            self.sets.into_iter().map(|set| (set.about, set.samples)).unzip();
        let all = predict(&net, samples, self.config.batch_size_eval, device);
        for (about, (predictions, seconds)) in about.into_iter().zip(all) {
            let set = SetScores::of(self.task, &about, &predictions);
            if self.json {
                let mut line = serde_json::Map::new();
                line.insert("data_set".into(), set.data_set.clone().into());
                line.insert("loss".into(), set.loss.into());
                line.extend(set.to_json());
                line.insert("seconds".into(), seconds.into());
                output::data(&serde_json::Value::Object(line).to_string());
            } else {
                let scores: Vec<String> =
                    set.scores.iter().map(|(tag, v)| format!("{tag} {v:.2}")).collect();
                output::data(&format!(
                    "{}: loss {:.4}  {}",
                    set.data_set,
                    set.loss,
                    scores.join("  ")
                ));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
