//! Files of one's own: CSV, TSV, JSON lines and Parquet, with columns that somebody names, become the
//! rows of a task.
//!
//! `format` tells a file's format by its name, `bytes` unpacks it and hands out bounded lines, `table`
//! reads records of any of the formats, `examples` takes texts and labels from them. `labels` finds
//! out what is to be learnt, `numbers` gives it numbers, `split` holds rows back for evaluation, `files`
//! makes a task of it all, which `task_name` names, and `learnt` keeps in mind what a run learnt from.
//! `input` reads what is to be predicted, and `overview` tells what a file holds.

mod bytes;
pub mod examples;
pub mod files;
mod format;
pub mod input;
pub mod labels;
mod learnt;
mod lines;
mod numbers;
pub mod overview;
mod parquet;
mod quoting;
mod separated;
mod split;
pub mod table;
pub mod task_name;

pub use examples::{Columns, Examples};
pub use files::{Files, Settled};
pub use format::Format;
pub use table::{Table, Value};
