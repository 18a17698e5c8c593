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
    if n <= WIDTH {
        return values.sum();
    }
    let rows = n / WIDTH;
    let full = rows * WIDTH;
    let head = values.clone().slice(0..full).reshape([rows, WIDTH]).sum_dim(1);
    let head = sum(head.reshape([rows]));
    if full == n { head } else { head + values.slice(full..n).sum() }
}

/// The sum of the squares of all elements.
///
/// # Shapes
/// - `values`: any
/// - output: `[1]`
pub fn sum_of_squares<B: Backend, const D: usize>(values: Tensor<B, D>) -> Tensor<B, 1> {
    let n = values.shape().num_elements();
    let flat = values.reshape([n]);
    sum(flat.clone() * flat)
}

/// How many elements of all `masks` together are true; one number is copied to the host.
///
/// # Shapes
/// - `masks`: `[n]` each, any n
pub fn count<B: Backend>(masks: impl Iterator<Item = Tensor<B, 1, Bool>>) -> usize {
    let total = masks.map(|mask| sum(mask.int())).reduce(|a, b| a + b);
    let total = total.and_then(|t| t.into_data().iter::<i64>().next());
    total.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}
