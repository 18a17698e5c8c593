//! What a run reached: `report.json` and the table at its end.

mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bert::names;
use crate::bert::weights::StoredTensor;
use crate::pruning::{Histogram, Pruner};
use crate::sparse::Shrunk;

pub use table::Shares;

/// The version of `report.json`.
pub const FORMAT: u32 = 1;

/// What remains of one weight matrix and its bias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatrixReport {
    /// Encoder layer, from 0; `None` where it is none of the layers' dense matrices.
    pub layer: Option<usize>,
    /// Hugging Face's name of the matrix inside the layer, as `attention.self.query`, or else the
    /// whole name of the module.
    pub matrix: String,
    /// Weights and biases.
    pub weights: usize,
    /// Those that are not zero.
    pub remaining: usize,
    /// `remaining / weights`.
    pub ratio: f64,
}

/// The updates at which the three phases of a pruning run end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// The last update before pruning.
    pub before: usize,
    /// The last update while the ratio falls.
    pub falling: usize,
    /// The last update of the schedule.
    pub total: usize,
}

/// The content of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the file's form.
    pub format: u32,
    /// The task.
    pub task: String,
    /// What decided which weights went.
    pub pruner: Pruner,
    /// The remaining ratio asked for.
    pub final_ratio: f64,
    /// The share of the prunable weights that are not zero in the saved model.
    pub reached_ratio: f64,
    /// `1 - reached_ratio`.
    pub sparsity: f64,
    /// Number of prunable weights.
    pub prunable: usize,
    /// Number of all parameters.
    pub parameters: usize,
    /// Scores of the last evaluation, times 100.
    pub dev: Map<String, Value>,
    /// Updates done.
    pub steps: usize,
    /// The update of the best evaluation; `None` where nothing was evaluated.
    #[serde(default)]
    pub best_update: Option<usize>,
    /// Mean seconds per update, from the assembly of its batch to the end of the optimizer's step.
    pub seconds_per_step: f64,
    /// Mean seconds per update spent on scores, threshold and masks.
    pub pruning_seconds_per_step: f64,
    /// Seconds of the whole training, evaluations included.
    pub seconds: f64,
    /// Largest amount of memory held, in bytes.
    pub peak_rss_bytes: u64,
    /// The weights' file, in bytes.
    pub model_bytes: u64,
    /// What remains of each matrix.
    pub layers: Vec<MatrixReport>,
    /// Where anything is pruned, the course of it.
    #[serde(default)]
    pub phases: Option<Phases>,
    /// What exact shrinking would leave of each layer.
    #[serde(default)]
    pub shrinking: Vec<Shrunk>,
    /// How the prunable weights of the saved model spread.
    #[serde(default)]
    pub weights: Histogram,
    /// How their scores spread after the last update; `None` where there are none, or where the
    /// process that did this update did not live to tell.
    #[serde(default)]
    pub scores: Option<Histogram>,
    /// The score below which weights went at the last masking; `None` as for `scores`.
    #[serde(default)]
    pub threshold: Option<f64>,
}

/// Counts what remains of the matrices that the tensors `pruned` belong to: layer by layer, then the
/// others.
pub fn count<'a>(
    tensors: &BTreeMap<String, StoredTensor>,
    pruned: impl Iterator<Item = &'a str>,
) -> Vec<MatrixReport> {
    let mut counts: BTreeMap<(bool, Option<usize>, &str), (usize, usize)> = BTreeMap::new();
    for name in pruned {
        let Some(tensor) = tensors.get(name) else { continue };
        let in_layer = names::layer_and_matrix(name).filter(|_| names::is_prunable(name));
        let (layer, matrix) = match in_layer {
            Some((layer, matrix)) => (Some(layer), matrix),
            None => (None, name.rsplit_once('.').map_or(name, |(module, _)| module)),
        };
        let (weights, remaining) = counts.entry((layer.is_none(), layer, matrix)).or_default();
        *weights += tensor.values.len();
        *remaining += tensor.values.iter().filter(|v| **v != 0.0).count();
    }
    counts
        .into_iter()
        .map(|((_, layer, matrix), (weights, remaining))| MatrixReport {
            layer,
            matrix: matrix.to_string(),
            weights,
            remaining,
            ratio: remaining as f64 / weights.max(1) as f64,
        })
        .collect()
}

/// Share of zeros over all matrices together; 0 for none.
pub fn sparsity(layers: &[MatrixReport]) -> f64 {
    let weights: usize = layers.iter().map(|l| l.weights).sum();
    let remaining: usize = layers.iter().map(|l| l.remaining).sum();
    if weights == 0 { 0.0 } else { (weights - remaining) as f64 / weights as f64 }
}

impl Report {
    /// What to say where the ratio that was asked for was not reached in a run planned for `total`
    /// updates.
    pub fn shortfall(&self, total: usize) -> Option<String> {
        /// What scores that tie may make of it.
        const TIES: f64 = 1e-3;
        let off = (self.reached_ratio - self.final_ratio).abs();
        // Of few weights one or two are more than that.
        let rounding = 2.0 / self.prunable.max(1) as f64;
        if !self.pruner.prunes() || off <= TIES.max(rounding) {
            return None;
        }
        let [reached, asked] = [self.reached_ratio, self.final_ratio].map(|ratio| 100.0 * ratio);
        let why = match self.steps {
            steps if steps < total => format!("it ended after update {steps} of {total}"),
            _ => "scores tie at the threshold".to_string(),
        };
        Some(format!("{reached:.2} % of the prunable weights remain, not {asked:.2} %: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> BTreeMap<String, StoredTensor> {
        let tensor =
            |values: &[f32]| StoredTensor { shape: vec![values.len()], values: values.into() };
        BTreeMap::from([
            ("bert.encoder.layer.0.attention.self.query.weight".into(), tensor(&[0.0, 1.0, 0.0])),
            ("bert.encoder.layer.0.attention.self.query.bias".into(), tensor(&[1.0])),
            ("bert.encoder.layer.1.output.dense.weight".into(), tensor(&[0.0, 0.0, -0.0, 2.0])),
            ("bert.encoder.layer.1.output.LayerNorm.weight".into(), tensor(&[0.0])),
            ("classifier.weight".into(), tensor(&[0.0])),
        ])
    }

    /// The rows of the family's own parameters.
    fn counted() -> Vec<MatrixReport> {
        let tensors = tensors();
        let pruned = tensors.keys().map(String::as_str).filter(|name| names::is_prunable(name));
        count(&tensors, pruned)
    }

    #[test]
    fn weights_and_biases_of_what_is_pruned_are_counted() {
        let rows = |layers: &[MatrixReport]| -> Vec<(Option<usize>, String, usize, usize)> {
            let row = |r: &MatrixReport| (r.layer, r.matrix.clone(), r.weights, r.remaining);
            layers.iter().map(row).collect()
        };
        let layers = counted();
        let own = [
            (Some(0), "attention.self.query".to_string(), 4, 2),
            (Some(1), "output.dense".to_string(), 4, 1),
        ];
        assert_eq!(rows(&layers), own);
        let tensors = tensors();
        let all = count(&tensors, tensors.keys().map(String::as_str));
        let others = ["bert.encoder.layer.1.output.LayerNorm", "classifier"];
        let others = others.map(|module| (None, module.to_string(), 1, 0));
        assert_eq!(rows(&all), [own, others].concat());
        assert_eq!(sparsity(&layers), 5.0 / 8.0);
        assert_eq!(sparsity(&[]), 0.0);
    }

    pub(super) fn report(pruner: Pruner, reached_ratio: f64, steps: usize) -> Report {
        Report {
            format: FORMAT,
            task: "rte".into(),
            pruner,
            final_ratio: 0.2,
            reached_ratio,
            sparsity: 1.0 - reached_ratio,
            prunable: 8,
            parameters: 10,
            dev: Map::new(),
            steps,
            best_update: None,
            seconds_per_step: 0.1,
            pruning_seconds_per_step: 0.01,
            seconds: 10.0,
            peak_rss_bytes: 1,
            model_bytes: 1,
            layers: counted(),
            phases: None,
            shrinking: Vec::new(),
            weights: Histogram::default(),
            scores: None,
            threshold: None,
        }
    }

    #[test]
    fn what_was_reached_is_said_where_it_is_not_what_was_asked_for() {
        let shortfall = |reached, steps| report(Pruner::Platon, reached, steps).shortfall(240);
        assert_eq!(shortfall(0.2004, 240), None);
        assert_eq!(
            shortfall(0.82, 55).unwrap(),
            "82.00 % of the prunable weights remain, not 20.00 %: it ended after update 55 of 240"
        );
        assert!(shortfall(0.9, 240).unwrap().ends_with("scores tie at the threshold"));
        assert_eq!(report(Pruner::None, 1.0, 240).shortfall(240), None);
        // Of eight weights no share is nearer to 20 % than two of them are; three are too many.
        assert_eq!(shortfall(0.25, 240), None);
        assert_eq!(shortfall(0.45, 240), None);
        assert!(shortfall(0.46, 240).is_some());
    }
}
