//! The journal's state and its entries.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::folder::RunFolder;
use super::outputs::{Moment, Outputs};
use super::pace::Pace;
use super::point::{self, Gauges, Point};
use super::record::{Best, RunRecord, UNDEFINED};
use crate::error::{Error, Result};
use crate::files::open_own;
use crate::glue::task::Part;
use crate::glue::updates::Updates;
use crate::infer::predictions::{Collected, Predictions};
use crate::infer::scores::{SetScores, not_finite};
use crate::infer::sets::SetInfo;

/// Where lines for the user go.
pub type Lines = Box<dyn Fn(&str) + Send + Sync>;

/// What the journal has seen.
pub(super) struct State {
    pub files: Files,
    pub updates: Arc<Updates>,
    pub log_every: usize,
    pub sets: Vec<SetInfo>,
    /// The predictions of the evaluation that is under way.
    pub collected: Collected,
    pub started: Instant,
    /// Sum and number of the losses since the last logged update.
    pub losses: (f64, usize),
    /// Seconds up to the last update: of all work, and of the pruning.
    pub latest: [f64; 2],
    /// The last logged update, and the seconds up to it.
    pub logged: (usize, [f64; 2]),
    pub gauges: Gauges,
    pub step: usize,
    pub scores: Vec<SetScores>,
    pub evaluated_at: usize,
    pub best: Option<Best>,
    pub reaches_final_ratio: Box<dyn Fn(usize) -> bool + Send>,
    pub seconds_before: f64,
    pub pace: Pace,
    /// Whether no more updates and predictions will come.
    pub abandoned: bool,
}

/// The files of the journal, and the first error in writing them.
pub(super) struct Files {
    log: (PathBuf, File),
    points: (PathBuf, File),
    lines: Option<Lines>,
    outputs: Outputs,
    stop: Box<dyn Fn() + Send>,
    pub error: Option<Error>,
}

impl Files {
    /// Opens log and points, the latter cut back to where the run goes on, and says what of them is
    /// lost.
    pub fn open(
        folder: &RunFolder,
        log_file: &str,
        record: &RunRecord,
        lines: Option<Lines>,
        outputs: Outputs,
        stop: Box<dyn Fn() + Send>,
    ) -> Result<(Self, Vec<String>)> {
        let mut lost = Vec::new();
        let log = folder.named(log_file);
        if record.update > 0 && !log.exists() {
            lost.push(format!("{}: gone; a new one begins", log.display()));
        }
        let (log, points) = (open(&log)?, open(&folder.points())?);
        let kept = whole_lines(&points.1, record.metrics_bytes)
            .and_then(|kept| points.1.set_len(kept).map(|()| kept));
        let kept = kept.map_err(|e| Error::io(&points.0, "write", e))?;
        if kept < record.metrics_bytes {
            lost.push(format!(
                "{}: expected {} bytes up to update {}, found {kept}: what is missing stays so",
                points.0.display(),
                record.metrics_bytes,
                record.update
            ));
        }
        Ok((Self { log, points, lines, outputs, stop, error: None }, lost))
    }

    /// Writes a line to the log.
    pub fn entry(&mut self, text: &str) {
        let now = timestamp(SystemTime::now());
        let written = self.log.1.write_all(format!("{now} {text}\n").as_bytes());
        self.check(written.map_err(|e| Error::io(&self.log.0, "write", e)));
    }

    /// The same, and tells the user.
    pub fn line(&mut self, text: &str) {
        self.entry(text);
        if let Some(lines) = &self.lines {
            lines(text);
        }
    }

    fn point(&mut self, point: Map<String, Value>) {
        let written = self.points.1.write_all(format!("{}\n", Value::Object(point)).as_bytes());
        self.check(written.map_err(|e| Error::io(&self.points.0, "write", e)));
    }

    /// A log that cannot be written ends the run: hours without a record are of no use.
    pub fn check(&mut self, written: Result<()>) {
        if let Err(error) = written
            && self.error.is_none()
        {
            self.error = Some(error);
            (self.stop)();
        }
    }

    /// Brings everything to the disk; the points' length in bytes, and the event file's name and
    /// length.
    pub fn sync(&mut self) -> Result<(u64, Option<(String, u64)>)> {
        self.outputs.sync()?;
        let synced = self.points.1.sync_data();
        synced.map_err(|e| Error::io(&self.points.0, "write", e))?;
        Ok((self.points.1.metadata().map_or(0, |m| m.len()), self.outputs.events_position()))
    }
}

fn open(path: &Path) -> Result<(PathBuf, File)> {
    let file = open_own(path, OpenOptions::new().create(true).append(true).read(true))?;
    Ok((path.to_path_buf(), file))
}

/// The bytes of the whole lines among the first `bytes` bytes of a file just opened.
fn whole_lines(file: &File, bytes: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file.take(bytes));
    let (mut read, mut whole) = (0, 0);
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(whole);
        }
        if let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') {
            whole = read + end as u64 + 1;
        }
        let length = buffer.len();
        read += length as u64;
        reader.consume(length);
    }
}

impl State {
    /// Seconds of the run so far, evaluations and earlier processes included.
    pub fn wall_seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// The epoch, from 1, of the last update.
    pub fn epoch(&self) -> usize {
        self.updates.epoch_of(self.step.saturating_sub(1)) + 1
    }

    fn diverged(&mut self, what: &str) {
        let error = Error::run(format!("{what} is not a finite number: the training diverged"));
        self.files.check(Err(error.hint(
            "train anew with a lower --learning-rate, with --global-grad-clipping 1, or with --precision f32",
        )));
    }

    /// Seconds until the run ends; `None` where nothing is known yet.
    pub fn seconds_left(&self) -> Option<f64> {
        let pending = |end: usize| end > self.step || self.evaluated_at != self.step;
        let due = |end: usize| end >= self.step && self.updates.evaluates_after(end);
        let ends = self.updates.chunks().iter().map(|chunk| chunk.end);
        let evaluations = ends.filter(|end| due(*end) && pending(*end)).count();
        let updates = self.updates.last().saturating_sub(self.step);
        self.pace.left(self.started.elapsed().as_secs_f64(), updates, evaluations)
    }

    pub fn trained(&mut self, point: &Point) {
        let evaluated = self.evaluated_at == self.step && self.step > 0;
        self.pace.trained(self.started.elapsed().as_secs_f64(), 1.0 / point.speed, evaluated);
        self.step = point.step;
        let step = self.step;
        if !point.loss.is_finite() {
            self.diverged(&format!("the loss of update {step}"));
        }
        // The loss is that of the weights before this update; the gradient tells of those after it.
        if !point.grad_norm.is_finite() {
            self.diverged(&format!("the gradient of update {step}"));
        }
        self.losses = (self.losses.0 + point.loss, self.losses.1 + 1);
        self.latest = [point.seconds, point.pruning_seconds];
        self.gauges = Gauges::of(point);
        if step.is_multiple_of(self.log_every) || step == self.updates.last() {
            self.logged(point);
        }
    }

    fn logged(&mut self, point: &Point) {
        let (step, epoch) = (self.step, self.epoch());
        let loss = self.losses.0 / self.losses.1 as f64;
        self.losses = (0.0, 0);
        let mut entry = head(step, epoch, "train", loss);
        entry.extend(self.gauges.0.clone());
        entry.extend(self.mean_seconds());
        self.files.point(entry);
        let written = self.files.outputs.trained(point, loss);
        self.files.check(written);
        let left = self.seconds_left().map(|left| format!("  {} left", duration(left)));
        self.files.line(&format!(
            "update {step}/{}  epoch {epoch}  {}{}",
            self.updates.last(),
            point::line(&Point { loss, ..point.clone() }),
            left.unwrap_or_default(),
        ));
    }

    /// Mean seconds per update since the last logged one, and those of the pruning.
    fn mean_seconds(&mut self) -> Map<String, Value> {
        let (update, [seconds, pruning]) = self.logged;
        self.logged = (self.step, self.latest);
        let updates = (self.step - update) as f64;
        let [all, pruned] = self.latest;
        object(json!({
            "seconds": (all - seconds) / updates,
            "pruning_seconds": (pruned - pruning) / updates,
        }))
    }

    pub fn predicted(&mut self, batch: &Predictions) {
        if let Some(all) = self.collected.add(batch) {
            self.evaluated(all);
        }
    }

    fn evaluated(&mut self, predictions: Vec<Predictions>) {
        let (step, epoch) = (self.step, self.epoch());
        let sets: Vec<_> = self.sets.iter().cloned().zip(predictions).collect();
        self.evaluated_at = step;
        let fault = sets.iter().find_map(|(about, predictions)| not_finite(about, predictions));
        if let Some((what, _)) = fault {
            // No scores: they would look like those of a model.
            return self.diverged(&format!("{what} after update {step}"));
        }
        let mut all = Vec::new();
        for (about, predictions) in sets.iter().filter(|(about, _)| about.labelled) {
            let scores = SetScores::of(about, predictions);
            let mut entry = head(step, epoch, &about.name, scores.loss);
            entry.extend(self.gauges.0.clone());
            entry.extend(scores.to_json());
            self.files.point(entry);
            self.files.line(&format!("update {step}  epoch {epoch}  {scores}"));
            all.push(scores);
        }
        let ended_epoch = self.updates.ends_epoch(step).then_some(epoch);
        let written = self.files.outputs.evaluated(Moment { step, ended_epoch }, &sets);
        self.files.check(written);
        let at_final_ratio = (self.reaches_final_ratio)(step);
        if let Some(score) = self.dev_score(&all) {
            let later = Best { update: step, at_final_ratio, score };
            self.best = Some(self.best.take().map_or(later.clone(), |best| best.or(later)));
        }
        self.scores = all;
    }

    /// The mean of the tasks' main metrics over the dev sets, [`UNDEFINED`] where one of them is; `None`
    /// without any.
    fn dev_score(&self, scores: &[SetScores]) -> Option<f64> {
        let mains = scores.iter().filter_map(|scores| {
            let is_dev = |set: &&SetInfo| set.name == scores.name && set.part == Part::Dev;
            let task = self.sets.iter().find(is_dev)?.task;
            let main = task.metrics.iter().position(|metric| *metric == task.main)?;
            scores.scores.get(main).map(|(_, value)| *value)
        });
        let (count, sum) = mains.fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
        let mean = sum / f64::from(count);
        (count > 0).then_some(if mean.is_finite() { mean } else { UNDEFINED })
    }
}

/// A time as it stands in the log; one before 1970 or after 9999, which only a clock that is wrong
/// shows, as the nearest of these.
fn timestamp(time: SystemTime) -> String {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default().min(LAST);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch).to_string()
}

fn head(step: usize, epoch: usize, split: &str, loss: f64) -> Map<String, Value> {
    object(json!({"step": step, "epoch": epoch, "split": split, "loss": loss}))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// `75` as `1:15`, `3675` as `1:01:15`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_whole_lines_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        for (content, bytes, whole) in
            [("a\nbc\nd", 5, 5), ("a\nbc\nd", 6, 5), ("a\nbc", 9, 2), ("abc", 2, 0), ("", 3, 0)]
        {
            fs::write(&path, content).unwrap();
            assert_eq!(whole_lines(&File::open(&path).unwrap(), bytes).unwrap(), whole);
        }
    }

    #[test]
    fn durations_read_like_clocks() {
        assert_eq!([75.0, 3675.4, 0.4].map(duration), ["1:15", "1:01:15", "0:00"]);
    }

    #[test]
    fn a_clock_that_is_wrong_still_dates_a_line() {
        let at = |seconds: i64| match u64::try_from(seconds) {
            Ok(after) => UNIX_EPOCH + Duration::from_secs(after),
            Err(_) => UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
        };
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-1, "1970-01-01T00:00:00Z"),
            (-4_000_000_000, "1970-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "9999-12-31T23:59:59Z"),
            (4_000_000_000_000, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(timestamp(at(seconds)), expected, "{seconds}");
        }
    }
}
