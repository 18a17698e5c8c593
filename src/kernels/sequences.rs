//! How the rows of a batch belong to its sequences.

use std::ops::Range;
use std::sync::Arc;

/// The sequences of a batch whose tokens stand one per row, sequence after sequence: with nothing
/// between them (packed), or each filled up to a common number of rows (padded).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequences {
    lengths: Arc<[usize]>,
    padded_to: Option<usize>,
}

/// Which tokens of each sequence ask for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// All; their rows are those of the sequences.
    All,
    /// The first, where no other token's output is used; one row per sequence.
    First,
}

impl Queries {
    /// Their rows.
    pub fn rows(self, sequences: &Sequences) -> usize {
        match self {
            Self::All => sequences.rows(),
            Self::First => sequences.batch(),
        }
    }
}

impl Sequences {
    /// Sequences of these lengths, in tokens; `padded_to` is the rows that each takes, at least as
    /// many as the longest has tokens, or `None` where each takes its own.
    pub fn new(lengths: Vec<usize>, padded_to: Option<usize>) -> Self {
        debug_assert!(padded_to.is_none_or(|rows| lengths.iter().all(|n| *n <= rows)));
        Self { lengths: lengths.into(), padded_to }
    }

    /// Number of sequences.
    pub fn batch(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The rows that each takes, where they are padded.
    pub fn padded_to(&self) -> Option<usize> {
        self.padded_to
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The rows of each sequence, padding included.
    pub fn spans(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = 0;
        self.lengths.iter().map(move |length| {
            let start = next;
            next += self.padded_to.unwrap_or(*length);
            start..next
        })
    }

    /// The row of each sequence's first token.
    pub fn firsts(&self) -> impl Iterator<Item = usize> + '_ {
        self.spans().map(|span| span.start)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.spans().last().map_or(0, |span| span.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_packed_or_padded() {
        let spans = |s: &Sequences| s.spans().collect::<Vec<_>>();
        let packed = Sequences::new(vec![2, 3], None);
        assert_eq!((spans(&packed), packed.rows(), packed.longest()), (vec![0..2, 2..5], 5, 3));
        let padded = Sequences::new(vec![2, 3], Some(4));
        assert_eq!((spans(&padded), padded.rows()), (vec![0..4, 4..8], 8));
        assert_eq!(padded.firsts().collect::<Vec<_>>(), [0, 4]);
        assert_eq!(Sequences::new(vec![], None).rows(), 0);
    }
}
