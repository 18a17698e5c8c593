//! The engine for pruned models on CPUs: what zeros make superfluous is left out, and what remains
//! is packed so that products take time for the weights that are there.
//!
//! [`mod@shrink`] leaves out, [`packing`] packs and [`product`] multiplies, [`choice`] decides by measurement how a
//! matrix is packed, [`engine`] runs the whole model. Activations lie in [`panels`].

#![allow(
    clippy::indexing_slicing,
    reason = "the kernels index arrays of their own making, whose lengths are checked at their doors"
)]

pub mod attention;
pub mod choice;
mod chunk;
pub mod engine;
pub mod packing;
pub mod panels;
pub mod product;
pub mod rows;
pub mod rowwise;
pub mod shrink;
pub mod training;
pub mod transpose;
pub mod vector;
pub mod weights;

pub use choice::{Chooser, Measured, measure};
pub use engine::{Builder, Engine, Text, Wanted};
pub use packing::{Packed, Packing};
pub use rows::Rows;
pub use shrink::{Left, Shrunk, shrink};
pub use vector::Instructions;
