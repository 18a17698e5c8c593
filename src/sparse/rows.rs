//! Sparse matrices, row by row.

/// A matrix of `[outputs, inputs]` of which only the elements other than zero are kept.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    width: usize,
    /// Where each row begins among the elements, and where the last one ends.
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// The matrix of `width` columns and of the elements `stored`: their places, counted row by row
    /// and rising, and their values. Zeros among them are left out.
    ///
    /// # Panics
    /// The places do not rise, or lie outside the matrix.
    pub fn new([rows, width]: [usize; 2], stored: impl IntoIterator<Item = (usize, f32)>) -> Self {
        let mut matrix = Self { width, starts: vec![0], columns: Vec::new(), values: Vec::new() };
        let mut free = 0;
        for (place, value) in stored.into_iter().filter(|(_, value)| *value != 0.0) {
            // Products rely on it: they load what stands at these columns unchecked.
            assert!(free <= place && place < rows * width, "places that rise, within the matrix");
            free = place + 1;
            let row = place / width.max(1);
            while matrix.starts.len() <= row {
                matrix.starts.push(matrix.values.len());
            }
            matrix.columns.push((place % width.max(1)) as u32);
            matrix.values.push(value);
        }
        matrix.starts.resize(rows + 1, matrix.values.len());
        matrix
    }

    /// The matrix of these `values`, row by row.
    pub fn dense(shape: [usize; 2], values: &[f32]) -> Self {
        Self::new(shape, values.iter().copied().enumerate())
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of elements that are not zero.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// Share of the elements that are not zero; 0 of an empty matrix.
    pub fn density(&self) -> f64 {
        self.stored() as f64 / (self.height() * self.width).max(1) as f64
    }

    /// The elements of row `n`: their columns, rising, and their values.
    pub fn row(&self, n: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[n]..self.starts[n + 1];
        let columns = self.columns[range.clone()].iter().map(|column| *column as usize);
        columns.zip(self.values[range].iter().copied())
    }

    /// The elements of row `n` in some columns: their columns and values.
    pub fn part(&self, n: usize, columns: std::ops::Range<usize>) -> (&[u32], &[f32]) {
        let row = self.starts[n]..self.starts[n + 1];
        let own = &self.columns[row.clone()];
        let first = own.partition_point(|column| (*column as usize) < columns.start);
        let last = own.partition_point(|column| (*column as usize) < columns.end);
        (&own[first..last], &self.values[row][first..last])
    }

    /// All elements: their rows, columns and values.
    pub fn elements(&self) -> impl Iterator<Item = (usize, usize, f32)> + '_ {
        (0..self.height()).flat_map(|n| self.row(n).map(move |(column, v)| (n, column, v)))
    }

    /// Which rows have an element.
    pub fn used_rows(&self) -> Vec<bool> {
        self.starts.windows(2).map(|pair| pair[0] < pair[1]).collect()
    }

    /// Which columns have an element.
    pub fn used_columns(&self) -> Vec<bool> {
        let mut used = vec![false; self.width];
        for column in &self.columns {
            used[*column as usize] = true;
        }
        used
    }

    /// The rows, in this order.
    #[must_use]
    pub fn select_rows(&self, rows: &[usize]) -> Self {
        let mut picked = Self { width: self.width, starts: vec![0], ..Self::default() };
        for row in rows {
            let range = self.starts[*row]..self.starts[*row + 1];
            picked.columns.extend(&self.columns[range.clone()]);
            picked.values.extend(&self.values[range]);
            picked.starts.push(picked.values.len());
        }
        picked
    }

    /// The columns, which rise.
    #[must_use]
    pub fn select_columns(&self, columns: &[usize]) -> Self {
        let mut place = vec![None; self.width];
        for (n, column) in columns.iter().enumerate() {
            place[*column] = Some(n);
        }
        let width = columns.len();
        let stored = self.elements();
        let kept = stored.filter_map(|(row, column, v)| Some((row * width + place[column]?, v)));
        Self::new([self.height(), width], kept)
    }

    /// All elements, row by row.
    pub fn to_dense(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.height() * self.width];
        for (row, column, value) in self.elements() {
            values[row * self.width + column] = value;
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_keeps_its_elements_rows_and_columns() {
        let values = [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0, -0.0];
        let matrix = Rows::dense([3, 3], &values);
        assert_eq!((matrix.height(), matrix.width(), matrix.stored()), (3, 3, 3));
        assert_eq!(matrix.row(0).collect::<Vec<_>>(), [(1, 1.0), (2, 2.0)]);
        assert_eq!(matrix.part(0, 1..2), ([1].as_slice(), [1.0].as_slice()));
        assert_eq!(matrix.part(1, 0..3).0.len(), 0);
        assert_eq!(matrix.used_rows(), [true, false, true]);
        assert_eq!(matrix.used_columns(), [true, true, true]);
        assert_eq!(matrix.to_dense(), values);
        assert_eq!(matrix.select_rows(&[2, 0]).to_dense(), [3.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
        assert_eq!(matrix.select_columns(&[0, 2]).to_dense(), [0.0, 2.0, 0.0, 0.0, 3.0, 0.0]);
        assert_eq!(matrix.select_columns(&[1]).used_rows(), [true, false, false]);
        let empty = Rows::new([4, 0], []);
        assert_eq!((empty.height(), empty.density(), empty.stored()), (4, 0.0, 0));
        assert_eq!(Rows::new([0, 4], []).height(), 0);
        assert_eq!(Rows::dense([2, 1], &[1.0, 0.0]).used_rows(), [true, false]);
    }

    #[test]
    fn places_that_do_not_rise_or_lie_outside_are_no_matrix() {
        for stored in [[(4, 1.0), (3, 1.0)], [(4, 1.0), (4, 1.0)], [(4, 1.0), (6, 1.0)]] {
            assert!(std::panic::catch_unwind(|| Rows::new([2, 3], stored)).is_err(), "{stored:?}");
        }
        assert_eq!(Rows::new([2, 3], [(4, 1.0), (5, 1.0)]).stored(), 2);
    }
}
