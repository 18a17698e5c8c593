//! `platon evaluate`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{self, PrepareBars};
use crate::backend::{Job, run_on};
use crate::bert::weights::{self, Parts};
use crate::bert::{BertConfig, ClassifierConfig};
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::glue::prepare::Options;
use crate::glue::task::{Task, task};
use crate::kernels::{ModelKernels, TrainingBackend};
use crate::train::data::{EvalSets, dev_sets};
use crate::train::evaluate::{Evaluated, evaluate};

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
    let mut flags = toml::Table::new();
    if let Some(task) = &args.task {
        flags.insert("task".into(), task.clone().into());
    }
    if let Some(dir) = &args.data_dir {
        flags.insert("data_dir".into(), dir.to_string_lossy().into_owned().into());
    }
    if let Some(backend) = &args.backend {
        flags.insert("backend".into(), backend.clone().into());
    }
    let layer = Layer::from_file(&args.run.join("config.toml"))?;
    let own = RunConfig::resolve(std::slice::from_ref(&layer))?;
    let config =
        RunConfig::resolve(&[layer, Layer { origin: "command line".into(), settings: flags }])?;
    let (trained, task) = (task(&own.task)?, task(&config.task)?);
    if trained.kind != task.kind {
        return Err(Error::value(
            "task",
            format!("a task with the labels of {}, which the model has", trained.name),
            task.name,
        ));
    }
    let model = args.run.join("model");
    let bert = BertConfig::from_dir(&model)?;
    let tokenizer = if same_tokenizer(&config.init_checkpoint, &model)? {
        &config.init_checkpoint
    } else {
        &model
    };
    let options = Options { data_dir: &config.data_dir, tokenizer };
    let bars = PrepareBars::new(false);
    let sets = dev_sets(task, &options, &bert, &|progress| bars.show(progress))?;
    run_on(config.backend, EvaluateJob { config, task, bert, model, sets, json: args.json })
}

/// Whether the checkpoint that the run began with is still there with the model's tokenizer: then
/// the data encoded for the training serves again.
fn same_tokenizer(checkpoint: &Path, model: &Path) -> Result<bool> {
    let own = Encoder::from_dir(model)?.fingerprint();
    Ok(Encoder::from_dir(checkpoint).is_ok_and(|other| other.fingerprint() == own))
}

struct EvaluateJob {
    config: RunConfig,
    task: &'static Task,
    bert: BertConfig,
    model: PathBuf,
    sets: EvalSets,
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
        let classifier = ClassifierConfig {
            bert: self.bert,
            outputs: self.task.outputs(),
            bert_dropout: 0.0,
            head_dropout: 0.0,
        };
        let path = self.model.join("model.safetensors");
        let net = weights::load(classifier.init::<B>(device), &path, Parts::All, device)?.model;
        let batch_size = self.config.batch_size_eval;
        for Evaluated { scores: set, seconds } in
            evaluate(&net, self.task, self.sets, batch_size, device)
        {
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
