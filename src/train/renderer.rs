//! What burn-train shows and writes: the dashboard, or nothing; the journal has the rest.

use burn_train::LearnerSummary;
use burn_train::logger::MetricLogger;
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::metric::{MetricDefinition, NumericEntry};
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use crate::run::Journal;

/// burn-train's renderer: passes on to `dashboard`, if there is one. It lives on the thread that
/// hands updates and predictions to `journal`, which it tells of that thread's end.
pub struct Renderer {
    journal: Journal,
    dashboard: Option<Box<dyn MetricsRenderer>>,
}

impl Renderer {
    /// A renderer for the run that `journal` is about.
    pub fn new(journal: Journal, dashboard: Option<Box<dyn MetricsRenderer>>) -> Self {
        Self { journal, dashboard }
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        // Closed first: what is printed from now on can be seen.
        drop(self.dashboard.take());
        self.journal.abandon();
    }
}

impl MetricsRendererTraining for Renderer {
    fn update_train(&mut self, state: MetricState) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_train(state);
        }
    }

    fn update_valid(&mut self, state: MetricState) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.update_valid(state);
        }
    }

    fn render_train(&mut self, item: TrainingProgress, progress: Vec<ProgressType>) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.render_train(item, progress);
        }
    }

    fn render_valid(&mut self, item: TrainingProgress, progress: Vec<ProgressType>) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.render_valid(item, progress);
        }
    }

    /// burn's default prints, and panics where nobody reads.
    fn on_train_end(
        &mut self,
        _summary: Option<LearnerSummary>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        Ok(())
    }
}

impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _progress: Vec<ProgressType>) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.register_metric(definition);
        }
    }
}

/// Keeps burn from writing a file per metric and epoch: the journal has all of it.
pub struct NoMetricFiles;

impl MetricLogger for NoMetricFiles {
    fn log(&mut self, _update: MetricsUpdate, _epoch: usize, _split: &Split) {}

    fn read_numeric(
        &mut self,
        _name: &str,
        _epoch: usize,
        _split: &Split,
    ) -> Result<Vec<NumericEntry>, String> {
        Ok(Vec::new())
    }

    fn log_metric_definition(&mut self, _definition: MetricDefinition) {}

    fn log_epoch_summary(&mut self, _summary: EpochSummary) {}
}
