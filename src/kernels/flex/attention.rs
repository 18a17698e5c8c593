//! Attention within each sequence: the scores of one head of one sequence fit the cache.

use std::mem::MaybeUninit;

use burn_flex::{Flex, FlexTensor};
use rayon::prelude::*;

use super::dropout::Drop;
use super::math::exp;
use super::matmul::{ALONE, Target, View, multiply};
use super::memory::{Fresh, clear, written};
use super::{Matrix, Vector, new, read, simd, take, total};
use crate::kernels::layer::{Heads, SeededDropout};
use crate::kernels::sequences::Sequences;

type Room<'a> = &'a mut [MaybeUninit<f32>];

/// One sequence's share of the work.
struct Part {
    /// First row.
    start: usize,
    /// Rows with padding.
    rows: usize,
    /// Tokens.
    length: usize,
    /// Where its probabilities begin.
    offset: usize,
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

    /// The columns of head `n` of the part's rows.
    fn view<'a>(&self, values: &'a FlexTensor, part: &Part, n: usize) -> View<'a> {
        let start = part.start * self.width + n * self.head;
        View::new(&read(values)[start..], part.length, self.head, self.width)
    }

    /// The same columns of `room`, which holds the part's rows.
    fn target<'a>(&self, room: &'a mut [MaybeUninit<f32>], part: &Part, n: usize) -> Target<'a> {
        Target::fresh(&mut room[n * self.head..], part.length, self.head, self.width)
    }
}

/// One head's matrix of scores.
fn matrix<'a>(values: &'a [f32], part: &Part) -> View<'a> {
    View::new(values, part.length, part.length, part.length)
}

fn parts(sequences: &Sequences, heads: usize) -> Vec<Part> {
    let mut offset = 0;
    let parts = sequences.spans().zip(sequences.lengths()).map(|(span, length)| {
        let part = Part { start: span.start, rows: span.len(), length: *length, offset };
        offset += heads * length * length;
        part
    });
    parts.collect()
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

/// Memory is not cleared beforehand, so everything must fit.
fn check(inputs: &Heads<Flex>, sequences: &Sequences, heads: usize, shape: [usize; 2]) {
    let inputs = [&inputs.query, &inputs.key, &inputs.value];
    assert!(inputs.iter().all(|t| t.dims() == shape), "shapes do not fit");
    assert!(sequences.rows() == shape[0] && shape[1] % heads == 0, "shapes do not fit");
}

/// Context and, where `keep` asks for it, probabilities: sequence by sequence, head by head.
pub fn forward(
    inputs: Heads<Flex>,
    sequences: &Sequences,
    heads: usize,
    dropout: Option<SeededDropout>,
    keep: bool,
) -> (Matrix, Option<Vector>) {
    let [rows, width] = inputs.query.dims();
    check(&inputs, sequences, heads, [rows, width]);
    let shape = Shape::new(width, heads);
    let drop = Drop::new(dropout);
    let (query, key, value) = (take(inputs.query), take(inputs.key), take(inputs.value));
    let parts = parts(sequences, heads);
    let square = |part: &Part| if keep { heads * part.length * part.length } else { 0 };
    let kept = parts.iter().map(square).sum();
    let (mut context, mut probabilities) = (Fresh::new(rows * width), Fresh::new(kept));
    let contexts = cut(context.room(rows * width), parts.iter().map(|p| p.rows * width));
    let squares = cut(probabilities.room(kept), parts.iter().map(square));
    (&parts, contexts, squares).into_par_iter().for_each(|(part, context, kept)| {
        let n = part.length * part.length;
        let (mut scratch, mut dropped) = (Fresh::new(n), Fresh::new(n));
        clear(&mut context[part.length * width..]);
        let mut kept = kept.chunks_mut(n.max(1));
        for head in 0..heads {
            let room = kept.next().unwrap_or_else(|| scratch.room(n));
            let scores = Target::fresh(room, part.length, part.length, part.length);
            let keys = shape.view(&key, part, head).transposed();
            multiply(scores, shape.view(&query, part, head), keys, shape.scale, ALONE);
            // SAFETY: a product writes the whole of its target.
            let scores = unsafe { written(room) };
            softmax(scores, part.length);
            let weights = if drop.active() {
                drop_out(drop, part.offset + head * n, scores, dropped.room(n))
            } else {
                scores
            };
            let weights = matrix(weights, part);
            let target = shape.target(context, part, head);
            multiply(target, weights, shape.view(&value, part, head), 1.0, ALONE);
        }
    });
    // SAFETY: the heads cover every column of the context's tokens, its padding was cleared, and
    // the probabilities of every head were written where they are kept.
    let (context, probabilities) =
        unsafe { (context.filled(rows * width), probabilities.filled(kept)) };
    (new(context, [rows, width]), keep.then(|| new(probabilities, [kept])))
}

/// Gradients of queries, keys and values.
pub fn backward(
    inputs: Heads<Flex>,
    probabilities: Vector,
    grad: Matrix,
    sequences: &Sequences,
    heads: usize,
    dropout: Option<SeededDropout>,
) -> Heads<Flex> {
    let [rows, width] = grad.dims();
    check(&inputs, sequences, heads, [rows, width]);
    let shape = Shape::new(width, heads);
    let drop = Drop::new(dropout);
    let (query, key, value) = (take(inputs.query), take(inputs.key), take(inputs.value));
    let (probabilities, grad) = (take(probabilities), take(grad));
    let parts = parts(sequences, heads);
    let mut outputs = [0; 3].map(|_| Fresh::new(rows * width));
    let [queries, keys, values] =
        outputs.each_mut().map(|o| cut(o.room(rows * width), parts.iter().map(|p| p.rows * width)));
    (&parts, queries, keys, values).into_par_iter().for_each(|(part, d_query, d_key, d_value)| {
        let n = part.length * part.length;
        for room in [&mut *d_query, &mut *d_key, &mut *d_value] {
            clear(&mut room[part.length * width..]);
        }
        let (mut scratch, mut dropped) = (Fresh::new(n), Fresh::new(n));
        for head in 0..heads {
            let first = part.offset + head * n;
            let weights = &read(&probabilities)[first..][..n];
            let d_context = shape.view(&grad, part, head);
            let used: &[f32] = if drop.active() {
                drop_out(drop, first, weights, dropped.room(n))
            } else {
                weights
            };
            let target = shape.target(d_value, part, head);
            multiply(target, matrix(used, part).transposed(), d_context, 1.0, ALONE);

            let room = scratch.room(n);
            let target = Target::fresh(room, part.length, part.length, part.length);
            let values = shape.view(&value, part, head).transposed();
            multiply(target, d_context, values, 1.0, ALONE);
            // SAFETY: a product writes the whole of its target.
            let d_scores = unsafe { written(room) };
            softmax_backward(weights, used, d_scores, part.length, drop.scale());
            let d_scores = matrix(d_scores, part);
            let target = shape.target(d_query, part, head);
            multiply(target, d_scores, shape.view(&key, part, head), shape.scale, ALONE);
            let target = shape.target(d_key, part, head);
            let queries = shape.view(&query, part, head);
            multiply(target, d_scores.transposed(), queries, shape.scale, ALONE);
        }
    });
    // SAFETY: the heads cover every column of the tokens, and the padding was cleared.
    let [query, key, value] =
        outputs.map(|o| new(unsafe { o.filled(rows * width) }, [rows, width]));
    Heads { query, key, value }
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
fn drop_out<'a>(drop: Drop, first: usize, values: &[f32], room: Room<'a>) -> &'a mut [f32] {
    assert_eq!(values.len(), room.len(), "shapes do not fit");
    simd(|| {
        for ((y, v), i) in room.iter_mut().zip(values).zip(first as u32..) {
            y.write(*v * drop.factor(i));
        }
    });
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
