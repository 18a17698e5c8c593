//! What logits say.

use crate::bert::head_settings::Problem;
use crate::metrics::scores::{sigmoid, softmax};

/// What makes scores of a sample's logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Probabilities of classes, one of which is right: they add up to 1.
    Softmax,
    /// A probability of each label by itself.
    Sigmoid,
    /// The logits as they are.
    None,
}

impl Function {
    /// What the outputs of a head that solves this problem need.
    pub const fn of(problem: Problem) -> Self {
        match problem {
            Problem::Regression => Self::None,
            Problem::Classes => Self::Softmax,
            Problem::Labels => Self::Sigmoid,
        }
    }

    /// The scores of one sample, output by output.
    pub fn scores(self, logits: &[f32]) -> Vec<f32> {
        match self {
            Self::Softmax => softmax(logits, logits.len()),
            Self::Sigmoid => sigmoid(logits),
            Self::None => logits.to_vec(),
        }
    }
}

/// A predicted value as it is written: the shortest form that reads back as the same number, whatever
/// its scale, and 0 without a sign.
pub fn number(value: f32) -> String {
    (value + 0.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_digits_at_any_scale() {
        for (value, text) in
            [(0.002_08, "0.00208"), (-3e-7, "-0.0000003"), (-0.0, "0"), (4e6, "4000000")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn scores_are_what_each_problem_asks_for() {
        let scores = |problem| Function::of(problem).scores(&[0.0, 3.0_f32.ln()]);
        assert_eq!(scores(Problem::Regression), [0.0, 3.0_f32.ln()]);
        for (found, expected) in [(Problem::Classes, [0.25, 0.75]), (Problem::Labels, [0.5, 0.75])]
        {
            let found = scores(found);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
}
