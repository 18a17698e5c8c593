//! Learning-rate schedules over the updates of a run, as burn `LrScheduler`.

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

/// The shape of the schedule after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The original's: falls as 1 - x, so that it drops by the warm-up share where warm-up ends.
    WarmupLinear,
    /// Falls from the full rate to 0 without that drop.
    Linear,
    /// Stays at the full rate.
    Constant,
    /// Half a cosine from the full rate to 0.
    Cosine,
}

/// The learning rate of every update of a run of `total` updates.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmupSchedule {
    /// The full rate.
    pub learning_rate: f64,
    /// Share of the updates over which the rate rises from 0, in [0, 1).
    pub warmup: f64,
    /// The shape afterwards.
    pub schedule: Schedule,
    /// Number of updates T.
    pub total: usize,
    /// Updates done.
    pub update: usize,
}

impl WarmupSchedule {
    /// The rate of update `update`, counted from 0.
    pub fn at(&self, update: usize) -> f64 {
        let x = update as f64 / self.total.max(1) as f64;
        let w = self.warmup;
        if x < w {
            return self.learning_rate * (x / w);
        }
        self.learning_rate
            * match self.schedule {
                Schedule::WarmupLinear => 1.0 - x,
                Schedule::Linear => (1.0 - x) / (1.0 - w),
                Schedule::Constant => 1.0,
                Schedule::Cosine => {
                    0.5 * (1.0 + (std::f64::consts::PI * (x - w) / (1.0 - w)).cos())
                }
            }
    }
}

impl LrScheduler for WarmupSchedule {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> f64 {
        let rate = self.at(self.update);
        self.update += 1;
        rate
    }

    fn to_record<B: Backend>(&self) -> usize {
        self.update
    }

    fn load_record<B: Backend>(mut self, update: usize) -> Self {
        self.update = update;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(schedule: Schedule) -> WarmupSchedule {
        WarmupSchedule { learning_rate: 2.0, warmup: 0.1, schedule, total: 100, update: 0 }
    }

    #[test]
    fn the_rate_follows_the_formulas() {
        for (kind, at_55, at_10) in [
            (Schedule::WarmupLinear, 2.0 * 0.45, 2.0 * 0.9),
            (Schedule::Linear, 2.0 * 0.45 / 0.9, 2.0),
            (Schedule::Constant, 2.0, 2.0),
            (Schedule::Cosine, 1.0, 2.0),
        ] {
            let s = schedule(kind);
            assert_eq!(s.at(0), 0.0);
            assert!((s.at(5) - 1.0).abs() < 1e-12);
            assert!((s.at(10) - at_10).abs() < 1e-12, "{kind:?}");
            assert!((s.at(55) - at_55).abs() < 1e-12, "{kind:?}");
        }
    }

    #[test]
    fn stepping_counts_from_zero() {
        let mut s = schedule(Schedule::Linear);
        assert_eq!((s.step(), s.step()), (s.at(0), s.at(1)));
    }
}
