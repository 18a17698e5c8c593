//! What the GLUE server takes: a zip of eleven files, each with one prediction per test row.
//!
//! A file is tab-separated: the line `index<TAB>prediction`, then a line per row of the task's test
//! file, whose `index` column runs from 0.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::io::{Cursor, Write as _};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::{Error, Result};
use crate::files::open;
use crate::glue::task::SCORE_RANGE;
use crate::zipped;

const HEADER: &str = "index\tprediction";
/// The prediction of [`constant`] for a score. The middle of the range is nowhere far off; the
/// correlations by which STS-B is judged are undefined for any constant, so none is better.
const CONSTANT_SCORE: &str = "2.500";

/// One task's file in the GLUE server's archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name at the archive's top level, such as `MNLI-m.tsv`.
    pub file: &'static str,
    /// The task whose model predicts it, such as `mnli`.
    pub task: &'static str,
    /// The split that is predicted, such as `matched_test`; `ax` for the diagnostic set, which is
    /// no split of MNLI's own.
    pub split: &'static str,
    /// The number of rows of the official test file, without its header.
    pub rows: usize,
    /// The predictions the server knows; empty for scores.
    pub labels: &'static [&'static str],
}

const fn entry(
    file: &'static str,
    task: &'static str,
    split: &'static str,
    rows: usize,
    labels: &'static [&'static str],
) -> Entry {
    Entry { file, task, split, rows, labels }
}

const BINARY: &[&str] = &["0", "1"];
const ENTAILMENT: &[&str] = &["entailment", "not_entailment"];
const INFERENCE: &[&str] = &["entailment", "neutral", "contradiction"];

/// The eleven files, in the order in which they are stored.
pub const ENTRIES: [Entry; 11] = [
    entry("CoLA.tsv", "cola", "test", 1063, BINARY),
    entry("SST-2.tsv", "sst", "test", 1821, BINARY),
    entry("MRPC.tsv", "mrpc", "test", 1725, BINARY),
    entry("STS-B.tsv", "stsb", "test", 1379, &[]),
    entry("MNLI-m.tsv", "mnli", "matched_test", 9796, INFERENCE),
    entry("MNLI-mm.tsv", "mnli", "mismatched_test", 9847, INFERENCE),
    entry("QNLI.tsv", "qnli", "test", 5463, ENTAILMENT),
    entry("RTE.tsv", "rte", "test", 3000, ENTAILMENT),
    entry("WNLI.tsv", "wnli", "test", 146, BINARY),
    entry("QQP.tsv", "qqp", "test", 390_965, BINARY),
    entry("AX.tsv", "mnli", "ax", 1104, INFERENCE),
];

/// Whether the file `path` is an archive of these eleven files, or empty.
#[must_use]
pub fn is_one(path: &Path) -> bool {
    let Ok(file) = open(path) else { return false };
    if file.metadata().is_ok_and(|about| about.len() == 0) {
        return true;
    }
    zipped::open(file).is_ok_and(|archive| {
        let expected: BTreeSet<&str> = ENTRIES.iter().map(|entry| entry.file).collect();
        archive.file_names().collect::<BTreeSet<_>>() == expected
    })
}

/// A predicted score as the server takes it: inside [`SCORE_RANGE`], with three decimals.
///
/// # Errors
/// The score is not a finite number.
pub fn score(prediction: f32) -> Result<String> {
    if !prediction.is_finite() {
        return Err(Error::value("prediction", "a finite score", prediction)
            .hint("the model diverged: train it again with a lower learning rate"));
    }
    // Adding 0 turns -0 into 0, which is written without a sign.
    Ok(format!("{:.3}", prediction.clamp(*SCORE_RANGE.start(), *SCORE_RANGE.end()) + 0.0))
}

/// A file of `predictions`, each a row's index and what is predicted for it, sorted by index as a
/// number: 10 comes after 9. Identifiers that are no numbers stay in their order.
#[must_use]
pub fn tsv(predictions: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = predictions.iter().collect();
    if predictions.iter().all(|(uid, _)| uid.parse::<u64>().is_ok()) {
        sorted.sort_by_key(|(uid, _)| uid.parse::<u64>().unwrap_or_default());
    }
    lines(sorted.into_iter().map(|(uid, prediction)| (uid, prediction.as_str())))
}

/// A whole file for a task without a model, because the server takes no archive that lacks one: the
/// same prediction for every row, the first label or the score 2.500.
#[must_use]
pub fn constant(entry: &Entry) -> String {
    let prediction = entry.labels.first().copied().unwrap_or(CONSTANT_SCORE);
    lines((0..entry.rows).map(|index| (index, prediction)))
}

/// The zip of the eleven files, by their names, at its top level. Equal files make equal bytes:
/// their order is that of [`ENTRIES`], and their time is the first of 1980.
///
/// # Errors
/// A file is missing, has another name, or does not hold one prediction that the server knows for
/// each row; each of these names its line.
pub fn zip(files: &BTreeMap<&'static str, String>) -> Result<Vec<u8>> {
    if let Some(name) = files.keys().find(|name| ENTRIES.iter().all(|entry| entry.file != **name)) {
        let names: Vec<_> = ENTRIES.iter().map(|entry| entry.file).collect();
        let expected = format!("one of {}", names.join(", "));
        return Err(Error::value("file of a submission", expected, name));
    }
    let mut ordered = Vec::with_capacity(ENTRIES.len());
    for entry in &ENTRIES {
        let text = files.get(entry.file).ok_or_else(|| {
            Error::value("submission", format!("a file {}", entry.file), "none")
                .hint("a constant prediction stands in for a task without a model")
        })?;
        // The server takes few submissions a month: one that it cannot read is one too many.
        parse(Path::new(entry.file), entry, text)?;
        ordered.push((entry.file, text));
    }
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in ordered {
        archive
            .start_file(name, options)
            .map_err(std::io::Error::from)
            .and_then(|()| archive.write_all(text.as_bytes()))
            .map_err(|e| Error::run(format!("{name}: cannot be compressed: {e}")))?;
    }
    let archive = archive
        .finish()
        .map_err(|e| Error::run(format!("the submission cannot be compressed: {e}")))?;
    Ok(archive.into_inner())
}

/// The predictions in the order of their indexes.
fn parse<'a>(path: &Path, entry: &Entry, text: &'a str) -> Result<Vec<&'a str>> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).zip(1..);
    let header = lines.next().map_or("", |(line, _)| line);
    if header != HEADER {
        return Err(Error::content(path, 1, quoted(HEADER), quoted(header)));
    }
    let mut predictions = vec![None; entry.rows];
    let mut rows = 0;
    for (line, number) in lines {
        let wrong = |expected: String, found: String| Error::content(path, number, expected, found);
        if rows == entry.rows {
            return Err(wrong(format!("{rows} rows"), "more".to_owned())
                .hint("were the predictions made for another split?"));
        }
        let (index, prediction) = line
            .split_once('\t')
            .filter(|(_, prediction)| !prediction.contains('\t'))
            .ok_or_else(|| wrong("an index, a tab and a prediction".to_owned(), quoted(line)))?;
        let index =
            parse_index(index, entry.rows).map_err(|(expected, found)| wrong(expected, found))?;
        if !is_known(entry, prediction) {
            return Err(wrong(expected_prediction(entry), quoted(prediction)));
        }
        if predictions.get_mut(index).and_then(|place| place.replace(prediction)).is_some() {
            return Err(wrong("each index once".to_owned(), format!("{index} again")));
        }
        rows += 1;
    }
    if let Some(missing) = predictions.iter().position(Option::is_none) {
        let found = format!("{rows} rows, none with index {missing}");
        return Err(Error::content(path, rows + 1, format!("{} rows", entry.rows), found)
            .hint("were the predictions made for another split?"));
    }
    Ok(predictions.into_iter().flatten().collect())
}

/// A number below `rows`, written in the one way that numbers are; else the error's expectation and
/// finding.
fn parse_index(text: &str, rows: usize) -> Result<usize, (String, String)> {
    text.parse::<usize>()
        .ok()
        .filter(|index| *index < rows && index.to_string() == text)
        .ok_or_else(|| {
            let last = rows.saturating_sub(1);
            (format!("an index from 0 to {last}"), quoted(text))
        })
}

fn is_known(entry: &Entry, prediction: &str) -> bool {
    if entry.labels.is_empty() {
        prediction.parse().is_ok_and(|score: f32| SCORE_RANGE.contains(&score))
    } else {
        entry.labels.contains(&prediction)
    }
}

fn expected_prediction(entry: &Entry) -> String {
    if entry.labels.is_empty() {
        format!("a score from {} to {}", SCORE_RANGE.start(), SCORE_RANGE.end())
    } else {
        format!("a prediction of {}", entry.labels.join(", "))
    }
}

fn lines<'a>(predictions: impl Iterator<Item = (impl Display, &'a str)>) -> String {
    let mut text = format!("{HEADER}\n");
    for (index, prediction) in predictions {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{index}\t{prediction}");
    }
    text
}

/// The start of a foreign text, in quotation marks and with control characters made visible.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
#[path = "submission_tests.rs"]
mod tests;
