//! The k-th smallest of many scores, in two passes over memory: a histogram of the upper half of
//! their bit patterns, then the few scores in the bin that holds the k-th.
//!
//! The bit patterns of floats that are not negative are in the order of the floats; those of
//! undefined ones (NaN) lie above all others.

use burn::tensor::{Bool, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::{CHUNK, read, simd, take};
use crate::kernels::operands::Scores;

const BINS: usize = 1 << 16;

/// Elements per unit of work: enough to pay for a histogram of its own.
const SHARE: usize = 1 << 19;

/// Some of one parameter's scores.
#[derive(Clone, Copy)]
enum ScoreChunk<'a> {
    Product(&'a [f32], &'a [f32]),
    Absolute(&'a [f32]),
}

impl<'a> ScoreChunk<'a> {
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

    fn chunks(&self, size: usize) -> Vec<ScoreChunk<'_>> {
        match self {
            Self::Product(a, b) => {
                let pairs = read(a).chunks(size).zip(read(b).chunks(size));
                pairs.map(|(a, b)| ScoreChunk::Product(a, b)).collect()
            }
            Self::Absolute(values) => read(values).chunks(size).map(ScoreChunk::Absolute).collect(),
        }
    }
}

/// As [`UpdateKernels::kth_smallest`](crate::kernels::UpdateKernels::kth_smallest).
///
/// # Shapes
/// - `scores`: `[n]` each, any n
pub fn kth_smallest(scores: &[Scores<Flex>], k: usize) -> Option<f32> {
    let n: usize = scores.iter().map(Scores::len).sum();
    if k == 0 || k > n {
        return None;
    }
    let held: Vec<Held> = scores.iter().map(Held::new).collect();
    let chunks: Vec<ScoreChunk<'_>> = held.iter().flat_map(|h| h.chunks(SHARE)).collect();
    let (bin, before) = bin_of(&histogram(&chunks), k)?;
    let mut inside: Vec<u32> = chunks
        .par_iter()
        .flat_map_iter(|chunk| {
            let mut inside = Vec::new();
            simd(|| {
                chunk.for_each(|key| {
                    if key >> 16 == bin {
                        inside.push(key);
                    }
                });
            });
            inside
        })
        .collect();
    let (_, key, _) = inside.select_nth_unstable(k - before - 1);
    let value = f32::from_bits(*key);
    Some(if value.is_nan() { f32::NAN } else { value })
}

/// How many scores there are for every upper half of a bit pattern.
fn histogram(chunks: &[ScoreChunk<'_>]) -> Vec<u32> {
    let count = |mut bins: Vec<u32>, chunk: &ScoreChunk<'_>| {
        simd(|| {
            chunk.for_each(|key| {
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
    chunks.par_iter().fold(empty, count).reduce(empty, add)
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
///
/// # Shapes
/// - `scores`, output: `[n]`
pub fn below(scores: Scores<Flex>, threshold: f32) -> Tensor<Flex, 1, Bool> {
    let n = scores.len();
    let held = Held::new(&scores);
    let mut mask = vec![false; n];
    mask.par_chunks_mut(CHUNK).zip(held.chunks(CHUNK)).for_each(|(mask, chunk)| {
        simd(|| match chunk {
            ScoreChunk::Product(a, b) => {
                for (m, (a, b)) in mask.iter_mut().zip(a.iter().zip(b)) {
                    *m = *a * *b < threshold;
                }
            }
            ScoreChunk::Absolute(values) => {
                for (m, v) in mask.iter_mut().zip(values) {
                    *m = v.abs() < threshold;
                }
            }
        });
    });
    Tensor::from_data(TensorData::new(mask, [n]), &Default::default())
}
