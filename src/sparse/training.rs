//! Products of a training update with weights that are mostly zero.
//!
//! Weights change from update to update, and so may the places of their zeros. They are packed anew
//! for each product: that is one pass over them, where the product passes over them once for every
//! few tokens. Nothing has to be kept, and an update computes the same whatever came before it.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::packing::{Packed, Part, STRIPE};
use super::transpose::{from_panel, to_panel};
use super::vector::{Instructions, VECTORS};

/// Inputs of one block: a panel's part of so many fits the first-level cache.
const BLOCK: usize = 256;

/// Up to this share of weights that are not zero, products skip the others. Fixed, so that a run
/// computes the same on every machine with the same instructions, and after a resume.
const SPARSE_UP_TO: f64 = 0.3;

/// Fewer tokens would not repay the packing.
const FEWEST_TOKENS: usize = 96;

/// A matrix in row-major memory.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    is_transposed: bool,
}

impl<'a> Stored<'a> {
    /// A matrix of `rows` by `columns`.
    pub fn new(values: &'a [f32], [rows, columns]: [usize; 2]) -> Self {
        assert_eq!(values.len(), rows * columns, "shapes do not fit");
        Self { values, rows, columns, is_transposed: false }
    }

    /// Its transpose, in the same memory.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { is_transposed: !self.is_transposed, ..self }
    }

    fn outputs(self) -> usize {
        if self.is_transposed { self.columns } else { self.rows }
    }

    fn inputs(self) -> usize {
        if self.is_transposed { self.rows } else { self.columns }
    }

    /// Whether a product with so many tokens is faster without its zeros.
    pub fn is_worth_packing(self, tokens: usize) -> bool {
        /// Enough to tell that a matrix is not pruned.
        const FIRST: usize = 4096;
        let is_few = |values: &[f32]| {
            let used = |chunk: &[f32]| chunk.iter().filter(|value| **value != 0.0).count();
            let used: usize = values.par_chunks(1 << 16).map(used).sum();
            used as f64 <= SPARSE_UP_TO * values.len() as f64
        };
        let first = &self.values[..self.values.len().min(FIRST)];
        let used = first.iter().filter(|value| **value != 0.0).count();
        tokens >= FEWEST_TOKENS && 2 * used <= FIRST && is_few(self.values)
    }

    /// Packs it with its `bias`, one for each row, on all threads.
    pub fn pack(self, bias: Vec<f32>) -> Packed {
        let (outputs, inputs) = (self.outputs(), self.inputs());
        let (blocks, stripes) = (inputs.div_ceil(BLOCK), outputs.div_ceil(STRIPE));
        let part = |rows: &mut Vec<Row>, n: usize| {
            let (first, row) = (n / stripes * BLOCK, n % stripes * STRIPE);
            let columns = first..(first + BLOCK).min(inputs);
            self.part(rows, row..(row + STRIPE).min(outputs), columns)
        };
        let parts =
            (0..blocks * stripes).into_par_iter().map_init(|| vec![Row::new(); STRIPE], part);
        Packed::of_parts([outputs, inputs], bias, BLOCK, &parts.collect::<Vec<Part>>())
    }

    /// Some columns of a stripe's rows; `memory` holds a stripe.
    fn part(self, memory: &mut [Row], rows: Range<usize>, columns: Range<usize>) -> Part {
        let all = &mut memory[..rows.len()];
        all.iter_mut().for_each(|row| row.count = 0);
        if self.is_transposed {
            // The rows stand side by side in memory.
            for (n, column) in columns.enumerate() {
                let values = &self.values[column * self.columns..][rows.clone()];
                each_used(values, |row, value| all[row].push(n, value));
            }
        } else {
            for (row, line) in all.iter_mut().zip(rows) {
                let values = &self.values[line * self.columns..][columns.clone()];
                each_used(values, |n, value| row.push(n, value));
            }
        }
        let mut part = Part::default();
        for row in all {
            part.push(&row.columns[..row.count], &row.values[..row.count]);
        }
        part
    }
}

/// Calls `work` with the place and the value of each of `values` that is not zero, in order.
#[inline(always)]
fn each_used(values: &[f32], mut work: impl FnMut(usize, f32)) {
    let (eights, rest) = values.as_chunks::<8>();
    for (n, eight) in eights.iter().enumerate() {
        let mut used = used(eight);
        while used != 0 {
            let place = used.trailing_zeros() as usize;
            work(8 * n + place, eight[place]);
            used &= used - 1;
        }
    }
    for (n, value) in rest.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        work(8 * eights.len() + n, *value);
    }
}

/// A bit for each value that is not zero, the lowest for the first.
#[inline(always)]
fn used(values: &[f32; 8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpneq_ps, _mm_loadu_ps, _mm_movemask_ps, _mm_setzero_ps};
        // SAFETY: every processor of this kind has these instructions, and eight values are there.
        let half = |n: usize| unsafe {
            _mm_movemask_ps(_mm_cmpneq_ps(_mm_loadu_ps(values.as_ptr().add(n)), _mm_setzero_ps()))
        };
        (half(0) | half(4) << 4) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let bit = |(n, value): (usize, &f32)| u32::from(*value != 0.0) << n;
        values.iter().enumerate().map(bit).sum()
    }
}

/// The elements of one row within a block, but for zeros.
#[derive(Clone)]
struct Row {
    columns: [u16; BLOCK],
    values: [f32; BLOCK],
    count: usize,
}

impl Row {
    const fn new() -> Self {
        Self { columns: [0; BLOCK], values: [0.0; BLOCK], count: 0 }
    }

    #[inline(always)]
    fn push(&mut self, column: usize, value: f32) {
        self.columns[self.count] = column as u16;
        self.values[self.count] = value;
        self.count += 1;
    }
}

/// weight x + bias for each token, on all threads.
///
/// # Shapes
/// - `x`: `[tokens, inputs]`
/// - `output`: `[tokens, outputs]`, all of which is written
pub fn multiply(packed: &Packed, x: &[f32], output: &mut [MaybeUninit<f32>]) {
    let instructions = Instructions::widest();
    let (inputs, outputs) = (packed.inputs(), packed.outputs());
    let tokens = VECTORS * instructions.lanes();
    if outputs == 0 {
        return;
    }
    if inputs == 0 {
        for row in output.chunks_mut(outputs) {
            for (place, bias) in row.iter_mut().zip(&packed.bias) {
                place.write(*bias);
            }
        }
        return;
    }
    assert_eq!(x.len() / inputs, output.len() / outputs, "shapes do not fit");
    let panels = x.par_chunks(tokens * inputs).zip(output.par_chunks_mut(tokens * outputs));
    // Where there are fewer panels than threads, they share the rows.
    let parts = rayon::current_num_threads().div_ceil(panels.len().max(1));
    panels.for_each_init(<(Vec<f32>, Vec<f32>)>::default, |(panel, result), (x, output)| {
        let width = (x.len() / inputs).next_multiple_of(instructions.lanes());
        panel.resize(inputs * width, 0.0);
        result.resize(outputs * width, 0.0);
        to_panel(instructions, x, inputs, panel, width);
        packed.multiply_in_parts((instructions, parts), panel, width, result, false, |_| ());
        from_panel(instructions, result, width, output, outputs);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::product::tests::numbers;

    #[test]
    fn products_agree_with_their_definition_both_ways() {
        for (tokens, inputs, outputs) in
            [(97, 300, 49), (1, 1, 1), (33, 7, 513), (64, 256, 48), (0, 3, 4), (5, 0, 3)]
        {
            for density in [0.0, 0.1, 1.0] {
                let weight = numbers(inputs * outputs, 1, density);
                let x = numbers(tokens * inputs, 2, 1.0);
                let bias = numbers(outputs, 3, 1.0);
                let mut expected = Vec::new();
                for token in 0..tokens {
                    for output in 0..outputs {
                        let products = (0..inputs).map(|n| {
                            let weight = weight[n * outputs + output];
                            f64::from(x[token * inputs + n]) * f64::from(weight)
                        });
                        expected.push(products.sum::<f64>() + f64::from(bias[output]));
                    }
                }
                // As burn keeps it, `[inputs, outputs]`, and the other way round.
                let turned: Vec<f32> = (0..inputs * outputs)
                    .map(|n| weight[n % inputs.max(1) * outputs + n / inputs.max(1)])
                    .collect();
                for packed in [
                    Stored::new(&weight, [inputs, outputs]).transposed().pack(bias.clone()),
                    Stored::new(&turned, [outputs, inputs]).pack(bias.clone()),
                ] {
                    let mut found = vec![MaybeUninit::new(f32::NAN); tokens * outputs];
                    multiply(&packed, &x, &mut found);
                    for (found, expected) in found.iter().zip(&expected) {
                        // SAFETY: it was filled from the beginning.
                        let found = f64::from(unsafe { found.assume_init() });
                        let what = format!("{tokens} {inputs} {outputs} {density}");
                        assert!((found - expected).abs() < 2e-5, "{found}, {expected}: {what}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_matrix_is_worth_packing_by_its_zeros_and_the_tokens() {
        let is_worth = |density, tokens| {
            Stored::new(&numbers(500 * 400, 4, density), [500, 400]).is_worth_packing(tokens)
        };
        assert!(is_worth(0.25, 96) && is_worth(0.0, 1000));
        assert!(!is_worth(0.25, 95) && !is_worth(0.35, 1000) && !is_worth(1.0, 1000));
    }
}
