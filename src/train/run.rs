//! A whole run: its parts, its training, and how it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use burn_dataset::InMemDataset;
use burn_train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use super::assemble::{Assembled, Surroundings, assemble};
use super::dashboard::{NoMetricFiles, Renderer, dashboard_renderer};
use super::finish::{Finished, finish};
use super::gauges::{GaugeMetric, split_scores};
use super::plan::Plan;
use super::start::Start;
use super::terminal::TerminalState;
use super::update_loop::UpdateLoop;
use crate::bert::{BertClassifier, Checkpoint};
use crate::config::{BackendName, RunConfig};
use crate::error::{Error, Result, one_line};
use crate::glue::batch::{EvalLoader, TrainLoader};
use crate::infer::forward::filling;
use crate::kernels::TrainingBackend;
use crate::panics;
use crate::run::journal::Lines;
use crate::run::{Journal, Outcome, RunFolder, StoppedBy};

/// How a run talks to its user.
pub struct Console {
    /// Receives the lines that are printed where there is no dashboard.
    pub lines: Lines,
    /// Whether burn-train's dashboard takes the terminal.
    pub dashboard: bool,
    /// Stops the run after the update it is at.
    pub interrupter: Interrupter,
}

/// Trains as `config` says and fills the run folder, which must exist. With `resume` it goes on from
/// the newest whole checkpoint there, or from the beginning without one. Updates are divided among
/// `devices`; the weights, at first those of the checkpoint beside the plan, are on the first.
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
    resume: bool,
) -> Result<Outcome> {
    let Console { lines, dashboard, interrupter } = console;
    let start = Start::find(folder, config.logging().keep_checkpoints, resume)?;
    let data = plan.fingerprint()?;
    start.check_same(&plan, &data)?;
    let notes = notes(config, &plan, devices.len());
    let lines = (!dashboard).then_some(lines);
    let surroundings = Surroundings { config, folder, interrupter: &interrupter, lines };
    let parts = assemble::<B>(surroundings, &plan, checkpoint, &start, devices)?;
    let journal = parts.journal.clone();
    journal.line(&format!("run folder {}", folder.path().display()));
    for error in &start.skipped {
        journal.line(&format!("checkpoint skipped: {error}"));
    }
    if resume {
        journal.line(&format!("going on after update {}", start.update()));
    }
    if !parts.unused.is_empty() {
        let checkpoint = config.model().init_checkpoint.display();
        let names = parts.unused.join(", ");
        journal.line(&one_line(format!("{checkpoint}: tensors not used: {names}")));
    }
    for note in notes {
        journal.line(&note);
    }

    let course = Course { config, folder, start, data, dashboard, interrupter: &interrupter };
    let net = course.launch(parts, &mut plan, devices)?;
    let (step, of) = (journal.step(), plan.updates.last());
    if let Some(reason) = interrupter.get_message() {
        journal.line(&format!("stopped after update {step} of {of}: {reason}"));
        // Nothing was left to stop once the last evaluation was in.
        if journal.evaluated_at() != of {
            return Ok(Outcome::Stopped { step, of, by: StoppedBy::of(&reason) });
        }
    }
    let Plan { task, bert, encoder, .. } = &plan;
    let finished = Finished { config, task, bert, encoder: encoder.as_ref(), folder };
    Ok(Outcome::Finished(Box::new(finish(&net, &journal, &finished)?)))
}

/// What the training needs besides the run's parts.
struct Course<'a> {
    config: &'a RunConfig,
    folder: &'a RunFolder,
    start: Start,
    /// The fingerprint of the samples.
    data: String,
    dashboard: bool,
    interrupter: &'a Interrupter,
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
    ) -> Result<Trained<B>> {
        let Self { config, folder, start, data, dashboard, interrupter } = self;
        let Assembled { trainee, optimizer, rate, journal, loss_scale, .. } = parts;
        let (device, updates) = (devices.first().cloned().unwrap_or_default(), &plan.updates);
        let (sets, evaluated): (Vec<_>, Vec<_>) =
            std::mem::take(&mut plan.sets).into_iter().map(|set| (set.about, set.samples)).unzip();
        let train_loader = TrainLoader::<B>::new(
            Arc::new(InMemDataset::new(std::mem::take(&mut plan.samples))),
            updates.clone(),
            filling::<B>(),
            config.loss_divisor(),
            start.update(),
            devices.to_vec(),
        );
        let valid_loader = EvalLoader::<B::InnerBackend>::new(
            evaluated,
            config.logging().batch_size_eval,
            filling::<B>(),
            device.clone(),
        );
        let shown = dashboard_renderer(dashboard, interrupter);
        let renderer = Renderer::new(journal.clone(), updates.clone(), shown);
        let update_loop = UpdateLoop {
            updates: updates.clone(),
            start: start.update(),
            journal: journal.clone(),
            checkpoints: start.checkpoints,
            loss_scale,
            data,
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
        for gauge in GaugeMetric::all() {
            training = training.metric_train_numeric(gauge);
        }
        for score in split_scores(plan.task, &sets) {
            training = training.metric_valid_numeric(score);
        }
        let learner = Learner::new(trainee, optimizer, rate);
        let saved_terminal = TerminalState::save();
        // burn panics where it cannot go on; a killed dashboard is one such case.
        let result = catch_unwind(AssertUnwindSafe(move || training.launch(learner)));
        if result.is_err() {
            saved_terminal.restore();
        }
        if let Some(error) = journal.take_error() {
            return Err(error);
        }
        let result = result.map_err(|_| ended_abnormally(&journal, folder))?;
        // Dropping the renderer closes the dashboard, so that what follows can be seen.
        drop(result.renderer);
        Ok(result.model.net)
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
    if config.run().fp16 && config.run().backend == BackendName::Flex {
        notes.push("--fp16 is for GPUs: processors take longer with it".to_string());
    }
    let settings = config.optimisation();
    notes.push(format!(
        "{} updates of {} on {} training samples, seed {}",
        plan.updates.last(),
        settings.batch_size * settings.grad_accumulation_step,
        plan.task.name,
        settings.seed
    ));
    notes
}

/// The error of a training that panicked.
fn ended_abnormally(journal: &Journal, folder: &RunFolder) -> Error {
    let (cause, step) = (panics::take().unwrap_or_default(), journal.step());
    // burn's dashboard ends a run by a panic of this text when its user asks for that.
    let message = if cause.starts_with("Killing training from user input") {
        format!("killed from the dashboard after update {step}")
    } else {
        format!("the training ended abnormally after update {step}: {cause}")
    };
    journal.line(&message);
    Error::run(message).hint(format!("go on with: platon resume {}", folder.path().display()))
}
