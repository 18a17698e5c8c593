//! What the optimizer tells the outside about each update.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clip::GradNorm;
use super::histogram::Histogram;

/// Metrics are computed on another thread, at most a few updates behind.
const KEPT: usize = 64;

/// The state of the pruning after one update.
#[derive(Debug, Clone, PartialEq)]
pub struct PruningStatus {
    /// The update, counted from 1.
    pub step: usize,
    /// Remaining ratio that the schedule asks for.
    pub ratio: f64,
    /// The score below which weights were set to zero at the last masking.
    pub threshold: Option<f32>,
    /// Share of the prunable weights that were zero when they were last counted; 0 before the first
    /// masking. Between maskings they may grow again.
    pub sparsity: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: GradNorm,
    /// Seconds spent on scores, threshold and masks, this update's and those before it.
    pub pruning_seconds: f64,
    /// How many weights of each parameter of the scope are not zero, in its order, at updates where
    /// they are counted.
    pub remaining: Option<Arc<[usize]>>,
}

/// After which updates it is counted what remains.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counting {
    /// After the multiples of this; 0 for none.
    pub every: usize,
    /// After these as well, in increasing order.
    pub also: Arc<[usize]>,
}

impl Counting {
    pub(super) fn after(&self, update: usize) -> bool {
        (self.every > 0 && update.is_multiple_of(self.every))
            || self.also.binary_search(&update).is_ok()
    }
}

/// A handle to the statuses of the last updates.
#[derive(Debug, Clone, Default)]
pub struct PruningMonitor(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    seconds_before: f64,
    statuses: VecDeque<PruningStatus>,
    scores: Option<Histogram>,
}

impl PruningMonitor {
    /// The status after update `step`, if it is one of the last few.
    pub fn at(&self, step: usize) -> Option<PruningStatus> {
        self.lock().statuses.iter().rev().find(|s| s.step == step).cloned()
    }

    /// Seconds spent on scores, threshold and masks so far.
    pub fn seconds(&self) -> f64 {
        let record = self.lock();
        record.statuses.back().map_or(record.seconds_before, |s| s.pruning_seconds)
    }

    /// Goes on from a run that has spent so many seconds.
    pub fn resume(&self, seconds: f64) {
        self.lock().seconds_before = seconds;
    }

    /// How the scores spread after the run's last update; `None` before it, and where there are none.
    pub fn scores(&self) -> Option<Histogram> {
        self.lock().scores.clone()
    }

    pub(super) fn record_scores(&self, scores: Histogram) {
        self.lock().scores = Some(scores);
    }

    pub(super) fn record(&self, status: PruningStatus) {
        let mut record = self.lock();
        if record.statuses.len() == KEPT {
            record.statuses.pop_front();
        }
        record.statuses.push_back(status);
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
