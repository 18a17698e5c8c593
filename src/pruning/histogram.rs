//! How numbers spread over orders of magnitude.

use serde::{Deserialize, Serialize};

/// Counts of absolute values by powers of two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many are zero.
    pub zeros: u64,
    /// The power of the first count.
    pub from: i32,
    /// How many x have 2^(from + i) <= |x| < 2^(from + i + 1), for i = 0, 1, ...; the first and the
    /// last are not 0. Numbers too small for a whole mantissa count as 2^-127.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Of all `values`, none of which may be infinite or NaN.
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        /// Below the exponent's bits of a single.
        const MANTISSA: u32 = 23;
        /// The exponent's bits of 1.
        const BIAS: i32 = 127;
        let (mut zeros, mut counts) = (0, [0u64; 256]);
        for value in values {
            let bits = value.abs().to_bits();
            match counts.get_mut((bits >> MANTISSA) as usize) {
                Some(count) if bits != 0 => *count += 1,
                _ => zeros += 1,
            }
        }
        let first = counts.iter().position(|count| *count > 0);
        let last = counts.iter().rposition(|count| *count > 0);
        match (first, last) {
            (Some(first), Some(last)) => {
                let counts = counts.get(first..=last).unwrap_or_default().to_vec();
                Self { zeros, from: first as i32 - BIAS, counts }
            }
            _ => Self { zeros, ..Self::default() },
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let zeros = self.zeros + other.zeros;
        let (a, b) = match (self.counts.is_empty(), other.counts.is_empty()) {
            (_, true) => return Self { zeros, ..self.clone() },
            (true, _) => return Self { zeros, ..other.clone() },
            _ => (self, other),
        };
        let end = |part: &Self| part.from + part.counts.len() as i32;
        let from = a.from.min(b.from);
        let count = |part: &Self, power: i32| {
            let place = usize::try_from(power - part.from).ok();
            place.and_then(|place| part.counts.get(place)).copied().unwrap_or(0)
        };
        let powers = from..end(a).max(end(b));
        Self { zeros, from, counts: powers.map(|n| count(a, n) + count(b, n)).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_by_powers_of_two() {
        let values = [0.0, -0.0, 1.0, -1.99, 2.0, 0.25, 0.499, f32::MIN_POSITIVE / 4.0];
        let counted = Histogram::of(values);
        assert_eq!((counted.zeros, counted.from, counted.counts.len()), (2, -127, 129));
        let at = |power: i32| counted.counts[(power + 127) as usize];
        assert_eq!([-127, -126, -2, -1, 0, 1].map(at), [1, 0, 2, 0, 2, 1]);
        assert_eq!(Histogram::of([0.0; 3]), Histogram { zeros: 3, ..Default::default() });
    }

    #[test]
    fn parts_add_up() {
        let parts: [&[f32]; 3] = [&[0.0, 8.0], &[], &[0.5, 0.6, 9.0, 0.0]];
        let sum = parts
            .iter()
            .fold(Histogram::default(), |sum, part| sum.and(&Histogram::of(part.iter().copied())));
        assert_eq!(sum, Histogram { zeros: 2, from: -1, counts: vec![2, 0, 0, 0, 2] });
    }
}
