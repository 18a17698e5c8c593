//! One file that stores only the weights that remain.

use std::path::Path;

use super::{hugging_face_config, shrunk_layers, tokenizer_texts};
use crate::bert::checkpoint::{CONFIG, Checkpoint};
use crate::bert::sparse::{Dtype, Encoded};
use crate::bert::weights::Tensors;
use crate::bert::{names, sparse};
use crate::error::Result;
use crate::files::write_whole;
use crate::sparse::Shrunk;

/// The bytes of the encoder layers' tensors, without names and shapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerBytes {
    /// As they are, in f32.
    pub dense: u64,
    /// In the sparse file.
    pub sparse: u64,
}

/// What a sparse file holds, and what it left out.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseFile {
    /// What its encoder layers take.
    pub layers: LayerBytes,
    /// What exact shrinking leaves of each layer, which is what the sparse engine computes.
    pub left: Vec<Shrunk>,
    /// Names of tensors that are no part of a classifier.
    pub unused: Vec<String>,
}

/// Writes `checkpoint` as one file that stores only the weights that are not zero, in `dtype`, with
/// its configuration and its tokenizer.
///
/// # Errors
/// The checkpoint has no weights, one is too large for `dtype`, or a file cannot be read or written.
pub fn to_sparse(checkpoint: Checkpoint, dtype: Dtype, file: &Path) -> Result<SparseFile> {
    let mut texts = tokenizer_texts(&checkpoint)?;
    let (config, json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (tensors, head) = checkpoint.into_parts()?;
    let left = shrunk_layers(&tensors, &config)?.into_iter().map(|(_, left)| left).collect();
    let Tensors { tensors, unused, .. } = tensors.expanded();
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
    Ok(SparseFile { layers, left, unused })
}
