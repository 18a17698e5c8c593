//! Staged sums on every backend, at sizes where a single reduction is wrong on some.

use burn::tensor::{Tensor, TensorData};
use platon::kernels::{UpdateKernels, reduce};

use crate::backends::on_every_backend;

on_every_backend!(a_million_elements_are_summed_right, odd_sizes_are_summed_right);

fn check<B: UpdateKernels>(n: usize) {
    // Small integers: every partial sum is exact in f32, so that the result must be too.
    let values: Vec<f32> = (0..n).map(|i| (i % 7) as f32 - 2.0).collect();
    let expected: f64 = values.iter().map(|v| f64::from(*v)).sum();
    let squares: f64 = values.iter().map(|v| f64::from(v * v)).sum();
    let tensor = Tensor::<B, 1>::from_data(TensorData::new(values, [n]), &B::Device::default());
    let read = |t: Tensor<B, 1>| t.into_data().iter::<f64>().next().unwrap();
    assert_eq!(read(reduce::sum(tensor.clone())), expected, "n = {n}");
    let device = tensor.device();
    let parts = || vec![tensor.clone(), Tensor::from_floats([2.0], &device)];
    assert_eq!(read(reduce::sum_of_squares(parts(), &device)), squares + 4.0, "n = {n}");
    assert_eq!(read(B::sum_of_squares(parts(), &device)), squares + 4.0, "n = {n}");
    assert_eq!(read(B::sum_of_squares(vec![], &device)), 0.0);
    let ones = Tensor::ones([3], &device);
    let zeros = (0..n).filter(|i| i % 7 == 2).count();
    assert_eq!(B::count_zeros(vec![tensor, ones]), [zeros, 0], "n = {n}");
    assert!(B::count_zeros(vec![]).is_empty());
}

fn a_million_elements_are_summed_right<B: UpdateKernels>() {
    check::<B>(1_000_000);
}

fn odd_sizes_are_summed_right<B: UpdateKernels>() {
    for n in [1, 7, 1023, 1024, 1025, 384 * 1536, (1 << 18) + 1] {
        check::<B>(n);
    }
}
