//! Fine-tuning with burn-train: the step, the run around it, and the evaluation.

pub mod data;
pub mod evaluate;
pub mod journal;
pub mod outputs;
pub mod plan;
pub mod run;
pub mod step;
pub mod terminal;
pub mod vectors;

pub use plan::Plan;
pub use run::{CTRL_C, Console, Outcome, StoppedBy, train};
