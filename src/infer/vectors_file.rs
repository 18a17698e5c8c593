//! Vectors in a safetensors file, however many.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{Error, Result};
use crate::files::WaitingFile;

/// The name of the tensor.
pub const TENSOR: &str = "vectors";

/// A safetensors file with the tensor `vectors`, `[rows, width]`, that is to appear whole or not at
/// all. Its first bytes tell the number of rows, for which the values wait.
pub struct VectorsFile {
    width: usize,
    metadata: HashMap<String, String>,
    values: WaitingFile,
    count: usize,
}

impl VectorsFile {
    /// No vectors yet, of `width` numbers each. Missing parent folders are made.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn new(path: &Path, width: usize, metadata: HashMap<String, String>) -> Result<Self> {
        Ok(Self { width, metadata, values: WaitingFile::new(path)?, count: 0 })
    }

    /// Where it is to appear.
    pub fn path(&self) -> &Path {
        self.values.path()
    }

    /// Adds the numbers of further rows.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, values: &[f32]) -> Result<()> {
        self.count += values.len();
        values.iter().try_for_each(|value| self.values.add(&value.to_le_bytes()))
    }

    /// Writes the file itself; the number of its rows.
    ///
    /// # Errors
    /// The values do not fill whole rows, or as [`WaitingFile::finish`].
    pub fn finish(self) -> Result<usize> {
        let rows = self.count / self.width.max(1);
        let header = header(rows, self.width, self.count, self.metadata.clone()).map_err(|e| {
            let place = self.path().display();
            Error::run(format!("{place}: the vectors cannot be stored: {e}"))
        })?;
        self.values.finish(&header)?;
        Ok(rows)
    }
}

/// What stands before the `count` values of `rows` rows.
fn header(
    rows: usize,
    width: usize,
    count: usize,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let data_offsets = (0, count * size_of::<f32>());
    let info = TensorInfo { dtype: Dtype::F32, shape: vec![rows, width], data_offsets };
    let header = Metadata::new(Some(metadata), vec![(TENSOR.to_owned(), info)])?;
    let mut text = serde_json::to_vec(&header)?;
    // The values begin at a multiple of 8.
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok([(text.len() as u64).to_le_bytes().to_vec(), text].concat())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn about() -> HashMap<String, String> {
        HashMap::from([("pooling".to_string(), "mean".to_string())])
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn values_added_in_parts_make_the_file_that_the_library_makes_of_all() {
        let dir = tempfile::tempdir().unwrap();
        for (rows, width) in [(0, 3), (1, 3), (7, 1), (1000, 64)] {
            let values: Vec<f32> = (0..rows * width).map(|n| n as f32 * -0.37).collect();
            for metadata in [about(), HashMap::new()] {
                let path = dir.path().join(format!("{rows}-{width}-{}/a.st", metadata.len()));
                let mut file = VectorsFile::new(&path, width, metadata.clone()).unwrap();
                for part in values.chunks(3 * width) {
                    file.add(part).unwrap();
                }
                assert_eq!(names(path.parent().unwrap()), [""; 0]);
                assert_eq!(file.finish().unwrap(), rows);
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                let view = TensorView::new(Dtype::F32, vec![rows, width], &bytes).unwrap();
                let expected = safetensors::serialize([("vectors", view)], Some(metadata)).unwrap();
                assert!(std::fs::read(&path).unwrap() == expected, "{}", path.display());
            }
        }
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vectors.st");
        let mut file = VectorsFile::new(&path, 2, about()).unwrap();
        file.add(&[1.0; 100_000]).unwrap();
        drop(file);
        let mut file = VectorsFile::new(&path, 2, about()).unwrap();
        file.add(&[1.0; 3]).unwrap();
        let text = file.finish().unwrap_err().to_string();
        assert!(text.contains("vectors.st: the vectors cannot be stored"), "{text}");
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_folder_that_takes_no_files_is_named_before_anything_is_computed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let wrong = VectorsFile::new(&dir.path().join("file/vectors.st"), 2, about());
        let text = wrong.err().unwrap().to_string();
        assert!(text.contains("file: cannot create: "), "{text}");
    }
}
