//! Gradients of the fused operations against those that burn derives from its own operations, and
//! through dropout against finite differences.

use burn::backend::Autodiff;
use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::{ElementConversion, Tensor};
use platon::activation::Activation;
use platon::kernels::operands::{Dense, Heads, Norm, Setup, Tables};
use platon::kernels::{
    LayerKernels, ModelKernels, Precision, Products, Queries, SeededDropout, Sequences,
};

use crate::backends::{allowed, alone_with_random_numbers, on_every_backend, rounds_factors};
use crate::fixtures::skipped;
use crate::kernels::{close, on, random};
use crate::layers::{ENTRIES, HEADS, WIDTH, heads, matrix, norm, tables, token_ids};

on_every_backend!(
    gradients_equal_those_of_burn,
    gradients_of_attention_equal_those_of_burn,
    gradients_of_embeddings_equal_those_of_burn,
    dropout_follows_from_its_seed,
    dropout_of_attention_goes_the_same_way_back,
    gradients_through_dropout_equal_finite_differences,
);

/// The same computation from burn's own operations, whose gradients burn derives.
fn gradients_equal_those_of_burn<B: LayerKernels + ModelKernels>() {
    type A<B> = Autodiff<B>;
    let shape @ [rows, width] = [33, 19];
    let [x, r, factor] = [0, 1, 2].map(|_| random(rows * width, -2.0, 2.0));
    let [gamma, beta, bias] = [0, 1, 2].map(|_| random(width, 0.5, 1.5));
    let weight = random(width * width, -0.5, 0.5);
    let run = |fused: bool| {
        let [x, r] = [&x, &r].map(|v| matrix::<A<B>>(v, shape).require_grad());
        let weight = matrix::<A<B>>(&weight, [width, width]).require_grad();
        let [gamma, beta, bias] = [&gamma, &beta, &bias].map(|v| on::<A<B>>(v).require_grad());
        let output = if fused {
            let products = Products::default();
            let dense = || Dense { weight: weight.clone(), bias: bias.clone(), products };
            let x = A::<B>::dense(x.clone(), dense());
            let norm = Norm { gamma: gamma.clone(), beta: beta.clone(), epsilon: 1e-12 };
            A::<B>::dense_activated(
                A::<B>::dropout_add_norm(x, r.clone(), norm, None),
                dense(),
                Activation::Gelu,
            )
        } else {
            let dense = |x: Tensor<A<B>, 2>| x.matmul(weight.clone()) + bias.clone().unsqueeze();
            let sum = dense(x.clone()) + r.clone();
            let centred = sum.clone() - sum.mean_dim(1);
            let deviation = (centred.clone() * centred.clone()).mean_dim(1).sqrt();
            let norm = centred / deviation * gamma.clone().unsqueeze() + beta.clone().unsqueeze();
            let x = dense(norm);
            let share = x.clone().div_scalar(2f64.sqrt()).erf().add_scalar(1.0).mul_scalar(0.5);
            x * share
        };
        let grads = (output * matrix(&factor, shape)).sum().backward();
        (
            [x, r, weight].map(|t| t.grad(&grads).unwrap()),
            [gamma, beta, bias].map(|t| t.grad(&grads).unwrap()),
        )
    };
    let (fused, composed) = (run(true), run(false));
    close(fused.0, composed.0, 5e-5);
    close(fused.1, composed.1, 5e-5);
}

fn gradients_of_attention_equal_those_of_burn<B: LayerKernels + ModelKernels>() {
    type A<B> = Autodiff<B>;
    let length = 13;
    let sequences = Sequences::new(vec![length], None);
    let values = [0, 1, 2].map(|_| random(length * WIDTH, -2.0, 2.0));
    let factor = random(length * WIDTH, -1.0, 1.0);
    let run = |fused: bool| {
        let Heads { query, key, value } = heads::<A<B>>(&values, length);
        let inputs = [query, key, value].map(Tensor::require_grad);
        let [query, key, value] = inputs.clone();
        let context = if fused {
            let heads = Heads { query, key, value };
            let setup = Setup {
                heads: HEADS,
                queries: Queries::All,
                dropout: None,
                precision: Precision::Single,
            };
            A::<B>::self_attention(heads, &sequences, setup)
        } else {
            let head = WIDTH / HEADS;
            let [query, key, value] =
                [query, key, value].map(|t| t.reshape([length, HEADS, head]).swap_dims(0, 1));
            let scores = query.matmul(key.transpose()).div_scalar((head as f64).sqrt());
            softmax(scores, 2).matmul(value).swap_dims(0, 1).reshape([length, WIDTH])
        };
        let grads = (context * matrix(&factor, [length, WIDTH])).sum().backward();
        inputs.map(|t| t.grad(&grads).unwrap())
    };
    close(run(true), run(false), 5e-6);
}

fn gradients_of_embeddings_equal_those_of_burn<B: LayerKernels + ModelKernels>() {
    type A<B> = Autodiff<B>;
    let shape @ [rows, width] = [33, 19];
    let values = ENTRIES.map(|n| random(n * width, -1.0, 1.0));
    let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
    let factor = random(rows * width, -1.0, 1.0);
    let run = |fused: bool| {
        let Tables { word, position, segment } = tables::<A<B>>(&values, width);
        let inputs = [word, position, segment].map(Tensor::require_grad);
        let [gamma, beta] = [&gamma, &beta].map(|v| on::<A<B>>(v).require_grad());
        let [word, position, segment] = inputs.clone();
        let ids = token_ids::<A<B>>(rows);
        let output = if fused {
            let norm = Norm { gamma: gamma.clone(), beta: beta.clone(), epsilon: 1e-12 };
            A::<B>::embed(Tables { word, position, segment }, ids, norm, None)
        } else {
            let sum = word.select(0, ids.word)
                + position.select(0, ids.position)
                + segment.select(0, ids.segment);
            let centred = sum.clone() - sum.mean_dim(1);
            let deviation = (centred.clone() * centred.clone()).mean_dim(1).sqrt();
            centred / deviation * gamma.clone().unsqueeze() + beta.clone().unsqueeze()
        };
        let grads = (output * matrix(&factor, shape)).sum().backward();
        (inputs.map(|t| t.grad(&grads).unwrap()), [gamma, beta].map(|t| t.grad(&grads).unwrap()))
    };
    let (fused, composed) = (run(true), run(false));
    close(fused.0, composed.0, 2e-5);
    close(fused.1, composed.1, 2e-5);
}

fn dropout(seed: u64) -> Option<SeededDropout> {
    Some(SeededDropout { rate: 0.25, seed })
}

fn mask<B: LayerKernels>(shape: [usize; 2], seed: u64) -> Vec<f32> {
    let dropout = SeededDropout { rate: 0.25, seed };
    B::dropout_mask(shape, dropout, &B::Device::default()).into_data().to_vec().unwrap()
}

fn dropout_follows_from_its_seed<B: LayerKernels>() {
    let _alone = alone_with_random_numbers();
    let shape @ [rows, width] = [64, 96];
    let first = mask::<B>(shape, 1);
    assert_eq!(first, mask::<B>(shape, 1), "one seed, one mask");
    assert_ne!(first, mask::<B>(shape, 2));
    assert!(first.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
    let share = first.iter().filter(|v| **v == 0.0).count() as f64 / first.len() as f64;
    assert!((share - 0.25).abs() < 0.03, "{share} of the elements are dropped");

    // Before LayerNorm: forward and backward as if the input had been multiplied by the mask.
    let [x, r, grad] = [0, 1, 2].map(|_| random(rows * width, -2.0, 2.0));
    let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
    let kept = matrix::<B>(&first, shape);
    let run = |x, dropout| {
        let (output, saved) =
            B::add_norm_forward(x, matrix(&r, shape), norm(&gamma, &beta), dropout, true);
        let saved = saved.unwrap();
        (output, B::add_norm_backward(saved, on(&gamma), matrix(&grad, shape), dropout))
    };
    let (output, grads) = run(matrix(&x, shape), dropout(1));
    let (expected, plain) = run(matrix::<B>(&x, shape) * kept.clone(), None);
    close(
        [output, grads.x, grads.residual],
        [expected, plain.x * kept.clone(), plain.residual],
        5e-6,
    );

    // After the embeddings' LayerNorm.
    let values = ENTRIES.map(|n| random(n * width, -1.0, 1.0));
    let run = |grad, dropout| {
        let (tables, ids) = (tables::<B>(&values, width), token_ids::<B>(rows));
        let (output, saved) =
            B::embed_forward(tables, ids.clone(), norm(&gamma, &beta), dropout, true);
        let [word, position, segment] = ENTRIES;
        let entries = Tables { word, position, segment };
        let grads = B::embed_backward(entries, ids, saved.unwrap(), on(&gamma), grad, dropout);
        (output, grads)
    };
    let grad = matrix::<B>(&grad, shape);
    let (output, grads) = run(grad.clone(), dropout(1));
    let (expected, plain) = run(grad * kept.clone(), None);
    close([output, grads.tables.word], [expected * kept, plain.tables.word], 5e-6);
    close([grads.gamma, grads.beta], [plain.gamma, plain.beta], 1e-4);
}

/// Queries of zero make every probability 1 / length, and values that stand for themselves show
/// which probabilities were dropped.
fn dropout_of_attention_goes_the_same_way_back<B: LayerKernels>() {
    let _alone = alone_with_random_numbers();
    let length = 64;
    let sequences = Sequences::new(vec![length], None);
    let identity: Vec<f32> =
        (0..length * length).map(|n| f32::from(u8::from(n % (length + 1) == 0))).collect();
    let square = [length, length];
    let zeros = vec![0.0f32; length * length];
    let inputs = || Heads::<B> {
        query: matrix(&zeros, square),
        key: matrix(&zeros, square),
        value: matrix(&identity, square),
    };
    let precision = Precision::Single;
    let setup = |seed| Setup { heads: 1, queries: Queries::All, dropout: dropout(seed), precision };
    let forward = |seed| {
        let (context, saved) = B::attention_forward(inputs(), &sequences, setup(seed), true);
        let dropped: Vec<f32> = context.into_data().to_vec().unwrap();
        (dropped, saved.unwrap())
    };
    let (dropped, saved) = forward(1);
    assert_eq!(dropped, forward(1).0, "one seed, one mask");
    assert_ne!(dropped, forward(2).0);
    let kept = 4.0 / 3.0 / length as f32;
    assert!(dropped.iter().all(|v| *v == 0.0 || (*v - kept).abs() < allowed::<B>(1e-6)));
    let share = dropped.iter().filter(|v| **v == 0.0).count() as f64 / dropped.len() as f64;
    assert!((share - 0.25).abs() < 0.04, "{share} of the probabilities are dropped");
    // The value's gradient for a gradient of ones on the diagonal is the transposed matrix.
    let grads =
        B::attention_backward(inputs(), saved, matrix(&identity, square), &sequences, setup(1));
    close([grads.value.transpose()], [matrix::<B>(&dropped, square)], 1e-6);
}

/// With a fixed seed all operations are functions, so their gradients can be measured.
fn gradients_through_dropout_equal_finite_differences<B: LayerKernels + ModelKernels>() {
    let _alone = alone_with_random_numbers();
    let sequences = Sequences::new(vec![3, 5], None);
    let shape @ [rows, width] = [sequences.rows(), 6];
    let values: Vec<Vec<f32>> = (0..3).map(|_| random(rows * width, -1.0, 1.0)).collect();
    let tables: Vec<Vec<f32>> =
        ENTRIES.iter().map(|entries| random(entries * width, -1.0, 1.0)).collect();
    let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
    let factor = random(rows * width, -1.0, 1.0);

    for queries in [Queries::All, Queries::First] {
        let asking = queries.rows(&sequences);
        let attention = |[query, key, value]: [Tensor<Autodiff<B>, 2>; 3]| {
            let inputs = Heads { query, key, value };
            let precision = Precision::Single;
            let setup = Setup { heads: 2, queries, dropout: dropout(1), precision };
            Autodiff::<B>::self_attention(inputs, &sequences, setup)
        };
        let mut values = values.clone();
        values[0].truncate(asking * width);
        let factor = &factor[..asking * width];
        differentiate(&values, [[asking, width], shape, shape], factor, attention);
    }

    let norms = |[x, residual, other]: [Tensor<Autodiff<B>, 2>; 3]| {
        let x = Autodiff::<B>::dropout(x, dropout(2)) + other;
        Autodiff::<B>::dropout_add_norm(x, residual, norm(&gamma, &beta), dropout(3))
    };
    differentiate(&values, [shape; 3], &factor, norms);

    let embed = |[word, position, segment]: [Tensor<Autodiff<B>, 2>; 3]| {
        let tables = Tables { word, position, segment };
        Autodiff::<B>::embed(tables, token_ids(rows), norm(&gamma, &beta), dropout(4))
    };
    differentiate(&tables, ENTRIES.map(|entries| [entries, width]), &factor, embed);
}

/// Compares the gradients of sum(factor * output) with central differences, at every fifth element.
fn differentiate<B: Backend>(
    inputs: &[Vec<f32>],
    shapes: [[usize; 2]; 3],
    factor: &[f32],
    function: impl Fn([Tensor<Autodiff<B>, 2>; 3]) -> Tensor<Autodiff<B>, 2>,
) {
    if rounds_factors::<B>() {
        return skipped(
            "gradients through dropout",
            "differences of rounded numbers are no slopes",
        );
    }
    let value = |inputs: [Tensor<Autodiff<B>, 2>; 3]| {
        let output = function(inputs);
        let shape = output.dims();
        (output * matrix(factor, shape)).sum()
    };
    let tensors = |inputs: &[Vec<f32>]| {
        [0, 1, 2].map(|n| matrix::<Autodiff<B>>(&inputs[n], shapes[n]).require_grad())
    };
    let at = |inputs: &[Vec<f32>]| f64::from(value(tensors(inputs)).into_scalar().elem::<f32>());
    let variables = tensors(inputs);
    let grads = value(variables.clone()).backward();
    for (n, variable) in variables.iter().enumerate() {
        let grad: Vec<f32> = variable.grad(&grads).unwrap().into_data().to_vec().unwrap();
        assert!(grad.iter().any(|g| g.abs() > 0.01), "input {n} has no gradient");
        for place in (0..grad.len()).step_by(5) {
            let moved = |by: f32| {
                let mut inputs = inputs.to_vec();
                inputs[n][place] += by;
                at(&inputs)
            };
            const STEP: f32 = 1e-2;
            let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
            let difference = (slope - f64::from(grad[place])).abs();
            assert!(difference < 1e-2, "input {n}, element {place}: {} not {slope}", grad[place]);
        }
    }
}
