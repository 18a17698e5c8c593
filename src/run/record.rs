//! Where a run stands: what a checkpoint holds besides burn's records.

use serde::{Deserialize, Serialize};
use toml::Table;

use super::point::Gauges;
use crate::bert::BertConfig;
use crate::infer::scores::ScoresRecord;

/// What losses are multiplied by in half precision.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaleRecord {
    /// A power of two, so that it can be taken back exactly.
    pub factor: f64,
    /// Updates since it changed.
    pub updates: usize,
}

/// What a checkpoint belongs to. A run that has anything else does not go on from it: the hash of
/// `progress.json` in the manifest vouches for this too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The settings that decide the weights, as they are written to `config.toml`.
    pub settings: Table,
    /// The encoder's sizes and constants.
    pub bert: BertConfig,
    /// The names of the task's classes in order; none of a regression.
    pub labels: Vec<String>,
    /// The fingerprint of the samples, for training and evaluation.
    pub data: String,
    /// What is measured on each task, in the order in which scores are kept; none in checkpoints of older
    /// versions.
    #[serde(default)]
    pub metrics: Vec<Vec<String>>,
}

/// What a checkpoint's `progress.json` holds: where the run stands after an update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The last update done, from 1; 0 before the first.
    pub update: usize,
    /// The update of the last complete evaluation; 0 before the first.
    pub evaluated_at: usize,
    /// Sum of the losses since the last logged update.
    pub loss_sum: f64,
    /// Their number.
    pub losses: usize,
    /// The gauges of the last update, by their keys in `metrics.jsonl`.
    pub gauges: Gauges,
    /// The scores of the last evaluation.
    pub scores: Vec<ScoresRecord>,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// The length of `metrics.jsonl`, in bytes.
    pub metrics_bytes: u64,
    /// The event file, and its length in bytes.
    pub events: Option<(String, u64)>,
    /// Seconds of all updates.
    pub seconds: f64,
    /// Seconds of the pruning in all updates.
    pub pruning_seconds: f64,
    /// Seconds of the run, evaluations included.
    pub wall_seconds: f64,
    /// Of runs in half precision.
    pub loss_scale: Option<LossScaleRecord>,
    /// What it belongs to; `None` before the first checkpoint.
    pub binding: Option<Binding>,
}

/// An evaluation that none has surpassed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Its update.
    pub update: usize,
    /// Whether the final ratio was reached: only then is the model what the run is for.
    pub at_final_ratio: bool,
    /// The mean of the task's main metric over the dev sets, or [`UNDEFINED`].
    pub score: f64,
}

/// Stands for a score that is not defined, as the correlation of constant predictions: below any other.
pub const UNDEFINED: f64 = f64::MIN;

impl Best {
    /// The better of two; the later one of equals.
    pub fn or(self, later: Self) -> Self {
        let earlier_wins = (self.at_final_ratio, self.score) > (later.at_final_ratio, later.score);
        if earlier_wins { self } else { later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_at_the_final_ratio_is_better_than_any_before() {
        let best = |update, at_final_ratio, score| Best { update, at_final_ratio, score };
        assert_eq!(best(1, false, 90.0).or(best(2, true, 50.0)).update, 2);
        assert_eq!(best(1, true, 60.0).or(best(2, true, 50.0)).update, 1);
        assert_eq!(best(1, true, 60.0).or(best(2, true, 60.0)).update, 2);
        assert_eq!(best(1, false, 60.0).or(best(2, true, UNDEFINED)).update, 2);
        assert_eq!(best(1, true, UNDEFINED).or(best(2, true, -60.0)).update, 2);
        let json = serde_json::to_string(&best(1, true, UNDEFINED)).unwrap();
        assert_eq!(serde_json::from_str::<Best>(&json).unwrap().score, UNDEFINED);
        assert_eq!(best(1, true, 60.0).or(best(2, false, 70.0)).update, 1);
    }

    #[test]
    fn numbers_come_back_bit_for_bit() {
        let record = RunRecord {
            loss_sum: 0.1 + 0.2,
            seconds: 1.0 / 3.0,
            best: Some(Best { update: 3, at_final_ratio: true, score: 200.0 / 3.0 }),
            binding: Some(Binding {
                settings: "a = 0.1\nb = 2.0\nc = 2\nd = -1\ne = [\"x\"]".parse().unwrap(),
                bert: BertConfig::from_json(
                    serde_json::json!({"vocab_size": 5, "hidden_size": 4, "num_hidden_layers": 1,
                        "num_attention_heads": 2, "intermediate_size": 8}),
                    "config.json".as_ref(),
                )
                .unwrap(),
                labels: vec!["yes".into()],
                data: "0f".into(),
                metrics: vec![vec!["ACC".into()]],
            }),
            ..RunRecord::default()
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<RunRecord>(&text).unwrap(), record);
    }
}
