//! burn-train's side of the display: the renderer that feeds the journal, the gauges, the dashboard.

use std::collections::HashMap;

use burn::data::dataloader::Progress;
use burn_train::Interrupter;
use burn_train::logger::MetricLogger;
use burn_train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn_train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn_train::renderer::{
    EvaluationName, EvaluationProgress, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining, ProgressType, TrainingProgress,
};

use super::journal::{Journal, gauge};
use super::terminal;
use crate::metrics::learner::Gauge;

/// What the dashboard shows of an update.
pub fn gauges() -> Vec<Gauge> {
    vec![
        Gauge::new(gauge::LOSS, false, |v| format!("{v:.4}"), |p, _| p.loss),
        Gauge::new(gauge::RATIO, false, |v| format!("{v:.4}"), |p, _| p.ratio),
        Gauge::new(gauge::SPARSITY, true, |v| format!("{v:.4}"), |p, _| p.sparsity),
        Gauge::new(gauge::THRESHOLD, true, |v| format!("{v:.3e}"), |p, _| p.threshold),
        Gauge::new(gauge::LEARNING_RATE, false, |v| format!("{v:.2e}"), |_, m| m.lr.unwrap_or(0.0)),
        Gauge::new(gauge::SPEED, true, |v| format!("{v:.2}"), |p, _| p.speed),
    ]
}

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

/// burn-train's renderer: feeds the journal and passes on to `dashboard`.
pub struct Renderer {
    journal: Journal,
    dashboard: Option<Box<dyn MetricsRenderer>>,
    names: HashMap<MetricId, String>,
    train: HashMap<String, f64>,
    settled: bool,
}

impl Renderer {
    /// A renderer that writes to `journal`.
    pub fn new(journal: Journal, dashboard: Option<Box<dyn MetricsRenderer>>) -> Self {
        Self { journal, dashboard, names: HashMap::new(), train: HashMap::new(), settled: false }
    }

    fn read(names: &HashMap<MetricId, String>, state: &MetricState) -> Option<(String, f64)> {
        match state {
            MetricState::Numeric(entry, value) => {
                Some((names.get(&entry.metric_id)?.clone(), value.current()))
            }
            MetricState::Generic(_) => None,
        }
    }

    /// burn's epochs are our chunks between pauses: shows updates and true epochs instead.
    fn indicators(&self) -> (TrainingProgress, Vec<ProgressType>) {
        let (step, plan) = (self.journal.step(), self.journal.plan());
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
        self.train.extend(Self::read(&self.names, &state));
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
        self.journal.trained(&self.train);
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
        if item.progress.as_ref().is_some_and(|p| p.items_processed == p.items_total) {
            self.journal.evaluated();
        }
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
        self.names.insert(definition.metric_id.clone(), definition.name.clone());
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
