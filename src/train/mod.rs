//! Fine-tuning with burn-train: the step, the run around it, and the evaluation.

pub mod checkpoint;
pub mod clock;
pub mod data;
pub mod display;
pub mod evaluate;
pub mod finish;
pub mod journal;
pub mod lock;
pub mod loss_scale;
pub mod outcome;
pub mod outputs;
pub mod plan;
pub mod progress;
pub mod replicas;
pub mod run;
pub mod step;
pub mod strategy;
pub mod terminal;
pub mod vectors;

pub use lock::RunLock;
pub use outcome::{Outcome, StoppedBy};
pub use plan::Plan;
pub use run::{Console, train};
