//! Which elements of a tensor are stored: all, those of a bitmap, or those after run lengths.

use super::gaps::{self, Gaps};

/// The most elements of a tensor with run lengths, for each byte that is stored of it.
pub(super) const MOST_PER_BYTE: usize = 64;

/// The places of the stored elements in a file that is read.
#[derive(Clone, Copy)]
pub(super) enum Index<'a> {
    /// Every element.
    All,
    /// Those whose bit is set.
    Bitmap(&'a [u8]),
    /// Those after each run of others.
    Gaps(&'a [u8]),
}

/// What is wrong with an index, to be read after its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub expected: String,
    pub found: String,
}

impl Wrong {
    fn new(expected: impl Into<String>, found: impl ToString) -> Self {
        Self { expected: expected.into(), found: found.to_string() }
    }
}

impl<'a> Index<'a> {
    /// Checks that it tells the places of `count` of a tensor's `elements`, of which `stored_bytes`
    /// are stored, those of the index among them.
    pub(super) fn check(
        self,
        elements: usize,
        count: usize,
        stored_bytes: usize,
    ) -> Result<(), Wrong> {
        match self {
            Self::All if count == elements => Ok(()),
            Self::All => Err(Wrong::new(format!("of {elements} elements"), count)),
            Self::Bitmap(bytes) => check_bitmap(bytes, elements, count),
            Self::Gaps(bytes) => {
                if elements > stored_bytes.saturating_mul(MOST_PER_BYTE) {
                    let expected =
                        format!("for at most {MOST_PER_BYTE} elements a byte of index and values");
                    let found = format!("{elements} elements for {stored_bytes} bytes");
                    return Err(Wrong::new(expected, found));
                }
                check_gaps(bytes, elements, count)
            }
        }
    }

    /// The places of the `count` stored elements, from 0, in their order. Those of an index that has
    /// been [checked](Self::check) for that count are all there and below the number of elements.
    pub(super) fn places(self, count: usize) -> Places<'a> {
        match self {
            Self::All => Places::All(0..count),
            Self::Bitmap(bytes) => Places::Bitmap { rest: bytes, held: 0, start: 0 },
            Self::Gaps(bytes) => Places::Gaps { gaps: Gaps::new(bytes), left: count, next: 0 },
        }
    }
}

fn check_bitmap(bytes: &[u8], elements: usize, count: usize) -> Result<(), Wrong> {
    if bytes.len() != elements.div_ceil(8) {
        return Err(Wrong::new(format!("of {} bytes", elements.div_ceil(8)), bytes.len()));
    }
    let padding = bytes.last().map_or(0, |last| match elements % 8 {
        0 => 0,
        used => last >> used,
    });
    if padding != 0 {
        return Err(Wrong::new(format!("with zeros after bit {elements}"), "a set bit"));
    }
    let set: usize = bytes.iter().map(|byte| byte.count_ones() as usize).sum();
    if set != count {
        return Err(Wrong::new(format!("with a set bit for each of {count} values"), set));
    }
    Ok(())
}

fn check_gaps(bytes: &[u8], elements: usize, count: usize) -> Result<(), Wrong> {
    let Some(mut gaps) = Gaps::new(bytes) else {
        let expected = format!("with a parameter of at most {}", gaps::MOST);
        return Err(match bytes.first() {
            Some(parameter) => Wrong::new(expected, parameter),
            None => Wrong::new(expected, "no byte"),
        });
    };
    let mut end = 0_u64;
    for number in 0..count {
        let Some(gap) = gaps.next() else {
            return Err(Wrong::new(format!("with a gap for each of {count} values"), number));
        };
        // Both are far below the largest number: the sum before, and a gap that fits after it.
        end = end.saturating_add(gap).saturating_add(1);
        if end > elements as u64 {
            let expected = format!("with gaps within {elements} elements");
            return Err(Wrong::new(expected, format!("one up to element {end}")));
        }
    }
    if !gaps.is_at_end() {
        return Err(Wrong::new(format!("with zeros after {count} gaps"), "a set bit"));
    }
    Ok(())
}

/// The places of stored elements, ascending.
pub(super) enum Places<'a> {
    All(std::ops::Range<usize>),
    Bitmap {
        rest: &'a [u8],
        /// The bits of the current bytes that are still to come, at their places.
        held: u64,
        /// The place after the current bytes.
        start: usize,
    },
    Gaps {
        gaps: Option<Gaps<'a>>,
        left: usize,
        /// The place after the last one.
        next: usize,
    },
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::All(range) => range.next(),
            Self::Bitmap { rest, held, start } => {
                while *held == 0 {
                    if rest.is_empty() {
                        return None;
                    }
                    let (bytes, after) = rest.split_at(rest.len().min(8));
                    *held = bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                    (*rest, *start) = (after, *start + 64);
                }
                let place = *start - 64 + held.trailing_zeros() as usize;
                *held &= *held - 1;
                Some(place)
            }
            Self::Gaps { gaps, left, next } => {
                *left = left.checked_sub(1)?;
                let place = *next + usize::try_from(gaps.as_mut()?.next()?).ok()?;
                *next = place + 1;
                Some(place)
            }
        }
    }
}

/// An index to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Coded {
    Bitmap(Vec<u8>),
    Gaps(Vec<u8>),
}

impl Coded {
    /// The shorter index of the elements that are not 0, beside which `value_bytes` are stored: with
    /// those, run lengths are filled up to one byte for [`MOST_PER_BYTE`] elements.
    pub(super) fn of(elements: &[u32], value_bytes: usize) -> Self {
        let mut gaps = gaps::encode(gaps_between(elements));
        let least = elements.len().div_ceil(MOST_PER_BYTE).saturating_sub(value_bytes);
        gaps.resize(gaps.len().max(least), 0);
        if gaps.len() < elements.len().div_ceil(8) {
            return Self::Gaps(gaps);
        }
        let byte = |eight: &[u32]| {
            eight.iter().rev().fold(0, |byte, bits| byte << 1 | u8::from(*bits != 0))
        };
        Self::Bitmap(elements.chunks(8).map(byte).collect())
    }

    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Bitmap(bytes) | Self::Gaps(bytes) => bytes.len(),
        }
    }
}

/// How many zeros stand before each other element, counted from the one before it.
fn gaps_between(elements: &[u32]) -> impl Iterator<Item = u32> + Clone {
    let mut after = 0;
    let stored = elements.iter().enumerate().filter(|(_, bits)| **bits != 0);
    stored.map(move |(place, _)| {
        let gap = place - after;
        after = place + 1;
        // A file holds at most 2^32 elements.
        u32::try_from(gap).unwrap_or(u32::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(index: Index<'_>, count: usize) -> Vec<usize> {
        index.places(count).collect()
    }

    #[test]
    fn the_shorter_form_is_chosen_and_gives_the_places_back() {
        // One in three of 99; two of 300; the last alone; none.
        let third: Vec<u32> = (0..99).map(|n| u32::from(n % 3 == 1)).collect();
        let few: Vec<u32> = (0..300).map(|n| u32::from(n == 17 || n == 299)).collect();
        let last: Vec<u32> = (0..200).map(|n| u32::from(n == 199)).collect();
        for (elements, is_gaps) in [(third, false), (few, true), (last, true), (vec![0; 70], true)]
        {
            let wanted: Vec<usize> =
                (0..elements.len()).filter(|place| elements[*place] != 0).collect();
            let count = wanted.len();
            let coded = Coded::of(&elements, 4 * count);
            let index = match &coded {
                Coded::Bitmap(bytes) => Index::Bitmap(bytes),
                Coded::Gaps(bytes) => Index::Gaps(bytes),
            };
            assert_eq!(matches!(index, Index::Gaps(_)), is_gaps, "{wanted:?}");
            assert_eq!(index.check(elements.len(), count, coded.len() + 4 * count), Ok(()));
            assert_eq!(places(index, count), wanted);
        }
        assert_eq!(Coded::of(&[1, 0, 0, 0, 0, 0, 0, 1, 1], 12), Coded::Bitmap(vec![0x81, 1]));
        assert_eq!(places(Index::All, 3), [0, 1, 2]);
    }

    #[test]
    fn run_lengths_of_a_tensor_that_is_almost_empty_are_filled_up() {
        let mut elements = vec![0; 64_000];
        elements[5] = 1;
        let Coded::Gaps(bytes) = Coded::of(&elements, 4) else { panic!("a bitmap") };
        assert_eq!(bytes.len(), 996);
        assert_eq!(Index::Gaps(&bytes).check(64_000, 1, 1000), Ok(()));
        let wrong = Index::Gaps(&bytes).check(64_001, 1, 1000).unwrap_err();
        assert_eq!(wrong.expected, "for at most 64 elements a byte of index and values");
        assert_eq!(wrong.found, "64001 elements for 1000 bytes");
    }

    #[test]
    fn what_is_no_index_of_the_values_is_refused() {
        let wrong = |index: Index<'_>, elements, count, expected: &str, found: &str| {
            let wrong = index.check(elements, count, 1000).unwrap_err();
            assert_eq!((wrong.expected.as_str(), wrong.found.as_str()), (expected, found));
        };
        wrong(Index::All, 9, 8, "of 9 elements", "8");
        wrong(Index::Bitmap(&[0]), 9, 0, "of 2 bytes", "1");
        wrong(Index::Bitmap(&[0, 2]), 9, 1, "with zeros after bit 9", "a set bit");
        wrong(Index::Bitmap(&[3, 1]), 9, 2, "with a set bit for each of 2 values", "3");
        wrong(Index::Gaps(&[]), 9, 0, "with a parameter of at most 31", "no byte");
        wrong(Index::Gaps(&[32, 1]), 9, 1, "with a parameter of at most 31", "32");
        // With parameter 1, 0b1101 are the gaps 0 and 1: places 0 and 2.
        let two = Index::Gaps(&[1, 0b1101]);
        assert_eq!(two.check(3, 2, 1000), Ok(()));
        assert_eq!(places(two, 2), [0, 2]);
        wrong(two, 2, 2, "with gaps within 2 elements", "one up to element 3");
        wrong(two, 9, 3, "with a gap for each of 3 values", "2");
        wrong(two, 9, 1, "with zeros after 1 gaps", "a set bit");
        wrong(Index::Gaps(&[1, 0b1101, 0, 4]), 9, 2, "with zeros after 2 gaps", "a set bit");
        assert_eq!(Index::Gaps(&[1, 0b1101, 0, 0]).check(3, 2, 1000), Ok(()), "zeros may follow");
        wrong(Index::Gaps(&[0]), 9, 1, "with a gap for each of 1 values", "0");
    }
}
