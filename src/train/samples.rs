//! The training samples of a run.

use std::path::Path;

use crate::error::{Error, Result};
use crate::glue::prepare::canonical_file;
use crate::glue::read::open_data;
use crate::glue::sample::Sample;
use crate::glue::task::{Part, Task};
use crate::infer::sets::Data;

/// The training samples that are short enough.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// The samples.
    pub samples: Vec<Sample>,
    /// Where they stand among all.
    pub places: Vec<usize>,
    /// How many more were too long.
    pub dropped: usize,
}

impl TrainingSet {
    /// The training samples of `data` of at most `max_tokens` tokens.
    ///
    /// # Errors
    /// A file is missing or malformed, does not belong to the model, or holds no sample that is
    /// short enough.
    pub fn read(data: &Data, max_tokens: usize) -> Result<Self> {
        let limit = max_tokens.min(data.bert.max_tokens());
        let samples = data.samples(Part::Train)?;
        let all = samples.len();
        let is_short = |(_, sample): &(usize, Sample)| sample.token_id.len() <= limit;
        let (places, samples): (Vec<_>, Vec<_>) =
            samples.into_iter().enumerate().filter(is_short).unzip();
        if samples.is_empty() {
            let name = if limit == max_tokens { "max_seq_len" } else { "max_position_embeddings" };
            return Err(Error::value(
                name,
                format!("training samples of at most {limit} tokens"),
                format!("{all} samples, all of them longer"),
            ));
        }
        Ok(Self { dropped: all - samples.len(), samples, places })
    }
}

/// An upper bound of the number of training samples, from the lines of the raw file or else of the
/// canonical one; `None` where there is none to count.
pub fn raw_training_rows(task: &Task, data_dir: &Path) -> Option<usize> {
    let split = task.splits.iter().find(|s| s.part == Part::Train)?;
    let raw = data_dir.join(task.folder).join(split.file);
    let canonical = canonical_file(task, split.name, data_dir);
    let (path, header) = match raw.exists() {
        true => (raw, usize::from(task.layout(split).header)),
        false => (canonical, 0),
    };
    let mut file = open_data(&path).ok()?;
    let (mut lines, mut last, mut buffer) = (0usize, b'\n', [0u8; 1 << 16]);
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).ok()?;
        let read = buffer.get(..n)?;
        let Some(end) = read.last() else { break };
        lines += read.iter().filter(|byte| **byte == b'\n').count();
        last = *end;
    }
    let rows = lines + usize::from(last != b'\n');
    Some(rows.saturating_sub(header))
}
