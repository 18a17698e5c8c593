//! What run folders tell about their runs: for a list of them, and to compare them.

pub mod compare;
pub mod course;
pub mod page;
pub mod run;
pub mod table;

pub use compare::{Compared, compare};
pub use run::{State, Summary, runs_below, tell_apart};
pub use table::{Format, Table};
