//! Embedding tables.

use burn::tensor::{Int, Tensor};
use burn_flex::Flex;
use rayon::prelude::*;

use super::memory::{Fresh, clear};
use super::{CHUNK, Matrix, new, read, take};
use crate::kernels::operands::{Tables, TokenIds};

/// Rows of the tables, by the ids of each row of the batch.
pub struct Lookup {
    tables: [burn_flex::FlexTensor; 3],
    ids: [Vec<usize>; 3],
    width: usize,
}

impl Lookup {
    /// Reads the ids.
    ///
    /// # Shapes
    /// - `tables`: `[entries, width]` each
    /// - `ids`: `[rows]` each
    pub fn new(tables: Tables<Matrix>, ids: TokenIds<Flex>) -> Self {
        let [_, width] = tables.word.dims();
        let tables = [tables.word, tables.position, tables.segment].map(take);
        Self { tables, ids: indices(ids), width }
    }

    /// Writes the sum of the three embeddings of `row` to `output`.
    pub fn sum(&self, row: usize, output: &mut [f32]) {
        let [words, positions, segments] = [0, 1, 2].map(|n| {
            let id = self.ids[n][row];
            &read(&self.tables[n])[id * self.width..][..self.width]
        });
        let others = positions.iter().zip(segments);
        for ((y, w), (p, s)) in output.iter_mut().zip(words).zip(others) {
            *y = *w + *p + *s;
        }
    }
}

fn indices(ids: TokenIds<Flex>) -> [Vec<usize>; 3] {
    [ids.word, ids.position, ids.segment].map(|ids: Tensor<Flex, 1, Int>| {
        ids.into_data().iter::<i64>().map(|n| n as usize).collect()
    })
}

/// Adds each row of `grad` to the rows of the tables that `ids` names.
///
/// # Shapes
/// - `ids`: `[rows]` each
/// - `grad`: `[rows, width]`
/// - output: `[entries, width]` each
pub fn scatter(entries: Tables<usize>, ids: TokenIds<Flex>, grad: Matrix) -> Tables<Matrix> {
    let [_, width] = grad.dims();
    let grad = take(grad);
    let [words, positions, segments] = indices(ids);
    let add = |entries: usize, ids: &[usize]| {
        let n = entries * width;
        let mut sum = Fresh::new(n);
        sum.room(n).par_chunks_mut(CHUNK).for_each(|room| {
            clear(room);
        });
        // SAFETY: cleared.
        let mut sum = unsafe { sum.filled(n) };
        for (id, row) in ids.iter().zip(read(&grad).chunks_exact(width)) {
            for (s, g) in sum[id * width..][..width].iter_mut().zip(row) {
                *s += *g;
            }
        }
        new(sum, [entries, width])
    };
    Tables {
        word: add(entries.word, &words),
        position: add(entries.position, &positions),
        segment: add(entries.segment, &segments),
    }
}
