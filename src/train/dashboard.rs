//! burn-train's dashboard, told of the run's own updates and epochs, and kept from bringing down the
//! program where its terminal closes.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use burn::data::dataloader::Progress;
use burn_train::Interrupter;
use burn_train::metric::MetricDefinition;
use burn_train::renderer::tui::TuiMetricsRendererWrapper;
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use super::terminal::{self, TerminalState};
use crate::glue::updates::Updates;
use crate::panics;
use crate::pruning::RatioSchedule;
use crate::run::Journal;

/// How long the dashboard's thread may take to end. It may never: crossterm 0.29 reads on for ever
/// from a terminal that closes between a drawing and the look at its keys, and waits for the rest
/// of an escape sequence that was typed in part.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the dashboard shows beside the metrics.
pub struct About {
    /// The run's updates.
    pub updates: Arc<Updates>,
    /// Those done before.
    pub start: usize,
    /// The course of the remaining ratio; `None` where nothing is pruned.
    pub schedule: Option<RatioSchedule>,
}

/// Shows a run until it is dropped.
pub struct Dashboard {
    /// `None` once the terminal is gone.
    shown: Option<TuiMetricsRendererWrapper>,
    journal: Journal,
    about: About,
    before: TerminalState,
    settled: bool,
}

impl Dashboard {
    /// Takes the terminal for the run that `journal` counts and `interrupter` stops.
    pub fn open(about: About, journal: Journal, interrupter: &Interrupter) -> Self {
        let before = TerminalState::save();
        // burn complains there when it cannot draw; nobody could, and to fail at that is to abort.
        terminal::put_stderr_aside();
        let shown = Some(TuiMetricsRendererWrapper::new(interrupter.clone(), None));
        Self { shown, journal, about, before, settled: false }
    }

    fn show(&mut self, show: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        if self.shown.is_some() && terminal::is_gone() {
            self.close();
            self.journal.line("the terminal is gone; the run goes on without the dashboard");
        }
        if let Some(shown) = &mut self.shown {
            show(shown);
        }
    }

    /// What has been done of the updates of this process: burn's epochs are our chunks.
    fn progress(&self) -> TrainingProgress {
        let About { updates, start, .. } = &self.about;
        let step = self.journal.step();
        let done =
            Progress::new(step.saturating_sub(*start), updates.last().saturating_sub(*start));
        TrainingProgress {
            progress: Some(done),
            global_progress: Progress::new(1, 1),
            iteration: Some(step),
        }
    }

    fn indicators(&self) -> Vec<ProgressType> {
        let About { updates, schedule, .. } = &self.about;
        let step = self.journal.step();
        let counted = |tag: &str, progress| ProgressType::Detailed { tag: tag.into(), progress };
        let epochs = updates.epoch_of(updates.last().saturating_sub(1)) + 1;
        // A terminal of 24 rows shows the first three.
        let mut shown = vec![counted("Update", Progress::new(step, updates.last()))];
        shown.extend(schedule.as_ref().map(|schedule| {
            counted("Phase", Progress::new(schedule.phase(step.max(1)) as usize + 1, 3))
        }));
        shown.extend(self.journal.seconds_left().map(|seconds| {
            let (tag, value) = match seconds {
                s if s < 120.0 => ("Sec left", s),
                s => ("Min left", s / 60.0),
            };
            ProgressType::Value { tag: tag.into(), value: value.round() as usize }
        }));
        shown.push(counted("Epoch", Progress::new(self.journal.epoch(), epochs)));
        shown
    }

    fn close(&mut self) {
        if let Some(shown) = self.shown.take() {
            let (ended, end) = mpsc::channel();
            std::thread::spawn(move || {
                // Waits for its thread.
                drop(shown);
                let _ = ended.send(());
            });
            if end.recv_timeout(PATIENCE).is_err() {
                terminal::leave_screen();
            }
            if terminal::is_gone() {
                // Its thread could not give back what is no longer there, which is no fault of the run.
                let _ = panics::take();
            }
        }
        self.before.restore();
        terminal::give_stderr_back();
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.close();
    }
}

impl MetricsRendererTraining for Dashboard {
    fn update_train(&mut self, state: MetricState) {
        self.show(|shown| shown.update_train(state));
    }

    fn update_valid(&mut self, state: MetricState) {
        self.show(|shown| shown.update_valid(state));
    }

    fn render_train(&mut self, _item: TrainingProgress, _progress: Vec<ProgressType>) {
        let (progress, indicators) = (self.progress(), self.indicators());
        self.show(|shown| shown.render_train(progress, indicators));
        // By the first update the dashboard's thread runs and has set its terminal mode.
        if !self.settled {
            terminal::calm_dashboard_thread();
            terminal::allow_interrupt_key();
            self.settled = true;
        }
    }

    fn render_valid(&mut self, item: TrainingProgress, progress: Vec<ProgressType>) {
        let mut indicators = self.indicators();
        indicators.extend(
            progress
                .into_iter()
                .filter(|p| matches!(p, ProgressType::Detailed { tag, .. } if tag == "Items")),
        );
        self.show(|shown| shown.render_valid(item, indicators));
    }
}

impl MetricsRendererEvaluation for Dashboard {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _progress: Vec<ProgressType>) {}
}

impl MetricsRenderer for Dashboard {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.show(|shown| shown.register_metric(definition));
    }
}
