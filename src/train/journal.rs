//! Writes what happens to the run folder and to the terminal: a log, `metrics.jsonl` and what
//! `outputs` makes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use burn_train::Interrupter;
use serde_json::{Map, Value, json};

use super::clock::Clock;
use super::data::SetInfo;
use super::evaluate::SetScores;
use super::outputs::{Logged, Moment, Outputs};
use super::progress::{Best, Progress};
use super::step::Basket;
use crate::error::{Error, Result};
use crate::glue::task::{Part, Task};
use crate::glue::updates::Updates;
use crate::pruning::PruningMonitor;

/// Names of the gauges that the journal reads back.
pub mod gauge {
    /// The batch's loss.
    pub const LOSS: &str = "Loss";
    /// The learning rate.
    pub const LEARNING_RATE: &str = "Learning rate";
    /// The remaining ratio that the schedule asks for.
    pub const RATIO: &str = "Remaining ratio";
    /// The share of the prunable weights that are zero.
    pub const SPARSITY: &str = "Sparsity";
    /// The score below which weights were set to zero at the last masking.
    pub const THRESHOLD: &str = "Threshold";
    /// Updates per second, lately.
    pub const SPEED: &str = "Updates per second";
}

/// Far more than the metrics of an update take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The reason to give to the interrupter when a checkpoint or the journal fails.
pub const FAILED: &str = "the run cannot be recorded";

/// Where lines for the user go.
pub type Lines = Box<dyn Fn(&str) + Send + Sync>;

/// The files of the journal and what it has seen, shared between the run and burn's renderer.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<State>>);

struct State {
    log: (PathBuf, File),
    points: (PathBuf, File),
    lines: Option<Lines>,
    plan: Arc<Updates>,
    log_every: usize,
    task: &'static Task,
    sets: Vec<SetInfo>,
    basket: Basket,
    outputs: Outputs,
    interrupter: Interrupter,
    started: Instant,
    losses: (f64, usize),
    clock: Clock,
    monitor: PruningMonitor,
    /// Update of the last point, and the seconds up to it, of all work and of the pruning.
    timed: (usize, f64, f64),
    last: Map<String, Value>,
    step: usize,
    scores: Vec<SetScores>,
    evaluated_at: usize,
    best: Option<Best>,
    final_ratio: f64,
    seconds_before: f64,
    error: Option<Error>,
}

/// What the journal needs to know about the run.
pub struct Setup {
    /// The run folder.
    pub dir: PathBuf,
    /// The log's name.
    pub log_file: String,
    /// The run's updates.
    pub plan: Arc<Updates>,
    /// Updates between two logged points.
    pub log_every: usize,
    /// The run's task.
    pub task: &'static Task,
    /// Evaluation sets, in the loader's order.
    pub sets: Vec<SetInfo>,
    /// Holds the predictions of an evaluation.
    pub basket: Basket,
    /// Writes what else is wanted.
    pub outputs: Outputs,
    /// Stops the run when a file cannot be written.
    pub interrupter: Interrupter,
    /// Times the updates.
    pub clock: Clock,
    /// Times the pruning.
    pub monitor: PruningMonitor,
    /// Receives the lines that a dashboard would hide; `None` while there is one.
    pub lines: Option<Lines>,
    /// The remaining ratio that the run is for.
    pub final_ratio: f64,
    /// Where the run goes on.
    pub progress: Progress,
}

impl Journal {
    /// Opens the log and `metrics.jsonl` in the run folder; the latter, and the events, are cut back
    /// to where the run goes on.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn open(setup: Setup) -> Result<Self> {
        let Setup { dir, log_file, plan, log_every, task, sets, basket, outputs, .. } = setup;
        let Setup { interrupter, clock, monitor, lines, final_ratio, progress, .. } = setup;
        clock.resume(progress.update, progress.seconds);
        monitor.resume(progress.pruning_seconds);
        let points = open(&dir.join("metrics.jsonl"))?;
        let length = points.1.metadata().map_err(|e| Error::io(&points.0, "read", e))?.len();
        if length < progress.metrics_bytes {
            let expected = format!("at least {} bytes", progress.metrics_bytes);
            return Err(Error::content(&points.0, None, expected, length)
                .hint("the newest checkpoint knows of more; remove it to go on from another"));
        }
        points.1.set_len(progress.metrics_bytes).map_err(|e| Error::io(&points.0, "write", e))?;
        let scores = progress.scores.into_iter().map(|scored| SetScores::from_record(task, scored));
        Ok(Self(Arc::new(Mutex::new(State {
            log: open(&dir.join(log_file))?,
            points,
            lines,
            plan,
            log_every,
            task,
            sets,
            basket,
            outputs,
            interrupter,
            started: Instant::now(),
            losses: (progress.loss_sum, progress.losses),
            clock,
            monitor,
            timed: (progress.update, progress.seconds, progress.pruning_seconds),
            last: progress.gauges,
            step: progress.update,
            scores: scores.collect(),
            evaluated_at: progress.evaluated_at,
            best: progress.best,
            final_ratio,
            seconds_before: progress.wall_seconds,
            error: None,
        }))))
    }

    /// Writes a line to the log, and to the terminal where no dashboard is in the way.
    pub fn line(&self, text: &str) {
        self.lock().line(text);
    }

    /// The last update that was processed.
    pub fn step(&self) -> usize {
        self.lock().step
    }

    /// The update of the last complete evaluation; 0 before the first.
    pub fn evaluated_at(&self) -> usize {
        self.lock().evaluated_at
    }

    /// The scores of the last evaluation.
    pub fn scores(&self) -> Vec<SetScores> {
        self.lock().scores.clone()
    }

    /// Seconds of the run so far, evaluations and earlier processes included.
    pub fn seconds(&self) -> f64 {
        self.lock().seconds_so_far()
    }

    /// Whether an error has occurred.
    pub fn has_failed(&self) -> bool {
        self.lock().error.is_some()
    }

    /// Notes an error, if it is the first.
    pub fn fail(&self, error: Error) {
        self.lock().error.get_or_insert(error);
    }

    /// Waits until burn's other thread has handed over all updates up to `update` and, with
    /// `evaluated`, the whole evaluation after it.
    ///
    /// # Errors
    /// That thread is no longer alive.
    pub fn wait_for(&self, update: usize, evaluated: bool) -> Result<()> {
        let started = Instant::now();
        let waiting =
            |state: &State| state.step < update || (evaluated && state.evaluated_at != update);
        while waiting(&self.lock()) {
            if started.elapsed() > PATIENCE {
                return Err(Error::run(format!("update {update} was never logged")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Where the run stands, for a checkpoint; what has been logged is on the disk then.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn progress(&self) -> Result<Progress> {
        let mut state = self.lock();
        state.outputs.sync()?;
        let synced = state.points.1.sync_data();
        synced.map_err(|e| Error::io(&state.points.0, "write", e))?;
        Ok(Progress {
            update: state.step,
            evaluated_at: state.evaluated_at,
            loss_sum: state.losses.0,
            losses: state.losses.1,
            gauges: state.last.clone(),
            scores: state.scores.iter().map(SetScores::to_record).collect(),
            best: state.best.clone(),
            metrics_bytes: state.points.1.metadata().map_or(0, |m| m.len()),
            events: state.outputs.events_position(),
            seconds: state.clock.total_at(state.step).unwrap_or(f64::MAX),
            pruning_seconds: state.monitor.seconds(),
            wall_seconds: state.seconds_so_far(),
            loss_scale: None,
            data: None,
        })
    }

    /// Takes in the gauges of an update, by their names.
    pub(super) fn trained(&self, values: &HashMap<String, f64>) {
        self.lock().trained(values);
    }

    /// Takes in the evaluation whose predictions have been collected.
    pub(super) fn evaluated(&self) {
        self.lock().evaluated();
    }

    /// The run's updates.
    pub(super) fn plan(&self) -> Arc<Updates> {
        self.lock().plan.clone()
    }

    /// The first error that occurred while writing.
    pub fn take_error(&self) -> Option<Error> {
        self.lock().error.take()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<(PathBuf, File)> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok((path.to_path_buf(), file.map_err(|e| Error::io(path, "create", e))?))
}

impl State {
    fn seconds_so_far(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn line(&mut self, text: &str) {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        let written = self.log.1.write_all(format!("{now} {text}\n").as_bytes());
        let path = self.log.0.clone();
        self.check(&path, written);
        if let Some(lines) = &self.lines {
            lines(text);
        }
    }

    fn point(&mut self, point: Map<String, Value>) {
        let written = self.points.1.write_all(format!("{}\n", Value::Object(point)).as_bytes());
        let path = self.points.0.clone();
        self.check(&path, written);
    }

    /// A log that cannot be written ends the run: hours without a record are of no use.
    fn check(&mut self, path: &Path, written: std::io::Result<()>) {
        self.check_written(written.map_err(|source| Error::io(path, "write", source)));
    }

    fn check_written(&mut self, written: Result<()>) {
        if let Err(error) = written
            && self.error.is_none()
        {
            self.interrupter.stop(Some(FAILED));
            self.error = Some(error);
        }
    }

    fn diverged(&mut self, what: &str) {
        self.check_written(Err(Error::run(format!(
            "{what} is not a finite number: the training diverged"
        ))
        .hint("lower --learning-rate, clip with --global-grad-clipping 1, or leave out --fp16")));
    }

    fn trained(&mut self, values: &HashMap<String, f64>) {
        let get = |name: &str| values.get(name).copied().unwrap_or(f64::NAN);
        self.step += 1;
        let step = self.step;
        let loss = get(gauge::LOSS);
        if !loss.is_finite() {
            self.diverged(&format!("the loss of update {step}"));
        }
        // The loss is that of the weights before this update; the gradient tells of those after it.
        if self.monitor.at(step).is_some_and(|status| !status.grad_norm.is_finite()) {
            self.diverged(&format!("the gradient of update {step}"));
        }
        self.losses = (self.losses.0 + loss, self.losses.1 + 1);
        let epoch = self.plan.epoch_of(step.saturating_sub(1)) + 1;
        let state = json!({
            "ratio": get(gauge::RATIO),
            "sparsity": get(gauge::SPARSITY),
            "threshold": get(gauge::THRESHOLD),
            "learning_rate": get(gauge::LEARNING_RATE),
        });
        self.last = state.as_object().cloned().unwrap_or_default();
        if !step.is_multiple_of(self.log_every) && step != self.plan.last() {
            return;
        }
        let loss = self.losses.0 / self.losses.1 as f64;
        self.losses = (0.0, 0);
        let mut point = head(step, epoch, "train", loss);
        point.extend(self.last.clone());
        point.extend(self.seconds());
        self.point(point);
        let remaining = self.monitor.at(step).and_then(|status| status.remaining);
        let logged = Logged { step, loss, gauges: &self.last, remaining };
        let written = self.outputs.trained(&logged);
        self.check_written(written);
        let total = self.plan.last();
        let left = self.seconds_so_far() / step.max(1) as f64 * total.saturating_sub(step) as f64;
        self.line(&format!(
            "update {step}/{total}  epoch {epoch}  loss {loss:.4}  lr {:.2e}  remaining {:.4}  \
             sparsity {:.4}  threshold {:.3e}  {:.2} updates/s  {} left",
            get(gauge::LEARNING_RATE),
            get(gauge::RATIO),
            get(gauge::SPARSITY),
            get(gauge::THRESHOLD),
            get(gauge::SPEED),
            duration(left),
        ));
    }

    /// Mean seconds per update since the last point, and those of the pruning.
    fn seconds(&mut self) -> Map<String, Value> {
        let (update, seconds, pruning) = self.timed;
        let total = self.clock.total_at(self.step).unwrap_or(f64::NAN);
        let pruned = self.monitor.at(self.step).map_or(f64::NAN, |s| s.pruning_seconds);
        self.timed = (self.step, total, pruned);
        let updates = (self.step - update) as f64;
        let mean = json!({
            "seconds": (total - seconds) / updates,
            "pruning_seconds": (pruned - pruning) / updates,
        });
        mean.as_object().cloned().unwrap_or_default()
    }

    fn evaluated(&mut self) {
        let step = self.step;
        let epoch = self.plan.epoch_of(step.saturating_sub(1)) + 1;
        let predictions = self.basket.empty(self.sets.len());
        let sets: Vec<_> = self.sets.iter().cloned().zip(predictions).collect();
        let (mut all, mut diverged) = (Vec::new(), None);
        for (about, predictions) in sets.iter().filter(|(about, _)| about.labelled) {
            let scores = SetScores::of(self.task, about, predictions);
            let mut point = head(step, epoch, &about.name, scores.loss);
            point.extend(self.last.clone());
            point.extend(scores.to_json());
            self.point(point);
            let list: Vec<String> =
                scores.scores.iter().map(|(tag, value)| format!("{tag} {value:.2}")).collect();
            self.line(&format!(
                "update {step}  epoch {epoch}  {}: loss {:.4}  {}",
                about.name,
                scores.loss,
                list.join("  ")
            ));
            if !scores.loss.is_finite() {
                diverged = Some(format!("the loss on {} after update {step}", about.name));
            }
            all.push(scores);
        }
        if let Some(what) = diverged {
            self.diverged(&what);
        }
        let ended_epoch = self.plan.ends_epoch(step).then_some(epoch);
        let written = self.outputs.evaluated(Moment { step, ended_epoch }, &sets);
        self.check_written(written);
        let ratio = self.last.get("ratio").and_then(Value::as_f64);
        let at_final_ratio = ratio == Some(self.final_ratio);
        let main = self.task.metrics.iter().position(|metric| *metric == self.task.main);
        let is_dev = |scores: &&SetScores| {
            self.sets.iter().any(|set| set.name == scores.data_set && set.part == Part::Dev)
        };
        let dev = all.iter().filter(is_dev);
        let mains = dev.filter_map(|set| set.scores.get(main?).map(|(_, value)| *value));
        let (count, sum) = mains.fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
        let score = sum / f64::from(count);
        if score.is_finite() {
            let later = Best { update: step, at_final_ratio, score };
            self.best = Some(self.best.take().map_or(later.clone(), |best| best.or(later)));
        }
        self.scores = all;
        self.evaluated_at = step;
    }
}

fn head(step: usize, epoch: usize, split: &str, loss: f64) -> Map<String, Value> {
    let head = json!({"step": step, "epoch": epoch, "split": split, "loss": loss});
    head.as_object().cloned().unwrap_or_default()
}

/// `75` as `1:15`, `3675` as `1:01:15`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}
