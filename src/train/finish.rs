//! The end of a run: the model's folder and the report.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::card::Card;
use super::checkpointer::read;
use super::selection::Selection;
use super::step::TraineeRecord;
use super::terminal;
use crate::bert::weights::{self, StoredTensor};
use crate::bert::{BertClassifier, BertConfig};
use crate::config::RunConfig;
use crate::error::Result;
use crate::export::{self, Columns, Dropouts};
use crate::files::{write_json, write_whole};
use crate::glue::encode::Encoder;
use crate::glue::task::Task;
use crate::infer::scores::score_name;
use crate::pruning::{Histogram, PruningMonitor, RatioSchedule};
use crate::report::{self, Phases, Report};
use crate::run::checkpoints::{Checkpoints, PARTS};
use crate::run::record::UNDEFINED;
use crate::run::{Journal, RunFolder};

/// What is known at the end of a run besides its model.
pub(super) struct Finished<'a> {
    /// Its settings.
    pub config: &'a RunConfig,
    /// Its tasks, in the order of the model's heads.
    pub tasks: &'a [&'static Task],
    /// The dropout before each of these.
    pub head_dropouts: &'a [f64],
    /// The encoder's sizes.
    pub bert: &'a BertConfig,
    /// What is pruned of it.
    pub selection: &'a Selection,
    /// The course of the remaining ratio.
    pub schedule: &'a RatioSchedule,
    /// What the optimizer told.
    pub monitor: &'a PruningMonitor,
    /// The tokenizer, if there is one.
    pub encoder: Option<&'a Encoder>,
    /// Where it goes.
    pub folder: &'a RunFolder,
}

/// Writes `best/`, where the best evaluation was not that of the final model `net`.
fn keep_best<B: Backend>(
    net: &BertClassifier<B>,
    journal: &Journal,
    finished: &Finished,
) -> Result<()> {
    let Finished { config, folder, .. } = finished;
    if let Some(best) = journal.best().filter(|best| best.update != journal.step()) {
        let device = net.devices().first().cloned().unwrap_or_default();
        let [model, ..] = PARTS;
        let checkpoints = Checkpoints::new(folder, config.logging().keep_checkpoints);
        let whole = checkpoints.of(best.update);
        let record: TraineeRecord<B> = match whole.and_then(|whole| read(&whole, model, &device)) {
            Ok(record) => record,
            Err(e) => {
                // The final model does not need it.
                journal.line(&format!(
                    "no best/: the model after update {} is lost: {e}",
                    best.update
                ));
                return Ok(());
            }
        };
        let net = net.clone().load_record(record.net);
        save(&net, |head, task| folder.best_for(head, task), finished)?;
        let is_defined = best.score > UNDEFINED;
        let score = if is_defined { format!("{:.2}", best.score) } else { "undefined".to_string() };
        let update = best.update;
        journal
            .line(&format!("best/ holds the model after update {update}, whose score was {score}"));
    }
    Ok(())
}

/// Removes the checkpoints of a run that is finished, unless the settings want them kept.
///
/// # Errors
/// They cannot be removed.
pub fn settle(config: &RunConfig, folder: &RunFolder) -> Result<()> {
    let logging = config.logging();
    match logging.keep_state {
        true => Ok(()),
        false => Checkpoints::new(folder, logging.keep_checkpoints).remove(),
    }
}

/// Writes a folder with the model for each task, where `folder` says by its number and name; the first
/// one's tensors.
fn save<B: Backend>(
    net: &BertClassifier<B>,
    folder: impl Fn(usize, &str) -> PathBuf,
    finished: &Finished,
) -> Result<BTreeMap<String, StoredTensor>> {
    let Finished { config, tasks, head_dropouts, bert, encoder, .. } = finished;
    let mut first = None;
    let (text, text_pair) = (config.own().text.clone(), config.own().text_pair.clone());
    let columns = text.map(|text| Columns { text, text_pair });
    for (head, (task, dropout)) in tasks.iter().zip(*head_dropouts).enumerate() {
        let dropouts = Dropouts { encoder: config.model().bert_dropout_p, head: *dropout };
        let tensors = weights::collect(bert.family, &net.with_head(head))?;
        export::save_hugging_face(
            &folder(head, task.name),
            &tensors,
            bert,
            task,
            dropouts,
            *encoder,
            columns.clone(),
        )?;
        first.get_or_insert(tensors);
    }
    Ok(first.unwrap_or_default())
}

/// Writes `model/`, `best/` where that is another, and at last `report.json` into the run folder.
///
/// # Errors
/// A file cannot be written.
pub(super) fn finish<B: Backend>(
    net: &BertClassifier<B>,
    journal: &Journal,
    finished: &Finished,
) -> Result<Report> {
    let Finished { config, tasks, bert, selection, folder, schedule, monitor, .. } = finished;
    let model = folder.model();
    let tensors = save(net, |head, task| folder.model_for(head, task), finished)?;
    let scope = selection.scope(net);
    let pruned = scope.members().iter().map(|member| member.name.as_str());
    let pruned: Vec<&str> = pruned.collect();
    let layers = report::count(&tensors, pruned.iter().copied());
    let weights = pruned.iter().filter_map(|name| tensors.get(*name));
    let weights = Histogram::of(weights.flat_map(|tensor| tensor.values.iter().copied()));
    let (scores, steps, timing) = (journal.scores(), journal.step(), journal.timing());
    let dev = scores.iter().flat_map(|set| {
        set.scores
            .iter()
            .map(|(tag, value)| (score_name(tag, &set.name, scores.len()), (*value).into()))
    });
    let sparsity = report::sparsity(&layers);
    let report = Report {
        format: report::FORMAT,
        task: tasks.iter().map(|task| task.name).collect::<Vec<_>>().join(","),
        pruner: config.pruning().pruner,
        final_ratio: selection.final_ratio(config, &scope),
        reached_ratio: 1.0 - sparsity,
        sparsity,
        prunable: layers.iter().map(|l| l.weights).sum(),
        parameters: net.num_params(),
        dev: dev.collect(),
        steps,
        best_update: journal.best().map(|best| best.update),
        seconds_per_step: timing.seconds_per_step,
        pruning_seconds_per_step: timing.pruning_seconds / steps.max(1) as f64,
        seconds: timing.seconds,
        peak_rss_bytes: terminal::peak_rss_bytes(),
        model_bytes: std::fs::metadata(model.join(export::WEIGHTS)).map_or(0, |m| m.len()),
        layers,
        phases: config.pruning().pruner.prunes().then(|| {
            let (before, falling) = schedule.boundaries();
            Phases { before, falling, total: schedule.total() }
        }),
        weights,
        scores: monitor.scores(),
        threshold: monitor.at(steps).and_then(|status| status.threshold).map(f64::from),
        shrinking: export::left_of(tensors, bert)?,
    };
    for (head, task) in tasks.iter().copied().enumerate() {
        let model = folder.model_for(head, task.name);
        let is_own = |name: &String| task.splits.iter().any(|split| task.data_set(split) == *name);
        let sets: Vec<String> = scores.iter().map(|set| set.name.clone()).filter(is_own).collect();
        let all_sets = scores.len();
        let card = Card { config, task, sets: &sets, all_sets, bert, report: &report };
        write_whole(&model.join("README.md"), card.text().as_bytes())?;
        let mut recipe = config.to_table()?;
        recipe.remove("output_dir");
        if config.has_own_teacher() {
            // A path into this run's folder would lead nowhere, and another seed has another teacher.
            recipe.insert("teacher".into(), "self".into());
        }
        write_whole(&model.join("recipe.toml"), recipe.to_string().as_bytes())?;
    }
    keep_best(net, journal, finished)?;
    // Last: a run with a report is finished.
    write_json(&folder.report(), &report)?;
    Ok(report)
}
