//! How long a run takes from now on.

/// The share of an update's time that the same samples take in an evaluation: a forward pass, where
/// an update has a backward one of twice its length too.
const FORWARD: f64 = 1.0 / 3.0;

/// Times the evaluations between updates, and knows what an update takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pace {
    /// Seconds of an update, lately.
    update: Option<f64>,
    /// How many evaluations were timed, and their seconds, with the checkpoints after them.
    evaluations: (usize, f64),
    /// Evaluated samples per sample of an update.
    samples: f64,
    /// Seconds since the process began, at the last update.
    at: f64,
}

impl Pace {
    /// Before the first update; an evaluation has `samples` times the samples of an update.
    pub fn new(samples: f64) -> Self {
        Self { update: None, evaluations: (0, 0.0), samples, at: 0.0 }
    }

    /// Takes in an update that ended `now` seconds after the process began, where updates take
    /// `recent` seconds lately; `evaluated` says whether there was an evaluation before it.
    pub fn trained(&mut self, now: f64, recent: f64, evaluated: bool) {
        let between = now - self.at - recent;
        // The first update of a process has no other before it to count from.
        if evaluated && self.update.is_some() && between > 0.0 {
            self.evaluations = (self.evaluations.0 + 1, self.evaluations.1 + between);
        }
        if recent.is_finite() && recent > 0.0 {
            self.update = Some(recent);
        }
        self.at = now;
    }

    /// Seconds that so many updates and evaluations will take, `now` seconds after the process
    /// began; `None` before its first update. They are counted from the last update on.
    pub fn left(&self, now: f64, updates: usize, evaluations: usize) -> Option<f64> {
        let update = self.update?;
        let evaluation = match self.evaluations {
            (0, _) => update * self.samples * FORWARD,
            (count, seconds) => seconds / count as f64,
        };
        let left = update * updates as f64 + evaluation * evaluations as f64;
        Some((left - (now - self.at)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_right_from_the_first_update_on() {
        // 40 updates of 2 s, each ten followed by an evaluation of 30 s: 80 + 120 s.
        let mut pace = Pace::new(45.0);
        assert_eq!(pace.left(5.0, 40, 4), None);
        let mut now = 5.0;
        for update in 1..=40 {
            let evaluated = update > 1 && (update - 1) % 10 == 0;
            now += if evaluated { 32.0 } else { 2.0 };
            pace.trained(now, 2.0, evaluated);
            let evaluations = 4 - (update - 1) / 10;
            let expected = f64::from(2 * (40 - update) + 30 * evaluations);
            let left = pace.left(now, (40 - update) as usize, evaluations as usize).unwrap();
            assert!((left - expected).abs() < 1e-9, "after {update}: {left} for {expected}");
        }
    }

    #[test]
    fn it_falls_while_an_evaluation_goes_on_and_never_below_zero() {
        let mut pace = Pace::new(6.0);
        pace.trained(1.0, 1.0, false);
        assert_eq!(pace.left(1.0, 10, 1), Some(12.0));
        assert_eq!(pace.left(2.5, 10, 1), Some(10.5));
        assert_eq!(pace.left(100.0, 10, 1), Some(0.0));
    }

    #[test]
    fn a_run_that_goes_on_does_not_count_what_was_before_as_an_evaluation() {
        let mut pace = Pace::new(3.0);
        pace.trained(50.0, 1.0, true);
        assert_eq!(pace.left(50.0, 1, 1), Some(2.0));
    }
}
