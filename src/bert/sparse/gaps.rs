//! Run lengths in Rice codes, which come within a few hundredths of what any code of independent
//! places needs.

/// The largest parameter.
pub(super) const MOST: u32 = 31;

/// The codes of `gaps` with the parameter that makes them shortest, the least of several, and that
/// parameter before them.
pub(super) fn encode(gaps: impl Iterator<Item = u32> + Clone) -> Vec<u8> {
    let parameter = best(gaps.clone());
    let mut bits = BitWriter { bytes: vec![parameter as u8], held: 0, count: 0 };
    for gap in gaps {
        bits.push_zeros(gap >> parameter);
        bits.push(1, 1);
        bits.push(gap & ((1 << parameter) - 1), parameter);
    }
    bits.finish()
}

fn best(gaps: impl Iterator<Item = u32>) -> u32 {
    let (mut lengths, mut count) = ([0_u64; MOST as usize + 1], 0_u64);
    for gap in gaps {
        count += 1;
        // What the unary part of a code takes beyond its one.
        for (parameter, length) in (0_u32..).zip(&mut lengths) {
            match gap >> parameter {
                0 => break,
                quotient => *length += u64::from(quotient),
            }
        }
    }
    let totals = (0_u64..).zip(lengths).map(|(parameter, length)| length + parameter * count);
    totals.zip(0..).min().map_or(0, |(_, parameter)| parameter)
}

struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not yet in `bytes`, the first lowest.
    held: u64,
    /// How many of `held`: under 8 between calls.
    count: u32,
}

impl BitWriter {
    /// Appends the `count` low bits of `bits`, at most 32 of them; the others are 0.
    fn push(&mut self, bits: u32, count: u32) {
        self.held |= u64::from(bits) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn push_zeros(&mut self, mut count: u32) {
        while count > 0 {
            let part = count.min(32);
            self.push(0, part);
            count -= part;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes
    }
}

/// Reads gaps one by one; ends where the codes do.
#[derive(Clone)]
pub(super) struct Gaps<'a> {
    parameter: u32,
    rest: &'a [u8],
    /// Bits taken from `rest` and not yet read, the first lowest; those above `count` are 0.
    held: u64,
    count: u32,
}

impl<'a> Gaps<'a> {
    /// The codes of `bytes`, whose first is the parameter, at most [`MOST`].
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (parameter, rest) = bytes.split_first()?;
        let parameter = u32::from(*parameter);
        (parameter <= MOST).then_some(Self { parameter, rest, held: 0, count: 0 })
    }

    /// Whether nothing but zeros remains.
    pub(super) fn is_at_end(&self) -> bool {
        self.held == 0 && self.rest.iter().all(|byte| *byte == 0)
    }

    fn fill(&mut self) {
        while self.count <= 56
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.rest = rest;
        }
    }

    /// Drops `count` bits of those held.
    fn drop_bits(&mut self, count: u32) {
        self.held = self.held.checked_shr(count).unwrap_or(0);
        self.count -= count;
    }
}

impl Iterator for Gaps<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let mut quotient = 0_u64;
        loop {
            self.fill();
            if self.held != 0 {
                break;
            }
            if self.count == 0 {
                return None;
            }
            quotient += u64::from(self.count);
            self.count = 0;
        }
        let zeros = self.held.trailing_zeros();
        quotient += u64::from(zeros);
        self.drop_bits(zeros + 1);
        self.fill();
        if self.count < self.parameter {
            return None;
        }
        let remainder = self.held & ((1 << self.parameter) - 1);
        self.drop_bits(self.parameter);
        // A file has fewer than 2^63 bits, and so has a quotient; but shifted it may have more.
        quotient.checked_mul(1 << self.parameter)?.checked_add(remainder)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(gaps: &[u32]) -> Vec<u8> {
        encode(gaps.iter().copied())
    }

    #[test]
    fn a_code_is_zeros_and_a_one_and_the_low_bits() {
        // With parameter 2: 5 is 0 1 and 1 0; 2 is 1 and 0 1; 11 is 0 0 1 and 1 1; 4 is 0 1, 0 0.
        assert_eq!(encoded(&[5, 2, 11, 4]), [2, 0b0101_0110, 0b0010_1110]);
        assert_eq!(encoded(&[]), [0]);
        assert_eq!(encoded(&[0; 9]), [0, 0xff, 1]);
        let far = Gaps::new(&encoded(&[u32::MAX])).unwrap().next();
        assert_eq!(far, Some(u64::from(u32::MAX)));
    }

    #[test]
    fn codes_come_close_to_the_entropy_of_their_density() {
        for one_in in [3_u32, 10, 40, 200, 1000] {
            let density = 1.0 / f64::from(one_in);
            let count = 20_000;
            // Geometric gaps by a generator of its own.
            let mut state = 1_u64;
            let gaps: Vec<u32> = (0..count)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let uniform = ((state >> 11) as f64 + 0.5) / 2_f64.powi(53);
                    (uniform.ln() / (1.0 - density).ln()) as u32
                })
                .collect();
            let entropy = -density.log2() - (1.0 - density) / density * (1.0 - density).log2();
            let bits = 8.0 * encoded(&gaps).len() as f64 / f64::from(count);
            assert!(bits < 1.06 * entropy, "1 in {one_in}: {bits} bits a gap of {entropy}");
        }
    }

    #[test]
    fn codes_that_break_off_end_the_gaps() {
        assert!(Gaps::new(&[]).is_none());
        assert!(Gaps::new(&[32, 0xff]).is_none());
        assert_eq!(Gaps::new(&[31, 1, 0, 0]).unwrap().next(), None, "23 of 31 bits");
        assert_eq!(Gaps::new(&[0, 0, 0, 0]).unwrap().next(), None, "no one");
        let mut beyond = vec![31; 1];
        beyond.extend([0; 5 << 27 >> 12]);
        beyond.push(0x80);
        beyond.extend([0; 8]);
        assert!(Gaps::new(&beyond).unwrap().next().unwrap() > 1 << 40);
    }

    proptest! {
        #[test]
        fn gaps_come_back(
            gaps in prop::collection::vec(prop_oneof![0..9_u32, 0..5000_u32], 0..300),
        ) {
            let bytes = encoded(&gaps);
            let mut back = Gaps::new(&bytes).unwrap();
            for gap in &gaps {
                prop_assert_eq!(back.next(), Some(u64::from(*gap)));
            }
            prop_assert!(back.is_at_end());
            prop_assert_eq!(back.next(), None);
        }

        #[test]
        fn no_parameter_makes_shorter_codes(
            gaps in prop::collection::vec(0..3000_u32, 1..60),
            other in 0..20_u32,
        ) {
            let length = |parameter| -> u64 {
                gaps.iter().map(|gap| u64::from((gap >> parameter) + 1 + parameter)).sum()
            };
            prop_assert!(length(best(gaps.iter().copied())) <= length(other));
        }
    }
}
