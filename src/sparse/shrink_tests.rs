use super::*;
use crate::sparse::Rows;
use crate::sparse::rowwise::Norm;

fn linear(shape: [usize; 2], weight: &[f32], bias: &[f32]) -> Linear {
    Linear { weight: Rows::dense(shape, weight), bias: bias.to_vec() }
}

/// A layer of two heads of two dimensions over four features, and of four neurons.
fn layer() -> Layer {
    let norm = Norm { gamma: vec![1.0; 4], beta: vec![0.0; 4], epsilon: 1e-12 };
    let full = linear([4, 4], &[1.0; 16], &[0.5; 4]);
    let (heads, scale) = Layer::whole_heads(4, 2);
    Layer {
        heads,
        scale,
        query: full.clone(),
        key: full.clone(),
        value: full.clone(),
        output: full.clone(),
        attention_norm: norm.clone(),
        intermediate: full.clone(),
        activation: Activation::Gelu,
        feed_forward: full,
        norm,
    }
}

fn left(alive: usize, of: usize) -> Left {
    Left { alive, of }
}

#[test]
fn a_layer_without_zeros_stays_as_it_is() {
    let (shrunk, left_of) = shrink(layer());
    assert_eq!(shrunk, layer());
    let all = left(4, 4);
    assert_eq!(left_of, Shrunk { neurons: all, keys: all, values: all, heads: left(2, 2) });
}

#[test]
fn neurons_that_nobody_reads_go_and_those_that_read_nothing_go_into_the_next_bias() {
    let mut layer = layer();
    // Neuron 1 is not read; neuron 2 reads nothing, and gives GELU(0.75).
    let weight = [1.0, 0.0, 2.0, 4.0].repeat(4);
    layer.feed_forward = linear([4, 4], &weight, &[0.0, 1.0, 2.0, 3.0]);
    let mut weight = [1.0; 16];
    weight[8..12].fill(0.0);
    layer.intermediate = linear([4, 4], &weight, &[0.1, 0.2, 0.75, 0.3]);
    let (layer, shrunk) = shrink(layer);
    assert_eq!(shrunk.neurons, left(2, 4));
    assert_eq!(layer.intermediate, linear([2, 4], &[1.0; 8], &[0.1, 0.3]));
    assert_eq!(layer.feed_forward.weight.to_dense(), [1.0, 4.0].repeat(4));
    // GELU(0.75) = 0.75 * Phi(0.75) = 0.75 * 0.773372648 (math.erf of Python 3.11).
    for (n, bias) in layer.feed_forward.bias.iter().enumerate() {
        assert!((bias - (n as f32 + 2.0 * 0.580_029_5)).abs() < 1e-6, "{bias}");
    }
}

#[test]
fn a_dimension_of_values_that_reads_nothing_gives_its_bias() {
    let mut layer = layer();
    let mut weight = [1.0; 16];
    weight[4..8].fill(0.0);
    layer.value = linear([4, 4], &weight, &[0.5, 3.0, 0.5, 0.5]);
    // The output layer does not read dimension 2.
    layer.output = linear([4, 4], &[1.0, 2.0, 0.0, 1.0].repeat(4), &[1.0; 4]);
    let (layer, shrunk) = shrink(layer);
    assert_eq!((shrunk.values, shrunk.heads), (left(2, 4), left(2, 2)));
    assert_eq!(layer.output, linear([4, 2], &[1.0; 8], &[7.0; 4]));
    assert_eq!(layer.heads, [HeadSize { keys: 2, values: 1 }; 2]);
}

#[test]
fn dimensions_of_queries_and_keys_go_where_they_tell_no_key_from_another() {
    let mut layer = layer();
    // A query's dimension without weights but with a bias weighs the keys' still.
    let mut weight = [1.0; 16];
    weight[..8].fill(0.0);
    layer.query = linear([4, 4], &weight, &[0.0, 1.0, 1.0, 1.0]);
    // A key's bias alone is the same for all keys.
    let mut weight = [1.0; 16];
    weight[12..].fill(0.0);
    layer.key = linear([4, 4], &weight, &[2.0; 4]);
    let (layer, shrunk) = shrink(layer);
    assert_eq!(shrunk.keys, left(2, 4));
    assert_eq!(layer.heads, [HeadSize { keys: 1, values: 2 }; 2]);
    assert_eq!(layer.query.bias, [1.0, 1.0]);
    assert_eq!(layer.query.weight.to_dense(), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn a_head_without_values_goes_with_its_queries_and_keys() {
    let mut layer = layer();
    layer.output = linear([4, 4], &[0.0, 0.0, 1.0, 1.0].repeat(4), &[0.0; 4]);
    let (layer, shrunk) = shrink(layer);
    assert_eq!((shrunk.heads, shrunk.keys), (left(1, 2), left(2, 4)));
    assert_eq!(layer.heads, [HeadSize { keys: 2, values: 2 }]);
    assert_eq!((layer.query.weight.height(), layer.output.weight.width()), (2, 2));
}
