//! The k-th smallest of many scores, in two passes over memory: a histogram of the upper half of
//! their bit patterns, then the few scores in the bin that holds the k-th.
//!
//! The bit patterns of floats that are not negative are in the order of the floats; those of
//! undefined ones (NaN) lie above all others.

use burn::tensor::{Bool, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{CHUNK, read, simd, take};
use crate::kernels::operands::{Cut, Scores};

const BINS: usize = 1 << 16;

/// Elements per unit of work: enough to pay for a histogram of its own.
const SHARE: usize = 1 << 19;

/// Part of one parameter's scores.
#[derive(Clone, Copy)]
enum Part<'a> {
    Product(&'a [f32], &'a [f32]),
    Absolute(&'a [f32]),
}

impl<'a> Part<'a> {
    /// Calls `each` with the bit pattern of every score, block by block.
    #[inline(always)]
    fn for_each(self, mut each: impl FnMut(u32)) {
        const BLOCK: usize = 256;
        let mut keys = [0u32; BLOCK];
        match self {
            Self::Product(a, b) => {
                for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
                    for (key, (a, b)) in keys.iter_mut().zip(a.iter().zip(b)) {
                        *key = (*a * *b).to_bits();
                    }
                    keys[..a.len()].iter().for_each(|key| each(*key));
                }
            }
            Self::Absolute(values) => {
                for value in values {
                    each(value.abs().to_bits());
                }
            }
        }
    }
}

/// The storage of one parameter's scores.
enum Held {
    Product(FlexTensor, FlexTensor),
    Absolute(FlexTensor),
}

impl Held {
    fn new(scores: &Scores<Flex>) -> Self {
        match scores {
            Scores::Product(a, b) => Self::Product(take(a.clone()), take(b.clone())),
            Scores::Absolute(values) => Self::Absolute(take(values.clone())),
        }
    }

    fn parts(&self, size: usize) -> Vec<Part<'_>> {
        match self {
            Self::Product(a, b) => {
                let pairs = read(a).chunks(size).zip(read(b).chunks(size));
                pairs.map(|(a, b)| Part::Product(a, b)).collect()
            }
            Self::Absolute(values) => read(values).chunks(size).map(Part::Absolute).collect(),
        }
    }
}

/// As [`UpdateKernels::cut`](crate::kernels::UpdateKernels::cut).
pub fn cut(scores: &[Scores<Flex>], k: usize) -> Option<Cut> {
    let n: usize = scores.iter().map(Scores::len).sum();
    if k == 0 || k > n {
        return None;
    }
    let held: Vec<Held> = scores.iter().map(Held::new).collect();
    let parts: Vec<Part<'_>> = held.iter().flat_map(|h| h.parts(SHARE)).collect();
    let (bin, before) = bin_of(&histogram(&parts), k)?;
    let mut inside: Vec<u32> = parts
        .par_iter()
        .flat_map_iter(|part| {
            let mut inside = Vec::new();
            simd(|| {
                part.for_each(|key| {
                    if key >> 16 == bin {
                        inside.push(key);
                    }
                });
            });
            inside
        })
        .collect();
    let (smaller, key, _) = inside.select_nth_unstable(k - before - 1);
    let key = *key;
    let threshold = f32::from_bits(key);
    if threshold.is_nan() {
        return Some(Cut { threshold: f32::NAN, below: 0 });
    }
    let below = before + smaller.iter().filter(|other| **other < key).count();
    Some(Cut { threshold, below })
}

/// How many scores there are for every upper half of a bit pattern.
fn histogram(parts: &[Part<'_>]) -> Vec<u32> {
    let count = |mut bins: Vec<u32>, part: &Part<'_>| {
        simd(|| {
            part.for_each(|key| {
                if let Some(bin) = bins.get_mut((key >> 16) as usize) {
                    *bin += 1;
                }
            });
        });
        bins
    };
    let empty = || vec![0u32; BINS];
    let add = |mut sum: Vec<u32>, bins: Vec<u32>| {
        for (s, b) in sum.iter_mut().zip(bins) {
            *s += b;
        }
        sum
    };
    parts.par_iter().fold(empty, count).reduce(empty, add)
}

/// The bin that holds the `k`-th score, and how many scores are in the bins before it.
fn bin_of(bins: &[u32], k: usize) -> Option<(u32, usize)> {
    let mut before = 0;
    for (bin, count) in (0..).zip(bins) {
        if before + *count as usize >= k {
            return Some((bin, before));
        }
        before += *count as usize;
    }
    None
}

/// As [`UpdateKernels::below`](crate::kernels::UpdateKernels::below).
pub fn below(scores: Scores<Flex>, threshold: f32) -> Tensor<Flex, 1, Bool> {
    let n = scores.len();
    let held = Held::new(&scores);
    let mut mask = vec![false; n];
    mask.par_chunks_mut(CHUNK).zip(held.parts(CHUNK)).for_each(|(mask, part)| {
        simd(|| match part {
            Part::Product(a, b) => {
                for (m, (a, b)) in mask.iter_mut().zip(a.iter().zip(b)) {
                    *m = *a * *b < threshold;
                }
            }
            Part::Absolute(values) => {
                for (m, v) in mask.iter_mut().zip(values) {
                    *m = v.abs() < threshold;
                }
            }
        });
    });
    Tensor::from_data(TensorData::new(mask, [n]), &Default::default())
}
