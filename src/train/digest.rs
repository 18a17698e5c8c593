//! A model's weights in a few bytes.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use sha2::{Digest, Sha256};

/// The hash of all weights of `model`, the masked ones being zeros: two models with the same one
/// have the same bits.
pub fn digest_of<B: Backend, M: Module<B>>(model: &M) -> Vec<u8> {
    let mut all = All(Sha256::new());
    model.visit(&mut all);
    all.0.finalize().to_vec()
}

struct All(Sha256);

impl<B: Backend> ModuleVisitor<B> for All {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.update(param.val().into_data().as_bytes());
    }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};

    type Flex = burn_flex::Flex;

    #[test]
    fn one_weight_makes_another_digest() {
        let zeros = |n| Param::from_tensor(Tensor::<Flex, 2>::zeros([2, n], &Default::default()));
        let model = LinearConfig::new(2, 3).init::<Flex>(&Default::default());
        let model = Linear { weight: zeros(3), ..model };
        let other = Linear { weight: zeros(3).map(|w| w.add_scalar(1e-30)), ..model.clone() };
        assert_eq!(digest_of(&model), digest_of(&model.clone()));
        assert_ne!(digest_of(&model), digest_of(&other));
    }
}
