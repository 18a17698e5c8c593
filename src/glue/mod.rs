//! GLUE from the official files to samples: raw TSV -> canonical TSV -> JSON lines of token ids.
//!
//! Nothing here prints or reads a command line; long work reports through a callback.

mod added;
pub mod batch;
mod class;
mod columns;
mod components;
pub mod demo;
pub mod encode;
pub mod encoder_at;
mod marks;
pub mod names;
mod object;
pub mod own;
mod precompiled;
pub mod prepare;
pub(crate) mod read;
pub mod sample;
pub mod softlabels;
mod table;
pub mod task;
pub mod task_def;
pub mod texts;
mod trusted;
pub mod tsv;
pub mod updates;
mod vocab;
mod words;
mod yaml;
