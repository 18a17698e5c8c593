//! LayerNorm over rows, with what comes before it.

use std::mem::MaybeUninit;

use burn_flex::Flex;
use rayon::prelude::*;

use super::dropout::DropoutMask;
use super::memory::Fresh;
use super::{CHUNK, Matrix, ROWS, Vector, add_up, new, read, simd, take, total};
use crate::kernels::operands::{Norm, NormSaved};

/// The rows of one unit of work: the first row's number, outputs, and what is kept.
struct Block<'a> {
    first: usize,
    output: &'a mut [MaybeUninit<f32>],
    normalized: Option<&'a mut [MaybeUninit<f32>]>,
    deviation: &'a mut [MaybeUninit<f32>],
}

/// Normalises rows that `input` writes, one after the other, to the place it is given; `after`
/// gives what the normalised element at an index is multiplied by at last.
///
/// # Shapes
/// - `norm`: `[width]`
/// - output: `[rows, width]`
pub fn forward(
    [rows, width]: [usize; 2],
    norm: Norm<Flex>,
    keep: bool,
    input: impl Fn(usize, &mut [f32]) + Sync,
    after: DropoutMask,
) -> (Matrix, Option<NormSaved<Flex>>) {
    let n = rows * width;
    let kept = if keep { n } else { 0 };
    let epsilon = norm.epsilon as f32;
    assert_eq!((norm.gamma.dims(), norm.beta.dims()), ([width], [width]), "shapes do not fit");
    let (gamma, beta) = (take(norm.gamma), take(norm.beta));
    let (gamma, beta) = (read(&gamma), read(&beta));
    let (mut output, mut normalized) = (Fresh::new(n), Fresh::new(kept));
    let mut deviation = Fresh::new(rows);
    let size = ROWS * width;
    let mut chunks = normalized.room(kept).chunks_mut(size);
    let blocks: Vec<Block<'_>> = output
        .room(n)
        .chunks_mut(size)
        .zip(deviation.room(rows).chunks_mut(ROWS))
        .zip((0..).step_by(ROWS))
        .map(|((output, deviation), first)| {
            let normalized = chunks.next();
            Block { first, output, normalized, deviation }
        })
        .collect();
    blocks.into_par_iter().for_each(|block| {
        let Block { first, output, mut normalized, deviation } = block;
        let mut row = vec![0.0f32; width];
        let lines = output.chunks_mut(width).zip(deviation).zip(first..).enumerate();
        for (line, ((output, deviation), place)) in lines {
            input(place, &mut row);
            let inverse = simd(|| {
                let mean = total(&row, |v| v) / width as f32;
                let variance = total(&row, |v| (v - mean) * (v - mean)) / width as f32;
                let inverse = 1.0 / (variance + epsilon).sqrt();
                for v in row.iter_mut() {
                    *v = (*v - mean) * inverse;
                }
                let scale = gamma.iter().zip(beta);
                for ((y, v), (g, b)) in output.iter_mut().zip(&row).zip(scale) {
                    y.write(*v * *g + *b);
                }
                inverse
            });
            if after.active() {
                let start = (place * width) as u32;
                simd(|| {
                    let scale = gamma.iter().zip(beta);
                    for (((y, v), (g, b)), i) in output.iter_mut().zip(&row).zip(scale).zip(start..)
                    {
                        y.write((*v * *g + *b) * after.factor(i));
                    }
                });
            }
            deviation.write(inverse);
            if let Some(normalized) = &mut normalized {
                let places = normalized.iter_mut().skip(line * width);
                for (place, v) in places.zip(&row) {
                    place.write(*v);
                }
            }
        }
    });
    // SAFETY: every row of every block was written, and of `normalized` where it is kept.
    let (output, normalized, deviation) =
        unsafe { (output.filled(n), normalized.filled(kept), deviation.filled(rows)) };
    let saved = keep.then(|| NormSaved {
        normalized: new(normalized, [rows, width]),
        inverse_deviation: new(deviation, [rows, 1]),
    });
    (new(output, [rows, width]), saved)
}

/// Gradients of the normalised input, of gamma and of beta, for gradients `grad` that are first
/// multiplied by `before`.
///
/// # Shapes
/// - `gamma`: `[width]`
/// - `grad`: `[rows, width]`
/// - output: `[rows, width]`, `[width]`, `[width]`
pub fn backward(
    saved: NormSaved<Flex>,
    gamma: Vector,
    grad: Matrix,
    before: DropoutMask,
) -> (Matrix, Vector, Vector) {
    let [rows, width] = grad.dims();
    assert_eq!(saved.normalized.dims(), [rows, width], "shapes do not fit");
    assert_eq!(saved.inverse_deviation.dims(), [rows, 1], "shapes do not fit");
    let (normalized, deviation) = (take(saved.normalized), take(saved.inverse_deviation));
    let (gamma, grad) = (take(gamma), take(grad));
    let gamma = read(&gamma);
    let mut input = Fresh::new(rows * width);
    let size = ROWS * width;
    let partial: Vec<(Vec<f32>, Vec<f32>)> = (
        input.room(rows * width).par_chunks_mut(size),
        read(&normalized).par_chunks(size),
        read(&grad).par_chunks(size),
        read(&deviation).par_chunks(ROWS),
    )
        .into_par_iter()
        .enumerate()
        .map(|(n, (input, normalized, grad, deviation))| {
            let (mut d_gamma, mut d_beta) = (vec![0.0f32; width], vec![0.0f32; width]);
            let (mut row, mut scaled) = (vec![0.0f32; width], vec![0.0f32; width]);
            let lines = normalized.chunks(width).zip(grad.chunks(width)).zip(deviation);
            let first = (n * size) as u32;
            for ((output, ((normalized, grad), inverse)), start) in
                input.chunks_mut(width).zip(lines).zip((first..).step_by(width))
            {
                simd(|| {
                    if before.active() {
                        for ((r, g), i) in row.iter_mut().zip(grad).zip(start..) {
                            *r = *g * before.factor(i);
                        }
                    } else {
                        row.copy_from_slice(grad);
                    }
                    let sums = d_gamma.iter_mut().zip(d_beta.iter_mut());
                    for ((g_sum, b_sum), (v, g)) in sums.zip(normalized.iter().zip(&row)) {
                        *g_sum += *g * *v;
                        *b_sum += *g;
                    }
                    for (r, gamma) in row.iter_mut().zip(gamma) {
                        *r *= *gamma;
                    }
                    let mean = total(&row, |d| d) / width as f32;
                    for (s, (r, v)) in scaled.iter_mut().zip(row.iter().zip(normalized)) {
                        *s = *r * *v;
                    }
                    let along = total(&scaled, |p| p) / width as f32;
                    for (y, (r, v)) in output.iter_mut().zip(row.iter().zip(normalized)) {
                        y.write((*r - mean - *v * along) * *inverse);
                    }
                });
            }
            (d_gamma, d_beta)
        })
        .collect();
    let (gammas, betas) = partial.into_iter().unzip();
    // SAFETY: every row was written.
    let input = unsafe { input.filled(rows * width) };
    (
        new(input, [rows, width]),
        new(add_up(gammas, width), [width]),
        new(add_up(betas, width), [width]),
    )
}

/// Dropout of a matrix.
///
/// # Shapes
/// - `x`, output: `[rows, width]`
pub fn drop_out(x: Matrix, mask: DropoutMask) -> Matrix {
    let [rows, width] = x.dims();
    let n = rows * width;
    let x = take(x);
    let mut output = Fresh::new(n);
    let chunks = output.room(n).par_chunks_mut(CHUNK).zip(read(&x).par_chunks(CHUNK));
    chunks.enumerate().for_each(|(chunk, (output, x))| {
        simd(|| mask.apply((chunk * CHUNK) as u32, x, output));
    });
    // SAFETY: every chunk was written.
    new(unsafe { output.filled(n) }, [rows, width])
}
