//! PLATON (Zhang et al., ICML 2022): schedule, scores, threshold, and the optimizer decorator that
//! applies them. Generic over the criterion, the module and the inner optimizer.

mod clip;
pub mod criterion;
mod decision;
mod histogram;
pub mod monitor;
pub mod optimizer;
pub mod pattern;
pub mod record;
pub mod schedule;
pub mod scope;
pub mod threshold;
mod update;
pub mod visit;
mod zeros;

pub use clip::GradNorm;
pub use criterion::Criterion;
pub use criterion::any::{AnyCriterion, CriterionConfig, Pruner};
pub use criterion::platon::Smoothing;
pub use histogram::Histogram;
pub use monitor::{Counting, PruningMonitor, PruningStatus};
pub use optimizer::{PlatonOptimizer, PruningConfig};
pub use pattern::Pattern;
pub use record::{PlatonRecord, RECORD_FORMAT, StateRecord};
pub use schedule::{Phase, RatioSchedule};
pub use scope::{Scope, overall_ratio};
