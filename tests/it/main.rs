//! All integration tests, in one binary.

// Helpers of tests may fail loudly; clippy's own exception covers only the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backends;
mod cli;
mod corpus;
#[cfg(feature = "flex")]
mod crash;
mod dir;
mod fixtures;
mod glue;
#[cfg(feature = "ndarray")]
mod gradients;
#[cfg(unix)]
mod hostile;
#[cfg(feature = "ndarray")]
mod kernels;
mod layering;
#[cfg(feature = "ndarray")]
mod layers;
mod options;
#[cfg(feature = "flex")]
mod outputs;
mod parity;
mod prune;
mod recipes;
mod reduce;
mod resume;
#[cfg(feature = "ndarray")]
mod threshold;
