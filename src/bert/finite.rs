//! Weights that are no finite numbers: they would make every answer one of them.

use std::path::Path;

use crate::error::{Error, Result};

/// Values that are looked through without a branch, so that the compiler makes vector code of it.
const BLOCK: usize = 4096;

/// The same of the `stored` elements of a tensor, and their places.
///
/// # Errors
/// As [`check`].
pub(super) fn check_stored(
    file: &Path,
    name: &str,
    shape: &[usize],
    mut stored: impl Iterator<Item = (usize, f32)>,
) -> Result<()> {
    let first = stored.find(|(_, value)| !value.is_finite());
    first.map_or(Ok(()), |(place, value)| Err(not_finite(file, name, shape, place, value)))
}

/// Demands finite values of the tensor `name` of `file`.
///
/// # Errors
/// One is NaN or infinite; it names the first one's place, counted from 0 in each dimension.
pub(super) fn check(file: &Path, name: &str, shape: &[usize], values: &[f32]) -> Result<()> {
    match first_not_finite(values) {
        None => Ok(()),
        Some((place, value)) => Err(not_finite(file, name, shape, place, value)),
    }
}

fn not_finite(file: &Path, name: &str, shape: &[usize], place: usize, value: f32) -> Error {
    let expected = format!("finite f32 numbers in tensor {name}");
    let found = format!("{value} at {:?}", coordinates(place, shape));
    Error::content(file, None, expected, found)
        .hint("the model diverged, or the file is damaged: take an earlier or a new copy of it")
}

/// The first of `values` that is not finite, with its place.
fn first_not_finite(values: &[f32]) -> Option<(usize, f32)> {
    let bad = |block: &[f32]| block.iter().fold(false, |bad, value| bad | !value.is_finite());
    let block = BLOCK * values.chunks(BLOCK).position(bad)?;
    let mut places = values.iter().copied().enumerate().skip(block);
    places.find(|(_, value)| !value.is_finite())
}

/// Where the element `place`, counted row by row, of a tensor of this shape stands.
fn coordinates(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut reversed: Vec<usize> = Vec::with_capacity(shape.len());
    for size in shape.iter().rev() {
        reversed.push(place % (*size).max(1));
        place /= (*size).max(1);
    }
    reversed.reverse();
    reversed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_not_finite_is_found_in_whatever_block() {
        let mut values = vec![f32::MAX; 3 * BLOCK + 7];
        assert_eq!(first_not_finite(&values), None);
        for place in [3 * BLOCK + 6, 3 * BLOCK, 2 * BLOCK - 1, BLOCK, 1, 0] {
            values[place] = f32::NEG_INFINITY;
            assert_eq!(first_not_finite(&values), Some((place, f32::NEG_INFINITY)));
        }
        assert_eq!(first_not_finite(&[]), None);
    }

    #[test]
    fn the_error_names_file_tensor_and_place() {
        // Element 17 of a 2 x 3 x 4 tensor: 17 = 1 * 12 + 1 * 4 + 1.
        let mut values = vec![0.0; 24];
        values[17] = f32::NAN;
        let error = check(Path::new("a.pt"), "x", &[2, 3, 4], &values).unwrap_err().to_string();
        let expected =
            "a.pt: expected finite f32 numbers in tensor x, found NaN at [1, 1, 1] (hint: ";
        assert!(error.starts_with(expected), "{error}");
        values[17] = 1.0;
        assert!(check(Path::new("a.pt"), "x", &[2, 3, 4], &values).is_ok());
    }
}
