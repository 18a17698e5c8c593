//! The dashboard: what a run does, drawn on the terminal, as a renderer for burn-train.
//!
//! burn-train's own one is not used: it takes a whole processor, counts time by its epochs, shows
//! neither phase nor target, has no room for its menu in 80 columns, and brings the program down
//! where the terminal closes.

mod board;
mod screen;
mod series;
mod view;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn_train::Interrupter;
use burn_train::metric::{MetricDefinition, MetricId};
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

pub use self::board::About;
use self::board::Board;
use self::screen::{Screen, Shown};
use crate::run::Journal;

/// Shows a run until it is dropped.
pub struct Dashboard {
    board: Arc<Mutex<Board>>,
    journal: Journal,
    names: HashMap<MetricId, Arc<String>>,
    _screen: Screen,
}

impl Dashboard {
    /// Takes the terminal for the run that `journal` counts and `interrupter` stops.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn open(about: About, journal: Journal, interrupter: &Interrupter) -> io::Result<Self> {
        let (step, epoch, seconds) = (journal.step(), journal.epoch(), journal.timing().seconds);
        let board = Arc::new(Mutex::new(Board::new(about, step, epoch, seconds)));
        let shown = Shown {
            board: board.clone(),
            interrupter: interrupter.clone(),
            journal: journal.clone(),
        };
        Ok(Self { board, journal, names: HashMap::new(), _screen: Screen::open(shown)? })
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metric(&self, state: MetricState, evaluated: bool) {
        let (entry, value) = match state {
            MetricState::Generic(entry) => (entry, None),
            MetricState::Numeric(entry, value) => (entry, Some(value.current())),
        };
        if let Some(name) = self.names.get(&entry.metric_id) {
            self.lock().metric(name, evaluated, entry.serialized_entry.formatted, value);
        }
    }
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, state: MetricState) {
        self.metric(state, false);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.metric(state, true);
    }

    /// burn's epochs are our chunks between pauses: the journal knows updates and true epochs.
    fn render_train(&mut self, _item: TrainingProgress, _progress: Vec<ProgressType>) {
        let (step, epoch) = (self.journal.step(), self.journal.epoch());
        let left = self.journal.seconds_left();
        self.lock().trained(step, epoch, left);
    }

    fn render_valid(&mut self, item: TrainingProgress, _progress: Vec<ProgressType>) {
        if let Some(progress) = item.progress {
            self.lock().evaluated(progress.items_processed, progress.items_total);
        }
    }
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _progress: Vec<ProgressType>) {}
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, Arc::new(definition.name));
    }
}
