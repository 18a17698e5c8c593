//! A whole run: data, model, training, and what it leaves in the run folder.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn::lr_scheduler::LrScheduler;
use burn::module::Module;
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_dataset::InMemDataset;
use burn_train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::checkpoint::{Checkpoints, PARTS};
use super::clock::Clock;
use super::display::{NoMetricFiles, Renderer, dashboard_renderer, gauges};
use super::evaluate::split_scores;
use super::finish::{Finished, Timing, finish};
use super::journal::{Journal, Lines, Setup};
use super::loss_scale::LossScale;
use super::outcome::{Outcome, StoppedBy};
use super::outputs::{Outputs, remove_events};
use super::plan::{Plan, scope_of};
use super::progress::Progress;
use super::step::{Basket, StepContext, Trainee, filling};
use super::strategy::Chunks;
use super::terminal;
use crate::bert::weights::{self, Loaded, Parts};
use crate::bert::{BertClassifier, Checkpoint, ClassifierConfig};
use crate::config::{BackendName, RunConfig};
use crate::error::{Error, Result, one_line};
use crate::glue::batch::{EvalLoader, TrainLoader};
use crate::kernels::TrainingBackend;
use crate::learning_rate::WarmupSchedule;
use crate::optimizer::OptimizerConfig;
use crate::panics;
use crate::pruning::{PlatonOptimizer, Pruner, PruningConfig, Smoothing};
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

/// Trains as `config` says and fills the run folder `config.output_dir`, which must exist. With
/// `resume` it goes on from the newest whole checkpoint there, or from the beginning without one.
/// Updates are divided among `devices`; the weights are on the first.
///
/// # Errors
/// A model that cannot be loaded, before anything is written; a journal or checkpoint that cannot
/// be written; a loss that is not finite.
pub fn train<B: TrainingBackend>(
    config: &RunConfig,
    plan: Plan,
    devices: &[B::Device],
    console: Console,
    resume: bool,
) -> Result<Outcome> {
    let device = &devices.first().cloned().unwrap_or_default();
    let loss_scale = loss_scale::<B>(config, devices)?;
    let Console { lines, dashboard, interrupter } = console;
    let dir = config.output_dir.as_path();
    let checkpoints = Checkpoints::new(dir, config.keep_checkpoints);
    let (whole, skipped) = if resume {
        checkpoints.settle()?;
        checkpoints.newest()?
    } else {
        (None, Vec::new())
    };
    let start = whole.as_ref().map_or(0, |whole| whole.update);
    let progress = whole.as_ref().map(|whole| whole.progress.clone()).unwrap_or_default();
    if let (Some(scale), Some(state)) = (&loss_scale, progress.loss_scale) {
        scale.resume(state);
    }
    let data = plan.fingerprint()?;
    check_same(&plan, &data, &progress)?;
    let notes = notes(config, &plan, devices.len());
    let classifier = plan.classifier(config);
    let Plan { task, bert, updates, schedule, encoder, checkpoint, samples, sets, .. } = plan;
    let Loaded { model: net, unused } = match whole {
        Some(_) => Loaded { model: classifier.init::<B>(device), unused: Vec::new() },
        None => initial_model::<B>(config, &classifier, checkpoint, device)?,
    };
    let scope = scope_of(&net).within("net");
    let events = config.tensorboard.then_some(config.tensorboard_logdir.as_str());
    if resume && start == 0 {
        // What there is will be written again.
        remove_events(&dir.join(&config.tensorboard_logdir))?;
    }
    let resumed = progress.events.as_ref();
    let outputs = Outputs::new(dir, task, events, config.glue_format_on, &scope, resumed)?;
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
        final_ratio: if config.pruner == Pruner::None { 1.0 } else { config.final_threshold },
        progress,
    })?;

    journal.line(&format!("run folder {}", dir.display()));
    for error in skipped {
        journal.line(&format!("checkpoint skipped: {error}"));
    }
    if resume {
        journal.line(&format!("going on after update {start}"));
    }
    if !unused.is_empty() {
        let checkpoint = config.init_checkpoint.display();
        let names = unused.join(", ");
        journal.line(&one_line(format!("{checkpoint}: tensors not used: {names}")));
    }
    for note in notes {
        journal.line(&note);
    }
    let context = StepContext {
        seed: config.seed,
        monitor: monitor.clone(),
        clock: clock.clone(),
        basket,
        loss_scale: loss_scale.clone(),
    };
    let rate = WarmupSchedule {
        learning_rate: config.learning_rate,
        warmup: config.warmup,
        schedule: config.warmup_schedule,
        total: updates.total(),
        update: 0,
    };
    let mut trainee = Trainee::new(net, context);
    let (mut optimizer, mut rate) = (optimizer, rate);
    if let Some(whole) = &whole {
        let [model, state, schedule] = PARTS;
        trainee = trainee.load_record(whole.record::<B, _>(model, device)?);
        let record = whole.record::<B, _>(state, device)?;
        optimizer = optimizer.restored::<Trainee<B>>(record, start)?;
        rate = LrScheduler::load_record::<B>(rate, whole.record::<B, usize>(schedule, device)?);
    }
    let learner = Learner::new(trainee, optimizer, rate);

    let scores = split_scores(task, &sets.iter().map(|s| s.about.clone()).collect::<Vec<_>>());
    let train_loader = TrainLoader::<B>::new(
        Arc::new(InMemDataset::new(samples)),
        updates.clone(),
        filling::<B>(),
        config.grad_accumulation_step,
        start,
        devices.to_vec(),
    );
    let valid_loader = EvalLoader::<B::InnerBackend>::new(
        sets.into_iter().map(|set| set.samples).collect(),
        config.batch_size_eval,
        filling::<B>(),
        device.clone(),
    );
    let saved_terminal = terminal::TerminalState::save();
    let mut training = SupervisedTraining::new(dir, Arc::new(train_loader), Arc::new(valid_loader))
        .num_epochs(updates.chunks().len())
        .with_application_logger(None)
        .with_metric_logger(NoMetricFiles)
        .with_interrupter(interrupter.clone())
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(Chunks {
            updates: updates.clone(),
            start,
            journal: journal.clone(),
            checkpoints,
            loss_scale,
            data,
            device: device.clone(),
        })))
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
        Error::run(message).hint(format!("go on with: platon resume {}", dir.display()))
    })?;
    // Dropping the renderer closes the dashboard, so that what follows can be seen.
    drop(result.renderer);
    let (step, of) = (journal.step(), updates.last());
    if let Some(reason) = interrupter.get_message() {
        journal.line(&format!("stopped after update {step} of {of}: {reason}"));
        // Nothing was left to stop once the last evaluation was in.
        if journal.evaluated_at() != of {
            return Ok(Outcome::Stopped { step, of, by: StoppedBy::of(&reason) });
        }
    }

    let timing = Timing {
        seconds_per_step: clock.mean(),
        pruning_seconds: monitor.seconds(),
        seconds: journal.seconds(),
    };
    let finished = Finished { config, task, bert: &bert, encoder: encoder.as_ref(), timing };
    let report = finish(&result.model.net, &journal, &finished)?;
    Ok(Outcome::Finished(Box::new(report)))
}

/// Refuses to go on where a checkpoint belongs to other data.
fn check_same(plan: &Plan, data: &str, progress: &Progress) -> Result<()> {
    if let Some(begun) = progress.data.as_ref().filter(|begun| *begun != data) {
        let words = |hash: &str| format!("data of SHA-256 {}...", hash.get(..16).unwrap_or(hash));
        return Err(Error::value("data-dir", words(begun), words(data)).hint(
            "the files have changed since the run began; go on with those that it began with",
        ));
    }
    let last = plan.updates.last();
    if progress.update > last {
        let expected = format!("at most update {last}");
        return Err(Error::value("checkpoint", expected, progress.update)
            .hint("the settings of this run have changed since"));
    }
    Ok(())
}

/// What there is to know about a run before its first update.
fn notes(config: &RunConfig, plan: &Plan, devices: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if plan.dropped > 0 {
        notes.push(format!("{} training samples are too long and left out", plan.dropped));
    }
    if plan.encoder.is_none() {
        notes.push("no tokenizer: model/ will lack one; --tokenizer FOLDER names one".to_string());
    }
    if config.multi_gpu_on {
        notes.push(match devices {
            0 | 1 => "one device only: --multi-gpu-on changes nothing".to_string(),
            n => format!("each update is divided among {n} devices"),
        });
    }
    if config.fp16 && config.backend == BackendName::Flex {
        notes.push("--fp16 is for GPUs: processors take longer with it".to_string());
    }
    notes.push(format!(
        "{} updates of {} on {} training samples, seed {}",
        plan.updates.last(),
        config.batch_size * config.grad_accumulation_step,
        plan.task.name,
        config.seed
    ));
    notes
}

/// What a run in half precision scales its losses by.
fn loss_scale<B: Backend>(config: &RunConfig, devices: &[B::Device]) -> Result<Option<LossScale>> {
    if config.fp16 && !devices.iter().all(|device| B::supports_dtype(device, DType::F16)) {
        let expected = "a backend and device that compute in half precision";
        let found = format!("{:?}", config.backend).to_lowercase();
        return Err(Error::value("fp16", expected, found)
            .hint("use --backend cuda on an NVIDIA GPU, or leave --fp16 out"));
    }
    Ok(config.fp16.then(LossScale::default))
}

fn initial_model<B: AutodiffBackend>(
    config: &RunConfig,
    classifier: &ClassifierConfig,
    checkpoint: Checkpoint,
    device: &B::Device,
) -> Result<Loaded<BertClassifier<B>>> {
    // Read first: a model of sizes that its file does not have would only take memory.
    let (tensors, parts) = if !config.model_ckpt.as_os_str().is_empty() {
        (Some(Checkpoint::open(&config.model_ckpt)?.into_tensors()?), Parts::All)
    } else if config.from_scratch {
        (None, Parts::Encoder)
    } else {
        (Some(checkpoint.into_tensors()?), Parts::Encoder)
    };
    B::seed(device, mix(config.seed, u64::MAX));
    let net = classifier.init::<B>(device);
    match tensors {
        Some(tensors) => weights::load(net, tensors, parts, device),
        None => Ok(Loaded { model: net, unused: Vec::new() }),
    }
}

fn ended_abnormally(cause: &str, step: usize) -> String {
    // burn's dashboard ends a run by a panic of this text when its user asks for that.
    if cause.starts_with("Killing training from user input") {
        return format!("killed from the dashboard after update {step}");
    }
    format!("the training ended abnormally after update {step}: {cause}")
}
