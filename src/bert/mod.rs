//! BERT as a burn module: configuration, forward pass, and the Hugging Face names of its tensors.

pub mod checkpoint;
pub mod config;
mod container;
pub mod model;
pub mod names;
pub mod sparse;
pub mod weights;

pub use checkpoint::Checkpoint;
pub use config::BertConfig;
pub use model::{BertClassifier, ClassifierConfig, Training};
