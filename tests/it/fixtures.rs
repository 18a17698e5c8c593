//! Files below `tests/fixtures`, and tensors in safetensors files.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use platon::bert::Checkpoint;
use safetensors::{Dtype, SafeTensors};

pub fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

/// The repository: where the tests were built, or where `cargo` or somebody who has carried them
/// elsewhere says.
pub fn repository() -> PathBuf {
    let named = std::env::var_os("CARGO_MANIFEST_DIR");
    named.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// The folder that an environment variable names, or `None` after saying that `test` is skipped.
pub fn external(variable: &str, test: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable).map(PathBuf::from);
    if dir.is_none() {
        skipped(test, &format!("{variable} is not set"));
    }
    dir
}

/// Says that `test` does not run, and why.
pub fn skipped(test: &str, why: &str) {
    say(&format!("skipped {test}: {why}"));
}

/// Says something although the test passes.
pub fn say(line: &str) {
    // Written directly, because the test runner hides what passing tests print.
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// One tensor with its values as f64, whatever type they are stored in.
#[derive(Debug, Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// The `n`-th slice along the first axis.
    pub fn row(&self, n: usize) -> Vec<f64> {
        let size: usize = self.shape[1..].iter().product();
        self.values[n * size..(n + 1) * size].to_vec()
    }

    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }
}

/// The tensors and the metadata of a safetensors file.
pub fn read(path: &Path) -> (HashMap<String, Array>, HashMap<String, String>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let arrays = tensors.iter().map(|(name, view)| {
        let values = match view.dtype() {
            Dtype::F32 => numbers(view.data(), |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => numbers(view.data(), f64::from_le_bytes),
            Dtype::I64 => numbers(view.data(), |b| i64::from_le_bytes(b) as f64),
            Dtype::U8 => numbers(view.data(), |b: [u8; 1]| f64::from(b[0])),
            other => panic!("{name}: {other:?}"),
        };
        (name.to_string(), Array { shape: view.shape().to_vec(), values })
    });
    let arrays = arrays.collect();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    (arrays, header.metadata().clone().unwrap_or_default())
}

fn numbers<const N: usize>(bytes: &[u8], parse: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.chunks_exact(N).map(|c| parse(c.try_into().unwrap())).collect()
}

/// The largest absolute difference; infinite where one is not a number.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, |m: f32, d| if d.is_nan() { f32::INFINITY } else { m.max(d) })
}

/// The weights of the model in `path` by name, as bits.
pub fn weights(path: &Path) -> Vec<(String, Vec<u32>)> {
    let tensors = Checkpoint::open(path).unwrap().into_tensors().unwrap().tensors;
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
    tensors.into_iter().map(|(name, tensor)| (name, bits(&tensor.values))).collect()
}
