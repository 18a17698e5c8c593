//! A matrix of a pruned model as the places and values of what remains.

use super::sparse::Form;
use super::weights::StoredTensor;

/// The elements of a matrix that are not zero. It takes eight bytes for each.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactTensor {
    /// The tensor's shape.
    pub shape: Vec<usize>,
    /// Rising, counted row by row.
    places: Vec<u32>,
    values: Vec<f32>,
}

impl CompactTensor {
    /// The matrix that `form` holds; `None` for another tensor, and where all elements would take
    /// less memory.
    pub fn of(form: &Form<'_>) -> Option<Self> {
        let is_sparse = !form.is_dense() && 2 * form.stored_count() < form.elements();
        let is_matrix = form.shape().len() == 2 && u32::try_from(form.elements()).is_ok();
        (is_sparse && is_matrix).then(|| {
            let (mut places, mut values) = (Vec::new(), Vec::new());
            places.reserve_exact(form.stored_count());
            values.reserve_exact(form.stored_count());
            for (place, value) in form.stored() {
                places.push(place as u32);
                values.push(value);
            }
            Self { shape: form.shape().to_vec(), places, values }
        })
    }

    /// Number of elements, stored or not.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The stored elements and their places, in order.
    pub fn stored(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.places.iter().map(|place| *place as usize).zip(self.values.iter().copied())
    }

    /// The tensor with every element.
    pub fn expand(&self) -> StoredTensor {
        StoredTensor::scattered(self.shape.clone(), self.elements(), self.stored())
    }
}
