//! Clipping of all gradients by their common norm.

use std::sync::{Arc, LazyLock};

use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

use super::visit::{all_of, norm_from};
use crate::kernels::UpdateKernels;

/// The norm of all gradients of an update together. On a device with a queue it is read when it is
/// first asked for, so that no update waits for it.
#[derive(Clone)]
pub struct GradNorm(Arc<LazyLock<f64, Box<dyn FnOnce() -> f64 + Send>>>);

impl GradNorm {
    fn read_by(read: impl FnOnce() -> f64 + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(read))))
    }

    /// Its value.
    pub fn value(&self) -> f64 {
        **self.0
    }
}

impl std::fmt::Debug for GradNorm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value().fmt(f)
    }
}

impl PartialEq for GradNorm {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

/// What gradients are multiplied by: a number, and one that is known to the device alone, `[1]`.
pub(super) struct Scale<B: AutodiffBackend> {
    pub host: f64,
    pub device: Option<Tensor<B::InnerBackend, 1>>,
}

/// The norm of all gradients together, and the factor min(1, max / (norm + 1e-6)) that clips them,
/// 1 without a maximum.
pub(super) fn clip<B: AutodiffBackend<InnerBackend: UpdateKernels>, M: AutodiffModule<B>>(
    module: &M,
    grads: &GradientsParams,
    max: Option<f64>,
) -> (GradNorm, Scale<B>) {
    let all = all_of::<B, M>(module, grads);
    let Some(device) = all.first().map(Tensor::device) else {
        return (GradNorm::read_by(|| 0.0), Scale { host: 1.0, device: None });
    };
    let squares = B::InnerBackend::sum_of_squares(all, &device);
    if B::InnerBackend::QUEUES {
        let factor = |max: f64| {
            let norm = squares.clone().sqrt().add_scalar(1e-6);
            norm.recip().mul_scalar(max).clamp_max(1.0)
        };
        let scale = Scale { host: 1.0, device: max.map(factor) };
        return (GradNorm::read_by(move || norm_from(squares)), scale);
    }
    let norm = norm_from(squares);
    let host = max.map_or(1.0, |max| clip_factor(norm, max));
    (GradNorm::read_by(move || norm), Scale { host, device: None })
}

/// The factor that scales gradients of norm `norm` to the norm `max`, if they exceed it.
pub(super) fn clip_factor(norm: f64, max: f64) -> f64 {
    (max / (norm + 1e-6)).min(1.0)
}
