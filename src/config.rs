//! What a run is asked to do: layers of raw settings (defaults, recipe, flags) become one checked
//! [`RunConfig`].

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::error::{Error, Result};
use crate::learning_rate::Schedule;
use crate::pruning::{Pruner, RatioSchedule};

/// The version written to `config.toml`.
pub const FORMAT: u32 = 1;

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
    /// The GLUE task (or `demo`).
    pub task: String,
    /// Holds one folder of raw files per task; receives the prepared data.
    pub data_dir: PathBuf,
    /// The Hugging Face folder to start from: config.json, model.safetensors, tokenizer.
    pub init_checkpoint: PathBuf,
    /// Takes only config.json and the tokenizer from `init_checkpoint`; weights are drawn afresh.
    pub from_scratch: bool,
    /// The run folder.
    pub output_dir: PathBuf,
    /// Where the tensors live.
    pub backend: BackendName,

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

    /// Samples per update.
    pub batch_size: usize,
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
    /// Adamax's epsilon.
    pub adam_eps: f64,
    /// Largest norm of all gradients together; 0 for no clipping.
    pub global_grad_clipping: f64,
    /// Dropout before the last layer of the head, in [0, 1).
    pub dropout_p: f64,
    /// Dropout inside the encoder, in [0, 1).
    pub bert_dropout_p: f64,
    /// Training samples of more tokens are dropped.
    pub max_seq_len: usize,
    /// Seeds initial weights, batch order and dropout.
    pub seed: u64,

    /// Updates between two log lines.
    pub log_per_updates: usize,
    /// Updates between two evaluations, besides those at each epoch's end; 0 for never.
    pub eval_per_updates: usize,
    /// Stops after so many updates, the schedules being those of the full run; 0 for never.
    pub max_steps: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            format: FORMAT,
            task: "mnli".into(),
            data_dir: "glue-data".into(),
            init_checkpoint: "checkpoints/bert-base-uncased".into(),
            from_scratch: false,
            output_dir: PathBuf::new(),
            backend: default_backend(),
            pruner: Pruner::Platon,
            initial_threshold: 1.0,
            final_threshold: 0.15,
            warmup_steps: 5400,
            initial_warmup: 1,
            final_warmup: 2,
            beta1: 0.85,
            beta2: 0.0,
            delta_t: 1,
            batch_size: 32,
            batch_size_eval: 32,
            epochs: 5,
            learning_rate: 5e-5,
            warmup: 0.1,
            warmup_schedule: Schedule::WarmupLinear,
            weight_decay: 0.01,
            adam_eps: 1e-6,
            global_grad_clipping: 1.0,
            dropout_p: 0.1,
            bert_dropout_p: 0.1,
            max_seq_len: 512,
            seed: 2018,
            log_per_updates: 500,
            eval_per_updates: 5000,
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

    fn check(&self) -> Result<()> {
        RatioSchedule::check_ratios(self.initial_threshold, self.final_threshold)?;
        for (name, value) in [
            ("delta_t", self.delta_t),
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("batch_size_eval", self.batch_size_eval),
            ("log_per_updates", self.log_per_updates),
            ("max_seq_len", self.max_seq_len),
        ] {
            if value == 0 {
                return Err(Error::value(name, "at least 1", value));
            }
        }
        for (name, value) in [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("warmup", self.warmup),
            ("dropout_p", self.dropout_p),
            ("bert_dropout_p", self.bert_dropout_p),
        ] {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::value(name, "a number in [0, 1)", value));
            }
        }
        for (name, value) in [("learning_rate", self.learning_rate), ("adam_eps", self.adam_eps)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::value(name, "a positive number", value));
            }
        }
        for (name, value) in [
            ("weight_decay", self.weight_decay),
            ("global_grad_clipping", self.global_grad_clipping),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::value(name, "0 or a positive number", value));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Layer {
        Layer { origin: "recipe.toml".into(), settings: text.parse().unwrap() }
    }

    fn refused(text: &str) -> String {
        RunConfig::resolve(&[layer(text)]).unwrap_err().to_string()
    }

    #[test]
    fn later_layers_win() {
        let config =
            RunConfig::resolve(&[layer("seed = 1\nepochs = 2"), layer("seed = 3")]).unwrap();
        assert_eq!((config.seed, config.epochs, config.batch_size), (3, 2, 32));
    }

    #[test]
    fn resolved_settings_resolve_to_themselves() {
        let config = RunConfig::resolve(&[layer("task = \"rte\"\nfinal_threshold = 0.1")]).unwrap();
        let again = Layer { origin: "config.toml".into(), settings: config.to_table().unwrap() };
        assert_eq!(RunConfig::resolve(&[again]).unwrap(), config);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        assert!(
            refused("sed = 1").starts_with("recipe.toml: expected a known setting, found \"sed\"")
        );
        assert!(refused("seed = \"x\"").starts_with("recipe.toml: expected a valid seed"));
        assert!(refused("pruner = \"random\"").contains("platon"));
        assert!(refused("epochs = 0").contains("epochs: expected at least 1"));
        assert!(refused("beta2 = 1.0").contains("beta2: expected a number in [0, 1), found 1"));
        assert!(refused("learning_rate = nan").contains("learning_rate"));
        assert!(refused("format = 9").contains("another version"));
    }
}
