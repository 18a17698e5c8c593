//! Scores over whole sets: plain slices in, numbers out.

pub mod scores;
