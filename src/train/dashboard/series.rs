//! The course of a metric, in as many points as a plot can show.

use std::collections::VecDeque;

/// The most points of the whole course: beyond, neighbours become their mean.
const WHOLE: usize = 512;
/// The points of the latest updates.
const LATEST: usize = 200;

/// A number at updates, from the first to the latest.
#[derive(Debug, Clone)]
pub struct Series {
    whole: Vec<(f64, f64)>,
    /// How many values a point of the whole course is the mean of.
    stride: usize,
    /// Sum and number of the values of the point to come.
    pending: (f64, usize),
    latest: VecDeque<(f64, f64)>,
}

impl Default for Series {
    fn default() -> Self {
        Self { whole: Vec::new(), stride: 1, pending: (0.0, 0), latest: VecDeque::new() }
    }
}

impl Series {
    /// Adds the value after `update`; one that is not finite has no place in a plot.
    pub fn push(&mut self, update: usize, value: f64) {
        if !value.is_finite() {
            return;
        }
        let update = update as f64;
        if self.latest.len() == LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back((update, value));
        self.pending = (self.pending.0 + value, self.pending.1 + 1);
        if self.pending.1 < self.stride {
            return;
        }
        self.whole.push((update, self.pending.0 / self.pending.1 as f64));
        self.pending = (0.0, 0);
        if self.whole.len() == WHOLE {
            let mean = |pair: &[(f64, f64)]| {
                let update = pair.last().map_or(0.0, |last| last.0);
                (update, pair.iter().map(|point| point.1).sum::<f64>() / pair.len() as f64)
            };
            self.whole = self.whole.chunks(2).map(mean).collect();
            self.stride *= 2;
        }
    }

    /// The points of the whole course, or of the latest updates: update and value.
    pub fn points(&self, latest: bool) -> Vec<(f64, f64)> {
        if latest { self.latest.iter().copied().collect() } else { self.whole.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_course_becomes_means_and_its_end_stays_as_it_is() {
        let mut series = Series::default();
        for update in 1..=1024 {
            series.push(update, update as f64);
        }
        let whole = series.points(false);
        // Halved at 512 points and again: each is the mean of four updates.
        assert_eq!(whole.len(), 256);
        assert_eq!((whole[0], whole[255]), ((4.0, 2.5), (1024.0, 1022.5)));
        let latest = series.points(true);
        assert_eq!((latest.len(), latest[0], latest[199]), (200, (825.0, 825.0), (1024.0, 1024.0)));
        series.push(1025, f64::NAN);
        series.push(1025, f64::INFINITY);
        assert_eq!((series.points(false).len(), series.points(true).len()), (256, 200));
    }
}
