//! Each backend's own kernels inside the model against the default bodies, as NdArray runs them.

use burn::tensor::backend::Backend;
use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};
use platon::activation::Activation;
use platon::kernels::operands::{
    AddNormGradients, Dense, DenseGradients, EmbedGradients, Heads, Norm, Setup, Tables, TokenIds,
};
use platon::kernels::{LayerKernels, Precision, Products, Queries, Sequences, Zeros};

use crate::backends::on_every_backend;
use crate::kernels::{Reference, close, on, random};

on_every_backend!(
    dense_layers_equal_their_default_body,
    activations_show_what_is_not_a_number,
    normalisation_equals_its_default_body,
    attention_equals_its_default_body,
    embeddings_equal_their_default_body,
    packed_attention_equals_padded_attention,
    first_tokens_alone_get_what_they_get_among_all,
);

/// Rows and width: one token, less than a vector, no multiple of one, many rows.
const SHAPES: [[usize; 2]; 4] = [[1, 384], [3, 5], [33, 19], [512, 64]];

/// Products of all weights.
const PLAIN: Products = Products { precision: Precision::Single, zeros: Zeros::Multiply };

pub fn matrix<B: Backend>(values: &[f32], shape: [usize; 2]) -> Tensor<B, 2> {
    on::<B>(values).reshape(shape)
}

fn dense<B: Backend>(weight: &[f32], bias: &[f32], products: Products) -> Dense<B> {
    let outputs = bias.len();
    let weight = matrix(weight, [weight.len() / outputs, outputs]);
    Dense { weight, bias: on(bias), products }
}

fn dense_layers_equal_their_default_body<B: LayerKernels>() {
    fn run<B: LayerKernels>(
        [x, weight, bias, grad]: [&[f32]; 4],
        [rows, inputs, outputs]: [usize; 3],
        activation: Option<Activation>,
        products: Products,
    ) -> ([Tensor<B, 2>; 3], [Tensor<B, 1>; 1]) {
        let x = matrix::<B>(x, [rows, inputs]);
        let grad = matrix(grad, [rows, outputs]);
        let layer = dense::<B>(weight, bias, products);
        let weight = layer.weight.clone();
        let (output, DenseGradients { x, weight, bias }) = if let Some(f) = activation {
            let (without, none) = B::dense_activated_forward(x.clone(), layer.clone(), f, false);
            let (output, slope) = B::dense_activated_forward(x.clone(), layer, f, true);
            assert!(none.is_none());
            // The same bits but on GPUs, where what is computed together may be contracted.
            close([without], [output.clone()], 5e-9);
            let slope = slope.unwrap();
            (output, B::dense_activated_backward(x, weight, slope, grad, products))
        } else {
            let output = B::dense_forward(x.clone(), layer);
            (output, B::dense_backward(x, weight, grad, products))
        };
        ([output, x, weight], [bias])
    }
    for [rows, inputs] in SHAPES {
        for outputs in [1, 48] {
            let sizes = [rows * inputs, inputs * outputs, outputs, rows * outputs];
            let shape = [rows, inputs, outputs];
            let all = sizes.map(|n| random(n, -1.0, 1.0));
            // A matrix of which little remains, whose zeros may be left out.
            let mut few = all.clone();
            few[1].iter_mut().enumerate().filter(|(n, _)| n % 7 != 0).for_each(|(_, v)| *v = 0.0);
            for (values, zeros) in [(all, Zeros::Multiply), (few, Zeros::Skip)] {
                let values = values.each_ref().map(Vec::as_slice);
                let activations = Activation::NAMES.map(|(_, activation)| Some(activation));
                for activation in [None].into_iter().chain(activations) {
                    let got = run::<B>(values, shape, activation, Products { zeros, ..PLAIN });
                    let want = run::<Reference>(values, shape, activation, PLAIN);
                    // Sums over up to 512 products.
                    close(got.0, want.0, 5e-5);
                    close(got.1, want.1, 5e-5);
                }
            }
        }
    }
}

fn activations_show_what_is_not_a_number<B: LayerKernels>() {
    for (name, activation) in Activation::NAMES {
        for keep in [false, true] {
            let x = matrix::<B>(&[f32::NAN, 1.0, 0.5, 2.0], [2, 2]);
            let layer = dense::<B>(&[1.0; 6], &[0.5; 3], PLAIN);
            let (output, _) = B::dense_activated_forward(x, layer, activation, keep);
            let output: Vec<f32> = output.into_data().iter().collect();
            assert!(output[..3].iter().all(|y| y.is_nan()), "{name}: {output:?}");
            assert!(output[3..].iter().all(|y| y.is_finite()), "{name}: {output:?}");
        }
    }
}

pub fn norm<B: Backend>(gamma: &[f32], beta: &[f32]) -> Norm<B> {
    Norm { gamma: on(gamma), beta: on(beta), epsilon: 1e-12 }
}

fn normalisation_equals_its_default_body<B: LayerKernels>() {
    fn run<B: LayerKernels>(
        [x, residual, grad, gamma, beta]: [&[f32]; 5],
        shape: [usize; 2],
    ) -> ([Tensor<B, 2>; 3], [Tensor<B, 1>; 2]) {
        let [x, residual, grad] = [x, residual, grad].map(|v| matrix::<B>(v, shape));
        let (output, saved) = B::add_norm_forward(x, residual, norm(gamma, beta), None, true);
        let AddNormGradients { x, residual, gamma, beta } =
            B::add_norm_backward(saved.unwrap(), on(gamma), grad, None);
        ([output, x, residual], [gamma, beta])
    }
    for shape @ [rows, width] in SHAPES {
        let [x, r, grad] = [0, 1, 2].map(|_| random(rows * width, -2.0, 2.0));
        let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
        let values: [&[f32]; 5] = [&x, &r, &grad, &gamma, &beta];
        let (got, want) = (run::<B>(values, shape), run::<Reference>(values, shape));
        close(got.0, want.0, 5e-6);
        // Sums over up to 512 rows.
        close(got.1, want.1, 1e-4);
    }
}

/// Batches by the lengths of their sequences: one token, one sequence, the longest that BERT takes,
/// lengths that are no multiple of a vector's.
fn batches() -> Vec<Vec<usize>> {
    vec![vec![1], vec![13], vec![512, 3], vec![1, 17, 16, 40]]
}

pub const HEADS: usize = 3;
pub const WIDTH: usize = HEADS * 7;

pub fn heads<B: Backend>(values: &[Vec<f32>; 3], rows: usize) -> Heads<B> {
    let [query, key, value] = values.each_ref().map(|v| matrix(v, [rows, WIDTH]));
    Heads { query, key, value }
}

fn attend<B: LayerKernels>(
    values: &[Vec<f32>; 3],
    grad: &[f32],
    sequences: &Sequences,
    queries: Queries,
) -> [Tensor<B, 2>; 4] {
    let rows = sequences.rows();
    let asking = queries.rows(sequences);
    let mut inputs = heads::<B>(values, rows);
    // The queries of first tokens are the first rows of those of all, whatever they hold.
    inputs.query = inputs.query.slice([0..asking, 0..WIDTH]);
    let grad = matrix::<B>(grad, [rows, WIDTH]).slice([0..asking, 0..WIDTH]);
    let setup = Setup { heads: HEADS, queries, dropout: None, precision: Precision::Single };
    let (without, none) = B::attention_forward(inputs.clone(), sequences, setup, false);
    let (context, saved) = B::attention_forward(inputs.clone(), sequences, setup, true);
    assert!(none.is_none());
    close([without], [context.clone()], 0.0);
    let Heads { query, key, value } =
        B::attention_backward(inputs, saved.unwrap(), grad, sequences, setup);
    [context, query, key, value]
}

fn attention_equals_its_default_body<B: LayerKernels>() {
    for (lengths, queries) in
        batches().into_iter().flat_map(|b| [(b.clone(), Queries::All), (b, Queries::First)])
    {
        let sequences = Sequences::new(lengths, None);
        let n = sequences.rows() * WIDTH;
        let values = [0, 1, 2].map(|_| random(n, -2.0, 2.0));
        let grad = random(n, -1.0, 1.0);
        let got = attend::<B>(&values, &grad, &sequences, queries);
        close(got, attend::<Reference>(&values, &grad, &sequences, queries), 5e-6);
    }
}

fn packed_attention_equals_padded_attention<B: LayerKernels>() {
    for lengths in batches() {
        let packed = Sequences::new(lengths.clone(), None);
        let padded = Sequences::new(lengths, Some(packed.longest() + 2));
        let n = packed.rows() * WIDTH;
        let values = [0, 1, 2].map(|_| random(n, -2.0, 2.0));
        let grad = random(n, -1.0, 1.0);
        // Padding holds numbers that must not matter.
        let spread = |values: &[f32], filler: f32| {
            let mut spread = vec![filler; padded.rows() * WIDTH];
            for (from, to) in packed.spans().zip(padded.spans()) {
                let from = &values[from.start * WIDTH..from.end * WIDTH];
                spread[to.start * WIDTH..][..from.len()].copy_from_slice(from);
            }
            spread
        };
        let narrow = |t: Tensor<B, 2>| {
            let values: Vec<f32> = t.into_data().to_vec().unwrap();
            let spans = packed.spans().zip(padded.spans());
            let narrow: Vec<f32> = spans
                .flat_map(|(from, to)| values[to.start * WIDTH..][..from.len() * WIDTH].to_vec())
                .collect();
            matrix::<B>(&narrow, [packed.rows(), WIDTH])
        };
        let wide = values.each_ref().map(|v| spread(v, 3.0));
        let got = attend::<B>(&wide, &spread(&grad, 5.0), &padded, Queries::All).map(narrow);
        close(got, attend::<B>(&values, &grad, &packed, Queries::All), 1e-5);
    }
}

/// What first tokens get is what they get when all ask, and the gradients are those of a gradient
/// that is zero elsewhere.
fn first_tokens_alone_get_what_they_get_among_all<B: LayerKernels>() {
    for (lengths, padded_to) in [(vec![1, 17, 4], None), (vec![1, 17, 4], Some(20))] {
        let sequences = Sequences::new(lengths, padded_to);
        let rows = sequences.rows();
        let inputs = heads::<B>(&[0, 1, 2].map(|_| random(rows * WIDTH, -2.0, 2.0)), rows);
        let firsts: Vec<i64> = sequences.firsts().map(|row| row as i64).collect();
        let batch = firsts.len();
        let device = B::Device::default();
        let firsts = Tensor::<B, 1, Int>::from_data(TensorData::new(firsts, [batch]), &device);
        let grad = matrix::<B>(&random(batch * WIDTH, -1.0, 1.0), [batch, WIDTH]);
        let run = |inputs: Heads<B>, grad, queries| {
            let setup =
                Setup { heads: HEADS, queries, dropout: None, precision: Precision::Single };
            let (context, saved) = B::attention_forward(inputs.clone(), &sequences, setup, true);
            (context, B::attention_backward(inputs, saved.unwrap(), grad, &sequences, setup))
        };
        let few = Heads { query: inputs.query.clone().select(0, firsts.clone()), ..inputs.clone() };
        let (got, got_grads) = run(few, grad.clone(), Queries::First);
        let zeros = Tensor::zeros([rows, WIDTH], &device);
        let spread = zeros.select_assign(0, firsts.clone(), grad, IndexingUpdateOp::Add);
        let (all, grads) = run(inputs, spread, Queries::All);
        let want = [all, grads.query].map(|t| t.select(0, firsts.clone()));
        close([got, got_grads.query], want, 5e-6);
        close([got_grads.key, got_grads.value], [grads.key, grads.value], 5e-6);
    }
}

fn ids<B: Backend>(rows: usize, entries: usize) -> Tensor<B, 1, Int> {
    // Some entries come up many times, some never.
    let ids: Vec<i64> = (0..rows).map(|n| ((n * n + 3) % entries) as i64).collect();
    Tensor::from_data(TensorData::new(ids, [rows]), &B::Device::default())
}

pub const ENTRIES: [usize; 3] = [50, 20, 2];

pub fn token_ids<B: Backend>(rows: usize) -> TokenIds<B> {
    let [word, position, segment] = ENTRIES.map(|n| ids(rows, n));
    Tables { word, position, segment }
}

pub fn tables<B: Backend>(values: &[Vec<f32>; 3], width: usize) -> Tables<Tensor<B, 2>> {
    let [word, position, segment] = [0, 1, 2].map(|n| matrix(&values[n], [ENTRIES[n], width]));
    Tables { word, position, segment }
}

fn embeddings_equal_their_default_body<B: LayerKernels>() {
    fn run<B: LayerKernels>(
        values: &[Vec<f32>; 3],
        [grad, gamma, beta]: [&[f32]; 3],
        [rows, width]: [usize; 2],
    ) -> ([Tensor<B, 2>; 4], [Tensor<B, 1>; 2]) {
        let (tables, ids) = (tables::<B>(values, width), token_ids::<B>(rows));
        let (output, saved) = B::embed_forward(tables, ids.clone(), norm(gamma, beta), None, true);
        let [word, position, segment] = ENTRIES;
        let entries = Tables { word, position, segment };
        let grad = matrix(grad, [rows, width]);
        let EmbedGradients { tables, gamma, beta } =
            B::embed_backward(entries, ids, saved.unwrap(), on(gamma), grad, None);
        ([output, tables.word, tables.position, tables.segment], [gamma, beta])
    }
    for shape @ [rows, width] in SHAPES {
        let values = ENTRIES.map(|n| random(n * width, -1.0, 1.0));
        let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
        let grad = random(rows * width, -1.0, 1.0);
        let others: [&[f32]; 3] = [&grad, &gamma, &beta];
        let got = run::<B>(&values, others, shape);
        let want = run::<Reference>(&values, others, shape);
        // Sums over up to 512 rows.
        close(got.0, want.0, 1e-4);
        close(got.1, want.1, 1e-4);
    }
}
