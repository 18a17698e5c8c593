//! Runs generic tests on every backend that is built in.

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
        #[cfg(feature = "wgpu")]
        mod wgpu {
            $(#[test] fn $test() { super::$test::<burn_wgpu::Wgpu<f32, i32>>() })*
        }
    };
}

pub(crate) use on_every_backend;
