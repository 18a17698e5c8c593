//! Scores of whole evaluation sets.

use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn_train::metric::ItemLazy;
use serde_json::{Map, Value};

use super::data::SetInfo;
use super::progress::Scored;
use super::step::{filling, infer};
use crate::bert::weights::{self, Parts};
use crate::bert::{BertClassifier, Checkpoint, ClassifierConfig};
use crate::error::{Error, Result};
use crate::glue::batch::EvalLoader;
use crate::glue::sample::Sample;
use crate::glue::task::{Metric, Task};
use crate::kernels::ModelKernels;
use crate::metrics::learner::{Predictions, SplitScore};
use crate::metrics::scores;

/// The scores of one evaluation set, times 100, in the task's order.
#[derive(Debug, Clone, PartialEq)]
pub struct SetScores {
    /// The set, as `mnli_matched_dev`.
    pub data_set: String,
    /// Mean loss.
    pub loss: f64,
    /// Score by metric tag (`ACC`, `F1`, `MCC`, `Pearson`, `Spearman`).
    pub scores: Vec<(&'static str, f64)>,
}

impl SetScores {
    /// Loss and scores of `predictions`; meaningless for a set without true labels.
    pub fn of(task: &Task, about: &SetInfo, predictions: &Predictions) -> Self {
        Self {
            data_set: about.name.clone(),
            loss: predictions.loss(),
            scores: task.metrics.iter().map(|m| (m.tag(), score_of(*m)(predictions))).collect(),
        }
    }

    /// What a checkpoint holds of them.
    pub fn to_record(&self) -> Scored {
        let defined = |value: f64| Some(value).filter(|value| value.is_finite());
        Scored {
            data_set: self.data_set.clone(),
            loss: defined(self.loss),
            scores: self.scores.iter().map(|(_, value)| defined(*value)).collect(),
        }
    }

    /// The reverse of [`to_record`](Self::to_record).
    pub fn from_record(task: &Task, record: Scored) -> Self {
        let values = record.scores.into_iter().map(|value| value.unwrap_or(f64::NAN));
        Self {
            data_set: record.data_set,
            loss: record.loss.unwrap_or(f64::NAN),
            scores: task.metrics.iter().map(|metric| metric.tag()).zip(values).collect(),
        }
    }

    /// The scores as a JSON object; undefined ones are null.
    pub fn to_json(&self) -> Map<String, Value> {
        self.scores.iter().map(|(tag, v)| ((*tag).to_string(), (*v).into())).collect()
    }
}

/// The fine-tuned model of `checkpoint` with its number of outputs, which is to be `outputs` where
/// that is given.
///
/// # Errors
/// The weights cannot be read, or lack a part of such a model.
pub fn load_classifier<B: ModelKernels>(
    checkpoint: Checkpoint,
    outputs: Option<usize>,
    device: &B::Device,
) -> Result<(BertClassifier<B>, usize)> {
    let bert = checkpoint.config.clone();
    let tensors = checkpoint.into_tensors()?;
    let found = outputs.map_or_else(|| tensors.outputs(bert.hidden_size), |n| Ok(Some(n)))?;
    let outputs = found.ok_or_else(|| {
        Error::content(&tensors.file, None, "a tensor classifier.weight", "none of that name")
            .hint("name a fine-tuned model; this one has no head")
    })?;
    let config = ClassifierConfig { bert, outputs, bert_dropout: 0.0, head_dropout: 0.0 };
    let net = config.init::<B>(device);
    Ok((weights::load(net, tensors, Parts::All, device)?.model, outputs))
}

/// Runs `net` over all `sets`; the predictions of each, with the seconds from the assembly of its
/// first batch to its last prediction.
pub fn predict<B: ModelKernels>(
    net: &BertClassifier<B>,
    sets: Vec<Vec<Sample>>,
    batch_size: usize,
    device: &B::Device,
) -> Vec<(Predictions, f64)> {
    let empty = |data_set| (Predictions { data_set, ..Predictions::default() }, 0.0);
    let mut all: Vec<(Predictions, f64)> = (0..sets.len()).map(empty).collect();
    let mut started = Instant::now();
    let loader = EvalLoader::<B>::new(sets, batch_size, filling::<B>(), device.clone());
    for batch in loader.iter() {
        let predictions = infer(net, batch).sync();
        let now = Instant::now();
        if let Some((set, seconds)) = all.get_mut(predictions.data_set) {
            set.extend(&predictions);
            *seconds += (now - started).as_secs_f64();
        }
        started = now;
    }
    all.into_iter().map(|(set, seconds)| (set.in_order(), seconds)).collect()
}

/// The metrics that burn-train shows for `sets`: loss and scores of each, in order. Their names
/// carry the set's only where there are several.
pub fn split_scores(task: &Task, sets: &[SetInfo]) -> Vec<SplitScore> {
    let labelled = sets.iter().filter(|set| set.labelled).count();
    let mut all = Vec::new();
    for (n, set) in sets.iter().enumerate().filter(|(_, set)| set.labelled) {
        for metric in task.metrics {
            let name = score_name(metric.tag(), &set.name, labelled);
            all.push(SplitScore::new(name, n, true, score_of(*metric)));
        }
        let name = score_name("Dev loss", &set.name, labelled);
        all.push(SplitScore::new(name, n, false, |p| p.loss()));
    }
    all
}

/// The name under which [`split_scores`] shows `tag` of the set called `set`.
pub fn score_name(tag: &str, set: &str, sets: usize) -> String {
    if sets == 1 { tag.to_string() } else { format!("{tag} {set}") }
}

fn score_of(metric: Metric) -> fn(&Predictions) -> f64 {
    match metric {
        Metric::Accuracy => |p| 100.0 * classes(p, scores::accuracy),
        Metric::F1 => |p| 100.0 * classes(p, scores::f1),
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
    use std::sync::Arc;

    use crate::glue::task::{Part, task};

    #[test]
    fn names_carry_the_set_only_where_there_are_several() {
        let names = |task_name: &str, sets: &[&str]| {
            let info = |name: &&str| SetInfo {
                name: name.to_string(),
                data_set: String::new(),
                part: Part::Dev,
                uids: Arc::default(),
                labelled: !name.contains("test"),
            };
            let sets: Vec<SetInfo> = sets.iter().map(info).collect();
            split_scores(task(task_name).unwrap(), &sets)
                .iter()
                .map(|s| burn_train::metric::Metric::name(s).to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("stsb", &["stsb_dev"]), ["Pearson", "Spearman", "Dev loss"]);
        assert_eq!(names("mnli", &["a", "b"]), ["ACC a", "Dev loss a", "ACC b", "Dev loss b"]);
        assert_eq!(names("rte", &["rte_dev", "rte_test"]), ["ACC", "Dev loss"]);
    }

    #[test]
    fn scores_are_times_100() {
        let p = Predictions {
            data_set: 0,
            predicted: vec![1.0, 0.0, 1.0, 1.0],
            expected: vec![1.0, 0.0, 0.0, 1.0],
            loss_sum: 2.0,
            ..Predictions::default()
        };
        assert_eq!(score_of(Metric::Accuracy)(&p), 75.0);
        assert_eq!(score_of(Metric::F1)(&p), 80.0);
        assert_eq!(p.loss(), 0.5);
    }
}
