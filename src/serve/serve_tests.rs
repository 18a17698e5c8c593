use std::io::{Read, Write};
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
const LONG: Duration = Duration::from_secs(20);

fn served(name: &str, gate: &Gate, of: Option<&str>) -> Served {
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
struct Server {
    address: SocketAddr,
    stop: Stop,
    thread: JoinHandle<Result<()>>,
    client: ureq::Agent,
}

/// A status and a body.
type Got = (u16, Value);

impl Server {
    fn of(models: Vec<Served>, limits: Limits) -> Self {
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
        let client = client.timeout_global(Some(LONG)).build().new_agent();
        Self { address: address.recv().unwrap(), stop, thread, client }
    }

    fn one(gate: &Gate, limits: Limits) -> Self {
        Self::of(vec![served("fake", gate, None)], limits)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn post(&self, path: &str, body: &[u8]) -> Got {
        got(self.client.post(self.url(path)).send(body))
    }

    fn predict(&self, body: Value) -> Got {
        self.post("/predict", body.to_string().as_bytes())
    }

    fn get(&self, path: &str) -> Got {
        got(self.client.get(self.url(path)).call())
    }

    fn metrics(&self) -> std::collections::HashMap<String, f64> {
        let mut response = self.client.get(self.url("/metrics")).call().unwrap();
        values(&response.body_mut().read_to_string().unwrap())
    }

    /// Asks on a thread of its own.
    fn asks(&self, body: Value) -> JoinHandle<Got> {
        let (client, url) = (self.client.clone(), self.url("/predict"));
        thread::spawn(move || got(client.post(url).send(body.to_string().as_bytes())))
    }

    fn connection(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Waits until so many texts wait.
    fn until_waiting(&self, texts: f64) {
        let began = Instant::now();
        while self.metrics()[r#"platon_waiting_texts{model="fake"}"#] < texts {
            assert!(began.elapsed() < LONG);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(self) {
        self.stop.ask();
        self.thread.join().unwrap().unwrap();
    }
}

fn got(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Got {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn reason((status, body): &Got) -> (u16, &str) {
    (*status, body["error"].as_str().unwrap_or_default())
}

/// The answer to a text of so many tokens, with its marks.
fn of(tokens: f64) -> Value {
    json!([{"label": "long", "score": tokens}, {"label": "zero", "score": 0.0}])
}

/// As the fake model answers.
fn asking(inputs: Value) -> Value {
    json!({"inputs": inputs, "parameters": {"function_to_apply": "none"}})
}

#[test]
fn texts_pairs_and_lists_are_answered_in_their_order() {
    let server = Server::one(&Gate::open(), Limits::default());
    for (inputs, expected) in [
        (json!("a"), json!([of(3.0)])),
        (json!({"text": "a b", "text_pair": "a"}), json!([of(6.0)])),
        (
            json!(["a", ["a", "b"], {"text": "a a a"}, ""]),
            json!([of(3.0), of(5.0), of(5.0), of(2.0)]),
        ),
    ] {
        assert_eq!(server.predict(asking(inputs)), (200, expected));
    }
    server.end();
}

#[test]
fn a_long_text_is_shortened_unless_it_must_not_be() {
    let server = Server::one(&Gate::open(), Limits::default());
    let long = "a ".repeat(50);
    assert_eq!(server.predict(asking(json!(long))), (200, json!([of(16.0)])));
    let mut body = asking(json!(["a", long]));
    body["parameters"]["truncation"] = false.into();
    assert_eq!(
        reason(&server.predict(body)),
        (
            422,
            "inputs[1]: expected at most 16 tokens, as the model has positions, found 52 \
               (hint: without truncation false it is shortened)"
        )
    );
    server.end();
}

#[test]
fn every_model_is_asked_by_its_name_and_the_first_without() {
    let (one, other) = (Gate::open(), Gate::open());
    let models = vec![served("one", &one, Some("sst")), served("other", &other, Some("rte"))];
    let server = Server::of(models, Limits::default());
    let pair = asking(json!([["a", "b"]])).to_string();
    assert_eq!(server.post("/models/other/predict", pair.as_bytes()).0, 200);
    assert_eq!((one.batches().len(), other.batches().len()), (0, 1));
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    assert_eq!((one.batches().len(), other.batches().len()), (1, 1));
    assert_eq!(
        reason(&server.predict(asking(json!([["a", "b"]])))),
        (422, "inputs[0]: expected one text, for the model is one of sst, found two texts")
    );
    let all = server.get("/models").1;
    assert_eq!(all[0]["name"], "one");
    assert_eq!(
        all[1],
        json!({"name": "other", "labels": ["long", "zero"],
        "problem": "single_label_classification", "task": "rte", "pairs": true, "max_tokens": 16})
    );
    let (status, error) = server.post("/models/third/predict", b"{}");
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("NAME of one, other"), "{error}");
    server.end();
}

#[test]
fn what_is_asked_in_a_wrong_way_is_told_so() {
    let limits = Limits { max_body_bytes: 1000, max_inputs: 2, ..Limits::default() };
    let server = Server::one(&Gate::open(), limits);
    let large = vec![b' '; 10 << 20];
    let found = server.post("/predict", &large);
    assert_eq!(reason(&found), (413, "body: expected at most 1000 bytes, found 10485760"));
    let chunked = ureq::SendBody::from_owned_reader(std::io::Cursor::new(large));
    let found = got(server.client.post(server.url("/predict")).send(chunked));
    assert_eq!(found.0, 413);
    let found = server.predict(asking(json!(["a", "b", "a"])));
    assert_eq!(reason(&found), (422, "inputs: expected at most 2 texts, found 3"));
    assert_eq!(server.post("/predict", b"\xff").0, 400);
    assert_eq!(server.post("/predicted", b"").0, 404);
    let found = server.client.get(server.url("/predict")).call().unwrap();
    assert_eq!(
        (found.status().as_u16(), found.headers()["allow"].to_str().unwrap()),
        (405, "POST")
    );
    assert_eq!(reason(&server.post("/health", b"")), (405, "method: expected GET, found POST"));
    let packed = server.client.post(server.url("/predict")).header("content-encoding", "gzip");
    assert_eq!(got(packed.send(b"")).0, 415);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    server.end();
}

#[test]
fn a_model_that_fails_is_this_side_s_fault_and_goes_on() {
    let server = Server::one(&Gate::open(), Limits::default());
    let found = server.predict(asking(json!(["a", "nan"])));
    assert!(reason(&found).1.starts_with("inputs[1]: expected finite logits, found NaN"));
    assert_eq!(found.0, 500);
    assert_eq!(server.predict(asking(json!("panic"))).0, 500);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    server.end();
}

#[test]
fn a_full_queue_sends_away_and_a_slow_model_is_not_waited_for() {
    let gate = Gate::default();
    let limits = Limits { max_queue: 2, timeout: Duration::from_millis(1500), ..Limits::default() };
    let server = Server::one(&gate, limits);
    let first = server.asks(asking(json!("a")));
    gate.wait_for(1);
    let second = server.asks(asking(json!(["a", "b"])));
    server.until_waiting(2.0);
    let sent_away = server.client.post(server.url("/predict"));
    let found = sent_away.send(asking(json!("a")).to_string().as_bytes()).unwrap();
    assert_eq!(found.headers()["retry-after"].to_str().unwrap(), "1");
    let found = got(Ok(found));
    assert_eq!(reason(&found), (429, "the queue is full: 2 texts wait already; ask again later"));
    for late in [first, second] {
        let found = late.join().unwrap();
        assert_eq!(reason(&found), (504, "no answer was computed within 1.5 s, the time allowed"));
    }
    gate.allow(usize::MAX / 2);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    // What was given up was not computed.
    assert_eq!(gate.batches(), [[3], [3]]);
    server.end();
}

#[test]
fn a_client_that_sends_slowly_is_not_waited_for() {
    let limits = Limits { timeout: Duration::from_millis(500), ..Limits::default() };
    let server = Server::one(&Gate::open(), limits);
    let mut text = String::new();
    let mut head = server.connection();
    head.write_all(b"POST /predict HTTP/1.1\r\nhost: a\r\n").unwrap();
    let mut body = server.connection();
    body.write_all(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{").unwrap();
    body.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("body: expected all of it within 0.5 s"), "{text}");
    // Closed without an answer to what was no request yet, or with one.
    text.clear();
    head.read_to_string(&mut text).unwrap();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408 "), "{text}");
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    server.end();
}

#[test]
fn connections_beyond_the_limit_wait() {
    let server = Server::one(&Gate::open(), Limits { max_connections: 1, ..Limits::default() });
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    };
    let (mut first, mut second) = (server.connection(), server.connection());
    let mut byte = [0];
    ask(&mut first);
    first.read_exact(&mut byte).unwrap();
    ask(&mut second);
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(second.read_exact(&mut byte).is_err());
    drop(first);
    second.set_read_timeout(Some(LONG)).unwrap();
    second.read_exact(&mut byte).unwrap();
    drop(second);
    server.end();
}

#[test]
fn what_was_asked_before_a_stop_is_answered_and_nothing_after() {
    let gate = Gate::default();
    let server = Server::one(&gate, Limits::default());
    let mut watching = server.connection();
    let mut text = [0; 12];
    let health = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    watching.write_all(health).unwrap();
    watching.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"HTTP/1.1 200");
    let asked: Vec<_> = (0..5).map(|_| server.asks(asking(json!("a")))).collect();
    gate.wait_for(1);
    server.until_waiting(4.0);
    server.stop.ask();
    let began = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(began.elapsed() < LONG);
        thread::sleep(Duration::from_millis(5));
    }
    let mut rest = String::new();
    watching.write_all(health).unwrap();
    watching.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 503 ") && rest.contains("connection: close"), "{rest}");
    assert!(rest.contains("the server is stopping"), "{rest}");
    gate.allow(usize::MAX / 2);
    for answer in asked {
        assert_eq!(answer.join().unwrap(), (200, json!([of(3.0)])));
    }
    server.end();
}

#[test]
fn a_request_that_is_sent_as_the_server_stops_is_answered_too() {
    let server = Server::one(&Gate::open(), Limits::default());
    let mut stream = server.connection();
    let body = asking(json!("a")).to_string();
    let head =
        format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    server.stop.ask();
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    server.end();
}

#[test]
fn a_cut_connection_takes_its_request_with_it() {
    let gate = Gate::default();
    let server = Server::one(&gate, Limits::default());
    let first = server.asks(asking(json!("a")));
    gate.wait_for(1);
    let body = asking(json!("a a a a")).to_string();
    let head =
        format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    let mut cut = server.connection();
    cut.write_all((head.clone() + &body).as_bytes()).unwrap();
    server.until_waiting(1.0);
    drop(cut);
    // In the middle of a body, too.
    server.connection().write_all(head.as_bytes()).unwrap();
    let began = Instant::now();
    while server.metrics()["platon_connections"] > 2.0 {
        assert!(began.elapsed() < LONG);
        thread::sleep(Duration::from_millis(5));
    }
    gate.allow(usize::MAX / 2);
    assert_eq!(first.join().unwrap().0, 200);
    assert_eq!(server.predict(asking(json!("b b"))).0, 200);
    assert_eq!(gate.batches(), [[3], [4]]);
    server.end();
}

#[test]
fn requests_are_counted_by_path_and_status_and_the_page_needs_nothing_else() {
    let server = Server::one(&Gate::open(), Limits::default());
    for inputs in [json!("a"), json!(["a", "b"]), json!(3)] {
        server.predict(asking(inputs));
    }
    server.get("/nothing/of/the/kind");
    let mut page = server.client.get(server.url("/")).call().unwrap();
    assert!(page.headers().contains_key("content-security-policy"));
    let text = page.body_mut().read_to_string().unwrap();
    assert!(text.starts_with("<!doctype html>"));
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="));
    let counted = server.metrics();
    for (name, value) in [
        (r#"platon_requests_total{path="/predict",code="200"}"#, 2.0),
        (r#"platon_requests_total{path="/predict",code="422"}"#, 1.0),
        (r#"platon_requests_total{path="other",code="404"}"#, 1.0),
        (r#"platon_request_seconds_count{path="/predict"}"#, 3.0),
        (r#"platon_texts_total{model="fake"}"#, 3.0),
        (r#"platon_tokens_total{model="fake"}"#, 9.0),
        (r#"platon_batch_texts_sum{model="fake"}"#, 3.0),
    ] {
        assert_eq!(counted.get(name), Some(&value), "{name}");
    }
    server.end();
}

#[test]
fn no_body_makes_it_fall() {
    let server = Server::one(&Gate::open(), Limits::default());
    let deep = "[".repeat(200_000);
    let nested = format!("{{\"inputs\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    let numbers = format!("{{\"inputs\": [{}]}}", vec!["1e308"; 10_000].join(","));
    let word = format!("{{\"inputs\": \"{}\"}}", "\u{1F600}a".repeat(100_000));
    for body in [
        "",
        "{",
        "null",
        "[]",
        "\u{0}",
        "{\"inputs\": \"\u{0}\"}",
        "{\"inputs\": null}",
        "{\"inputs\": {}}",
        "{\"inputs\": [[]]}",
        "{\"inputs\": [[[\"a\", \"b\"]]]}",
        "{\"inputs\": -1e400}",
        "{\"inputs\": \"a\", \"parameters\": {\"top_k\": 18446744073709551616}}",
        "{\"inputs\": \"a\", \"parameters\": {\"top_k\": -1}}",
        "{\"inputs\": \"\\ud800\"}",
        &deep,
        &nested,
        &numbers,
    ] {
        let (status, found) = server.post("/predict", body.as_bytes());
        assert!(status == 400 || status == 422, "{status} for {body:.60}");
        assert!(found["error"].is_string());
    }
    for body in [
        "{\"inputs\": \"\\u0000\"}",
        "{\"inputs\": [\"\", \"\\u0000\\uffff\"]}",
        "{\"inputs\": \"a\", \"inputs\": \"b\"}",
        "{\"inputs\": {\"text\": \"\", \"text_pair\": \"\"}}",
        "{\"inputs\": \"a\", \"parameters\": {\"top_k\": 18446744073709551615}}",
        &word,
    ] {
        assert_eq!(server.post("/predict", body.as_bytes()).0, 200, "{body:.60}");
    }
    server.end();
}
