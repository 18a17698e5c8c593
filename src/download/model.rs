//! Brings a model of Hugging Face.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::fetch::{Fetcher, Outcome, Request};
use super::{DownloadEvent, HF_MIRROR, Options, read_small, sources};
use crate::error::{Error, Result};
use crate::files::{is_file_name, most_bytes, write_whole};

/// A downloaded checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The repository at Hugging Face.
    pub repository: String,
    /// `model.safetensors`, its index where there are several such files, or `pytorch_model.bin` where
    /// there is no other.
    pub weights: PathBuf,
    /// The files that have been fetched.
    pub fetched: Vec<PathBuf>,
}

const CONFIG: &str = "config.json";
/// Names the repository that a folder's files are of: others have models of the same short name.
const SOURCE: &str = ".repository";
const TOKENIZERS: [&str; 3] = ["tokenizer.json", "vocab.txt", "vocab.json"];
/// What else decides the token ids of a text, where it is there.
const BESIDE_TOKENIZERS: [&str; 4] =
    ["merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
/// The weights, the better first; the second names several files.
const WEIGHTS: [&str; 3] = ["model.safetensors", INDEX, "pytorch_model.bin"];
const INDEX: &str = "model.safetensors.index.json";

/// Brings a checkpoint into the folder `into`: `bert-base-uncased` or another well-known one by its
/// short name, any other as `owner/name`. Nothing is asked of the server if the folder holds a whole
/// checkpoint.
///
/// # Errors
/// The name cannot be one, the folder holds another repository's files, a file cannot be fetched (see [`Fetcher::fetch`]), or it is not a model of
/// a known kind with a tokenizer.
pub fn model(
    name: &str,
    into: &Path,
    options: &Options,
    on_progress: &(dyn Fn(DownloadEvent<'_>) + Sync),
) -> Result<Model> {
    let was_there = into.exists();
    // A folder in which nothing has come would look like a model's.
    brought(name, into, options, on_progress).inspect_err(|_| {
        if !was_there {
            // One that holds something stays.
            let _ = fs::remove_dir(into);
        }
    })
}

/// Whether the folder holds files of the repository `name`.
pub fn is_of(folder: &Path, name: &Path) -> bool {
    let source = read_small(&folder.join(SOURCE)).ok();
    source.is_some_and(|source| Path::new(String::from_utf8_lossy(&source).trim()) == name)
}

fn brought(
    name: &str,
    into: &Path,
    options: &Options,
    on_progress: &(dyn Fn(DownloadEvent<'_>) + Sync),
) -> Result<Model> {
    let repository = sources::repository(name)?;
    let base = sources::base_url("hf-url", options.hf_url.as_deref())?;
    let there = |file: &str| into.join(file).is_file();
    let source = into.join(SOURCE);
    if there(SOURCE) {
        let found = String::from_utf8_lossy(&read_small(&source)?).trim().to_string();
        if found != repository {
            let expected = format!("{found}, which {} is of", into.display());
            return Err(Error::value("model", expected, repository)
                .hint("name another folder with --output-dir, or remove this one"));
        }
    }
    let complete = there(CONFIG) && TOKENIZERS.into_iter().any(there);
    let weights = WEIGHTS.into_iter().find(|file| there(file)).filter(|_| complete);
    if let Some(weights) = weights.filter(|_| !options.force) {
        let parts = if weights == INDEX { parts_of(into)? } else { BTreeSet::new() };
        if parts.iter().all(|part| there(part)) {
            let files = [CONFIG].into_iter().chain(TOKENIZERS).chain(WEIGHTS);
            for name in files.chain(parts.iter().map(String::as_str)).filter(|file| there(file)) {
                on_progress(DownloadEvent::Cached { name });
            }
            return Ok(Model { repository, weights: into.join(weights), fetched: Vec::new() });
        }
    }

    let fetcher = Fetcher::new(options.settings.clone());
    let mut fetched = Vec::new();
    let mut get = |file: &str, optional: bool| -> Result<Outcome> {
        let target = into.join(file);
        let request = Request {
            url: &sources::hub_url(base, &repository, file),
            target: &target,
            sha256: options.checksums.get(file).map(String::as_str),
            hub: true,
            max_bytes: most_bytes(Path::new(file)),
            optional,
            force: options.force,
            mirror: HF_MIRROR,
        };
        let outcome = fetcher.fetch(&request, on_progress)?;
        // Beside those of another model it would still be read.
        if outcome == Outcome::Absent && target.is_file() {
            return Err(Error::content(
                &target,
                None,
                format!("no such file, as {repository} has none"),
                "one of another origin",
            )
            .hint("remove it, or name another folder with --output-dir"));
        }
        if outcome == Outcome::Fetched {
            fetched.push(target);
        }
        Ok(outcome)
    };
    if get(CONFIG, false)? == Outcome::Fetched {
        check_config(&repository, &into.join(CONFIG))?;
    }
    if !there(SOURCE) {
        write_whole(&source, repository.as_bytes())?;
    }
    for file in BESIDE_TOKENIZERS {
        get(file, true)?;
    }
    let mut tokenizers = 0;
    for file in TOKENIZERS {
        tokenizers += usize::from(get(file, true)? != Outcome::Absent);
    }
    if tokenizers == 0 {
        let found = "a repository without any of them";
        return Err(Error::value("model", TOKENIZERS.join(" or "), found)
            .hint("choose a model with a tokenizer, or put its vocab.txt into the folder"));
    }
    // The weights come last: where they are, everything else has been asked for.
    let [whole, index, pickled] = WEIGHTS;
    let file = if get(whole, true)? != Outcome::Absent {
        whole
    } else if get(index, true)? != Outcome::Absent {
        for part in parts_of(into)? {
            get(&part, false)?;
        }
        index
    } else {
        get(pickled, false)?;
        pickled
    };
    Ok(Model { repository, weights: into.join(file), fetched })
}

/// The files that the index in the folder names.
fn parts_of(folder: &Path) -> Result<BTreeSet<String>> {
    let path = folder.join(INDEX);
    let refuse = |found: String| {
        Error::content(&path, None, "a weight_map of tensors and files beside it", found)
            .hint(format!("remove {} and run again", path.display()))
    };
    let json = serde_json::from_slice::<Value>(&read_small(&path)?);
    let json = json.map_err(|e| refuse(e.to_string()))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.filter(|map| !map.is_empty()).ok_or_else(|| refuse("none".into()))?;
    let name = |file: &Value| match file.as_str().filter(|name| is_file_name(name)) {
        Some(name) => Ok(name.to_owned()),
        None => Err(refuse(file.to_string())),
    };
    map.values().map(name).collect()
}

/// Another kind of model is noticed before its weights come.
fn check_config(repository: &str, path: &Path) -> Result<()> {
    let parsed = serde_json::from_slice::<Value>(&read_small(path)?);
    let found = match &parsed {
        // Old checkpoints do not say what they are.
        Ok(Value::Object(config)) => match config.get("model_type").and_then(Value::as_str) {
            None => return Ok(()),
            Some(known) if sources::MODEL_TYPES.contains(&known) => return Ok(()),
            Some(other) => format!("model_type '{other}'"),
        },
        _ => "no JSON object".to_owned(),
    };
    // It must not be taken for that of the next model that is brought here.
    fs::remove_file(path).map_err(|e| Error::io(path, "remove", e))?;
    let expected = format!("a model of the kind {}", sources::MODEL_TYPES.join(", "));
    Err(Error::value("model", expected, format!("{found} in {CONFIG} of {repository}")))
}
