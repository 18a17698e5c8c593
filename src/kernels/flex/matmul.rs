//! Matrix products over slices, by the crate that burn's Flex backend uses.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use gemm::Parallelism;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// `rows` rows of `columns` values, `stride` apart, from the beginning of `values`.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(reaches(values.len(), rows, columns, stride), "a matrix larger than its memory");
        Self { values, rows, columns, row_stride: stride, column_stride: 1 }
    }

    /// The memory that it lies in.
    pub fn values(self) -> &'a [f32] {
        self.values
    }

    /// Rows `first` to `first + count`.
    pub fn rows(self, first: usize, count: usize) -> Self {
        assert!(first + count <= self.rows, "more rows than there are");
        Self { values: &self.values[first * self.row_stride..], rows: count, ..self }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Where a product goes.
pub struct Target<'a> {
    place: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    add: bool,
    memory: PhantomData<&'a mut f32>,
}

impl<'a> Target<'a> {
    /// Overwrites `rows` rows of `columns` values, `stride` apart.
    pub fn fresh(
        room: &'a mut [MaybeUninit<f32>],
        rows: usize,
        columns: usize,
        stride: usize,
    ) -> Self {
        assert!(reaches(room.len(), rows, columns, stride), "a matrix larger than its memory");
        let place = room.as_mut_ptr().cast();
        Self { place, rows, columns, stride, add: false, memory: PhantomData }
    }

    /// Adds to `rows` rows of `columns` values.
    pub fn sum(values: &'a mut [f32], rows: usize, columns: usize) -> Self {
        assert!(reaches(values.len(), rows, columns, columns), "a matrix larger than its memory");
        let place = values.as_mut_ptr();
        Self { place, rows, columns, stride: columns, add: true, memory: PhantomData }
    }
}

fn reaches(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    columns <= stride && (rows == 0 || (rows - 1) * stride + columns <= len)
}

/// On all cores.
pub const PARALLEL: Parallelism = Parallelism::Rayon(0);

/// On the calling thread.
pub const ALONE: Parallelism = Parallelism::None;

/// target (+)= scale * a b.
pub fn multiply(target: Target<'_>, a: View<'_>, b: View<'_>, scale: f32, threads: Parallelism) {
    let Target { place, rows, columns, stride, add, .. } = target;
    assert!((a.rows, b.columns, a.columns) == (rows, columns, b.rows), "shapes do not fit");
    // SAFETY: the constructors have checked that each matrix lies within its slice; the target's
    // is borrowed exclusively, and every element of it is written.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            a.columns,
            place,
            1,
            stride as isize,
            add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}
