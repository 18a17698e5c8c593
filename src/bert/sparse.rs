//! A model file that stores only the weights that survived pruning, and gives back every bit.
//!
//! # The format, version 1
//!
//! The file is a safetensors file: 8 bytes with the header's length N (unsigned, little-endian),
//! N bytes of JSON, and the tensors' bytes one after another, all numbers little-endian. The JSON's
//! `__metadata__` holds texts:
//!
//! - `format`: `platon-sparse`;
//! - `platon_format`: `1`;
//! - `shape.NAME` for each tensor NAME that is stored sparse: its sizes in decimal, separated by
//!   commas without spaces, such as `384,1536`; empty for a tensor without dimensions, which has
//!   one element;
//! - whatever else the writer wanted to keep, such as `config.json` with that file's text.
//!
//! A tensor NAME of n elements, counted row by row (the last dimension runs fastest), is stored in
//! one of two forms, never in both:
//!
//! - dense: one F32 tensor called NAME, of its own shape;
//! - sparse: the metadata's `shape.NAME` and two tensors.
//!   - `NAME.bitmap`, U8 of shape `[ceil(n / 8)]`: bit i mod 8 of byte i div 8, counted from the
//!     least significant bit, is set where element i is stored. Bits from n on are 0.
//!   - `NAME.values`, F32 of shape `[number of set bits]`: the stored elements in their order.
//!
//! An element that is not stored is +0.0. The writer leaves out exactly the elements whose 32 bits
//! are all 0, so -0.0 and every NaN keep their bits. It chooses the sparse form where that makes
//! the file smaller; a reader takes either. The name of a tensor is neither `__metadata__` nor does
//! it end in `.bitmap` or `.values`. A file holds at most 2^32 elements, stored or not.
//!
//! `tests/python/read_sparse.py` reads the format with numpy.

use std::collections::BTreeMap;
use std::path::Path;

use super::container::{
    DAMAGED, ElementType, Header, METADATA, Stored, TensorEntry, element_count, printable,
    shape_text,
};
use super::weights::StoredTensor;
use crate::error::{Error, Result};

/// The metadata's `format` of a sparse file.
const FORMAT: &str = "platon-sparse";
/// The metadata's `platon_format` of a sparse file.
const VERSION: &str = "1";
/// The most elements of one file, stored or not: 16 GiB of weights.
pub const MOST_ELEMENTS: u64 = 1 << 32;

const FORMAT_ENTRY: &str = "format";
const VERSION_ENTRY: &str = "platon_format";
const SHAPE_PREFIX: &str = "shape.";
const BITMAP: &str = ".bitmap";
const VALUES: &str = ".values";
/// What the sparse form adds to the header beside two more names, in bytes, at most: a second
/// tensor's entry and that of the shape.
const HEADER_COST: usize = 160;

/// Makes a sparse file of `tensors`, those mostly zero as a bitmap and their non-zero values, with
/// the texts of `metadata` beside them. Equal arguments make equal bytes.
///
/// # Errors
/// A tensor's shape and number of values differ, there are more than [`MOST_ELEMENTS`], or a name
/// in `tensors` or `metadata` is one that the format keeps for itself.
pub fn encode(
    tensors: &BTreeMap<String, StoredTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut texts = metadata.clone();
    if let Some(name) = metadata.keys().find(|name| is_own_entry(name)) {
        let expected = "a name other than format, platon_format and shape.*";
        return Err(Error::value("metadata of a sparse file", expected, printable(name)));
    }
    texts.insert(FORMAT_ENTRY.to_owned(), FORMAT.to_owned());
    texts.insert(VERSION_ENTRY.to_owned(), VERSION.to_owned());
    check_total(tensors.values().map(|tensor| tensor.values.len()))
        .map_err(|(expected, found)| Error::value("tensors of a sparse file", expected, found))?;
    let mut entries = Vec::with_capacity(2 * tensors.len());
    for (name, tensor) in tensors {
        if is_own_tensor(name) {
            let expected = "a name other than __metadata__, *.bitmap and *.values";
            return Err(Error::value("tensor of a sparse file", expected, printable(name)));
        }
        if element_count(&tensor.shape) != Some(tensor.values.len()) {
            let expected = format!("as many values as {} has", shape_text(&tensor.shape));
            let option = format!("tensor {}", printable(name));
            return Err(Error::value(option, expected, tensor.values.len()));
        }
        if let Some(stored) = stored_if_smaller(name, &tensor.values) {
            let bitmap = bitmap(&tensor.values);
            let lengths = (vec![bitmap.len()], vec![stored]);
            let values = bytes_of(tensor.values.iter().filter(|value| is_stored(**value)));
            entries.push(entry(format!("{name}{BITMAP}"), ElementType::U8, lengths.0, bitmap));
            entries.push(entry(format!("{name}{VALUES}"), ElementType::F32, lengths.1, values));
            texts.insert(format!("{SHAPE_PREFIX}{name}"), shape_entry(&tensor.shape));
        } else {
            let (shape, values) = (tensor.shape.clone(), bytes_of(tensor.values.iter()));
            entries.push(entry(name.clone(), ElementType::F32, shape, values));
        }
    }
    super::container::write(&texts, entries)
}

/// The bytes that a tensor takes in a sparse file, without its name and shape.
pub fn stored_bytes(name: &str, values: &[f32]) -> usize {
    match stored_if_smaller(name, values) {
        Some(stored) => values.len().div_ceil(8) + size_of::<f32>() * stored,
        None => size_of_val(values),
    }
}

/// Whether `bytes` begin with the header of a sparse file, of whatever version.
#[must_use]
pub fn is_sparse(bytes: &[u8]) -> bool {
    Header::parse(Path::new(""), bytes)
        .is_ok_and(|header| header.metadata.get(FORMAT_ENTRY).is_some_and(|name| name == FORMAT))
}

/// The tensors of a sparse file, and the metadata that [`encode`] was given. The bytes may come
/// from anyone: every size is checked before memory is taken for it, and that memory is at most 32
/// times the length of `bytes`. `path` is for errors only.
///
/// # Errors
/// The bytes are no sparse file of version 1, or are one that breaks a rule of the format.
pub fn decode(
    path: &Path,
    bytes: &[u8],
) -> Result<(BTreeMap<String, StoredTensor>, BTreeMap<String, String>)> {
    let mut header = Header::parse(path, bytes)?;
    check_version(path, &header.metadata)?;
    let mut metadata = std::mem::take(&mut header.metadata);
    let shapes: BTreeMap<String, String> = metadata
        .iter()
        .filter_map(|(name, text)| Some((name.strip_prefix(SHAPE_PREFIX)?.into(), text.clone())))
        .collect();
    metadata.retain(|name, _| !is_own_entry(name));
    let mut stored = header.tensors(path)?;
    let mut forms = BTreeMap::new();
    for (name, text) in shapes {
        let form = Form::sparse(path, &name, &text, &mut stored)?;
        forms.insert(name, form);
    }
    for (name, tensor) in stored {
        let form = Form::dense(path, &name, tensor)?;
        forms.insert(name, form);
    }
    check_total(forms.values().map(|form| form.elements))
        .map_err(|(expected, found)| Error::content(path, None, expected, found).hint(DAMAGED))?;
    Ok((forms.into_iter().map(|(name, form)| (name, form.expand())).collect(), metadata))
}

/// A tensor whose every size has been checked, before it takes memory.
struct Form<'a> {
    shape: Vec<usize>,
    elements: usize,
    bitmap: Option<&'a [u8]>,
    values: &'a [u8],
}

impl<'a> Form<'a> {
    /// Takes the two halves of `name` out of `stored`.
    fn sparse(
        path: &Path,
        name: &str,
        shape: &str,
        stored: &mut BTreeMap<String, Stored<'a>>,
    ) -> Result<Self> {
        let wrong = |expected: String, found: String| {
            Error::content(path, None, expected, found).hint(DAMAGED)
        };
        let tensor = printable(name);
        if is_own_tensor(name) {
            let expected = "a shape of a tensor not called __metadata__, *.bitmap or *.values";
            return Err(wrong(expected.to_owned(), tensor));
        }
        if stored.contains_key(name) {
            return Err(wrong(format!("tensor {tensor} dense or sparse"), "both".to_owned()));
        }
        let mut half = |ending: &str, element_type: ElementType| {
            let expected = format!("{tensor}{ending} of type {element_type:?} and one dimension");
            match stored.remove(&format!("{name}{ending}")) {
                Some(Stored { element_type: found, shape, data })
                    if found == element_type && shape.len() == 1 =>
                {
                    Ok(data)
                }
                Some(other) => {
                    let found = format!("{:?} of {}", other.element_type, shape_text(&other.shape));
                    Err(wrong(expected, found))
                }
                None => Err(wrong(expected, "none of that name".to_owned())),
            }
        };
        let bitmap = half(BITMAP, ElementType::U8)?;
        let values = half(VALUES, ElementType::F32)?;
        let (shape, elements) = match parse_shape(shape) {
            Some((sizes, elements)) if bitmap.len() == elements.div_ceil(8) => (sizes, elements),
            Some((_, elements)) => {
                let expected = format!("{tensor}{BITMAP} of {} bytes", elements.div_ceil(8));
                return Err(wrong(expected, bitmap.len().to_string()));
            }
            None => {
                let expected = format!("a shape of {tensor} such as 384,1536");
                return Err(wrong(expected, format!("{:?}", printable(shape))));
            }
        };
        let padding = bitmap.last().map_or(0, |last| match elements % 8 {
            0 => 0,
            used => last >> used,
        });
        if padding != 0 {
            let expected = format!("{tensor}{BITMAP} with zeros after bit {elements}");
            return Err(wrong(expected, "a set bit".to_owned()));
        }
        let set: usize = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
        if set != values.len() / 4 {
            let expected = format!("{tensor}{VALUES} of {set} elements, one for each set bit");
            return Err(wrong(expected, (values.len() / 4).to_string()));
        }
        Ok(Self { shape, elements, bitmap: Some(bitmap), values })
    }

    fn dense(path: &Path, name: &str, stored: Stored<'a>) -> Result<Self> {
        let tensor = printable(name);
        if is_own_tensor(name) {
            let expected = format!("a metadata entry shape.* that {tensor} belongs to");
            return Err(Error::content(path, None, expected, "none").hint(DAMAGED));
        }
        if stored.element_type != ElementType::F32 {
            let expected = format!("tensor {tensor} of type F32");
            let found = format!("{:?}", stored.element_type);
            return Err(Error::content(path, None, expected, found)
                .hint("a sparse file holds f32 weights; export the model again"));
        }
        let elements = stored.data.len() / 4;
        Ok(Self { shape: stored.shape, elements, bitmap: None, values: stored.data })
    }

    fn expand(self) -> StoredTensor {
        let mut stored =
            self.values.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
        let Some(bitmap) = self.bitmap else {
            return StoredTensor { shape: self.shape, values: stored.collect() };
        };
        let mut values = vec![0.0_f32; self.elements];
        for (eight, byte) in values.chunks_mut(8).zip(bitmap) {
            for (bit, value) in eight.iter_mut().enumerate() {
                if byte >> bit & 1 == 1 {
                    // There are as many values as bits: that has been checked.
                    *value = stored.next().unwrap_or_default();
                }
            }
        }
        StoredTensor { shape: self.shape, values }
    }
}

fn check_version(path: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    let entry = |name| metadata.get(name).map(String::as_str);
    let found =
        |name| entry(name).map_or("none".to_owned(), |text| format!("{:?}", printable(text)));
    if entry(FORMAT_ENTRY) != Some(FORMAT) {
        let expected = format!("a metadata entry format of {FORMAT:?}");
        return Err(Error::content(path, None, expected, found(FORMAT_ENTRY))
            .hint("this is no sparse file; load it as an ordinary model"));
    }
    if entry(VERSION_ENTRY) != Some(VERSION) {
        let expected = format!("a metadata entry platon_format of {VERSION:?}");
        return Err(Error::content(path, None, expected, found(VERSION_ENTRY))
            .hint("another version of platon wrote the file: read it with that one"));
    }
    Ok(())
}

/// The error's expectation and finding, if there are too many elements.
fn check_total(elements: impl Iterator<Item = usize>) -> Result<(), (String, u64)> {
    let total = elements.map(|count| count as u64).sum();
    if total <= MOST_ELEMENTS {
        return Ok(());
    }
    Err((format!("at most {MOST_ELEMENTS} elements"), total))
}

/// The number of elements to store if the sparse form makes the file smaller.
fn stored_if_smaller(name: &str, values: &[f32]) -> Option<usize> {
    let stored = values.iter().filter(|value| is_stored(**value)).count();
    let sparse = values.len().div_ceil(8) + 4 * stored + 2 * name.len() + HEADER_COST;
    (sparse < 4 * values.len()).then_some(stored)
}

fn bitmap(values: &[f32]) -> Vec<u8> {
    let byte = |eight: &[f32]| {
        eight.iter().rev().fold(0, |byte, value| byte << 1 | u8::from(is_stored(*value)))
    };
    values.chunks(8).map(byte).collect()
}

/// Compares bits: -0.0 equals 0.0, and would come back as such.
fn is_stored(value: f32) -> bool {
    value.to_bits() != 0
}

fn bytes_of<'a>(values: impl Iterator<Item = &'a f32>) -> Vec<u8> {
    values.flat_map(|value| value.to_le_bytes()).collect()
}

fn entry(name: String, element_type: ElementType, shape: Vec<usize>, data: Vec<u8>) -> TensorEntry {
    TensorEntry { name, element_type, shape, data }
}

fn shape_entry(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The sizes and their product, which must not overflow; `None` for anything but the one way of
/// writing them.
fn parse_shape(text: &str) -> Option<(Vec<usize>, usize)> {
    let sizes = text.split(',').filter(|_| !text.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    let elements = element_count(&shape)?;
    (shape_entry(&shape) == text).then_some((shape, elements))
}

fn is_own_entry(name: &str) -> bool {
    name == FORMAT_ENTRY || name == VERSION_ENTRY || name.starts_with(SHAPE_PREFIX)
}

fn is_own_tensor(name: &str) -> bool {
    name == METADATA || name.ends_with(BITMAP) || name.ends_with(VALUES)
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
