//! What a run folder holds: its names and lock, what is logged and saved there while the run goes
//! on, and how the run ends. It knows no backend and nothing of burn-train.

pub mod checkpoints;
mod entries;
pub mod folder;
pub mod journal;
pub mod lock;
pub mod origin;
pub mod outcome;
pub mod outputs;
mod pace;
pub mod point;
pub mod record;

pub use folder::RunFolder;
pub use journal::Journal;
pub use lock::RunLock;
pub use outcome::{Outcome, StoppedBy};
pub use point::Point;
pub use record::RunRecord;
