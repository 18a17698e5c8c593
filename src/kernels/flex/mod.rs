//! The kernels over slices, for burn's Flex backend: one pass over memory each, on all cores, with
//! the widest vectors that the processor has.

#![allow(
    clippy::indexing_slicing,
    reason = "the kernels index arrays of their own making, whose lengths are checked at their doors"
)]

mod activations;
mod attention;
mod dropout;
mod embed;
mod layer;
mod linear;
mod math;
mod matmul;
mod memory;
mod norm;
mod select;
mod update;

use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

/// Elements per unit of parallel work: long enough to hide its cost, short enough to balance.
const CHUNK: usize = 1 << 15;

/// Rows per unit of parallel work in row-wise operations; fixed, so that sums over rows come out
/// the same for every number of threads.
const ROWS: usize = 16;

type Matrix = Tensor<Flex, 2>;
type Vector = Tensor<Flex, 1>;

/// Runs `work` compiled for the processor's vector instructions. What it calls must be inlined into
/// it. No operation is contracted or reordered, so results are the same on every processor.
fn simd<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The storage of a tensor of any shape, which is all of it, in order.
fn take<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    let tensor = tensor.into_primitive().tensor().to_contiguous();
    // Kernels write as much as they read, to memory that was not cleared.
    assert_eq!(tensor.dtype(), DType::F32, "the kernels compute in f32");
    tensor
}

/// The tensor, of the shape that its storage has.
fn give<const D: usize>(tensor: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

/// A tensor of freshly computed values, of the shape `shape`.
fn new<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    give(FlexTensor::from_data(TensorData::new(values, shape)))
}

/// The elements.
fn read(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

/// The sum of `f` over `values`, in 16 lanes so that the compiler can vectorise it.
#[inline(always)]
fn total(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let groups = values.chunks_exact(16);
    let rest = groups.remainder();
    for group in groups {
        for (lane, v) in lanes.iter_mut().zip(group) {
            *lane += f(*v);
        }
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    for v in rest {
        sum += f(*v);
    }
    sum
}

/// The sum of partial results, in order.
fn add_up(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; width];
    for part in partial {
        for (s, p) in sum.iter_mut().zip(&part) {
            *s += p;
        }
    }
    sum
}
