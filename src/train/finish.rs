//! The end of a run: the model's folder and the report.

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::terminal;
use crate::bert::BertConfig;
use crate::bert::weights;
use crate::config::RunConfig;
use crate::error::Result;
use crate::export::{self, Dropouts};
use crate::files::write_json;
use crate::glue::encode::Encoder;
use crate::glue::task::Task;
use crate::infer::scores::score_name;
use crate::report::{self, Report};
use crate::run::{Journal, RunFolder};

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
    /// Where it goes.
    pub folder: &'a RunFolder,
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
    let Finished { config, task, bert, encoder, folder } = finished;
    let tensors = weights::collect(net)?;
    let dropouts =
        Dropouts { encoder: config.model().bert_dropout_p, head: config.model().dropout_p };
    let model = folder.model();
    export::save_hugging_face(&model, &tensors, bert, task, dropouts, *encoder)?;
    let layers = report::count(&tensors);
    let (scores, steps, timing) = (journal.scores(), journal.step(), journal.timing());
    let dev = scores.iter().flat_map(|set| {
        set.scores
            .iter()
            .map(|(tag, value)| (score_name(tag, &set.name, scores.len()), (*value).into()))
    });
    let report = Report {
        format: report::FORMAT,
        task: config.data().task.clone(),
        pruner: config.pruning().pruner,
        final_ratio: config.pruning().final_ratio(),
        sparsity: report::sparsity(&layers),
        prunable: layers.iter().map(|l| l.weights).sum(),
        parameters: tensors.values().map(|t| t.values.len()).sum(),
        dev: dev.collect(),
        steps,
        seconds_per_step: timing.seconds_per_step,
        pruning_seconds_per_step: timing.pruning_seconds / steps.max(1) as f64,
        seconds: timing.seconds,
        peak_rss_bytes: terminal::peak_rss_bytes(),
        model_bytes: std::fs::metadata(model.join(export::WEIGHTS)).map_or(0, |m| m.len()),
        layers,
    };
    write_json(&folder.report(), &report)?;
    Ok(report)
}
