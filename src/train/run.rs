//! A whole run: its parts, its training, and how it ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use burn_dataset::InMemDataset;
use burn_train::renderer::MetricsRenderer;
use burn_train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::assemble::{Assembled, Surroundings, assemble};
use super::finish::{Finished, finish, settle};
use super::gauges::{GaugeMetric, split_scores};
use super::plan::Plan;
use super::renderer::{Evaluated, NoMetricFiles, Renderer};
use super::start::Start;
use super::update_loop::UpdateLoop;
use crate::bert::{BertClassifier, Checkpoint};
use crate::config::{BackendName, Run, RunConfig};
use crate::error::{Error, Result, one_line};
use crate::glue::batch::{EvalLoader, Portion, TrainLoader};
use crate::infer::forward::filling;
use crate::kernels::{Precision, TrainingBackend};
use crate::overview::page;
use crate::panics;
use crate::run::journal::Lines;
use crate::run::record::Binding;
use crate::run::{Journal, Outcome, RunFolder, StoppedBy};
use crate::sparse::Instructions;
use crate::world::{Costs, World};

/// How a run talks to its user.
pub struct Console {
    /// Receives the lines that are printed where there is no dashboard.
    pub lines: Lines,
    /// Is told of evaluations where there is no dashboard.
    pub evaluated: Evaluated,
    /// Whether burn-train's dashboard takes the terminal.
    pub dashboard: bool,
    /// Stops the run after the update it is at.
    pub interrupter: Interrupter,
    /// Those that do this run together; the first has the run folder and the user.
    pub world: World,
}

/// Trains as `config` says and fills the run folder, which must exist. A run that was begun goes on
/// from the newest whole checkpoint, which is `start`'s, or from the beginning without one. Updates
/// are divided among `devices`; the weights, at first those of the checkpoint beside the plan, are
/// on the first.
///
/// # Errors
/// A model that cannot be loaded, before anything is written; a journal or checkpoint that cannot
/// be written; a loss that is not finite.
pub fn train<B: TrainingBackend>(
    config: &RunConfig,
    folder: &RunFolder,
    (mut plan, checkpoint): (Plan, Checkpoint),
    devices: &[B::Device],
    console: Console,
    start: Start,
) -> Result<Outcome> {
    let Console { lines, evaluated, dashboard, interrupter, world } = console;
    let binding = start.bind(config, &plan)?;
    start.keep_paths(config, folder)?;
    let notes = notes(config, &plan, devices.len());
    let lines = (!dashboard).then_some(lines);
    agree_on_start(&world, config, &binding)?;
    let surroundings =
        Surroundings { config, folder, interrupter: &interrupter, world: &world, lines };
    let parts = assemble::<B>(surroundings, &plan, checkpoint, &start, devices)?;
    let (journal, monitor) = (parts.journal.clone(), parts.optimizer.monitor());
    journal.line(&format!("run folder {}", folder.path().display()));
    for error in &start.skipped {
        journal.line(&format!("checkpoint skipped: {error}"));
    }
    for line in &parts.lost {
        journal.line(line);
    }
    if start.resumed {
        journal.line(&format!("going on after update {}", start.update()));
    }
    let model = config.model();
    let checkpoint = model.weights().unwrap_or(&model.init_checkpoint);
    unused(checkpoint, &parts.unused).iter().for_each(|line| journal.line(line));
    for note in notes {
        journal.line(&note);
    }
    if !world.is_first() {
        // What the first rank has sent of a checkpoint is loaded.
        start.checkpoints.remove()?;
    }
    if !world.is_alone() {
        let asked = interrupter.clone();
        world.begin(Duration::from_secs(config.run().peer_timeout as u64), move || {
            asked.get_message()
        });
        world.describe().iter().for_each(|line| journal.line(line));
    }

    let course = Course {
        config,
        folder,
        start,
        binding,
        dashboard,
        interrupter: &interrupter,
        world: &world,
    };
    let net = course.launch(parts, &mut plan, devices, evaluated)?;
    let (step, of) = (journal.step(), plan.updates.last());
    world.costs().and_then(Costs::line).iter().for_each(|line| journal.line(line));
    if let Some(reason) = interrupter.get_message() {
        journal.line(&format!("stopped after update {step} of {of}: {reason}"));
        // Nothing was left to stop once the last evaluation was in.
        if journal.evaluated_at() != of {
            return Ok(Outcome::Stopped { step, of, by: StoppedBy::of(&reason) });
        }
    }
    if !world.is_first() {
        return Ok(Outcome::Shared);
    }
    let tasks: Vec<_> = plan.tasks().collect();
    let Plan { bert, selection, head_dropouts, schedule, encoder, .. } = &plan;
    let encoder = encoder.as_ref();
    let finished = Finished {
        config,
        tasks: &tasks,
        head_dropouts,
        bert,
        selection,
        schedule,
        monitor: &monitor,
        encoder,
        folder,
    };
    let report = finish(&net, &journal, &finished)?;
    settle(config, folder)?;
    // The run is finished with or without its page.
    if let Err(error) = page::write(folder.path()) {
        journal.line(&format!("no page was written: {error}"));
    }
    if let Some(shortfall) = report.shortfall(plan.updates.total()) {
        journal.line(&shortfall);
    }
    Ok(Outcome::Finished(Box::new(report)))
}

/// What the training needs besides the run's parts.
struct Course<'a> {
    config: &'a RunConfig,
    folder: &'a RunFolder,
    start: Start,
    /// What checkpoints are bound to.
    binding: Binding,
    dashboard: bool,
    interrupter: &'a Interrupter,
    world: &'a World,
}

/// The model after its training, without autodiff.
type Trained<B> = BertClassifier<<B as burn::tensor::backend::AutodiffBackend>::InnerBackend>;

impl Course<'_> {
    /// Hands the parts to burn-train. Takes the samples out of `plan`.
    fn launch<B: TrainingBackend>(
        self,
        parts: Assembled<B>,
        plan: &mut Plan,
        devices: &[B::Device],
        told: Evaluated,
    ) -> Result<Trained<B>> {
        let Self { config, folder, start, binding, dashboard, interrupter, world } = self;
        let Assembled { trainee, optimizer, rate, journal, loss_scale, final_ratio, .. } = parts;
        let (device, updates) = (devices.first().cloned().unwrap_or_default(), &plan.updates);
        let heads = plan.sets.iter().map(|set| set.about.head).collect();
        let (sets, evaluated): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.sets).into_iter().map(|set| (set.about, set.samples)).unzip();
        let portion = Portion { rank: world.rank(), of: world.size() };
        let train_loader = TrainLoader::<B>::new(
            Arc::new(InMemDataset::new(std::mem::take(&mut plan.samples))),
            updates.clone(),
            filling::<B>(),
            config.loss_divisor(),
            start.update(),
            devices.to_vec(),
        )
        .for_heads(std::mem::take(&mut plan.starts))
        .of(portion);
        let valid_loader = EvalLoader::<B::InnerBackend>::new(
            evaluated,
            config.logging().batch_size_eval,
            filling::<B>(),
            device.clone(),
        )
        .for_heads(heads)
        .of(portion);
        let renderer = Renderer::new(
            journal.clone(),
            dashboard.then(|| shown(config, plan, start.update(), &journal, interrupter)).flatten(),
            told,
        );
        let update_loop = UpdateLoop {
            updates: updates.clone(),
            start: start.update(),
            journal: journal.clone(),
            checkpoints: start.checkpoints,
            loss_scale,
            binding,
            lock: start.lock,
            world: world.clone(),
            device,
        };
        let mut training =
            SupervisedTraining::new(folder.path(), Arc::new(train_loader), Arc::new(valid_loader))
                .num_epochs(updates.chunks().len())
                .with_application_logger(None)
                .with_metric_logger(NoMetricFiles)
                .with_interrupter(interrupter.clone())
                .with_training_strategy(TrainingStrategy::Custom(Arc::new(update_loop)))
                .renderer(renderer);
        let prunes = config.pruning().pruner.prunes();
        let target = prunes.then_some(final_ratio);
        for gauge in GaugeMetric::all(target) {
            training = training.metric_train_numeric(gauge);
        }
        for score in split_scores(&sets) {
            training = training.metric_valid_numeric(score);
        }
        let learner = Learner::new(trainee, optimizer, rate);
        // burn panics where it cannot go on.
        let result = panics::catch(move || training.launch(learner));
        // Where it does not, the renderer goes with burn's other thread, and with it the dashboard.
        let result = match result {
            Ok(_) if journal.is_abandoned() => Err(panics::take()),
            result => result,
        };
        let net = result.map(|result| {
            drop(result.renderer);
            result.model.net
        });
        journal.wait_until_abandoned();
        match journal.take_error() {
            Some(error) => {
                journal.last_word(&format!("failed after update {}: {error}", journal.step()));
                Err(error)
            }
            None => net.map_err(|cause| ended_abnormally(&cause, &journal, folder)),
        }
    }
}

/// What to say of the tensors of a checkpoint that are not used.
fn unused(checkpoint: &Path, names: &[String]) -> Vec<String> {
    // Every model has this table of 0, 1, 2 and so on.
    let names = names.iter().filter(|name| !name.ends_with("position_ids"));
    let (poolers, others): (Vec<_>, Vec<_>) = names.partition(|name| name.contains("pooler."));
    let place = checkpoint.display();
    let drawn = format!("{place}: its pooler is not used: the whole head is drawn afresh");
    let others: Vec<&str> = others.into_iter().map(String::as_str).collect();
    let left = format!("{place}: tensors not used: {}", others.join(", "));
    let lines = [(!poolers.is_empty(), drawn), (!others.is_empty(), left)];
    lines.into_iter().filter(|(is_said, _)| *is_said).map(|(_, line)| one_line(line)).collect()
}

/// Makes sure that all ranks begin the same run.
fn agree_on_start(world: &World, config: &RunConfig, binding: &Binding) -> Result<()> {
    if world.is_alone() {
        return Ok(());
    }
    world.same("versions of platon", env!("CARGO_PKG_VERSION").as_bytes())?;
    world.same("settings", config.without_paths()?.to_string().as_bytes())?;
    world.same("training or evaluation data", binding.data.as_bytes())?;
    let bert = serde_json::to_vec(&binding.bert);
    let bert = bert.map_err(|e| Error::run(format!("a configuration has no form in JSON: {e}")))?;
    world.same("settings in the model's config.json", &bert)?;
    // What is computed from the same sums must not differ in its rounding.
    world.same("vector instructions", Instructions::widest().name().as_bytes())
}

/// The dashboard, where it was built in.
fn shown(
    config: &RunConfig,
    plan: &Plan,
    start: usize,
    journal: &Journal,
    interrupter: &Interrupter,
) -> Option<Box<dyn MetricsRenderer>> {
    #[cfg(feature = "tui")]
    {
        use super::dashboard::{About, Dashboard};
        let prunes = config.pruning().pruner.prunes();
        let schedule = prunes.then(|| plan.schedule.clone());
        let about = About { updates: plan.updates.clone(), start, schedule };
        Some(Box::new(Dashboard::open(about, journal.clone(), interrupter)))
    }
    #[cfg(not(feature = "tui"))]
    {
        let _ = (config, plan, start, journal, interrupter);
        None
    }
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
    if config.run().multi_gpu_on {
        notes.push(match devices {
            0 | 1 => "one device only: --multi-gpu-on changes nothing".to_string(),
            n => format!("each update is divided among {n} devices"),
        });
    }
    let Run { precision, backend, .. } = *config.run();
    if precision != Precision::Single && backend == BackendName::Flex {
        let name = precision.name();
        notes.push(format!("--precision {name} is for GPUs: processors take longer with it"));
    }
    let falls = plan.schedule.falls(config.first_scores());
    if config.pruning().pruner.prunes() && (1..3).contains(&falls) {
        let times = if falls == 1 { "once" } else { "twice" };
        notes.push(format!(
            "weights go {times} only while the ratio falls, at the multiples of {}: lower --delta-t, or \
             train for more epochs",
            config.pruning().delta_t
        ));
    }
    let settings = config.optimisation();
    notes.push(format!(
        "{} updates of {} on {} training samples, seed {}",
        plan.updates.last(),
        settings.batch_size * settings.grad_accumulation_step,
        plan.tasks().map(|task| task.name).collect::<Vec<_>>().join(", "),
        settings.seed
    ));
    notes
}

/// The error of a training that panicked.
fn ended_abnormally(cause: &str, journal: &Journal, folder: &RunFolder) -> Error {
    let step = journal.step();
    // burn's dashboard ends a run by a panic of this text when its user asks for that.
    let message = if cause.starts_with("Killing training from user input") {
        format!("killed from the dashboard after update {step}")
    } else {
        format!("the training ended abnormally after update {step}: {cause}")
    };
    journal.line(&message);
    Error::run(message).hint(format!("go on with: platon resume {}", folder.path().display()))
}
