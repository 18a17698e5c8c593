//! The kernels over slices, for burn's Flex backend: one pass over memory each, on all cores.

mod layer;
mod math;
mod update;

use burn::tensor::{Tensor, TensorData, TensorPrimitive};
use burn_flex::{Flex, FlexTensor};

/// Elements per unit of parallel work: long enough to hide its cost, short enough to balance.
const CHUNK: usize = 1 << 15;

fn take<const D: usize>(tensor: Tensor<Flex, D>) -> FlexTensor {
    tensor.into_primitive().tensor().to_contiguous()
}

fn give<const D: usize>(tensor: FlexTensor) -> Tensor<Flex, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

/// A tensor of freshly computed values.
fn new<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<Flex, D> {
    give(FlexTensor::from_data(TensorData::new(values, shape)))
}

/// The elements; a contiguous tensor may be a window into a larger storage.
fn read(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice::<f32>().unwrap_or_default()
}
