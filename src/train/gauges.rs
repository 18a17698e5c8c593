//! What the dashboard shows, as burn-train's metrics: gauges of the training, and scores of whole
//! evaluation sets.

use std::sync::Arc;

use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes,
    NumericEntry, SerializedEntry,
};

use crate::infer::predictions::Predictions;
use crate::infer::scores::{score_name, score_of};
use crate::infer::sets::SetInfo;
use crate::run::point::{self, GAUGES, Point};

/// What burn-train's metrics read of an update.
#[derive(Debug, Clone)]
pub struct Shown(pub Point);

impl Adaptor<Shown> for Shown {
    fn adapt(&self) -> Shown {
        self.clone()
    }
}

/// Shows one of the [`GAUGES`].
#[derive(Clone)]
pub struct GaugeMetric {
    name: MetricName,
    gauge: point::Gauge,
    /// What the gauge goes to, where that is known.
    target: Option<f64>,
    value: f64,
}

impl GaugeMetric {
    /// All that the dashboard shows of an update of a run to the remaining ratio `ratio`.
    pub fn all(ratio: Option<f64>) -> impl Iterator<Item = Self> {
        // A terminal of 24 rows shows the first two.
        let mut gauges = GAUGES;
        gauges.sort_by_key(|gauge| gauge.name == point::LEARNING_RATE);
        gauges.into_iter().map(move |gauge| {
            let name = Arc::new(gauge.name.to_string());
            let target = ratio.filter(|_| gauge.name == point::REMAINING);
            Self { name, gauge, target, value: 0.0 }
        })
    }
}

impl Metric for GaugeMetric {
    type Input = Shown;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.gauge.higher_is_better }.into()
    }

    fn update(&mut self, shown: &Shown, _metadata: &MetricMetadata) -> SerializedEntry {
        self.value = (self.gauge.read)(&shown.0);
        let mut text = (self.gauge.format)(self.value);
        if let Some(target) = self.target {
            text = format!("{text} to {target}");
        }
        SerializedEntry::new(text, self.value.to_string())
    }

    fn clear(&mut self) {}
}

impl Numeric for GaugeMetric {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}

/// What they read of an evaluation's batch.
#[derive(Debug, Clone)]
pub struct Answered(pub Predictions);

impl Adaptor<Answered> for Answered {
    fn adapt(&self) -> Answered {
        self.clone()
    }
}

/// A score over a whole evaluation set: right once its last batch is in, an estimate before.
#[derive(Clone)]
pub struct SplitScore {
    name: MetricName,
    set: usize,
    score: fn(&Predictions) -> f64,
    higher_is_better: bool,
    seen: Predictions,
    /// The last defined score, shown while the set has not been reached.
    value: f64,
}

impl SplitScore {
    /// The score called `name` of the evaluation set numbered `set`.
    pub fn new(
        name: String,
        set: usize,
        higher_is_better: bool,
        score: fn(&Predictions) -> f64,
    ) -> Self {
        let seen = Predictions { set, ..Predictions::default() };
        Self { name: Arc::new(name), set, score, higher_is_better, seen, value: 0.0 }
    }
}

impl Metric for SplitScore {
    type Input = Answered;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(
        &mut self,
        Answered(batch): &Answered,
        _metadata: &MetricMetadata,
    ) -> SerializedEntry {
        if batch.set == self.set {
            self.seen.extend(batch);
            self.value = (self.score)(&self.seen);
        }
        // Scores are percentages; a loss needs more places.
        let places = if self.higher_is_better { 2 } else { 4 };
        let shown = match self.value.is_nan() {
            true => "undefined".into(),
            false => format!("{:.places$}", self.value),
        };
        SerializedEntry::new(shown, self.value.to_string())
    }

    fn clear(&mut self) {
        self.seen = Predictions { set: self.set, ..Predictions::default() };
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

/// The metrics that burn-train shows for `sets`: loss and scores of each, in order. Their names
/// carry the set's only where there are several.
pub fn split_scores(sets: &[SetInfo]) -> Vec<SplitScore> {
    let labelled = sets.iter().filter(|set| set.labelled).count();
    let mut all = Vec::new();
    for (n, set) in sets.iter().enumerate().filter(|(_, set)| set.labelled) {
        for metric in set.task.metrics {
            let name = score_name(metric.tag(), &set.name, labelled);
            all.push(SplitScore::new(name, n, true, score_of(*metric)));
        }
        let name = score_name("Dev loss", &set.name, labelled);
        all.push(SplitScore::new(name, n, false, |p| p.loss()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::data::dataloader::Progress;

    use crate::glue::task::{Part, task};

    fn metadata() -> MetricMetadata {
        let progress = Progress::new(1, 1);
        MetricMetadata {
            progress: progress.clone(),
            global_progress: progress,
            iteration: None,
            lr: Some(0.5),
        }
    }

    fn batch(set: usize, predicted: &[f32], expected: &[f32]) -> Answered {
        Answered(Predictions {
            set,
            predicted: predicted.to_vec(),
            expected: expected.to_vec(),
            loss_sum: 1.0,
            ..Predictions::default()
        })
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
    fn a_loss_is_shown_with_more_places_than_a_score() {
        let shown = |higher_is_better| {
            let mut score = SplitScore::new("x".into(), 0, higher_is_better, |_| 0.00123);
            score.update(&batch(0, &[1.0], &[1.0]), &metadata()).formatted
        };
        assert_eq!([shown(true), shown(false)], ["0.00", "0.0012"]);
    }

    #[test]
    fn names_carry_the_set_only_where_there_are_several() {
        let names = |task_name: &str, sets: &[&str]| {
            let info = |name: &&str| SetInfo {
                task: task(task_name).unwrap(),
                head: 0,
                name: name.to_string(),
                data_set: String::new(),
                part: Part::Dev,
                uids: Arc::default(),
                labelled: !name.contains("test"),
            };
            let sets: Vec<SetInfo> = sets.iter().map(info).collect();
            split_scores(&sets).iter().map(|s| Metric::name(s).to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("stsb", &["stsb_dev"]), ["Pearson", "Spearman", "Dev loss"]);
        assert_eq!(names("mnli", &["a", "b"]), ["ACC a", "Dev loss a", "ACC b", "Dev loss b"]);
        assert_eq!(names("rte", &["rte_dev", "rte_test"]), ["ACC", "Dev loss"]);
    }

    #[test]
    fn gauges_show_their_part_of_a_point() {
        let point = Point { loss: 0.25, learning_rate: 0.5, ratio: 0.75, ..Point::default() };
        let shown: Vec<String> = GaugeMetric::all(Some(0.2))
            .map(|mut gauge| gauge.update(&Shown(point.clone()), &metadata()).formatted)
            .collect();
        assert_eq!(shown[..2], ["0.2500", "0.7500 to 0.2"]);
        assert_eq!(shown.last().unwrap(), "5.00e-1");
    }
}
