//! BERT and the encoders like it as a burn module: configuration, forward pass, and the Hugging Face
//! names of their tensors.

pub mod checkpoint;
pub mod compact;
pub mod config;
mod container;
pub mod family;
mod finite;
pub mod head;
pub mod head_settings;
pub mod model;
pub mod names;
mod pass;
mod shards;
pub mod sparse;
pub mod weights;

pub use checkpoint::Checkpoint;
pub use config::BertConfig;
pub use family::Family;
pub use head::HeadConfig;
pub use head_settings::HeadSettings;
pub use model::{BertClassifier, ClassifierConfig};
pub use pass::{Pass, Training};
