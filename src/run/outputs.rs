//! What a run leaves beside its journal, under the original program's names: TensorBoard events,
//! the predictions of each evaluation, and files for the GLUE server.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::folder::RunFolder;
use super::point::{GAUGES, Point};
use crate::bert::names;
use crate::error::{Error, Result};
use crate::files::{check_own, is_file_name, write_json, write_whole};
use crate::glue::task::{Kind, Part};
use crate::infer::predictions::Predictions;
use crate::infer::scores::{SetScores, answers};
use crate::infer::sets::SetInfo;
use crate::metrics::scores::softmax;
use crate::pruning::Scope;
use crate::submission;
use crate::tensorboard::EventWriter;

/// Writes these files into a run folder.
pub struct Outputs {
    folder: RunFolder,
    events: Option<EventWriter>,
    /// The matrix that each parameter of the scope belongs to, and its size.
    matrices: Vec<(String, usize)>,
    submissions: bool,
}

/// When an evaluation took place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// The last update before it, from 1.
    pub step: usize,
    /// The epoch, from 1, that ended with that update.
    pub ended_epoch: Option<usize>,
}

impl Outputs {
    /// Writes to `folder`; events, where they are wanted, to its folder `events`, where
    /// `resumed` names the file to go on with and its length. Where that cannot be gone on with a
    /// new one begins, and the reason comes with the outputs: TensorBoard reads all of a folder.
    ///
    /// # Errors
    /// The folder for the events cannot be written to.
    pub fn new(
        folder: &RunFolder,
        events: Option<&str>,
        submissions: bool,
        scope: &Scope,
        resumed: Option<&(String, u64)>,
    ) -> Result<(Self, Option<Error>)> {
        let matrix = |name: &str| match names::layer_and_matrix(name) {
            Some((layer, matrix)) => format!("layer_{layer}/{matrix}"),
            None => name.to_string(),
        };
        let matrices = scope.members().iter().map(|m| (matrix(&m.name), m.size)).collect();
        let resumed = resumed.filter(|(name, _)| is_file_name(name));
        let (mut writer, mut lost) = (None, None);
        if let Some(events) = events.map(|events| folder.named(events)) {
            check_own(&events)?;
            if let Some((name, bytes)) = resumed {
                match EventWriter::resume(&events.join(name), *bytes) {
                    Ok(resumed) => writer = Some(resumed),
                    Err(error) => lost = Some(error),
                }
            }
            if writer.is_none() {
                writer = Some(EventWriter::create(&events)?);
            }
        }
        let outputs = Self { folder: folder.clone(), events: writer, matrices, submissions };
        Ok((outputs, lost))
    }

    /// Makes sure that the events so far outlive a power cut.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        self.events.as_mut().map_or(Ok(()), EventWriter::sync)
    }

    /// The event file's name and length in bytes, if there is one.
    pub fn events_position(&self) -> Option<(String, u64)> {
        let path = self.events.as_ref()?.path();
        let name = path.file_name()?.to_str()?.to_string();
        Some((name, std::fs::metadata(path).ok()?.len()))
    }

    /// Writes the events of an update that is logged; `loss` is the mean since the last one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn trained(&mut self, point: &Point, loss: f64) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        let step = point.step as u64;
        events.scalar("train/loss", step, loss as f32)?;
        for gauge in GAUGES {
            let value = (gauge.read)(point);
            if let Some(tag) = gauge.tag.filter(|_| value.is_finite()) {
                events.scalar(tag, step, value as f32)?;
            }
        }
        if let Some(remaining) = &point.remaining {
            let mut matrices: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
            for ((matrix, size), remaining) in self.matrices.iter().zip(remaining.iter()) {
                let (of, kept) = matrices.entry(matrix).or_default();
                *of += size;
                *kept += remaining;
            }
            for (matrix, (of, kept)) in matrices {
                let ratio = kept as f64 / of.max(1) as f64;
                events.scalar(&format!("Remaining/{matrix}"), step, ratio as f32)?;
            }
        }
        events.flush()
    }

    /// Writes the events of an evaluation, its predictions, and the files for the GLUE server.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn evaluated(&mut self, moment: Moment, sets: &[(SetInfo, Predictions)]) -> Result<()> {
        // A run folder that has vanished is not made anew: it would look like a run.
        let gone = |e| {
            Error::io(self.folder.path(), "write", e).hint("it was moved or removed during the run")
        };
        std::fs::metadata(self.folder.path()).map_err(gone)?;
        // The original evaluates once for the update and again for the epoch. Both have events;
        // the files would be the same.
        let step = moment.step;
        let moments = [Some((step, "")), moment.ended_epoch.map(|epoch| (epoch, "(epoch)"))];
        let (unit, n) = moment.ended_epoch.map_or(("updates", step), |epoch| ("epoch", epoch));
        for (about, predictions) in sets {
            let scores = about.labelled.then(|| SetScores::of(about, predictions));
            let part = if about.part == Part::Test { "Test" } else { "Dev" };
            for (n, suffix) in moments.into_iter().flatten() {
                if let (Some(events), Some(scores)) = (&mut self.events, &scores) {
                    for (tag, value) in &scores.scores {
                        let tag = format!("{part}/{}/{tag}{suffix}", about.data_set);
                        events.scalar(&tag, n as u64, *value as f32)?;
                    }
                }
            }
            let (data_set, part) = (&about.data_set, &part.to_lowercase());
            let content = score_file(about, predictions, scores.as_ref());
            write_json(&self.folder.scores(data_set, part, unit, n), &content)?;
            if self.submissions {
                let rows = answers(about, predictions)?;
                let text = submission::tsv(&rows);
                write_whole(&self.folder.submission(data_set, part), text.as_bytes())?;
            }
        }
        match &mut self.events {
            Some(events) => events.flush(),
            None => Ok(()),
        }
    }
}

/// Removes the event files in `folder`, if it is there.
///
/// # Errors
/// One cannot be removed, or the folder is a link.
pub fn remove_events(folder: &Path) -> Result<()> {
    check_own(folder)?;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("events.out.tfevents.") {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| Error::io(&path, "remove", e))?;
        }
    }
    Ok(())
}

/// The original's score file: `scores` are the classes' probabilities, sample by sample, or the
/// predicted values.
fn score_file(about: &SetInfo, predictions: &Predictions, scores: Option<&SetScores>) -> Value {
    let task = about.task;
    let classes = matches!(task.kind, Kind::Classification { .. });
    let predicted: Vec<Value> = if classes {
        predictions.predicted.iter().map(|class| (*class as usize).into()).collect()
    } else {
        predictions.predicted.iter().map(|value| (*value).into()).collect()
    };
    let scores_of_samples = if classes {
        softmax(&predictions.logits, task.outputs())
    } else {
        predictions.logits.clone()
    };
    json!({
        "metrics": scores.map(SetScores::to_json).unwrap_or_default(),
        "predictions": predicted,
        "uids": *about.uids,
        "scores": scores_of_samples,
    })
}
