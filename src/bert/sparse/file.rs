//! Reads a sparse file without expanding it.

use std::collections::BTreeMap;
use std::path::Path;

use super::form::{Form, Parts};
use super::{
    DTYPE_ENTRY, Dtype, FORMAT, FORMAT_ENTRY, GAPS, HIGH, LOW, SHAPE_PREFIX, VERSION,
    VERSION_ENTRY, check_total, is_own_entry,
};
use crate::bert::container::{DAMAGED, Header, printable};
use crate::error::{Error, Result};

/// The version without a type, run lengths and numbers in two parts.
const FIRST_VERSION: &str = "1";

/// What a sparse file holds, checked and not expanded.
pub struct SparseFile<'a> {
    /// The type of all its weights.
    pub dtype: Dtype,
    /// The tensors by their names.
    pub tensors: BTreeMap<String, Form<'a>>,
    /// The texts that were stored beside them.
    pub texts: BTreeMap<String, String>,
}

impl<'a> SparseFile<'a> {
    /// Reads and checks all of `bytes`, which may come from anyone: every size is checked before
    /// memory is taken for it, and that memory is less than the length of `bytes`. `path` is for
    /// errors only.
    ///
    /// # Errors
    /// The bytes are no sparse file of version 1 or 2, or are one that breaks a rule of the format.
    pub fn parse(path: &Path, bytes: &'a [u8]) -> Result<Self> {
        let mut header = Header::parse(path, bytes)?;
        let dtype = check_version(path, &header.metadata)?;
        let mut texts = std::mem::take(&mut header.metadata);
        let is_first = texts.get(VERSION_ENTRY).is_some_and(|version| version == FIRST_VERSION);
        let shapes: Vec<(String, String)> = texts
            .iter()
            .filter_map(|(name, text)| {
                Some((name.strip_prefix(SHAPE_PREFIX)?.into(), text.clone()))
            })
            .collect();
        texts.retain(|name, _| !is_own_entry(name));
        let stored = header.tensors(path)?;
        let is_later = |name: &&String| [GAPS, HIGH, LOW].iter().any(|part| name.ends_with(part));
        if let Some(name) = stored.keys().find(is_later).filter(|_| is_first) {
            let expected = format!("a file of version {VERSION} that holds {}", printable(name));
            return Err(Error::content(path, None, expected, "version 1").hint(DAMAGED));
        }
        let mut parts = Parts { path, dtype, stored };
        let mut tensors = BTreeMap::new();
        for (name, shape) in shapes {
            let form = parts.with_shape(&name, &shape)?;
            tensors.insert(name, form);
        }
        tensors.extend(parts.rest()?);
        check_total(tensors.values().map(Form::elements)).map_err(|(expected, found)| {
            Error::content(path, None, expected, found).hint(DAMAGED)
        })?;
        Ok(Self { dtype, tensors, texts })
    }
}

/// The type of the file's numbers.
fn check_version(path: &Path, metadata: &BTreeMap<String, String>) -> Result<Dtype> {
    let entry = |name| metadata.get(name).map(String::as_str);
    let found =
        |name| entry(name).map_or("none".to_owned(), |text| format!("{:?}", printable(text)));
    if entry(FORMAT_ENTRY) != Some(FORMAT) {
        let expected = format!("a metadata entry format of {FORMAT:?}");
        return Err(Error::content(path, None, expected, found(FORMAT_ENTRY))
            .hint("this is no sparse file; load it as an ordinary model"));
    }
    match entry(VERSION_ENTRY) {
        Some(FIRST_VERSION) => Ok(Dtype::F32),
        Some(VERSION) => {
            let is_named = |dtype: &Dtype| entry(DTYPE_ENTRY) == Some(dtype.name());
            Dtype::ALL.into_iter().find(is_named).ok_or_else(|| {
                let expected = "a metadata entry dtype of F32, F16 or BF16";
                Error::content(path, None, expected, found(DTYPE_ENTRY)).hint(DAMAGED)
            })
        }
        _ => {
            let expected =
                format!("a metadata entry platon_format of {FIRST_VERSION:?} or {VERSION:?}");
            Err(Error::content(path, None, expected, found(VERSION_ENTRY))
                .hint("another version of platon wrote the file: read it with that one"))
        }
    }
}
