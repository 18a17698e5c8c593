//! Each backend's own kernels over parameters against the default bodies, as NdArray runs them.

use std::cell::RefCell;

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use burn_ndarray::NdArray;
use platon::kernels::{AdamaxStep, Averages, Fusion, Observation, UpdateKernels};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::backends::{allowed, on_every_backend};
use crate::fixtures::distance;

pub type Reference = NdArray<f32>;

on_every_backend!(
    adamax_equals_its_default_body,
    sensitivities_equal_their_default_body,
    one_pass_equals_its_parts,
    a_view_into_a_larger_tensor_is_not_written_beyond,
);

/// One element, less than a vector, no multiple of one, more than one unit of parallel work.
const SIZES: [usize; 5] = [1, 7, 1023, 1 << 15, (1 << 15) + 13];

pub fn random(n: usize, low: f64, high: f64) -> Vec<f32> {
    thread_local! {
        /// Not the backends' generator, which all tests share. Each test has a thread of its own.
        static NUMBERS: RefCell<StdRng> = RefCell::new(StdRng::seed_from_u64(7));
    }
    NUMBERS
        .with_borrow_mut(|numbers| (0..n).map(|_| numbers.random_range(low..high) as f32).collect())
}

pub fn on<B: Backend>(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &B::Device::default())
}

fn same<A: Backend, B: Backend, const N: usize>(
    got: [Tensor<A, 1>; N],
    expected: [Tensor<B, 1>; N],
) {
    close(got, expected, 1e-7);
}

pub fn close<A: Backend, B: Backend, const D: usize, const N: usize>(
    got: [Tensor<A, D>; N],
    expected: [Tensor<B, D>; N],
    tolerance: f32,
) {
    let tolerance = allowed::<A>(tolerance);
    for (got, expected) in got.into_iter().zip(expected) {
        let got: Vec<f32> = got.into_data().to_vec().unwrap();
        let expected: Vec<f32> = expected.into_data().to_vec().unwrap();
        let difference = distance(&got, &expected);
        assert!(difference <= tolerance, "{} elements differ by {difference}", got.len());
    }
}

const STEP: AdamaxStep = AdamaxStep {
    learning_rate: 0.01,
    beta_1: 0.9,
    beta_2: 0.999,
    epsilon: 1e-6,
    weight_decay: 0.01,
};

fn adamax_equals_its_default_body<B: UpdateKernels>() {
    for n in SIZES {
        for weight_decay in [0.0, 0.01] {
            let step = AdamaxStep { weight_decay, ..STEP };
            let (w, g) = (random(n, -1.0, 1.0), random(n, -1.0, 1.0));
            let (m, u) = (random(n, -0.5, 0.5), random(n, 0.0, 1.0));
            fn run<B: UpdateKernels>(step: AdamaxStep, inputs: [&[f32]; 4]) -> [Tensor<B, 1>; 3] {
                let [w, g, m, u] = inputs.map(on);
                let updated = B::adamax(step, w, g, m, u, Fusion::scale(0.3));
                assert!(updated.averages.is_none());
                [updated.weight, updated.moment, updated.norm]
            }
            let inputs: [&[f32]; 4] = [&w, &g, &m, &u];
            same(run::<B>(step, inputs), run::<Reference>(step, inputs));
        }
    }
}

fn averages<B: Backend>([v, i, u]: &[Vec<f32>; 3]) -> Averages<B> {
    Averages { window: on(v), importance: on(i), uncertainty: on(u) }
}

fn parts<B: Backend>(averages: Averages<B>) -> [Tensor<B, 1>; 3] {
    [averages.window, averages.importance, averages.uncertainty]
}

fn sensitivities_equal_their_default_body<B: UpdateKernels>() {
    for n in SIZES {
        let state = [0, 1, 2].map(|_| random(n, 0.0, 1.0));
        let (w, g) = (random(n, -1.0, 1.0), random(n, -1.0, 1.0));
        for position in [0, 3] {
            let observation = Observation { position, beta1: 0.85, beta2: 0.95 };
            same(
                parts(B::observe(averages(&state), on(&w), on(&g), observation)),
                parts(Reference::observe(averages(&state), on(&w), on(&g), observation)),
            );
        }
    }
}

/// Scaling, Adamax, scores and masks in one pass are what they are one after the other.
fn one_pass_equals_its_parts<B: UpdateKernels>() {
    for n in SIZES {
        let state = [0, 1, 2].map(|_| random(n, 0.0, 1.0));
        let (w, g) = (random(n, -1.0, 1.0), random(n, -1.0, 1.0));
        let drop: Vec<bool> = random(n, 0.0, 1.0).iter().map(|v| *v < 0.3).collect();
        for position in [0, 3] {
            let observation = Observation { position, beta1: 0.85, beta2: 0.95 };
            let device = B::Device::default();
            let zeros = || Tensor::<B, 1>::zeros([n], &device);
            let fusion = Fusion {
                grad_scale: 0.3,
                averages: Some((averages(&state), observation)),
                mask: Some(Tensor::from_data(TensorData::new(drop.clone(), [n]), &device)),
            };
            let got = B::adamax(STEP, on(&w), on(&g), zeros(), zeros(), fusion);

            let zeros = || Tensor::<Reference, 1>::zeros([n], &Default::default());
            let plain = Fusion::scale(1.0);
            let scaled = on::<Reference>(&g).mul_scalar(0.3);
            let stepped = Reference::adamax(STEP, on(&w), scaled.clone(), zeros(), zeros(), plain);
            let weight = stepped.weight;
            let expected =
                Reference::observe(averages(&state), weight.clone(), scaled, observation);
            same(parts(got.averages.unwrap()), parts(expected));
            let weight: Vec<f32> = weight.into_data().to_vec().unwrap();
            let masked: Vec<f32> =
                weight.iter().zip(&drop).map(|(w, d)| if *d { 0.0 } else { *w }).collect();
            same(
                [got.weight, got.moment, got.norm],
                [on::<Reference>(&masked), stepped.moment, stepped.norm],
            );
        }
    }
}

fn a_view_into_a_larger_tensor_is_not_written_beyond<B: UpdateKernels>() {
    let whole = on::<B>(&[9.0, 1.0, 2.0, 9.0]);
    let window = whole.clone().slice(1..3);
    let ones = on::<B>(&[1.0, 1.0]);
    let state = Averages { window, importance: ones.clone(), uncertainty: ones.clone() };
    let observation = Observation { position: 1, beta1: 0.85, beta2: 0.95 };
    let got = B::observe(state, ones.clone(), ones, observation).window;
    assert_eq!(got.into_data().to_vec::<f32>().unwrap(), [1.0, 1.5]);
    assert_eq!(whole.into_data().to_vec::<f32>().unwrap(), [9.0, 1.0, 2.0, 9.0]);
}
