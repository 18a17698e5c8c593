//! A server of fake models, and somebody who asks it.

use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fake::{Fake, Gate, values};
use super::*;
use crate::bert::BertConfig;
use crate::glue::encode::Encoder;
use crate::glue::task::task;

/// The tokens 7 and 8 are what the fake model has no answer for.
const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nnan\npanic\n";
/// Longer than anything here takes.
pub const LONG: Duration = Duration::from_secs(20);

pub fn served(name: &str, gate: &Gate, of: Option<&str>) -> Served {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vocab.txt"), VOCABULARY).unwrap();
    let config = json!({"model_type": "bert", "vocab_size": 9, "hidden_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
        "max_position_embeddings": 16, "type_vocab_size": 2});
    Served {
        name: name.into(),
        model: Box::new(Fake::new(gate)),
        bert: BertConfig::from_json(config, Path::new("config.json")).unwrap(),
        encoder: Encoder::from_dir(dir.path()).unwrap(),
        task: of.map(|name| task(name).unwrap()),
    }
}

/// A server on a thread.
pub struct Server {
    pub address: SocketAddr,
    pub stop: Stop,
    thread: JoinHandle<Result<()>>,
    pub client: ureq::Agent,
}

/// A status and a body.
pub type Got = (u16, Value);

impl Server {
    pub fn of(models: Vec<Served>, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (stop, (sender, address)) = (Stop::new(), mpsc::channel());
        let own = stop.clone();
        let thread = thread::spawn(move || {
            run(listener, models, limits, own, |address| {
                sender.send(address).unwrap();
                Ok(())
            })
        });
        let client = ureq::Agent::config_builder().http_status_as_error(false);
        // A connection that is kept may be closed by the server at the moment it is used again.
        let client = client.max_idle_connections(0).timeout_global(Some(LONG)).build().new_agent();
        Self { address: address.recv().unwrap(), stop, thread, client }
    }

    pub fn one(gate: &Gate, limits: Limits) -> Self {
        Self::of(vec![served("fake", gate, None)], limits)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Got {
        got(self.client.post(self.url(path)).send(body))
    }

    pub fn predict(&self, body: Value) -> Got {
        self.post("/predict", body.to_string().as_bytes())
    }

    pub fn get(&self, path: &str) -> Got {
        got(self.client.get(self.url(path)).call())
    }

    pub fn metrics(&self) -> std::collections::HashMap<String, f64> {
        let mut response = self.client.get(self.url("/metrics")).call().unwrap();
        values(&response.body_mut().read_to_string().unwrap())
    }

    /// Asks on a thread of its own.
    pub fn asks(&self, body: Value) -> JoinHandle<Got> {
        let (client, url) = (self.client.clone(), self.url("/predict"));
        thread::spawn(move || got(client.post(url).send(body.to_string().as_bytes())))
    }

    pub fn connection(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Waits until so many texts wait.
    pub fn until_waiting(&self, texts: f64) {
        let began = Instant::now();
        while self.metrics()[r#"platon_waiting_texts{model="fake"}"#] < texts {
            assert!(began.elapsed() < LONG);
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn end(self) {
        self.stop.ask();
        self.thread.join().unwrap().unwrap();
    }
}

pub fn got(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Got {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

pub fn reason((status, body): &Got) -> (u16, &str) {
    (*status, body["error"].as_str().unwrap_or_default())
}

/// The answer to a text of so many tokens, with its marks.
pub fn of(tokens: f64) -> Value {
    json!([{"label": "long", "score": tokens}, {"label": "zero", "score": 0.0}])
}

/// As the fake model answers.
pub fn asking(inputs: Value) -> Value {
    json!({"inputs": inputs, "parameters": {"function_to_apply": "none"}})
}
