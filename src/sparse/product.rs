//! Products of packed weights with panels of activations.
//!
//! Weights of which few remain are packed as values with the places of their inputs: each costs one
//! broadcast, and a load and a multiply-add for every vector of the panel. The inputs are divided
//! into blocks whose part of the panel fits the first-level cache. Weights of which many remain are
//! packed in tiles of [`TILE`] rows, as in ordinary matrix products.

use pulp::{Simd, WithSimd};

use super::rows::Rows;
use super::vector::{Instructions, multiply_add};

/// Rows of one unit of parallel work; a multiple of [`TILE`].
pub const STRIPE: usize = 48;

/// Rows of one tile of a dense product: with two vectors of each, the processor's registers hold it.
const TILE: usize = 6;

/// Inputs of one block of a dense product.
const DENSE_BLOCK: usize = 256;

/// Elements of one row whose places are read at once.
const GROUP: usize = 4;

/// How a matrix is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// All elements.
    Dense,
    /// Those that are not zero; the inputs in blocks of so many.
    Sparse {
        /// Inputs of one block, at most 2^16.
        block: usize,
    },
}

/// A packed matrix of `[outputs, inputs]` with its bias.
#[derive(Debug, Clone)]
pub struct Packed {
    outputs: usize,
    inputs: usize,
    bias: Vec<f32>,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Dense(Vec<f32>),
    Sparse(Sparse),
}

#[derive(Debug, Clone)]
struct Sparse {
    block: usize,
    /// Groups of each row within each block: block by block.
    counts: Vec<u16>,
    /// Where the groups of each stripe begin within each block: block by block; and the end of all.
    starts: Vec<u32>,
    groups: Vec<Group>,
}

/// Elements of one row, and their columns within a block. The last group of a row is filled up with
/// zeros.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Group {
    columns: [u16; GROUP],
    values: [f32; GROUP],
}

impl Packed {
    /// Packs `weight` with its `bias`, one for each row.
    pub fn new(weight: &Rows, bias: Vec<f32>, packing: Packing) -> Self {
        let (outputs, inputs) = (weight.height(), weight.width());
        assert_eq!(bias.len(), outputs, "shapes do not fit");
        let form = match packing {
            Packing::Dense => Form::Dense(tiles(weight)),
            Packing::Sparse { block } => Form::Sparse(Sparse::new(weight, block)),
        };
        Self { outputs, inputs, bias, form }
    }

    /// Number of rows.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Number of columns.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of elements that are not zero.
    pub fn stored(&self) -> usize {
        let count = |values: &[f32]| values.iter().filter(|value| **value != 0.0).count();
        match &self.form {
            Form::Dense(values) => count(values),
            Form::Sparse(sparse) => sparse.groups.iter().map(|group| count(&group.values)).sum(),
        }
    }

    /// How it is packed.
    pub fn packing(&self) -> Packing {
        match &self.form {
            Form::Dense(_) => Packing::Dense,
            Form::Sparse(sparse) => Packing::Sparse { block: sparse.block },
        }
    }

    /// The memory that it takes.
    pub fn bytes(&self) -> usize {
        let form = match &self.form {
            Form::Dense(values) => size_of_val(values.as_slice()),
            Form::Sparse(sparse) => {
                size_of_val(sparse.counts.as_slice())
                    + size_of_val(sparse.starts.as_slice())
                    + size_of_val(sparse.groups.as_slice())
            }
        };
        form + size_of_val(self.bias.as_slice())
    }

    /// Divides the rows into at most `parts` ranges of whole stripes with about equal work.
    pub fn divide(&self, parts: usize) -> Vec<std::ops::Range<usize>> {
        let stripes = self.outputs.div_ceil(STRIPE);
        let work = |stripe: usize| match &self.form {
            Form::Dense(_) => self.inputs.max(1),
            // Storing a result costs about as much as a group.
            Form::Sparse(sparse) => sparse.work(stripe, stripes) + STRIPE,
        };
        let total: usize = (0..stripes).map(work).sum();
        let (mut ranges, mut first, mut done) = (Vec::new(), 0, 0);
        for stripe in 0..stripes {
            done += work(stripe);
            if stripe + 1 == stripes || done * parts >= total * (ranges.len() + 1) {
                ranges.push(first * STRIPE..((stripe + 1) * STRIPE).min(self.outputs));
                first = stripe + 1;
            }
        }
        ranges
    }

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
}

/// The elements in tiles of [`TILE`] rows, each column by column; missing rows are zero.
fn tiles(weight: &Rows) -> Vec<f32> {
    let inputs = weight.width();
    let mut values = vec![0.0; weight.height().div_ceil(TILE) * TILE * inputs];
    for (row, column, value) in weight.elements() {
        values[(row / TILE * inputs + column) * TILE + row % TILE] = value;
    }
    values
}

impl Sparse {
    fn new(weight: &Rows, block: usize) -> Self {
        let block = block.clamp(1, 1 << 16);
        let blocks = weight.width().div_ceil(block);
        let (mut counts, mut starts, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows: Vec<_> = (0..weight.height()).map(|n| weight.row(n).peekable()).collect();
        for n in 0..blocks {
            let columns = n * block..(n + 1) * block;
            for (row, elements) in rows.iter_mut().enumerate() {
                if row.is_multiple_of(STRIPE) {
                    starts.push(groups.len() as u32);
                }
                let (before, mut filled) = (groups.len(), GROUP);
                while let Some((column, value)) = elements.next_if(|e| e.0 < columns.end) {
                    let column = (column - columns.start) as u16;
                    if filled == GROUP {
                        // Places that stay empty multiply what is in the cache by zero.
                        groups.push(Group { columns: [column; GROUP], values: [0.0; GROUP] });
                        filled = 0;
                    }
                    if let Some(group) = groups.last_mut() {
                        group.columns[filled] = column;
                        group.values[filled] = value;
                    }
                    filled += 1;
                }
                counts.push((groups.len() - before) as u16);
            }
        }
        starts.push(groups.len() as u32);
        groups.shrink_to_fit();
        Self { block, counts, starts, groups }
    }

    /// Groups of a stripe in all blocks.
    fn work(&self, stripe: usize, stripes: usize) -> usize {
        let starts = self.starts.iter().skip(stripe).step_by(stripes.max(1));
        let ends = self.starts.iter().skip(stripe + 1).step_by(stripes.max(1));
        starts.zip(ends).map(|(start, end)| (end - start) as usize).sum()
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
                        // SAFETY: a group's columns lie within its block, and `x` has V vectors for
                        // each column of it: both were checked when the block was packed, and the
                        // panel in `Packed::multiply`.
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
