//! The default bodies of the operations over parameters, made of burn's own.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use super::operands::{AdamaxStep, Averages, Observation, Scores};
use super::reduce;

/// Weight, moment and norm after one update of Adamax.
///
/// # Shapes
/// - `weight`, `grad`, `moment`, `norm` and outputs: `[n]`
pub fn adamax<B: Backend>(
    step: AdamaxStep,
    weight: Tensor<B, 1>,
    grad: Tensor<B, 1>,
    moment: Tensor<B, 1>,
    norm: Tensor<B, 1>,
) -> [Tensor<B, 1>; 3] {
    let AdamaxStep { learning_rate, beta_1, beta_2, epsilon, weight_decay } = step;
    let size = grad.clone().abs().add_scalar(epsilon);
    let moment = moment.mul_scalar(beta_1) + grad.mul_scalar(1.0 - beta_1);
    let norm = norm.mul_scalar(beta_2).max_pair(size);
    let mut update = moment.clone() / norm.clone().add_scalar(epsilon);
    if weight_decay != 0.0 {
        update = update + weight.clone().mul_scalar(weight_decay);
    }
    [weight - update.mul_scalar(learning_rate), moment, norm]
}

/// The default body of [`UpdateKernels::observe`](super::UpdateKernels::observe).
///
/// # Shapes
/// - `weight`, `grad`: `[n]`
pub fn observe<B: Backend>(
    averages: Averages<B>,
    weight: Tensor<B, 1>,
    grad: Tensor<B, 1>,
    observation: Observation,
) -> Averages<B> {
    let Observation { position, beta1, beta2 } = observation;
    let Averages { window, importance, uncertainty } = averages;
    let sensitivity = (weight * grad).abs();
    if position > 0 {
        let position = position as f64;
        let window = (window.mul_scalar(position) + sensitivity).div_scalar(position + 1.0);
        return Averages { window, importance, uncertainty };
    }
    let importance = importance.mul_scalar(beta1) + window.clone().mul_scalar(1.0 - beta1);
    let fluctuation = (window - importance.clone()).abs();
    let uncertainty = uncertainty.mul_scalar(beta2) + fluctuation.mul_scalar(1.0 - beta2);
    Averages { window: sensitivity, importance, uncertainty }
}

/// The default body of [`UpdateKernels::kth_smallest`](super::UpdateKernels::kth_smallest).
///
/// # Shapes
/// - `scores`: `[n]` each, any n
pub fn kth_smallest<B: Backend>(scores: &[Scores<B>], k: usize) -> Option<f32> {
    let n: usize = scores.iter().map(Scores::len).sum();
    if k == 0 || k > n {
        return None;
    }
    let chunks = chunks(scores);
    let at_most = |limit: u32| {
        let limit = f32::from_bits(limit);
        reduce::count(chunks.iter().map(|chunk| chunk.clone().lower_equal_elem(limit)))
    };
    let (mut low, mut high) = (0u32, f32::INFINITY.to_bits());
    if at_most(high) < k {
        return Some(f32::NAN);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if at_most(middle) >= k {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(f32::from_bits(low))
}

/// The scores, in few tensors: what is asked of a GPU costs as much for few elements as for many.
fn chunks<B: Backend>(scores: &[Scores<B>]) -> Vec<Tensor<B, 1>> {
    /// Elements: 128 MiB, which WebGPU binds at once.
    const CHUNK: usize = 1 << 25;
    let mut chunks = Vec::new();
    let (mut open, mut length) = (Vec::new(), 0);
    for scores in scores {
        if length > 0 && length + scores.len() > CHUNK {
            chunks.push(Tensor::cat(std::mem::take(&mut open), 0));
            length = 0;
        }
        length += scores.len();
        open.push(scores.clone().values());
    }
    if !open.is_empty() {
        chunks.push(Tensor::cat(open, 0));
    }
    chunks
}
