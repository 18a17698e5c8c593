//! What other models answer to training samples, from the original program's score files.
//!
//! These hold probabilities of classes; softlabels are compared with logits, and so are the logarithms
//! of their means. Logits that differ by a constant mean the same: the mean of these is 0.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::files::read_text;
use crate::glue::prepare::{Prepared, encoded_file};
use crate::glue::sample::{Sample, read_samples, to_lines};
use crate::glue::task::{Part, Task};

/// The smallest probability that is told from 0.
const LEAST: f64 = 1e-6;
/// How far from 1 the sum of printed probabilities may be.
const ROUNDING: f32 = 1e-2;

/// The part of a score file that tells a model's answers.
#[derive(Deserialize)]
struct ScoreFile {
    uids: Vec<String>,
    /// For each of them a probability for each class, or one value.
    scores: Vec<f32>,
}

/// The logits of the mean probabilities in `files`, or the mean values, by the identifiers of their
/// samples, which are as many as the `rows` of the training set: another set's may be called alike.
fn answers(task: &Task, files: &[PathBuf], rows: usize) -> Result<HashMap<String, Vec<f32>>> {
    let outputs = task.outputs();
    let mut sums: HashMap<String, (Vec<f32>, usize)> = HashMap::new();
    for path in files {
        let file: ScoreFile = serde_json::from_str(&read_text(path)?).map_err(|e| {
            Error::content(path, e.line(), "a score file with uids and scores", e)
                .hint("a run writes them: DATASET_dev_scores_epoch_1.json")
        })?;
        if file.scores.len() != outputs * file.uids.len() {
            let expected = format!("{outputs} scores for each of {} uids", file.uids.len());
            return Err(Error::content(path, None, expected, file.scores.len()));
        }
        let wrong = |found: String| {
            let expected = format!("scores of the {rows} training samples, each once");
            Error::content(path, None, expected, found)
                .hint("have the model answer the training set, with the same rows")
        };
        if file.uids.len() != rows {
            return Err(wrong(format!("those of {}", file.uids.len())));
        }
        let mut seen = HashSet::new();
        if let Some(uid) = file.uids.iter().find(|uid| !seen.insert(uid.as_str())) {
            return Err(wrong(format!("{uid} twice")));
        }
        for (uid, scores) in file.uids.into_iter().zip(file.scores.chunks(outputs.max(1))) {
            if outputs > 1 && !are_probabilities(scores) {
                let expected = format!("probabilities of the {outputs} classes, which add up to 1");
                return Err(Error::content(path, None, expected, format!("{scores:?} for {uid}")));
            }
            let (sum, count) = sums.entry(uid).or_insert_with(|| (vec![0.0; outputs], 0));
            sum.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
            *count += 1;
        }
    }
    let mean = |(sum, count): (Vec<f32>, usize)| {
        let means: Vec<f32> = sum.into_iter().map(|s| s / count as f32).collect();
        if outputs > 1 { logits(&means) } else { means }
    };
    Ok(sums.into_iter().map(|(uid, sums)| (uid, mean(sums))).collect())
}

fn are_probabilities(scores: &[f32]) -> bool {
    let sum: f32 = scores.iter().sum();
    scores.iter().all(|p| (0.0..=1.0).contains(p)) && (sum - 1.0).abs() <= ROUNDING
}

/// The logits of mean 0 whose softmax is `probabilities`.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    let logarithms = probabilities.iter().map(|p| f64::from(*p).max(LEAST).ln());
    let mean = logarithms.clone().sum::<f64>() / probabilities.len() as f64;
    logarithms.map(|logarithm| (logarithm - mean) as f32).collect()
}

/// Writes the encoded samples of `prepared` to the folder `dir`, those of the training sets with the
/// means of the scores in `files` as their softlabel.
///
/// # Errors
/// A file cannot be read or written, or is malformed; a training sample has no score.
pub fn attach(task: &Task, prepared: &[Prepared], files: &[PathBuf], dir: &Path) -> Result<usize> {
    let split_of =
        |set: &Prepared| task.splits.iter().find(|split| task.data_set(split) == set.data_set);
    let is_training = |set: &&Prepared| split_of(set).is_some_and(|s| s.part == Part::Train);
    let rows = prepared.iter().filter(is_training).map(|set| set.rows).sum();
    let answers = answers(task, files, rows)?;
    let mut written = 0;
    for set in prepared {
        let Some(split) = split_of(set) else { continue };
        let mut samples = read_samples(task, split.part != Part::Test, &set.path)?;
        if !set.is_still_there() {
            let expected = "the samples that were prepared";
            return Err(Error::content(&set.path, None, expected, "those of another process")
                .hint("run it again once that is done"));
        }
        if split.part == Part::Train {
            samples.iter_mut().try_for_each(|sample| answer(sample, &answers, files))?;
            written += samples.len();
        }
        let path = encoded_file(task, split, dir);
        crate::files::make_parent(&path)?;
        crate::files::write_whole(&path, &to_lines(&samples)?)?;
    }
    Ok(written)
}

fn answer(
    sample: &mut Sample,
    answers: &HashMap<String, Vec<f32>>,
    files: &[PathBuf],
) -> Result<()> {
    let file = || files.first().cloned().unwrap_or_default();
    let found = answers.get(&sample.uid).ok_or_else(|| {
        let expected = format!("scores of all training samples, {} among them", sample.uid);
        Error::content(file(), None, expected, format!("those of {} others", answers.len()))
            .hint("have the model answer the training set, with the same rows")
    })?;
    sample.softlabel.clone_from(found);
    Ok(())
}
