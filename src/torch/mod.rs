//! Reads PyTorch checkpoints without ever executing what their pickles say.
//!
//! A pickle is a program. Here it runs on a stack machine that knows only inert values: the names
//! it asks for are compared with a short list and never looked up, and every size it states is
//! compared with what the file holds before memory is set aside for it.

mod archive;
mod config;
mod globals;
mod graph;
mod legacy;
mod machine;
mod objects;
mod pickle;
mod refusal;
mod tensor;

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;
use archive::Archive;
use graph::{Id, Node, Pickle};
use legacy::Legacy;
use refusal::damaged;
use tensor::Storages;

pub use tensor::TorchTensor;

/// Where the tensors are, other than at the top: MT-DNN's key, and the most common ones.
const STATE_KEYS: [&str; 5] = ["state", "state_dict", "model_state_dict", "model", "module"];

/// What a checkpoint holds of use to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchFile {
    /// The floating-point tensors by name; integer tensors such as `position_ids` are left out.
    pub tensors: BTreeMap<String, TorchTensor>,
    /// The dict `config` that MT-DNN and PLATON's original program write beside `state`. What JSON
    /// has no word for (an enum, an argparse.Namespace, a tensor, NaN) is null there.
    pub config: Option<serde_json::Value>,
}

/// Reads the checkpoint `path`, written by `torch.save` as a zip archive (torch 1.6 and later) or
/// in the older format.
///
/// It holds a dict of tensors, or a dict that has one as `state`, `state_dict`, `model_state_dict`,
/// `model` or `module`, and then perhaps a dict `config`; other keys are ignored. f32, f64, f16 and bf16 are read.
///
/// # Errors
/// A file that cannot be read, is damaged or is no such checkpoint; one whose pickle asks for
/// anything but tensors and plain values, named; sizes that contradict each other or the file.
pub fn read(path: &Path) -> Result<TorchFile> {
    let (pickle, mut storages, length) = open(path)?;
    extract(&pickle, storages.as_mut(), length, path)
}

/// The dict `config` of the checkpoint `path`, as [`read`] gives it, without reading a tensor.
///
/// # Errors
/// As [`read`], but for the tensors.
pub fn read_config(path: &Path) -> Result<Option<serde_json::Value>> {
    let (pickle, _, _) = open(path)?;
    let (top, inner) = dicts(&pickle, path)?;
    config_beside(&pickle, top, inner, path)
}

/// The pickle of the checkpoint `path`, the storages beside it, and the file's length.
fn open(path: &Path) -> Result<(Pickle, Box<dyn Storages>, u64)> {
    let failed = |e| Error::io(path, "read", e);
    let file = files::open(path)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::new(file);
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head).map_err(failed)?;
    file.rewind().map_err(failed)?;
    match head.as_slice() {
        b"PK\x03\x04" => {
            let (pickle, archive) = Archive::open(file, length, path)?;
            Ok((pickle, Box::new(archive), length))
        }
        [0x80, ..] => {
            let (pickle, legacy) = Legacy::open(file, length, path)?;
            Ok((pickle, Box::new(legacy), length))
        }
        _ => Err(damaged(path, "a PyTorch checkpoint", "neither a zip archive nor a pickle")),
    }
}

/// The keys and values of a dict.
type Pairs = [(Id, Id)];

/// The outermost dict, and the one of tensors in it, if they are not at the top.
fn dicts<'a>(pickle: &'a Pickle, path: &Path) -> Result<(&'a Pairs, Option<&'a Pairs>)> {
    let Node::Dict(top) = pickle.get(pickle.root) else {
        let found = pickle.get(pickle.root).kind();
        return Err(
            Error::content(path, None, "a dict of tensors", found).hint(objects::SAVE_WEIGHTS)
        );
    };
    let dict = |key: &&str| {
        let Node::Dict(inner) = pickle.get(pickle.lookup(top, key)?) else { return None };
        Some(inner.as_slice())
    };
    let has_tensors = |inner: &&Pairs| {
        inner.iter().any(|(_, value)| matches!(pickle.get(*value), Node::Tensor(_)))
    };
    // Of several, as a trainer's own state beside that of its model, the one with tensors.
    let found = || STATE_KEYS.iter().filter_map(dict);
    let inner = found().find(has_tensors).or_else(|| found().next());
    Ok((top, inner))
}

fn config_beside(
    pickle: &Pickle,
    top: &Pairs,
    inner: Option<&Pairs>,
    path: &Path,
) -> Result<Option<serde_json::Value>> {
    match inner.and(pickle.lookup(top, "config")) {
        Some(id) => config::to_json(pickle, id, path),
        None => Ok(None),
    }
}

fn extract(
    pickle: &Pickle,
    storages: &mut dyn Storages,
    length: u64,
    path: &Path,
) -> Result<TorchFile> {
    let (top, inner) = dicts(pickle, path)?;
    let config = config_beside(pickle, top, inner, path)?;
    let tensors = tensor::load(pickle, inner.unwrap_or(top), storages, length, path)?;
    if tensors.is_empty() {
        return Err(Error::content(path, None, "a dict of tensors", "no floating-point tensor")
            .hint(format!(
                "tensors are looked for at the top and under {}",
                STATE_KEYS.join(", ")
            )));
    }
    Ok(TorchFile { tensors, config })
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
#[cfg(test)]
#[path = "torch_tests.rs"]
mod tests;
