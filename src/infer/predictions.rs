//! What a model answered, and what was right.

use serde::{Deserialize, Serialize};

/// Predictions of one batch of an evaluation set, or of a whole one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Predictions {
    /// Which of the evaluation sets.
    pub set: usize,
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

    /// The predictions of all `parts` of a window of one set; those without places are nobody's.
    pub fn joined(parts: Vec<Self>) -> Self {
        let set = parts.first().map_or(0, |part| part.set);
        let mut all = Self { set, ..Self::default() };
        parts.iter().filter(|part| !part.places.is_empty()).for_each(|part| all.extend(part));
        all
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

    /// The place of the first sample that has a logit which is not finite, and that logit.
    pub fn not_finite(&self) -> Option<(usize, f32)> {
        let outputs = self.logits.len() / self.places.len().max(1);
        let n = self.logits.iter().position(|logit| !logit.is_finite())?;
        Some((*self.places.get(n / outputs.max(1))?, *self.logits.get(n)?))
    }

    /// Mean loss; NaN for no predictions.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.predicted.len() as f64
    }
}

/// The predictions of an evaluation that is under way, set by set.
#[derive(Debug, Clone)]
pub struct Collected {
    sets: Vec<Predictions>,
    /// Samples of all sets, and those seen so far.
    samples: usize,
    seen: usize,
}

impl Collected {
    /// Nothing yet of sets of so many samples.
    pub fn new(sizes: Vec<usize>) -> Self {
        let empty = |set| Predictions { set, ..Predictions::default() };
        let sets = (0..sizes.len()).map(empty).collect();
        Self { sets, samples: sizes.iter().sum(), seen: 0 }
    }

    /// Adds a batch. Once all samples are in, the predictions of each set in its order; the next
    /// batch is then the first of another evaluation.
    pub fn add(&mut self, batch: &Predictions) -> Option<Vec<Predictions>> {
        if let Some(set) = self.sets.get_mut(batch.set) {
            set.extend(batch);
            self.seen += batch.predicted.len();
        }
        if self.seen < self.samples {
            return None;
        }
        self.seen = 0;
        let take = |set: &mut Predictions| {
            let number = set.set;
            std::mem::replace(set, Predictions { set: number, ..Predictions::default() }).in_order()
        };
        Some(self.sets.iter_mut().map(take).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_put_back_into_the_order_of_their_set() {
        let shuffled = Predictions {
            set: 1,
            places: vec![2, 0, 1],
            predicted: vec![1.0, 0.0, 1.0],
            expected: vec![7.0, 8.0, 9.0],
            logits: vec![20.0, 21.0, 0.0, 1.0, 10.0, 11.0],
            loss_sum: 3.0,
        };
        let expected = Predictions {
            set: 1,
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
    fn a_logit_that_is_not_finite_is_found_with_its_sample() {
        let mut predictions = Predictions {
            places: vec![7, 4, 9],
            logits: vec![0.0, 1.0, f32::MAX, f32::MIN, 0.0, 1.0],
            ..Predictions::default()
        };
        assert_eq!(predictions.not_finite(), None);
        predictions.logits[3] = f32::NEG_INFINITY;
        assert_eq!(predictions.not_finite(), Some((4, f32::NEG_INFINITY)));
        assert_eq!(Predictions::default().not_finite(), None);
    }

    #[test]
    fn an_evaluation_is_complete_with_its_last_batch_and_the_next_begins_afresh() {
        let batch = |set: usize, places: &[usize]| Predictions {
            set,
            places: places.to_vec(),
            predicted: places.iter().map(|n| *n as f32).collect(),
            expected: vec![0.0; places.len()],
            logits: vec![0.0; places.len()],
            loss_sum: 1.0,
        };
        let mut collected = Collected::new(vec![3, 1]);
        for _ in 0..2 {
            assert_eq!(collected.add(&batch(0, &[2, 0])), None);
            assert_eq!(collected.add(&batch(1, &[0])), None);
            let all = collected.add(&batch(0, &[1])).unwrap();
            assert_eq!(all[0].predicted, [0.0, 1.0, 2.0]);
            assert_eq!((all[0].loss_sum, all[1].predicted.len()), (2.0, 1));
        }
    }
}
