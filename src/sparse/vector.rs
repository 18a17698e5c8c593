//! Vector instructions, chosen at run time, and the functions of single elements.

use std::any::TypeId;

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Scalar256b, Simd, WithSimd};

use crate::activation::{Activation, ERF, EXP, GELU_TANH, ROUND};

/// Vectors of one panel at most.
pub const VECTORS: usize = 4;

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// What every processor has.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// Those that this processor has, the widest last.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(pulp::x86::V3::try_new().map(|_| Self::Avx2));
            found.extend(pulp::x86::V4::try_new().map(|_| Self::Avx512));
        }
        found
    }

    /// The widest that this processor has.
    pub fn widest() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// Floats of one vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Portable => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
        }
    }

    /// As people call them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
        }
    }

    /// Runs `work` compiled for these instructions, or for those that there are.
    pub fn run<W: WithSimd>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, work);
                }
            }
            Self::Avx2 => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, work);
                }
            }
            Self::Portable => {}
        }
        work.with_simd(Scalar256b)
    }
}

/// `values` as vectors, which they fill.
#[inline(always)]
pub fn vectors<S: Simd>(values: &[f32]) -> &[S::f32s] {
    cast_slice(values)
}

/// `values` as vectors, which they fill.
#[inline(always)]
pub fn vectors_mut<S: Simd>(values: &mut [f32]) -> &mut [S::f32s] {
    cast_slice_mut(values)
}

/// a b + c, fused where the processor does it in one instruction.
#[inline(always)]
pub fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    // Without such an instruction pulp calls a function for each element.
    if TypeId::of::<S>() == TypeId::of::<Scalar256b>() {
        return simd.add_f32s(simd.mul_f32s(a, b), c);
    }
    simd.mul_add_e_f32s(a, b, c)
}

/// The polynomial in x with these coefficients, the highest power's first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, coefficients: [f32; N]) -> S::f32s {
    let mut sum = simd.splat_f32s(0.0);
    for (n, c) in coefficients.into_iter().enumerate() {
        let c = simd.splat_f32s(c);
        sum = if n == 0 { c } else { multiply_add(simd, sum, x, c) };
    }
    sum
}

/// `y`, or NaN where `x` is: of a NaN and a number, processors take either for the larger.
#[inline(always)]
fn keeping_nan<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(x, x), y, x)
}

/// e^x by a polynomial ([`EXP`]), for x from -87 to 88; clamped beyond.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let ((ln2_high, ln2_low), coefficients) = EXP;
    let constant = |c: f32| simd.splat_f32s(c);
    let within = simd.min_f32s(simd.max_f32s(x, constant(-87.0)), constant(88.0));
    let x = keeping_nan(simd, x, within);
    let shifted = multiply_add(simd, x, constant(std::f32::consts::LOG2_E), constant(ROUND));
    let n = simd.sub_f32s(shifted, constant(ROUND));
    let r = multiply_add(simd, n, constant(-ln2_high), x);
    let r = multiply_add(simd, n, constant(-ln2_low), r);
    let p = polynomial(simd, r, coefficients);
    let y = multiply_add(simd, p, simd.mul_f32s(r, r), simd.add_f32s(r, constant(1.0)));
    let bits = simd.transmute_u32s_f32s(shifted);
    let exponent = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    simd.mul_f32s(y, simd.transmute_f32s_u32s(power))
}

/// 1 / (1 + e^-x)
#[inline(always)]
fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(one, exp(simd, simd.neg_f32s(x))))
}

/// An activation, to 1.5e-6 up to |x| = 4.8 and to 1e-7 |x| beyond.
#[inline(always)]
pub fn activate<S: Simd>(simd: S, activation: Activation, x: S::f32s) -> S::f32s {
    let constant = |c: f32| simd.splat_f32s(c);
    match activation {
        Activation::Gelu => gelu(simd, x),
        Activation::GeluTanh => {
            // (1 + tanh(z)) / 2 = sigmoid(2 z)
            let (scale, cubic) = GELU_TANH;
            let square = simd.mul_f32s(x, x);
            let factor = multiply_add(simd, square, constant(cubic), constant(1.0));
            let inner = simd.mul_f32s(simd.mul_f32s(x, constant(2.0 * scale)), factor);
            simd.mul_f32s(x, sigmoid(simd, inner))
        }
        Activation::Relu => keeping_nan(simd, x, simd.max_f32s(x, constant(0.0))),
        Activation::Silu => simd.mul_f32s(x, sigmoid(simd, x)),
        Activation::Tanh => {
            let s = sigmoid(simd, simd.mul_f32s(x, constant(2.0)));
            multiply_add(simd, s, constant(2.0), constant(-1.0))
        }
    }
}

/// The exact GELU, x Φ(x) (Hendrycks and Gimpel, 2016), by [`ERF`].
#[inline(always)]
fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let constant = |c: f32| simd.splat_f32s(c);
    let z = simd.mul_f32s(x, constant(std::f32::consts::FRAC_1_SQRT_2));
    let z = simd.min_f32s(simd.max_f32s(z, constant(-4.0)), constant(4.0));
    let t = simd.mul_f32s(z, z);
    let erf =
        simd.div_f32s(simd.mul_f32s(z, polynomial(simd, t, ERF.0)), polynomial(simd, t, ERF.1));
    let half = simd.mul_f32s(x, constant(0.5));
    multiply_add(simd, half, erf, half)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Scalar = fn(f64) -> f64;

    struct Each<'a, F>(&'a mut [f32], F);

    trait Function {
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s;
    }
    struct Exp;
    struct Gelu;
    impl Function for Exp {
        #[inline(always)]
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            exp(simd, x)
        }
    }
    impl Function for Gelu {
        #[inline(always)]
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            gelu(simd, x)
        }
    }
    impl Function for Activation {
        #[inline(always)]
        fn of<S: Simd>(&self, simd: S, x: S::f32s) -> S::f32s {
            activate(simd, *self, x)
        }
    }
    impl<F: Function> WithSimd for Each<'_, F> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            for x in vectors_mut::<S>(self.0) {
                *x = self.1.of(simd, *x);
            }
        }
    }

    #[test]
    fn exp_and_gelu_agree_with_their_definitions_whatever_the_instructions() {
        // Reference: f64::exp, and the Taylor series of erf in f64.
        let erf = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for instructions in Instructions::available() {
            let inputs: Vec<f32> = (-8640..=8639).map(|k| k as f32 * 1e-2).collect();
            let mut values = inputs.clone();
            instructions.run(Each(&mut values, Exp));
            for (x, y) in inputs.iter().zip(&values) {
                let expected = f64::from(*x).exp();
                let error = (f64::from(*y) - expected).abs() / expected;
                assert!(error < 3e-7, "exp({x}) is {error} off: {instructions:?}");
            }
            let inputs: Vec<f32> = (-4800..4800).map(|k| k as f32 * 1e-3).collect();
            let mut values = inputs.clone();
            instructions.run(Each(&mut values, Gelu));
            for (x, y) in inputs.iter().zip(&values) {
                let x = f64::from(*x);
                let expected = 0.5 * x * (1.0 + erf(x / 2.0_f64.sqrt()));
                let error = (f64::from(*y) - expected).abs();
                assert!(error < 1.5e-6, "gelu({x}) is {error} off: {instructions:?}");
            }
            let others: [(Activation, Scalar); 4] = [
                (Activation::GeluTanh, |x| {
                    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                    0.5 * x * (1.0 + inner.tanh())
                }),
                (Activation::Relu, |x| x.max(0.0)),
                (Activation::Silu, |x| x / (1.0 + (-x).exp())),
                (Activation::Tanh, f64::tanh),
            ];
            for (activation, expected) in others {
                let inputs: Vec<f32> = (-4800..4800).map(|k| k as f32 * 1e-2).collect();
                let mut values = inputs.clone();
                instructions.run(Each(&mut values, activation));
                for (x, y) in inputs.iter().zip(&values) {
                    let expected = expected(f64::from(*x));
                    let error = (f64::from(*y) - expected).abs() / expected.abs().max(1.0);
                    assert!(error < 1e-6, "{activation:?}({x}) is {error} off: {instructions:?}");
                }
                let mut zero = vec![0.0; instructions.lanes()];
                instructions.run(Each(&mut zero, activation));
                assert_eq!(zero, vec![0.0; instructions.lanes()], "{activation:?}");
            }
            for (name, activation) in Activation::NAMES {
                let mut nan = vec![f32::NAN; instructions.lanes()];
                instructions.run(Each(&mut nan, activation));
                assert!(nan.iter().all(|y| y.is_nan()), "{name}: {nan:?}, {instructions:?}");
            }
            let mut ends = vec![-1e30, 1e30, -20.0, 20.0, 0.0, -0.0, 1.0, 2.0];
            ends.resize(instructions.lanes(), 0.0);
            instructions.run(Each(&mut ends, Gelu));
            assert!(ends[0].abs() <= 1e24 && (ends[1] - 1e30).abs() <= 1e24, "{ends:?}");
            assert!(
                ends[2].abs() < 1e-5 && (ends[3] - 20.0).abs() < 1e-5 && ends[4] == 0.0,
                "{ends:?}"
            );
        }
    }
}
