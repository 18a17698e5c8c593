//! Scores of whole evaluation sets, and answers for the GLUE server.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::answer::number;
use super::predictions::Predictions;
use super::sets::SetInfo;
use crate::error::{Error, Result};
use crate::glue::task::{Kind, Metric, Task};
use crate::metrics::scores;
use crate::submission;

/// The scores of one evaluation set, times 100, in the task's order.
#[derive(Debug, Clone, PartialEq)]
pub struct SetScores {
    /// The set, as `mnli_matched_dev`.
    pub name: String,
    /// Mean loss.
    pub loss: f64,
    /// Score by metric tag (`ACC`, `F1`, `MacroF1`, `MCC`, `Pearson`, `Spearman`).
    pub scores: Vec<(&'static str, f64)>,
}

impl SetScores {
    /// Loss and scores of `predictions`; meaningless for a set without true labels.
    pub fn of(about: &SetInfo, predictions: &Predictions) -> Self {
        Self {
            name: about.name.clone(),
            loss: predictions.loss(),
            scores: about
                .task
                .metrics
                .iter()
                .map(|m| (m.tag(), score_of(*m)(predictions)))
                .collect(),
        }
    }

    /// What a checkpoint holds of them.
    pub fn to_record(&self) -> ScoresRecord {
        let defined = |value: f64| Some(value).filter(|value| value.is_finite());
        ScoresRecord {
            name: self.name.clone(),
            loss: defined(self.loss),
            scores: self.scores.iter().map(|(_, value)| defined(*value)).collect(),
        }
    }

    /// The reverse of [`to_record`](Self::to_record).
    pub fn from_record(task: &Task, record: ScoresRecord) -> Self {
        let values = record.scores.into_iter().map(|value| value.unwrap_or(f64::NAN));
        Self {
            name: record.name,
            loss: record.loss.unwrap_or(f64::NAN),
            scores: task.metrics.iter().map(|metric| metric.tag()).zip(values).collect(),
        }
    }

    /// The scores as a JSON object; undefined ones are null.
    pub fn to_json(&self) -> Map<String, Value> {
        self.scores.iter().map(|(tag, v)| ((*tag).to_string(), (*v).into())).collect()
    }
}

impl fmt::Display for SetScores {
    /// `mnli_matched_dev: loss 0.4321  ACC 84.60`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: loss {:.4}", self.name, self.loss)?;
        self.scores.iter().try_for_each(|(tag, value)| write!(f, "  {tag} {value:.2}"))
    }
}

/// The scores of one evaluation set; undefined ones are `None`, as JSON knows no NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoresRecord {
    /// As `mnli_matched_dev`.
    #[serde(rename = "data_set")]
    pub name: String,
    /// Mean loss.
    pub loss: Option<f64>,
    /// By metric, in the task's order.
    pub scores: Vec<Option<f64>>,
}

/// What of `predictions` is not finite, in words, and its value: a sample's logit, or the loss of
/// logits that are finite but too far from the labels.
pub fn not_finite(about: &SetInfo, predictions: &Predictions) -> Option<(String, f64)> {
    if let Some((place, logit)) = predictions.not_finite() {
        let uid = about.uids.get(place).map_or("", String::as_str);
        return Some((format!("a logit of sample {uid} of {}", about.name), logit.into()));
    }
    let loss = predictions.loss();
    let scored = about.labelled && !predictions.predicted.is_empty();
    (scored && !loss.is_finite()).then(|| (format!("the loss on {}", about.name), loss))
}

/// Demands that everything in `predictions` is finite.
///
/// # Errors
/// A logit is not, or the loss; it names the sample.
pub fn check(about: &SetInfo, predictions: &Predictions) -> Result<()> {
    not_finite(about, predictions).map_or(Ok(()), |(what, found)| {
        Err(Error::value(what, "a finite number", found).hint(OVERFLOW))
    })
}

/// What to do about results that are not finite.
pub const OVERFLOW: &str =
    "the model's weights are too large for single precision: take an earlier checkpoint";

/// Identifiers and predictions as the GLUE server takes them: label names or scores.
///
/// # Errors
/// A logit is not finite; it names the sample.
pub fn answers(about: &SetInfo, predictions: &Predictions) -> Result<Vec<(String, String)>> {
    check(&SetInfo { labelled: false, ..about.clone() }, predictions)?;
    let task = about.task;
    let answer = |predicted: f32| match task.kind {
        Kind::Classification { labels } => {
            Ok(labels.get(predicted as usize).copied().unwrap_or_default().to_string())
        }
        // Only STS-B's are bounded.
        Kind::Regression if task.is_own() => Ok(number(predicted)),
        Kind::Regression => submission::score(predicted),
    };
    let uids = about.uids.iter().cloned();
    uids.zip(&predictions.predicted).map(|(uid, p)| Ok((uid, answer(*p)?))).collect()
}

/// The name under which the dashboard and reports show `tag` of the set called `set`.
pub fn score_name(tag: &str, set: &str, sets: usize) -> String {
    if sets == 1 { tag.to_string() } else { format!("{tag} {set}") }
}

/// How `metric` is computed, times 100.
pub fn score_of(metric: Metric) -> fn(&Predictions) -> f64 {
    match metric {
        Metric::Accuracy => |p| 100.0 * classes(p, scores::accuracy),
        Metric::F1 => |p| 100.0 * classes(p, scores::f1),
        Metric::MacroF1 => |p| 100.0 * classes(p, scores::macro_f1),
        Metric::Matthews => |p| 100.0 * classes(p, scores::matthews),
        Metric::Pearson => |p| 100.0 * scores::pearson(&p.predicted, &p.expected),
        Metric::Spearman => |p| 100.0 * scores::spearman(&p.predicted, &p.expected),
    }
}

fn classes(p: &Predictions, score: fn(&[usize], &[usize]) -> f64) -> f64 {
    let to_class = |values: &[f32]| values.iter().map(|v| *v as usize).collect::<Vec<_>>();
    score(&to_class(&p.predicted), &to_class(&p.expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::task::Part;

    #[test]
    fn scores_are_times_100() {
        let p = Predictions {
            set: 0,
            predicted: vec![1.0, 0.0, 1.0, 1.0],
            expected: vec![1.0, 0.0, 0.0, 1.0],
            loss_sum: 2.0,
            ..Predictions::default()
        };
        assert_eq!(score_of(Metric::Accuracy)(&p), 75.0);
        assert_eq!(score_of(Metric::F1)(&p), 80.0);
        assert_eq!(p.loss(), 0.5);
    }

    #[test]
    fn answers_and_losses_that_are_not_finite_name_their_sample_or_set() {
        let about = SetInfo {
            task: crate::glue::task::task("rte").unwrap(),
            head: 0,
            name: "rte_dev".into(),
            data_set: "rte".into(),
            part: Part::Dev,
            labelled: true,
            uids: ["5".to_string(), "7".to_string()].into(),
        };
        let mut predictions = Predictions {
            places: vec![0, 1],
            predicted: vec![0.0, 1.0],
            expected: vec![0.0, 1.0],
            logits: vec![1.0, 0.0, 0.0, f32::MAX],
            ..Predictions::default()
        };
        assert!(check(&about, &predictions).is_ok());
        predictions.loss_sum = f64::INFINITY;
        let error = check(&about, &predictions).unwrap_err().to_string();
        assert!(error.starts_with("the loss on rte_dev: expected a finite number, found inf ("));
        // Where labels are unknown the loss means nothing.
        assert_eq!(answers(&about, &predictions).unwrap()[1].1, "entailment");
        predictions.logits[3] = f32::NAN;
        for error in [check(&about, &predictions), answers(&about, &predictions).map(drop)] {
            let error = error.unwrap_err().to_string();
            let expected = "a logit of sample 7 of rte_dev: expected a finite number, found NaN (";
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
