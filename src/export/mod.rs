//! Writes models as folders that Hugging Face's tools load, as sparse files, and as ONNX models.

mod columns;
mod hugging_face;
pub mod onnx;
mod sparse_file;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

pub use self::columns::Columns;
pub use self::hugging_face::{Converted, Dropouts, WEIGHTS, save_hugging_face, to_hugging_face};
pub use self::onnx::{OnnxFolder, to_onnx};
pub use self::sparse_file::{LayerBytes, SparseFile, to_sparse};
use crate::bert::checkpoint::{CONFIG, Checkpoint, TOKENIZER_FILES};
use crate::bert::head_settings::DROPOUT;
use crate::bert::weights::{StoredTensor, Tensors};
use crate::bert::{BertConfig, HeadSettings};
use crate::error::{Error, Result};
use crate::files::{is_free, read_text, write_json, write_whole};
use crate::infer::source::Source;
use crate::sparse::weights::Layer;
use crate::sparse::{Shrunk, shrink};

/// What becomes of a model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every weight keeps its place and its bits.
    Kept,
    /// What zeros make superfluous goes, as far as the format can say so.
    Shrunk,
}

/// Refuses a folder that holds something, unless it is what an earlier try has left half-written.
fn check_new(dir: &Path) -> Result<()> {
    let own = TOKENIZER_FILES.into_iter().chain([WEIGHTS, onnx::MODEL, CONFIG]);
    if !is_free(dir, &own.collect::<Vec<_>>())? {
        return Err(Error::content(dir, None, "a new or empty folder", "files in it")
            .hint("name another folder, or remove this one"));
    }
    Ok(())
}

/// What exact shrinking would leave of each layer of a model of these weights.
///
/// # Errors
/// A tensor is missing or has another shape.
pub fn left_of(
    tensors: BTreeMap<String, StoredTensor>,
    config: &BertConfig,
) -> Result<Vec<Shrunk>> {
    let tensors = Tensors::new(config.family, Path::new(WEIGHTS), tensors)?;
    let layers = layers_of(Source::new(tensors, config), config)?;
    Ok(layers.into_iter().map(|(_, left)| left).collect())
}

/// Every layer without what zeros make superfluous, and what is left of it.
fn shrunk_layers(tensors: &Tensors, config: &BertConfig) -> Result<Vec<(Layer, Shrunk)>> {
    layers_of(Source::new(tensors.clone(), config), config)
}

fn layers_of(mut source: Source, config: &BertConfig) -> Result<Vec<(Layer, Shrunk)>> {
    (0..config.num_hidden_layers).map(|n| Ok(shrink(source.layer(config, n)?))).collect()
}

/// The configuration as it is if Hugging Face's tools wrote it, with the outputs' names if it says
/// nothing of them; else one for the same model.
fn hugging_face_config(config: &BertConfig, json: Value, head: Option<&HeadSettings>) -> Value {
    let Value::Object(mut given) = json else { return json };
    if given.get("model_type").is_some_and(Value::is_string) {
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
        let key = config.family.setting(key);
        made.extend(given.remove_entry(key).filter(|(_, rate)| rate.is_number()));
    }
    Value::Object(made)
}

/// The files of the tokenizer that belongs to `checkpoint`.
fn tokenizer_texts(checkpoint: &Checkpoint) -> Result<BTreeMap<String, String>> {
    match checkpoint.texts.is_empty() {
        true => texts_in(checkpoint.folder()),
        false => Ok(checkpoint.texts.clone()),
    }
}

fn texts_in(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for name in TOKENIZER_FILES {
        let path = folder.join(name);
        if path.is_file() {
            texts.insert(name.to_string(), read_text(&path)?);
        }
    }
    Ok(texts)
}

/// Writes what stands beside the weights: the tokenizer's files, and last the configuration, without which
/// a folder is no model.
fn write_beside(dir: &Path, json: &Value, texts: &BTreeMap<String, String>) -> Result<()> {
    texts.iter().try_for_each(|(name, text)| write_whole(&dir.join(name), text.as_bytes()))?;
    write_json(&dir.join(CONFIG), json)
}
