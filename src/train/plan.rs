//! What a run will do: its data, its updates, and the course of the remaining ratio.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::samples::{Sets, raw_training_rows};
use super::selection::Selection;
use super::warm_start::{check_computes_alike, check_reads_alike};
use crate::bert::{BertConfig, Checkpoint, ClassifierConfig, Family, HeadConfig, names};
use crate::config::{Layer, Model, RunConfig};
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::glue::prepare::{Options, PrepareEvent, holds_encoded};
use crate::glue::sample::{Sample, fingerprint};
use crate::glue::task::{Metric, Part, Task, task};
use crate::glue::task_def;
use crate::glue::updates::{Mix, Updates, UpdatesConfig, batches_of};
use crate::infer::sets::EvalSet;
use crate::infer::tokenizer::TokenizerFolder;
use crate::pruning::RatioSchedule;
use crate::run::RunFolder;
use crate::run::origin::model_in;

/// The published recipes need about 100,000.
const MAX_UPDATES: usize = 100_000_000;

/// Everything decided before the first update.
pub struct Plan {
    /// The task, the first of several.
    pub task: &'static Task,
    /// The other tasks, each with a head of its own.
    pub others: Vec<&'static Task>,
    /// The encoder's sizes.
    pub bert: BertConfig,
    /// Updates and evaluations.
    pub updates: Arc<Updates>,
    /// The course of the remaining ratio.
    pub schedule: RatioSchedule,
    /// What is pruned.
    pub(super) selection: Selection,
    /// The dropout before each head.
    pub(super) head_dropouts: Vec<f64>,
    /// `None` where encoded data came without one.
    pub(super) encoder: Option<Encoder>,
    pub(super) samples: Vec<Sample>,
    /// Where these stand among all training samples.
    pub(super) places: Vec<usize>,
    pub(super) dropped: usize,
    /// The first samples of the second task, the third, ...
    pub(super) starts: Vec<usize>,
    pub(super) sets: Vec<EvalSet>,
}

impl Plan {
    /// Reads and checks everything a run needs, preparing data that is missing; with the plan comes
    /// the checkpoint that the run begins with. Without `needs_weights` none of its weights are read:
    /// a run that goes on has its own.
    ///
    /// # Errors
    /// A file is missing or malformed, its content does not fit the model, or the settings do not
    /// fit the data.
    pub fn new(
        config: &RunConfig,
        needs_weights: bool,
        on_progress: &(dyn Fn(PrepareEvent<'_>) + Sync),
    ) -> Result<(Self, Checkpoint)> {
        let tasks = tasks_of(config)?;
        tasks.iter().try_for_each(|task| check_has_training_data(task))?;
        let task = task_of(config)?;
        let (data_settings, model_settings) = (config.data(), config.model());
        let checkpoint = if needs_weights {
            Checkpoint::open(&model_settings.init_checkpoint)?
        } else {
            Checkpoint::open_config(&model_settings.init_checkpoint)?
        };
        check_encoder_type(&model_settings.encoder_type, checkpoint.config.family)?;
        if needs_weights && model_settings.reads_init_checkpoint() {
            checkpoint.check_weights().map_err(|e| {
                e.hint("put the weights into this folder, or draw them afresh with --from-scratch")
            })?;
        }
        let bert = first_layers(&checkpoint.config, model_settings.num_hidden_layers)?;
        let selection = Selection::new(config, &bert, task.outputs())?;
        let outputs = names::output_weight(bert.family);
        if tasks.len() > 1 && selection.takes(&outputs) {
            // The others' would stay dense, and nothing would count them.
            let expected = "no output layers, of which several tasks have one each";
            return Err(Error::value("prune_include", expected, outputs));
        }
        let begun_with = model_settings.model_ckpt.as_deref().filter(|_| needs_weights);
        let begun_with = begun_with.map(Checkpoint::open_config).transpose()?;
        begun_with.as_ref().map_or(Ok(()), |found| check_computes_alike(&checkpoint, found))?;
        let rate = |(n, task): (usize, &&'static Task)| head_dropout(config, n, task);
        let head_dropouts = tasks.iter().enumerate().map(rate).collect::<Result<_>>()?;
        let folder = TokenizerFolder::of(config.model().tokenizer.as_deref(), &checkpoint)?;
        // Preparing takes minutes for the large tasks: what cannot fit is refused before it.
        let data_dir = data_dir_of(config, task, &Part::ALL)?;
        if let Some(rows) = most_training_rows(task, &data_dir).filter(|_| tasks.len() == 1) {
            let batches = match data_settings.bins() {
                // Those of the longer samples may hold one each.
                Some(_) => rows,
                None => rows.div_ceil(config.optimisation().batch_size),
            };
            config.ratio_schedule(check_updates(batches, config)?)?;
        }
        let encoder = if holds_encoded(task, &data_dir) && !folder.has_one() {
            None
        } else {
            let encoder = folder.encoder()?;
            encoder.check_fits(bert.vocab_size, folder.path())?;
            Some(encoder.clone())
        };
        if let (Some(encoder), Some(found), None) =
            (&encoder, &begun_with, &model_settings.tokenizer)
        {
            check_reads_alike(encoder, found)?;
        }
        let options = Options { data_dir: &data_dir, tokenizer: folder.at() };
        let sets = Sets::read(&tasks, options, &bert, config, on_progress)?;
        let Sets { samples, places, dropped, starts, bins, first_bins, evaluated } = sets;
        if config.objective().mkd_opt > 0 && samples.iter().all(|s| s.softlabel.is_empty()) {
            let expected = "encoded training samples with a softlabel";
            return Err(Error::value("mkd_opt", expected, "none")
                .hint("platon prepare TASK --scores FILE --output-dir DIR makes them"));
        }
        if config.objective().mkd_opt > 0 {
            check_softlabels(&samples, &starts)?;
        }
        let mix = Mix {
            first: first_bins,
            others_first: data_settings.mix_opt > 0,
            ratio: data_settings.ratio,
        };
        let mix = (tasks.len() > 1).then_some(mix);
        // What has begun goes on as it is.
        mix.filter(|_| needs_weights).map_or(Ok(()), |mix| mix.check(&bins))?;
        check_updates(batches_of(&bins, mix), config)?;
        let updates_config = UpdatesConfig {
            batches: config.optimisation().grad_accumulation_step,
            epochs: config.optimisation().epochs,
            seed: config.optimisation().seed,
            evaluate_every: config.logging().eval_per_updates,
            save_every: config.logging().save_every(),
            stop_after: config.run().max_steps,
            mix,
        };
        let updates = Updates::new(bins, updates_config);
        let schedule = config.ratio_schedule(updates.total())?;
        if needs_weights {
            schedule.check_falls(config.first_scores())?;
        }
        let schedule = schedule.ending_at(updates.last());
        let updates = Arc::new(updates);
        let others = tasks.into_iter().skip(1).collect();
        let plan = Self {
            task,
            others,
            bert,
            updates,
            schedule,
            selection,
            head_dropouts,
            encoder,
            samples,
            places,
            dropped,
            starts,
            sets: evaluated,
        };
        Ok((plan, checkpoint))
    }

    /// All tasks, in the order of the model's heads.
    pub fn tasks(&self) -> impl Iterator<Item = &'static Task> {
        std::iter::once(self.task).chain(self.others.iter().copied())
    }

    /// The evaluation sets.
    pub fn into_sets(self) -> Vec<EvalSet> {
        self.sets
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
            bert_dropout: config.model().bert_dropout_p,
            heads: self
                .tasks()
                .zip(&self.head_dropouts)
                .map(|(task, dropout)| HeadConfig { outputs: task.outputs(), dropout: *dropout })
                .collect(),
        }
    }
}

/// The run's task: that of files of one's own, one of the table it names, or one of GLUE's.
///
/// # Errors
/// There is no such task, or what is to decide is not measured on it.
pub fn task_of(config: &RunConfig) -> Result<&'static Task> {
    let name = &config.data().task;
    let task = match (config.own_files(), &config.data().task_def) {
        (Some(files), _) => {
            let expected = "the labels of the training file, or regression";
            let target = config.own().target();
            let target = target.ok_or_else(|| Error::value("labels", expected, "none"))?;
            files.task(name, &target, config.data().with_label)
        }
        (None, Some(table)) => task_def::read(table, name)?.task,
        (None, None) => task(name)?,
    };
    let metric = config.own().asked_metric();
    metric.map_or(Ok(task), |metric| task_def::decided_by(task, metric))
}

/// All tasks of a run, the first one first.
///
/// # Errors
/// As [`task_of`]; one comes twice.
pub fn tasks_of(config: &RunConfig) -> Result<Vec<&'static Task>> {
    let mut tasks = vec![task_of(config)?];
    for name in &config.data().more_tasks {
        let task = match &config.data().task_def {
            Some(table) => task_def::read(table, name)?.task,
            None => task(name)?,
        };
        if tasks.iter().any(|other| other.name == task.name) {
            return Err(Error::value("train-datasets", "each task once", task.name));
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// Refuses samples of a task that have a softlabel where others have none: a batch with one of these
/// would learn nothing from the others'. The samples of each further task begin at one of `starts`.
fn check_softlabels(samples: &[Sample], starts: &[usize]) -> Result<()> {
    let begins = std::iter::once(0).chain(starts.iter().copied());
    let ends = starts.iter().copied().chain([samples.len()]);
    for own in begins.zip(ends).filter_map(|(begin, end)| samples.get(begin..end)) {
        let lacking = own.iter().filter(|sample| sample.softlabel.is_empty());
        if let (count, Some(first)) = (lacking.clone().count(), lacking.clone().next())
            && count < own.len()
        {
            let expected = "a softlabel for each training sample";
            let found = format!("none for {count} of {}, the first being {}", own.len(), first.uid);
            return Err(Error::value("mkd_opt", expected, found)
                .hint("platon prepare TASK --scores FILE --output-dir DIR makes them"));
        }
    }
    Ok(())
}

/// The dropout before the head of `task`, the run's task number `n`. Runs of older versions did not note
/// those of further tasks.
fn head_dropout(config: &RunConfig, n: usize, task: &Task) -> Result<f64> {
    let Model { dropout_p, more_dropouts, .. } = config.model();
    let Some(further) = n.checked_sub(1) else { return Ok(*dropout_p) };
    match (more_dropouts.get(further), &config.data().task_def) {
        (Some(rate), _) => Ok(*rate),
        (None, Some(table)) => {
            Ok(task_def::read(table, task.name)?.dropout_p.unwrap_or(*dropout_p))
        }
        (None, None) => Ok(*dropout_p),
    }
}

/// The dropout before the head of `task` that its table, or that of GLUE's tasks, has for it.
///
/// # Errors
/// The task table cannot be read.
pub fn own_head_dropout(config: &RunConfig, task: &Task) -> Result<Option<f64>> {
    match &config.data().task_def {
        Some(table) => Ok(task_def::read(table, task.name)?.dropout_p),
        None => Ok(task.head_dropout()),
    }
}

/// The model of `task` in `path`: of a run that has learnt several tasks, that of this one.
///
/// # Errors
/// The run has left no model yet, or its settings cannot be read.
pub fn model_for(path: &Path, task: &Task) -> Result<PathBuf> {
    let (model, run) = (model_in(path)?, RunFolder::at(path));
    if model != run.model() || !run.config().is_file() {
        return Ok(model);
    }
    let config = RunConfig::resolve(&[Layer::from_file(&run.config())?])?;
    // Its task table may be gone.
    let tasks = if config.data().more_tasks.is_empty() { Vec::new() } else { tasks_of(&config)? };
    let head = tasks.iter().position(|other| other.name == task.name).unwrap_or(0);
    Ok(run.model_for(head, task.name))
}

fn check_has_training_data(task: &Task) -> Result<()> {
    if task.splits.iter().any(|split| split.part == Part::Train) {
        return Ok(());
    }
    let error = Error::value("task", "a task with training data", task.name);
    Err(match task.name {
        "ax" => error.hint("models that were trained on mnli predict it"),
        _ => error.hint("its split_names in the task table must name one that ends in train"),
    })
}

/// The folder that holds the run's data: for files of one's own, a folder of their rows, of which those of
/// `parts` are written where they are missing or not those of the files any more.
///
/// # Errors
/// A file of one's own cannot be read or is malformed, or its rows cannot be written.
pub fn data_dir_of(config: &RunConfig, task: &Task, parts: &[Part]) -> Result<PathBuf> {
    let data_dir = &config.data().data_dir;
    match config.own_files().filter(|_| config.data().task == task.name) {
        Some(files) => files.prepare(task, data_dir, parts),
        None => Ok(data_dir.clone()),
    }
}

/// `config` with its tasks and its metric under their own names, however they were spelled.
///
/// # Errors
/// As [`tasks_of`].
pub fn with_own_names(config: &RunConfig) -> Result<RunConfig> {
    let tasks = tasks_of(config)?;
    let more: Vec<_> = tasks.iter().skip(1).map(|task| task.name.to_owned()).collect();
    let metric = config.own().asked_metric().map_or("", Metric::tag);
    config.with([
        ("task", task_of(config)?.name.into()),
        ("more_tasks", more.into()),
        ("metric", metric.into()),
    ])
}

/// An upper bound of the number of training samples, where it can be had without reading them.
fn most_training_rows(task: &Task, data_dir: &Path) -> Option<usize> {
    // Encoded samples go before raw files.
    let rows = if holds_encoded(task, data_dir) { None } else { raw_training_rows(task, data_dir) };
    rows.filter(|rows| *rows > 0)
}

/// The run's updates for so many batches of an epoch, bounded to what a plan can hold.
fn check_updates(batches: usize, config: &RunConfig) -> Result<usize> {
    let settings = config.optimisation();
    let all = batches.saturating_mul(settings.epochs);
    let updates = all / settings.grad_accumulation_step;
    if updates == 0 && all > 0 {
        let expected = format!("at most the {all} batches of the run");
        return Err(Error::value(
            "grad_accumulation_step",
            expected,
            settings.grad_accumulation_step,
        ));
    }
    if updates > MAX_UPDATES {
        return Err(Error::value(
            "epochs",
            format!("at most {MAX_UPDATES} updates"),
            format!("{} epochs of {batches} batches", settings.epochs),
        ));
    }
    Ok(updates)
}

/// Refuses an encoder of another kind than the settings name, where they name one.
fn check_encoder_type(named: &str, family: &Family) -> Result<()> {
    let known = |family: &Family| named == family.model_type || family.encoder_type == Some(named);
    if named.is_empty() || known(family) {
        return Ok(());
    }
    let number = family.encoder_type.map(|number| format!(" or {number}")).unwrap_or_default();
    let expected = format!("{}{number}, as the checkpoint's", family.model_type);
    let error = Error::value("encoder_type", expected, named);
    Err(match Family::ALL.into_iter().any(known) {
        true => error.hint("choose another --init-checkpoint, or leave --encoder-type out"),
        false => error.hint(format!("encoders are {}", Family::names())),
    })
}

/// The encoder cut to its first `layers` layers; `None` for all.
pub(super) fn first_layers(bert: &BertConfig, layers: Option<usize>) -> Result<BertConfig> {
    let Some(layers) = layers else { return Ok(bert.clone()) };
    if layers > bert.num_hidden_layers {
        let expected = format!("at most the checkpoint's {}", bert.num_hidden_layers);
        return Err(Error::value("num_hidden_layers", expected, layers));
    }
    Ok(BertConfig { num_hidden_layers: layers, ..bert.clone() })
}
