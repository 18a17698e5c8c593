//! What is known about one update, and what of it is shown where.

use std::sync::Arc;

use serde_json::{Map, Value};

/// What is known about one update once it is done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// The update, counted from 1.
    pub step: usize,
    /// Mean loss of its samples.
    pub loss: f64,
    /// Remaining ratio that the schedule asks for.
    pub ratio: f64,
    /// Share of the prunable weights that are zero; 0 before the first masking.
    pub sparsity: f64,
    /// Score below which weights were set to zero at the last masking; 0 before the first.
    pub threshold: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f64,
    /// Updates per second, lately.
    pub speed: f64,
    /// Seconds of this update and all before it.
    pub seconds: f64,
    /// Seconds that scores, threshold and masks took of them.
    pub pruning_seconds: f64,
    /// How many weights of each prunable parameter are not zero, where they were counted.
    pub remaining: Option<Arc<[usize]>>,
}

/// One number of a [`Point`] and where it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    /// On the dashboard.
    pub name: &'static str,
    /// Whether larger values are better.
    pub higher_is_better: bool,
    /// The number.
    pub read: fn(&Point) -> f64,
    /// As text.
    pub format: fn(f64) -> String,
    /// Its words in the log around that text.
    pub line: [&'static str; 2],
    /// Its key in `metrics.jsonl`, where it is written there as it is.
    pub key: Option<&'static str>,
    /// Its tag in TensorBoard's events; some are the original program's.
    pub tag: Option<&'static str>,
}

/// Everything that is shown of an update, in order. The loss stands in log, points and events as
/// the mean since the last logged update.
pub const GAUGES: [Gauge; 6] = [
    Gauge {
        name: "Loss",
        higher_is_better: false,
        read: |point| point.loss,
        format: |value| format!("{value:.4}"),
        line: ["loss ", ""],
        key: None,
        tag: None,
    },
    Gauge {
        name: LEARNING_RATE,
        higher_is_better: false,
        read: |point| point.learning_rate,
        format: |value| format!("{value:.2e}"),
        line: ["lr ", ""],
        key: Some("learning_rate"),
        tag: Some("train/learning_rate"),
    },
    Gauge {
        name: REMAINING,
        higher_is_better: false,
        read: |point| point.ratio,
        format: |value| format!("{value:.4}"),
        line: ["remaining ", ""],
        key: Some(RATIO),
        tag: Some("Prune/ratio"),
    },
    Gauge {
        name: ZEROS,
        higher_is_better: true,
        read: |point| point.sparsity,
        format: |value| format!("{value:.4}"),
        line: ["sparsity ", ""],
        key: Some("sparsity"),
        tag: Some("Prune/sparsity"),
    },
    Gauge {
        name: "Threshold",
        higher_is_better: true,
        read: |point| point.threshold,
        format: |value| format!("{value:.3e}"),
        line: ["threshold ", ""],
        key: Some("threshold"),
        tag: Some("Prune/threshold"),
    },
    Gauge {
        name: "Updates per second",
        higher_is_better: true,
        read: |point| point.speed,
        format: |value| format!("{value:.2}"),
        line: ["", " updates/s"],
        key: None,
        tag: None,
    },
];

/// The gauge of the learning rate.
pub const LEARNING_RATE: &str = "Learning rate";

/// The gauge of the ratio that the schedule asks for.
pub const REMAINING: &str = "Remaining ratio";

/// The gauge of the share of zeros.
pub const ZEROS: &str = "Zeros";

/// The key of the remaining ratio.
const RATIO: &str = "ratio";

/// The gauges of an update as they stand in `metrics.jsonl`, by their keys.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Gauges(pub Map<String, Value>);

impl Gauges {
    /// Those of `point`.
    pub fn of(point: &Point) -> Self {
        let value = |gauge: &Gauge| Some((gauge.key?.to_string(), (gauge.read)(point).into()));
        Self(GAUGES.iter().filter_map(value).collect())
    }
}

/// All gauges in one line.
pub fn line(point: &Point) -> String {
    let text = |gauge: &Gauge| {
        let [before, after] = gauge.line;
        format!("{before}{}{after}", (gauge.format)((gauge.read)(point)))
    };
    GAUGES.iter().map(text).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Point {
        Point {
            loss: 0.5,
            ratio: 0.25,
            sparsity: 0.75,
            threshold: 0.125,
            learning_rate: 1e-4,
            speed: 2.0,
            ..Point::default()
        }
    }

    #[test]
    fn a_line_of_the_log_names_every_gauge() {
        assert_eq!(
            line(&point()),
            "loss 0.5000  lr 1.00e-4  remaining 0.2500  sparsity 0.7500  threshold 1.250e-1  \
             2.00 updates/s"
        );
    }

    #[test]
    fn points_hold_the_gauges_that_have_a_key() {
        let gauges = Gauges::of(&point());
        let expected = serde_json::json!(
            {"learning_rate": 1e-4, "ratio": 0.25, "sparsity": 0.75, "threshold": 0.125}
        );
        assert_eq!(Value::Object(gauges.0.clone()), expected);
    }
}
