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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_what_each_problem_asks_for() {
        let scores = |problem| Function::of(problem).scores(&[0.0, 3.0_f32.ln()]);
        assert_eq!(scores(Problem::Regression), [0.0, 3.0_f32.ln()]);
        for (found, expected) in [(Problem::Classes, [0.25, 0.75]), (Problem::Labels, [0.5, 0.75])]
        {
            for (found, expected) in scores(found).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{found} for {expected}");
            }
        }
    }
}
