//! All integration tests, in one binary.

// Helpers of tests may fail loudly; clippy's own exception covers only the tests themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod backends;
#[cfg(feature = "flex")]
mod beginnings;
mod cli;
mod corpus;
#[cfg(feature = "flex")]
mod crash;
mod criterion;
mod dir;
mod docs;
mod doctor;
mod engine;
mod families;
mod fixtures;
mod glue;
#[cfg(feature = "ndarray")]
mod gradients;
mod groups;
#[cfg(unix)]
mod heads;
#[cfg(unix)]
mod hostile;
#[cfg(feature = "flex")]
mod inputs;
#[cfg(feature = "ndarray")]
mod kernels;
mod layering;
#[cfg(feature = "ndarray")]
mod layers;
#[cfg(feature = "flex")]
mod mnli;
#[cfg(feature = "flex")]
mod objective;
#[cfg(feature = "flex")]
mod onnx;
mod options;
#[cfg(feature = "flex")]
mod outputs;
#[cfg(feature = "flex")]
mod overview;
#[cfg(all(unix, feature = "flex"))]
mod own;
#[cfg(all(unix, feature = "flex"))]
mod own_evaluate;
#[cfg(all(unix, feature = "flex"))]
mod own_rows;
#[cfg(feature = "flex")]
mod pages;
mod parity;
#[cfg(feature = "ndarray")]
mod precision;
mod prune;
#[cfg(feature = "mpi")]
mod ranks;
mod reached;
#[cfg(all(feature = "tracing", any(feature = "cuda", feature = "wgpu")))]
mod reads;
mod recipes;
mod reduce;
mod resume;
#[cfg(all(unix, feature = "flex", feature = "serve"))]
mod serve;
#[cfg(feature = "flex")]
mod several_tasks;
#[cfg(feature = "flex")]
mod sparse_files;
#[cfg(feature = "flex")]
mod sparser;
#[cfg(all(unix, feature = "flex"))]
mod streams;
#[cfg(all(unix, feature = "flex"))]
mod terminal;
#[cfg(feature = "ndarray")]
mod threshold;
mod tokenizers;
#[cfg(feature = "flex")]
mod vouched;
