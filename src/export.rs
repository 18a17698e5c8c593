//! Writes a fine-tuned model as a folder that Hugging Face tools load.

use std::collections::BTreeMap;
use std::path::Path;

use crate::bert::BertConfig;
use crate::bert::config::Dropouts;
use crate::bert::weights::{self, StoredTensor};
use crate::error::Result;
use crate::files::write_json;
use crate::glue::encode::Encoder;
use crate::glue::task::{Kind, Task};

/// Writes `config.json`, `model.safetensors` and the tokenizer's files to `dir`.
pub fn save_hugging_face(
    dir: &Path,
    tensors: &BTreeMap<String, StoredTensor>,
    config: &BertConfig,
    task: &Task,
    dropouts: Dropouts,
    encoder: &Encoder,
) -> Result<()> {
    let labels: &[&str] = match &task.kind {
        Kind::Classification { labels } => labels,
        Kind::Regression => &[],
    };
    weights::save(tensors, &dir.join("model.safetensors"))?;
    write_json(&dir.join("config.json"), &config.to_classifier_json(labels, dropouts))?;
    encoder.save_to(dir)
}
