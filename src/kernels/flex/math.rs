//! Functions of single elements that the compiler can vectorise: no calls, no branches.

use crate::activation::{ERF, EXP, ROUND};

/// The polynomial in x with these coefficients, the highest power's first.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = 0.0;
    for (n, c) in coefficients.into_iter().enumerate() {
        sum = if n == 0 { c } else { sum * x + c };
    }
    sum
}

/// e^x in f32, to a few units in the last place, for x from -87 to 88; clamped beyond.
///
/// Range reduction by powers of two, then a polynomial ([`EXP`]).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let ((ln2_high, ln2_low), coefficients) = EXP;
    let x = x.clamp(-87.0, 88.0);
    let n = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = x - n * ln2_high - n * ln2_low;
    let y = polynomial(r, coefficients) * (r * r) + r + 1.0;
    let power = f32::from_bits((((n as i32) + 127) << 23) as u32);
    y * power
}

/// The error function in f32, to 5e-7 ([`ERF`]).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let t = x * x;
    x * polynomial(t, ERF.0) / polynomial(t, ERF.1)
}

/// Φ(x), the distribution function of the normal distribution, to 3e-7.
#[inline(always)]
pub fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Evenly distributed 32 bits that follow from `seed` and `index` alone: the same for every order
/// of evaluation. Two rounds of a well-mixing integer hash, each keyed by half of the seed.
#[inline(always)]
pub fn random_bits(seed: u64, index: u32) -> u32 {
    #[inline(always)]
    fn mix(mut x: u32) -> u32 {
        x ^= x >> 16;
        x = x.wrapping_mul(0x21f0_aaad);
        x ^= x >> 15;
        x = x.wrapping_mul(0x735a_2d97);
        x ^ (x >> 15)
    }
    mix(mix(index ^ seed as u32) ^ (seed >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_and_exp_agree_with_their_definitions() {
        // Reference: the Taylor series of erf in f64, and f64::exp.
        let erf64 = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for k in -3900..=3900 {
            let x = k as f32 * 1e-3;
            let error = (f64::from(erf(x)) - erf64(f64::from(x))).abs();
            assert!(error < 5e-7, "erf({x}) is {error} off");
        }
        assert_eq!((erf(0.0), erf(9.0), erf(-9.0)), (0.0, erf(4.0), -erf(4.0)));
        assert!((erf(4.0) - 1.0).abs() < 5e-7);
        for k in -8600..=8700 {
            let x = k as f32 * 1e-2;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "exp({x}) is {error} off");
        }
    }

    #[test]
    fn random_bits_are_even_and_uncorrelated() {
        const N: u32 = 1 << 18;
        let share = |below: f64, bits: &dyn Fn(u32) -> u32| {
            let limit = (below * f64::from(u32::MAX)) as u32;
            f64::from((0..N).filter(|i| bits(*i) < limit).count() as u32) / f64::from(N)
        };
        for seed in [0, 1, 7, u64::MAX, 1 << 40] {
            for below in [0.05, 0.1, 0.5] {
                // Four standard deviations of a binomial share.
                let tolerance = 4.0 * (below * (1.0 - below) / f64::from(N)).sqrt();
                let found = share(below, &|i| random_bits(seed, i));
                assert!((found - below).abs() < tolerance, "{found} instead of {below}");
            }
            // Neighbours, and the same place under the next seed, agree as often as chance has it.
            let agree = |other: &dyn Fn(u32) -> u32| {
                let same = (0..N).filter(|i| (random_bits(seed, *i) ^ other(*i)) >> 31 == 0);
                f64::from(same.count() as u32) / f64::from(N)
            };
            let next = agree(&|i| random_bits(seed, i + 1));
            let other = agree(&|i| random_bits(seed.wrapping_add(1), i));
            assert!((next - 0.5).abs() < 0.004 && (other - 0.5).abs() < 0.004, "{next} {other}");
        }
    }
}
