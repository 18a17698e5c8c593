//! What happens to every parameter at every update, in one pass over memory.
//!
//! The arithmetic is that of the default bodies, operation by operation, so both give the same
//! bits; the sum of squares alone adds up in another order, which does not depend on the number of
//! threads.

use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use burn::tensor::{Bool, Tensor};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::memory::{Fresh, written};
use super::select;
use super::{CHUNK, give, new, read, simd, take};
use crate::kernels::operands::{AdamaxStep, Averages, Fusion, Observation, Scores, Updated};
use crate::kernels::update::UpdateKernels;

type Flat = Tensor<Flex, 1>;

/// Elements that pass through all operations while they are in the first-level cache.
const BLOCK: usize = 1 << 10;

/// The constants of Adamax in f32.
#[derive(Clone, Copy)]
struct AdamaxConstants {
    rate: f32,
    beta_1: f32,
    rest_1: f32,
    beta_2: f32,
    epsilon: f32,
    decay: f32,
}

/// The constants of an observation in f32.
#[derive(Clone, Copy)]
struct ObservationConstants {
    position: usize,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
}

impl ObservationConstants {
    fn new(Observation { position, beta1, beta2 }: Observation) -> Self {
        Self {
            position,
            beta1: beta1 as f32,
            rest1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            rest2: (1.0 - beta2) as f32,
        }
    }
}

/// Some elements of the averages.
struct Span<'a> {
    window: &'a mut [f32],
    importance: &'a mut [f32],
    uncertainty: &'a mut [f32],
}

/// The storage of the averages.
struct Owned([FlexTensor; 3]);

impl Owned {
    fn new(averages: Averages<Flex>) -> Self {
        let Averages { window, importance, uncertainty } = averages;
        Self([window, importance, uncertainty].map(take))
    }

    fn spans(&mut self) -> impl Iterator<Item = Span<'_>> {
        let [window, importance, uncertainty] =
            self.0.each_mut().map(|t| t.storage_mut::<f32>().chunks_mut(CHUNK));
        window.zip(importance).zip(uncertainty).map(|((window, importance), uncertainty)| Span {
            window,
            importance,
            uncertainty,
        })
    }

    fn give(self) -> Averages<Flex> {
        let [window, importance, uncertainty] = self.0.map(give);
        Averages { window, importance, uncertainty }
    }
}

/// Some elements of a parameter and all that belongs to it.
struct Work<'a> {
    updated: &'a mut [MaybeUninit<f32>],
    weight: &'a [f32],
    grad: &'a [f32],
    moment: &'a mut [f32],
    norm: &'a mut [f32],
    averages: Option<Span<'a>>,
    mask: Option<&'a [u8]>,
}

#[inline(always)]
fn adamax(
    c: AdamaxConstants,
    grad_scale: f32,
    updated: &mut [MaybeUninit<f32>],
    (weight, grad): (&[f32], &[f32]),
    (moment, norm): (&mut [f32], &mut [f32]),
) {
    let state = moment.iter_mut().zip(norm.iter_mut());
    let inputs = weight.iter().zip(grad);
    for ((new, (m, u)), (w, g)) in updated.iter_mut().zip(state).zip(inputs) {
        let g = *g * grad_scale;
        *m = *m * c.beta_1 + g * c.rest_1;
        *u = (*u * c.beta_2).max(g.abs() + c.epsilon);
        new.write(*w - (*m / (*u + c.epsilon) + *w * c.decay) * c.rate);
    }
}

#[inline(always)]
fn observe(s: ObservationConstants, grad_scale: f32, weight: &[f32], grad: &[f32], span: Span<'_>) {
    let Span { window, importance, uncertainty } = span;
    let inputs = weight.iter().zip(grad);
    if s.position > 0 {
        let (l, next) = (s.position as f32, (s.position + 1) as f32);
        for (v, (w, g)) in window.iter_mut().zip(inputs) {
            *v = (*v * l + (*w * (*g * grad_scale)).abs()) / next;
        }
        return;
    }
    let state = importance.iter_mut().zip(uncertainty.iter_mut());
    for ((v, (i, u)), (w, g)) in window.iter_mut().zip(state).zip(inputs) {
        *i = *i * s.beta1 + *v * s.rest1;
        *u = *u * s.beta2 + (*v - *i).abs() * s.rest2;
        *v = (*w * (*g * grad_scale)).abs();
    }
}

impl Work<'_> {
    /// All operations on one block after the other, so that memory is read and written once.
    ///
    /// Gives the time that all of it took, and that of averages and mask.
    fn run(
        self,
        constants: AdamaxConstants,
        grad_scale: f32,
        observation: Option<ObservationConstants>,
    ) -> [Duration; 2] {
        let begun = Instant::now();
        let Self { updated, weight, grad, moment, norm, mut averages, mask } = self;
        let blocks = updated.chunks_mut(BLOCK).zip(weight.chunks(BLOCK)).zip(grad.chunks(BLOCK));
        let states = moment.chunks_mut(BLOCK).zip(norm.chunks_mut(BLOCK));
        let mut pruning = Duration::ZERO;
        for (n, (((updated, weight), grad), (moment, norm))) in blocks.zip(states).enumerate() {
            let block = n * BLOCK..n * BLOCK + updated.len();
            simd(|| adamax(constants, grad_scale, updated, (weight, grad), (moment, norm)));
            // SAFETY: Adamax writes the whole block.
            let updated = unsafe { written(updated) };
            if averages.is_none() && mask.is_none() {
                continue;
            }
            let started = Instant::now();
            simd(|| {
                if let (Some(averages), Some(observation)) = (&mut averages, observation) {
                    let span = Span {
                        window: &mut averages.window[block.clone()],
                        importance: &mut averages.importance[block.clone()],
                        uncertainty: &mut averages.uncertainty[block.clone()],
                    };
                    observe(observation, grad_scale, updated, grad, span);
                }
                if let Some(mask) = mask {
                    for (w, masked) in updated.iter_mut().zip(&mask[block]) {
                        *w = if *masked != 0 { 0.0 } else { *w };
                    }
                }
            });
            pruning += started.elapsed();
        }
        [begun.elapsed(), pruning]
    }
}

/// The sum of the squares of all elements.
fn sum_of_squares(values: &FlexTensor) -> f64 {
    let partial: Vec<f64> = read(values)
        .par_chunks(CHUNK)
        .map(|chunk| {
            simd(|| {
                // Lanes let the compiler vectorise the sum; f64 keeps it exact enough.
                let mut lanes = [0.0f64; 16];
                let groups = chunk.chunks_exact(16);
                let rest = groups.remainder();
                for group in groups {
                    for (lane, v) in lanes.iter_mut().zip(group) {
                        *lane += f64::from(*v) * f64::from(*v);
                    }
                }
                let rest: f64 = rest.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
                lanes.iter().sum::<f64>() + rest
            })
        })
        .collect();
    partial.iter().sum()
}

impl UpdateKernels for Flex {
    const QUEUES: bool = false;

    fn sum_of_squares(values: Vec<Flat>, device: &Self::Device) -> Flat {
        let sums = values.into_iter().map(|values| sum_of_squares(&take(values)) as f32);
        Tensor::from_floats([sums.sum::<f32>()], device)
    }

    fn adamax(
        step: AdamaxStep,
        weight: Flat,
        grad: Flat,
        moment: Flat,
        norm: Flat,
        fusion: Fusion<Flex>,
    ) -> Updated<Flex> {
        let constants = AdamaxConstants {
            rate: step.learning_rate as f32,
            beta_1: step.beta_1 as f32,
            rest_1: (1.0 - step.beta_1) as f32,
            beta_2: step.beta_2 as f32,
            epsilon: step.epsilon as f32,
            decay: step.weight_decay as f32,
        };
        let Fusion { grad_scale, averages, mask } = fusion;
        let grad_scale = grad_scale as f32;
        // Memory is not cleared beforehand, so everything must fit.
        let shape = weight.dims();
        assert_eq!([grad.dims(), moment.dims(), norm.dims()], [shape; 3], "shapes do not fit");
        if let Some((a, _)) = &averages {
            let shapes = [a.window.dims(), a.importance.dims(), a.uncertainty.dims()];
            assert_eq!(shapes, [shape; 3], "shapes do not fit");
        }
        assert!(mask.as_ref().is_none_or(|mask| mask.dims() == shape), "shapes do not fit");
        let (weight, grad) = (take(weight), take(grad));
        let (mut moment, mut norm) = (take(moment), take(norm));
        let observation = averages.as_ref().map(|(_, o)| ObservationConstants::new(*o));
        let mut averages = averages.map(|(averages, _)| Owned::new(averages));
        let mask = mask.map(|mask| mask.into_primitive().to_contiguous());
        // The model that burn's Learner keeps still holds the old weights, so the new ones need
        // memory of their own.
        let n = read(&weight).len();
        let mut updated = Fresh::new(n);
        let mut spans = averages.as_mut().map(Owned::spans);
        let mut masks = mask.as_ref().map(|m| m.bytes().chunks(CHUNK));
        let work: Vec<Work<'_>> = updated
            .room(n)
            .chunks_mut(CHUNK)
            .zip(read(&weight).chunks(CHUNK).zip(read(&grad).chunks(CHUNK)))
            .zip(moment.storage_mut::<f32>().chunks_mut(CHUNK))
            .zip(norm.storage_mut::<f32>().chunks_mut(CHUNK))
            .map(|(((updated, (weight, grad)), moment), norm)| Work {
                updated,
                weight,
                grad,
                moment,
                norm,
                averages: spans.as_mut().and_then(Iterator::next),
                mask: masks.as_mut().and_then(Iterator::next),
            })
            .collect();
        let started = Instant::now();
        let [all, pruning] = work
            .into_par_iter()
            .map(|work| work.run(constants, grad_scale, observation))
            .reduce(Default::default, |[a, b], [c, d]| [a + c, b + d]);
        // The threads' share of it, of the time that passed.
        let share = pruning.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
        let pruning = started.elapsed().mul_f64(share.min(1.0));
        drop(spans);
        // SAFETY: every block was written.
        let updated = unsafe { updated.filled(n) };
        Updated {
            weight: new(updated, [n]),
            moment: give(moment),
            norm: give(norm),
            averages: averages.map(Owned::give),
            pruning,
        }
    }

    fn observe(
        averages: Averages<Flex>,
        weight: Flat,
        grad: Flat,
        observation: Observation,
    ) -> Averages<Flex> {
        let observation = ObservationConstants::new(observation);
        let (weight, grad) = (take(weight), take(grad));
        let mut averages = Owned::new(averages);
        let inputs = read(&weight).chunks(CHUNK).zip(read(&grad).chunks(CHUNK));
        let work: Vec<_> = averages.spans().zip(inputs).collect();
        work.into_par_iter().for_each(|(span, (weight, grad))| {
            simd(|| observe(observation, 1.0, weight, grad, span));
        });
        averages.give()
    }

    fn count_zeros(parameters: Vec<Flat>) -> Vec<usize> {
        let count = |chunk: &[f32]| simd(|| chunk.iter().filter(|v| **v == 0.0).count());
        let all = parameters.into_iter().map(take);
        all.map(|values| read(&values).par_chunks(CHUNK).map(count).sum()).collect()
    }

    fn kth_smallest(scores: &[Scores<Flex>], k: usize) -> Option<f32> {
        select::kth_smallest(scores, k)
    }

    fn below(scores: Scores<Flex>, threshold: f32) -> Tensor<Flex, 1, Bool> {
        select::below(scores, threshold)
    }
}
