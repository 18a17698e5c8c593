//! Paths, and what is answered on them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::body::{read_body, throw_away};
use super::limits::Limits;
use super::meters::{self, Meters};
use super::model::Front;
use super::refusal::Refusal;
use super::reply::scored;
use super::stop::Stop;
use crate::error::Error;
use crate::panics;

const PAGE: &str = include_str!("page.html");
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// The page brings everything along.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
/// In seconds; by then a queue of usual length has emptied.
const ASK_AGAIN: &str = "1";
/// What the meters call every path that there is not.
const OTHER: &str = "other";

/// Everything that requests need.
#[derive(Debug)]
pub struct Service {
    /// The first is the one that goes without a name.
    pub models: Vec<Arc<Front>>,
    pub limits: Limits,
    pub meters: Meters,
    pub stop: Stop,
}

/// What a path stands for.
enum Place<'a> {
    Page,
    Health,
    Metrics,
    Models,
    Predict(&'a Arc<Front>),
}

impl Place<'_> {
    fn method(&self) -> &'static str {
        if matches!(self, Self::Predict(_)) { "POST" } else { "GET" }
    }
}

type Answered = Result<Response<Full<Bytes>>, Refusal>;

impl Service {
    /// Answers a request, whatever it is.
    pub async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let path = request.uri().path().to_owned();
        let place = self.place(&path);
        let known = if place.is_some() { path.as_str() } else { OTHER };
        let answered = match place {
            Some(place) => self.at(place, request, began).await,
            None => {
                self.ignore(request.into_body(), began).await;
                Err(self.unknown(&path))
            }
        };
        let mut response = answered.unwrap_or_else(|refusal| refused(&refusal));
        if self.stop.is_asked() {
            // Whoever asks again has to do so elsewhere.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.meters.answered(known, response.status(), began.elapsed());
        response
    }

    fn place(&self, path: &str) -> Option<Place<'_>> {
        Some(match path {
            "/" => Place::Page,
            "/health" => Place::Health,
            "/metrics" => Place::Metrics,
            "/models" => Place::Models,
            "/predict" => Place::Predict(self.models.first()?),
            _ => {
                let name = path.strip_prefix("/models/")?.strip_suffix("/predict")?;
                Place::Predict(self.models.iter().find(|model| model.name == name)?)
            }
        })
    }

    fn unknown(&self, path: &str) -> Refusal {
        let names: Vec<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
        let expected = format!(
            "/, /health, /metrics, /models, /predict or /models/NAME/predict with a NAME of {}",
            names.join(", ")
        );
        Refusal::new(StatusCode::NOT_FOUND, Error::value("path", expected, path))
    }

    async fn at(&self, place: Place<'_>, request: Request<Incoming>, began: Instant) -> Answered {
        let method = place.method();
        let is_fit = match *request.method() {
            Method::HEAD => method == "GET",
            ref given => given.as_str() == method,
        };
        if !is_fit {
            let error = Error::value("method", method, request.method());
            self.ignore(request.into_body(), began).await;
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, error);
            return Ok(with(refused(&refusal), ALLOW, method));
        }
        match place {
            Place::Page => {
                let response = answer(StatusCode::OK, HTML, PAGE);
                Ok(with(response, CONTENT_SECURITY_POLICY, PAGE_POLICY))
            }
            Place::Health if self.stop.is_asked() => {
                Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"))
            }
            Place::Health => Ok(answer(StatusCode::OK, JSON, r#"{"status":"ready"}"#)),
            Place::Metrics => Ok(answer(StatusCode::OK, meters::CONTENT_TYPE, self.meters.text())),
            Place::Models => {
                let all: Vec<Value> = self.models.iter().map(|model| model.about()).collect();
                Ok(answer(StatusCode::OK, JSON, Value::from(all).to_string()))
            }
            Place::Predict(model) => self.predict(model, request, began).await,
        }
    }

    /// Reads a body that the answer does not depend on, within the time allowed.
    async fn ignore(&self, body: Incoming, began: Instant) {
        let _ = timeout_at((began + self.limits.timeout).into(), throw_away(body)).await;
    }

    async fn predict(
        &self,
        model: &Arc<Front>,
        request: Request<Incoming>,
        began: Instant,
    ) -> Answered {
        let Limits { max_body_bytes, max_inputs, timeout, .. } = self.limits;
        if let Some(packing) = request.headers().get(CONTENT_ENCODING).filter(|p| *p != "identity")
        {
            let found = String::from_utf8_lossy(packing.as_bytes()).into_owned();
            let error = Error::value("content-encoding", "none", found);
            self.ignore(request.into_body(), began).await;
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        let deadline = (began + timeout).into();
        let late = |status, what: &str| {
            Refusal::new(
                status,
                format!("{what} within {} s, the time allowed", timeout.as_secs_f64()),
            )
        };
        let body = timeout_at(deadline, read_body(request.into_body(), max_body_bytes)).await;
        let body =
            body.map_err(|_| late(StatusCode::REQUEST_TIMEOUT, "body: expected all of it"))??;
        let no_answer = || late(StatusCode::GATEWAY_TIMEOUT, "no answer was computed");
        // A long text would keep the other connections waiting.
        let (front, waits) = (Arc::clone(model), Arc::new(()));
        let waiting = Arc::downgrade(&waits);
        let read = spawn_blocking(move || {
            // In line behind others, nobody may wait for it any more.
            let is_wanted = waiting.strong_count() > 0;
            is_wanted.then(|| panics::catch(|| front.read(&body, max_inputs)))
        });
        let read = timeout_at(deadline, read).await.map_err(|_| no_answer())?;
        drop(waits);
        let (ask, samples) = match read {
            Ok(Some(Ok(read))) => read?,
            Ok(Some(Err(cause))) => return Err(Refusal::internal(&cause)),
            Ok(None) => return Err(no_answer()),
            Err(error) => return Err(Refusal::internal(&error.to_string())),
        };
        let answer_of = model.mailbox.put(samples, &model.meters)?;
        let logits = timeout_at(deadline, answer_of).await;
        let logits = logits.map_err(|_| no_answer())?;
        let logits = logits.map_err(|_| Refusal::internal("the model's thread has ended"))??;
        let text = serde_json::to_string(&scored(&model.head, &ask, &logits));
        let text = text.map_err(|error| Refusal::internal(&error.to_string()))?;
        Ok(answer(StatusCode::OK, JSON, text))
    }
}

/// A whole answer.
fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let response = with(response, CONTENT_TYPE, kind);
    with(response, CACHE_CONTROL, "no-store")
}

fn with(
    mut response: Response<Full<Bytes>>,
    name: HeaderName,
    value: &'static str,
) -> Response<Full<Bytes>> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

fn refused(refusal: &Refusal) -> Response<Full<Bytes>> {
    let response = answer(refusal.status, JSON, json!({"error": refusal.reason}).to_string());
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => with(response, RETRY_AFTER, ASK_AGAIN),
        _ => response,
    }
}
