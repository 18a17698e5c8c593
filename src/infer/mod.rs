//! A model's answers: evaluation sets, the forward pass over them, scores and vectors. Nothing here
//! trains, and nothing knows of burn-train.

pub mod answer;
pub mod forward;
pub mod loss;
pub mod model;
pub mod packed;
pub mod predictions;
pub mod scores;
pub mod sets;
pub mod source;
pub mod tokenizer;
pub mod vectors;
pub mod vectors_file;
