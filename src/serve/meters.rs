//! What the server counts and times.

use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The form that [`Meters::text`] has.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    requests: Family<Labels, Counter>,
    seconds: Histograms,
    connections: Gauge,
    texts: Family<Labels, Counter>,
    tokens: Family<Labels, Counter>,
    batches: Histograms,
    waiting: Family<Labels, Gauge>,
}

/// What is counted of one model.
#[derive(Debug)]
pub struct ModelMeters {
    texts: Counter,
    tokens: Counter,
    batches: Histogram,
    waiting: Gauge,
}

impl Default for Meters {
    fn default() -> Self {
        // From half a millisecond to 33 s, and from 1 text to 1024.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.0005, 2.0, 17));
        let texts: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 11));
        let meters = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            connections: Gauge::default(),
            texts: Family::default(),
            tokens: Family::default(),
            batches: Family::new_with_constructor(texts),
            waiting: Family::default(),
        };
        meters.registered()
    }
}

impl Meters {
    fn registered(mut self) -> Self {
        let mut all = Registry::with_prefix("platon");
        all.register("requests", "Requests answered, by path and status", self.requests.clone());
        all.register_with_unit(
            "request",
            "Time from a request's head to its answer, by path",
            Unit::Seconds,
            self.seconds.clone(),
        );
        all.register("connections", "Open connections", self.connections.clone());
        all.register("texts", "Texts computed", self.texts.clone());
        all.register("tokens", "Tokens computed, without padding", self.tokens.clone());
        all.register("batch_texts", "Texts that were computed together", self.batches.clone());
        all.register("waiting_texts", "Texts in the queue", self.waiting.clone());
        self.registry = all;
        self
    }

    /// Those of the model `name`; what there is of it shows from now on.
    pub fn of(&self, name: &str) -> ModelMeters {
        let labels = vec![("model", name.to_string())];
        ModelMeters {
            texts: self.texts.get_or_create_owned(&labels),
            tokens: self.tokens.get_or_create_owned(&labels),
            batches: self.batches.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
        }
    }

    /// A request for one of the known paths was answered.
    pub fn answered(&self, path: &str, status: StatusCode, took: Duration) {
        let path = ("path", path.to_string());
        let code = ("code", status.as_str().to_string());
        self.requests.get_or_create(&vec![path.clone(), code]).inc();
        self.seconds.get_or_create(&vec![path]).observe(took.as_secs_f64());
    }

    /// A connection was opened.
    pub fn opened(&self) {
        self.connections.inc();
    }

    /// A connection was closed.
    pub fn closed(&self) {
        self.connections.dec();
    }

    /// All of it, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl ModelMeters {
    /// A batch of so many texts and tokens is computed.
    pub fn batch(&self, texts: usize, tokens: usize) {
        self.texts.inc_by(texts as u64);
        self.tokens.inc_by(tokens as u64);
        self.batches.observe(texts as f64);
    }

    /// So many texts wait.
    pub fn waiting(&self, texts: usize) {
        self.waiting.set(i64::try_from(texts).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_shows() {
        let meters = Meters::default();
        let model = meters.of("a");
        model.batch(3, 40);
        model.batch(1, 2);
        model.waiting(7);
        meters.opened();
        meters.opened();
        meters.opened();
        meters.closed();
        for _ in 0..2 {
            meters.answered("/predict", StatusCode::OK, Duration::from_millis(3));
        }
        let text = meters.text();
        for line in [
            r#"platon_requests_total{path="/predict",code="200"} 2"#,
            r#"platon_request_seconds_bucket{le="0.002",path="/predict"} 0"#,
            r#"platon_request_seconds_bucket{le="0.004",path="/predict"} 2"#,
            r#"platon_request_seconds_count{path="/predict"} 2"#,
            r#"platon_batch_texts_bucket{le="1.0",model="a"} 1"#,
            r#"platon_batch_texts_bucket{le="4.0",model="a"} 2"#,
            r#"platon_texts_total{model="a"} 4"#,
            r#"platon_tokens_total{model="a"} 42"#,
            r#"platon_waiting_texts{model="a"} 7"#,
            "platon_connections 2",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
    }
}
