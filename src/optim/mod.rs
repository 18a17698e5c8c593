//! The inner optimizers, the choice between them, and the learning rate over a run.

pub mod adamax;
pub mod any;
pub mod learning_rate;
pub mod radam;

pub use adamax::{Adamax, AdamaxConfig, AdamaxState};
pub use any::{AnyOptimizer, AnyState, OptimizerConfig, OptimizerName};
pub use learning_rate::{Schedule, WarmupSchedule};
pub use radam::{RAdam, RAdamConfig, RAdamState};
