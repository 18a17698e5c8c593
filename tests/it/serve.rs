//! The server as a program, with a model of the demo.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crash::signal;
use crate::dir::{Dir, with_signals};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// The program while it serves; it is ended with the test.
struct Server {
    child: Child,
    address: String,
    client: ureq::Agent,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Got = (u16, Value);

impl Server {
    fn start(dir: &Dir, args: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
        command.args(["serve", "--port", "0"]).args(args.split_whitespace());
        with_signals(command.current_dir(dir.path(".")), &[]);
        let stderr = std::fs::File::create(dir.path("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{line:?}: {}", dir.read("stderr")));
        let client = ureq::Agent::config_builder().http_status_as_error(false);
        let client = client.timeout_global(Some(LONG)).build().new_agent();
        Self { address: address.to_string(), child, client }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn post(&self, path: &str, body: &Value) -> Got {
        got(self.client.post(self.url(path)).send(body.to_string().as_bytes()))
    }

    fn predict(&self, inputs: Value) -> Got {
        self.post("/predict", &json!({"inputs": inputs}))
    }

    /// Asks on a thread of its own.
    fn asks(&self, inputs: Value) -> JoinHandle<Got> {
        let (client, url) = (self.client.clone(), self.url("/predict"));
        let body = json!({"inputs": inputs}).to_string();
        thread::spawn(move || got(client.post(url).send(body.as_bytes())))
    }

    fn metrics(&self) -> HashMap<String, f64> {
        let mut response = self.client.get(self.url("/metrics")).call().unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
        pairs.map(|(name, value)| (name.to_string(), value.parse().unwrap())).collect()
    }

    fn connection(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Waits for the end; the exit code.
    fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

fn got(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Got {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn error((status, body): Got) -> (u16, String) {
    (status, body["error"].as_str().unwrap_or_default().to_string())
}

/// A pair, the longer the higher its number.
fn pair(n: usize) -> [String; 2] {
    [format!("a cat {}", "sleeps ".repeat(n % 31)), "a dog".into()]
}

/// Checks a text's labels against a line of `platon predict --json`.
fn assert_as_predicted(labels: &Value, row: &Value, names: &[String]) {
    let labels = labels.as_array().unwrap();
    assert_eq!(labels.len(), names.len());
    assert_eq!(labels[0]["label"], row["prediction"]);
    for pair in labels.windows(2) {
        assert!(pair[0]["score"].as_f64() >= pair[1]["score"].as_f64());
    }
    for (name, expected) in names.iter().zip(row["scores"].as_array().unwrap()) {
        let found = labels.iter().find(|label| label["label"] == **name).unwrap();
        let difference = found["score"].as_f64().unwrap() - expected.as_f64().unwrap();
        // Batches of other texts change the last digits.
        assert!(difference.abs() < 1e-5, "{found} for {expected}");
    }
}

#[test]
fn answers_are_those_of_predict_on_either_engine() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let pairs: Vec<_> = (0..40).map(pair).collect();
    let lines: String = pairs.iter().map(|[a, b]| format!("{a}\t{b}\n")).collect();
    dir.write("pairs.tsv", &lines);
    let predicted = dir.platon_ok("predict run --input pairs.tsv --json").stdout;
    let rows: Vec<Value> =
        predicted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let table = dir.platon_ok("predict run --input pairs.tsv").stdout;
    let names: Vec<String> =
        table.lines().next().unwrap().split('\t').skip(2).map(str::to_string).collect();
    for engine in ["dense", "sparse"] {
        let server = Server::start(&dir, &format!("run --engine {engine}"));
        assert!(dir.read("stderr").contains(&format!("engine: {engine}")));
        let (status, all) = server.predict(json!(pairs));
        assert_eq!((status, all.as_array().unwrap().len()), (200, rows.len()));
        for (labels, row) in all.as_array().unwrap().iter().zip(&rows) {
            assert_as_predicted(labels, row, &names);
        }
        let [a, b] = &pairs[7];
        let (_, one) = server.predict(json!({"text": a, "text_pair": b}));
        assert_as_predicted(&one[0], &rows[7], &names);
        assert_eq!(one.as_array().unwrap().len(), 1);
        // From many at once, too.
        let asked: Vec<_> = pairs.iter().map(|pair| server.asks(json!([pair]))).collect();
        for (answer, row) in asked.into_iter().zip(&rows) {
            let (status, found) = answer.join().unwrap();
            assert_eq!(status, 200, "{found}");
            assert_as_predicted(&found[0], row, &names);
        }
        let metrics = server.metrics();
        assert_eq!(metrics[r#"platon_requests_total{path="/predict",code="200"}"#], 42.0);
        assert_eq!(metrics[r#"platon_texts_total{model="run"}"#], 81.0);
        assert_eq!(metrics[r#"platon_batch_texts_sum{model="run"}"#], 81.0);
        assert!(metrics[r#"platon_batch_texts_count{model="run"}"#] < 60.0, "{metrics:?}");
    }
}

#[test]
fn the_limits_are_those_of_the_flags() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let server = Server::start(
        &dir,
        "--model a=run --model b=run --max-body-bytes 2000 --max-inputs 2 --max-batch-tokens 1 --engine dense",
    );
    let pairs: Vec<_> = (0..3).map(pair).collect();
    let found = error(server.predict(json!(pairs)));
    assert_eq!(found, (422, "inputs: expected at most 2 texts, found 3".into()));
    let found = error(server.predict(json!("a".repeat(2000))));
    assert_eq!(found.0, 413);
    assert!(found.1.starts_with("body: expected at most 2000 bytes, found 20"), "{}", found.1);
    let found = error(server.predict(json!("a text")));
    assert_eq!(found.0, 422);
    assert!(
        found.1.starts_with("inputs[0]: expected text and text_pair, for the model is one of ")
    );
    let body = json!({"inputs": [pair(1), pair(2)]});
    let (one, other) =
        (server.post("/models/a/predict", &body), server.post("/models/b/predict", &body));
    assert_eq!((one.0, &one.1), (200, &other.1));
    let metrics = server.metrics();
    for name in ["a", "b"] {
        assert_eq!(metrics[&format!("platon_batch_texts_count{{model=\"{name}\"}}")], 2.0);
    }
    assert_eq!(error(server.post("/models/c/predict", &body)).0, 404);
    assert_eq!(got(server.client.get(server.url("/predict")).call()).0, 405);
    drop(server);
    // Nothing is computed in no time.
    let server = Server::start(&dir, "run --max-queue 1 --timeout 1 --max-connections 2");
    let found = error(server.predict(json!([pair(1), pair(2)])));
    assert_eq!(found, (422, "inputs: expected at most 1 texts, found 2".into()));
    let mut slow = server.connection();
    slow.write_all(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{").unwrap();
    let (began, mut text) = (Instant::now(), String::new());
    slow.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!((0.5..20.0).contains(&began.elapsed().as_secs_f64()));
    let mut full = [server.connection(), server.connection()].map(|mut connection| {
        connection.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        connection
    });
    // They say nothing more, and make room a second later.
    let began = Instant::now();
    assert_eq!(server.predict(json!(pair(1).to_vec())).0, 422);
    assert_eq!(server.predict(json!([pair(1)])).0, 200);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    assert!(full[0].read(&mut [0; 100]).is_ok());
}

#[test]
fn a_full_queue_sends_away() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let server = Server::start(&dir, "run --max-queue 20 --max-batch-tokens 1");
    let list: Vec<_> = (0..20).map(pair).collect();
    let asked: Vec<_> = (0..16).map(|_| server.asks(json!(list))).collect();
    let (mut answered, mut sent_away) = (0, 0);
    for answer in asked {
        match answer.join().unwrap() {
            (200, _) => answered += 1,
            found => {
                let (status, reason) = error(found);
                assert!(reason.starts_with("the queue is full: "), "{status}: {reason}");
                assert_eq!(status, 429);
                sent_away += 1;
            }
        }
    }
    assert!(answered > 0 && sent_away > 0, "{answered} and {sent_away}");
}

#[test]
fn after_a_shared_batch_the_next_waits_where_that_is_wanted() {
    let dir = Dir::with_finished_run("--max-steps 4");
    // The longest that a lone request took right after many at once; a burst may have been so spread
    // that its last batch answered one request alone.
    let longest = |flags: &str, enough: Duration| {
        let server = Server::start(&dir, &format!("run {flags}"));
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let list: Vec<_> = (0..20).map(pair).collect();
            let asked: Vec<_> = (0..8).map(|_| server.asks(json!(list))).collect();
            for answer in asked {
                assert_eq!(answer.join().unwrap().0, 200);
            }
            let began = Instant::now();
            assert_eq!(server.predict(json!([pair(1)])).0, 200);
            longest = longest.max(began.elapsed());
            if longest > enough {
                break;
            }
        }
        longest
    };
    let wait = Duration::from_millis(3000);
    let waited = longest("--max-wait-ms 3000 --max-batch-tokens 100000", wait / 2);
    assert!(waited > wait / 2, "{waited:?}");
    let waited = longest("", wait / 2);
    assert!(waited < wait / 2, "{waited:?}");
}

#[test]
fn at_a_signal_all_that_was_asked_is_answered_and_the_exit_code_is_0() {
    let dir = Dir::with_finished_run("--max-steps 4");
    for name in ["-TERM", "-INT", "-HUP"] {
        let mut server = Server::start(&dir, "run --max-batch-tokens 1");
        let asked: Vec<_> = (0..16)
            .map(|n| server.asks(json!((n..n + 20).map(pair).collect::<Vec<_>>())))
            .collect();
        let began = Instant::now();
        while server.metrics()[r#"platon_batch_texts_count{model="run"}"#] < 5.0 {
            assert!(began.elapsed() < LONG);
        }
        signal(&server.child, name);
        for answer in asked {
            let (status, found) = answer.join().unwrap();
            assert_eq!((status, found.as_array().unwrap().len()), (200, 20));
        }
        assert_eq!(server.ended(), Some(0));
        assert!(dir.read("stderr").ends_with("stopped: every request is answered\n"));
        assert!(TcpStream::connect(&server.address).is_err());
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let mut server = Server::start(&dir, "run");
    let mut unfinished = server.connection();
    unfinished
        .write_all(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{")
        .unwrap();
    // Answers, so the connection before it is taken too.
    server.metrics();
    signal(&server.child, "-TERM");
    thread::sleep(Duration::from_millis(600));
    assert!(server.child.try_wait().unwrap().is_none());
    signal(&server.child, "-TERM");
    assert_eq!(server.ended(), Some(128 + libc::SIGTERM));
}

#[test]
fn clients_that_go_do_no_harm() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let mut server = Server::start(&dir, "run");
    let body = json!({"inputs": (0..50).map(pair).collect::<Vec<_>>()}).to_string();
    let head =
        format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
    for cut in 0..60 {
        let whole = head.clone() + &body;
        let end = whole.len() * cut / 59;
        server.connection().write_all(&whole.as_bytes()[..end]).unwrap();
    }
    server.connection().write_all(b"\x16\x03\x01\0\xff no HTTP at all\r\n\r\n").unwrap();
    assert_eq!(server.predict(json!([pair(1)])).0, 200);
    signal(&server.child, "-TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn what_cannot_be_served_is_told_before_anything_is() {
    let dir = Dir::with_finished_run("--max-steps 4");
    let found = dir.platon_refuses("serve run --max-queue 4 --max-inputs 5");
    assert!(
        found.contains("max-inputs: expected at most 4, as max-queue says, found 5"),
        "{found}"
    );
    let found = dir.platon_refuses("serve run --max-wait-ms 2000 --timeout 2");
    assert!(found.contains("max-wait-ms: expected less than 2000, as timeout says"), "{found}");
    let found = dir.platon_refuses("serve run --model run=run");
    assert!(found.contains("model: expected names that differ, found run twice"), "{found}");
    assert!(dir.platon_refuses("serve nothing").contains("nothing"));
    assert!(dir.platon_refuses("serve run --tokenizer nothing").contains("nothing"));
    assert!(dir.platon_refuses("serve run --backend nothing").contains("backend"));
    let server = Server::start(&dir, "run --host 0.0.0.0");
    assert!(server.address.starts_with("0.0.0.0:"), "{}", server.address);
    let port = server.address.rsplit_once(':').unwrap().1;
    let found = dir.platon_refuses(&format!("serve run --port {port}"));
    assert!(found.contains("host and port: expected an address to listen on, found 127.0.0.1:"));
    assert!(found.contains("--port 0 takes one that is free"), "{found}");
    assert_eq!(dir.platon("serve").code, 2);
    assert_eq!(dir.platon("serve run --model =x").code, 2);
}
