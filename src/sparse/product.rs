//! Products of packed weights with panels of activations.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::packing::{DENSE_BLOCK, Form, Packed, STRIPE, Sparse, TILE};
use super::vector::{Instructions, multiply_add};

impl Packed {
    /// y = weight x + bias, or y += weight x + bias where `add` says so, for some rows.
    ///
    /// # Shapes
    /// - `rows`: begins with a stripe
    /// - `x`: `[inputs, width]`, `width` being one to four vectors
    /// - `y`: `[rows, width]`
    pub fn multiply(
        &self,
        instructions: Instructions,
        rows: std::ops::Range<usize>,
        x: &[f32],
        width: usize,
        y: &mut [f32],
        add: bool,
    ) {
        assert!(rows.start.is_multiple_of(STRIPE) && rows.end <= self.outputs, "no such rows");
        assert_eq!(x.len(), self.inputs * width, "shapes do not fit");
        assert_eq!(y.len(), rows.len() * width, "shapes do not fit");
        let vectors = width / instructions.lanes();
        assert_eq!(vectors * instructions.lanes(), width, "a panel of whole vectors");
        let work = Work { matrix: self, rows, x, y, add };
        match vectors {
            0 => {}
            1 => instructions.run(Multiply::<1, 4>(work)),
            2 => instructions.run(Multiply::<2, 4>(work)),
            3 => instructions.run(Multiply::<3, 2>(work)),
            4 => instructions.run(Multiply::<4, 2>(work)),
            _ => unreachable!("panels have at most four vectors"),
        }
    }

    /// As [`multiply`](Self::multiply) of all rows, and what is done `after` it to the result, which is
    /// divided into at most so many parts: as many threads are at work.
    pub fn multiply_in_parts(
        &self,
        (instructions, parts): (Instructions, usize),
        x: &[f32],
        width: usize,
        y: &mut [f32],
        add: bool,
        after: impl Fn(&mut [f32]) + Sync,
    ) {
        let run = |rows: std::ops::Range<usize>, y: &mut [f32]| {
            self.multiply(instructions, rows, x, width, y, add);
            after(y);
        };
        if parts <= 1 || self.outputs <= STRIPE {
            return run(0..self.outputs, y);
        }
        let (mut rest, mut each) = (y, Vec::with_capacity(parts));
        for rows in self.divide(parts) {
            let (part, others) = rest.split_at_mut(rows.len() * width);
            each.push((rows, part));
            rest = others;
        }
        each.into_par_iter().with_max_len(1).for_each(|(rows, y)| run(rows, y));
    }
}

struct Work<'a> {
    matrix: &'a Packed,
    rows: std::ops::Range<usize>,
    x: &'a [f32],
    y: &'a mut [f32],
    add: bool,
}

/// A product with panels of V vectors; sparse ones with U sets of accumulators, since a processor
/// has some eight multiply-adds under way at a time.
struct Multiply<'a, const V: usize, const U: usize>(Work<'a>);

impl<const V: usize, const U: usize> WithSimd for Multiply<'_, V, U> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Work { matrix, rows, x, y, add } = self.0;
        if matrix.inputs == 0 {
            return fill::<S, V>(simd, &matrix.bias[rows], y, add);
        }
        match &matrix.form {
            Form::Sparse(sparse) => {
                sparse.multiply::<S, V, U>(simd, &matrix.bias, rows, x, y, add);
            }
            Form::Dense(tiles) => {
                multiply_dense::<S, V>(simd, tiles, &matrix.bias, rows, x, y, add);
            }
        }
    }
}

/// y (+)= bias.
#[inline(always)]
fn fill<S: Simd, const V: usize>(simd: S, bias: &[f32], y: &mut [f32], add: bool) {
    for (row, bias) in y.chunks_exact_mut(V * S::F32_LANES).zip(bias) {
        let bias = simd.splat_f32s(*bias);
        // SAFETY: a row has V vectors.
        unsafe {
            let sums = start::<S, V>(simd, row.as_ptr(), bias, add);
            store::<S, V>(row.as_mut_ptr(), sums);
        }
    }
}

/// What a row's sums begin with: the bias, and with `add` what stands in `y`.
///
/// # Safety
/// `y` is followed by V vectors.
#[inline(always)]
unsafe fn start<S: Simd, const V: usize>(
    simd: S,
    y: *const f32,
    bias: S::f32s,
    add: bool,
) -> [S::f32s; V] {
    let mut sums = [bias; V];
    if add {
        // SAFETY: the caller's.
        let before = unsafe { load::<S, V>(y) };
        for (sum, before) in sums.iter_mut().zip(before) {
            *sum = simd.add_f32s(*sum, before);
        }
    }
    sums
}

/// # Safety
/// `from` is followed by V vectors.
#[inline(always)]
unsafe fn load<S: Simd, const V: usize>(from: *const f32) -> [S::f32s; V] {
    // SAFETY: the caller's; an array of vectors is made of floats alone.
    unsafe { from.cast::<[S::f32s; V]>().read_unaligned() }
}

/// # Safety
/// `to` is followed by V vectors.
#[inline(always)]
unsafe fn store<S: Simd, const V: usize>(to: *mut f32, values: [S::f32s; V]) {
    // SAFETY: the caller's.
    unsafe { to.cast::<[S::f32s; V]>().write_unaligned(values) }
}

impl Sparse {
    #[inline(always)]
    fn multiply<S: Simd, const V: usize, const U: usize>(
        &self,
        simd: S,
        bias: &[f32],
        rows: std::ops::Range<usize>,
        x: &[f32],
        y: &mut [f32],
        add: bool,
    ) {
        let (outputs, width) = (bias.len(), V * S::F32_LANES);
        let stripes = outputs.div_ceil(STRIPE);
        for (n, x) in x.chunks(self.block * width).enumerate() {
            let counts = &self.counts[n * outputs..][rows.clone()];
            let first = self.starts[n * stripes + rows.start / STRIPE] as usize;
            let mut groups = self.groups[first..].iter();
            let places = y.chunks_exact_mut(width).zip(&bias[rows.clone()]).zip(counts);
            for ((place, bias), count) in places {
                let mut sums = [[simd.splat_f32s(0.0); V]; U];
                // SAFETY: `place` has V vectors.
                sums[0] = unsafe {
                    if n == 0 {
                        start::<S, V>(simd, place.as_ptr(), simd.splat_f32s(*bias), add)
                    } else {
                        load::<S, V>(place.as_ptr())
                    }
                };
                for group in groups.by_ref().take(usize::from(*count)) {
                    let columns = u64::from_le_bytes(pulp::bytemuck::cast(group.columns));
                    for (e, value) in group.values.iter().enumerate() {
                        let column = usize::from((columns >> (16 * e)) as u16);
                        // SAFETY: a group's columns lie within its block, as `Packed::of_parts` has
                        // checked, or `Rows`, whose columns rise; and `x` has V vectors for each
                        // column of it, as the panel in `Packed::multiply`.
                        let inputs = unsafe { load::<S, V>(x.as_ptr().add(column * width)) };
                        let value = simd.splat_f32s(*value);
                        for (sum, input) in sums[e % U].iter_mut().zip(inputs) {
                            *sum = multiply_add(simd, value, input, *sum);
                        }
                    }
                }
                let mut total = sums[0];
                for other in &sums[1..] {
                    for (sum, other) in total.iter_mut().zip(other) {
                        *sum = simd.add_f32s(*sum, *other);
                    }
                }
                // SAFETY: as above.
                unsafe { store::<S, V>(place.as_mut_ptr(), total) };
            }
        }
    }
}

#[inline(always)]
fn multiply_dense<S: Simd, const V: usize>(
    simd: S,
    tiles: &[f32],
    bias: &[f32],
    rows: std::ops::Range<usize>,
    x: &[f32],
    y: &mut [f32],
    add: bool,
) {
    let width = V * S::F32_LANES;
    let inputs = x.len() / width;
    for block in (0..inputs).step_by(DENSE_BLOCK) {
        let length = (inputs - block).min(DENSE_BLOCK);
        for (n, y) in y.chunks_mut(TILE * width).enumerate() {
            let row = rows.start + n * TILE;
            let count = y.len() / width;
            // Rows that the last tile lacks are computed, and left.
            let mut biases = [0.0; TILE];
            biases[..count].copy_from_slice(&bias[row..row + count]);
            let tile = &tiles[(row * inputs) + block * TILE..][..length * TILE];
            let x = &x[block * width..][..length * width];
            let mut lane = 0;
            while lane < width {
                // SAFETY: `tile` has TILE values for each of `length` inputs, `x` a panel's width
                // for each, and the vectors from `lane` on lie within that width; `y` has `count`
                // rows of it.
                unsafe {
                    let (x, y) = (x.as_ptr().add(lane), y.as_mut_ptr().add(lane));
                    if width - lane >= 2 * S::F32_LANES {
                        let sums = opened::<S, 2>(simd, y, width, count, biases, block == 0, add);
                        let sums = tile_of::<S, TILE, 2>(simd, tile, length, x, width, sums);
                        closed::<S, 2>(y, width, count, sums);
                    } else {
                        let sums = opened::<S, 1>(simd, y, width, count, biases, block == 0, add);
                        let sums = tile_of::<S, TILE, 1>(simd, tile, length, x, width, sums);
                        closed::<S, 1>(y, width, count, sums);
                    }
                }
                lane += 2 * S::F32_LANES;
            }
        }
    }
}

/// # Safety
/// `y` has `count` rows, `width` apart, of W vectors.
#[inline(always)]
unsafe fn opened<S: Simd, const W: usize>(
    simd: S,
    y: *const f32,
    width: usize,
    count: usize,
    biases: [f32; TILE],
    is_first: bool,
    add: bool,
) -> [[S::f32s; W]; TILE] {
    let mut sums = [[simd.splat_f32s(0.0); W]; TILE];
    for (n, (sums, bias)) in sums.iter_mut().zip(biases).enumerate().take(count) {
        // SAFETY: the caller's.
        *sums = unsafe {
            let y = y.add(n * width);
            if is_first { start(simd, y, simd.splat_f32s(bias), add) } else { load::<S, W>(y) }
        };
    }
    sums
}

/// # Safety
/// As [`opened`].
#[inline(always)]
unsafe fn closed<S: Simd, const W: usize>(
    y: *mut f32,
    width: usize,
    count: usize,
    sums: [[S::f32s; W]; TILE],
) {
    for (n, sums) in sums.into_iter().enumerate().take(count) {
        // SAFETY: the caller's.
        unsafe { store::<S, W>(y.add(n * width), sums) };
    }
}

/// # Safety
/// `tile` has TILE values for each of `length` inputs, and `x` a row, `width` apart, of W vectors.
#[inline(always)]
unsafe fn tile_of<S: Simd, const R: usize, const W: usize>(
    simd: S,
    tile: &[f32],
    length: usize,
    x: *const f32,
    width: usize,
    sums: [[S::f32s; W]; R],
) -> [[S::f32s; W]; R] {
    // SAFETY: the caller's.
    unsafe { tile_product::<S, R, W>(simd, length, (tile.as_ptr(), 1, R), (x, width), sums) }
}

/// R rows and W vectors of a b, added to `sums`. `a` is a place with the steps from row to row and
/// from column to column; `b` is a place with the step from row to row.
///
/// # Safety
/// `a` has R rows of `length` values, and `b` has `length` rows of W vectors.
#[inline(always)]
pub unsafe fn tile_product<S: Simd, const R: usize, const W: usize>(
    simd: S,
    length: usize,
    (mut a, row_step, step): (*const f32, usize, usize),
    (mut b, width): (*const f32, usize),
    mut sums: [[S::f32s; W]; R],
) -> [[S::f32s; W]; R] {
    for _ in 0..length {
        // SAFETY: the caller's; the places move on by as many steps as there are rows of b.
        unsafe {
            let inputs = load::<S, W>(b);
            for (r, sums) in sums.iter_mut().enumerate() {
                let weight = simd.splat_f32s(*a.add(r * row_step));
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    *sum = multiply_add(simd, weight, input, *sum);
                }
            }
            a = a.wrapping_add(step);
            b = b.wrapping_add(width);
        }
    }
    sums
}

#[cfg(test)]
#[path = "product_tests.rs"]
pub(super) mod tests;
