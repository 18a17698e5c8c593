//! Attention within one sequence, one head after the other, over panels of activations.
//!
//! Scores stand key by key, a vector holding those of neighbouring queries, so that the softmax
//! runs along the keys without a sum across a vector.

use pulp::{Simd, WithSimd};

use super::panels::{Panels, Piece};
use super::product::tile_product;
use super::vector::{Instructions, exp};

/// Rows of one tile: keys of the scores, or dimensions of the context.
const TILE: usize = 4;

/// The dimensions of one head that zeros have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSize {
    /// Of queries and keys; without any, all keys count alike.
    pub keys: usize,
    /// Of values.
    pub values: usize,
}

/// Activations of some features, in panels.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// Where its tokens lie.
    pub panels: Panels,
    /// All features.
    pub values: &'a [f32],
    /// Their number.
    pub features: usize,
}

/// Tokens `first` to `first + count`.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// The first one.
    pub first: usize,
    /// Their number.
    pub count: usize,
}

/// Queries, keys and values of one head of one sequence, and the memory to compute in.
#[derive(Default)]
pub struct Attention {
    /// `[dimensions, queries]`, the queries filled up to whole vectors.
    query: Vec<f32>,
    /// `[dimensions, keys]`, the keys filled up to whole tiles.
    key: Vec<f32>,
    /// `[dimensions, keys]`, the dimensions filled up to whole tiles.
    value: Vec<f32>,
    /// `[keys, two vectors]`
    scores: Vec<f32>,
    /// `[dimensions, queries]`, as `query` and `value` are filled up.
    context: Vec<f32>,
    /// Dimensions of the last head's values, and its queries in whole vectors.
    result: (usize, usize),
}

impl Attention {
    /// Computes the contexts of one head: softmax(scale keyᵀ query) applied to the values. `first`
    /// are the head's first dimensions among those of all heads: of keys, and of values.
    pub fn head(
        &mut self,
        instructions: Instructions,
        (query, queries): (Source<'_>, Span),
        (key, value, tokens): (Source<'_>, Source<'_>, Span),
        size: HeadSize,
        first: HeadSize,
        scale: f32,
    ) {
        let lanes = instructions.lanes();
        let width = queries.count.next_multiple_of(lanes);
        let rows = tokens.count.next_multiple_of(TILE);
        let dimensions = size.values.next_multiple_of(TILE);
        gather(&mut self.query, query, queries, first.keys..first.keys + size.keys, width);
        gather(&mut self.key, key, tokens, first.keys..first.keys + size.keys, rows);
        let values = first.values..first.values + size.values;
        gather(&mut self.value, value, tokens, values, tokens.count);
        self.value.resize(dimensions * tokens.count, 0.0);
        // What a longer sequence has left is overwritten, or was never read.
        self.scores.resize(self.scores.len().max(rows * 2 * lanes), 0.0);
        self.context.resize(self.context.len().max(dimensions * width), 0.0);
        let keys = size.keys;
        let shape = Shape { width, rows, tokens: tokens.count, keys, dimensions, scale };
        instructions.run(Attend { memory: self, shape });
        self.result = (size.values, width);
    }

    /// The contexts: a row for each dimension of the values, and the width of a row.
    pub fn context(&self) -> (&[f32], usize) {
        let (rows, width) = self.result;
        (&self.context[..rows * width], width)
    }
}

/// Copies the features `rows` of the tokens to `to`, `width` apart.
fn gather(
    to: &mut Vec<f32>,
    from: Source<'_>,
    span: Span,
    rows: std::ops::Range<usize>,
    width: usize,
) {
    to.clear();
    to.resize(rows.len() * width, 0.0);
    for piece in from.panels.pieces(span.first, span.count) {
        for (n, row) in rows.clone().enumerate() {
            let place = n * width + piece.place;
            to[place..place + piece.count]
                .copy_from_slice(&from.values[piece.range(row, from.features)]);
        }
    }
}

/// Copies rows of contexts, `width` apart, to the features `first` on of so many.
pub fn scatter(
    pieces: impl Iterator<Item = Piece>,
    context: (&[f32], usize),
    to: &mut [f32],
    first: usize,
    features: usize,
) {
    let (context, width) = context;
    for piece in pieces {
        for (n, row) in context.chunks_exact(width.max(1)).enumerate() {
            to[piece.range(first + n, features)]
                .copy_from_slice(&row[piece.place..piece.place + piece.count]);
        }
    }
}

#[derive(Clone, Copy)]
struct Shape {
    /// Queries, in whole vectors.
    width: usize,
    /// Keys, in whole tiles.
    rows: usize,
    /// Keys.
    tokens: usize,
    /// Dimensions of queries and keys.
    keys: usize,
    /// Dimensions of values, in whole tiles.
    dimensions: usize,
    scale: f32,
}

struct Attend<'a> {
    memory: &'a mut Attention,
    shape: Shape,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { memory, shape } = self;
        let lanes = S::F32_LANES;
        let Shape { width, rows, tokens, keys, dimensions, .. } = shape;
        assert!(width.is_multiple_of(lanes) && rows >= tokens);
        assert!(rows.is_multiple_of(TILE) && dimensions.is_multiple_of(TILE));
        assert!(memory.query.len() >= keys * width && memory.key.len() >= keys * rows);
        assert!(memory.value.len() >= dimensions * tokens);
        assert!(memory.scores.len() >= rows * 2 * lanes);
        assert!(memory.context.len() >= dimensions * width);
        let mut lane = 0;
        while lane < width {
            // SAFETY: the lengths that `part` asks for have been checked just now, and as many
            // vectors as it is told to take follow `lane`.
            unsafe {
                if width - lane >= 2 * lanes {
                    part::<S, 2>(simd, memory, shape, lane);
                } else {
                    part::<S, 1>(simd, memory, shape, lane);
                }
            }
            lane += 2 * lanes;
        }
    }
}

/// The contexts of W vectors of queries.
///
/// # Safety
/// The memory is as long as the shape asks for, and W vectors of queries follow `lane`.
#[inline(always)]
unsafe fn part<S: Simd, const W: usize>(
    simd: S,
    memory: &mut Attention,
    shape: Shape,
    lane: usize,
) {
    let Shape { width, rows, tokens, keys, dimensions, scale } = shape;
    let step = W * S::F32_LANES;
    let zeros = [[simd.splat_f32s(0.0); W]; TILE];
    let scale = simd.splat_f32s(scale);
    let scores = memory.scores.as_mut_ptr();
    let mut largest = [simd.splat_f32s(f32::NEG_INFINITY); W];
    for row in (0..rows).step_by(TILE) {
        // SAFETY: keys and queries have `keys` rows of `rows` and `width` values, and the scores
        // have `rows` rows of W vectors.
        unsafe {
            // Both are empty where no key dimension is left, and nothing is read of them then.
            let a = memory.key.as_ptr().wrapping_add(row);
            let b = memory.query.as_ptr().wrapping_add(lane);
            let sums = tile_product::<S, TILE, W>(simd, keys, (a, 1, rows), (b, width), zeros);
            for (n, sums) in sums.into_iter().enumerate() {
                let scaled = sums.map(|sum| simd.mul_f32s(sum, scale));
                if row + n < tokens {
                    for (largest, score) in largest.iter_mut().zip(scaled) {
                        *largest = simd.max_f32s(*largest, score);
                    }
                }
                scores.add((row + n) * step).cast::<[S::f32s; W]>().write_unaligned(scaled);
            }
        }
    }
    let mut total = [simd.splat_f32s(0.0); W];
    for row in 0..tokens {
        // SAFETY: as above.
        unsafe {
            let place = scores.add(row * step).cast::<[S::f32s; W]>();
            let mut weights = place.read_unaligned();
            for ((weight, largest), total) in weights.iter_mut().zip(largest).zip(&mut total) {
                *weight = exp(simd, simd.sub_f32s(*weight, largest));
                *total = simd.add_f32s(*total, *weight);
            }
            place.write_unaligned(weights);
        }
    }
    let inverse = total.map(|total| simd.div_f32s(simd.splat_f32s(1.0), total));
    for dimension in (0..dimensions).step_by(TILE) {
        // SAFETY: values have `dimensions` rows of `tokens`, and the context as many of `width`.
        unsafe {
            let a = memory.value.as_ptr().add(dimension * tokens);
            let a = (a, tokens, 1);
            let sums = tile_product::<S, TILE, W>(simd, tokens, a, (scores, step), zeros);
            for (n, mut sums) in sums.into_iter().enumerate() {
                for (sum, inverse) in sums.iter_mut().zip(inverse) {
                    *sum = simd.mul_f32s(*sum, inverse);
                }
                let place = memory.context.as_mut_ptr().add((dimension + n) * width + lane);
                place.cast::<[S::f32s; W]>().write_unaligned(sums);
            }
        }
    }
}
