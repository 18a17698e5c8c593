//! The loss that an update minimises: a sum of terms, a file each.

mod labels;

use burn::tensor::Tensor;

use crate::bert::{BertClassifier, Pass, Training};
use crate::glue::batch::Batch;
use crate::infer::forward::inputs;
use crate::kernels::TrainingBackend;

/// The mean loss of the samples of `batch`.
///
/// # Shapes
/// - output: `[1]`
pub fn loss<B: TrainingBackend>(
    net: &BertClassifier<B>,
    batch: Batch<B>,
    training: Training,
) -> Tensor<B, 1> {
    let head = batch.head;
    let ((ids, sequences), labels) = inputs(batch);
    let logits = net.forward(ids, &sequences, head, Pass::training(training)); // [batch, outputs]
    labels::loss(logits, &labels)
}
