//! Folders that Hugging Face's tools load.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{
    Columns, Shape, check_new, hugging_face_config, shrunk_layers, texts_in, tokenizer_texts,
    write_beside,
};
use crate::bert::checkpoint::{CONFIG, Checkpoint};
use crate::bert::weights::{self, StoredTensor, Tensors};
use crate::bert::{BertConfig, HeadSettings, names};
use crate::error::Result;
use crate::files::write_json;
use crate::glue::encode::Encoder;
use crate::glue::task::Task;
use crate::sparse::Shrunk;
use crate::sparse::weights::Layer;

/// The weights' file of such a folder.
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
    columns: Option<Columns>,
) -> Result<()> {
    let head = HeadSettings::new(task.kind.labels().unwrap_or_default(), dropouts.head);
    weights::save(tensors, &dir.join(WEIGHTS))?;
    let mut json = config.to_classifier_json(&head, dropouts.encoder);
    if let (Some(name), Value::Object(json)) = (task.hub_name(), &mut json) {
        // As transformers' own scripts for GLUE have it: a model that leaves its run is known by it.
        json.insert("finetuning_task".into(), name.into());
    }
    if let (Some(columns), Value::Object(json)) = (columns, &mut json) {
        columns.write_to(json)?;
    }
    write_json(&dir.join(CONFIG), &json)?;
    encoder.map_or(Ok(()), |encoder| encoder.save_to(dir, config.max_tokens()))
}

/// What a conversion left out, and whether there is a tokenizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Converted {
    /// The neurons of each feed-forward layer, where there are fewer than before.
    pub neurons: Option<usize>,
    /// What exact shrinking leaves of each layer.
    pub left: Vec<Shrunk>,
    /// Names of tensors that are no part of a classifier.
    pub unused: Vec<String>,
    /// Whether the folder holds a tokenizer.
    pub has_tokenizer: bool,
}

/// Writes `checkpoint`, whatever its kind, as a Hugging Face folder. `tokenizer` names another folder
/// with tokenizer files than the checkpoint's.
///
/// # Errors
/// `dir` is not new or empty, the checkpoint has no weights, or a file cannot be read or written.
pub fn to_hugging_face(
    checkpoint: Checkpoint,
    tokenizer: Option<&Path>,
    shape: Shape,
    dir: &Path,
) -> Result<Converted> {
    check_new(dir)?;
    let texts = match tokenizer {
        Some(folder) => texts_in(folder)?,
        None => tokenizer_texts(&checkpoint)?,
    };
    let (mut config, mut json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (mut tensors, head) = checkpoint.into_parts()?;
    let (mut neurons, mut left) = (None, Vec::new());
    if shape == Shape::Shrunk {
        let layers = shrunk_layers(&tensors, &config)?;
        left = layers.iter().map(|(_, left)| *left).collect();
        tensors = tensors.expanded();
        neurons = shrink_neurons(&mut tensors, &mut config, layers);
        if let (Some(neurons), Value::Object(json)) = (neurons, &mut json) {
            let setting = config.family.setting("intermediate_size");
            json.insert(setting.to_string(), neurons.into());
        }
    }
    let Tensors { tensors, unused, .. } = tensors.expanded();
    let json = hugging_face_config(&config, json, head.as_ref());
    weights::save(&tensors, &dir.join(WEIGHTS))?;
    write_beside(dir, &json, &texts)?;
    Ok(Converted { neurons, left, unused, has_tokenizer: !texts.is_empty() })
}

/// Takes superfluous neurons out of the feed-forward layers: as many as the layer that needs the most
/// of them allows, since a configuration has one number for all. That number, if there are fewer.
fn shrink_neurons(
    tensors: &mut Tensors,
    config: &mut BertConfig,
    layers: Vec<(Layer, Shrunk)>,
) -> Option<usize> {
    let most = layers.iter().map(|(_, left)| left.neurons.alive).max()?.max(1);
    if most >= config.intermediate_size {
        return None;
    }
    config.intermediate_size = most;
    let (family, hidden) = (config.family, config.hidden_size);
    for (n, (Layer { intermediate, feed_forward, .. }, _)) in layers.into_iter().enumerate() {
        let path =
            |module: &str| ["bert", "encoder", &n.to_string(), module].map(str::to_string).to_vec();
        let mut put = |module: &str, leaf: &str, shape: Vec<usize>, values: Vec<f32>| {
            let path = [path(module), vec![leaf.to_string()]].concat();
            let name = names::hf_name(family, &path);
            tensors.tensors.insert(name, StoredTensor { shape, values });
        };
        // Places that are left over stay empty: an activation of 0 is 0.
        let padded = |mut values: Vec<f32>, length: usize| {
            values.resize(length, 0.0);
            values
        };
        let weight = padded(intermediate.weight.to_dense(), most * hidden);
        put("intermediate", "weight", vec![most, hidden], weight);
        put("intermediate", "bias", vec![most], padded(intermediate.bias, most));
        let mut weight = vec![0.0; hidden * most];
        for (row, column, value) in feed_forward.weight.elements() {
            if let Some(place) = weight.get_mut(row * most + column) {
                *place = value;
            }
        }
        put("output", "weight", vec![hidden, most], weight);
        put("output", "bias", vec![hidden], feed_forward.bias);
    }
    Some(most)
}
