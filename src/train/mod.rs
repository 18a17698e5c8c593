//! Fine-tuning with burn-train: the step, the run around it, and the evaluation.

pub mod data;
pub mod evaluate;
pub mod journal;
pub mod run;
pub mod step;
pub mod terminal;

pub use run::{Console, Outcome, Plan, train};
