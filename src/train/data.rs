//! The data of a run: prepares what is missing, reads it, and checks it against the model.

use std::path::Path;

use crate::bert::BertConfig;
use crate::error::{Error, Result};
use crate::glue::prepare::{Options, Prepared, Progress, prepare};
use crate::glue::sample::{Sample, read_samples};
use crate::glue::task::{Part, Task};

/// Evaluation sets by name.
#[derive(Debug, Clone, Default)]
pub struct EvalSets {
    /// As `mnli_matched_dev`.
    pub names: Vec<String>,
    /// The samples of each.
    pub samples: Vec<Vec<Sample>>,
}

/// The training samples that are short enough.
#[derive(Debug, Clone, Default)]
pub struct TrainingSet {
    /// The samples.
    pub samples: Vec<Sample>,
    /// How many more were too long.
    pub dropped: usize,
}

/// Prepares and reads the training set. Samples of more than `max_tokens` tokens are dropped.
pub fn training_set(
    task: &'static Task,
    options: &Options,
    bert: &BertConfig,
    max_tokens: usize,
    on_progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<TrainingSet> {
    let limit = max_tokens.min(bert.max_position_embeddings);
    let mut samples = Vec::new();
    for prepared in prepare_part(task, Part::Train, options, on_progress)? {
        samples.extend(read(task, &prepared, bert)?);
    }
    let all = samples.len();
    samples.retain(|s| s.token_id.len() <= limit);
    if samples.is_empty() {
        let name = if limit == max_tokens { "max_seq_len" } else { "max_position_embeddings" };
        return Err(Error::value(
            name,
            format!("training samples of at most {limit} tokens"),
            format!("{all} samples, all of them longer"),
        ));
    }
    Ok(TrainingSet { dropped: all - samples.len(), samples })
}

/// An upper bound of the number of training samples, from the lines of the raw file; `None` where
/// there is none to count.
pub fn raw_training_rows(task: &Task, data_dir: &Path) -> Option<usize> {
    let split = task.splits.iter().find(|s| s.part == Part::Train)?;
    let mut file = std::fs::File::open(data_dir.join(task.folder).join(split.file)).ok()?;
    let (mut lines, mut last, mut buffer) = (0usize, b'\n', [0u8; 1 << 16]);
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).ok()?;
        let read = buffer.get(..n)?;
        let Some(end) = read.last() else { break };
        lines += read.iter().filter(|byte| **byte == b'\n').count();
        last = *end;
    }
    let rows = lines + usize::from(last != b'\n');
    Some(rows.saturating_sub(usize::from(task.layout(split).header)))
}

/// Prepares and reads the dev sets.
pub fn dev_sets(
    task: &'static Task,
    options: &Options,
    bert: &BertConfig,
    on_progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<EvalSets> {
    let mut sets = EvalSets::default();
    for prepared in prepare_part(task, Part::Dev, options, on_progress)? {
        let samples = read(task, &prepared, bert)?;
        let longest = samples.iter().map(|s| s.token_id.len()).max().unwrap_or(0);
        if longest > bert.max_position_embeddings {
            return Err(Error::content(
                &prepared.path,
                None,
                format!(
                    "samples of at most {} tokens, the model's longest",
                    bert.max_position_embeddings
                ),
                format!("one of {longest}"),
            )
            .hint("start from a model with more positions (max_position_embeddings)"));
        }
        sets.samples.push(samples);
        sets.names.push(prepared.data_set);
    }
    Ok(sets)
}

fn prepare_part(
    task: &'static Task,
    part: Part,
    options: &Options,
    on_progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Prepared>> {
    let names: Vec<&str> = task.splits.iter().filter(|s| s.part == part).map(|s| s.name).collect();
    prepare(task, Some(&names), options, on_progress)
}

fn read(task: &Task, prepared: &Prepared, bert: &BertConfig) -> Result<Vec<Sample>> {
    let samples = read_samples(task, &prepared.path)?;
    if samples.is_empty() {
        return Err(Error::content(&prepared.path, None, "at least one sample", "none"));
    }
    check_ids(&samples, &prepared.path, bert)?;
    Ok(samples)
}

/// A token id beyond the embedding table would read outside of it.
fn check_ids(samples: &[Sample], path: &Path, bert: &BertConfig) -> Result<()> {
    for (line, sample) in (1..).zip(samples) {
        if let Some(id) = sample.token_id.iter().find(|id| **id as usize >= bert.vocab_size) {
            return Err(Error::content(
                path,
                line,
                format!("token ids below the model's vocab_size {}", bert.vocab_size),
                id,
            )
            .hint("the tokenizer must belong to the checkpoint"));
        }
        if let Some(id) = sample.type_id.iter().find(|id| usize::from(**id) >= bert.type_vocab_size)
        {
            return Err(Error::content(
                path,
                line,
                format!("token types below the model's type_vocab_size {}", bert.type_vocab_size),
                id,
            ));
        }
    }
    Ok(())
}
