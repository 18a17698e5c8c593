//! All integration tests, in one binary.

mod backends;
mod cli;
mod dir;
mod fixtures;
mod glue;
mod layering;
mod parity;
mod prune;
mod reduce;
