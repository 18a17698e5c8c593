//! Sums over many elements, in stages.

use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Numeric, Tensor};

/// Elements added up at once. On wgpu over llvmpipe one reduction over more than 2^18 elements
/// gives a wrong result, and in f32 short partial sums lose less.
const WIDTH: usize = 1024;

/// The sum of all elements of `values`.
///
/// # Shapes
/// - `values`: `[n]`, any n
/// - output: `[1]`
pub fn sum<B: Backend, K: Numeric<B>>(values: Tensor<B, 1, K>) -> Tensor<B, 1, K> {
    let [n] = values.dims();
    let partial = partial(values);
    if n <= WIDTH { partial } else { sum(partial) }
}

/// Sums of at most [`WIDTH`] elements each, whose sum is that of `values`, `[m]`.
fn partial<B: Backend, K: Numeric<B>>(values: Tensor<B, 1, K>) -> Tensor<B, 1, K> {
    // One kernel, where the sum of everything takes another that clears its result beforehand.
    let rows = |values: Tensor<B, 1, K>, rows: usize| {
        let [n] = values.dims();
        values.reshape([rows, n / rows]).sum_dim(1).reshape([rows])
    };
    let [n] = values.dims();
    let full = n / WIDTH * WIDTH;
    match full {
        _ if n == 0 => values.sum(),
        0 => rows(values, 1),
        full if full == n => rows(values, n / WIDTH),
        full => {
            let head = rows(values.clone().slice(0..full), full / WIDTH);
            Tensor::cat(vec![head, rows(values.slice(full..n), 1)], 0)
        }
    }
}

/// The sum of the squares of all elements of all `values` together.
///
/// # Shapes
/// - `values`: `[n]` each, any n
/// - output: `[1]`
pub fn sum_of_squares<B: Backend>(values: Vec<Tensor<B, 1>>, device: &B::Device) -> Tensor<B, 1> {
    // Each is one reduction; what is left of them is added up together.
    let partial: Vec<_> = values.into_iter().map(|v| partial(v.clone() * v)).collect();
    if partial.is_empty() { Tensor::zeros([1], device) } else { sum(Tensor::cat(partial, 0)) }
}

/// How many elements of all `masks` together are true; one number is copied to the host.
///
/// # Shapes
/// - `masks`: `[n]` each, any n
pub fn count<B: Backend>(masks: impl Iterator<Item = Tensor<B, 1, Bool>>) -> usize {
    let total = masks.map(|mask| sum(mask.int())).reduce(|a, b| a + b);
    let total = total.and_then(|total| total.into_data().iter::<i64>().next());
    total.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// How many elements of each of `masks` are true; all numbers are copied to the host at once.
///
/// # Shapes
/// - `masks`: `[n]` each, any n
pub fn count_each<B: Backend>(masks: impl Iterator<Item = Tensor<B, 1, Bool>>) -> Vec<usize> {
    let counts: Vec<_> = masks.map(|mask| sum(mask.int())).collect();
    if counts.is_empty() {
        return Vec::new();
    }
    let counts = Tensor::cat(counts, 0).into_data();
    counts.iter::<i64>().map(|n| usize::try_from(n).unwrap_or(0)).collect()
}
