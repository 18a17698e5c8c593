//! burn-train metrics: gauges of the training, and scores of whole evaluation sets.

use std::sync::Arc;

use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

/// What is known about one update once it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainPoint {
    /// Mean loss of its batch.
    pub loss: f64,
    /// Remaining ratio that the schedule asks for.
    pub ratio: f64,
    /// Share of the prunable weights that are zero; 0 before the first masking.
    pub sparsity: f64,
    /// Score below which weights were set to zero at the last masking; 0 before the first.
    pub threshold: f64,
    /// Updates per second, lately.
    pub speed: f64,
}

impl Adaptor<TrainPoint> for TrainPoint {
    fn adapt(&self) -> TrainPoint {
        self.clone()
    }
}

/// Shows one number of a [`TrainPoint`].
#[derive(Clone)]
pub struct Gauge {
    name: MetricName,
    read: fn(&TrainPoint, &MetricMetadata) -> f64,
    format: fn(f64) -> String,
    higher_is_better: bool,
    value: f64,
}

impl Gauge {
    /// A gauge called `name` that shows what `read` finds.
    pub fn new(
        name: &str,
        higher_is_better: bool,
        format: fn(f64) -> String,
        read: fn(&TrainPoint, &MetricMetadata) -> f64,
    ) -> Self {
        Self { name: Arc::new(name.to_string()), read, format, higher_is_better, value: 0.0 }
    }
}

impl Metric for Gauge {
    type Input = TrainPoint;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, point: &TrainPoint, metadata: &MetricMetadata) -> SerializedEntry {
        self.value = (self.read)(point, metadata);
        SerializedEntry::new((self.format)(self.value), self.value.to_string())
    }

    fn clear(&mut self) {}
}

impl Numeric for Gauge {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

/// Predictions of one batch of an evaluation set, or of a whole one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// Which of the evaluation sets.
    pub data_set: usize,
    /// Where the samples stand in their set.
    pub places: Vec<usize>,
    /// Predicted classes, or values for regression.
    pub predicted: Vec<f32>,
    /// True classes, or values.
    pub expected: Vec<f32>,
    /// The model's outputs, sample by sample: class scores before the softmax, or the value.
    pub logits: Vec<f32>,
    /// Sum of the losses of these samples.
    pub loss_sum: f64,
}

impl Predictions {
    /// Adds the predictions of another batch of the same set.
    pub fn extend(&mut self, other: &Self) {
        self.places.extend(&other.places);
        self.logits.extend(&other.logits);
        self.predicted.extend(&other.predicted);
        self.expected.extend(&other.expected);
        self.loss_sum += other.loss_sum;
    }

    /// Puts the predictions into the order of the samples in their set.
    #[must_use]
    pub fn in_order(self) -> Self {
        let mut order: Vec<usize> = (0..self.places.len()).collect();
        order.sort_by_key(|n| self.places.get(*n));
        let outputs = self.logits.len() / self.places.len().max(1);
        let pick = |values: &[f32]| order.iter().filter_map(|n| values.get(*n)).copied().collect();
        let rows = order.iter().filter_map(|n| self.logits.get(n * outputs..(n + 1) * outputs));
        Self {
            predicted: pick(&self.predicted),
            expected: pick(&self.expected),
            logits: rows.flatten().copied().collect(),
            places: order.iter().filter_map(|n| self.places.get(*n)).copied().collect(),
            ..self
        }
    }

    /// Mean loss; NaN for no predictions.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.predicted.len() as f64
    }
}

impl Adaptor<Predictions> for Predictions {
    fn adapt(&self) -> Predictions {
        self.clone()
    }
}

/// A score over a whole evaluation set: right once its last batch is in, an estimate before.
#[derive(Clone)]
pub struct SplitScore {
    name: MetricName,
    data_set: usize,
    score: fn(&Predictions) -> f64,
    higher_is_better: bool,
    seen: Predictions,
    /// The last defined score, shown while the set has not been reached.
    value: f64,
}

impl SplitScore {
    /// The score called `name` of the evaluation set numbered `data_set`.
    pub fn new(
        name: String,
        data_set: usize,
        higher_is_better: bool,
        score: fn(&Predictions) -> f64,
    ) -> Self {
        let seen = Predictions { data_set, ..Predictions::default() };
        Self { name: Arc::new(name), data_set, score, higher_is_better, seen, value: 0.0 }
    }
}

impl Metric for SplitScore {
    type Input = Predictions;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, batch: &Predictions, _metadata: &MetricMetadata) -> SerializedEntry {
        if batch.data_set == self.data_set {
            self.seen.extend(batch);
            self.value = (self.score)(&self.seen);
        }
        let shown =
            if self.value.is_nan() { "undefined".into() } else { format!("{:.2}", self.value) };
        SerializedEntry::new(shown, self.value.to_string())
    }

    fn clear(&mut self) {
        self.seen = Predictions { data_set: self.data_set, ..Predictions::default() };
    }
}

impl Numeric for SplitScore {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;

    fn metadata() -> MetricMetadata {
        let progress = Progress::new(1, 1);
        MetricMetadata {
            progress: progress.clone(),
            global_progress: progress,
            iteration: None,
            lr: Some(0.5),
        }
    }

    fn batch(data_set: usize, predicted: &[f32], expected: &[f32]) -> Predictions {
        Predictions {
            data_set,
            predicted: predicted.to_vec(),
            expected: expected.to_vec(),
            loss_sum: 1.0,
            ..Predictions::default()
        }
    }

    fn share_of_ones(p: &Predictions) -> f64 {
        p.predicted.iter().filter(|v| **v == 1.0).count() as f64 / p.predicted.len() as f64
    }

    #[test]
    fn a_split_score_covers_all_batches_of_its_own_set_and_no_other() {
        let mut score = SplitScore::new("ACC".into(), 1, true, share_of_ones);
        score.update(&batch(1, &[1.0], &[1.0]), &metadata());
        score.update(&batch(0, &[0.0, 0.0], &[1.0, 1.0]), &metadata());
        score.update(&batch(1, &[0.0, 0.0, 1.0], &[1.0, 1.0, 1.0]), &metadata());
        assert_eq!(score.value().current(), 0.5);
        score.clear();
        score.update(&batch(1, &[0.0], &[1.0]), &metadata());
        assert_eq!(score.value().current(), 0.0, "an evaluation starts afresh");
    }

    #[test]
    fn predictions_are_put_back_into_the_order_of_their_set() {
        let shuffled = Predictions {
            data_set: 1,
            places: vec![2, 0, 1],
            predicted: vec![1.0, 0.0, 1.0],
            expected: vec![7.0, 8.0, 9.0],
            logits: vec![20.0, 21.0, 0.0, 1.0, 10.0, 11.0],
            loss_sum: 3.0,
        };
        let expected = Predictions {
            data_set: 1,
            places: vec![0, 1, 2],
            predicted: vec![0.0, 1.0, 1.0],
            expected: vec![8.0, 9.0, 7.0],
            logits: vec![0.0, 1.0, 10.0, 11.0, 20.0, 21.0],
            loss_sum: 3.0,
        };
        assert_eq!(shuffled.in_order(), expected);
        assert_eq!(Predictions::default().in_order(), Predictions::default());
    }

    #[test]
    fn a_gauge_shows_the_learning_rate_that_burn_reports() {
        let mut gauge =
            Gauge::new("Learning rate", false, |v| format!("{v:.1}"), |_, m| m.lr.unwrap_or(0.0));
        let point = TrainPoint { loss: 0.0, ratio: 1.0, sparsity: 0.0, threshold: 0.0, speed: 0.0 };
        assert_eq!(gauge.update(&point, &metadata()).formatted, "0.5");
    }
}
