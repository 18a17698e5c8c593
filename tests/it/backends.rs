//! Runs generic tests on every backend that is built in.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the backends' random numbers, which all tests share, to the caller. Between a seed and what
/// is drawn after it no other test may draw.
pub fn alone_with_random_numbers() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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
