//! Fine-tuning with burn-train: the plan, the step, the loop, and the run around them.

mod assemble;
mod card;
mod checkpointer;
#[doc(hidden)]
pub mod clock;
#[cfg(feature = "tui")]
mod dashboard;
mod describe;
mod digest;
mod finish;
mod gauges;
pub mod initial;
#[doc(hidden)]
pub mod loss_scale;
#[doc(hidden)]
pub mod objective;
pub mod plan;
mod renderer;
mod replicas;
mod run;
mod samples;
mod selection;
mod start;
#[doc(hidden)]
pub mod step;
pub mod teacher;
pub mod terminal;
mod update_loop;
mod warm_start;

pub use finish::settle;
pub use plan::Plan;
pub use run::{Console, train};
pub use samples::names_of;
pub use start::Start;
