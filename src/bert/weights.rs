//! Reads and writes a model's weights as Hugging Face safetensors.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::names::{self, ParamPath};
use crate::error::{Error, Result};

/// The version written to every weight file's metadata as `platon_format`.
pub const FORMAT: &str = "1";

/// Which tensors a checkpoint must provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// The encoder only: the head stays freshly initialised, as for fine-tuning.
    Encoder,
    /// Encoder and head: a fine-tuned model.
    All,
}

/// A loaded model, and what the file held that the model has no place for.
#[derive(Debug)]
pub struct Loaded<M> {
    /// The model with the file's weights.
    pub model: M,
    /// Names of the tensors that were not used (`cls.*`, `position_ids`, a head not asked for).
    pub unused: Vec<String>,
}

/// Replaces the weights of `model` by those in the safetensors file `path`.
///
/// Names are Hugging Face's, with or without the `bert.` prefix, with `gamma`/`beta` as well as
/// `weight`/`bias`; f32, f16 and bf16 are read.
///
/// # Errors
/// A file that is no safetensors, and a tensor that is missing or has the wrong shape, by name.
pub fn load<B: Backend, M: Module<B>>(
    model: M,
    path: &Path,
    parts: Parts,
    device: &B::Device,
) -> Result<Loaded<M>> {
    let bytes = std::fs::read(path).map_err(|e| {
        Error::io(path, "read", e)
            .hint("a checkpoint folder holds config.json and model.safetensors")
    })?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::content(path, None, "a safetensors file", e))?;
    let mut loader = Loader {
        path: ParamPath::default(),
        file: path,
        tensors: &tensors,
        parts,
        device,
        used: HashSet::new(),
        error: None,
    };
    let model = model.map(&mut loader);
    if let Some(error) = loader.error {
        return Err(error);
    }
    let mut unused: Vec<String> = tensors
        .names()
        .into_iter()
        .filter(|n| !loader.used.contains(*n))
        .map(String::from)
        .collect();
    unused.sort();
    Ok(Loaded { model, unused })
}

struct Loader<'a, B: Backend> {
    path: ParamPath,
    file: &'a Path,
    tensors: &'a SafeTensors<'a>,
    parts: Parts,
    device: &'a B::Device,
    used: HashSet<String>,
    error: Option<Error>,
}

impl<B: Backend> Loader<'_, B> {
    fn find(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let found = names::aliases(name)
            .into_iter()
            .find_map(|alias| Some((self.tensors.tensor(&alias).ok()?, alias)));
        let (view, alias) = found.ok_or_else(|| {
            Error::content(self.file, None, format!("a tensor {name}"), "none of that name")
                .hint("the file must hold a BERT with the sizes of its config.json")
        })?;
        let transposed = shape.len() == 2 && names::is_transposed(name);
        let stored: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if view.shape() != stored {
            return Err(Error::content(
                self.file,
                None,
                format!("tensor {alias} of shape {stored:?}"),
                format!("shape {:?}", view.shape()),
            )
            .hint("config.json and the weights belong together"));
        }
        let values = to_f32(&view).ok_or_else(|| {
            Error::content(
                self.file,
                None,
                format!("tensor {alias} of type F32, F16 or BF16"),
                format!("{:?}", view.dtype()),
            )
        })?;
        self.used.insert(alias);
        match stored.as_slice() {
            [rows, columns] if transposed => Ok(transpose(&values, *rows, *columns)),
            _ => Ok(values),
        }
    }
}

impl<B: Backend> ModuleMapper<B> for Loader<'_, B> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let name = self.path.hf_name();
        if self.error.is_some() || (self.parts == Parts::Encoder && names::is_head(&name)) {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let tensor = match self.find(&name, &shape) {
            Ok(values) => Tensor::from_data(TensorData::new(values, shape), self.device)
                .set_require_grad(tensor.is_require_grad()),
            Err(error) => {
                self.error = Some(error);
                tensor
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let dtype = match view.dtype() {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    };
    TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
        .convert::<f32>()
        .to_vec()
        .ok()
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend(values.iter().skip(column).step_by(columns).take(rows));
    }
    out
}

/// One tensor as Hugging Face stores it.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// Its shape there (`nn.Linear`: `[out, in]`).
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

/// All parameters of `model` under their Hugging Face names, sorted.
pub fn collect<B: Backend, M: Module<B>>(model: &M) -> Result<BTreeMap<String, StoredTensor>> {
    let mut collector = Collector { path: ParamPath::default(), tensors: Ok(BTreeMap::new()) };
    model.visit(&mut collector);
    collector.tensors
}

struct Collector {
    path: ParamPath,
    tensors: Result<BTreeMap<String, StoredTensor>>,
}

impl<B: Backend> ModuleVisitor<B> for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let name = self.path.hf_name();
        let Ok(tensors) = &mut self.tensors else { return };
        let data = param.val().into_data().convert::<f32>();
        let mut shape = data.shape.to_vec();
        let values = match data.to_vec::<f32>() {
            Ok(values) => values,
            Err(e) => {
                self.tensors = Err(Error::run(format!("tensor {name} cannot be read: {e:?}")));
                return;
            }
        };
        let values = match shape.as_slice() {
            [rows, columns] if names::is_transposed(&name) => {
                let turned = transpose(&values, *rows, *columns);
                shape.reverse();
                turned
            }
            _ => values,
        };
        tensors.insert(name, StoredTensor { shape, values });
    }
}

/// Writes `tensors` as a safetensors file that Hugging Face tools load; the file appears whole.
pub fn save(tensors: &BTreeMap<String, StoredTensor>, path: &Path) -> Result<()> {
    let bytes: Vec<(&String, Vec<u8>, &Vec<usize>)> = tensors
        .iter()
        .map(|(name, t)| (name, t.values.iter().flat_map(|v| v.to_le_bytes()).collect(), &t.shape))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, data, shape) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), data)
            .map_err(|e| Error::run(format!("tensor {name} cannot be stored: {e}")))?;
        views.push((name.as_str(), view));
    }
    let metadata = HashMap::from([
        ("format".to_string(), "pt".to_string()),
        ("platon_format".to_string(), FORMAT.to_string()),
    ]);
    let file = safetensors::serialize(views, Some(metadata))
        .map_err(|e| Error::run(format!("the weights cannot be stored: {e}")))?;
    crate::files::write_whole(path, &file)
}
