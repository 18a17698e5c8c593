//! PLATON (Zhang et al., ICML 2022): schedule, scores, threshold, and the optimizer decorator that
//! applies them. Generic over the module and the inner optimizer.

pub mod importance;
pub mod monitor;
pub mod optimizer;
pub mod schedule;
pub mod scope;
pub mod threshold;
pub mod visit;

pub use importance::Smoothing;
pub use monitor::{PruningMonitor, PruningStatus};
pub use optimizer::{PlatonOptimizer, Pruner, PruningConfig};
pub use schedule::RatioSchedule;
pub use scope::Scope;
