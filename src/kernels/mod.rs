//! Tensor operations that every backend needs and none provides as wanted.
//!
//! [`UpdateKernels`] is a backend extension: each operation has a default body made of burn's own
//! operations, and backends that can do better replace it.

pub mod gelu;
pub mod reduce;
pub mod update;

#[cfg(feature = "flex")]
mod flex;

pub use update::{AdamaxStep, UpdateKernels};
