//! What is done to each element or each token of a panel.

use pulp::{Simd, WithSimd};

use super::vector::{Instructions, VECTORS, activate, multiply_add, vectors_mut};
use crate::activation::Activation;

/// LayerNorm's parameters (Ba et al., 2016).
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// What a normalised feature is multiplied by, `[features]`.
    pub gamma: Vec<f32>,
    /// What is added to it, `[features]`.
    pub beta: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Norm {
    /// Normalises each token of a panel over its features, in place.
    ///
    /// # Shapes
    /// - `panel`: `[features, width]`
    pub fn apply(&self, instructions: Instructions, panel: &mut [f32]) {
        instructions.run(Normalize { norm: self, panel });
    }
}

struct Normalize<'a> {
    norm: &'a Norm,
    panel: &'a mut [f32],
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { norm: Norm { gamma, beta, epsilon }, panel } = self;
        let features = gamma.len().max(1);
        let panel = vectors_mut::<S>(panel);
        let width = panel.len() / features;
        assert!(width <= VECTORS && panel.len() == width * features, "shapes do not fit");
        let share = simd.splat_f32s(1.0 / features as f32);
        let mut mean = [simd.splat_f32s(0.0); VECTORS];
        for row in panel.chunks_exact(width) {
            for (sum, v) in mean.iter_mut().zip(row) {
                *sum = simd.add_f32s(*sum, *v);
            }
        }
        for mean in &mut mean {
            *mean = simd.mul_f32s(*mean, share);
        }
        let mut scale = [simd.splat_f32s(0.0); VECTORS];
        for row in panel.chunks_exact(width) {
            for ((sum, mean), v) in scale.iter_mut().zip(mean).zip(row) {
                let difference = simd.sub_f32s(*v, mean);
                *sum = multiply_add(simd, difference, difference, *sum);
            }
        }
        for scale in &mut scale {
            let variance = multiply_add(simd, *scale, share, simd.splat_f32s(*epsilon));
            *scale = simd.div_f32s(simd.splat_f32s(1.0), simd.sqrt_f32s(variance));
        }
        for (row, (gamma, beta)) in panel.chunks_exact_mut(width).zip(gamma.iter().zip(beta)) {
            let (gamma, beta) = (simd.splat_f32s(*gamma), simd.splat_f32s(*beta));
            for ((v, mean), scale) in row.iter_mut().zip(mean).zip(scale) {
                let normalized = simd.mul_f32s(simd.sub_f32s(*v, mean), scale);
                *v = multiply_add(simd, normalized, gamma, beta);
            }
        }
    }
}

/// The activation of each element, in place.
pub fn apply(activation: Activation, instructions: Instructions, values: &mut [f32]) {
    instructions.run(Apply(activation, values));
}

struct Apply<'a>(Activation, &'a mut [f32]);

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for x in vectors_mut::<S>(self.1) {
            *x = activate(simd, self.0, *x);
        }
    }
}
