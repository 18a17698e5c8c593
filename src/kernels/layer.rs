//! Fused operations inside the model, with hand-written gradients.
//!
//! [`LayerKernels`] holds forward and backward bodies for backends without autodiff;
//! [`ModelKernels`] is what a model calls, on such a backend or on `Autodiff` over one.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};

/// Dropout whose random numbers follow from a seed alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeededDropout {
    /// Share of the elements set to zero, in [0, 1); the others are scaled by 1 / (1 - rate).
    pub rate: f64,
    /// Different for every update and every place in the model.
    pub seed: u64,
}

/// What [`LayerKernels::add_norm_forward`] leaves for the gradient.
pub struct NormOutput<B: Backend> {
    /// `[rows, width]`
    pub output: Tensor<B, 2>,
    /// Before gamma and beta, `[rows, width]`.
    pub normalized: Tensor<B, 2>,
    /// 1 / sqrt(variance + epsilon), `[rows, 1]`.
    pub inverse_deviation: Tensor<B, 2>,
}

/// Gradients of `dropout(x) + residual`, normalised.
pub struct NormGradients<B: Backend> {
    /// `[rows, width]`
    pub x: Tensor<B, 2>,
    /// `[rows, width]`
    pub residual: Tensor<B, 2>,
    /// `[width]`
    pub gamma: Tensor<B, 1>,
    /// `[width]`
    pub beta: Tensor<B, 1>,
}

/// Forward and backward bodies; the defaults are made of burn's own operations.
pub trait LayerKernels: Backend {
    /// The exact GELU, x Φ(x) (Hendrycks and Gimpel, 2016).
    ///
    /// burn's own `gelu` has the same value, but on most backends the gradient of its tanh
    /// approximation, off by up to 5e-4.
    fn gelu_forward(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        x.clone() * normal_cdf(x)
    }

    /// The exact GELU, and its slope Φ(x) + x φ(x).
    fn gelu_with_slope(x: Tensor<Self, 2>) -> [Tensor<Self, 2>; 2] {
        let phi = normal_cdf(x.clone());
        let density = (x.clone() * x.clone()).mul_scalar(-0.5).exp();
        let slope = phi.clone() + (x.clone() * density).mul_scalar(1.0 / (2.0 * PI).sqrt());
        [x * phi, slope]
    }

    /// LayerNorm(dropout(x) + residual).
    ///
    /// # Shapes
    /// - `x`, `residual`: `[rows, width]`
    /// - `gamma`, `beta`: `[width]`
    fn add_norm_forward(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        gamma: Tensor<Self, 1>,
        beta: Tensor<Self, 1>,
        epsilon: f64,
        dropout: Option<SeededDropout>,
    ) -> NormOutput<Self> {
        let sum = drop_out(x, dropout) + residual;
        let centred = sum.clone() - sum.mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let inverse_deviation = variance.add_scalar(epsilon).sqrt().recip();
        let normalized = centred * inverse_deviation.clone();
        let output = normalized.clone() * gamma.unsqueeze() + beta.unsqueeze();
        NormOutput { output, normalized, inverse_deviation }
    }

    /// The gradients of [`add_norm_forward`](Self::add_norm_forward).
    ///
    /// # Shapes
    /// - `normalized`, `grad`: `[rows, width]`
    /// - `inverse_deviation`: `[rows, 1]`
    /// - `gamma`: `[width]`
    fn add_norm_backward(
        normalized: Tensor<Self, 2>,
        inverse_deviation: Tensor<Self, 2>,
        gamma: Tensor<Self, 1>,
        grad: Tensor<Self, 2>,
        dropout: Option<SeededDropout>,
    ) -> NormGradients<Self> {
        let [_, width] = grad.dims();
        let scaled = grad.clone() * gamma.unsqueeze();
        let mean = scaled.clone().mean_dim(1);
        let along = (scaled.clone() * normalized.clone()).mean_dim(1);
        let residual = (scaled - mean - normalized.clone() * along) * inverse_deviation;
        NormGradients {
            x: drop_out(residual.clone(), dropout),
            residual,
            gamma: (grad.clone() * normalized).sum_dim(0).reshape([width]),
            beta: grad.sum_dim(0).reshape([width]),
        }
    }
}

/// Φ(x), the distribution function of the normal distribution.
fn normal_cdf<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    x.mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5)
}

/// Zeroes and scales `x`; the same seed gives the same zeros, so the gradient goes the same way.
fn drop_out<B: Backend>(x: Tensor<B, 2>, dropout: Option<SeededDropout>) -> Tensor<B, 2> {
    let Some(SeededDropout { rate, seed }) = dropout.filter(|d| d.rate > 0.0) else { return x };
    let device = x.device();
    B::seed(&device, seed);
    let kept = Tensor::random(x.shape(), Distribution::Bernoulli(1.0 - rate), &device);
    x * kept.mul_scalar(1.0 / (1.0 - rate))
}

/// What a model calls.
pub trait ModelKernels: Backend {
    /// The exact GELU with its exact gradient, `[rows, width]`.
    fn exact_gelu(x: Tensor<Self, 2>) -> Tensor<Self, 2>;

    /// LayerNorm(dropout(x) + residual); shapes as [`LayerKernels::add_norm_forward`].
    fn dropout_add_norm(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        gamma: Tensor<Self, 1>,
        beta: Tensor<Self, 1>,
        epsilon: f64,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2>;
}

macro_rules! without_autodiff {
    ($backend:ty) => {
        impl ModelKernels for $backend {
            fn exact_gelu(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
                Self::gelu_forward(x)
            }

            fn dropout_add_norm(
                x: Tensor<Self, 2>,
                residual: Tensor<Self, 2>,
                gamma: Tensor<Self, 1>,
                beta: Tensor<Self, 1>,
                epsilon: f64,
                dropout: Option<SeededDropout>,
            ) -> Tensor<Self, 2> {
                Self::add_norm_forward(x, residual, gamma, beta, epsilon, dropout).output
            }
        }
    };
}

#[cfg(feature = "flex")]
without_autodiff!(burn_flex::Flex);

#[cfg(feature = "ndarray")]
without_autodiff!(burn_ndarray::NdArray<f32>);
#[cfg(feature = "ndarray")]
impl LayerKernels for burn_ndarray::NdArray<f32> {}

#[cfg(feature = "cuda")]
without_autodiff!(burn_cuda::Cuda<f32, i32>);
#[cfg(feature = "cuda")]
impl LayerKernels for burn_cuda::Cuda<f32, i32> {}

#[cfg(feature = "wgpu")]
without_autodiff!(burn_wgpu::Wgpu<f32, i32>);
#[cfg(feature = "wgpu")]
impl LayerKernels for burn_wgpu::Wgpu<f32, i32> {}
