//! How far a model's answers are from the labels.

use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::glue::tsv::Label;

/// Cross-entropy for classes, mean squared error for scores; the mean over the batch.
///
/// # Shapes
/// - `logits`: `[batch, outputs]`
/// - output: `[1]`
pub fn label_loss<B: Backend>(logits: Tensor<B, 2>, labels: &[Label]) -> Tensor<B, 1> {
    let device = logits.device();
    let rows = labels.len();
    let classes: Option<Vec<i64>> = labels
        .iter()
        .map(|label| match label {
            Label::Class(class) => Some(*class as i64),
            Label::Score(_) => None,
        })
        .collect();
    if let Some(classes) = classes {
        let targets = Tensor::<B, 1, Int>::from_data(TensorData::new(classes, [rows]), &device);
        return CrossEntropyLossConfig::new().init(&device).forward(logits, targets);
    }
    let scores: Vec<f32> = labels
        .iter()
        .map(|label| match label {
            Label::Class(class) => *class as f32,
            Label::Score(score) => *score,
        })
        .collect();
    let targets = Tensor::<B, 1>::from_data(TensorData::new(scores, [rows]), &device);
    MseLoss::new().forward(logits.reshape([rows]), targets, Reduction::Mean)
}

/// The first of a tensor's numbers, as a loss has one; NaN for none.
pub fn first(data: &TensorData) -> f64 {
    data.iter::<f64>().next().unwrap_or(f64::NAN)
}
