use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::asked::{LONG, Server, asking, got, of, reason};
use super::fake::Gate;
use super::*;

#[test]
fn a_full_queue_sends_away_and_a_slow_model_is_not_waited_for() {
    let gate = Gate::default();
    let limits = Limits { max_queue: 2, timeout: Duration::from_secs(3), ..Limits::DEFAULT };
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
        assert_eq!(reason(&found), (504, "no answer was computed within 3 s, the time allowed"));
    }
    gate.allow(usize::MAX / 2);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    // What was given up was not computed.
    assert_eq!(gate.batches(), [[3], [3]]);
    server.end();
}

#[test]
fn a_client_that_sends_slowly_is_not_waited_for() {
    let limits = Limits { timeout: Duration::from_millis(500), ..Limits::DEFAULT };
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
    let server = Server::one(&Gate::open(), Limits { max_connections: 1, ..Limits::DEFAULT });
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
    let server = Server::one(&gate, Limits::DEFAULT);
    let mut watching = server.connection();
    let mut text = [0; 12];
    let health = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    watching.write_all(health).unwrap();
    watching.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"HTTP/1.1 200");
    let first = server.asks(asking(json!("a")));
    gate.wait_for(1);
    let others = (0..4).map(|_| server.asks(asking(json!("a"))));
    let asked: Vec<_> = std::iter::once(first).chain(others).collect();
    server.until_waiting(4.0);
    server.stop.ask();
    // At once: what comes later than a moment finds the connection closed.
    watching.write_all(health).unwrap();
    let mut rest = String::new();
    watching.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 503 ") && rest.contains("connection: close"), "{rest}");
    assert!(rest.contains("the server is stopping"), "{rest}");
    let began = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(began.elapsed() < LONG);
        thread::sleep(Duration::from_millis(5));
    }
    gate.allow(usize::MAX / 2);
    for answer in asked {
        assert_eq!(answer.join().unwrap(), (200, json!([of(3.0)])));
    }
    server.end();
}

#[test]
fn a_request_that_is_sent_as_the_server_stops_is_answered_too() {
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
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
fn clients_that_keep_coming_hold_up_no_stop() {
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
    let (address, began) = (server.address, Instant::now());
    let comes = move || {
        while began.elapsed() < LONG && TcpStream::connect(address).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let clients: Vec<_> = (0..4).map(|_| thread::spawn(comes)).collect();
    server.end();
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

#[test]
fn a_cut_connection_takes_its_request_with_it() {
    let gate = Gate::default();
    let server = Server::one(&gate, Limits::DEFAULT);
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
