//! What a run will do: its data, its updates, and the course of the remaining ratio.

use std::fmt::Write;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::data::{EvalSets, TrainingSet, dev_sets, raw_training_rows, training_set};
use crate::bert::{BertConfig, ClassifierConfig, names};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::glue::batch;
use crate::glue::prepare::{Options, Progress};
use crate::glue::sample::Sample;
use crate::glue::task::{Task, task};
use crate::pruning::{Pruner, RatioSchedule, Scope};

/// The published recipes need about 100,000.
const MAX_UPDATES: usize = 100_000_000;

/// Everything decided before the first update.
pub struct Plan {
    /// The task.
    pub task: &'static Task,
    /// The encoder's sizes.
    pub bert: BertConfig,
    /// Updates and evaluations.
    pub updates: Arc<batch::Plan>,
    /// The course of the remaining ratio.
    pub schedule: RatioSchedule,
    pub(super) samples: Vec<Sample>,
    pub(super) dropped: usize,
    pub(super) dev: EvalSets,
}

impl Plan {
    /// Reads and checks everything a run needs, preparing data that is missing.
    pub fn new(config: &RunConfig, on_progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Self> {
        let task = task(&config.task)?;
        let bert = BertConfig::from_dir(&config.init_checkpoint)?;
        let options = Options { data_dir: &config.data_dir, tokenizer: &config.init_checkpoint };
        let weights = config.init_checkpoint.join("model.safetensors");
        if !config.from_scratch && !weights.is_file() {
            return Err(Error::value(
                "init_checkpoint",
                format!("a file {}", weights.display()),
                "none",
            )
            .hint("download the weights, or draw them afresh with --from-scratch"));
        }
        // Preparing takes minutes for the large tasks: what cannot fit is refused before it.
        if let Some(rows) = raw_training_rows(task, &config.data_dir) {
            config.ratio_schedule(updates(rows, config)?)?;
        }
        let TrainingSet { samples, dropped } =
            training_set(task, &options, &bert, config.max_seq_len, on_progress)?;
        updates(samples.len(), config)?;
        let dev = dev_sets(task, &options, &bert, on_progress)?;
        let updates = batch::Plan::new(
            samples.len(),
            config.batch_size,
            config.epochs,
            config.seed,
            config.eval_per_updates,
            (config.max_steps > 0).then_some(config.max_steps),
        );
        let schedule = config.ratio_schedule(updates.updates())?;
        Ok(Self { task, bert, updates: Arc::new(updates), schedule, samples, dropped, dev })
    }

    /// The model that is to be trained.
    pub fn classifier(&self, config: &RunConfig) -> ClassifierConfig {
        ClassifierConfig {
            bert: self.bert.clone(),
            outputs: self.task.outputs(),
            bert_dropout: config.bert_dropout_p,
            head_dropout: config.dropout_p,
        }
    }

    /// A description for `--dry-run`: updates, phases, sizes, and the parameters to be pruned.
    pub fn describe<B: Backend>(&self, config: &RunConfig, device: &B::Device) -> String {
        let net = self.classifier(config).init::<B>(device);
        let scope = scope_of(&net);
        let (first, last) = self.schedule.boundaries();
        let total = self.updates.updates();
        let mut out = String::new();
        let sets: Vec<String> = self
            .dev
            .names
            .iter()
            .zip(&self.dev.samples)
            .map(|(n, s)| format!("{n} {}", s.len()))
            .collect();
        let _ = writeln!(
            out,
            "training samples  {} ({} more are too long)",
            self.samples.len(),
            self.dropped
        );
        let _ = writeln!(out, "evaluation sets   {}", sets.join(", "));
        let _ = writeln!(
            out,
            "updates           {total} ({} per epoch), evaluated {} times",
            self.updates.updates_per_epoch(),
            self.updates.chunks().len()
        );
        if self.updates.last_update() < total {
            let _ = writeln!(out, "stops after       {}", self.updates.last_update());
        }
        if config.pruner == Pruner::None {
            let _ = writeln!(out, "pruning           none");
        } else {
            let _ = writeln!(out, "before pruning    updates 1 to {first}");
            let _ = writeln!(
                out,
                "ratio falls       updates {} to {last}, from {} to {}",
                first + 1,
                config.initial_threshold,
                config.final_threshold
            );
            let _ = writeln!(out, "final ratio       updates {} to {total}", last + 1);
        }
        let _ = writeln!(out, "parameters        {}", net.num_params());
        let _ = writeln!(
            out,
            "prunable          {} in {} tensors:",
            scope.size(),
            scope.members().len()
        );
        for member in scope.members() {
            let _ = writeln!(out, "  {:>9}  {}", member.size, member.name);
        }
        out
    }
}

/// The run's updates for so many samples, bounded to what a plan can hold.
fn updates(samples: usize, config: &RunConfig) -> Result<usize> {
    let updates = samples.div_ceil(config.batch_size).checked_mul(config.epochs);
    updates.filter(|n| *n <= MAX_UPDATES).ok_or_else(|| {
        Error::value(
            "epochs",
            format!("at most {MAX_UPDATES} updates"),
            format!("{} epochs of {samples} samples", config.epochs),
        )
    })
}

/// The prunable parameters of `module`, under their Hugging Face names.
pub(super) fn scope_of<B: Backend, M: Module<B>>(module: &M) -> Scope {
    Scope::new(module, |path| Some(names::hf_name(path)).filter(|name| names::is_prunable(name)))
}
