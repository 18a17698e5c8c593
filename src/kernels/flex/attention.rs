//! Attention within each sequence: the scores of one head of one sequence fit the cache.

use std::mem::MaybeUninit;

use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::dropout::DropoutMask;
use super::math::exp;
use super::matmul::{ALONE, Target, View, multiply};
use super::memory::{Fresh, clear, written};
use super::{Matrix, Vector, new, read, simd, take, total};
use crate::kernels::operands::{Heads, Setup};
use crate::kernels::sequences::{Queries, Sequences};

type Room<'a> = &'a mut [MaybeUninit<f32>];

/// Rows of one sequence.
struct Rows {
    /// The first.
    start: usize,
    /// Their number with padding.
    span: usize,
    /// Their number without.
    length: usize,
}

/// The rows of one sequence, and its place among the probabilities.
struct SequenceRows {
    queries: Rows,
    tokens: Rows,
    /// Where its probabilities begin.
    offset: usize,
}

impl SequenceRows {
    /// Number of probabilities of one head.
    fn square(&self) -> usize {
        self.queries.length * self.tokens.length
    }

    /// One head's matrix of scores.
    fn matrix<'a>(&self, values: &'a [f32]) -> View<'a> {
        View::new(values, self.queries.length, self.tokens.length, self.tokens.length)
    }

    /// Where that matrix goes.
    fn target<'a>(&self, room: &'a mut [MaybeUninit<f32>]) -> Target<'a> {
        Target::fresh(room, self.queries.length, self.tokens.length, self.tokens.length)
    }
}

struct Shape {
    head: usize,
    width: usize,
    scale: f32,
}

impl Shape {
    fn new(width: usize, heads: usize) -> Self {
        let head = width / heads;
        Self { head, width, scale: (1.0 / (head as f64).sqrt()) as f32 }
    }

    /// The columns of head `n` of the rows.
    fn view<'a>(&self, values: &'a FlexTensor, rows: &Rows, n: usize) -> View<'a> {
        let start = rows.start * self.width + n * self.head;
        View::new(&read(values)[start..], rows.length, self.head, self.width)
    }

    /// The same columns of `room`, which begins with the rows.
    fn target<'a>(&self, room: &'a mut [MaybeUninit<f32>], rows: &Rows, n: usize) -> Target<'a> {
        Target::fresh(&mut room[n * self.head..], rows.length, self.head, self.width)
    }
}

fn sequence_rows(sequences: &Sequences, heads: usize, queries: Queries) -> Vec<SequenceRows> {
    let mut offset = 0;
    let spans = sequences.spans().zip(sequences.lengths()).enumerate();
    let all = spans.map(|(n, (span, length))| {
        let tokens = Rows { start: span.start, span: span.len(), length: *length };
        let queries = match queries {
            Queries::All => Rows { ..tokens },
            Queries::First => Rows { start: n, span: 1, length: 1 },
        };
        let sequence = SequenceRows { queries, tokens, offset };
        offset += heads * sequence.square();
        sequence
    });
    all.collect()
}

/// Cuts `room` into pieces of the given sizes.
fn cut<'a>(mut room: Room<'a>, sizes: impl Iterator<Item = usize>) -> Vec<Room<'a>> {
    let mut pieces = Vec::new();
    for size in sizes {
        let (piece, rest) = room.split_at_mut(size);
        pieces.push(piece);
        room = rest;
    }
    pieces
}

/// Memory is not cleared beforehand, so everything must fit. Gives the rows of the queries.
fn check(inputs: &Heads<Flex>, sequences: &Sequences, heads: usize, queries: Queries) -> usize {
    let [_, width] = inputs.query.dims();
    let rows = queries.rows(sequences);
    assert_eq!(inputs.query.dims(), [rows, width], "shapes do not fit");
    assert_eq!(inputs.key.dims(), [sequences.rows(), width], "shapes do not fit");
    assert_eq!(inputs.value.dims(), [sequences.rows(), width], "shapes do not fit");
    assert!(width.is_multiple_of(heads), "shapes do not fit");
    rows
}

/// Context and, where `keep` asks for it, probabilities: sequence by sequence, head by head.
///
/// # Shapes
/// - `inputs`: `[rows, width]` each
/// - output: `[rows of the queries, width]`; probabilities `[n]`, queries times tokens of every
///   sequence and head
pub fn forward(
    inputs: Heads<Flex>,
    sequences: &Sequences,
    setup: Setup,
    keep: bool,
) -> (Matrix, Option<Vector>) {
    let Setup { heads, queries, dropout, .. } = setup;
    let rows = check(&inputs, sequences, heads, queries);
    let [_, width] = inputs.query.dims();
    let shape = Shape::new(width, heads);
    let mask = DropoutMask::new(dropout);
    let (query, key, value) = (take(inputs.query), take(inputs.key), take(inputs.value));
    let all = sequence_rows(sequences, heads, queries);
    let kept_of = |sequence: &SequenceRows| if keep { heads * sequence.square() } else { 0 };
    let kept = all.iter().map(kept_of).sum();
    let (mut context, mut probabilities) = (Fresh::new(rows * width), Fresh::new(kept));
    let contexts = cut(context.room(rows * width), all.iter().map(|p| p.queries.span * width));
    let squares = cut(probabilities.room(kept), all.iter().map(kept_of));
    (&all, contexts, squares).into_par_iter().for_each(|(sequence, context, kept)| {
        let n = sequence.square();
        let (mut scratch, mut dropped) = (Fresh::new(n), Fresh::new(n));
        clear(&mut context[sequence.queries.length * width..]);
        let mut kept = kept.chunks_mut(n.max(1));
        for head in 0..heads {
            let room = kept.next().unwrap_or_else(|| scratch.room(n));
            let keys = shape.view(&key, &sequence.tokens, head).transposed();
            let queries = shape.view(&query, &sequence.queries, head);
            multiply(sequence.target(room), queries, keys, shape.scale, ALONE);
            // SAFETY: a product writes the whole of its target.
            let scores = unsafe { written(room) };
            softmax(scores, sequence.tokens.length);
            let weights = if mask.active() {
                drop_out(mask, sequence.offset + head * n, scores, dropped.room(n))
            } else {
                scores
            };
            let target = shape.target(context, &sequence.queries, head);
            let values = shape.view(&value, &sequence.tokens, head);
            multiply(target, sequence.matrix(weights), values, 1.0, ALONE);
        }
    });
    // SAFETY: the heads cover every column of the context's tokens, its padding was cleared, and
    // the probabilities of every head were written where they are kept.
    let (context, probabilities) =
        unsafe { (context.filled(rows * width), probabilities.filled(kept)) };
    (new(context, [rows, width]), keep.then(|| new(probabilities, [kept])))
}

/// Gradients of queries, keys and values.
///
/// # Shapes
/// - `inputs` and outputs: `[rows, width]` each
/// - `probabilities`: `[n]`, as [`forward`] gives them
/// - `grad`: `[rows of the queries, width]`
pub fn backward(
    inputs: Heads<Flex>,
    probabilities: Vector,
    grad: Matrix,
    sequences: &Sequences,
    setup: Setup,
) -> Heads<Flex> {
    let Setup { heads, queries, dropout, .. } = setup;
    let rows = check(&inputs, sequences, heads, queries);
    let [_, width] = inputs.query.dims();
    assert_eq!(grad.dims(), [rows, width], "shapes do not fit");
    let shape = Shape::new(width, heads);
    let mask = DropoutMask::new(dropout);
    let (query, key, value) = (take(inputs.query), take(inputs.key), take(inputs.value));
    let (probabilities, grad) = (take(probabilities), take(grad));
    let all = sequence_rows(sequences, heads, queries);
    let sizes = [rows, sequences.rows(), sequences.rows()].map(|rows| rows * width);
    let mut outputs = sizes.map(Fresh::new);
    let [d_query, d_key, d_value] = &mut outputs;
    let queries = cut(d_query.room(sizes[0]), all.iter().map(|p| p.queries.span * width));
    let keys = cut(d_key.room(sizes[1]), all.iter().map(|p| p.tokens.span * width));
    let values = cut(d_value.room(sizes[2]), all.iter().map(|p| p.tokens.span * width));
    (&all, queries, keys, values).into_par_iter().for_each(
        |(sequence, d_query, d_key, d_value)| {
            let n = sequence.square();
            clear(&mut d_query[sequence.queries.length * width..]);
            clear(&mut d_key[sequence.tokens.length * width..]);
            clear(&mut d_value[sequence.tokens.length * width..]);
            let (mut scratch, mut dropped) = (Fresh::new(n), Fresh::new(n));
            for head in 0..heads {
                let first = sequence.offset + head * n;
                let weights = &read(&probabilities)[first..][..n];
                let d_context = shape.view(&grad, &sequence.queries, head);
                let used: &[f32] = if mask.active() {
                    drop_out(mask, first, weights, dropped.room(n))
                } else {
                    weights
                };
                let target = shape.target(d_value, &sequence.tokens, head);
                multiply(target, sequence.matrix(used).transposed(), d_context, 1.0, ALONE);

                let room = scratch.room(n);
                let values = shape.view(&value, &sequence.tokens, head).transposed();
                multiply(sequence.target(room), d_context, values, 1.0, ALONE);
                // SAFETY: a product writes the whole of its target.
                let d_scores = unsafe { written(room) };
                softmax_backward(weights, used, d_scores, sequence.tokens.length, mask.scale());
                let d_scores = sequence.matrix(d_scores);
                let target = shape.target(d_query, &sequence.queries, head);
                let keys = shape.view(&key, &sequence.tokens, head);
                multiply(target, d_scores, keys, shape.scale, ALONE);
                let target = shape.target(d_key, &sequence.tokens, head);
                let queries = shape.view(&query, &sequence.queries, head);
                multiply(target, d_scores.transposed(), queries, shape.scale, ALONE);
            }
        },
    );
    let [query, key, value] = outputs;
    let token_rows = sequences.rows();
    // SAFETY: the heads cover every column of the queries and tokens, and the padding was cleared.
    unsafe {
        Heads {
            query: new(query.filled(sizes[0]), [rows, width]),
            key: new(key.filled(sizes[1]), [token_rows, width]),
            value: new(value.filled(sizes[2]), [token_rows, width]),
        }
    }
}

/// Each row's softmax, in place.
fn softmax(scores: &mut [f32], width: usize) {
    simd(|| {
        for row in scores.chunks_exact_mut(width.max(1)) {
            let largest = largest(row);
            for v in row {
                *v -= largest;
            }
        }
        // Over all rows at once: a row is rarely a multiple of a vector.
        for v in scores.iter_mut() {
            *v = exp(*v);
        }
        for row in scores.chunks_exact_mut(width.max(1)) {
            let inverse = 1.0 / total(row, |v| v);
            for v in row {
                *v *= inverse;
            }
        }
    });
}

/// The largest value, in 16 lanes so that the compiler can vectorise it.
#[inline(always)]
fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::NEG_INFINITY; 16];
    let groups = values.chunks_exact(16);
    let rest = groups.remainder();
    for group in groups {
        for (lane, v) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, *v);
        }
    }
    let largest = rest.iter().fold(f32::NEG_INFINITY, |a, v| larger(a, *v));
    lanes.into_iter().fold(largest, larger)
}

/// `values` after dropout, whose index begins at `first`.
fn drop_out<'a>(mask: DropoutMask, first: usize, values: &[f32], room: Room<'a>) -> &'a mut [f32] {
    assert_eq!(values.len(), room.len(), "shapes do not fit");
    simd(|| mask.apply(first as u32, values, room));
    // SAFETY: there are as many values as places.
    unsafe { written(room) }
}

/// From the gradient of the dropped probabilities to that of the scores, in place. `weights` are
/// the probabilities before dropout, `used` those after it; a probability of zero has no gradient,
/// dropped or not.
fn softmax_backward(weights: &[f32], used: &[f32], grad: &mut [f32], width: usize, scale: f32) {
    simd(|| {
        for ((g, w), u) in grad.iter_mut().zip(weights).zip(used) {
            *g = if *u == 0.0 { 0.0 } else { *g * scale * *w };
        }
        for (grad, weights) in
            grad.chunks_exact_mut(width.max(1)).zip(weights.chunks_exact(width.max(1)))
        {
            let along = total(grad, |v| v);
            for (g, w) in grad.iter_mut().zip(weights) {
                *g -= *w * along;
            }
        }
    });
}
