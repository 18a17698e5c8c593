use super::*;
use crate::sparse::vector::VECTORS;
use crate::sparse::{Packing, Rows};

/// Numbers from -0.5 to 0.5 that follow from a seed, and a share of zeros.
pub fn numbers(n: usize, seed: u64, density: f64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..n)
        .map(|_| (next(), next()))
        .map(|(keep, v)| if keep < density { v as f32 - 0.5 } else { 0.0 })
        .collect()
}

/// weight x + bias (+ y), with f64 sums, by the definition.
fn expected(
    [rows, inputs, width]: [usize; 3],
    weight: &[f32],
    bias: &[f32],
    x: &[f32],
    y: Option<&[f32]>,
) -> Vec<f32> {
    let mut result = Vec::new();
    for row in 0..rows {
        for lane in 0..width {
            let products = (0..inputs)
                .map(|n| f64::from(weight[row * inputs + n]) * f64::from(x[n * width + lane]));
            let before = y.map_or(0.0, |y| f64::from(y[row * width + lane]));
            result.push((products.sum::<f64>() + f64::from(bias[row]) + before) as f32);
        }
    }
    result
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-5, "{found} instead of {expected} at {n}: {what}");
    }
}

#[test]
fn products_agree_with_their_definition_whatever_the_shape_density_packing_and_instructions() {
    let packings = [
        Packing::Dense,
        Packing::Sparse { block: 1 },
        Packing::Sparse { block: 7 },
        Packing::Sparse { block: 128 },
        Packing::Sparse { block: 1 << 20 },
    ];
    for instructions in Instructions::available() {
        for (rows, inputs) in
            [(1, 1), (1, 300), (5, 3), (6, 256), (48, 7), (49, 257), (131, 64), (3, 0), (0, 3)]
        {
            for density in [0.0, 0.03, 0.5, 1.0] {
                let weight = numbers(rows * inputs, 1 + rows as u64, density);
                let bias = numbers(rows, 2, 0.9);
                let matrix = Rows::dense([rows, inputs], &weight);
                for packing in packings {
                    let packed = Packed::new(&matrix, bias.clone(), packing);
                    for vectors in 1..=VECTORS {
                        let width = vectors * instructions.lanes();
                        let x = numbers(inputs * width, 3, 1.0);
                        let before = numbers(rows * width, 4, 1.0);
                        for add in [false, true] {
                            let mut y =
                                if add { before.clone() } else { vec![f32::NAN; rows * width] };
                            packed.multiply(instructions, 0..rows, &x, width, &mut y, add);
                            let shape = [rows, inputs, width];
                            let expected = expected(
                                shape,
                                &weight,
                                &bias,
                                &x,
                                add.then_some(before.as_slice()),
                            );
                            let what = format!("{shape:?} {density} {packing:?} {instructions:?}");
                            assert_close(&y, &expected, &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn empty_rows_and_columns_give_the_bias() {
    let mut weight = numbers(100 * 60, 5, 0.3);
    for row in [0, 50, 99] {
        weight[row * 60..(row + 1) * 60].fill(0.0);
    }
    for row in weight.chunks_mut(60) {
        row[0] = 0.0;
        row[17] = 0.0;
        row[59] = 0.0;
    }
    let bias = numbers(100, 6, 1.0);
    let instructions = Instructions::widest();
    let width = instructions.lanes();
    let x = numbers(60 * width, 7, 1.0);
    let matrix = Rows::dense([100, 60], &weight);
    for packing in [Packing::Dense, Packing::Sparse { block: 16 }] {
        let mut y = vec![f32::NAN; 100 * width];
        let packed = Packed::new(&matrix, bias.clone(), packing);
        packed.multiply(instructions, 0..100, &x, width, &mut y, false);
        assert_close(&y, &expected([100, 60, width], &weight, &bias, &x, None), "empty rows");
        for row in [0, 50, 99] {
            assert!(y[row * width..(row + 1) * width].iter().all(|v| *v == bias[row]));
        }
    }
}

#[test]
fn parts_of_the_rows_give_the_same_bits_as_all_and_share_the_work() {
    let (rows, inputs) = (1000, 300);
    // The first rows have most of the elements.
    let mut weight = numbers(rows * inputs, 8, 0.05);
    weight[..200 * inputs].copy_from_slice(&numbers(200 * inputs, 9, 0.9));
    let matrix = Rows::dense([rows, inputs], &weight);
    let instructions = Instructions::widest();
    let width = VECTORS * instructions.lanes();
    let x = numbers(inputs * width, 10, 1.0);
    for packing in [Packing::Dense, Packing::Sparse { block: 128 }] {
        let packed = Packed::new(&matrix, numbers(rows, 11, 1.0), packing);
        let mut whole = vec![0.0; rows * width];
        packed.multiply(instructions, 0..rows, &x, width, &mut whole, false);
        for parts in [1, 2, 3, 7, 64] {
            let ranges = packed.divide(parts);
            assert!(ranges.len() <= parts && ranges.iter().all(|range| !range.is_empty()));
            let mut y = Vec::new();
            for rows in ranges {
                let mut part = vec![0.0; rows.len() * width];
                packed.multiply(instructions, rows, &x, width, &mut part, false);
                y.extend(part);
            }
            assert_eq!(y, whole);
        }
    }
    let sparse = Packed::new(&matrix, vec![0.0; rows], Packing::Sparse { block: 128 });
    let halves = sparse.divide(2);
    // Not a half of the rows, but of the elements.
    assert!((100..=300).contains(&halves[0].end), "{halves:?}");
}

#[test]
fn a_sparse_matrix_takes_memory_for_what_it_holds() {
    let matrix = Rows::dense([384, 384], &numbers(384 * 384, 12, 0.1));
    let bytes = |packing| Packed::new(&matrix, vec![0.0; 384], packing).bytes();
    let (dense, sparse) = (bytes(Packing::Dense), bytes(Packing::Sparse { block: 256 }));
    assert_eq!(dense, 4 * 384 * 385);
    // Four bytes a value and two a place, a group not always full, and two a row and block.
    let least = matrix.stored() * 6;
    assert!(sparse > least && sparse < least * 13 / 10, "{sparse} of {least}");
}
