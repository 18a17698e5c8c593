//! What a run is asked to do: layers of raw settings (defaults, recipe, flags) become one checked
//! [`RunConfig`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::error::{Error, Result};
use crate::files::is_file_name;
use crate::learning_rate::Schedule;
use crate::optimizer::OptimizerName;
use crate::pruning::{Pruner, RatioSchedule};

/// The version written to `config.toml`.
pub const FORMAT: u32 = 1;

/// What else lies in a run folder.
const OWN_NAMES: [&str; 8] = [
    "config.toml",
    "metrics.jsonl",
    "report.json",
    "model",
    "checkpoint",
    "lock",
    "export-hf",
    "model-sparse.safetensors",
];

/// The devices a run can use, each behind a cargo feature of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendName {
    /// burn's CPU backend, the default.
    Flex,
    /// CPU, the reference for the tests.
    Ndarray,
    /// NVIDIA GPUs.
    Cuda,
    /// GPUs through Vulkan, Metal or DirectX.
    Wgpu,
}

/// Everything that determines a run. Field names are the keys of recipes and `config.toml`; the
/// names, and the defaults unless said otherwise, are the original's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of this file's form.
    pub format: u32,
    /// The GLUE task, `demo`, or one of `task_def`.
    pub task: String,
    /// The original's task table in YAML, with tasks of one's own; empty for none.
    pub task_def: PathBuf,
    /// Holds one folder of raw files per task and receives the prepared data; or holds the files of
    /// encoded samples themselves.
    pub data_dir: PathBuf,
    /// The data sets to evaluate, as `mnli_matched`; none for all of the task's.
    pub test_datasets: Vec<String>,
    /// Test sets hold true labels (`{data set}_test_labeled.json`) and are scored.
    pub with_label: bool,
    /// Training samples of more tokens are dropped.
    pub max_seq_len: usize,
    /// Batches hold samples of like length.
    pub bin_on: bool,
    /// The length, in tokens, that ends the first bin.
    pub bin_size: usize,
    /// Each bin is this much wider than the one before it.
    pub bin_grow_ratio: f64,
    /// What to start from: a Hugging Face folder, or a checkpoint of the original program.
    pub init_checkpoint: PathBuf,
    /// The folder with the tokenizer; empty for that of `init_checkpoint`.
    pub tokenizer: PathBuf,
    /// Takes only sizes and tokenizer from `init_checkpoint`; weights are drawn afresh.
    pub from_scratch: bool,
    /// A fine-tuned checkpoint whose weights, the head's too, the run starts with; empty for none.
    pub model_ckpt: PathBuf,
    /// Keeps the first so many encoder layers; -1 for all.
    pub num_hidden_layers: i64,
    /// The run folder.
    pub output_dir: PathBuf,
    /// Where the tensors live.
    pub backend: BackendName,
    /// Divides each update among all GPUs of the backend.
    pub multi_gpu_on: bool,
    /// Updates compute their matrix products in half precision.
    pub fp16: bool,

    /// What decides which weights go.
    pub pruner: Pruner,
    /// Remaining ratio before pruning, in (0, 1].
    pub initial_threshold: f64,
    /// Remaining ratio at the end, in (0, 1].
    pub final_threshold: f64,
    /// The unit of the two warm-ups, in updates.
    pub warmup_steps: usize,
    /// Updates before pruning, in `warmup_steps`.
    pub initial_warmup: usize,
    /// Updates at the final ratio, in `warmup_steps`.
    pub final_warmup: usize,
    /// Smoothing of the importance, in [0, 1).
    pub beta1: f64,
    /// Smoothing of the uncertainty, in [0, 1).
    pub beta2: f64,
    /// Length of the window over which sensitivities are averaged, in updates.
    pub delta_t: usize,

    /// Updates the weights.
    pub optimizer: OptimizerName,
    /// Samples per batch.
    pub batch_size: usize,
    /// Batches per update.
    pub grad_accumulation_step: usize,
    /// Samples per batch of an evaluation.
    pub batch_size_eval: usize,
    /// Passes over the training set.
    pub epochs: usize,
    /// The full learning rate.
    pub learning_rate: f64,
    /// Share of the updates over which the learning rate rises, in [0, 1).
    pub warmup: f64,
    /// The learning rate's course after that.
    pub warmup_schedule: Schedule,
    /// Decoupled weight decay (the original's flag had no effect; it always used 0.01).
    pub weight_decay: f64,
    /// Epsilon of Adamax, Adam, AdamW and RAdam.
    pub adam_eps: f64,
    /// Momentum of SGD, in [0, 1).
    pub momentum: f64,
    /// Largest norm of all gradients together; 0 for no clipping.
    pub global_grad_clipping: f64,
    /// Largest norm of each tensor's gradient after that; 0 for no clipping.
    pub grad_clipping: f64,
    /// Dropout before the last layer of the head, in [0, 1).
    pub dropout_p: f64,
    /// Dropout inside the encoder, in [0, 1).
    pub bert_dropout_p: f64,
    /// Seeds initial weights, batch order and dropout.
    pub seed: u64,

    /// Updates between two log lines.
    pub log_per_updates: usize,
    /// Updates between two evaluations, besides those at each epoch's end; 0 for never.
    pub eval_per_updates: usize,
    /// Updates between two checkpoints, besides those at evaluations, if `save_per_updates_on`.
    pub save_per_updates: usize,
    /// Saves every `save_per_updates` updates too.
    pub save_per_updates_on: bool,
    /// So many of the latest checkpoints are kept, besides the best one.
    pub keep_checkpoints: usize,
    /// The log's name inside the run folder.
    pub log_file: String,
    /// Writes TensorBoard event files.
    pub tensorboard: bool,
    /// Their folder inside the run folder.
    pub tensorboard_logdir: String,
    /// Predicts the test sets at each evaluation and writes files for the GLUE server.
    pub glue_format_on: bool,
    /// Stops after so many updates, the schedules being those of the full run; 0 for never.
    pub max_steps: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            format: FORMAT,
            task: "mnli".into(),
            task_def: PathBuf::new(),
            data_dir: "glue-data".into(),
            test_datasets: Vec::new(),
            with_label: false,
            max_seq_len: 512,
            bin_on: false,
            bin_size: 64,
            bin_grow_ratio: 0.5,
            init_checkpoint: "checkpoints/bert-base-uncased".into(),
            tokenizer: PathBuf::new(),
            from_scratch: false,
            model_ckpt: PathBuf::new(),
            num_hidden_layers: -1,
            output_dir: PathBuf::new(),
            backend: default_backend(),
            multi_gpu_on: false,
            fp16: false,
            pruner: Pruner::Platon,
            initial_threshold: 1.0,
            final_threshold: 0.15,
            warmup_steps: 5400,
            initial_warmup: 1,
            final_warmup: 2,
            beta1: 0.85,
            beta2: 0.0,
            delta_t: 1,
            optimizer: OptimizerName::Adamax,
            batch_size: 32,
            grad_accumulation_step: 1,
            batch_size_eval: 32,
            epochs: 5,
            learning_rate: 5e-5,
            warmup: 0.1,
            warmup_schedule: Schedule::WarmupLinear,
            weight_decay: 0.01,
            adam_eps: 1e-6,
            momentum: 0.0,
            global_grad_clipping: 1.0,
            grad_clipping: 0.0,
            dropout_p: 0.1,
            bert_dropout_p: 0.1,
            seed: 2018,
            log_per_updates: 500,
            eval_per_updates: 5000,
            save_per_updates: 10_000,
            save_per_updates_on: false,
            keep_checkpoints: 2,
            log_file: "log.log".into(),
            tensorboard: false,
            tensorboard_logdir: "tensorboard_logdir".into(),
            glue_format_on: false,
            max_steps: 0,
        }
    }
}

/// The first backend this program was built with, in the order of preference on a plain machine.
fn default_backend() -> BackendName {
    if cfg!(feature = "flex") {
        BackendName::Flex
    } else if cfg!(feature = "ndarray") {
        BackendName::Ndarray
    } else if cfg!(feature = "cuda") {
        BackendName::Cuda
    } else {
        BackendName::Wgpu
    }
}

/// Settings as somebody wrote them, and where.
#[derive(Debug, Clone)]
pub struct Layer {
    /// A file's path, or `command line`.
    pub origin: PathBuf,
    /// Keys are the fields of [`RunConfig`].
    pub settings: Table,
}

impl Layer {
    /// Reads a recipe, or the `config.toml` of a run.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        let settings = text.parse::<Table>().map_err(|e| {
            let line =
                e.span().map(|s| 1 + text.get(..s.start).unwrap_or("").matches('\n').count());
            Error::content(path, line, "TOML", e.message())
        })?;
        Ok(Self { origin: path.to_path_buf(), settings })
    }
}

impl RunConfig {
    /// Lays `layers` over the defaults, later ones over earlier ones, and checks the result.
    ///
    /// # Errors
    /// Unknown keys, values of the wrong type, and values that no run can have.
    pub fn resolve(layers: &[Layer]) -> Result<Self> {
        let mut merged = Self::default().to_table()?;
        for layer in layers {
            if let Some(format) =
                layer.settings.get("format").filter(|f| f.as_integer() != Some(i64::from(FORMAT)))
            {
                return Err(Error::content(
                    &layer.origin,
                    None,
                    format!("format {FORMAT}"),
                    format,
                )
                .hint("this file belongs to another version of platon"));
            }
            for (key, value) in &layer.settings {
                if !merged.contains_key(key) {
                    let known = merged.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    return Err(Error::content(
                        &layer.origin,
                        None,
                        "a known setting",
                        format!("{key:?}"),
                    )
                    .hint(format!("the settings are {known}")));
                }
                merged.insert(key.clone(), value.clone());
                // Checked layer by layer, so that the error names the layer at fault.
                Self::deserialize(merged.clone()).map_err(|e| {
                    Error::content(
                        &layer.origin,
                        None,
                        format!("a valid {key}"),
                        format!("{value} ({})", e.message().trim()),
                    )
                })?;
            }
        }
        let config = Self::deserialize(merged)
            .map_err(|e| Error::value("configuration", "complete settings", e.message()))?;
        config.check()?;
        Ok(config)
    }

    /// The settings as a TOML table.
    pub fn to_table(&self) -> Result<Table> {
        Table::try_from(self)
            .map_err(|e| Error::run(format!("the settings cannot be written: {e}")))
    }

    /// The course of the remaining ratio over a run of `total` updates; constant without a pruner.
    ///
    /// # Errors
    /// As [`RatioSchedule::new`].
    pub fn ratio_schedule(&self, total: usize) -> Result<RatioSchedule> {
        if self.pruner == Pruner::None {
            return RatioSchedule::new((1.0, 1.0), 0, 0, 0, self.delta_t, total);
        }
        RatioSchedule::new(
            (self.initial_threshold, self.final_threshold),
            self.warmup_steps,
            self.initial_warmup,
            self.final_warmup,
            self.delta_t,
            total,
        )
    }

    /// The names of the log and of the event files' folder.
    fn check_names(&self) -> Result<()> {
        let names =
            [("log_file", &self.log_file), ("tensorboard_logdir", &self.tensorboard_logdir)];
        for (name, value) in names {
            // They lie in the run folder, which a path could leave.
            if !is_file_name(value) || value.contains(char::is_control) {
                let expected = "a name inside the run folder";
                return Err(Error::value(name, expected, format!("{value:?}")));
            }
            if OWN_NAMES.contains(&value.as_str()) {
                return Err(Error::value(name, "a name of its own", value)
                    .hint(format!("the run has files called {}", OWN_NAMES.join(", "))));
            }
        }
        if self.log_file == self.tensorboard_logdir {
            let found = format!("{}, as log_file", self.log_file);
            return Err(Error::value("tensorboard_logdir", "a name of its own", found));
        }
        Ok(())
    }

    /// Checks the values, also those that have been set since.
    ///
    /// # Errors
    /// Values that no run can have.
    pub fn check(&self) -> Result<()> {
        RatioSchedule::check_ratios(self.initial_threshold, self.final_threshold)?;
        for (name, value) in [
            ("delta_t", self.delta_t),
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("batch_size_eval", self.batch_size_eval),
            ("log_per_updates", self.log_per_updates),
            ("max_seq_len", self.max_seq_len),
            ("bin_size", self.bin_size),
            ("grad_accumulation_step", self.grad_accumulation_step),
            ("save_per_updates", self.save_per_updates),
            ("keep_checkpoints", self.keep_checkpoints),
        ] {
            if value == 0 {
                return Err(Error::value(name, "at least 1", value));
            }
        }
        for (name, value) in [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("warmup", self.warmup),
            ("momentum", self.momentum),
            ("dropout_p", self.dropout_p),
            ("bert_dropout_p", self.bert_dropout_p),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::value(name, "a number in [0, 1)", value));
            }
        }
        if self.num_hidden_layers == 0 || self.num_hidden_layers < -1 {
            let found = self.num_hidden_layers;
            return Err(Error::value("num_hidden_layers", "-1 for all, or at least 1", found));
        }
        self.check_names()?;
        for (name, value) in [("learning_rate", self.learning_rate), ("adam_eps", self.adam_eps)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::value(name, "a positive number", value));
            }
        }
        for (name, value) in [
            ("weight_decay", self.weight_decay),
            ("global_grad_clipping", self.global_grad_clipping),
            ("grad_clipping", self.grad_clipping),
            ("bin_grow_ratio", self.bin_grow_ratio),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::value(name, "0 or a positive number", value));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
