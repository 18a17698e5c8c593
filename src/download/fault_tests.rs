//! Servers and networks that fail.

use std::time::Instant;

use super::*;

#[test]
fn a_missing_file_is_an_error_unless_it_is_optional() {
    let (place, server) = (Place::new(), serve_files(&[]));
    let message = place.fail(&server, |_| {});
    assert!(message.contains("no such file (404) (hint: check the name, or name another server"));
    assert_eq!(place.run(&server, |r| r.optional = true).unwrap(), Outcome::Absent);
    // So say object stores.
    let refusing = serve(|_| Answer::status(403));
    assert_eq!(place.run(&refusing, |r| r.optional = true).unwrap(), Outcome::Absent);
    assert_eq!(server.seen().len(), 2, "asking again is no use");
    assert!(place.files().is_empty());
}

#[test]
fn an_overloaded_server_is_asked_again() {
    for status in [429, 500, 503] {
        let server = serve(move |seen| match seen.nth {
            0 | 1 => Answer::status(status),
            _ => Answer::ok(body()),
        });
        let place = Place::new();
        place.get(&server).unwrap();
        assert_eq!(place.content(), body());
    }
    let (place, server) = (Place::new(), serve(|_| Answer::status(502)));
    let message = place.fail(&server, |_| {});
    assert!(message.contains("status 502, 3 times; 0 bytes have come (hint: run again later"));
    assert_eq!(server.seen().len(), 3);
    assert!(place.files().is_empty());
}

#[test]
fn a_refusal_tells_where_to_put_the_file() {
    for status in [401, 403] {
        let (place, server) = (Place::new(), serve(move |_| Answer::status(status)));
        let message = place.fail(&server, |r| r.hub = true);
        assert!(message.contains(&format!("the server refuses (status {status})")), "{message}");
        assert!(message.contains("check the model's name; one whose terms must be accepted"));
        assert!(message.ends_with(&format!("put the file at {})", place.target().display())));
        let message = place.fail(&server, |_| {});
        assert!(message.contains("name another server with --glue-url, or put the file at"));
        assert_eq!(server.seen().len(), 2);
    }
    let (place, server) = (Place::new(), serve(|_| Answer::status(204)));
    assert!(place.fail(&server, |_| {}).contains("status 204, and no file"));
}

#[test]
fn a_wrong_size_is_noticed() {
    // Less than announced looks like a cut connection, and is tried again.
    let (place, server) = (Place::new(), serve(|_| Answer::ok(body()).length(100_001)));
    assert!(place.fail(&server, |_| {}).contains("100000 of 100001 bytes have come"));

    let server = serve(|_| Answer::ok(body()).header("X-Linked-Size", "100001"));
    let place = Place::new();
    let message = place.fail(&server, |r| r.hub = true);
    assert!(message.contains("expected 100001 bytes, found 100000"), "{message}");
    assert!(place.files().is_empty());

    let server = serve(|_| Answer::ok(body()).no_length().header("X-Linked-Size", "99999"));
    let message = place.fail(&server, |r| r.hub = true);
    assert!(message.contains("expected 99999 bytes, found 100000"), "{message}");
    assert!(place.files().is_empty());

    // More than announced is not read; only the hash can tell.
    let server = serve(|_| Answer::ok(body()).length(99_999));
    let right = sha(&body());
    assert!(place.fail(&server, |r| r.sha256 = Some(right)).contains("expected the SHA-256"));
}

#[test]
fn a_wrong_hash_leaves_nothing() {
    let (place, server) = (Place::new(), serve_files(&[("/a.bin", body())]));
    let wrong = sha(b"other");
    let message = place.fail(&server, |r| r.sha256 = Some(wrong));
    assert!(message.contains(&format!("expected the SHA-256 {wrong}, found {}", sha(&body()))));
    assert!(message.contains("(hint: run again; if it stays so"), "{message}");
    assert!(place.files().is_empty());

    let tag = format!("\"{wrong}\"");
    let server = serve(move |_| Answer::ok(body()).header("ETag", &tag));
    assert!(place.fail(&server, |r| r.hub = true).contains("expected the SHA-256"));
    assert_eq!(place.get(&server).unwrap(), Outcome::Fetched, "elsewhere a tag is only a tag");
}

#[test]
fn a_tag_behind_a_redirect_is_no_hash() {
    let tag = format!("\"{}\"", sha(b"chunks"));
    let cdn = serve(move |_| Answer::ok(body()).header("ETag", &tag));
    let location = format!("{}/blob", cdn.url);
    let hub = serve(move |_| Answer::redirect(302, &location));
    Place::new().run(&hub, |r| r.hub = true).unwrap();
}

#[test]
fn a_weak_tag_does_not_vouch_for_bytes() {
    let other: Vec<u8> = body().iter().map(|byte| byte ^ 1).collect();
    let new = other.clone();
    let server = serve(move |seen| match seen.nth {
        0 => Answer::ranged(seen, &body(), "W/\"1\"").cut(30_000),
        _ => Answer::ranged(seen, &new, "W/\"2\""),
    });
    let place = Place::new();
    place.get(&server).unwrap();
    assert!(place.content() == other);
    assert_eq!((server.seen().len(), server.seen()[1].from), (2, None));

    // Where the hash is known, a wrong rest would be seen.
    let server = serve(|seen| match seen.nth {
        0 => Answer::ranged(seen, &body(), "W/\"1\"").cut(30_000),
        _ => Answer::ranged(seen, &body(), "W/\"1\""),
    });
    let hash = sha(&body());
    Place::new().run(&server, |r| r.sha256 = Some(hash)).unwrap();
    assert_eq!((server.seen()[1].from, &server.seen()[1].if_range), (Some(30_000), &None));
}

#[test]
fn slow_is_not_stalled() {
    let timeout = Duration::from_millis(400);
    let server = serve(|_| Answer::ok(&body()[..10]).drip(1, Duration::from_millis(60)));
    let place = Place::with(Settings { timeout, ..quick() });
    let start = Instant::now();
    place.get(&server).unwrap();
    assert!(start.elapsed() > timeout, "longer than the timeout in all");
    assert_eq!(place.content(), &body()[..10]);

    let server = serve(|_| Answer::ok(body()).stall(1_000, Duration::from_secs(2)));
    let timeout = Duration::from_millis(150);
    let place = Place::with(Settings { timeout, attempts: 2, ..quick() });
    let message = place.fail(&server, |_| {});
    assert!(message.contains("the server has stopped sending, 2 times"), "{message}");
}

#[test]
fn a_server_that_drips_is_given_up_in_headers_body_and_trailers() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let timeout = Duration::from_millis(200);
    let endless = "x".repeat(10_000);
    let chunk = |rest: &str| format!("{CHUNKED}5\r\nhello\r\n{rest}");
    let slow = "fewer than 1000 bytes a second";
    for (at_once, then, slowest, expected) in [
        ("HTTP/1.1 200 OK\r\nX: ".to_owned(), &endless, 0, "the server does not answer in time"),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), &endless, 1000, slow),
        (chunk("0\r\nX: "), &endless, 1000, slow),
        (chunk("0\r\n"), &"X: y\r\n".repeat(1000), 1000, slow),
    ] {
        let answer = Answer::raw(&at_once, then).drip(1, Duration::from_millis(20));
        let server = serve(move |_| answer.clone());
        let place = Place::with(Settings { timeout, slowest, attempts: 2, ..quick() });
        let start = Instant::now();
        let message = place.fail(&server, |_| {});
        assert!(message.contains(&format!("{expected}, 2 times")), "{message}");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    // Fast in the middle is no excuse for the end, and a pause is none to give up.
    let server = serve(|_| Answer::ok(body()).drip(10_000, Duration::from_millis(60)));
    Place::with(Settings { timeout, slowest: 10_000, ..quick() }).get(&server).unwrap();
}

#[test]
fn a_file_that_is_too_large_is_refused() {
    let place = Place::with(Settings { max_bytes: 99_999, ..quick() });
    let server = serve(|_| Answer::ok(body()).length(9 << 30).cut(10));
    let message = place.fail(&server, |_| {});
    assert!(message.contains("expected at most 99999 bytes, found 9663676416"), "{message}");
    let server = serve(|_| Answer::ok(body()).no_length());
    let message = place.fail(&server, |_| {});
    assert!(message.contains("expected at most 99999 bytes"), "{message}");
    assert!(place.files().is_empty());
    let message = place.fail(&server, |r| r.max_bytes = 9);
    assert!(message.contains("expected at most 9 bytes"), "{message}");
}

#[test]
fn planted_links_and_pipes_are_not_written_through() {
    let (place, server) = (Place::new(), serve_files(&[("/a.bin", body())]));
    let at = |name: &str| place.dir.path().join(name);
    fs::write(at("theirs"), "content").unwrap();
    std::os::unix::fs::symlink(at("theirs"), at("a.bin.part")).unwrap();
    let message = place.fail(&server, |_| {});
    assert!(message.contains("a.bin.part: expected a file, found a link"), "{message}");
    fs::remove_file(at("a.bin.part")).unwrap();
    // The note is replaced, and so is the file itself.
    for name in ["a.bin.part.json", "a.bin"] {
        std::os::unix::fs::symlink(at("theirs"), at(name)).unwrap();
    }
    let right = sha(&body());
    place.run(&server, |r| r.sha256 = Some(right)).unwrap();
    assert_eq!(fs::read_to_string(at("theirs")).unwrap(), "content");
    assert!(fs::symlink_metadata(at("a.bin")).unwrap().is_file());
}

#[test]
fn a_network_that_was_there_a_moment_ago_may_come_back() {
    // The server ends with its first answer, and nothing listens there any more.
    let server = serve(|seen| Answer::ranged(seen, &body(), ETAG).cut(30_000).last());
    let place = Place::with(Settings { pause: Duration::from_millis(80), ..quick() });
    let start = Instant::now();
    let message = place.fail(&server, |_| {});
    assert!(start.elapsed() >= Duration::from_millis(80 + 160), "it was tried again");
    assert!(message.contains("refused"), "{message}");
    assert!(message.contains("; 30000 of 100000 bytes have come (hint: run again to go on"));
}

#[test]
fn without_a_network_the_error_tells_what_to_put_where() {
    let server = serve_files(&[]);
    let (place, start) =
        (Place::with(Settings { pause: Duration::from_secs(60), ..quick() }), Instant::now());
    let gone = |r: &mut Request<'_>| r.url = "http://127.0.0.1:1/a.bin";
    let message = place.fail(&server, gone);
    assert!(message.contains("http://127.0.0.1:1/a.bin: "), "{message}");
    assert!(message.contains("refused"), "{message}");
    let expected = format!("with --glue-url, or put the file at {})", place.target().display());
    assert!(message.ends_with(&expected), "{message}");
    assert!(start.elapsed() < Duration::from_secs(30), "waiting would not help");
    assert!(place.files().is_empty());
    let mut part = Partial::open(&place.target(), "http://127.0.0.1:1/a.bin").unwrap();
    let url = "http://127.0.0.1:1/a.bin".to_owned();
    let etag = Some("\"1\"".to_owned());
    part.begin(Note { url, etag, sha256: None, total: Some(9) }).unwrap();
    part.write(b"12345").unwrap();
    drop(part);
    let message = place.fail(&server, gone);
    assert!(message.contains("; 5 of 9 bytes have come (hint: run again to go on"), "{message}");
    let place = Place::new();
    fs::write(place.target(), b"something else").unwrap();
    let hash = sha(&body());
    let message =
        place.fail(&server, |r| (r.url, r.sha256) = ("http://127.0.0.1:1/a.bin", Some(hash)));
    assert!(message.ends_with("a.bin (the one there has another SHA-256))"), "{message}");
    assert_eq!(place.content(), b"something else");
    assert!(Place::new().fail(&server, |r| r.url = "http://a b/a.bin").contains("an HTTP address"));
}

#[test]
fn a_packed_answer_is_refused() {
    let server = serve(|_| Answer::ok(body()).header("Content-Encoding", "br"));
    assert!(Place::new().fail(&server, |_| {}).contains("packs the file (br)"));
    let server = serve(|_| Answer::ok(body()).header("Content-Encoding", "identity"));
    Place::new().get(&server).unwrap();
}

#[test]
fn short_texts_are_read_without_a_file() {
    let server = serve(|seen| match (seen.path.as_str(), seen.nth) {
        ("/late", 0) => Answer::status(500),
        ("/late", _) => Answer::ok("text"),
        ("/long", _) => Answer::ok(vec![b'x'; (1 << 20) + 1]),
        ("/bytes", _) => Answer::ok([0xff, 0xfe]),
        ("/closed", _) => Answer::status(403),
        ("/broken", _) => Answer::status(500),
        _ => Answer::status(404),
    });
    let fetcher = Fetcher::new(quick());
    let text = |path: &str| fetcher.text(&format!("{}{path}", server.url), "--glue-url");
    assert_eq!(text("/late").unwrap().as_deref(), Some("text"));
    assert_eq!(text("/none").unwrap(), None);
    assert_eq!(text("/closed").unwrap(), None);
    assert!(text("/long").unwrap_err().to_string().contains("at most 1 MiB of text"));
    assert!(text("/bytes").unwrap_err().to_string().contains("expected UTF-8 text"));
    let message = text("/broken").unwrap_err().to_string();
    assert!(message.contains("status 500 (hint: check the network"), "{message}");
}
