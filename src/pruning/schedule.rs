//! The cubic schedule of the remaining ratio (PLATON, equation 10).

use crate::error::{Error, Result};

/// Remaining ratio r(t) of the updates t = 1, 2, ..., T.
#[derive(Debug, Clone, PartialEq)]
pub struct RatioSchedule {
    initial_ratio: f64,
    final_ratio: f64,
    delta_t: usize,
    first: usize,
    last: usize,
    total: usize,
    /// The update after which the run ends, T or earlier.
    end: usize,
}

/// What the schedule asks for at one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Share of the prunable weights that may remain, in (0, 1].
    pub ratio: f64,
    /// Whether weights are masked at this update.
    pub mask: bool,
}

/// The three phases of a pruning run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is pruned yet.
    Before,
    /// The ratio falls; masks are applied every `delta_t` updates.
    Falling,
    /// The final ratio; masks are applied at every update.
    Final,
}

impl RatioSchedule {
    /// A schedule over `total` updates T, with a = `initial_warmup * warmup_steps` updates before
    /// pruning and z = `final_warmup * warmup_steps` at the final ratio.
    ///
    /// # Errors
    /// Ratios outside (0, 1], a final ratio above the initial one, `delta_t` 0, a >= T (pruning
    /// would never run) and a + z >= T (the ratio would jump straight to the final one).
    pub fn new(
        ratios: (f64, f64),
        warmup_steps: usize,
        initial_warmup: usize,
        final_warmup: usize,
        delta_t: usize,
        total: usize,
    ) -> Result<Self> {
        let (initial_ratio, final_ratio) = ratios;
        Self::check_ratios(initial_ratio, final_ratio)?;
        if delta_t == 0 {
            return Err(Error::value("delta_t", "at least 1 update", 0));
        }
        let first = initial_warmup.saturating_mul(warmup_steps);
        let last = final_warmup.saturating_mul(warmup_steps);
        if first >= total {
            return Err(Error::value(
                "warmup_steps",
                format!("initial_warmup * warmup_steps below the run's {total} updates"),
                format!("{initial_warmup} * {warmup_steps} = {first}: pruning would never start"),
            )
            .hint("lower warmup_steps, or train for more epochs"));
        }
        if first.saturating_add(last) >= total {
            return Err(Error::value(
                "warmup_steps",
                format!(
                    "(initial_warmup + final_warmup) * warmup_steps below the run's {total} updates"
                ),
                format!(
                    "({initial_warmup} + {final_warmup}) * {warmup_steps} = {}: the ratio would \
                     jump straight to its final value",
                    first.saturating_add(last)
                ),
            )
            .hint("lower warmup_steps or final_warmup, or train for more epochs"));
        }
        Ok(Self { initial_ratio, final_ratio, delta_t, first, last, total, end: total })
    }

    /// The same schedule for a run that ends after update `end`, at most T.
    pub fn ending_at(self, end: usize) -> Self {
        Self { end: end.min(self.total), ..self }
    }

    /// The same course to another final ratio.
    #[must_use]
    pub fn towards(&self, final_ratio: f64) -> Self {
        Self { final_ratio, ..self.clone() }
    }

    /// Refuses ratios outside (0, 1] and a final ratio above the initial one.
    ///
    /// # Errors
    /// Names the ratio at fault.
    pub fn check_ratios(initial_ratio: f64, final_ratio: f64) -> Result<()> {
        for (name, ratio) in
            [("initial_threshold", initial_ratio), ("final_threshold", final_ratio)]
        {
            if !(ratio > 0.0 && ratio <= 1.0) {
                return Err(Error::value(name, "a remaining ratio in (0, 1]", ratio)
                    .hint("0.2 keeps 20 % of the weights"));
            }
        }
        if final_ratio > initial_ratio {
            return Err(Error::value(
                "final_threshold",
                format!("at most initial_threshold ({initial_ratio})"),
                final_ratio,
            ));
        }
        Ok(())
    }

    /// What to do at update `step`, counted from 1.
    pub fn at(&self, step: usize) -> Target {
        match self.phase(step) {
            Phase::Before => Target { ratio: self.initial_ratio, mask: false },
            Phase::Final => Target { ratio: self.final_ratio, mask: true },
            Phase::Falling => {
                let span = (self.total - self.first - self.last) as f64;
                let left = 1.0 - (step - self.first) as f64 / span;
                let fall = (self.initial_ratio - self.final_ratio) * left.powi(3);
                // What grew back since the last mask must not stay.
                let mask = step.is_multiple_of(self.delta_t) || step == self.end;
                Target { ratio: self.final_ratio + fall, mask }
            }
        }
    }

    /// Whether update `step`, counted from 1, leaves no more weights than the final ratio allows. The
    /// last update while the ratio falls asks for that ratio, but may not mask.
    pub fn reaches_final_ratio(&self, step: usize) -> bool {
        let target = self.at(step);
        target.mask && target.ratio == self.final_ratio
    }

    /// The phase that update `step`, counted from 1, belongs to.
    pub fn phase(&self, step: usize) -> Phase {
        if step <= self.first {
            Phase::Before
        } else if step > self.total - self.last {
            Phase::Final
        } else {
            Phase::Falling
        }
    }

    /// The number of updates T.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether the run ends after update `step`.
    pub fn ends_at(&self, step: usize) -> bool {
        step == self.end
    }

    /// At how many updates weights go while the ratio falls and before it is the final one, the first scores
    /// being there after the update `scores`.
    pub fn falls(&self, scores: usize) -> usize {
        let (first, last) = self.boundaries();
        let before = first.max(scores.saturating_sub(1));
        (last.saturating_sub(1) / self.delta_t).saturating_sub(before / self.delta_t)
    }

    /// Refuses a course that masks at no update while the ratio falls: it would jump straight to its final
    /// value. The first scores are there after the update `scores`.
    ///
    /// # Errors
    /// As it says.
    pub fn check_falls(&self, scores: usize) -> Result<()> {
        let (first, last) = self.boundaries();
        if self.initial_ratio == self.final_ratio || self.falls(scores) > 0 {
            return Ok(());
        }
        let span = last.saturating_sub(first);
        let expected = format!(
            "windows of which one ends, with scores, at an update from {} to {}, where the ratio falls",
            first + 1,
            last.saturating_sub(1)
        );
        let found = format!("{}: the ratio would jump straight to its final value", self.delta_t);
        Err(Error::value("delta_t", expected, found)
            .hint(format!("say --delta-t {}, or train for more epochs", (span / 5).max(1))))
    }

    /// The last update before pruning, and the last one while the ratio falls.
    pub fn boundaries(&self) -> (usize, usize) {
        (self.first, self.total - self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(total: usize) -> Result<RatioSchedule> {
        RatioSchedule::new((1.0, 0.2), 20, 1, 4, 10, total)
    }

    #[test]
    fn a_ratio_that_would_jump_is_refused() {
        let falls = |delta_t: usize, scores: usize| {
            let schedule = RatioSchedule::new((1.0, 0.2), 1, 12, 18, delta_t, 60).unwrap();
            (schedule.falls(scores), schedule.check_falls(scores).is_ok())
        };
        // It falls at the updates 13 to 42.
        assert_eq!(falls(1, 1), (29, true));
        assert_eq!(falls(10, 10), (3, true), "20, 30, 40");
        assert_eq!(falls(41, 41), (1, true));
        assert_eq!(falls(42, 42), (0, false), "there it is the final one");
        assert_eq!(falls(50, 50), (0, false));
        assert_eq!(falls(43, 1), (0, false));
        assert_eq!(falls(20, 21), (1, true), "40, for at 20 there are no scores");
        let none = RatioSchedule::new((0.5, 0.5), 1, 12, 18, 50, 60).unwrap();
        assert!(none.check_falls(1).is_ok(), "nothing falls");
        let error = RatioSchedule::new((1.0, 0.2), 1, 12, 18, 50, 60).unwrap().check_falls(1);
        let text = error.unwrap_err().to_string();
        let expected = "delta_t: expected windows of which one ends, with scores, at an update from 13 to \
                        41, where the ratio falls, found 50: the ratio would jump straight to its final \
                        value (hint: say --delta-t 6, or train for more epochs)";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_ratio_falls_cubically_between_the_phases() {
        let s = schedule(240).unwrap();
        assert_eq!(s.at(20), Target { ratio: 1.0, mask: false });
        assert_eq!(
            s.at(30),
            Target { ratio: 0.2 + 0.8 * (1.0f64 - 10.0 / 140.0).powi(3), mask: true }
        );
        assert!(!s.at(31).mask);
        assert_eq!(s.at(160), Target { ratio: 0.2, mask: true });
        assert_eq!(s.at(161), Target { ratio: 0.2, mask: true });
        assert_eq!(s.at(240), Target { ratio: 0.2, mask: true });
        assert_eq!(s.boundaries(), (20, 160));
        let first = |s: &RatioSchedule| (1..=240).find(|step| s.reaches_final_ratio(*step));
        assert_eq!(first(&s), Some(160));
        // The ratio is the final one after update 160, which does not mask.
        let s = RatioSchedule::new((1.0, 0.2), 20, 1, 4, 9, 240).unwrap();
        assert_eq!((s.at(160), first(&s)), (Target { ratio: 0.2, mask: false }, Some(161)));
    }

    #[test]
    fn the_course_to_another_ratio_differs_in_nothing_else() {
        let (s, other) = (schedule(240).unwrap(), schedule(240).unwrap().towards(0.5));
        assert_eq!(other, RatioSchedule::new((1.0, 0.5), 20, 1, 4, 10, 240).unwrap());
        for step in 1..=240 {
            assert_eq!(s.at(step).mask, other.at(step).mask);
        }
    }

    #[test]
    fn the_last_update_masks_wherever_the_run_ends() {
        let masked = |s: &RatioSchedule, steps: std::ops::RangeInclusive<usize>| {
            steps.filter(|step| s.at(*step).mask).collect::<Vec<_>>()
        };
        // No updates at the final ratio, and a number of them that is no multiple of the window's.
        let s = RatioSchedule::new((1.0, 0.2), 20, 1, 0, 10, 47).unwrap();
        assert_eq!(masked(&s, 1..=47), [30, 40, 47]);
        assert_eq!(s.at(47), Target { ratio: 0.2, mask: true });
        // Cut between two masks, and before pruning begins.
        let cut = schedule(240).unwrap().ending_at(55);
        assert_eq!(masked(&cut, 1..=55), [30, 40, 50, 55]);
        assert_eq!(cut.at(55).ratio, schedule(240).unwrap().at(55).ratio);
        assert_eq!(masked(&schedule(240).unwrap().ending_at(15), 1..=15), [0usize; 0]);
        assert_eq!(schedule(240).unwrap().ending_at(1000), schedule(240).unwrap());
    }

    #[test]
    fn impossible_schedules_are_refused_with_the_numbers() {
        let error = |r: Result<RatioSchedule>| r.unwrap_err().to_string();
        assert!(error(schedule(20)).contains("1 * 20 = 20: pruning would never start"));
        assert!(error(schedule(100)).contains("(1 + 4) * 20 = 100"));
        for ratio in [0.0, -0.1, 1.1, f64::NAN] {
            let refused = error(RatioSchedule::new((1.0, ratio), 20, 1, 4, 10, 240));
            assert!(refused.contains("(0, 1]"), "{refused}");
        }
        assert!(error(RatioSchedule::new((0.5, 0.6), 20, 1, 4, 10, 240)).contains("at most"));
        assert!(error(RatioSchedule::new((1.0, 0.2), 20, 1, 4, 0, 240)).contains("delta_t"));
        assert!(schedule(101).is_ok());
    }
}
