//! The part of safetensors that the sparse format needs, read as untrusted bytes.
//!
//! The crate `safetensors` reads what [`write`] writes, but is not used here: it keeps the last of
//! two entries of one name without a word, adds offsets unchecked (a header may make a debug build
//! panic), and writes the metadata in a random order, so that equal models would make unequal files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The header's entry that is no tensor.
pub(super) const METADATA: &str = "__metadata__";
/// The longest header that readers of safetensors accept, in bytes.
const LONGEST_HEADER: usize = 100_000_000;
/// The bytes before the header, which hold its length.
const LENGTH_BYTES: usize = 8;
/// The longest foreign text repeated in an error, in characters.
const LONGEST_QUOTE: usize = 120;

pub(super) const DAMAGED: &str = "the file is damaged: copy it or export it again";

/// The element types of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ElementType {
    /// 32-bit floats, little-endian.
    F32,
    /// 16-bit floats of IEEE 754, little-endian.
    F16,
    /// The high halves of 32-bit floats, little-endian.
    Bf16,
    /// Bytes.
    U8,
}

impl ElementType {
    const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::U8];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::U8 => "U8",
        }
    }

    /// Bytes of an element.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::U8 => 1,
        }
    }
}

/// A tensor of a file that is read.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub element_type: ElementType,
    pub shape: Vec<usize>,
    /// As many bytes as type and shape say.
    pub data: &'a [u8],
}

/// A tensor of a file to write; `data` holds as many bytes as type and shape say.
pub(super) struct TensorEntry {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// A file's header, parsed, and the bytes after it. Nothing is checked against those bytes yet.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub metadata: BTreeMap<String, String>,
    infos: BTreeMap<String, Info>,
    data: &'a [u8],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'a> Header<'a> {
    /// Splits a file into header and data.
    ///
    /// # Errors
    /// The header is cut off, too long or not the JSON it must be, or has two entries of one name.
    pub(super) fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let wrong = |expected: &str, found: &str| {
            Error::content(path, None, expected, printable(found)).hint(DAMAGED)
        };
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| {
            wrong("a safetensors file", &format!("a file of {} bytes", bytes.len()))
        })?;
        let length = u64::from_le_bytes(*length);
        let (header, data) = usize::try_from(length)
            .ok()
            .filter(|length| *length <= LONGEST_HEADER)
            .and_then(|length| rest.split_at_checked(length))
            .ok_or_else(|| {
                let expected = format!("a header of at most {} bytes", rest.len());
                wrong(&expected, &format!("{length} bytes"))
            })?;
        let text = std::str::from_utf8(header)
            .map_err(|e| wrong("a header of UTF-8 text", &e.to_string()))?;
        let entries: Entries = serde_json::from_str(text)
            .map_err(|e| wrong("a safetensors header of JSON", &e.to_string()))?;
        Ok(Self { metadata: entries.metadata, infos: entries.infos, data })
    }

    /// The tensors, whose bytes are found to cover the data without gap and overlap.
    ///
    /// # Errors
    /// An element type other than F32, F16, BF16 and U8, and offsets that do not fit the shapes or the file.
    pub(super) fn tensors(self, path: &Path) -> Result<BTreeMap<String, Stored<'a>>> {
        let mut infos: Vec<(String, Info)> = self.infos.into_iter().collect();
        infos.sort_by_key(|(_, info)| info.data_offsets);
        let mut tensors = BTreeMap::new();
        let mut start = 0;
        for (name, info) in infos {
            let tensor = format!("tensor {}", printable(&name));
            let element_type = ElementType::ALL
                .into_iter()
                .find(|known| known.name() == info.dtype)
                .ok_or_else(|| {
                    let expected = format!("{tensor} of type F32, F16, BF16 or U8");
                    Error::content(path, None, expected, printable(&info.dtype))
                        .hint("a sparse file holds no other types; export the model again")
                })?;
            let end = element_count(&info.shape)
                .and_then(|count| count.checked_mul(element_type.width()))
                .and_then(|length| length.checked_add(start))
                .ok_or_else(|| {
                    let expected = format!("{tensor} of a size that fits into memory");
                    Error::content(path, None, expected, shape_text(&info.shape)).hint(DAMAGED)
                })?;
            if info.data_offsets != (start, end) {
                let expected = format!("{tensor} in the bytes {start} to {end} of the data");
                let found = format!("{} to {}", info.data_offsets.0, info.data_offsets.1);
                return Err(Error::content(path, None, expected, found).hint(DAMAGED));
            }
            let data = self.data.get(start..end).ok_or_else(|| {
                let expected = format!("at least {end} bytes of data, for {tensor}");
                Error::content(path, None, expected, self.data.len()).hint(DAMAGED)
            })?;
            tensors.insert(name, Stored { element_type, shape: info.shape, data });
            start = end;
        }
        if start != self.data.len() {
            let expected = format!("{start} bytes of data");
            return Err(Error::content(path, None, expected, self.data.len()).hint(DAMAGED));
        }
        Ok(tensors)
    }
}

/// Makes a safetensors file; equal arguments make equal bytes.
///
/// # Errors
/// The header would be longer than readers accept.
pub(super) fn write(
    metadata: &BTreeMap<String, String>,
    mut tensors: Vec<TensorEntry>,
) -> Result<Vec<u8>> {
    // Floats first, so that a reader that maps the file into memory finds them aligned.
    tensors.sort_by(|a, b| (a.element_type, &a.name).cmp(&(b.element_type, &b.name)));
    let mut entries = Map::new();
    entries.insert(METADATA.to_owned(), json!(metadata));
    let mut start = 0;
    for tensor in &tensors {
        let end = start + tensor.data.len();
        let (dtype, shape) = (tensor.element_type.name(), &tensor.shape);
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        entries.insert(tensor.name.clone(), entry);
        start = end;
    }
    let mut header = Value::Object(entries).to_string();
    while !header.len().is_multiple_of(LENGTH_BYTES) {
        header.push(' ');
    }
    if header.len() > LONGEST_HEADER {
        let expected = format!("names and metadata of at most {LONGEST_HEADER} bytes");
        return Err(Error::value("header of a safetensors file", expected, header.len()));
    }
    let mut file = Vec::with_capacity(LENGTH_BYTES + header.len() + start);
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header.as_bytes());
    for tensor in &tensors {
        file.extend(&tensor.data);
    }
    Ok(file)
}

/// The number of elements of a tensor of this shape, unless it overflows.
pub(super) fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
}

/// A shape in words, for errors.
pub(super) fn shape_text(shape: &[usize]) -> String {
    printable(&format!("shape {shape:?}"))
}

/// Foreign text for an error: short, and without characters that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let mut characters = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut short: String = characters.by_ref().take(LONGEST_QUOTE).collect();
    if characters.next().is_some() {
        short.push_str("...");
    }
    short
}

#[derive(Default)]
struct Entries {
    metadata: BTreeMap<String, String>,
    infos: BTreeMap<String, Info>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Entries, A::Error> {
        let mut metadata = None;
        let mut infos = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let seen = if name == METADATA {
                metadata.replace(map.next_value::<Texts>()?).is_some()
            } else {
                infos.insert(name.clone(), map.next_value()?).is_some()
            };
            if seen {
                return Err(duplicate(&name));
            }
        }
        Ok(Entries { metadata: metadata.unwrap_or_default().0, infos })
    }
}

#[derive(Default)]
struct Texts(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Texts, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((name, text)) = map.next_entry::<String, String>()? {
            if texts.insert(name.clone(), text).is_some() {
                return Err(duplicate(&name));
            }
        }
        Ok(Texts(texts))
    }
}

/// serde's own maps keep the last of two entries, where another reader may keep the first.
fn duplicate<E: serde::de::Error>(name: &str) -> E {
    E::custom(format_args!("two entries {}", printable(name)))
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
