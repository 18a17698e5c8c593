//! Weights in several files, with an index that names them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::is_file_name;

/// The files that `index`, a `model.safetensors.index.json` or `pytorch_model.bin.index.json`, names
/// beside it.
///
/// # Errors
/// It is no such index, names a file elsewhere, or a file is not there.
pub(super) fn files(index: &Path, json: &Value) -> Result<Vec<PathBuf>> {
    let map = json.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
    let Some(map) = map else {
        return Err(Error::content(index, None, "a weight_map of tensors and their files", "none"));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        match file.as_str().filter(|name| is_file_name(name)) {
            Some(name) => names.insert(name),
            None => {
                let expected = format!("the name of a file beside it for {tensor}");
                return Err(Error::content(index, None, expected, file));
            }
        };
    }
    let shards: Vec<PathBuf> = names.into_iter().map(|name| index.with_file_name(name)).collect();
    match shards.iter().find(|shard| !shard.is_file()) {
        Some(missing) => {
            let expected = format!("its {} files of weights", shards.len());
            let found = format!("no {}", missing.display());
            Err(Error::content(index, None, expected, found).hint("put them all into this folder"))
        }
        None => Ok(shards),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_files_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("model.safetensors.index.json");
        let read = |text: &str| files(&index, &serde_json::from_str(text).unwrap());
        std::fs::write(dir.path().join("1.safetensors"), "").unwrap();
        let good = r#"{"weight_map": {"a": "1.safetensors", "b": "1.safetensors"}}"#;
        assert_eq!(read(good).unwrap(), [dir.path().join("1.safetensors")]);
        for (text, expected) in [
            ("{}", "expected a weight_map of tensors and their files, found none"),
            (r#"{"weight_map": {}}"#, "expected a weight_map"),
            (r#"{"weight_map": {"a": 1}}"#, "the name of a file beside it for a, found 1"),
            (r#"{"weight_map": {"a": "../1.safetensors"}}"#, "found \"../1.safetensors\""),
            (
                r#"{"weight_map": {"a": "2.safetensors"}}"#,
                "expected its 1 files of weights, found no ",
            ),
        ] {
            let text = read(text).unwrap_err().to_string();
            assert!(text.contains("index.json: ") && text.contains(expected), "{text}");
        }
    }
}
