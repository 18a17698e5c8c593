//! Dropout as a function of the element's place.

use std::mem::MaybeUninit;

use super::math::random_bits;
use crate::kernels::operands::SeededDropout;

/// Keeps or drops the element at an index.
#[derive(Clone, Copy)]
pub struct DropoutMask {
    seed: u64,
    /// Random bits below this mean zero.
    limit: u32,
    scale: f32,
}

impl DropoutMask {
    /// `None` keeps everything.
    pub fn new(dropout: Option<SeededDropout>) -> Self {
        let (rate, seed) = dropout.map_or((0.0, 0), |d| (d.rate, d.seed));
        let limit = (rate * 2f64.powi(32)) as u32;
        Self { seed, limit, scale: (1.0 / (1.0 - rate)) as f32 }
    }

    /// Whether anything can be dropped.
    pub fn active(self) -> bool {
        self.limit > 0
    }

    /// What the elements that are kept are multiplied by.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// What the element at `index` is multiplied by.
    #[inline(always)]
    pub fn factor(self, index: u32) -> f32 {
        if random_bits(self.seed, index) < self.limit { 0.0 } else { self.scale }
    }

    /// Writes `values`, whose indices begin at `first`, to `room` after dropout, as far as both
    /// reach.
    #[inline(always)]
    pub fn apply(self, first: u32, values: &[f32], room: &mut [MaybeUninit<f32>]) {
        for ((y, v), i) in room.iter_mut().zip(values).zip(first..) {
            y.write(*v * self.factor(i));
        }
    }
}
