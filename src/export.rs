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
use crate::infer::source::Source;
use crate::sparse::weights::Layer;
use crate::sparse::{Shrunk, shrink};

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

/// What becomes of a model's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every weight keeps its place and its bits.
    Kept,
    /// What zeros make superfluous goes, as far as a Hugging Face configuration can say so.
    Shrunk,
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
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::value("OUT", "a new or empty folder", dir.display())
            .hint("name another folder, or remove this one"));
    }
    let texts = match tokenizer {
        Some(folder) => tokenizer_texts(folder)?,
        None if checkpoint.texts.is_empty() => tokenizer_texts(checkpoint.folder())?,
        None => checkpoint.texts.clone(),
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
    write_json(&dir.join(CONFIG), &json)?;
    for (name, text) in &texts {
        write_whole(&dir.join(name), text.as_bytes())?;
    }
    Ok(Converted { neurons, left, unused, has_tokenizer: !texts.is_empty() })
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
    let mut source = Source::new(tensors, config);
    (0..config.num_hidden_layers).map(|n| Ok(shrink(source.layer(config, n)?).1)).collect()
}

/// Every layer without what zeros make superfluous, and what is left of it.
fn shrunk_layers(tensors: &Tensors, config: &BertConfig) -> Result<Vec<(Layer, Shrunk)>> {
    let mut source = Source::new(tensors.clone(), config);
    (0..config.num_hidden_layers).map(|n| Ok(shrink(source.layer(config, n)?))).collect()
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

/// The bytes of the encoder layers' tensors, without names and shapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerBytes {
    /// As they are, in f32.
    pub dense: u64,
    /// In the sparse file.
    pub sparse: u64,
}

/// Writes `checkpoint` as one file that stores only the weights that are not zero, in `dtype`, with
/// its configuration and its tokenizer. Gives the bytes, and what exact shrinking leaves of each layer,
/// which is what the sparse engine computes.
///
/// # Errors
/// The checkpoint has no weights, one is too large for `dtype`, or a file cannot be read or written.
pub fn to_sparse(
    checkpoint: Checkpoint,
    dtype: Dtype,
    file: &Path,
) -> Result<(LayerBytes, Vec<Shrunk>)> {
    let mut texts = match checkpoint.texts.is_empty() {
        true => tokenizer_texts(checkpoint.folder())?,
        false => checkpoint.texts.clone(),
    };
    let (config, json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (tensors, head) = checkpoint.into_parts()?;
    let left = shrunk_layers(&tensors, &config)?.into_iter().map(|(_, left)| left).collect();
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
    Ok((layers, left))
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
        let key = config.family.setting(key);
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
