//! Reads and writes a model's weights as Hugging Face safetensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::compact::CompactTensor;
use super::config::BertConfig;
use super::container::{self, ElementType, TensorEntry};
use super::family::Family;
use super::finite;
use super::names::{self, ParamPath};
use super::sparse::Form;
use crate::error::{Error, Result};

/// The version written to every weight file's metadata as `platon_format`.
const FORMAT: &str = "1";

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
    /// Names of the tensors that were not used (`cls.*`, a head not asked for).
    pub unused: Vec<String>,
}

/// The weights of a checkpoint under their Hugging Face names.
#[derive(Debug, Clone)]
pub struct Tensors {
    /// Whose names they are.
    pub family: &'static Family,
    /// The file they come from.
    pub file: PathBuf,
    /// By name.
    pub tensors: BTreeMap<String, StoredTensor>,
    /// The layers' matrices that a sparse file keeps as what remains of them, by name.
    pub compact: BTreeMap<String, CompactTensor>,
    /// The output layers of further tasks' heads, which a model of several tasks has, by name.
    pub further_heads: BTreeMap<String, StoredTensor>,
    /// Names of what the file holds besides, and of those.
    pub unused: Vec<String>,
}

impl Tensors {
    /// Names `stored` as Hugging Face does, whatever program named it.
    ///
    /// # Errors
    /// A value of a tensor that is used is not finite.
    pub fn new(
        family: &'static Family,
        file: &Path,
        stored: BTreeMap<String, StoredTensor>,
    ) -> Result<Self> {
        let (mut tensors, mut unused) = (BTreeMap::new(), Vec::new());
        let mut further_heads = BTreeMap::new();
        // In the order of the names, so that the original's own `pooler.dense`, which its head
        // uses, replaces the pre-trained `bert.pooler.dense` beside it.
        for (name, tensor) in stored {
            match names::from_stored(family, &name) {
                Some(hf_name) => {
                    finite::check(file, &name, &tensor.shape, &tensor.values)?;
                    if names::is_of_further_head(&hf_name) {
                        unused.push(hf_name.clone());
                        further_heads.insert(hf_name, tensor);
                    } else {
                        tensors.insert(hf_name, tensor);
                    }
                }
                None => unused.push(name),
            }
        }
        let (file, compact) = (file.to_path_buf(), BTreeMap::new());
        Ok(Self { family, file, tensors, compact, further_heads, unused })
    }

    /// The tensors of a sparse file; the layers' matrices are not expanded.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_sparse(
        family: &'static Family,
        file: &Path,
        forms: BTreeMap<String, Form<'_>>,
    ) -> Result<Self> {
        let (mut stored, mut compact) = (BTreeMap::new(), BTreeMap::new());
        for (name, form) in forms {
            let known = names::from_stored(family, &name);
            let of_layer = known.filter(|name| names::layer_and_matrix(name).is_some());
            match of_layer.and_then(|name| Some((name, CompactTensor::of(&form)?))) {
                Some((hf_name, tensor)) => {
                    finite::check_stored(file, &name, &tensor.shape, tensor.stored())?;
                    compact.insert(hf_name, tensor);
                }
                None => {
                    stored.insert(name, form.expand());
                }
            }
        }
        Ok(Self { compact, ..Self::new(family, file, stored)? })
    }

    /// With every element of all tensors.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        let compact = std::mem::take(&mut self.compact);
        self.tensors.extend(compact.into_iter().map(|(name, tensor)| (name, tensor.expand())));
        self
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        let compact = || self.compact.get(name).map(|tensor| tensor.shape.as_slice());
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice()).or_else(compact)
    }

    /// Puts the head's outputs into another order: the output n becomes what `order[n]` was.
    pub fn reorder_outputs(&mut self, order: &[usize]) {
        for leaf in ["weight", "bias"] {
            let name = format!("{}.{leaf}", self.family.head.output);
            let Some(tensor) = self.tensors.get_mut(&name) else { continue };
            let rows = tensor.shape.first().copied().unwrap_or(0);
            let width = tensor.values.len() / rows.max(1);
            let row = |n: &usize| tensor.values.get(n * width..(n + 1) * width);
            tensor.values = order.iter().filter_map(row).flatten().copied().collect();
        }
    }

    /// The number of outputs of the head over `hidden` values, if there is a head.
    ///
    /// # Errors
    /// Its weight has another shape.
    pub fn outputs(&self, hidden: usize) -> Result<Option<usize>> {
        let name = names::output_weight(self.family);
        match self.tensors.get(&name).map(|tensor| tensor.shape.as_slice()) {
            None => Ok(None),
            Some([outputs, width]) if *outputs > 0 && *width == hidden => Ok(Some(*outputs)),
            Some(shape) => {
                let expected = format!("tensor {name} of shape [outputs, {hidden}]");
                Err(Error::content(&self.file, None, expected, format!("shape {shape:?}")))
            }
        }
    }

    /// Takes a tensor of this shape, as Hugging Face stores it, out of the others.
    ///
    /// # Errors
    /// It is missing or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        let compact = || self.compact.remove(name).map(|tensor| tensor.expand());
        match self.tensors.remove(name).or_else(compact) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => Err(misshapen(&self.file, name, shape, &tensor.shape)),
            None => Err(missing(&self.file, name)),
        }
    }

    /// Compares the encoder's tensors with a configuration, before a model of its sizes takes
    /// memory.
    ///
    /// # Errors
    /// One is missing or has another shape, by name.
    pub fn check(&self, config: &BertConfig) -> Result<()> {
        for (name, shape) in names::encoder_shapes(config) {
            match self.shape(&name) {
                Some(found) if found == shape => {}
                Some(found) => return Err(misshapen(&self.file, &name, &shape, found)),
                None => return Err(missing(&self.file, &name)),
            }
        }
        Ok(())
    }

    /// Takes the tensors out of `bytes`, the content of the safetensors file `path`; f32, f16 and
    /// bf16 are known.
    ///
    /// # Errors
    /// It is no safetensors file, or holds numbers of another type or ones that are not finite.
    pub fn from_safetensors(family: &'static Family, path: &Path, bytes: &[u8]) -> Result<Self> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| Error::content(path, None, "a safetensors file", e))?;
        let mut stored = BTreeMap::new();
        for (name, view) in file.iter() {
            if names::from_stored(family, name).is_none() {
                let (shape, values) = (Vec::new(), Vec::new());
                stored.insert(name.to_string(), StoredTensor { shape, values });
                continue;
            }
            let values = to_f32(&view).ok_or_else(|| {
                let expected = format!("tensor {name} of type F32, F16 or BF16");
                Error::content(path, None, expected, format!("{:?}", view.dtype()))
            })?;
            let shape = view.shape().to_vec();
            stored.insert(name.to_string(), StoredTensor { shape, values });
        }
        Self::new(family, path, stored)
    }
}

/// Replaces the weights of `model` by `tensors`.
///
/// # Errors
/// A tensor that is missing or has the wrong shape, by name.
pub fn load<B: Backend, M: Module<B>>(
    model: M,
    tensors: Tensors,
    parts: Parts,
    device: &B::Device,
) -> Result<Loaded<M>> {
    let Tensors { family, file, mut tensors, further_heads, mut unused, .. } = tensors.expanded();
    let (path, file) = (ParamPath::default(), file.as_path());
    unused.retain(|name| !further_heads.contains_key(name));
    tensors.extend(further_heads);
    let mut loader = Loader { family, path, file, tensors, parts, device, error: None };
    let model = model.map(&mut loader);
    if let Some(error) = loader.error {
        return Err(error);
    }
    unused.extend(loader.tensors.into_keys());
    unused.sort();
    Ok(Loaded { model, unused })
}

struct Loader<'a, B: Backend> {
    family: &'static Family,
    path: ParamPath,
    file: &'a Path,
    tensors: BTreeMap<String, StoredTensor>,
    parts: Parts,
    device: &'a B::Device,
    error: Option<Error>,
}

impl<B: Backend> Loader<'_, B> {
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensors.remove(name).ok_or_else(|| missing(self.file, name))?;
        let transposed = shape.len() == 2 && names::is_transposed(name);
        let stored: Vec<usize> =
            if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if tensor.shape != stored {
            return Err(misshapen(self.file, name, &stored, &tensor.shape));
        }
        match stored.as_slice() {
            [rows, columns] if transposed => Ok(transpose(&tensor.values, *rows, *columns)),
            _ => Ok(tensor.values),
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
        let name = self.path.hf_name(self.family);
        let is_left = self.parts == Parts::Encoder && names::is_head(self.family, &name);
        if self.error.is_some() || is_left {
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let tensor = match self.take(&name, &shape) {
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

fn missing(file: &Path, name: &str) -> Error {
    Error::content(file, None, format!("a tensor {name}"), "none of that name")
        .hint("the file must hold a model of the kind and the sizes of its config.json")
}

fn misshapen(file: &Path, name: &str, expected: &[usize], found: &[usize]) -> Error {
    let expected = format!("tensor {name} of shape {expected:?}");
    Error::content(file, None, expected, format!("shape {found:?}"))
        .hint("config.json and the weights belong together")
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
#[derive(Debug, Clone, PartialEq)]
pub struct StoredTensor {
    /// Its shape there (`nn.Linear`: `[out, in]`).
    pub shape: Vec<usize>,
    /// Its values, row by row.
    pub values: Vec<f32>,
}

impl StoredTensor {
    /// A tensor that is zero but for the `stored` elements, at their places.
    pub(super) fn scattered(
        shape: Vec<usize>,
        elements: usize,
        stored: impl Iterator<Item = (usize, f32)>,
    ) -> Self {
        let mut values = vec![0.0; elements];
        for (place, value) in stored {
            if let Some(element) = values.get_mut(place) {
                *element = value;
            }
        }
        Self { shape, values }
    }
}

/// All parameters of `model` under the Hugging Face names of its family, sorted.
///
/// # Errors
/// The backend cannot hand out the values of one.
pub fn collect<B: Backend, M: Module<B>>(
    family: &'static Family,
    model: &M,
) -> Result<BTreeMap<String, StoredTensor>> {
    let (path, tensors) = (ParamPath::default(), Ok(BTreeMap::new()));
    let mut collector = Collector { family, path, tensors };
    model.visit(&mut collector);
    collector.tensors
}

struct Collector {
    family: &'static Family,
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
        let name = self.path.hf_name(self.family);
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

/// Writes `tensors` as a safetensors file that Hugging Face tools load; the file appears whole, and
/// equal tensors make equal bytes.
///
/// # Errors
/// A value is not finite, or the file cannot be written.
pub fn save(tensors: &BTreeMap<String, StoredTensor>, path: &Path) -> Result<()> {
    for (name, tensor) in tensors {
        finite::check(path, name, &tensor.shape, &tensor.values)?;
    }
    let entry = |(name, tensor): (&String, &StoredTensor)| TensorEntry {
        name: name.clone(),
        element_type: ElementType::F32,
        shape: tensor.shape.clone(),
        data: tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let metadata = [("format", "pt"), ("platon_format", FORMAT)];
    let metadata = metadata.map(|(name, text)| (name.to_string(), text.to_string()));
    let file = container::write(&BTreeMap::from(metadata), tensors.iter().map(entry).collect())?;
    crate::files::write_whole(path, &file)
}
