//! What happens to every parameter at every update.
//!
//! The arithmetic is that of the default bodies, operation by operation, so both give the same
//! bits; the sum of squares alone adds up in another order, which does not depend on the number of
//! threads.

use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{CHUNK, give, new, read, take};
use crate::kernels::update::{AdamaxStep, UpdateKernels};

type Flat = Tensor<Flex, 1>;

/// A tensor whose storage can be written, and is all of it.
fn own(tensor: FlexTensor) -> FlexTensor {
    let n = tensor.layout().num_elements();
    if tensor.storage::<f32>().len() == n {
        return tensor;
    }
    let values = read(&tensor).to_vec();
    FlexTensor::from_data(TensorData::new(values, [n]))
}

impl UpdateKernels for Flex {
    fn sum_of_squares(values: Flat) -> Flat {
        let device = values.device();
        let values = take(values);
        let partial: Vec<f64> = read(&values)
            .par_chunks(CHUNK)
            .map(|chunk| {
                // Lanes let the compiler vectorise the sum; f64 keeps it exact enough.
                let mut lanes = [0.0f64; 8];
                for group in chunk.chunks(8) {
                    for (lane, v) in lanes.iter_mut().zip(group) {
                        *lane += f64::from(*v) * f64::from(*v);
                    }
                }
                lanes.iter().sum()
            })
            .collect();
        let sum: f64 = partial.iter().sum();
        Tensor::from_floats([sum as f32], &device)
    }

    fn count_zeros(values: Flat) -> usize {
        let values = take(values);
        let count = |chunk: &[f32]| chunk.iter().filter(|v| **v == 0.0).count();
        read(&values).par_chunks(CHUNK).map(count).sum()
    }

    fn adamax(step: AdamaxStep, weight: Flat, grad: Flat, moment: Flat, norm: Flat) -> [Flat; 3] {
        let lr = step.learning_rate as f32;
        let (beta_1, rest_1) = (step.beta_1 as f32, (1.0 - step.beta_1) as f32);
        let (beta_2, epsilon) = (step.beta_2 as f32, step.epsilon as f32);
        let decay = step.weight_decay as f32;
        let (weight, grad) = (take(weight), take(grad));
        let (mut moment, mut norm) = (own(take(moment)), own(take(norm)));
        // The model that burn's Learner keeps still holds the old weights, so the new ones need a
        // buffer of their own.
        let mut updated = vec![0.0f32; read(&weight).len()];
        (
            updated.par_chunks_mut(CHUNK),
            moment.storage_mut::<f32>().par_chunks_mut(CHUNK),
            norm.storage_mut::<f32>().par_chunks_mut(CHUNK),
            read(&weight).par_chunks(CHUNK),
            read(&grad).par_chunks(CHUNK),
        )
            .into_par_iter()
            .for_each(|(updated, moment, norm, weight, grad)| {
                let state = moment.iter_mut().zip(norm.iter_mut());
                let inputs = weight.iter().zip(grad);
                for ((new, (m, u)), (w, g)) in updated.iter_mut().zip(state).zip(inputs) {
                    *m = *m * beta_1 + *g * rest_1;
                    *u = (*u * beta_2).max(g.abs() + epsilon);
                    *new = *w - (*m / (*u + epsilon) + *w * decay) * lr;
                }
            });
        let n = updated.len();
        [new(updated, [n]), give(moment), give(norm)]
    }

    fn accumulate_sensitivity(window: Flat, weight: Flat, grad: Flat, position: f64) -> Flat {
        let (l, next) = (position as f32, (position + 1.0) as f32);
        let (weight, grad) = (take(weight), take(grad));
        let mut window = own(take(window));
        (
            window.storage_mut::<f32>().par_chunks_mut(CHUNK),
            read(&weight).par_chunks(CHUNK),
            read(&grad).par_chunks(CHUNK),
        )
            .into_par_iter()
            .for_each(|(window, weight, grad)| {
                for (v, (w, g)) in window.iter_mut().zip(weight.iter().zip(grad)) {
                    *v = (*v * l + (*w * *g).abs()) / next;
                }
            });
        give(window)
    }

    fn close_window(
        window: Flat,
        importance: Flat,
        uncertainty: Flat,
        weight: Flat,
        grad: Flat,
        betas: (f64, f64),
    ) -> [Flat; 3] {
        let (beta1, rest1) = (betas.0 as f32, (1.0 - betas.0) as f32);
        let (beta2, rest2) = (betas.1 as f32, (1.0 - betas.1) as f32);
        let (weight, grad) = (take(weight), take(grad));
        let mut window = own(take(window));
        let (mut importance, mut uncertainty) = (own(take(importance)), own(take(uncertainty)));
        (
            window.storage_mut::<f32>().par_chunks_mut(CHUNK),
            importance.storage_mut::<f32>().par_chunks_mut(CHUNK),
            uncertainty.storage_mut::<f32>().par_chunks_mut(CHUNK),
            read(&weight).par_chunks(CHUNK),
            read(&grad).par_chunks(CHUNK),
        )
            .into_par_iter()
            .for_each(|(window, importance, uncertainty, weight, grad)| {
                let state = importance.iter_mut().zip(uncertainty.iter_mut());
                let inputs = weight.iter().zip(grad);
                for ((v, (i, u)), (w, g)) in window.iter_mut().zip(state).zip(inputs) {
                    *i = *i * beta1 + *v * rest1;
                    *u = *u * beta2 + (*v - *i).abs() * rest2;
                    *v = (*w * *g).abs();
                }
            });
        [give(window), give(importance), give(uncertainty)]
    }
}
