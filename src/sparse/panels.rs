//! Activations, feature by feature: tokens stand side by side in panels of a few vectors' width,
//! so that one weight meets as many tokens as a panel has, and a panel fits the cache.

use super::vector::{Instructions, VECTORS};

/// Where the tokens of some sequences lie. A matrix of `[tokens, features]` is stored as one panel
/// after the other, each of `[features, width]`. All panels have [`VECTORS`] vectors, but for the
/// last, which has as few as it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panels {
    tokens: usize,
    lanes: usize,
}

impl Panels {
    /// Panels for so many tokens.
    pub fn new(tokens: usize, instructions: Instructions) -> Self {
        Self { tokens, lanes: instructions.lanes() }
    }

    /// Tokens of a full panel.
    fn full(self) -> usize {
        VECTORS * self.lanes
    }

    /// Number of tokens.
    pub fn tokens(self) -> usize {
        self.tokens
    }

    /// Number of panels.
    pub fn count(self) -> usize {
        self.tokens.div_ceil(self.full())
    }

    /// The width of panel `n` in floats: a multiple of a vector's.
    pub fn width(self, n: usize) -> usize {
        (self.tokens - n * self.full()).min(self.full()).next_multiple_of(self.lanes)
    }

    /// The floats of so many features of all tokens.
    pub fn floats(self, features: usize) -> usize {
        self.tokens.next_multiple_of(self.lanes) * features
    }

    /// The floats of panel `n`.
    fn range(self, n: usize, features: usize) -> std::ops::Range<usize> {
        let start = n * self.full() * features;
        start..start + self.width(n) * features
    }

    /// Panel `n` of `values`: `[features, width]`.
    pub fn panel(self, values: &[f32], n: usize, features: usize) -> &[f32] {
        &values[self.range(n, features)]
    }

    /// Panel `n` of `values`: `[features, width]`.
    pub fn panel_mut(self, values: &mut [f32], n: usize, features: usize) -> &mut [f32] {
        &mut values[self.range(n, features)]
    }

    /// Where the tokens `first` to `first + count` lie.
    pub fn pieces(self, first: usize, count: usize) -> impl Iterator<Item = Piece> {
        let full = self.full();
        let last = first + count;
        let panels = if count == 0 { 0..0 } else { first / full..last.div_ceil(full) };
        panels.map(move |panel| {
            let start = first.max(panel * full);
            let end = last.min((panel + 1) * full);
            Piece {
                start: panel * full,
                width: self.width(panel),
                lane: start - panel * full,
                place: start - first,
                count: end - start,
            }
        })
    }
}

/// Neighbouring tokens of one panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// The panel's first token.
    start: usize,
    /// The panel's width.
    width: usize,
    /// The first of these tokens within the panel.
    lane: usize,
    /// Its place among the tokens asked for.
    pub place: usize,
    /// Number of these tokens.
    pub count: usize,
}

impl Piece {
    /// Where these tokens' feature `n` of so many lies in the matrix.
    pub fn range(self, n: usize, features: usize) -> std::ops::Range<usize> {
        let first = self.start * features + n * self.width + self.lane;
        first..first + self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lie_in_panels_and_the_last_is_as_narrow_as_it_can_be() {
        let panels = Panels::new(41, Instructions::Portable);
        assert_eq!((panels.count(), panels.width(0), panels.width(1)), (2, 32, 16));
        assert_eq!(panels.floats(3), 144);
        assert_eq!(panels.range(1, 3), 96..144);
        let pieces: Vec<_> = panels.pieces(30, 11).collect();
        assert_eq!(pieces.iter().map(|p| (p.place, p.count)).collect::<Vec<_>>(), [(0, 2), (2, 9)]);
        assert_eq!(pieces[0].range(1, 3), 62..64);
        assert_eq!(pieces[1].range(1, 3), 112..121);
        assert_eq!(panels.pieces(41, 0).count(), 0);
        assert_eq!(Panels::new(0, Instructions::Portable).count(), 0);
        assert_eq!(Panels::new(32, Instructions::Portable).pieces(0, 32).count(), 1);
    }
}
