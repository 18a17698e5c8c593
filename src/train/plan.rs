//! What a run will do: its data, its updates, and the course of the remaining ratio.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::data::{Data, EvalSet, TrainingSet, Wanted, raw_training_rows};
use crate::bert::{BertConfig, Checkpoint, ClassifierConfig, names};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::glue::encode::{Encoder, has_tokenizer};
use crate::glue::prepare::{Options, Progress, holds_encoded};
use crate::glue::sample::{Sample, fingerprint};
use crate::glue::task::{Task, task};
use crate::glue::task_def;
use crate::glue::updates::{Updates, UpdatesConfig, bins_by_length, one_bin};
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
    pub updates: Arc<Updates>,
    /// The course of the remaining ratio.
    pub schedule: RatioSchedule,
    /// `None` where encoded data came without one.
    pub(super) encoder: Option<Encoder>,
    pub(super) checkpoint: Checkpoint,
    pub(super) samples: Vec<Sample>,
    pub(super) dropped: usize,
    pub(super) sets: Vec<EvalSet>,
}

impl Plan {
    /// Reads and checks everything a run needs, preparing data that is missing.
    pub fn new(config: &RunConfig, on_progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Self> {
        let task = task_of(config)?;
        let checkpoint = Checkpoint::open(&config.init_checkpoint)?;
        if !config.from_scratch {
            checkpoint.check_weights()?;
        }
        let bert = first_layers(&checkpoint.config, config.num_hidden_layers)?;
        let tokenizer = tokenizer_dir(config, &checkpoint);
        // Preparing takes minutes for the large tasks: what cannot fit is refused before it.
        if let Some(rows) = raw_training_rows(task, &config.data_dir).filter(|rows| *rows > 0) {
            config.ratio_schedule(updates(rows.div_ceil(rows_per_update(config)), config)?)?;
        }
        let encoder = if holds_encoded(task, &config.data_dir) && !has_tokenizer(tokenizer) {
            None
        } else {
            Some(Encoder::from_dir(tokenizer)?)
        };
        let options = Options { data_dir: &config.data_dir, tokenizer };
        let data = Data { task, options, bert: &bert, on_progress };
        let TrainingSet { samples, dropped } = data.training_set(config.max_seq_len)?;
        let wanted = Wanted {
            data_sets: &config.test_datasets,
            no_dev: false,
            tests: config.glue_format_on,
            with_label: config.with_label,
        };
        let sets = data.eval_sets(&wanted)?;
        let bins = if config.bin_on {
            let lengths = samples.iter().map(|s| s.token_id.len());
            bins_by_length(lengths, config.bin_size, config.bin_grow_ratio)
        } else {
            one_bin(samples.len())
        };
        let save_every = if config.save_per_updates_on { config.save_per_updates } else { 0 };
        let rows = rows_per_update(config);
        updates(bins.iter().map(|bin| bin.len().div_ceil(rows)).sum(), config)?;
        let updates = Updates::new(
            bins,
            UpdatesConfig {
                batch_size: rows,
                epochs: config.epochs,
                seed: config.seed,
                evaluate_every: config.eval_per_updates,
                save_every,
                stop_after: (config.max_steps > 0).then_some(config.max_steps),
            },
        );
        let schedule = config.ratio_schedule(updates.total())?;
        let updates = Arc::new(updates);
        Ok(Self { task, bert, updates, schedule, encoder, checkpoint, samples, dropped, sets })
    }

    /// What to encode instead of training: the model that the run would begin with, and the
    /// evaluation sets.
    pub fn into_encoding(self) -> (Checkpoint, Vec<EvalSet>) {
        (self.checkpoint, self.sets)
    }

    /// The fingerprint of all samples, for training and evaluation.
    ///
    /// # Errors
    /// As [`fingerprint`].
    pub fn fingerprint(&self) -> Result<String> {
        let sets = self.sets.iter().map(|set| set.samples.as_slice());
        fingerprint(std::iter::once(self.samples.as_slice()).chain(sets))
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
        let total = self.updates.total();
        let mut out = String::new();
        let size = |set: &EvalSet| format!("{} {}", set.about.name, set.samples.len());
        let sets: Vec<String> = self.sets.iter().map(size).collect();
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
            self.updates.per_epoch(),
            self.updates.evaluations()
        );
        if self.updates.last() < total {
            let _ = writeln!(out, "stops after       {}", self.updates.last());
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

/// The run's task: one of the table it names, or one of GLUE's.
///
/// # Errors
/// There is no such task.
pub fn task_of(config: &RunConfig) -> Result<&'static Task> {
    if config.task_def.as_os_str().is_empty() {
        return task(&config.task);
    }
    Ok(task_def::read(&config.task_def, &config.task)?.task)
}

/// Samples of one update.
fn rows_per_update(config: &RunConfig) -> usize {
    config.batch_size.saturating_mul(config.grad_accumulation_step)
}

/// The run's updates for so many of an epoch, bounded to what a plan can hold.
fn updates(per_epoch: usize, config: &RunConfig) -> Result<usize> {
    let updates = per_epoch.checked_mul(config.epochs);
    updates.filter(|n| *n <= MAX_UPDATES).ok_or_else(|| {
        Error::value(
            "epochs",
            format!("at most {MAX_UPDATES} updates"),
            format!("{} epochs of {per_epoch} updates", config.epochs),
        )
    })
}

/// The encoder cut to its first `layers` layers; -1 for all.
fn first_layers(bert: &BertConfig, layers: i64) -> Result<BertConfig> {
    let Ok(layers) = usize::try_from(layers) else { return Ok(bert.clone()) };
    if layers > bert.num_hidden_layers {
        let expected = format!("at most the checkpoint's {}", bert.num_hidden_layers);
        return Err(Error::value("num_hidden_layers", expected, layers));
    }
    Ok(BertConfig { num_hidden_layers: layers, ..bert.clone() })
}

/// The folder with the tokenizer: the one named, or the checkpoint's.
fn tokenizer_dir<'a>(config: &'a RunConfig, checkpoint: &'a Checkpoint) -> &'a Path {
    if config.tokenizer.as_os_str().is_empty() { checkpoint.folder() } else { &config.tokenizer }
}

/// The prunable parameters of `module`, under their Hugging Face names.
pub(super) fn scope_of<B: Backend, M: Module<B>>(module: &M) -> Scope {
    Scope::new(module, |path| Some(names::hf_name(path)).filter(|name| names::is_prunable(name)))
}
