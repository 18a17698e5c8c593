//! The flags that override a recipe; their names are the keys of `RunConfig`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::config::Layer;
use crate::error::{Error, Result};

/// Settings of a run. What is not given comes from the recipe, or else from the default.
#[derive(Args, Serialize, Default)]
pub struct Settings {
    /// Folder with one folder of raw GLUE files per task, or folder of encoded samples.
    #[arg(long, help_heading = "Data")]
    data_dir: Option<PathBuf>,
    /// The original's task table in YAML; its tasks may be your own.
    #[arg(long, help_heading = "Data")]
    task_def: Option<PathBuf>,
    /// Data sets to evaluate, as mnli_matched,mnli_mismatched; without it all of the task's.
    #[arg(long, help_heading = "Data", value_delimiter = ',')]
    test_datasets: Option<Vec<String>>,
    /// The test sets hold true labels (*_test_labeled.json): score them too.
    #[arg(long, help_heading = "Data", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    with_label: Option<bool>,
    /// Training samples of more tokens are dropped.
    #[arg(long, help_heading = "Data")]
    max_seq_len: Option<usize>,
    /// Fill batches with samples of like length.
    #[arg(long, help_heading = "Data", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    bin_on: Option<bool>,
    /// Length, in tokens, that ends the first bin.
    #[arg(long, help_heading = "Data")]
    bin_size: Option<usize>,
    /// Growth of the bins' widths from one to the next.
    #[arg(long, help_heading = "Data")]
    bin_grow_ratio: Option<f64>,

    /// What to start from: a Hugging Face folder, or a .pt file of the original program.
    #[arg(long, help_heading = "Model")]
    init_checkpoint: Option<PathBuf>,
    /// Folder with tokenizer.json or vocab.txt; without it that of the checkpoint.
    #[arg(long, help_heading = "Model")]
    tokenizer: Option<PathBuf>,
    /// Fine-tuned checkpoint to start from with its head (a warm start, with --resume).
    #[arg(long, help_heading = "Model", requires = "resume")]
    model_ckpt: Option<PathBuf>,
    /// Keep the first so many encoder layers; -1 for all.
    #[arg(long, allow_negative_numbers = true, help_heading = "Model")]
    num_hidden_layers: Option<i64>,
    /// Draw the weights afresh; take only sizes and tokenizer from the checkpoint.
    #[arg(long, help_heading = "Model", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    from_scratch: Option<bool>,
    /// Dropout before the last layer of the head.
    #[arg(long, help_heading = "Model")]
    dropout_p: Option<f64>,
    /// Dropout inside the encoder.
    #[arg(long, help_heading = "Model")]
    bert_dropout_p: Option<f64>,

    /// What decides which weights go: platon, magnitude or none.
    #[arg(long, help_heading = "Pruning")]
    pruner: Option<String>,
    /// Remaining ratio before pruning.
    #[arg(long, help_heading = "Pruning")]
    initial_threshold: Option<f64>,
    /// Remaining ratio at the end.
    #[arg(long, help_heading = "Pruning")]
    final_threshold: Option<f64>,
    /// Unit of the two warm-ups, in updates.
    #[arg(long, help_heading = "Pruning")]
    warmup_steps: Option<usize>,
    /// Updates before pruning, in warmup-steps.
    #[arg(long, help_heading = "Pruning")]
    initial_warmup: Option<usize>,
    /// Updates at the final ratio, in warmup-steps.
    #[arg(long, help_heading = "Pruning")]
    final_warmup: Option<usize>,
    /// Smoothing of the importance, in [0, 1).
    #[arg(long, help_heading = "Pruning")]
    beta1: Option<f64>,
    /// Smoothing of the uncertainty, in [0, 1).
    #[arg(long, help_heading = "Pruning")]
    beta2: Option<f64>,
    /// Window over which sensitivities are averaged, in updates.
    #[arg(long, alias = "deltaT", help_heading = "Pruning")]
    delta_t: Option<usize>,

    /// What updates the weights: adamax, adam, adamw, radam or sgd.
    #[arg(long, help_heading = "Optimisation")]
    optimizer: Option<String>,
    /// Samples per batch.
    #[arg(long, help_heading = "Optimisation")]
    batch_size: Option<usize>,
    /// Batches per update, whose gradients add up.
    #[arg(long, help_heading = "Optimisation")]
    grad_accumulation_step: Option<usize>,
    /// Passes over the training set.
    #[arg(long, help_heading = "Optimisation")]
    epochs: Option<usize>,
    /// Full learning rate.
    #[arg(long, help_heading = "Optimisation")]
    learning_rate: Option<f64>,
    /// Share of the updates over which the learning rate rises.
    #[arg(long, help_heading = "Optimisation")]
    warmup: Option<f64>,
    /// Course of the learning rate: warmup_linear, linear, constant or cosine.
    #[arg(long, help_heading = "Optimisation")]
    warmup_schedule: Option<String>,
    /// Decoupled weight decay.
    #[arg(long, help_heading = "Optimisation")]
    weight_decay: Option<f64>,
    /// Epsilon of adamax, adam, adamw and radam.
    #[arg(long, help_heading = "Optimisation")]
    adam_eps: Option<f64>,
    /// Momentum of sgd.
    #[arg(long, help_heading = "Optimisation")]
    momentum: Option<f64>,
    /// Largest norm of all gradients together; 0 for no clipping.
    #[arg(long, help_heading = "Optimisation")]
    global_grad_clipping: Option<f64>,
    /// After that, largest norm of each tensor's gradient; 0 for no clipping.
    #[arg(long, help_heading = "Optimisation")]
    grad_clipping: Option<f64>,
    /// Seeds initial weights, batch order and dropout.
    #[arg(
        long,
        help_heading = "Optimisation",
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64)
    )]
    seed: Option<u64>,

    /// Updates between two log lines.
    #[arg(long, help_heading = "Logging")]
    log_per_updates: Option<usize>,
    /// Updates between two evaluations, besides those at each epoch's end; 0 for never.
    #[arg(long, help_heading = "Logging")]
    eval_per_updates: Option<usize>,
    /// Samples per batch of an evaluation.
    #[arg(long, help_heading = "Logging")]
    batch_size_eval: Option<usize>,
    /// Updates between two checkpoints, with --save-per-updates-on.
    #[arg(long, help_heading = "Logging")]
    save_per_updates: Option<usize>,
    /// Save a checkpoint every --save-per-updates updates too.
    #[arg(long, help_heading = "Logging", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    save_per_updates_on: Option<bool>,
    /// How many of the latest checkpoints to keep, besides the best one.
    #[arg(long, help_heading = "Logging")]
    keep_checkpoints: Option<usize>,
    /// Name of the log in the run folder.
    #[arg(long, help_heading = "Logging")]
    log_file: Option<String>,
    /// Write TensorBoard event files.
    #[arg(long, help_heading = "Logging", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    tensorboard: Option<bool>,
    /// Their folder in the run folder.
    #[arg(long, help_heading = "Logging")]
    tensorboard_logdir: Option<String>,
    /// Predict the test sets too, and write files for the GLUE server.
    #[arg(long, help_heading = "Logging", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    glue_format_on: Option<bool>,

    /// Run folder; without it checkpoints/runs/TASK-PRUNER-RATIO, numbered where it exists.
    #[arg(long, help_heading = "Run")]
    output_dir: Option<PathBuf>,
    /// flex, ndarray, cuda or wgpu.
    #[arg(long, help_heading = "Run")]
    backend: Option<String>,
    /// Divide each update among all GPUs of the backend.
    #[arg(long, help_heading = "Run", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    multi_gpu_on: Option<bool>,
    /// Compute the matrix products of updates in half precision, with loss scaling (for GPUs).
    #[arg(long, help_heading = "Run", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    fp16: Option<bool>,
    /// Stop after so many updates, the schedules being those of the full run.
    #[arg(long, help_heading = "Run")]
    max_steps: Option<usize>,
}

impl Settings {
    /// The flags that were given, as a layer over the recipe.
    pub fn layer(&self) -> Result<Layer> {
        let settings =
            toml::Table::try_from(self).map_err(|e| Error::value("command line", "settings", e))?;
        Ok(Layer { origin: "command line".into(), settings })
    }
}
