//! Runs generic tests on every backend that is built in.

use burn::tensor::backend::Backend;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the backends' random numbers, which all tests share, to the caller. Between a seed and what
/// is drawn after it no other test may draw.
pub fn alone_with_random_numbers() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What results of the backend `B` may differ by that differ by `tolerance` in single precision: on
/// CUDA, products have factors of 10 bits (TF32), and sums are contracted.
pub fn allowed<B: Backend>(tolerance: f32) -> f32 {
    if rounds_factors::<B>() { 1000.0 * tolerance } else { tolerance }
}

/// Whether matrix products of the backend `B` round their factors.
pub fn rounds_factors<B: Backend>() -> bool {
    B::name(&B::Device::default()).contains("cuda")
}

/// `on_every_backend!(one, two)` makes the generic functions `one::<B>()` and `two::<B>()` tests of
/// each backend, `B` being the one without autodiff.
macro_rules! on_every_backend {
    ($($test:ident),* $(,)?) => {
        #[cfg(feature = "ndarray")]
        mod ndarray {
            $(#[test] fn $test() { super::$test::<burn_ndarray::NdArray<f32>>() })*
        }
        #[cfg(feature = "flex")]
        mod flex {
            $(#[test] fn $test() { super::$test::<burn_flex::Flex>() })*
        }
        #[cfg(feature = "cuda")]
        mod cuda {
            $(#[test] fn $test() { super::$test::<burn_cuda::Cuda<f32, i32>>() })*
        }
        #[cfg(feature = "wgpu")]
        mod wgpu {
            $(#[test] fn $test() { super::$test::<burn_wgpu::Wgpu<f32, i32>>() })*
        }
    };
}

pub(crate) use on_every_backend;
