//! How long updates take.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Times updates, each from the end of the one before it (or the assembly of the first batch) to
/// the end of its optimizer's step.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<Mutex<Times>>);

/// Metrics are computed on another thread, at most a few updates behind.
const KEPT: usize = 64;

#[derive(Debug, Default)]
struct Times {
    started: Option<Instant>,
    seconds: f64,
    updates: usize,
    /// A running mean over the last few dozen updates.
    recent: f64,
    /// The seconds up to each of the last updates.
    totals: VecDeque<f64>,
}

impl Clock {
    /// Goes on from a run of so many updates and seconds.
    pub fn resume(&self, updates: usize, seconds: f64) {
        let mut times = self.lock();
        (times.updates, times.seconds) = (updates, seconds);
        times.totals = VecDeque::from([seconds]);
        times.recent = seconds / updates.max(1) as f64;
    }

    /// Begins an update: at `at`, or where the one before it ended.
    pub(super) fn start(&self, at: Option<Instant>) {
        let mut times = self.lock();
        times.started = at.or(times.started);
    }

    /// Ends it.
    pub(super) fn stop(&self) {
        let mut times = self.lock();
        let now = Instant::now();
        if let Some(started) = times.started.replace(now) {
            let seconds = (now - started).as_secs_f64();
            times.seconds += seconds;
            times.updates += 1;
            let weight = 1.0 / times.updates.min(32) as f64;
            times.recent += (seconds - times.recent) * weight;
            if times.totals.len() == KEPT {
                times.totals.pop_front();
            }
            let total = times.seconds;
            times.totals.push_back(total);
        }
    }

    /// Mean seconds per update; 0 before the first.
    pub fn mean(&self) -> f64 {
        let times = self.lock();
        times.seconds / times.updates.max(1) as f64
    }

    /// Mean seconds per update, lately; 0 before the first.
    pub fn recent(&self) -> f64 {
        self.lock().recent
    }

    /// Seconds up to the end of update `update`, counted from 1, if it is one of the last few.
    pub fn total_at(&self, update: usize) -> Option<f64> {
        let times = self.lock();
        let back = times.updates.checked_sub(update)? + 1;
        times.totals.len().checked_sub(back).and_then(|n| times.totals.get(n)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_remembers_the_last_updates_and_leaves_out_what_is_between_chunks() {
        let clock = Clock::default();
        let long_ago = Instant::now() - std::time::Duration::from_secs(100);
        clock.start(Some(long_ago));
        clock.stop();
        for update in 2..=70 {
            // Update 70 begins a chunk; the others follow the one before.
            clock.start((update == 70).then(Instant::now));
            clock.stop();
        }
        assert_eq!((clock.total_at(6), clock.total_at(71)), (None, None));
        let (first, last) = (clock.total_at(7).unwrap(), clock.total_at(70).unwrap());
        assert!(first >= 100.0 && last >= first && last < 160.0, "{first} {last}");
        assert!((clock.mean() - last / 70.0).abs() < 1e-9);
    }
}
