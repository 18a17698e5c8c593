//! The distance from the true labels: cross-entropy for classes, mean squared error for scores.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

use crate::glue::tsv::Label;
use crate::infer::loss::label_loss;

/// The term; the mean over the batch.
///
/// # Shapes
/// - `logits`: `[batch, outputs]`
/// - output: `[1]`
pub fn loss<B: Backend>(logits: Tensor<B, 2>, labels: &[Label]) -> Tensor<B, 1> {
    label_loss(logits, labels)
}
