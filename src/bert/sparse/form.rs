//! A tensor of a sparse file, of which every size has been checked.

use std::collections::BTreeMap;
use std::path::Path;

use super::index::{Index, Wrong};
use super::values::Values;
use super::{BITMAP, Dtype, GAPS, HIGH, LOW, VALUES, is_own_tensor, parse_shape};
use crate::bert::container::{DAMAGED, ElementType, Stored, printable, shape_text};
use crate::bert::weights::StoredTensor;
use crate::error::{Error, Result};

/// A tensor as the file holds it: all elements, or those that are not zero and their places.
/// Everything has been checked, so that reading it cannot fail; it takes no more memory than the
/// file until it is [expanded](Self::expand).
pub struct Form<'a> {
    shape: Vec<usize>,
    elements: usize,
    index: Index<'a>,
    values: Values<'a>,
}

impl<'a> Form<'a> {
    /// The sizes of the tensor, the last of which runs fastest.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements the tensor has, stored or not.
    pub const fn elements(&self) -> usize {
        self.elements
    }

    /// How many elements are stored.
    pub const fn stored_count(&self) -> usize {
        self.values.len()
    }

    /// Whether every element is stored.
    pub const fn is_dense(&self) -> bool {
        matches!(self.index, Index::All)
    }

    /// Each stored element, widened to f32, and its place, from 0: row by row, in ascending order.
    /// All others are +0.0.
    pub fn stored(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.index.places(self.stored_count()).zip(self.values.iter())
    }

    /// The tensor with every element.
    pub fn expand(self) -> StoredTensor {
        if self.is_dense() {
            return StoredTensor { values: self.values.iter().collect(), shape: self.shape };
        }
        StoredTensor::scattered(self.shape.clone(), self.elements, self.stored())
    }
}

/// Takes the tensors of one file out of `stored`.
pub(super) struct Parts<'p, 'a> {
    pub path: &'p Path,
    pub dtype: Dtype,
    pub stored: BTreeMap<String, Stored<'a>>,
}

impl<'a> Parts<'_, 'a> {
    /// Takes the parts of `name`, whose shape stands in the metadata.
    pub(super) fn with_shape(&mut self, name: &str, shape: &str) -> Result<Form<'a>> {
        let tensor = printable(name);
        if is_own_tensor(name) {
            let expected = "a shape of a tensor with a name that the format does not keep";
            return Err(self.wrong(expected, tensor));
        }
        if self.stored.contains_key(name) {
            return Err(self.wrong(format!("tensor {tensor} dense or sparse"), "both"));
        }
        let Some((shape, elements)) = parse_shape(shape) else {
            let expected = format!("a shape of {tensor} such as 384,1536");
            return Err(self.wrong(expected, format!("{:?}", printable(shape))));
        };
        let (values, value_bytes) = self.values(name)?;
        let (ending, index, index_bytes) = self.index(name)?;
        index.check(elements, values.len(), value_bytes + index_bytes).map_err(
            |Wrong { expected, found }| self.wrong(format!("{tensor}{ending} {expected}"), found),
        )?;
        Ok(Form { shape, elements, index, values })
    }

    /// A tensor with its own name and shape.
    fn dense(&self, name: &str, stored: &Stored<'a>) -> Result<Form<'a>> {
        let tensor = printable(name);
        if is_own_tensor(name) {
            let expected = format!("a metadata entry shape.* that {tensor} belongs to");
            return Err(self.wrong(expected, "none"));
        }
        if stored.element_type != self.dtype.element_type() {
            let expected = format!("tensor {tensor} of type {}", self.dtype.name());
            let found = stored.element_type.name();
            return Err(self
                .wrong(expected, found)
                .hint("a sparse file holds weights of one type; export the model again"));
        }
        let (shape, values) = (stored.shape.clone(), Values::plain(self.dtype, stored.data));
        Ok(Form { shape, elements: values.len(), index: Index::All, values })
    }

    /// The tensors that are left, each with its own name and shape.
    pub(super) fn rest(self) -> Result<Vec<(String, Form<'a>)>> {
        let form = |(name, stored): (&String, _)| Ok((name.clone(), self.dense(name, stored)?));
        self.stored.iter().map(form).collect()
    }

    /// The stored elements, and the bytes that they take.
    fn values(&mut self, name: &str) -> Result<(Values<'a>, usize)> {
        if !self.has(name, HIGH) {
            let data = self.take(name, VALUES, self.dtype.element_type(), None)?;
            return Ok((Values::plain(self.dtype, data), data.len()));
        }
        let high = self.take(name, HIGH, ElementType::U8, None)?;
        let low = self.take(name, LOW, ElementType::U8, Some(self.dtype.width() - 1))?;
        let values = Values::split(self.dtype, high, low).ok_or_else(|| {
            let count = low.len() / (self.dtype.width() - 1);
            let expected = format!("{}{HIGH} with a zlib stream of {count} bytes", printable(name));
            self.wrong(expected, "another")
        })?;
        Ok((values, high.len() + low.len()))
    }

    /// The index, its ending, and the bytes that it takes. Where there is none, the values are all
    /// elements.
    fn index(&mut self, name: &str) -> Result<(&'static str, Index<'a>, usize)> {
        for (ending, index) in [(BITMAP, Index::Bitmap as fn(&'a [u8]) -> _), (GAPS, Index::Gaps)] {
            if self.has(name, ending) {
                let data = self.take(name, ending, ElementType::U8, None)?;
                return Ok((ending, index(data), data.len()));
            }
        }
        Ok((VALUES, Index::All, 0))
    }

    fn has(&self, name: &str, ending: &str) -> bool {
        self.stored.contains_key(&format!("{name}{ending}"))
    }

    /// The bytes of a part of one dimension, or of two, of which the second is `columns`.
    fn take(
        &mut self,
        name: &str,
        ending: &str,
        element_type: ElementType,
        columns: Option<usize>,
    ) -> Result<&'a [u8]> {
        let found = match self.stored.remove(&format!("{name}{ending}")) {
            Some(Stored { element_type: found, shape, data })
                if found == element_type && shape.get(1..) == Some(columns.as_slice()) =>
            {
                return Ok(data);
            }
            Some(other) => format!("{} of {}", other.element_type.name(), shape_text(&other.shape)),
            None => "none of that name".to_owned(),
        };
        let dimensions = match columns {
            None => "one dimension".to_owned(),
            Some(columns) => format!("two dimensions, the second {columns}"),
        };
        let part = format!("{}{ending}", printable(name));
        Err(self.wrong(format!("{part} of type {} and {dimensions}", element_type.name()), found))
    }

    fn wrong(&self, expected: impl ToString, found: impl ToString) -> Error {
        Error::content(self.path, None, expected.to_string(), found.to_string()).hint(DAMAGED)
    }
}
