//! Where a model comes from: a Hugging Face folder, a file of the original program, a sparse file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::{BertConfig, family_of};
use super::family::{BERT, Family};
use super::head_settings::HeadSettings;
use super::sparse::SparseFile;
use super::weights::{StoredTensor, Tensors};
use super::{names, shards, sparse};
use crate::error::{Error, Result};
use crate::files::{check_pointer, check_size, most_bytes, open, read_text, read_whole};
use crate::torch;

/// A checkpoint whose configuration has been read and checked.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// The sizes of the encoder.
    pub config: BertConfig,
    /// The file that the configuration stands in.
    config_file: PathBuf,
    /// All that the configuration says.
    pub json: Value,
    /// Texts that a sparse file holds besides, by their names: the tokenizer's files.
    pub texts: BTreeMap<String, String>,
    weights: Weights,
}

#[derive(Debug)]
enum Weights {
    /// Not read yet.
    File(PathBuf),
    /// Not read yet, in several files that this one names.
    Shards(PathBuf),
    /// Read along with the configuration in the same file.
    Read(Tensors),
    /// There are none.
    Missing,
}

impl Weights {
    /// Those in a folder.
    fn inside(folder: &Path) -> Self {
        let weights = WEIGHT_FILES.iter().find_map(|name| {
            let (file, index) = (folder.join(name), folder.join(format!("{name}.index.json")));
            match file.is_file() {
                true => Some(Self::File(file)),
                false => index.is_file().then_some(Self::Shards(index)),
            }
        });
        weights.unwrap_or(Self::Missing)
    }
}

/// The files that hold the weights of the model at `path`, a file or folder; none where there is none.
///
/// # Errors
/// An index of several cannot be read, or names a file that is not there.
pub fn weight_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    match Weights::inside(path) {
        Weights::File(file) => Ok(vec![file]),
        Weights::Shards(index) => shards::files(&index, &read_json(&index)?),
        Weights::Read(_) | Weights::Missing => Ok(Vec::new()),
    }
}

/// The configuration's file in a Hugging Face folder, and its entry in a sparse file.
pub const CONFIG: &str = "config.json";
/// What belongs to a tokenizer, where it is there.
pub const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];
/// The weights' files of a Hugging Face folder, the better first.
const WEIGHT_FILES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// Files of weights that are not read here, and what they are.
const OTHER_WEIGHTS: [(&str, &str); 5] = [
    ("adapter_model.safetensors", "an adapter without its model"),
    ("tf_model.h5", "TensorFlow's weights"),
    ("bert_model.ckpt.index", "TensorFlow's weights"),
    ("flax_model.msgpack", "Flax's weights"),
    ("model.onnx", "an ONNX model"),
];

impl Checkpoint {
    /// Opens a Hugging Face folder (`config.json`, and `model.safetensors` or `pytorch_model.bin`, or
    /// the index of several such files), a checkpoint file of the original program, or a sparse file
    /// of `platon export`. Only a file that holds both is read as a whole.
    ///
    /// # Errors
    /// A file that is missing, malformed, or describes another architecture. A folder without
    /// weights is no error until they are asked for.
    pub fn open(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Self::open_file(path, read(path, None)?);
        }
        Self::open_folder(path)
    }

    /// The same where only the configuration is asked for: a PyTorch file's weights are not read,
    /// and no weights are kept in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_config(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Self::open_folder(path);
        }
        let content = if is_torch(path)? {
            let config = torch::read_config(path)?.filter(is_of_model);
            let texts = BTreeMap::new();
            let family = family_for(path, config.as_ref())?;
            Content { tensors: Tensors::new(family, path, BTreeMap::new())?, config, texts }
        } else {
            read(path, None)?
        };
        let opened = Self::open_file(path, content)?;
        Ok(Self { weights: Weights::File(path.to_path_buf()), ..opened })
    }

    fn open_folder(path: &Path) -> Result<Self> {
        let config_file = path.join(CONFIG);
        let json = read_json(&config_file)?;
        let config = BertConfig::from_json(json.clone(), &config_file)?;
        let weights = Weights::inside(path);
        let (path, texts) = (path.to_path_buf(), BTreeMap::new());
        Ok(Self { path, config, config_file, json, texts, weights })
    }

    fn open_file(path: &Path, content: Content) -> Result<Self> {
        let Content { tensors, config: inside, texts } = content;
        let beside = path.with_file_name(CONFIG);
        let (json, config_file) = match inside {
            Some(json) => (json, path.to_path_buf()),
            None if beside.is_file() => (read_json(&beside)?, beside),
            None => {
                return Err(Error::content(path, None, "a configuration of the model", "none")
                    .hint("put the model's config.json beside this file"));
            }
        };
        let config = BertConfig::from_json(json.clone(), &config_file)?;
        let weights = Weights::Read(tensors);
        Ok(Self { path: path.to_path_buf(), config, config_file, json, texts, weights })
    }

    /// Whether there are weights.
    ///
    /// # Errors
    /// There are none.
    pub fn check_weights(&self) -> Result<()> {
        match &self.weights {
            Weights::Missing => {
                let expected = format!("a file {}", WEIGHT_FILES.join(" or "));
                let is_there = |(name, _): &&(&str, &str)| self.path.join(name).is_file();
                Err(match OTHER_WEIGHTS.iter().find(is_there) {
                    Some((name, what)) => {
                        let found = format!("{name}, {what}");
                        Error::content(&self.path, None, expected, found).hint(match *name {
                            "model.onnx" => "name the run or the folder that it was exported from",
                            _ => "load it with transformers, and save it with save_pretrained",
                        })
                    }
                    None => Error::content(&self.path, None, expected, "none")
                        .hint("put the weights into this folder"),
                })
            }
            _ => Ok(()),
        }
    }

    /// The weights, which are read from their file the first time. An encoder of the configured
    /// sizes is among them.
    ///
    /// # Errors
    /// There are none, their file is malformed, or a tensor is missing or has another shape.
    pub fn into_tensors(self) -> Result<Tensors> {
        self.check_weights()?;
        let family = self.config.family;
        let tensors = match self.weights {
            Weights::Read(tensors) => tensors,
            Weights::File(file) => read(&file, Some(family))?.tensors,
            Weights::Shards(index) => read_shards(&index, family)?,
            Weights::Missing => Tensors::new(family, &self.path, BTreeMap::new())?,
        };
        tensors.check(&self.config)?;
        Ok(tensors)
    }

    /// The folder or file that it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that would hold the tokenizer.
    pub fn folder(&self) -> &Path {
        match self.path.parent() {
            _ if self.path.is_dir() => &self.path,
            // A file of the working directory.
            None => Path::new("."),
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        }
    }

    /// The task that a fine-tuned model is for, where its configuration names it.
    pub fn task(&self) -> Option<&str> {
        self.json.get("finetuning_task").and_then(Value::as_str)
    }

    /// The weights as [`into_tensors`](Self::into_tensors) has them, and what the configuration says
    /// of their head, if there is one.
    ///
    /// # Errors
    /// Those of `into_tensors`, and of [`HeadSettings::read`].
    pub fn into_parts(self) -> Result<(Tensors, Option<HeadSettings>)> {
        let (json, file) = (self.json.clone(), self.config_file.clone());
        let hidden = self.config.hidden_size;
        let tensors = self.into_tensors()?;
        let outputs = tensors.outputs(hidden)?;
        let head = outputs.map(|outputs| HeadSettings::read(&json, &file, outputs));
        Ok((tensors, head.transpose()?))
    }

    /// The weights of a classifier, and what the configuration says of its head.
    ///
    /// # Errors
    /// Those of [`into_parts`](Self::into_parts); there is no head, or one of another model, whose
    /// tensors have the same names.
    pub fn into_classifier(self) -> Result<(Tensors, HeadSettings)> {
        let architectures = self.json.get("architectures").and_then(Value::as_array);
        let family = self.config.family;
        let other = |name: &&str| family.other_heads.contains(name);
        let mut names = architectures.into_iter().flatten().filter_map(Value::as_str);
        if let Some(name) = names.find(other) {
            let expected = format!("the architecture {}", family.classifier_class);
            return Err(Error::content(&self.config_file, None, expected, name)
                .hint("other heads are not supported"));
        }
        let (tensors, head) = self.into_parts()?;
        let head = head.ok_or_else(|| {
            let expected = format!("a tensor {}", names::output_weight(family));
            Error::content(&tensors.file, None, expected, "none of that name")
                .hint("name a fine-tuned model; this one has no head")
        })?;
        Ok((tensors, head))
    }
}

/// The content of a `config.json`.
fn read_json(path: &Path) -> Result<Value> {
    let text = read_text(path).map_err(|e| match e {
        Error::Io { .. } => e.hint(
            "name a run or a folder with a model; platon download --model OWNER/NAME brings one from \
             Hugging Face, and platon list shows the runs",
        ),
        e => e,
    })?;
    check_pointer(path, text.as_bytes())?;
    serde_json::from_str(&text).map_err(|e| Error::content(path, e.line(), "JSON", e))
}

/// What a file of any known kind holds.
struct Content {
    tensors: Tensors,
    config: Option<Value>,
    texts: BTreeMap<String, String>,
}

/// The tensors of several files.
fn read_shards(index: &Path, family: &'static Family) -> Result<Tensors> {
    let mut all = Tensors::new(family, index, BTreeMap::new())?;
    for shard in shards::files(index, &read_json(index)?)? {
        let Tensors { tensors, unused, .. } = read(&shard, Some(family))?.tensors.expanded();
        for (name, tensor) in tensors {
            if all.tensors.insert(name.clone(), tensor).is_some() {
                let found = format!("a second one in {}", shard.display());
                return Err(Error::content(index, None, format!("one tensor {name}"), found));
            }
        }
        all.unused.extend(unused);
    }
    Ok(all)
}

/// The family of the weights in the file `path`: that of the configuration `inside` it, else of the
/// one beside it.
fn family_for(path: &Path, inside: Option<&Value>) -> Result<&'static Family> {
    let beside = path.with_file_name(CONFIG);
    match inside {
        Some(config) => family_of(config, path),
        None if beside.is_file() => family_of(&read_json(&beside)?, &beside),
        None => Ok(&BERT),
    }
}

/// Whether settings in a PyTorch file are a model's, which all have this one, and not a trainer's.
fn is_of_model(config: &Value) -> bool {
    config.get("vocab_size").is_some()
}

/// What a file holds; without a `family`, its configuration tells whose weights they are.
fn read(path: &Path, family: Option<&'static Family>) -> Result<Content> {
    let family = |inside: Option<&Value>| match family {
        Some(family) => Ok(family),
        None => family_for(path, inside),
    };
    let mut start = Vec::new();
    let begun = open(path)?.take(100).read_to_end(&mut start);
    begun.map_err(|e| Error::io(path, "read", e))?;
    check_pointer(path, &start)?;
    if is_torch(path)? {
        let torch::TorchFile { tensors, config } = torch::read(path)?;
        let config = config.filter(is_of_model);
        let stored = |(name, tensor): (String, torch::TorchTensor)| {
            (name, StoredTensor { shape: tensor.shape, values: tensor.values })
        };
        let family = family(config.as_ref())?;
        let tensors = Tensors::new(family, path, tensors.into_iter().map(stored).collect())?;
        return Ok(Content { tensors, config, texts: BTreeMap::new() });
    }
    let bytes = read_whole(path)?;
    if !sparse::is_sparse(&bytes) {
        let tensors = Tensors::from_safetensors(family(None)?, path, &bytes)?;
        return Ok(Content { tensors, config: None, texts: BTreeMap::new() });
    }
    let SparseFile { tensors, mut texts, .. } = SparseFile::parse(path, &bytes)?;
    // Their names become names of files.
    let other = |name: &&String| !TOKENIZER_FILES.contains(&name.as_str()) && *name != CONFIG;
    if let Some(name) = texts.keys().find(other) {
        return Err(Error::content(path, None, "a tokenizer's file", format!("{name:?}"))
            .hint("this file was not made by platon export"));
    }
    for (name, text) in &texts {
        check_size(&path.join(name), text.len() as u64, most_bytes(Path::new(name)))?;
    }
    let config = texts.remove(CONFIG).map(|text| {
        serde_json::from_str(&text)
            .map_err(|e| Error::content(path, None, format!("JSON in {CONFIG}"), e))
    });
    let config = config.transpose()?;
    let tensors = Tensors::from_sparse(family(config.as_ref())?, path, tensors)?;
    Ok(Content { tensors, config, texts })
}

/// PyTorch writes a zip archive, or, before version 1.6, a pickle; safetensors files begin with the
/// length of their header, which would have to exceed 10 GB to look like either.
fn is_torch(path: &Path) -> Result<bool> {
    let mut magic = [0; 8];
    let read = open(path)?.read(&mut magic).map_err(|e| Error::io(path, "read", e))?;
    let pickle = matches!(magic, [0x80, 2..=5, rest @ ..] if rest != [0; 6]);
    Ok(read == magic.len() && (magic.starts_with(b"PK\x03\x04") || pickle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trainer_s_settings_are_no_model_s_however_a_file_is_opened() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny_bert");
        let sizes = |opened: Result<Checkpoint>| opened.unwrap().config;
        let expected = sizes(Checkpoint::open(&folder));
        let file = folder.join("trainer.pt");
        assert_eq!(sizes(Checkpoint::open(&file)), expected);
        assert_eq!(sizes(Checkpoint::open_config(&file)), expected);
        for (settings, is_model) in [
            (serde_json::json!({"hidden_size": 16, "lr": 3}), false),
            (serde_json::json!({"model_type": "my-net"}), false),
            (serde_json::json!({"vocab_size": 10, "hidden_size": 16}), true),
        ] {
            assert_eq!(is_of_model(&settings), is_model, "{settings}");
        }
    }
}
