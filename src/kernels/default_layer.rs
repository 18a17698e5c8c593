//! The default bodies of the operations inside the model, made of burn's own.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::sync::{Mutex, PoisonError};

use burn::tensor::activation::{sigmoid, softmax, tanh};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, FloatDType, IndexingUpdateOp, Int, Tensor, TensorData};

use super::operands::{
    Dense, DenseGradients, Heads, Norm, NormSaved, Precision, Products, SeededDropout, Setup,
    Tables, TokenIds,
};
use super::sequences::{Queries, Sequences};
use crate::activation::{Activation, GELU_TANH};

/// Scores of padding positions before the softmax: far below any real score, so that their
/// probability is exactly zero in f32, yet finite, so that a row of padding yields no NaN.
const MASKED_SCORE: f32 = -1e9;

/// The default body of [`LayerKernels::dropout_mask`](super::LayerKernels::dropout_mask).
///
/// # Shapes
/// - output: `shape`
pub fn dropout_mask<B: Backend>(
    shape: [usize; 2],
    SeededDropout { rate, seed }: SeededDropout,
    device: &B::Device,
) -> Tensor<B, 2> {
    // A backend has one generator for all threads, and may put off drawing until it is seeded anew.
    static DRAWING: Mutex<()> = Mutex::new(());
    let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    B::seed(device, seed);
    let kept = Tensor::random(shape, Distribution::Bernoulli(1.0 - rate), device);
    B::seed(device, seed);
    kept.mul_scalar(1.0 / (1.0 - rate))
}

/// x weight + bias.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - output: `[rows, outputs]`
pub fn dense_forward<B: Backend>(x: Tensor<B, 2>, dense: Dense<B>) -> Tensor<B, 2> {
    product(x, dense.weight, dense.products.precision) + dense.bias.unsqueeze()
}

/// `[.., rows, inner]` times `[.., inner, columns]`. Products with vectors do without burn's matmul,
/// whatever the precision: on wgpu, what follows one with a column of odd length is wrong where it
/// is fused, and one with a row may be tuned to a kernel that does not take it.
fn product<B: Backend, const D: usize>(
    a: Tensor<B, D>,
    b: Tensor<B, D>,
    precision: Precision,
) -> Tensor<B, D> {
    if b.dims().last() == Some(&1) {
        return (a * b.transpose()).sum_dim(D - 1);
    }
    if a.dims().iter().nth_back(1) == Some(&1) {
        return (b * a.transpose()).sum_dim(D - 2);
    }
    let Some(kind) = precision.factors() else { return a.matmul(b) };
    let [a, b] = [a, b].map(|factor| factor.cast(kind));
    a.matmul(b).cast(FloatDType::F32)
}

/// The gradients of [`dense_forward`].
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `grad`: `[rows, outputs]`
pub fn dense_backward<B: Backend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    grad: Tensor<B, 2>,
    products: Products,
) -> DenseGradients<B> {
    DenseGradients {
        x: dense_inputs_backward(weight, grad.clone(), products),
        weight: product(x.transpose(), grad.clone(), products.precision),
        bias: sum_of_rows(grad),
    }
}

/// The gradient of the inputs of [`dense_forward`] alone.
///
/// # Shapes
/// - `weight`: `[inputs, outputs]`
/// - `grad`: `[rows, outputs]`
/// - output: `[rows, inputs]`
pub fn dense_inputs_backward<B: Backend>(
    weight: Tensor<B, 2>,
    grad: Tensor<B, 2>,
    products: Products,
) -> Tensor<B, 2> {
    product(grad, weight.transpose(), products.precision)
}

/// The sum of all rows, in two stages: burn's kernel for a sum over rows gives each column to one
/// thread, which leaves most of a GPU idle (2,000 x 768 on an H100: 105 us, in stages 30).
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - output: `[width]`
fn sum_of_rows<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 1> {
    /// Sums of the first stage, at most.
    const PARTIAL: usize = 64;
    let [rows, width] = x.dims();
    let partial = (1..=PARTIAL).rev().find(|n| rows % n == 0).unwrap_or(1);
    let sums = x.reshape([partial, rows / partial, width]).sum_dim(1);
    sums.reshape([partial, width]).sum_dim(0).reshape([width])
}

/// An activation, and its slope where `keep` asks for it.
///
/// # Shapes
/// - `x`, outputs: `[rows, width]`
pub fn activate<B: Backend>(
    x: Tensor<B, 2>,
    activation: Activation,
    keep: bool,
) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
    match activation {
        Activation::Gelu => gelu(x, keep),
        Activation::GeluTanh => gelu_tanh(x, keep),
        Activation::Relu => {
            // Without booleans, which on CUDA may be fused with a product that cannot hold them.
            let y = (x.clone() + x.abs()).mul_scalar(0.5);
            let slope = keep.then(|| y.clone().sign());
            (y, slope)
        }
        Activation::Silu => {
            let s = sigmoid(x.clone());
            let y = x * s.clone();
            // s (1 + x (1 - s)) = s + y (1 - s)
            let slope = keep.then(|| s.clone() + y.clone() * s.neg().add_scalar(1.0));
            (y, slope)
        }
        Activation::Tanh => {
            let y = tanh(x);
            let slope = keep.then(|| (y.clone() * y.clone()).neg().add_scalar(1.0));
            (y, slope)
        }
    }
}

/// [`Activation::GeluTanh`].
///
/// # Shapes
/// As [`activate`].
fn gelu_tanh<B: Backend>(x: Tensor<B, 2>, keep: bool) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
    let (scale, cubic) = (f64::from(GELU_TANH.0), f64::from(GELU_TANH.1));
    let square = x.clone() * x.clone();
    let inner = x.clone() * square.clone().mul_scalar(cubic).add_scalar(1.0).mul_scalar(scale);
    let t = tanh(inner);
    let half = t.clone().add_scalar(1.0).mul_scalar(0.5);
    let slope = keep.then(|| {
        let inner_slope = square.mul_scalar(3.0 * cubic).add_scalar(1.0).mul_scalar(scale);
        let tanh_slope = (t.clone() * t).neg().add_scalar(1.0);
        half.clone() + (x.clone() * tanh_slope * inner_slope).mul_scalar(0.5)
    });
    (x * half, slope)
}

/// The exact GELU and its slope.
///
/// # Shapes
/// As [`activate`].
fn gelu<B: Backend>(x: Tensor<B, 2>, keep: bool) -> (Tensor<B, 2>, Option<Tensor<B, 2>>) {
    let phi = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    let slope = keep.then(|| {
        let density = (x.clone() * x.clone()).mul_scalar(-0.5).exp();
        phi.clone() + (x.clone() * density).mul_scalar(1.0 / (2.0 * PI).sqrt())
    });
    (x * phi, slope)
}

/// LayerNorm of each row.
///
/// # Shapes
/// - `x`, output: `[rows, width]`
pub fn norm_forward<B: Backend>(x: Tensor<B, 2>, norm: Norm<B>) -> (Tensor<B, 2>, NormSaved<B>) {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    let inverse_deviation = variance.add_scalar(norm.epsilon).sqrt().recip();
    let normalized = centred * inverse_deviation.clone();
    let output = normalized.clone() * norm.gamma.unsqueeze() + norm.beta.unsqueeze();
    (output, NormSaved { normalized, inverse_deviation })
}

/// Gradients of LayerNorm: of its input, of gamma and of beta.
///
/// # Shapes
/// - `grad`: `[rows, width]`
/// - `gamma`: `[width]`
/// - output: `[rows, width]`, `[width]`, `[width]`
pub fn norm_backward<B: Backend>(
    saved: NormSaved<B>,
    gamma: Tensor<B, 1>,
    grad: Tensor<B, 2>,
) -> (Tensor<B, 2>, Tensor<B, 1>, Tensor<B, 1>) {
    let NormSaved { normalized, inverse_deviation } = saved;
    let scaled = grad.clone() * gamma.unsqueeze();
    let mean = scaled.clone().mean_dim(1);
    let along = (scaled.clone() * normalized.clone()).mean_dim(1);
    let input = (scaled - mean - normalized.clone() * along) * inverse_deviation;
    let gamma = sum_of_rows(grad.clone() * normalized);
    (input, gamma, sum_of_rows(grad))
}

/// Adds each row of `grad` to the rows of the tables that the ids name.
///
/// # Shapes
/// - `grad`: `[rows, width]`
/// - output: `[entries, width]` each
pub fn scatter<B: Backend>(
    entries: Tables<usize>,
    ids: TokenIds<B>,
    grad: Tensor<B, 2>,
) -> Tables<Tensor<B, 2>> {
    let [_, width] = grad.dims();
    let device = grad.device();
    let scatter = |entries: usize, ids: Tensor<B, 1, Int>| {
        let zeros = Tensor::zeros([entries, width], &device);
        zeros.select_assign(0, ids, grad.clone(), IndexingUpdateOp::Add)
    };
    Tables {
        word: scatter(entries.word, ids.word),
        position: scatter(entries.position, ids.position),
        segment: scatter(entries.segment, ids.segment),
    }
}

/// How rows become a matrix per sequence and head, and back.
struct Grid<'a> {
    sequences: &'a Sequences,
    heads: usize,
    tokens: usize,
}

impl<'a> Grid<'a> {
    fn new(sequences: &'a Sequences, heads: usize) -> Self {
        let tokens = sequences.padded_to().unwrap_or_else(|| sequences.longest());
        Self { sequences, heads, tokens }
    }

    /// `[rows, width]` to `[batch, heads, tokens, head]`; padding repeats a sequence's last token.
    fn spread<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 4> {
        let [_, width] = x.dims();
        let batch = self.sequences.batch();
        let x = match self.sequences.padded_to() {
            Some(_) => x,
            None => {
                let spans = self.sequences.spans();
                let rows =
                    spans.flat_map(|s| (0..self.tokens).map(move |t| (s.start + t).min(s.end - 1)));
                let rows = indices(rows, &x.device());
                x.select(0, rows)
            }
        };
        x.reshape([batch, self.tokens, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    /// `[batch, heads, tokens, head]` to `[rows, width]`.
    fn gather<B: Backend>(&self, x: Tensor<B, 4>) -> Tensor<B, 2> {
        let [batch, heads, tokens, head] = x.dims();
        let x = x.swap_dims(1, 2).reshape([batch * tokens, heads * head]);
        if self.sequences.padded_to().is_some() {
            return x;
        }
        let lengths = self.sequences.lengths().iter().enumerate();
        let rows = lengths.flat_map(|(n, length)| (0..*length).map(move |t| n * tokens + t));
        let rows = indices(rows, &x.device());
        x.select(0, rows)
    }

    /// Added to the scores: 0 for tokens, [`MASKED_SCORE`] for padding, `[batch, 1, 1, tokens]`.
    fn bias<B: Backend>(&self, device: &B::Device) -> Tensor<B, 4> {
        let lengths = self.sequences.lengths().iter();
        let bias: Vec<f32> = lengths
            .flat_map(|n| (0..self.tokens).map(move |t| if t < *n { 0.0 } else { MASKED_SCORE }))
            .collect();
        let shape = [self.sequences.batch(), 1, 1, self.tokens];
        Tensor::from_data(TensorData::new(bias, shape), device)
    }

    /// 1 for tokens, 0 for padding, which has no part in gradients, `[batch, 1, tokens, 1]`.
    fn real<B: Backend>(&self, device: &B::Device) -> Tensor<B, 4> {
        let lengths = self.sequences.lengths().iter();
        let real: Vec<f32> = lengths
            .flat_map(|n| (0..self.tokens).map(move |t| if t < *n { 1.0 } else { 0.0 }))
            .collect();
        let shape = [self.sequences.batch(), 1, self.tokens, 1];
        Tensor::from_data(TensorData::new(real, shape), device)
    }

    /// Queries, or what has their rows, to `[batch, heads, queries, head]`.
    fn spread_queries<B: Backend>(&self, x: Tensor<B, 2>, queries: Queries) -> Tensor<B, 4> {
        let [rows, width] = x.dims();
        match queries {
            Queries::All => self.spread(x),
            Queries::First => x.reshape([rows, self.heads, 1, width / self.heads]),
        }
    }

    /// The reverse of [`spread_queries`](Self::spread_queries).
    ///
    /// # Shapes
    /// - `x`: `[batch, heads, queries, head]`
    /// - output: `[rows of the queries, width]`
    fn gather_queries<B: Backend>(&self, x: Tensor<B, 4>, queries: Queries) -> Tensor<B, 2> {
        let [batch, heads, _, head] = x.dims();
        match queries {
            Queries::All => self.gather(x),
            Queries::First => x.reshape([batch, heads * head]),
        }
    }
}

/// Numbers of rows as a tensor, `[n]`.
fn indices<B: Backend>(rows: impl Iterator<Item = usize>, device: &B::Device) -> Tensor<B, 1, Int> {
    let rows: Vec<i64> = rows.map(|row| row as i64).collect();
    let n = rows.len();
    Tensor::from_data(TensorData::new(rows, [n]), device)
}

/// The probabilities as a matrix: a row for each sequence, head and query.
pub fn attention_shape(sequences: &Sequences, setup: Setup) -> [usize; 2] {
    let Grid { tokens, heads, .. } = Grid::new(sequences, setup.heads);
    let queries = match setup.queries {
        Queries::All => tokens,
        Queries::First => 1,
    };
    [sequences.batch() * heads * queries, tokens]
}

/// Multiplies probabilities, or their gradients, by the dropout's mask.
///
/// # Shapes
/// - `x`, output: `[batch, heads, queries, tokens]`
/// - `mask`: [`attention_shape`]
fn masked<B: Backend>(x: Tensor<B, 4>, mask: &Option<Tensor<B, 2>>) -> Tensor<B, 4> {
    let shape = x.shape();
    match mask {
        Some(mask) => x * mask.clone().reshape(shape),
        None => x,
    }
}

/// The default body of [`LayerKernels::attention_forward`](super::LayerKernels::attention_forward).
///
/// # Shapes
/// - `inputs`: `[rows, width]` each
/// - `mask`: [`attention_shape`]
/// - output: `[rows of the queries, width]`, and the probabilities `[n]`
pub fn attention_forward<B: Backend>(
    inputs: Heads<B>,
    sequences: &Sequences,
    Setup { heads, queries, precision, .. }: Setup,
    mask: Option<Tensor<B, 2>>,
) -> (Tensor<B, 2>, Tensor<B, 1>) {
    let grid = Grid::new(sequences, heads);
    let device = inputs.query.device();
    let query = grid.spread_queries(inputs.query, queries);
    let [key, value] = [inputs.key, inputs.value].map(|x| grid.spread(x));
    let [_, _, _, head] = query.dims();
    let query = query.div_scalar((head as f64).sqrt());
    let scores = product(query, key.transpose(), precision); // [batch, heads, queries, tokens]
    let probabilities = softmax(scores + grid.bias(&device), 3);
    let context = product(masked(probabilities.clone(), &mask), value, precision);
    let n = probabilities.shape().num_elements();
    (grid.gather_queries(context, queries), probabilities.reshape([n]))
}

/// The default body of
/// [`LayerKernels::attention_backward`](super::LayerKernels::attention_backward).
///
/// # Shapes
/// - `inputs`, outputs: `[rows, width]` each
/// - `probabilities`: `[n]`, as [`attention_forward`] gives them
/// - `grad`: `[rows of the queries, width]`
/// - `mask`: [`attention_shape`]
pub fn attention_backward<B: Backend>(
    inputs: Heads<B>,
    probabilities: Tensor<B, 1>,
    grad: Tensor<B, 2>,
    sequences: &Sequences,
    Setup { heads, queries, precision, .. }: Setup,
    mask: Option<Tensor<B, 2>>,
) -> Heads<B> {
    let grid = Grid::new(sequences, heads);
    let device = grad.device();
    let [query, grad] = [inputs.query, grad].map(|x| grid.spread_queries(x, queries));
    let [key, value] = [inputs.key, inputs.value].map(|x| grid.spread(x));
    let [batch, _, asking, head] = query.dims();
    let grad = match queries {
        Queries::All => grad * grid.real(&device),
        Queries::First => grad,
    };
    let probabilities = probabilities.reshape([batch, heads, asking, grid.tokens]);
    let dropped = masked(probabilities.clone(), &mask);
    let d_value = product(dropped.transpose(), grad.clone(), precision);
    let d_probabilities = masked(product(grad, value.transpose(), precision), &mask);
    let weighted = d_probabilities * probabilities.clone();
    let d_scores = weighted.clone() - probabilities * weighted.sum_dim(3);
    let d_scores = d_scores.div_scalar((head as f64).sqrt());
    Heads {
        query: grid.gather_queries(product(d_scores.clone(), key, precision), queries),
        key: grid.gather(product(d_scores.transpose(), query, precision)),
        value: grid.gather(d_value),
    }
}
