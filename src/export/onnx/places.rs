//! Where what remains of a layer stands in the matrices of a graph.

use crate::sparse::Rows;
use crate::sparse::weights::Linear;

/// The places of the outputs or inputs of a dense layer among those of a wider one.
#[derive(Debug, Clone, PartialEq)]
pub struct Places {
    places: Vec<usize>,
    /// The number of all, taken or not.
    pub width: usize,
}

impl Places {
    /// So many, each in its own place.
    pub fn all(count: usize) -> Self {
        Self { places: (0..count).collect(), width: count }
    }

    /// Heads of these sizes, each of which gets room for the largest, and for one dimension at
    /// least. Places that are left over stay zero.
    pub fn of_heads(sizes: &[usize]) -> Self {
        let room = Self::room(sizes);
        let places = sizes.iter().enumerate().flat_map(|(n, size)| n * room..n * room + size);
        Self { places: places.collect(), width: sizes.len() * room }
    }

    /// The dimensions that each head has room for.
    pub fn room(sizes: &[usize]) -> usize {
        sizes.iter().copied().max().unwrap_or(0).max(1)
    }

    /// `values` in their places.
    pub fn spread(&self, values: &[f32]) -> Vec<f32> {
        let mut spread = vec![0.0; self.width];
        for (place, value) in self.places.iter().zip(values) {
            if let Some(element) = spread.get_mut(*place) {
                *element = *value;
            }
        }
        spread
    }
}

/// A dense layer in the form that `MatMul` and `Add` take.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Number of inputs.
    pub inputs: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// `[inputs, outputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

impl Dense {
    /// `linear` with its outputs and inputs in these places.
    pub fn new(linear: &Linear, outputs: &Places, inputs: &Places) -> Self {
        Self {
            inputs: inputs.width,
            outputs: outputs.width,
            weight: turned(&linear.weight, outputs, inputs),
            bias: outputs.spread(&linear.bias),
        }
    }

    /// The dense layer of a whole weight `[outputs, inputs]`.
    pub fn whole([outputs, inputs]: [usize; 2], weight: &[f32], bias: Vec<f32>) -> Self {
        let columns = |input| weight.iter().skip(input).step_by(inputs.max(1));
        let weight = (0..inputs).flat_map(columns).copied().collect();
        Self { inputs, outputs, weight, bias }
    }
}

/// `[outputs, inputs]` to `[inputs, outputs]`, in these places.
fn turned(matrix: &Rows, outputs: &Places, inputs: &Places) -> Vec<f32> {
    let mut values = vec![0.0; inputs.width * outputs.width];
    for (row, column, value) in matrix.elements() {
        let place = inputs.places.get(column).zip(outputs.places.get(row));
        let place = place.map(|(input, output)| input * outputs.width + output);
        if let Some(element) = place.and_then(|place| values.get_mut(place)) {
            *element = value;
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stand_apart_as_far_as_the_widest_needs() {
        let heads = Places::of_heads(&[1, 3, 0]);
        assert_eq!(heads, Places { places: vec![0, 3, 4, 5], width: 9 });
        let spread = [1.0, 0.0, 0.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0];
        assert_eq!(heads.spread(&[1.0, 2.0, 3.0, 4.0]), spread);
        // Scores of nothing are 0 for every key: a dimension of zeros gives them.
        assert_eq!(Places::of_heads(&[0, 0]), Places { places: vec![], width: 2 });
    }

    #[test]
    fn a_weight_is_turned_and_spread() {
        let weight = Rows::dense([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let linear = Linear { weight, bias: vec![0.5, 0.25] };
        let (outputs, inputs) = (Places::of_heads(&[1, 1]), Places::all(3));
        let dense = Dense::new(&linear, &outputs, &inputs);
        assert_eq!((dense.inputs, dense.outputs), (3, 2));
        assert_eq!(dense.weight, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let whole = Dense::whole([2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![0.5, 0.25]);
        assert_eq!(dense, whole);
        let apart = Places { places: vec![0, 3], width: 4 };
        let dense = Dense::new(&linear, &apart, &inputs);
        assert_eq!(dense.weight[..8], [1.0, 0.0, 0.0, 4.0, 2.0, 0.0, 0.0, 5.0]);
        assert_eq!(dense.bias, [0.5, 0.0, 0.0, 0.25]);
    }
}
