//! The end of a run: the model's folder and the report.

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::evaluate::score_name;
use super::journal::Journal;
use super::terminal;
use crate::bert::BertConfig;
use crate::bert::config::Dropouts;
use crate::bert::weights;
use crate::config::RunConfig;
use crate::error::Result;
use crate::export;
use crate::files::write_json;
use crate::glue::encode::Encoder;
use crate::glue::task::Task;
use crate::pruning::Pruner;
use crate::report::{self, Report};

/// What is known at the end of a run besides its model.
pub struct Finished<'a> {
    /// Its settings.
    pub config: &'a RunConfig,
    /// Its task.
    pub task: &'a Task,
    /// The encoder's sizes.
    pub bert: &'a BertConfig,
    /// The tokenizer, if there is one.
    pub encoder: Option<&'a Encoder>,
    /// How long it took.
    pub timing: Timing,
}

/// How long a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Mean seconds per update.
    pub seconds_per_step: f64,
    /// Seconds of the pruning in all updates.
    pub pruning_seconds: f64,
    /// Seconds of the whole run.
    pub seconds: f64,
}

/// Writes `model/` and `report.json` into the run folder.
///
/// # Errors
/// A file cannot be written.
pub fn finish<B: Backend, M: Module<B>>(
    net: &M,
    journal: &Journal,
    finished: &Finished,
) -> Result<Report> {
    let Finished { config, task, bert, encoder, timing } = finished;
    let dir = config.output_dir.as_path();
    let tensors = weights::collect(net)?;
    let dropouts = Dropouts { encoder: config.bert_dropout_p, head: config.dropout_p };
    let folder = dir.join("model");
    export::save_hugging_face(&folder, &tensors, bert, task, dropouts, *encoder)?;
    let layers = report::count(&tensors);
    let (scores, steps) = (journal.scores(), journal.step());
    let dev = scores.iter().flat_map(|set| {
        set.scores
            .iter()
            .map(|(tag, value)| (score_name(tag, &set.data_set, scores.len()), (*value).into()))
    });
    let report = Report {
        format: report::FORMAT,
        task: config.task.clone(),
        pruner: config.pruner,
        final_ratio: if config.pruner == Pruner::None { 1.0 } else { config.final_threshold },
        sparsity: report::sparsity(&layers),
        prunable: layers.iter().map(|l| l.weights).sum(),
        parameters: tensors.values().map(|t| t.values.len()).sum(),
        dev: dev.collect(),
        steps,
        seconds_per_step: timing.seconds_per_step,
        pruning_seconds_per_step: timing.pruning_seconds / steps.max(1) as f64,
        seconds: timing.seconds,
        peak_rss_bytes: terminal::peak_rss_bytes(),
        model_bytes: std::fs::metadata(folder.join("model.safetensors")).map_or(0, |m| m.len()),
        layers,
    };
    write_json(&dir.join("report.json"), &report)?;
    Ok(report)
}
