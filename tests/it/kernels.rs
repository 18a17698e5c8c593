//! Each backend's own kernels against the default bodies, as NdArray runs them.

use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};
use burn_ndarray::NdArray;
use platon::kernels::{AdamaxStep, UpdateKernels};

use crate::backends::on_every_backend;
use crate::fixtures::distance;

type Reference = NdArray<f32>;

on_every_backend!(
    adamax_equals_its_default_body,
    sensitivities_equal_their_default_body,
    a_view_into_a_larger_tensor_is_not_written_beyond,
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
    for (got, expected) in got.into_iter().zip(expected) {
        let got: Vec<f32> = got.into_data().to_vec().unwrap();
        let expected: Vec<f32> = expected.into_data().to_vec().unwrap();
        let difference = distance(&got, &expected);
        assert!(difference <= 1e-7, "{} elements differ by {difference}", got.len());
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
