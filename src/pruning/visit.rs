//! Walks over a module's parameters.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsParams, MultiGradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::kernels::UpdateKernels;

/// The norm of all gradients together.
pub fn norm_of_all<B: AutodiffBackend<InnerBackend: UpdateKernels>, M: AutodiffModule<B>>(
    module: &M,
    grads: &GradientsParams,
) -> f64 {
    norm(all_of::<B, M>(module, grads))
}

/// All gradients, `[n]` each.
pub(super) fn all_of<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: &GradientsParams,
) -> Vec<Tensor<B::InnerBackend, 1>> {
    let mut all = Flatten::<B> { grads, all: Vec::new() };
    module.visit(&mut all);
    all.all
}

/// Multiplies every gradient by `factor`.
pub fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    grads: GradientsParams,
    factor: f64,
) -> GradientsParams {
    let mut scale = Scale { grads, factor };
    module.visit(&mut scale);
    scale.grads
}

struct Scale {
    grads: GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(grad) = self.grads.remove::<B::InnerBackend, D>(param.id) {
            self.grads.register(param.id, grad.mul_scalar(self.factor));
        }
    }
}

/// The norm of one tensor of any shape.
pub(super) fn norm_of<B: UpdateKernels, const D: usize>(tensor: Tensor<B, D>) -> f64 {
    norm(vec![flat(tensor)])
}

/// The norm of all `parts` together, `[n]` each.
fn norm<B: UpdateKernels>(parts: Vec<Tensor<B, 1>>) -> f64 {
    let Some(device) = parts.first().map(Tensor::device) else { return 0.0 };
    norm_from(B::sum_of_squares(parts, &device))
}

/// The norm, from the sum of squares, `[1]`, which is read.
pub(super) fn norm_from<B: Backend>(squares: Tensor<B, 1>) -> f64 {
    squares.into_data().iter::<f64>().next().unwrap_or(0.0).sqrt()
}

struct Flatten<'a, B: AutodiffBackend> {
    grads: &'a GradientsParams,
    all: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flatten<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let grad = self.grads.get::<B::InnerBackend, D>(param.id);
        self.all.extend(grad.map(flat));
    }
}

/// Takes the mean of the gradients of several devices.
pub(super) struct Gather {
    pub devices: usize,
    pub many: MultiGradientsParams,
    pub one: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Gather {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some((sum, _)) = self.many.remove::<B::InnerBackend, D>(param.id) {
            let mean = sum.to_device(&param.val().device()).div_scalar(self.devices as f64);
            self.one.register(param.id, mean);
        }
    }
}

/// A tensor of n elements as one row of numbers, `[n]`.
pub(super) fn flat<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Tensor<B, 1> {
    let n = tensor.shape().num_elements();
    tensor.reshape([n])
}
