//! Models and gradients on their way between devices.

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::kernels::TrainingBackend;

/// The model on `device`, with the same parameter ids.
pub fn replica<B: TrainingBackend, M: AutodiffModule<B>>(model: M, device: &B::Device) -> M {
    if B::HAS_PEERS { model.fork(device) } else { model.map(&mut Place { device }) }
}

/// The gradients of `model` on `device`.
pub fn gathered<B: TrainingBackend, M: AutodiffModule<B>>(
    model: &M,
    mut grads: GradientsParams,
    device: &B::Device,
) -> GradientsParams {
    if B::HAS_PEERS {
        return grads.to_device::<B, M>(device, model);
    }
    model.visit(&mut Fetch { grads: &mut grads, device });
    grads
}

/// A tensor on `device`, by way of the host.
pub fn carried<B: Backend, const D: usize>(
    tensor: Tensor<B, D>,
    device: &B::Device,
) -> Tensor<B, D> {
    Tensor::from_data(tensor.into_data(), device)
}

struct Place<'a, B: Backend> {
    device: &'a B::Device,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Place<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, tensor, mapper) = param.consume();
        let requires_grad = tensor.is_require_grad();
        let tensor = Tensor::from_inner(carried(tensor.inner(), self.device));
        Param::from_mapped_value(id, tensor.set_require_grad(requires_grad), mapper)
    }
}

struct Fetch<'a, B: Backend> {
    grads: &'a mut GradientsParams,
    device: &'a B::Device,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Fetch<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.grads.register(param.id, carried(grad, self.device));
        }
    }
}
