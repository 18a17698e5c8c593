//! Writes models as folders that Hugging Face tools load, and as sparse files.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::bert::checkpoint::{CONFIG, Checkpoint, TOKENIZER_FILES};
use crate::bert::head_settings::DROPOUT;
use crate::bert::sparse::{Dtype, Encoded};
use crate::bert::weights::{self, StoredTensor, Tensors};
use crate::bert::{BertConfig, HeadSettings, names, sparse};
use crate::error::{Error, Result};
use crate::files::{read_text, write_json, write_whole};
use crate::glue::encode::Encoder;
use crate::glue::task::{Kind, Task};

/// The weights' file of a Hugging Face folder.
pub const WEIGHTS: &str = "model.safetensors";

/// Dropout rates that a model was trained with, in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropouts {
    /// In embeddings, attention and feed-forward layers.
    pub encoder: f64,
    /// Before the last layer of the head.
    pub head: f64,
}

/// Writes `config.json`, `model.safetensors` and the tokenizer's files, if there is one, to `dir`.
///
/// # Errors
/// A weight is not finite, or a file cannot be written.
pub fn save_hugging_face(
    dir: &Path,
    tensors: &BTreeMap<String, StoredTensor>,
    config: &BertConfig,
    task: &Task,
    dropouts: Dropouts,
    encoder: Option<&Encoder>,
) -> Result<()> {
    let labels: &[&str] = match &task.kind {
        Kind::Classification { labels } => labels,
        Kind::Regression => &[],
    };
    let head = HeadSettings::new(labels, dropouts.head);
    weights::save(tensors, &dir.join(WEIGHTS))?;
    write_json(&dir.join(CONFIG), &config.to_classifier_json(&head, dropouts.encoder))?;
    encoder.map_or(Ok(()), |encoder| encoder.save_to(dir))
}

/// What a conversion left out, and whether there is a tokenizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// Names of tensors that are no part of a classifier.
    pub unused: Vec<String>,
    /// Whether the folder holds a tokenizer.
    pub has_tokenizer: bool,
}

/// Writes `checkpoint`, whatever its kind, as a Hugging Face folder: every weight with the same
/// bits. `tokenizer` names another folder with tokenizer files than the checkpoint's.
///
/// # Errors
/// `dir` is not new or empty, the checkpoint has no weights, or a file cannot be read or written.
pub fn to_hugging_face(
    checkpoint: Checkpoint,
    tokenizer: Option<&Path>,
    dir: &Path,
) -> Result<Converted> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::value("OUT", "a new or empty folder", dir.display())
            .hint("name another folder, or remove this one"));
    }
    let texts = match tokenizer {
        Some(folder) => tokenizer_texts(folder)?,
        None if checkpoint.texts.is_empty() => tokenizer_texts(checkpoint.folder())?,
        None => checkpoint.texts.clone(),
    };
    let (config, json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (tensors, head) = checkpoint.into_parts()?;
    let Tensors { tensors, unused, .. } = tensors.expanded();
    let json = hugging_face_config(&config, json, head.as_ref());
    weights::save(&tensors, &dir.join(WEIGHTS))?;
    write_json(&dir.join(CONFIG), &json)?;
    for (name, text) in &texts {
        write_whole(&dir.join(name), text.as_bytes())?;
    }
    Ok(Converted { unused, has_tokenizer: !texts.is_empty() })
}

/// The bytes of the encoder layers' tensors, without names and shapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerBytes {
    /// As they are, in f32.
    pub dense: u64,
    /// In the sparse file.
    pub sparse: u64,
}

/// Writes `checkpoint` as one file that stores only the weights that are not zero, in `dtype`, with
/// its configuration and its tokenizer.
///
/// # Errors
/// The checkpoint has no weights, one is too large for `dtype`, or a file cannot be read or written.
pub fn to_sparse(checkpoint: Checkpoint, dtype: Dtype, file: &Path) -> Result<LayerBytes> {
    let mut texts = match checkpoint.texts.is_empty() {
        true => tokenizer_texts(checkpoint.folder())?,
        false => checkpoint.texts.clone(),
    };
    let (config, json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (tensors, head) = checkpoint.into_parts()?;
    let Tensors { tensors, .. } = tensors.expanded();
    let json = hugging_face_config(&config, json, head.as_ref());
    texts.insert(CONFIG.to_string(), json.to_string());
    let Encoded { bytes, tensor_bytes } = sparse::encode(&tensors, &texts, dtype)?;
    write_whole(file, &bytes)?;
    let mut layers = LayerBytes::default();
    for (name, tensor) in &tensors {
        if names::layer_and_matrix(name).is_none() {
            continue;
        }
        layers.dense += size_of_val(tensor.values.as_slice()) as u64;
        layers.sparse += tensor_bytes.get(name).map_or(0, |bytes| *bytes as u64);
    }
    Ok(layers)
}

/// The configuration as it is if Hugging Face's tools wrote it, with the outputs' names if it says
/// nothing of them; else one for the same model.
fn hugging_face_config(config: &BertConfig, json: Value, head: Option<&HeadSettings>) -> Value {
    let Value::Object(mut given) = json else { return json };
    if given.contains_key("model_type") {
        if let Some(head) = head {
            head.write_labels(&mut given);
        }
        return Value::Object(given);
    }
    let made = match head {
        Some(head) => config.to_classifier_json(head, DROPOUT),
        None => config.to_encoder_json(DROPOUT),
    };
    let Value::Object(mut made) = made else { return made };
    for key in ["hidden_dropout_prob", "attention_probs_dropout_prob"] {
        made.extend(given.remove_entry(key).filter(|(_, rate)| rate.is_number()));
    }
    Value::Object(made)
}

fn tokenizer_texts(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for name in TOKENIZER_FILES {
        let path = folder.join(name);
        if path.is_file() {
            texts.insert(name.to_string(), read_text(&path)?);
        }
    }
    Ok(texts)
}
