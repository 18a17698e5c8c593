//! A model file that stores only the weights that survived pruning, and gives back every bit.
//!
//! # The format, version 2
//!
//! The file is a safetensors file: 8 bytes with the header's length N (unsigned, little-endian),
//! N bytes of JSON, and the tensors' bytes one after another, all numbers little-endian. The JSON's
//! `__metadata__` holds texts:
//!
//! - `format`: `platon-sparse`;
//! - `platon_format`: `2`;
//! - `dtype`: `F32`, `F16` or `BF16`, the type of every weight in the file;
//! - `shape.NAME` for each tensor NAME that is stored in parts: its sizes in decimal, separated by
//!   commas without spaces, such as `384,1536`; empty for a tensor without dimensions, which has
//!   one element;
//! - whatever else the writer wanted to keep, such as `config.json` with that file's text.
//!
//! A tensor NAME of n elements, counted from 0 row by row (the last dimension runs fastest), is
//! stored whole or in parts, never both. Whole: one tensor called NAME, of the file's type and its
//! own shape. In parts: the metadata's `shape.NAME`, an index or none, and c values.
//!
//! The index says which c of the n elements are stored; all others are +0.0.
//!
//! - None: all of them, c = n.
//! - `NAME.bitmap`, U8 of shape `[ceil(n / 8)]`: bit i mod 8 of byte i div 8, counted from the
//!   least significant bit, is set where element i is stored. c bits are set; those from n on are 0.
//! - `NAME.gaps`, U8 of one dimension: the first byte is a number k from 0 to 31. The others are a
//!   stream of bits, those of each byte from the least significant one, with c codes one after
//!   another and zeros after them. A code stands for the number g of elements that are not stored
//!   between a stored element and the one stored before it, or the tensor's beginning: g div 2^k
//!   zeros, a one, and the k bits of g mod 2^k from the least significant one (Rice's code). n is at
//!   most 64 times the bytes of `NAME.gaps` and of the values together, as they stand in the file;
//!   the zeros at the end are as many as that needs.
//!
//! The values are the c stored elements in their order, in one of two forms.
//!
//! - `NAME.values`, of the file's type and shape `[c]`.
//! - Two tensors, made of the bits of each element rotated to the left by one, so that the sign
//!   comes last. `NAME.high`, U8 of one dimension: a zlib stream (RFC 1950) of the c high bytes.
//!   `NAME.low`, U8 of shape `[c, 3]` (`[c, 1]` for the types of 16 bits): the other bytes of each
//!   element, the lowest first.
//!
//! The high byte is the exponent (of F16: the exponent and three more bits), in which trained
//! weights differ little: about 2.6 bits of entropy. The others are noise to any compressor.
//!
//! In F32 the writer leaves out exactly the elements whose 32 bits are all 0, so -0.0 and every NaN
//! keep their bits. In 16 bits it rounds first, to the nearest and of two to the even number, and
//! leaves out zeros of either sign; it refuses a finite number that would become infinite. It
//! chooses the parts and forms by their size; a reader takes any. The name of a tensor is not
//! `__metadata__`, nor does it end in `.bitmap`, `.gaps`, `.values`, `.high` or `.low`. A file holds
//! at most 2^32 elements, stored or not.
//!
//! # Version 1
//!
//! It has no `dtype`, which is F32, and no `NAME.gaps`, `NAME.high` and `NAME.low`. It is read, and
//! no longer written.
//!
//! `tests/python/read_sparse.py` reads the format with numpy.

mod file;
mod form;
mod gaps;
mod index;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

pub use file::SparseFile;
pub use form::Form;
pub use values::Dtype;

use self::index::Coded;
use self::values::Bytes;
use super::container::{
    ElementType, Header, METADATA, TensorEntry, element_count, printable, shape_text,
};
use super::weights::StoredTensor;
use crate::error::{Error, Result};

/// The metadata's `format` of a sparse file.
const FORMAT: &str = "platon-sparse";
/// The metadata's `platon_format` of a file that is written.
const VERSION: &str = "2";
/// The most elements of one file, stored or not: 16 GiB of weights.
pub const MOST_ELEMENTS: u64 = 1 << 32;

const FORMAT_ENTRY: &str = "format";
const VERSION_ENTRY: &str = "platon_format";
const DTYPE_ENTRY: &str = "dtype";
const SHAPE_PREFIX: &str = "shape.";
const BITMAP: &str = ".bitmap";
const GAPS: &str = ".gaps";
const VALUES: &str = ".values";
const HIGH: &str = ".high";
const LOW: &str = ".low";
/// What a further part or a shape adds to the header beside a name, in bytes, at most.
const ENTRY_COST: usize = 96;

/// A sparse file.
pub struct Encoded {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The bytes that each tensor takes in it, without name and shape.
    pub tensor_bytes: BTreeMap<String, usize>,
}

/// Makes a sparse file of `tensors`, with their numbers in `dtype`, and the texts of `metadata`
/// beside them. Equal arguments make equal bytes.
///
/// # Errors
/// A tensor's shape and number of values differ, a value is too large for `dtype`, there are more
/// than [`MOST_ELEMENTS`], or a name in `tensors` or `metadata` is one that the format keeps for
/// itself.
pub fn encode(
    tensors: &BTreeMap<String, StoredTensor>,
    metadata: &BTreeMap<String, String>,
    dtype: Dtype,
) -> Result<Encoded> {
    let mut texts = metadata.clone();
    if let Some(name) = metadata.keys().find(|name| is_own_entry(name)) {
        let expected = "a name other than format, platon_format, dtype and shape.*";
        return Err(Error::value("metadata of a sparse file", expected, printable(name)));
    }
    texts.insert(FORMAT_ENTRY.to_owned(), FORMAT.to_owned());
    texts.insert(VERSION_ENTRY.to_owned(), VERSION.to_owned());
    texts.insert(DTYPE_ENTRY.to_owned(), dtype.name().to_owned());
    check_total(tensors.values().map(|tensor| tensor.values.len()))
        .map_err(|(expected, found)| Error::value("tensors of a sparse file", expected, found))?;
    let (mut entries, mut tensor_bytes) = (Vec::with_capacity(3 * tensors.len()), BTreeMap::new());
    for (name, tensor) in tensors {
        if is_own_tensor(name) {
            let expected =
                "a name other than __metadata__, *.bitmap, *.gaps, *.values, *.high and *.low";
            return Err(Error::value("tensor of a sparse file", expected, printable(name)));
        }
        if element_count(&tensor.shape) != Some(tensor.values.len()) {
            let expected = format!("as many values as {} has", shape_text(&tensor.shape));
            let option = format!("tensor {}", printable(name));
            return Err(Error::value(option, expected, tensor.values.len()));
        }
        let (parts, is_whole) = parts(name, tensor, dtype)?;
        if !is_whole {
            texts.insert(format!("{SHAPE_PREFIX}{name}"), shape_entry(&tensor.shape));
        }
        tensor_bytes.insert(name.clone(), parts.iter().map(|part| part.data.len()).sum());
        entries.extend(parts);
    }
    Ok(Encoded { bytes: super::container::write(&texts, entries)?, tensor_bytes })
}

/// Whether `bytes` begin with the header of a sparse file, of whatever version.
#[must_use]
pub fn is_sparse(bytes: &[u8]) -> bool {
    Header::parse(Path::new(""), bytes)
        .is_ok_and(|header| header.metadata.get(FORMAT_ENTRY).is_some_and(|name| name == FORMAT))
}

/// The tensors of a sparse file with every element, and the metadata that [`encode`] was given. The
/// bytes may come from anyone: every size is checked before memory is taken for it, and that memory
/// is at most 257 times the length of `bytes`, and at most 16 GiB for weights.
///
/// # Errors
/// Those of [`SparseFile::parse`].
pub fn decode(
    path: &Path,
    bytes: &[u8],
) -> Result<(BTreeMap<String, StoredTensor>, BTreeMap<String, String>)> {
    let SparseFile { tensors, texts, .. } = SparseFile::parse(path, bytes)?;
    Ok((tensors.into_iter().map(|(name, form)| (name, form.expand())).collect(), texts))
}

/// The entries of a tensor in the smallest of the forms, and whether it is stored whole.
fn parts(name: &str, tensor: &StoredTensor, dtype: Dtype) -> Result<(Vec<TensorEntry>, bool)> {
    let bits = rounded(name, &tensor.values, dtype)?;
    let (dense_bytes, cost) = (bits.len() * dtype.width(), name.len() + ENTRY_COST);
    let stored = bits.iter().copied().filter(|bits| *bits != 0);
    let count = stored.clone().count();
    // Either index has at least a bit for each stored element.
    if (bits.len() - count) * dtype.width() > count / 8 + 2 * cost {
        let values = Bytes::of(dtype, stored, cost);
        let index = Coded::of(&bits, values.len());
        if index.len() + values.len() + 2 * cost < dense_bytes {
            let (ending, data) = match index {
                Coded::Bitmap(data) => (BITMAP, data),
                Coded::Gaps(data) => (GAPS, data),
            };
            let mut parts = value_parts(name, dtype, values, count);
            parts.push(part(name, ending, ElementType::U8, vec![data.len()], data));
            return Ok((parts, false));
        }
    }
    Ok(match Bytes::of(dtype, bits.iter().copied(), 2 * cost) {
        Bytes::Plain(data) => {
            (vec![part(name, "", dtype.element_type(), tensor.shape.clone(), data)], true)
        }
        split => (value_parts(name, dtype, split, bits.len()), false),
    })
}

fn value_parts(name: &str, dtype: Dtype, values: Bytes, count: usize) -> Vec<TensorEntry> {
    match values {
        Bytes::Plain(data) => vec![part(name, VALUES, dtype.element_type(), vec![count], data)],
        Bytes::Split { high, low } => vec![
            part(name, HIGH, ElementType::U8, vec![high.len()], high),
            part(name, LOW, ElementType::U8, vec![count, dtype.width() - 1], low),
        ],
    }
}

fn part(
    name: &str,
    ending: &str,
    element_type: ElementType,
    shape: Vec<usize>,
    data: Vec<u8>,
) -> TensorEntry {
    TensorEntry { name: format!("{name}{ending}"), element_type, shape, data }
}

/// The bits of each value in `dtype`.
fn rounded(name: &str, values: &[f32], dtype: Dtype) -> Result<Vec<u32>> {
    let round = |value: &f32| {
        dtype.round(*value).ok_or_else(|| {
            let expected =
                format!("numbers of at most {} to store as {}", dtype.largest(), dtype.name());
            let hint = if dtype == Dtype::F16 {
                "--dtype bf16 has room for it"
            } else {
                "--dtype f32 has room for it"
            };
            Error::value(format!("tensor {}", printable(name)), expected, value).hint(hint)
        })
    };
    values.iter().map(round).collect()
}

/// The error's expectation and finding, if there are too many elements.
fn check_total(elements: impl Iterator<Item = usize>) -> Result<(), (String, u64)> {
    let total = elements.map(|count| count as u64).fold(0, u64::saturating_add);
    if total <= MOST_ELEMENTS {
        return Ok(());
    }
    Err((format!("at most {MOST_ELEMENTS} elements"), total))
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
    [FORMAT_ENTRY, VERSION_ENTRY, DTYPE_ENTRY].contains(&name) || name.starts_with(SHAPE_PREFIX)
}

fn is_own_tensor(name: &str) -> bool {
    name == METADATA || [BITMAP, GAPS, VALUES, HIGH, LOW].iter().any(|part| name.ends_with(part))
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
