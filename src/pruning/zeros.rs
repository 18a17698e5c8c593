//! Zeros that stay: the weights of the scope that are zero where a run begins.

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bool, Tensor, TensorData};
use hashbrown::HashMap;

use super::decision::Masks;
use super::scope::Groups;
use super::visit::flat;

/// What the places of a parameter are called in checkpoints.
pub(super) const ZEROS: &str = "zeros";
/// So many places are one number there: f32 holds all whole numbers of so many bits.
const BITS: usize = 16;

/// The places of the zeros that stay. A weight there has no gradient: it is no part of the norm and
/// its score is 0, and no inner optimizer moves a zero that never had a gradient.
///
/// A checkpoint holds the places, since later zeros may grow again and those of the run's beginning
/// may not.
#[derive(Clone)]
pub(super) struct Zeros<B: Backend> {
    /// As checkpoints hold them, `[ceil(n / 16)]` for each parameter of n weights.
    packed: HashMap<ParamId, Tensor<B, 1>>,
    /// Those of the parameters that have any, once a module has been seen.
    places: Option<Masks<B>>,
}

impl<B: Backend> Zeros<B> {
    /// Those of the first module that is seen.
    pub fn unknown() -> Self {
        Self::restored(HashMap::new())
    }

    /// Those of a checkpoint.
    pub fn restored(packed: HashMap<ParamId, Tensor<B, 1>>) -> Self {
        Self { packed, places: None }
    }

    /// What a checkpoint is to hold.
    pub fn packed(&self) -> impl Iterator<Item = (ParamId, Tensor<B, 1>)> {
        self.packed.iter().map(|(id, packed)| (*id, packed.clone()))
    }

    /// `grads` without those of the weights at these places.
    pub fn clear<A, M>(
        &mut self,
        module: &M,
        scope: &Groups,
        grads: GradientsParams,
    ) -> GradientsParams
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: AutodiffModule<A>,
    {
        let Self { packed, places } = self;
        let places = places.get_or_insert_with(|| {
            let mut find = Find { scope, packed, places: HashMap::new() };
            Module::<A>::visit(module, &mut find);
            find.places
        });
        let mut clear = Clear { places, grads };
        Module::<A>::visit(module, &mut clear);
        clear.grads
    }
}

/// Finds the places, in `packed` or else in the module.
struct Find<'a, B: Backend> {
    scope: &'a Groups,
    packed: &'a mut HashMap<ParamId, Tensor<B, 1>>,
    places: Masks<B>,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Find<'_, A::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        if !self.scope.contains_key(&param.id) {
            return;
        }
        let weight = flat(param.val().inner());
        let device = weight.device();
        let places = match self.packed.get(&param.id) {
            Some(packed) => unpack(packed.clone(), weight.shape().num_elements()),
            None => {
                let places: Vec<bool> =
                    weight.into_data().iter::<f32>().map(|w| w == 0.0).collect();
                self.packed.insert(param.id, pack(&places, &device));
                places
            }
        };
        if places.contains(&true) {
            let n = places.len();
            let places = Tensor::<_, 1, Bool>::from_data(TensorData::new(places, [n]), &device);
            self.places.insert(param.id, places);
        }
    }
}

/// Sets gradients to zero.
struct Clear<'a, B: Backend> {
    places: &'a Masks<B>,
    grads: GradientsParams,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Clear<'_, A::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        let Some(places) = self.places.get(&param.id) else { return };
        if let Some(grad) = self.grads.remove::<A::InnerBackend, D>(param.id) {
            let shape = grad.shape();
            let grad = grad.mask_fill(places.clone().reshape(shape), 0.0);
            self.grads.register(param.id, grad);
        }
    }
}

/// The places as whole numbers of 16 bits, `[ceil(n / 16)]`.
fn pack<B: Backend>(places: &[bool], device: &B::Device) -> Tensor<B, 1> {
    let word = |bits: &[bool]| -> f32 {
        let bits = bits.iter().enumerate().map(|(n, is_zero)| u16::from(*is_zero) << n);
        f32::from(bits.fold(0, |word, bit| word | bit))
    };
    let words: Vec<f32> = places.chunks(BITS).map(word).collect();
    let n = words.len();
    Tensor::from_data(TensorData::new(words, [n]), device)
}

/// The reverse of [`pack`], for n places.
fn unpack<B: Backend>(packed: Tensor<B, 1>, n: usize) -> Vec<bool> {
    let words = packed.into_data();
    let bits = words.iter::<f32>().flat_map(|word| {
        let word = word as u16;
        (0..BITS).map(move |n| word >> n & 1 == 1)
    });
    // Of a record without enough of them the rest is not known to be zero.
    bits.chain(std::iter::repeat(false)).take(n).collect()
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;

    type B = burn_ndarray::NdArray<f32>;

    #[test]
    fn places_survive_their_numbers() {
        let device = Default::default();
        for n in [1usize, 15, 16, 17, 100] {
            let places: Vec<bool> = (0..n).map(|i| i % 3 == 0 || i > 40).collect();
            let packed = pack::<B>(&places, &device);
            assert_eq!(packed.dims(), [n.div_ceil(16)]);
            assert_eq!(unpack(packed, n), places);
        }
        let all = pack::<B>(&[true; 16], &device);
        assert_eq!(all.into_scalar(), 65535.0);
    }
}
