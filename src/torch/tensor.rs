//! Tensors from their descriptions and the bytes of their storages.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};

use super::globals::Element;
use super::graph::{Id, Node, Pickle, Rebuilt, Storage};
use super::refusal::{damaged, printable};
use crate::error::{Error, Result};

const MAX_DIMENSIONS: usize = 16;

/// Most values of all tensors together, 16 GiB as f32.
const MAX_VALUES: usize = 1 << 32;

/// Most values for each byte of the file: views repeat values, but no checkpoint repeats them more.
const MAX_VALUES_PER_BYTE: usize = 1024;

/// One tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchTensor {
    /// Its shape as PyTorch states it (`nn.Linear`: `[out, in]`); empty for a scalar.
    pub shape: Vec<usize>,
    /// Its values as f32, row by row.
    pub values: Vec<f32>,
}

/// Where the bytes of tensors lie.
pub(super) trait Storages {
    /// How many bytes the storage `key` has.
    fn size(&self, key: &str) -> Option<u64>;
    /// The bytes of the storage `key`.
    fn read(&mut self, key: &str, path: &Path) -> Result<Vec<u8>>;
}

/// A tensor whose description is checked: each of its values lies within its storage.
struct Plan<'a> {
    name: &'a str,
    element: Element,
    /// Bytes of the whole storage.
    bytes: u64,
    start: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

/// The floating-point tensors of a dict's `pairs`.
pub(super) fn load(
    pickle: &Pickle,
    pairs: &[(Id, Id)],
    storages: &mut dyn Storages,
    length: u64,
    path: &Path,
) -> Result<BTreeMap<String, TorchTensor>> {
    let most = usize::try_from(length).unwrap_or(MAX_VALUES).saturating_mul(MAX_VALUES_PER_BYTE);
    let mut left = most.min(MAX_VALUES);
    // A dict: of a key that comes twice, the last value counts.
    let named: BTreeMap<&str, &Rebuilt> = pairs
        .iter()
        .filter_map(|(key, value)| match pickle.get(*value) {
            Node::Tensor(tensor) => Some((pickle.text(*key)?, tensor.as_ref())),
            _ => None,
        })
        .collect();
    let mut by_storage: BTreeMap<&str, Vec<Plan>> = BTreeMap::new();
    for (name, tensor) in named {
        let refuse = |expected: &str, found: String| {
            damaged(path, format!("tensor {} {expected}", printable(name)), found)
        };
        let Node::Storage(storage) = pickle.get(tensor.storage) else { continue };
        if matches!(storage.element, Element::Other(_)) {
            continue;
        }
        let plan = plan(pickle, name, tensor, storage, &refuse)?;
        let key = pickle.text(storage.key).unwrap_or_default();
        if storages.size(key) != Some(plan.bytes) {
            let found = storages.size(key).map_or("none".to_string(), |size| size.to_string());
            return Err(refuse(&format!("in a storage of {} bytes", plan.bytes), found));
        }
        left = left.checked_sub(plan.count).ok_or_else(|| {
            let values = most.min(MAX_VALUES);
            let expected =
                format!("tensors of at most {values} values in a file of {length} bytes");
            damaged(path, expected, format!("more with tensor {}", printable(name)))
        })?;
        by_storage.entry(key).or_default().push(plan);
    }
    let mut tensors = BTreeMap::new();
    for (key, plans) in by_storage {
        let bytes = storages.read(key, path)?;
        for plan in plans {
            let values = plan.values(&bytes).ok_or_else(|| {
                let tensor = format!("memory for tensor {}", printable(plan.name));
                Error::content(path, None, tensor, format!("none for {} values", plan.count))
            })?;
            tensors.insert(plan.name.to_string(), TorchTensor { shape: plan.shape, values });
        }
    }
    Ok(tensors)
}

fn plan<'a>(
    pickle: &Pickle,
    name: &'a str,
    tensor: &Rebuilt,
    storage: &Storage,
    refuse: &impl Fn(&str, String) -> Error,
) -> Result<Plan<'a>> {
    let sizes = |id| {
        let items = pickle.items(id).filter(|items| items.len() <= MAX_DIMENSIONS)?;
        items.iter().map(|item| pickle.size(*item)).collect::<Option<Vec<usize>>>()
    };
    let (Some(shape), Some(mut strides)) = (sizes(tensor.shape), sizes(tensor.strides)) else {
        let expected = format!("of at most {MAX_DIMENSIONS} dimensions and no negative size");
        return Err(refuse(&expected, "other sizes".to_string()));
    };
    if shape.len() != strides.len() {
        let found = format!("{} sizes and {} strides", shape.len(), strides.len());
        return Err(refuse("with a stride for each size", found));
    }
    // Nothing is one step away in a dimension of one: whatever its stride, it is never taken.
    for (stride, _) in strides.iter_mut().zip(&shape).filter(|(_, size)| **size <= 1) {
        *stride = 0;
    }
    let outside = || {
        let found = format!("shape {shape:?} and strides {strides:?}");
        refuse(&format!("within its storage of {} values", storage.count), found)
    };
    let (from, held) = storage.view.unwrap_or((0, storage.count));
    let inside = from.checked_add(held).is_some_and(|end| end <= storage.count);
    let bytes = (storage.count as u64).checked_mul(storage.element.size() as u64);
    let (Some(bytes), true) = (bytes, inside) else { return Err(outside()) };
    let mut start = 0;
    let mut count = 0;
    if !shape.contains(&0) {
        let offset = pickle.size(tensor.offset).ok_or_else(outside)?;
        let steps = shape.iter().zip(&strides);
        let last = steps
            .map(|(size, stride)| (size - 1).checked_mul(*stride))
            .try_fold(offset, |last, step| last.checked_add(step?));
        last.filter(|last| *last < held).ok_or_else(outside)?;
        // Within the storage, as the last one is.
        start = from + offset;
        let product = shape.iter().try_fold(1, |product: usize, size| product.checked_mul(*size));
        count = product.ok_or_else(outside)?;
    }
    Ok(Plan { name, element: storage.element, bytes, start, shape, strides, count })
}

impl Plan<'_> {
    /// The tensor's values, row by row; none when there is no memory for them.
    fn values(&self, bytes: &[u8]) -> Option<Vec<f32>> {
        let mut values = Vec::new();
        values.try_reserve_exact(self.count).ok()?;
        match self.element {
            Element::F32 => self.collect(bytes, f32::from_le_bytes, &mut values)?,
            Element::F64 => self.collect(bytes, |b| f64::from_le_bytes(b) as f32, &mut values)?,
            Element::F16 => self.collect(bytes, |b| f16::from_le_bytes(b).to_f32(), &mut values)?,
            Element::BF16 => {
                self.collect(bytes, |b| bf16::from_le_bytes(b).to_f32(), &mut values)?;
            }
            Element::Other(_) => return None,
        }
        Some(values)
    }

    fn collect<const N: usize>(
        &self,
        bytes: &[u8],
        convert: impl Fn([u8; N]) -> f32,
        values: &mut Vec<f32>,
    ) -> Option<()> {
        let (elements, _) = bytes.as_chunks::<N>();
        if self.count == 0 {
            return Some(());
        }
        let (columns, step) = match (self.shape.last(), self.strides.last()) {
            (Some(columns), Some(step)) => (*columns, *step),
            _ => (1, 1),
        };
        let outer = self.shape.len().saturating_sub(1);
        // The outer dimensions count like an odometer; `first` is where the current row starts.
        let mut counters = vec![0; outer];
        let mut first = self.start;
        loop {
            let row = elements.get(first..)?;
            if step == 0 {
                let value = convert(*row.first()?);
                values.extend(std::iter::repeat_n(value, columns));
            } else {
                values.extend(row.iter().step_by(step).take(columns).map(|b| convert(*b)));
            }
            let mut wheels = counters.iter_mut().zip(self.shape.iter().zip(&self.strides)).rev();
            loop {
                let Some((counter, (size, stride))) = wheels.next() else { return Some(()) };
                *counter += 1;
                first += stride;
                if *counter < *size {
                    break;
                }
                first -= stride * size;
                *counter = 0;
            }
        }
    }
}
