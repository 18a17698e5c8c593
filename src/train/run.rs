//! A whole run: data, model, training, and what it leaves in the run folder.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::record::{FullPrecisionSettings, NamedMpkFileRecorder};
use burn::tensor::backend::AutodiffBackend;
use burn_dataset::InMemDataset;
use burn_train::checkpoint::KeepLastNCheckpoints;
use burn_train::logger::MetricLogger;
use burn_train::metric::MetricDefinition;
use burn_train::metric::NumericEntry;
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::renderer::MetricsRenderer;
use burn_train::{Interrupter, Learner, SupervisedTraining};

use super::evaluate::{SetScores, score_name, split_scores};
use super::journal::{Journal, Lines, Renderer, Setup, gauge};
use super::outputs::Outputs;
use super::plan::{Plan, scope_of};
use super::step::{Basket, Clock, StepContext, Trainee, filling};
use super::terminal;
use crate::bert::config::Dropouts;
use crate::bert::weights::{self, Loaded, Parts, StoredTensor};
use crate::bert::{BertClassifier, Checkpoint, ClassifierConfig};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::export;
use crate::files::{write_json, write_whole};
use crate::glue::batch::{EvalLoader, TrainLoader};
use crate::kernels::TrainingBackend;
use crate::learning_rate::WarmupSchedule;
use crate::metrics::learner::Gauge;
use crate::optimizer::OptimizerConfig;
use crate::panics;
use crate::pruning::{PlatonOptimizer, Pruner, PruningConfig, PruningMonitor, Smoothing};
use crate::report::{self, Report};
use crate::seed::mix;

/// How a run talks to its user.
pub struct Console {
    /// Receives the lines that are printed where there is no dashboard.
    pub lines: Lines,
    /// Whether burn-train's dashboard takes the terminal.
    pub dashboard: bool,
    /// Stops the run after the update it is at.
    pub interrupter: Interrupter,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All updates were done; the run folder is complete.
    Finished(Box<Report>),
    /// It was stopped before the end.
    Stopped {
        /// The last update done.
        step: usize,
        /// The last update planned.
        of: usize,
        /// Who stopped it.
        by: StoppedBy,
    },
}

/// Who stopped a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// Ctrl-C, through [`CTRL_C`].
    CtrlC,
    /// The dashboard's menu.
    Dashboard,
}

/// The reason to give to the interrupter on Ctrl-C.
pub const CTRL_C: &str = "Ctrl-C";

/// The reason that burn's dashboard gives.
const DASHBOARD_STOP: &str = "Stopping training from user input.";

/// Trains as `config` says and fills the run folder `config.output_dir`, which must exist.
///
/// # Errors
/// A model that cannot be loaded, before anything is written; a journal or checkpoint that cannot
/// be written; a loss that is not finite.
pub fn train<B: TrainingBackend>(
    config: &RunConfig,
    plan: Plan,
    device: &B::Device,
    console: Console,
) -> Result<Outcome> {
    let started = Instant::now();
    let Console { lines, dashboard, interrupter } = console;
    let dir = config.output_dir.as_path();
    let classifier = plan.classifier(config);
    let Plan { task, bert, updates, schedule, encoder, checkpoint, samples, dropped, sets } = plan;
    let Loaded { model: net, unused } =
        initial_model::<B>(config, &classifier, checkpoint, device)?;
    let text = toml::to_string(config)
        .map_err(|e| Error::run(format!("the settings cannot be written: {e}")))?;
    write_whole(&dir.join("config.toml"), text.as_bytes())?;
    let scope = scope_of(&net).within("net");
    let events = config.tensorboard.then_some(config.tensorboard_logdir.as_str());
    let outputs = Outputs::new(dir, task, events, config.glue_format_on, &scope)?;
    let inner = OptimizerConfig {
        name: config.optimizer,
        epsilon: config.adam_eps,
        weight_decay: config.weight_decay,
        momentum: config.momentum,
    };
    let pruning = PruningConfig {
        pruner: config.pruner,
        schedule,
        smoothing: Smoothing { beta1: config.beta1, beta2: config.beta2 },
        max_grad_norm: config.global_grad_clipping,
        max_tensor_norm: config.grad_clipping,
        // They are for the events only.
        count_every: if config.tensorboard { config.log_per_updates } else { 0 },
    };
    let optimizer = PlatonOptimizer::<_, B>::new(inner.init(), pruning, scope);
    let monitor = optimizer.monitor();
    let (clock, basket) = (Clock::default(), Basket::default());
    let journal = Journal::open(Setup {
        dir: dir.to_path_buf(),
        log_file: config.log_file.clone(),
        plan: updates.clone(),
        log_every: config.log_per_updates,
        task,
        sets: sets.iter().map(|set| set.about.clone()).collect(),
        basket: basket.clone(),
        outputs,
        interrupter: interrupter.clone(),
        clock: clock.clone(),
        monitor: monitor.clone(),
        lines: (!dashboard).then_some(lines),
    })?;

    journal.line(&format!("run folder {}", dir.display()));
    if !unused.is_empty() {
        let checkpoint = config.init_checkpoint.display();
        journal.line(&format!("{checkpoint}: tensors not used: {}", unused.join(", ")));
    }
    if dropped > 0 {
        journal.line(&format!("{dropped} training samples are too long and left out"));
    }
    if encoder.is_none() {
        journal.line("no tokenizer: model/ will lack one; --tokenizer FOLDER names one");
    }
    let context =
        StepContext { seed: config.seed, monitor: monitor.clone(), clock: clock.clone(), basket };
    let rate = WarmupSchedule {
        learning_rate: config.learning_rate,
        warmup: config.warmup,
        schedule: config.warmup_schedule,
        total: updates.total(),
        update: 0,
    };
    let learner = Learner::new(Trainee::new(net, context), optimizer, rate);

    let scores = split_scores(task, &sets.iter().map(|s| s.about.clone()).collect::<Vec<_>>());
    let train_loader = TrainLoader::<B>::new(
        Arc::new(InMemDataset::new(samples)),
        updates.clone(),
        filling::<B>(),
        config.grad_accumulation_step,
        device.clone(),
    );
    let valid_loader = EvalLoader::<B::InnerBackend>::new(
        sets.into_iter().map(|set| set.samples).collect(),
        config.batch_size_eval,
        filling::<B>(),
        device.clone(),
    );
    journal.line(&format!(
        "{} updates of {} on {} training samples, seed {}",
        updates.last(),
        config.batch_size * config.grad_accumulation_step,
        task.name,
        config.seed
    ));
    let saved_terminal = terminal::TerminalState::save();
    let mut training = SupervisedTraining::new(dir, Arc::new(train_loader), Arc::new(valid_loader))
        .num_epochs(updates.chunks().len())
        .with_application_logger(None)
        .with_metric_logger(NoMetricFiles)
        .with_interrupter(interrupter.clone())
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(2))
        .with_file_checkpointer(NamedMpkFileRecorder::<FullPrecisionSettings>::new())
        .renderer(Renderer::new(journal.clone(), dashboard_renderer(dashboard, &interrupter)));
    for gauge in gauges() {
        training = training.metric_train_numeric(gauge);
    }
    for score in scores {
        training = training.metric_valid_numeric(score);
    }
    // burn panics where it cannot go on; a killed dashboard is one such case.
    let result = catch_unwind(AssertUnwindSafe(move || training.launch(learner)));
    if result.is_err() {
        saved_terminal.restore();
    }
    if let Some(error) = journal.take_error() {
        return Err(error);
    }
    let result = result.map_err(|_| {
        let cause = panics::take().unwrap_or_default();
        let message = ended_abnormally(&cause, journal.step());
        journal.line(&message);
        Error::run(message).hint(format!("its log and last checkpoints are in {}", dir.display()))
    })?;
    // Dropping the renderer closes the dashboard, so that what follows can be seen.
    drop(result.renderer);
    let (step, of) = (journal.step(), updates.last());
    if let Some(reason) = interrupter.get_message() {
        let by = match reason.as_str() {
            CTRL_C => Some(StoppedBy::CtrlC),
            DASHBOARD_STOP => Some(StoppedBy::Dashboard),
            _ => None,
        };
        journal.line(&format!("stopped after update {step} of {of}: {reason}"));
        match by {
            // Nothing was left to stop once the last evaluation was in.
            Some(_) if journal.evaluated_at() == of => {}
            Some(by) => return Ok(Outcome::Stopped { step, of, by }),
            // burn reports a checkpoint that cannot be written as a stop.
            None => {
                return Err(Error::run(format!("stopped after update {step} of {of}: {reason}"))
                    .hint("check the free space and the permissions of the run folder"));
            }
        }
    }

    let tensors = weights::collect(&result.model.net)?;
    let dropouts = Dropouts { encoder: config.bert_dropout_p, head: config.dropout_p };
    export::save_hugging_face(
        &dir.join("model"),
        &tensors,
        &bert,
        task,
        dropouts,
        encoder.as_ref(),
    )?;
    let timing = Timing { clock, monitor, seconds: started.elapsed().as_secs_f64() };
    let report = make_report(config, &tensors, &journal.scores(), journal.step(), &timing, dir);
    write_json(&dir.join("report.json"), &report)?;
    Ok(Outcome::Finished(Box::new(report)))
}

fn initial_model<B: AutodiffBackend>(
    config: &RunConfig,
    classifier: &ClassifierConfig,
    checkpoint: Checkpoint,
    device: &B::Device,
) -> Result<Loaded<BertClassifier<B>>> {
    B::seed(device, mix(config.seed, u64::MAX));
    let net = classifier.init::<B>(device);
    if !config.model_ckpt.as_os_str().is_empty() {
        let warm = Checkpoint::open(&config.model_ckpt)?;
        return weights::load(net, warm.into_tensors()?, Parts::All, device);
    }
    if config.from_scratch {
        return Ok(Loaded { model: net, unused: Vec::new() });
    }
    weights::load(net, checkpoint.into_tensors()?, Parts::Encoder, device)
}

fn ended_abnormally(cause: &str, step: usize) -> String {
    // burn's dashboard ends a run by a panic of this text when its user asks for that.
    if cause.starts_with("Killing training from user input") {
        return format!("killed from the dashboard after update {step}");
    }
    format!("the training ended abnormally after update {step}: {cause}")
}

fn gauges() -> Vec<Gauge> {
    vec![
        Gauge::new(gauge::LOSS, false, |v| format!("{v:.4}"), |p, _| p.loss),
        Gauge::new(gauge::RATIO, false, |v| format!("{v:.4}"), |p, _| p.ratio),
        Gauge::new(gauge::SPARSITY, true, |v| format!("{v:.4}"), |p, _| p.sparsity),
        Gauge::new(gauge::THRESHOLD, true, |v| format!("{v:.3e}"), |p, _| p.threshold),
        Gauge::new(gauge::LEARNING_RATE, false, |v| format!("{v:.2e}"), |_, m| m.lr.unwrap_or(0.0)),
        Gauge::new(gauge::SPEED, true, |v| format!("{v:.2}"), |p, _| p.speed),
    ]
}

/// burn-train's dashboard, where it is wanted and was built in.
fn dashboard_renderer(wanted: bool, interrupter: &Interrupter) -> Option<Box<dyn MetricsRenderer>> {
    #[cfg(feature = "tui")]
    if wanted {
        use burn_train::renderer::tui::TuiMetricsRendererWrapper;
        return Some(Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), None)));
    }
    let _ = (wanted, interrupter);
    None
}

struct Timing {
    clock: Clock,
    monitor: PruningMonitor,
    seconds: f64,
}

fn make_report(
    config: &RunConfig,
    tensors: &BTreeMap<String, StoredTensor>,
    scores: &[SetScores],
    steps: usize,
    timing: &Timing,
    dir: &Path,
) -> Report {
    let layers = report::count(tensors);
    let dev = scores.iter().flat_map(|set| {
        set.scores
            .iter()
            .map(|(tag, value)| (score_name(tag, &set.data_set, scores.len()), (*value).into()))
    });
    let weights = dir.join("model/model.safetensors");
    Report {
        format: report::FORMAT,
        task: config.task.clone(),
        pruner: config.pruner,
        final_ratio: if config.pruner == Pruner::None { 1.0 } else { config.final_threshold },
        sparsity: report::sparsity(&layers),
        prunable: layers.iter().map(|l| l.weights).sum(),
        parameters: tensors.values().map(|t| t.values.len()).sum(),
        dev: dev.collect(),
        steps,
        seconds_per_step: timing.clock.mean(),
        pruning_seconds_per_step: timing.monitor.seconds() / steps.max(1) as f64,
        seconds: timing.seconds,
        peak_rss_bytes: terminal::peak_rss_bytes(),
        model_bytes: std::fs::metadata(weights).map_or(0, |m| m.len()),
        layers,
    }
}

/// Keeps burn from writing a file per metric and epoch: the journal has all of it.
struct NoMetricFiles;

impl MetricLogger for NoMetricFiles {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}

    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> std::result::Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
