//! Activations and their slopes.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::math::{exp, normal_cdf};
use super::memory::Fresh;
use super::{CHUNK, Matrix, new, read, simd, take};
use crate::activation::{Activation, GELU_TANH};

/// An activation, and its slope where `keep` asks for it.
///
/// # Shapes
/// - `x`, outputs: `[rows, width]`
pub fn activate(x: Matrix, activation: Activation, keep: bool) -> (Matrix, Option<Matrix>) {
    match activation {
        Activation::Gelu => each::<Gelu>(x, keep),
        Activation::GeluTanh => each::<GeluTanh>(x, keep),
        Activation::Relu => each::<Relu>(x, keep),
        Activation::Silu => each::<Silu>(x, keep),
        Activation::Tanh => each::<Tanh>(x, keep),
    }
}

/// A function of single elements that the compiler can vectorise.
trait Function {
    fn value(x: f32) -> f32;
    /// With the slope.
    fn both(x: f32) -> (f32, f32);
}

struct Gelu;
struct GeluTanh;
struct Relu;
struct Silu;
struct Tanh;

impl Function for Gelu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * normal_cdf(x)
    }

    #[inline(always)]
    fn both(x: f32) -> (f32, f32) {
        /// 1 / sqrt(2 pi)
        const DENSITY: f32 = 0.398_942_3;
        let phi = normal_cdf(x);
        (x * phi, phi + x * exp(-0.5 * x * x) * DENSITY)
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        Self::both(x).0
    }

    #[inline(always)]
    fn both(x: f32) -> (f32, f32) {
        let (scale, cubic) = GELU_TANH;
        // (1 + tanh(z)) / 2 = sigmoid(2 z), whose slope is 2 sigmoid (1 - sigmoid).
        let s = sigmoid(2.0 * scale * x * (1.0 + cubic * x * x));
        let slope = 2.0 * scale * (1.0 + 3.0 * cubic * x * x);
        (x * s, s + x * s * (1.0 - s) * slope)
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        // Unlike the larger of the two, NaN where x is.
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn both(x: f32) -> (f32, f32) {
        (Self::value(x), if x > 0.0 { 1.0 } else { 0.0 })
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * sigmoid(x)
    }

    #[inline(always)]
    fn both(x: f32) -> (f32, f32) {
        let s = sigmoid(x);
        (x * s, s + x * s * (1.0 - s))
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        2.0 * sigmoid(2.0 * x) - 1.0
    }

    #[inline(always)]
    fn both(x: f32) -> (f32, f32) {
        let y = Self::value(x);
        (y, 1.0 - y * y)
    }
}

/// 1 / (1 + e^-x)
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The function of each element; its slope too where `keep` asks for it.
///
/// # Shapes
/// As [`activate`].
fn each<F: Function>(x: Matrix, keep: bool) -> (Matrix, Option<Matrix>) {
    let shape = x.dims();
    let n = shape[0] * shape[1];
    let x = take(x);
    let (mut output, mut slope) = (Fresh::new(n), Fresh::new(if keep { n } else { 0 }));
    let inputs = read(&x).par_chunks(CHUNK);
    let outputs = output.room(n).par_chunks_mut(CHUNK).zip(inputs);
    if !keep {
        outputs.for_each(|(output, x)| {
            simd(|| {
                for (y, x) in output.iter_mut().zip(x) {
                    y.write(F::value(*x));
                }
            });
        });
        // SAFETY: every chunk was written.
        return (new(unsafe { output.filled(n) }, shape), None);
    }
    let chunk = |output: &mut [MaybeUninit<f32>], slope: &mut [MaybeUninit<f32>], x: &[f32]| {
        simd(|| {
            for ((y, d), x) in output.iter_mut().zip(slope).zip(x) {
                let (value, slope) = F::both(*x);
                y.write(value);
                d.write(slope);
            }
        });
    };
    outputs
        .zip(slope.room(n).par_chunks_mut(CHUNK))
        .for_each(|((output, x), slope)| chunk(output, slope, x));
    // SAFETY: every chunk of both was written.
    let (output, slope) = unsafe { (output.filled(n), slope.filled(n)) };
    (new(output, shape), Some(new(slope, shape)))
}
