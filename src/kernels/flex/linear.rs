//! Dense layers.

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::matmul::{ALONE, PARALLEL, Target, View, multiply};
use super::memory::{Fresh, written};
use super::{CHUNK, Matrix, ROWS, Vector, add_up, new, read, simd, take};
use crate::kernels::operands::{Dense, DenseGradients, Zeros};
use crate::sparse::Packed;
use crate::sparse::training::{self, Stored};

/// x weight + bias.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - output: `[rows, outputs]`
pub fn forward(x: Matrix, dense: Dense<burn_flex::Flex>) -> Matrix {
    let [rows, inputs] = x.dims();
    let [_, outputs] = dense.weight.dims();
    assert_eq!(dense.bias.dims(), [outputs], "shapes do not fit");
    let (x, weight, bias) = (take(x), take(dense.weight), take(dense.bias));
    let stored = Stored::new(read(&weight), [inputs, outputs]).transposed();
    if dense.products.zeros == Zeros::Skip && stored.is_worth_packing(rows) {
        return sparse(&stored.pack(read(&bias).to_vec()), read(&x), rows);
    }
    let mut output = Fresh::new(rows * outputs);
    let room = output.room(rows * outputs);
    room.par_chunks_mut(ROWS * outputs).for_each(|block| {
        simd(|| {
            for row in block.chunks_mut(outputs) {
                for (place, b) in row.iter_mut().zip(read(&bias)) {
                    place.write(*b);
                }
            }
        });
    });
    // SAFETY: every row was filled with the bias.
    let values = unsafe { written(room) };
    multiply(
        Target::sum(values, rows, outputs),
        View::new(read(&x), rows, inputs, inputs),
        View::new(read(&weight), inputs, outputs, outputs),
        1.0,
        PARALLEL,
    );
    // SAFETY: as above.
    new(unsafe { output.filled(rows * outputs) }, [rows, outputs])
}

/// The gradients of [`forward`].
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `grad`: `[rows, outputs]`
pub fn backward(
    x: Matrix,
    weight: Matrix,
    grad: &FlexTensor,
    zeros: Zeros,
) -> DenseGradients<burn_flex::Flex> {
    let ([rows, inputs], [_, outputs]) = (x.dims(), weight.dims());
    let x = take(x);
    let of_inputs = inputs_backward(weight, grad, zeros);
    let grad = View::new(read(grad), rows, outputs, outputs);
    let x = View::new(read(&x), rows, inputs, inputs).transposed();
    DenseGradients {
        x: of_inputs,
        // Also of zeros: the scores need them all.
        weight: product_by_rows(x, grad, [inputs, outputs]),
        bias: column_sums(grad.values(), outputs),
    }
}

/// The gradient of the inputs of [`forward`] alone.
///
/// # Shapes
/// - `weight`: `[inputs, outputs]`
/// - `grad`: `[rows, outputs]`
/// - output: `[rows, inputs]`
pub fn inputs_backward(weight: Matrix, grad: &FlexTensor, zeros: Zeros) -> Matrix {
    let [inputs, outputs] = weight.dims();
    let weight = take(weight);
    let values = read(grad);
    let rows = values.len() / outputs.max(1);
    let stored = Stored::new(read(&weight), [inputs, outputs]);
    if zeros == Zeros::Skip && stored.is_worth_packing(rows) {
        return sparse(&stored.pack(vec![0.0; inputs]), values, rows);
    }
    let weight = View::new(read(&weight), inputs, outputs, outputs).transposed();
    product(View::new(values, rows, outputs, outputs), weight, [rows, inputs])
}

/// The product of rows with a packed matrix, plus its bias.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - output: `[rows, outputs]`
fn sparse(packed: &Packed, x: &[f32], rows: usize) -> Matrix {
    let n = rows * packed.outputs();
    let mut output = Fresh::new(n);
    training::multiply(packed, x, output.room(n));
    // SAFETY: a product writes the whole of its target.
    new(unsafe { output.filled(n) }, [rows, packed.outputs()])
}

/// a b, of the shape `[rows, columns]`.
fn product(a: View<'_>, b: View<'_>, shape: [usize; 2]) -> Matrix {
    let [rows, columns] = shape;
    let mut output = Fresh::new(rows * columns);
    let target = Target::fresh(output.room(rows * columns), rows, columns, columns);
    multiply(target, a, b, 1.0, PARALLEL);
    // SAFETY: a product writes the whole of its target.
    new(unsafe { output.filled(rows * columns) }, shape)
}

/// As [`product`], the rows divided among the threads beforehand: faster where the inner dimension
/// is the longest, as in the gradients of weights.
fn product_by_rows(a: View<'_>, b: View<'_>, shape: [usize; 2]) -> Matrix {
    /// Fewer rows would not repay reading all of `b` once more.
    const FEWEST: usize = 96;
    let [rows, columns] = shape;
    let share = rows.div_ceil(rayon::current_num_threads());
    if share < FEWEST || columns == 0 {
        return product(a, b, shape);
    }
    let mut output = Fresh::new(rows * columns);
    let blocks = output.room(rows * columns).par_chunks_mut(share * columns);
    blocks.enumerate().for_each(|(n, room)| {
        let rows = room.len() / columns;
        let target = Target::fresh(room, rows, columns, columns);
        multiply(target, a.rows(n * share, rows), b, 1.0, ALONE);
    });
    // SAFETY: a product writes the whole of its target, and the blocks cover all rows.
    new(unsafe { output.filled(rows * columns) }, shape)
}

/// The sums of the columns of a matrix of `width` columns.
///
/// # Shapes
/// - `values`: `[rows, width]`
/// - output: `[width]`
fn column_sums(values: &[f32], width: usize) -> Vector {
    let partial = values
        .par_chunks(ROWS * width)
        .map(|block| {
            let mut sum = vec![0.0f32; width];
            simd(|| {
                for row in block.chunks_exact(width) {
                    for (s, v) in sum.iter_mut().zip(row) {
                        *s += *v;
                    }
                }
            });
            sum
        })
        .collect();
    new(add_up(partial, width), [width])
}

/// a * b, element by element.
///
/// # Shapes
/// - `a`, `b`, output: `[rows, width]`
pub fn hadamard(a: Matrix, b: Matrix) -> Matrix {
    let shape = a.dims();
    assert_eq!(b.dims(), shape, "shapes do not fit");
    let n = shape[0] * shape[1];
    let (a, b) = (take(a), take(b));
    let mut output = Fresh::new(n);
    (output.room(n).par_chunks_mut(CHUNK), read(&a).par_chunks(CHUNK), read(&b).par_chunks(CHUNK))
        .into_par_iter()
        .for_each(|(output, a, b)| {
            simd(|| {
                for (y, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
                    y.write(*a * *b);
                }
            });
        });
    // SAFETY: every chunk was written.
    new(unsafe { output.filled(n) }, shape)
}
