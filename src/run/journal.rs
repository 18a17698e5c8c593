//! Writes what happens to the run folder and to the terminal: a log, `metrics.jsonl` and what
//! `outputs` makes.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::entries::{Files, State};
pub use super::entries::{Lines, duration};
use super::folder::RunFolder;
use super::outputs::Outputs;
use super::pace::Pace;
use super::point::Point;
use super::record::{Best, Binding, LossScaleRecord, RunRecord};
use crate::error::{Error, Result};
use crate::glue::updates::Updates;
use crate::infer::predictions::{Collected, Predictions};
use crate::infer::scores::SetScores;
use crate::infer::sets::SetInfo;

/// What the journal has written and seen, shared between the run's threads.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Told of each update and evaluation, and of the end of whoever hands them over.
    changed: Condvar,
}

/// What the journal needs to know about the run.
pub struct Setup<'a> {
    /// The run folder.
    pub folder: &'a RunFolder,
    /// The log's name.
    pub log_file: &'a str,
    /// The run's updates.
    pub updates: Arc<Updates>,
    /// Updates between two logged points.
    pub log_every: usize,
    /// Evaluation sets, in the loader's order.
    pub sets: Vec<SetInfo>,
    /// Writes what else is wanted.
    pub outputs: Outputs,
    /// Stops the run when a file cannot be written.
    pub stop: Box<dyn Fn() + Send>,
    /// Receives the lines that a dashboard would hide; `None` while there is one.
    pub lines: Option<Lines>,
    /// Whether the model has the ratio that the run is for after an update.
    pub reaches_final_ratio: Box<dyn Fn(usize) -> bool + Send>,
    /// Where the run goes on.
    pub record: RunRecord,
}

/// How long a run has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Mean seconds per update.
    pub seconds_per_step: f64,
    /// Seconds of the pruning in all updates.
    pub pruning_seconds: f64,
    /// Seconds of the whole run.
    pub seconds: f64,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the log and `metrics.jsonl` in the run folder; the latter is cut back to where the run
    /// goes on. With the journal come lines on what of both is lost: no run needs it to go on.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn open(setup: Setup) -> Result<(Self, Vec<String>)> {
        let Setup { folder, log_file, updates, log_every, sets, outputs, .. } = setup;
        let Setup { stop, lines, reaches_final_ratio, record, .. } = setup;
        let (files, lost) = Files::open(folder, log_file, &record, lines, outputs, stop)?;
        let known = |name: &str| sets.iter().find(|set| set.name == name).map(|set| set.task);
        let scores: Vec<_> = record
            .scores
            .into_iter()
            .filter_map(|scored| Some(SetScores::from_record(known(&scored.name)?, scored)))
            .collect();
        let evaluated = sets.iter().map(|set| set.uids.len()).sum::<usize>() as f64;
        let per_update = updates.samples() as f64 / updates.per_epoch().max(1) as f64;
        let state = State {
            files,
            updates,
            log_every,
            collected: Collected::new(sets.iter().map(|set| set.uids.len()).collect()),
            sets,
            started: Instant::now(),
            losses: (record.loss_sum, record.losses),
            latest: [record.seconds, record.pruning_seconds],
            logged: (record.update, [record.seconds, record.pruning_seconds]),
            gauges: record.gauges,
            step: record.update,
            scores,
            evaluated_at: record.evaluated_at,
            best: record.best,
            reaches_final_ratio,
            seconds_before: record.wall_seconds,
            pace: Pace::new(evaluated / per_update),
            abandoned: false,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new() };
        Ok((Self(Arc::new(shared)), lost))
    }

    /// Writes a line to the log, and to the terminal where no dashboard is in the way.
    pub fn line(&self, text: &str) {
        self.lock().files.line(text);
    }

    /// Writes to the log alone why the run ends.
    pub fn last_word(&self, text: &str) {
        self.lock().files.entry(text);
    }

    /// Takes in an update.
    pub fn trained(&self, point: &Point) {
        self.lock().trained(point);
        self.0.changed.notify_all();
    }

    /// Takes in the predictions of one batch of an evaluation; the last one completes it.
    pub fn predicted(&self, batch: &Predictions) {
        self.lock().predicted(batch);
        self.0.changed.notify_all();
    }

    /// Notes that no more updates and predictions will be handed over.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.0.changed.notify_all();
    }

    /// The last update that was processed.
    pub fn step(&self) -> usize {
        self.lock().step
    }

    /// The epoch, from 1, of that update.
    pub fn epoch(&self) -> usize {
        self.lock().epoch()
    }

    /// Seconds until the run ends; `None` where nothing is known yet.
    pub fn seconds_left(&self) -> Option<f64> {
        self.lock().seconds_left()
    }

    /// The update of the last complete evaluation; 0 before the first.
    pub fn evaluated_at(&self) -> usize {
        self.lock().evaluated_at
    }

    /// The best evaluation so far.
    pub fn best(&self) -> Option<Best> {
        self.lock().best.clone()
    }

    /// The scores of the last evaluation.
    pub fn scores(&self) -> Vec<SetScores> {
        self.lock().scores.clone()
    }

    /// How long the run has taken, earlier processes included.
    pub fn timing(&self) -> Timing {
        let state = self.lock();
        let [seconds, pruning_seconds] = state.latest;
        Timing {
            seconds_per_step: seconds / state.step.max(1) as f64,
            pruning_seconds,
            seconds: state.wall_seconds(),
        }
    }

    /// Whether an error has occurred.
    pub fn has_failed(&self) -> bool {
        self.lock().files.error.is_some()
    }

    /// Notes an error, if it is the first, and stops the run.
    pub fn fail(&self, error: Error) {
        self.lock().files.check(Err(error));
    }

    /// The first error that occurred.
    pub fn take_error(&self) -> Option<Error> {
        self.lock().files.error.take()
    }

    /// Whether there was such a note.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// Waits for it.
    pub fn wait_until_abandoned(&self) {
        drop(self.0.changed.wait_while(self.lock(), |state| !state.abandoned));
    }

    /// Waits until burn's other thread has handed over all updates up to `update` and, with
    /// `evaluated`, the whole evaluation after it. Whether it has: a thread that dies hands over
    /// nothing more.
    #[must_use]
    pub fn wait_for(&self, update: usize, evaluated: bool) -> bool {
        let missing =
            |state: &State| state.step < update || (evaluated && state.evaluated_at != update);
        let waiting = |state: &mut State| missing(state) && !state.abandoned;
        let state = self.0.changed.wait_while(self.lock(), waiting);
        !missing(&state.unwrap_or_else(PoisonError::into_inner))
    }

    /// Where the run stands, for a checkpoint; what has been logged is on the disk then. The loss
    /// scale and the binding are the run's.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn record(
        &self,
        loss_scale: Option<LossScaleRecord>,
        binding: &Binding,
    ) -> Result<RunRecord> {
        let mut state = self.lock();
        let (metrics_bytes, events) = state.files.sync()?;
        let [seconds, pruning_seconds] = state.latest;
        Ok(RunRecord {
            update: state.step,
            evaluated_at: state.evaluated_at,
            loss_sum: state.losses.0,
            losses: state.losses.1,
            gauges: state.gauges.clone(),
            scores: state.scores.iter().map(SetScores::to_record).collect(),
            best: state.best.clone(),
            metrics_bytes,
            events,
            seconds,
            pruning_seconds,
            wall_seconds: state.wall_seconds(),
            loss_scale,
            binding: Some(binding.clone()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
