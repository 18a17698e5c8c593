//! Magnitude pruning: the smallest weights go.

use burn::tensor::Tensor;

use super::Criterion;
use crate::kernels::{Scores, UpdateKernels};
use crate::pruning::record::StateRecord;

/// Scores a weight by its absolute value after the step, taken anew at every masking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Magnitude;

impl<B: UpdateKernels> Criterion<B> for Magnitude {
    /// The weights themselves say everything.
    type State = ();

    fn observes(&self) -> bool {
        false
    }

    fn init(&self, _n: usize, _device: &B::Device) {}

    fn to_device((): (), _device: &B::Device) {}

    fn to_record((): &()) -> StateRecord<B> {
        StateRecord::default()
    }

    fn restore(&self, _record: StateRecord<B>) -> Option<()> {
        None
    }

    fn observe(&self, _step: usize, (): (), _weight: Tensor<B, 1>, _grad: Tensor<B, 1>) {}

    fn generation(&self, step: usize) -> usize {
        step
    }

    fn scores(&self, _state: Option<&()>, weight: Tensor<B, 1>) -> Option<Scores<B>> {
        Some(Scores::Absolute(weight))
    }
}
