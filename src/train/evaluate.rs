//! Scores of whole evaluation sets.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::data::dataloader::DataLoader;
use burn_train::metric::ItemLazy;
use serde_json::{Map, Value};

use super::data::EvalSets;
use super::step::{filling, infer};
use crate::bert::BertClassifier;
use crate::glue::batch::EvalLoader;
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
    /// The scores as a JSON object; undefined ones are null.
    pub fn to_json(&self) -> Map<String, Value> {
        self.scores.iter().map(|(tag, v)| ((*tag).to_string(), (*v).into())).collect()
    }
}

/// The scores of one evaluation set, and the seconds it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Loss and scores.
    pub scores: SetScores,
    /// From the assembly of its first batch to its last prediction.
    pub seconds: f64,
}

/// Runs `net` over all `sets`.
pub fn evaluate<B: ModelKernels>(
    net: &BertClassifier<B>,
    task: &'static Task,
    sets: EvalSets,
    batch_size: usize,
    device: &B::Device,
) -> Vec<Evaluated> {
    let EvalSets { names, samples } = sets;
    let mut seen: BTreeMap<usize, (Predictions, f64)> = BTreeMap::new();
    let mut started = Instant::now();
    let loader = EvalLoader::<B>::new(samples, batch_size, filling::<B>(), device.clone());
    for batch in loader.iter() {
        let predictions = infer(net, batch).sync();
        let data_set = predictions.data_set;
        let empty = || (Predictions { data_set, ..Predictions::default() }, 0.0);
        let (all, seconds) = seen.entry(data_set).or_insert_with(empty);
        all.extend(&predictions);
        let now = Instant::now();
        *seconds += (now - started).as_secs_f64();
        started = now;
    }
    seen.into_iter()
        .zip(names)
        .map(|((_, (predictions, seconds)), data_set)| {
            let score = |metric: &Metric| (metric.tag(), score_of(*metric)(&predictions));
            let scores = task.metrics.iter().map(score).collect();
            let scores = SetScores { data_set, loss: predictions.loss(), scores };
            Evaluated { scores, seconds }
        })
        .collect()
}

/// The metrics that burn-train shows for `sets`: loss and scores of each, in order. Their names
/// carry the set's only where there are several.
pub fn split_scores(task: &Task, sets: &[String]) -> Vec<SplitScore> {
    let mut all = Vec::new();
    for (n, set) in sets.iter().enumerate() {
        for metric in task.metrics {
            let name = score_name(metric.tag(), set, sets.len());
            all.push(SplitScore::new(name, n, true, score_of(*metric)));
        }
        all.push(SplitScore::new(score_name("Dev loss", set, sets.len()), n, false, |p| p.loss()));
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
    use crate::glue::task::task;

    #[test]
    fn names_carry_the_set_only_where_there_are_several() {
        let names = |task_name: &str, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
            split_scores(task(task_name).unwrap(), &sets)
                .iter()
                .map(|s| burn_train::metric::Metric::name(s).to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("stsb", &["stsb_dev"]), ["Pearson", "Spearman", "Dev loss"]);
        assert_eq!(names("mnli", &["a", "b"]), ["ACC a", "Dev loss a", "ACC b", "Dev loss b"]);
    }

    #[test]
    fn scores_are_times_100() {
        let p = Predictions {
            data_set: 0,
            predicted: vec![1.0, 0.0, 1.0, 1.0],
            expected: vec![1.0, 0.0, 0.0, 1.0],
            loss_sum: 2.0,
        };
        assert_eq!(score_of(Metric::Accuracy)(&p), 75.0);
        assert_eq!(score_of(Metric::F1)(&p), 80.0);
        assert_eq!(p.loss(), 0.5);
    }
}
