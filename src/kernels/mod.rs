//! Tensor operations that every backend needs and none provides as wanted.

pub mod gelu;
pub mod reduce;
