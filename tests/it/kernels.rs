//! Each backend's own kernels against the default bodies, as NdArray runs them.

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use burn_ndarray::NdArray;
use platon::kernels::layer::{NormGradients, NormOutput};
use platon::kernels::{AdamaxStep, LayerKernels, ModelKernels, SeededDropout, UpdateKernels};

use crate::backends::on_every_backend;
use crate::fixtures::distance;

type Reference = NdArray<f32>;

on_every_backend!(
    adamax_equals_its_default_body,
    sensitivities_equal_their_default_body,
    a_view_into_a_larger_tensor_is_not_written_beyond,
    gelu_equals_its_default_body,
    normalisation_equals_its_default_body,
    gradients_of_fused_layers_equal_those_of_burn,
    dropout_follows_from_its_seed,
);

/// One element, less than a vector, no multiple of one, more than one unit of parallel work.
const SIZES: [usize; 5] = [1, 7, 1023, 1 << 15, (1 << 15) + 13];

fn random(n: usize, low: f64, high: f64) -> Vec<f32> {
    let values =
        Tensor::<Reference, 1>::random([n], Distribution::Uniform(low, high), &Default::default());
    values.into_data().to_vec().unwrap()
}

fn on<B: Backend>(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &B::Device::default())
}

fn same<A: Backend, B: Backend, const N: usize>(
    got: [Tensor<A, 1>; N],
    expected: [Tensor<B, 1>; N],
) {
    close(got, expected, 1e-7);
}

fn close<A: Backend, B: Backend, const D: usize, const N: usize>(
    got: [Tensor<A, D>; N],
    expected: [Tensor<B, D>; N],
    tolerance: f32,
) {
    for (got, expected) in got.into_iter().zip(expected) {
        let got: Vec<f32> = got.into_data().to_vec().unwrap();
        let expected: Vec<f32> = expected.into_data().to_vec().unwrap();
        let difference = distance(&got, &expected);
        assert!(difference <= tolerance, "{} elements differ by {difference}", got.len());
    }
}

fn adamax_equals_its_default_body<B: UpdateKernels>() {
    for n in SIZES {
        for weight_decay in [0.0, 0.01] {
            let step = AdamaxStep {
                learning_rate: 0.01,
                beta_1: 0.9,
                beta_2: 0.999,
                epsilon: 1e-6,
                weight_decay,
            };
            let (w, g) = (random(n, -1.0, 1.0), random(n, -1.0, 1.0));
            let (m, u) = (random(n, -0.5, 0.5), random(n, 0.0, 1.0));
            same(
                B::adamax(step, on(&w), on(&g), on(&m), on(&u)),
                Reference::adamax(step, on(&w), on(&g), on(&m), on(&u)),
            );
        }
    }
}

fn sensitivities_equal_their_default_body<B: UpdateKernels>() {
    for n in SIZES {
        let [v, i, u] = [0, 1, 2].map(|_| random(n, 0.0, 1.0));
        let (w, g) = (random(n, -1.0, 1.0), random(n, -1.0, 1.0));
        same(
            [B::accumulate_sensitivity(on(&v), on(&w), on(&g), 3.0)],
            [Reference::accumulate_sensitivity(on(&v), on(&w), on(&g), 3.0)],
        );
        let betas = (0.85, 0.95);
        same(
            B::close_window(on(&v), on(&i), on(&u), on(&w), on(&g), betas),
            Reference::close_window(on(&v), on(&i), on(&u), on(&w), on(&g), betas),
        );
    }
}

fn a_view_into_a_larger_tensor_is_not_written_beyond<B: UpdateKernels>() {
    let whole = on::<B>(&[9.0, 1.0, 2.0, 9.0]);
    let window = whole.clone().slice(1..3);
    let ones = on::<B>(&[1.0, 1.0]);
    let got = B::accumulate_sensitivity(window, ones.clone(), ones, 1.0);
    assert_eq!(got.into_data().to_vec::<f32>().unwrap(), [1.0, 1.5]);
    assert_eq!(whole.into_data().to_vec::<f32>().unwrap(), [9.0, 1.0, 2.0, 9.0]);
}

/// Rows and width: one token, less than a vector, no multiple of one, more than one unit of
/// parallel work.
const SHAPES: [[usize; 2]; 4] = [[1, 384], [3, 5], [33, 19], [512, 64]];

fn matrix<B: Backend>(values: &[f32], shape: [usize; 2]) -> Tensor<B, 2> {
    on::<B>(values).reshape(shape)
}

fn gelu_equals_its_default_body<B: LayerKernels>() {
    for shape in SHAPES {
        let x = random(shape[0] * shape[1], -6.0, 6.0);
        let (mine, reference) = (matrix::<B>(&x, shape), matrix::<Reference>(&x, shape));
        close([B::gelu_forward(mine.clone())], [Reference::gelu_forward(reference.clone())], 2e-6);
        close(B::gelu_with_slope(mine), Reference::gelu_with_slope(reference), 2e-6);
    }
}

fn normalisation_equals_its_default_body<B: LayerKernels>() {
    for shape @ [rows, width] in SHAPES {
        let n = rows * width;
        let [x, r, grad] = [0, 1, 2].map(|_| random(n, -2.0, 2.0));
        let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
        let forward = |()| {
            let (x, r) = (matrix::<B>(&x, shape), matrix::<B>(&r, shape));
            B::add_norm_forward(x, r, on(&gamma), on(&beta), 1e-12, None)
        };
        let NormOutput { output, normalized, inverse_deviation } = forward(());
        let expected = Reference::add_norm_forward(
            matrix(&x, shape),
            matrix(&r, shape),
            on(&gamma),
            on(&beta),
            1e-12,
            None,
        );
        close([output, normalized.clone()], [expected.output, expected.normalized.clone()], 2e-6);
        close([inverse_deviation.clone()], [expected.inverse_deviation.clone()], 2e-6);
        let got: NormGradients<B> = B::add_norm_backward(
            normalized,
            inverse_deviation,
            on(&gamma),
            matrix(&grad, shape),
            None,
        );
        let want = Reference::add_norm_backward(
            expected.normalized,
            expected.inverse_deviation,
            on(&gamma),
            matrix(&grad, shape),
            None,
        );
        close([got.x, got.residual], [want.x, want.residual], 5e-6);
        // Sums over up to 512 rows.
        close([got.gamma, got.beta], [want.gamma, want.beta], 1e-4);
    }
}

/// The same computation from burn's own operations, whose gradients burn derives.
fn gradients_of_fused_layers_equal_those_of_burn<B: LayerKernels + ModelKernels>() {
    type A<B> = Autodiff<B>;
    let shape @ [rows, width] = [33, 19];
    let [x, r, weight] = [0, 1, 2].map(|_| random(rows * width, -2.0, 2.0));
    let [gamma, beta] = [0, 1].map(|_| random(width, 0.5, 1.5));
    let run = |fused: bool| {
        let [x, r] = [&x, &r].map(|v| matrix::<A<B>>(v, shape).require_grad());
        let [gamma, beta] = [&gamma, &beta].map(|v| on::<A<B>>(v).require_grad());
        let output = if fused {
            let norm = A::<B>::dropout_add_norm(
                x.clone(),
                r.clone(),
                gamma.clone(),
                beta.clone(),
                1e-12,
                None,
            );
            A::<B>::exact_gelu(norm)
        } else {
            let sum = x.clone() + r.clone();
            let centred = sum.clone() - sum.mean_dim(1);
            let deviation = (centred.clone() * centred.clone()).mean_dim(1).sqrt();
            let norm = centred / deviation * gamma.clone().unsqueeze() + beta.clone().unsqueeze();
            let share = norm.clone().div_scalar(2f64.sqrt()).erf().add_scalar(1.0).mul_scalar(0.5);
            norm * share
        };
        let grads = (output * matrix(&weight, shape)).sum().backward();
        (
            [x.grad(&grads).unwrap(), r.grad(&grads).unwrap()],
            [gamma.grad(&grads).unwrap(), beta.grad(&grads).unwrap()],
        )
    };
    let (fused, composed) = (run(true), run(false));
    close(fused.0, composed.0, 5e-6);
    close(fused.1, composed.1, 2e-5);
}

fn dropout_follows_from_its_seed<B: LayerKernels>() {
    let shape @ [rows, width] = [64, 96];
    let ones = vec![1.0f32; rows * width];
    let zeros = vec![0.0f32; rows * width];
    let kept = |seed: u64| -> Vec<f32> {
        let (normalized, grad) = (matrix::<B>(&zeros, shape), matrix::<B>(&ones, shape));
        let deviation = matrix::<B>(&vec![1.0; rows], [rows, 1]);
        let gamma: Vec<f32> = (0..width).map(|n| if n % 2 == 0 { 3.0 } else { -1.0 }).collect();
        let dropout = Some(SeededDropout { rate: 0.25, seed });
        let grads = B::add_norm_backward(normalized, deviation, on(&gamma), grad, dropout);
        let (x, residual) = (grads.x.into_data(), grads.residual.into_data());
        let (x, residual) = (x.to_vec::<f32>().unwrap(), residual.to_vec::<f32>().unwrap());
        x.iter().zip(&residual).map(|(x, r)| x / r).collect()
    };
    let first = kept(1);
    assert_eq!(first, kept(1), "one seed, one mask");
    assert_ne!(first, kept(2));
    assert!(first.iter().all(|v| *v == 0.0 || (*v - 4.0 / 3.0).abs() < 1e-6));
    let share = first.iter().filter(|v| **v == 0.0).count() as f64 / first.len() as f64;
    assert!((share - 0.25).abs() < 0.03, "{share} of the elements are dropped");

    // The forward pass drops the same elements: a dropped row element is its residual alone.
    let gamma = vec![1.0; width];
    let beta = vec![0.0; width];
    let forward = B::add_norm_forward(
        matrix(&ones, shape),
        matrix(&zeros, shape),
        on(&gamma),
        on(&beta),
        1e-12,
        Some(SeededDropout { rate: 0.25, seed: 1 }),
    );
    let output: Vec<f32> = forward.output.into_data().to_vec().unwrap();
    for (y, mask) in output.iter().zip(&first) {
        assert_eq!(*y > 0.0, *mask > 0.0, "a kept element lies above its row's mean");
    }
}
