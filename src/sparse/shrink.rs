//! Leaves out what zeros make superfluous. What remains computes the same.
//!
//! - A neuron of the feed-forward layer whose output nobody reads, and one that reads nothing: it
//!   always gives its activation of the bias, which goes into the next layer's bias.
//! - A dimension of the values that the attention's output layer never reads, and one that reads
//!   nothing: attention weights sum to one, so it always gives its bias, which goes into the next.
//! - A dimension of queries and keys that is zero on either side: it adds nothing to a score. Where
//!   a key's dimension reads nothing, it adds the same to the scores of all keys of a query, which
//!   the softmax does not see.
//! - A head none of whose values are left.

use serde::{Deserialize, Serialize};

use super::attention::HeadSize;
use super::rowwise::apply;
use super::vector::Instructions;
use super::weights::{Layer, Linear};
use crate::activation::Activation;

/// How many of how many are left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Those that remain.
    pub alive: usize,
    /// Those that there were.
    pub of: usize,
}

/// What is left of one layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// Neurons of the feed-forward layer.
    pub neurons: Left,
    /// Dimensions of queries and keys.
    pub keys: Left,
    /// Dimensions of values.
    pub values: Left,
    /// Heads.
    pub heads: Left,
}

impl Left {
    fn of(kept: &[bool]) -> Self {
        Self { alive: kept.iter().filter(|kept| **kept).count(), of: kept.len() }
    }
}

impl std::ops::Add for Left {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { alive: self.alive + other.alive, of: self.of + other.of }
    }
}

impl std::ops::Add for Shrunk {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            neurons: self.neurons + other.neurons,
            keys: self.keys + other.keys,
            values: self.values + other.values,
            heads: self.heads + other.heads,
        }
    }
}

impl std::iter::Sum for Shrunk {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum + one)
    }
}

/// The layer without what is superfluous, and what is left of it. Results differ by rounding only.
pub fn shrink(mut layer: Layer) -> (Layer, Shrunk) {
    let activation = layer.activation;
    let constant = |bias| of_one(activation, bias);
    let neurons = kept(&mut layer.feed_forward, &layer.intermediate, constant);
    let values = kept(&mut layer.output, &layer.value, |bias| bias);
    let mut keys = kept_keys(&layer);
    let (mut sizes, mut alive) = (Vec::new(), Vec::new());
    let (mut first, mut first_value) = (0, 0);
    for size in &layer.heads {
        let of_values = &values[first_value..first_value + size.values];
        let of_keys = &mut keys[first..first + size.keys];
        let left = Left::of(of_values).alive;
        alive.push(left > 0);
        if left == 0 {
            of_keys.fill(false);
        }
        sizes.push(HeadSize { keys: Left::of(of_keys).alive, values: left });
        (first, first_value) = (first + size.keys, first_value + size.values);
    }
    let shrunk = Shrunk {
        neurons: Left::of(&neurons),
        keys: Left::of(&keys),
        values: Left::of(&values),
        heads: Left::of(&alive),
    };
    let [neurons, keys, values] = [neurons, keys, values].map(|kept| places(&kept));
    layer.intermediate = pick(&layer.intermediate, &neurons);
    layer.feed_forward.weight = layer.feed_forward.weight.select_columns(&neurons);
    layer.value = pick(&layer.value, &values);
    layer.output.weight = layer.output.weight.select_columns(&values);
    layer.query = pick(&layer.query, &keys);
    layer.key = pick(&layer.key, &keys);
    layer.heads = sizes.into_iter().filter(|size| size.values > 0).collect();
    (layer, shrunk)
}

/// Which outputs of `before` are needed by `after`. The bias of `after` takes in what those give that
/// read nothing: `constant` of their bias.
fn kept(after: &mut Linear, before: &Linear, constant: impl Fn(f32) -> f32) -> Vec<bool> {
    let reads = before.weight.used_rows();
    let mut sums: Vec<f64> = after.bias.iter().map(|bias| f64::from(*bias)).collect();
    for (row, column, weight) in after.weight.elements() {
        if !reads[column] {
            sums[row] += f64::from(weight) * f64::from(constant(before.bias[column]));
        }
    }
    for (bias, sum) in after.bias.iter_mut().zip(sums) {
        *bias = sum as f32;
    }
    let is_read = after.weight.used_columns();
    reads.into_iter().zip(is_read).map(|(reads, is_read)| reads && is_read).collect()
}

/// Which dimensions of queries and keys tell one key from another.
fn kept_keys(layer: &Layer) -> Vec<bool> {
    let queries = layer.query.weight.used_rows().into_iter().zip(&layer.query.bias);
    let queries = queries.map(|(reads, bias)| reads || *bias != 0.0);
    queries.zip(layer.key.weight.used_rows()).map(|(query, key)| query && key).collect()
}

fn of_one(activation: Activation, x: f32) -> f32 {
    let mut vector = [x; 8];
    apply(activation, Instructions::Portable, &mut vector);
    vector[0]
}

fn places(kept: &[bool]) -> Vec<usize> {
    (0..).zip(kept).filter(|(_, kept)| **kept).map(|(n, _)| n).collect()
}

fn pick(layer: &Linear, rows: &[usize]) -> Linear {
    let bias = rows.iter().map(|row| layer.bias[*row]).collect();
    Linear { weight: layer.weight.select_rows(rows), bias }
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
