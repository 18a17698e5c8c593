//! burn-train's dashboard, and what keeps burn-train from showing and writing more.

use std::sync::Arc;

use burn::data::dataloader::Progress;
use burn_train::Interrupter;
use burn_train::logger::MetricLogger;
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::metric::{MetricDefinition, NumericEntry};
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use super::terminal;
use crate::glue::updates::Updates;
use crate::run::Journal;

/// burn-train's dashboard, where it is wanted and was built in.
pub fn dashboard_renderer(
    wanted: bool,
    interrupter: &Interrupter,
) -> Option<Box<dyn MetricsRenderer>> {
    #[cfg(feature = "tui")]
    if wanted {
        use burn_train::renderer::tui::TuiMetricsRendererWrapper;
        return Some(Box::new(TuiMetricsRendererWrapper::new(interrupter.clone(), None)));
    }
    let _ = (wanted, interrupter);
    None
}

/// burn-train's renderer: passes on to `dashboard`, if there is one.
pub struct Renderer {
    journal: Journal,
    updates: Arc<Updates>,
    dashboard: Option<Box<dyn MetricsRenderer>>,
    settled: bool,
}

impl Renderer {
    /// A renderer for a run of `updates`, which `journal` counts.
    pub fn new(
        journal: Journal,
        updates: Arc<Updates>,
        dashboard: Option<Box<dyn MetricsRenderer>>,
    ) -> Self {
        Self { journal, updates, dashboard, settled: false }
    }

    /// burn's epochs are our chunks between pauses: shows updates and true epochs instead.
    fn indicators(&self) -> (TrainingProgress, Vec<ProgressType>) {
        let (step, plan) = (self.journal.step(), &self.updates);
        let update = Progress::new(step, plan.last());
        let epoch = plan.epoch_of(step.saturating_sub(1)) + 1;
        let epochs = plan.epoch_of(plan.last().saturating_sub(1)) + 1;
        let shown = vec![
            ProgressType::Detailed { tag: "Epoch".into(), progress: Progress::new(epoch, epochs) },
            ProgressType::Detailed { tag: "Update".into(), progress: update.clone() },
        ];
        (TrainingProgress { progress: None, global_progress: update, iteration: Some(step) }, shown)
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

    fn render_train(&mut self, _item: TrainingProgress, _progress: Vec<ProgressType>) {
        let (item, indicators) = self.indicators();
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.render_train(item, indicators);
            // By the first update the dashboard's thread runs and has set its terminal mode.
            if !self.settled {
                terminal::calm_dashboard_thread();
                terminal::allow_interrupt_key();
                self.settled = true;
            }
        }
    }

    fn render_valid(&mut self, item: TrainingProgress, progress: Vec<ProgressType>) {
        let mut indicators = self.indicators().1;
        indicators.extend(
            progress
                .into_iter()
                .filter(|p| matches!(p, ProgressType::Detailed { tag, .. } if tag == "Items")),
        );
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.render_valid(item, indicators);
        }
    }
}

impl MetricsRendererEvaluation for Renderer {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}

    fn render_test(&mut self, _item: EvaluationProgress, _progress: Vec<ProgressType>) {}
}

impl MetricsRenderer for Renderer {
    fn manual_close(&mut self) {
        if let Some(dashboard) = &mut self.dashboard {
            dashboard.manual_close();
        }
    }

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
