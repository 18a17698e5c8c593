//! What a run reached: `report.json` and the table at its end.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::bert::names;
use crate::bert::weights::StoredTensor;
use crate::pruning::Pruner;

/// The version of `report.json`.
pub const FORMAT: u32 = 1;

/// What remains of one weight matrix and its bias.
#[derive(Debug, Clone, PartialEq, Serialize)]
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

/// The content of `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
        if !self.pruner.prunes() || off <= TIES {
            return None;
        }
        let [reached, asked] = [self.reached_ratio, self.final_ratio].map(|ratio| 100.0 * ratio);
        let why = match self.steps {
            steps if steps < total => format!("it ended after update {steps} of {total}"),
            _ => "scores tie at the threshold".to_string(),
        };
        Some(format!("{reached:.2} % of the prunable weights remain, not {asked:.2} %: {why}"))
    }

    /// The table for the end of a run.
    pub fn table(&self) -> String {
        let (in_layers, others): (Vec<_>, Vec<_>) =
            self.layers.iter().partition(|row| row.layer.is_some());
        let mut matrices: Vec<&str> = Vec::new();
        for row in &in_layers {
            if !matrices.contains(&row.matrix.as_str()) {
                matrices.push(&row.matrix);
            }
        }
        matrices.sort_by_key(|m| ORDER.iter().position(|o| o.0 == *m));
        let label = |m: &str| ORDER.iter().find(|o| o.0 == m).map_or(m.to_string(), |o| o.1.into());
        let mut out = String::from("remaining %");
        for matrix in &matrices {
            let _ = write!(out, "{:>9}", label(matrix));
        }
        out.push_str("      all\n");
        let mut layers: Vec<Option<usize>> = in_layers.iter().map(|r| r.layer).collect();
        layers.dedup();
        if !in_layers.is_empty() {
            layers.push(None);
        }
        for layer in layers {
            let mine = |r: &&&MatrixReport| layer.is_none() || r.layer == layer;
            let name = layer.map_or("all layers".to_string(), |l| format!("layer {l}"));
            let _ = write!(out, "{name:<11}");
            for matrix in &matrices {
                let part = in_layers.iter().filter(mine).filter(|r| r.matrix == **matrix);
                let _ = write!(out, "{:>9.2}", percent(part.copied()));
            }
            let _ = writeln!(out, "{:>9.2}", percent(in_layers.iter().filter(mine).copied()));
        }
        let width = 11 + 9 * matrices.len();
        for row in others {
            let _ = writeln!(out, "{:<width$}{:>9.2}", row.matrix, percent([row].into_iter()));
        }
        let remaining: usize = self.layers.iter().map(|r| r.remaining).sum();
        let scores: Vec<String> = self
            .dev
            .iter()
            .map(|(k, v)| format!("{k} {:.2}", v.as_f64().unwrap_or(f64::NAN)))
            .collect();
        let rows = [
            ("dev", scores.join("  ")),
            (
                "weights",
                format!(
                    "{remaining} of {} prunable remain; {} parameters in all",
                    self.prunable, self.parameters
                ),
            ),
            ("model", format!("{:.1} MB", self.model_bytes as f64 / 1e6)),
            (
                "time",
                format!(
                    "{:.0} s, {} updates; {:.4} s per update, {:.4} s of it pruning",
                    self.seconds, self.steps, self.seconds_per_step, self.pruning_seconds_per_step
                ),
            ),
            ("memory", format!("{:.0} MB at most", self.peak_rss_bytes as f64 / 1e6)),
        ];
        for (name, value) in rows {
            let _ = writeln!(out, "{name:<11} {value}");
        }
        out
    }
}

/// The matrices of a layer in the order of the computation, with short headings.
const ORDER: [(&str, &str); 12] = [
    ("attention.self.query", "query"),
    ("attention.self.key", "key"),
    ("attention.self.value", "value"),
    ("attention.output.dense", "attn.out"),
    ("intermediate.dense", "ffn.in"),
    ("output.dense", "ffn.out"),
    // DistilBERT's.
    ("attention.q_lin", "query"),
    ("attention.k_lin", "key"),
    ("attention.v_lin", "value"),
    ("attention.out_lin", "attn.out"),
    ("ffn.lin1", "ffn.in"),
    ("ffn.lin2", "ffn.out"),
];

fn percent<'a>(rows: impl Iterator<Item = &'a MatrixReport>) -> f64 {
    let (weights, remaining) =
        rows.fold((0, 0), |(w, r), row| (w + row.weights, r + row.remaining));
    100.0 * remaining as f64 / weights as f64
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

    fn report(pruner: Pruner, reached_ratio: f64, steps: usize) -> Report {
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
            seconds_per_step: 0.1,
            pruning_seconds_per_step: 0.01,
            seconds: 10.0,
            peak_rss_bytes: 1,
            model_bytes: 1,
            layers: counted(),
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
    }

    #[test]
    fn the_table_fits_80_columns() {
        let table = Report { seconds: 99_999.0, ..report(Pruner::Platon, 0.2, 99_999) }.table();
        let six = (6..12).map(|n| MatrixReport {
            layer: Some(n),
            matrix: ORDER[n].0.into(),
            weights: 1,
            remaining: 1,
            ratio: 1.0,
        });
        let other = |matrix: &str| MatrixReport {
            layer: None,
            matrix: matrix.into(),
            weights: 8,
            remaining: 3,
            ratio: 0.375,
        };
        let others =
            ["bert.embeddings.word_embeddings", "bert.encoder.layer.11.attention.output.LayerNorm"];
        let layers = six.chain(others.map(other)).collect();
        let full = Report { layers, ..report(Pruner::Platon, 0.2, 9) }.table();
        for line in table.lines().chain(full.lines()) {
            assert!(line.len() <= 80, "{} columns: {line}", line.len());
        }
        let line = full.lines().find(|line| line.starts_with(others[0])).unwrap();
        assert!(line.ends_with(" 37.50") && line.len() == "remaining %".len() + 7 * 9, "{line}");
        let layers = vec![other(others[0])];
        let alone = Report { layers, ..report(Pruner::Platon, 0.2, 9) }.table();
        assert!(!alone.contains("NaN") && alone.contains("37.50"), "{alone}");
    }
}
