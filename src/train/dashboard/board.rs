//! What the dashboard shows.

use std::time::{Duration, Instant};

use super::series::Series;
use crate::pruning::{Phase, RatioSchedule};
use crate::run::journal::duration;
use crate::run::point::{REMAINING, ZEROS};

/// What stays the same during a run.
#[derive(Debug, Clone)]
pub struct About {
    /// Task and pruner.
    pub title: String,
    /// The run folder.
    pub folder: String,
    /// Updates of the run, and its epochs.
    pub updates: usize,
    /// See `updates`.
    pub epochs: usize,
    /// The course of the remaining ratio, and where it ends; `None` where nothing is pruned.
    pub pruning: Option<(RatioSchedule, f64)>,
}

/// What the run does at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Mode {
    /// Its first update.
    #[default]
    Starting,
    /// Updates.
    Training,
    /// An evaluation; so many samples of all are done.
    Evaluating(usize, usize),
}

/// One metric.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its last value as text, and as a number that its course does not hold yet.
    pub text: String,
    pending: Option<f64>,
    /// Its course.
    pub series: Series,
    /// Whether it is one of an evaluation.
    pub evaluated: bool,
}

/// The dashboard's state.
#[derive(Debug, Clone)]
pub struct Board {
    /// What stays.
    pub about: About,
    /// The last update.
    pub step: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// What is done.
    pub mode: Mode,
    /// All metrics in the order they came in.
    pub metrics: Vec<Metric>,
    /// The metric in the plot, by its number.
    pub selected: usize,
    /// Whether the plot shows the latest updates only.
    pub latest: bool,
    /// Whether the menu to quit is open.
    pub menu: bool,
    /// Whether the run has been asked to stop.
    pub stopping: bool,
    /// Whether keys can be read.
    pub keys: bool,
    /// When the run will end.
    ends: Option<Instant>,
    /// When it began, and the seconds of earlier processes.
    began: (Instant, f64),
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Nothing beyond the dashboard.
    None,
    /// To stop the run.
    Stop,
    /// To draw everything anew.
    Redraw,
}

impl Board {
    /// Before the first update of this process, which goes on after update `step` and so many
    /// seconds.
    pub fn new(about: About, step: usize, epoch: usize, seconds: f64) -> Self {
        Self {
            about,
            step,
            epoch,
            mode: Mode::default(),
            metrics: Vec::new(),
            selected: 0,
            latest: false,
            menu: false,
            stopping: false,
            keys: false,
            ends: None,
            began: (Instant::now(), seconds),
        }
    }

    /// Takes in a metric's value and text.
    pub fn metric(&mut self, name: &str, evaluated: bool, text: String, value: Option<f64>) {
        if let Some(metric) = self.metrics.iter_mut().find(|metric| metric.name == name) {
            (metric.text, metric.pending) = (text, value);
        } else {
            let (name, series) = (name.to_string(), Series::default());
            self.metrics.push(Metric { name, text, pending: value, series, evaluated });
        }
    }

    /// Takes in an update and the seconds left after it.
    pub fn trained(&mut self, step: usize, epoch: usize, left: Option<f64>) {
        (self.step, self.epoch, self.mode) = (step, epoch, Mode::Training);
        self.ends = left.and_then(|left| {
            let left = Duration::try_from_secs_f64(left).ok()?;
            Instant::now().checked_add(left)
        });
        self.plot(false);
    }

    /// Takes in that so many samples of all are evaluated.
    pub fn evaluated(&mut self, done: usize, all: usize) {
        self.mode = Mode::Evaluating(done, all);
        // Scores are those of the whole set only now.
        if done == all {
            self.plot(true);
        }
    }

    fn plot(&mut self, evaluated: bool) {
        for metric in self.metrics.iter_mut().filter(|metric| metric.evaluated == evaluated) {
            if let Some(value) = metric.pending.take() {
                metric.series.push(self.step, value);
            }
        }
    }

    /// Takes in bytes from the keyboard: keys, of which the last wish counts.
    pub fn typed(&mut self, mut bytes: &[u8]) -> Wish {
        let mut wish = Wish::None;
        while !bytes.is_empty() {
            let arrow = matches!(bytes, [b'\x1b', b'[' | b'O', _, ..]);
            let (key, rest) = bytes.split_at(if arrow { 3 } else { 1 });
            wish = Some(self.pressed(key)).filter(|new| *new != Wish::None).unwrap_or(wish);
            bytes = rest;
        }
        wish
    }

    fn pressed(&mut self, key: &[u8]) -> Wish {
        let count = self.metrics.len().max(1);
        match key {
            b"s" if self.menu => {
                self.menu = false;
                return Wish::Stop;
            }
            b"c" | b"q" | b"\x1b" if self.menu => self.menu = false,
            b"q" => self.menu = true,
            b"\x0c" => return Wish::Redraw,
            b"\x1b[C" | b"\x1bOC" => self.selected = (self.selected + 1) % count,
            b"\x1b[D" | b"\x1bOD" => self.selected = (self.selected + count - 1) % count,
            b"\x1b[A" | b"\x1bOA" | b"\x1b[B" | b"\x1bOB" => self.latest = !self.latest,
            _ => {}
        }
        Wish::None
    }

    /// The share of the updates that is done.
    pub fn done(&self) -> f64 {
        (self.step as f64 / self.about.updates.max(1) as f64).clamp(0.0, 1.0)
    }

    /// Seconds left, as a clock shows them.
    pub fn left(&self) -> String {
        match self.ends {
            None => "not yet known".into(),
            Some(ends) => {
                let left = ends.saturating_duration_since(Instant::now()).as_secs_f64();
                format!("{} left", duration(left))
            }
        }
    }

    /// The lines that say where the run is, each with its label.
    pub fn state(&self) -> Vec<(&'static str, String)> {
        let About { updates, epochs, pruning, .. } = &self.about;
        let mode = match self.mode {
            _ if self.stopping => "stopping".into(),
            Mode::Starting => "starting".into(),
            Mode::Training => "training".into(),
            Mode::Evaluating(done, all) if done == all => "saving".into(),
            Mode::Evaluating(done, all) => format!("evaluating, {done} of {all} samples"),
        };
        let epoch = self.epoch;
        let spent = self.began.0.elapsed().as_secs_f64() + self.began.1;
        let mut lines = vec![
            ("Update", format!("{} of {updates}, epoch {epoch} of {epochs}: {mode}", self.step)),
            ("Time", format!("{}, {} so far", self.left(), duration(spent))),
        ];
        if let Some((schedule, target)) = pruning {
            let (first, last) = schedule.boundaries();
            let last = last.min(*updates);
            let phase = match schedule.phase(self.step.max(1)) {
                Phase::Before => format!("nothing is pruned until update {}", first.min(*updates)),
                Phase::Falling => format!("the ratio falls until update {last}"),
                Phase::Final => format!("at the final ratio until update {updates}"),
            };
            let ratio = self.text_of(REMAINING);
            let zeros = match schedule.phase(self.step.max(1)) {
                Phase::Before => "none yet".into(),
                Phase::Falling => {
                    let zeros = self.text_of(ZEROS);
                    format!("{zeros} when last counted; between maskings weights grow again")
                }
                Phase::Final => format!("{} when last counted", self.text_of(ZEROS)),
            };
            lines.push(("Phase", phase));
            lines.push(("Remaining", format!("{ratio} asked for now, {target} at the end")));
            lines.push(("Zeros", zeros));
        }
        lines
    }

    fn text_of(&self, name: &str) -> &str {
        self.metrics.iter().find(|metric| metric.name == name).map_or("-", |metric| &metric.text)
    }
}
