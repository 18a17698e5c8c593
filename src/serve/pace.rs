//! When a batch begins.

use std::time::{Duration, Instant};

/// Decides whether the texts that wait are computed now.
///
/// What arrives while a batch is computed makes the next one, so a text that finds nothing else at
/// work begins at once. Only right after several requests were answered together is something gained
/// by waiting: whoever asked is likely to ask again, and the first of them would else begin alone.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    longest: Duration,
    /// The requests that the last batch answered, and when.
    last: Option<(usize, Instant)>,
}

impl Pace {
    /// Waits that long at most.
    pub fn new(longest: Duration) -> Self {
        Self { longest, last: None }
    }

    /// A batch has answered so many requests.
    pub fn answered(&mut self, requests: usize, now: Instant) {
        self.last = Some((requests, now));
    }

    /// How long to wait still with so many requests in line; `None` to begin.
    pub fn rest(&self, requests: usize, now: Instant) -> Option<Duration> {
        let (answered, ended) = self.last?;
        if answered < 2 || requests >= answered {
            return None;
        }
        let rest = self.longest.checked_sub(now.saturating_duration_since(ended))?;
        Some(rest).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(5);

    #[test]
    fn a_request_waits_only_right_after_a_shared_batch() {
        let (mut pace, now) = (Pace::new(LONGEST), Instant::now());
        assert_eq!(pace.rest(1, now), None);
        pace.answered(1, now);
        assert_eq!(pace.rest(1, now), None);
        pace.answered(8, now);
        assert_eq!(pace.rest(1, now + LONGEST), None);
    }

    #[test]
    fn after_a_shared_batch_its_askers_are_waited_for_but_not_longer_than_said() {
        let (mut pace, now) = (Pace::new(LONGEST), Instant::now());
        pace.answered(3, now);
        assert_eq!(pace.rest(1, now), Some(LONGEST));
        let later = now + Duration::from_millis(2);
        assert_eq!(pace.rest(2, later), Some(Duration::from_millis(3)));
        assert_eq!(pace.rest(3, later), None);
        let mut at_once = Pace::new(Duration::ZERO);
        at_once.answered(3, now);
        assert_eq!(at_once.rest(1, now), None);
    }
}
