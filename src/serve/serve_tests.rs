use std::io::Cursor;
use std::time::Duration;

use serde_json::json;

use super::asked::{Server, asking, got, of, reason, served};
use super::fake::Gate;
use super::*;

#[test]
fn texts_pairs_and_lists_are_answered_in_their_order() {
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
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
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
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
fn two_long_texts_are_shortened_in_no_time() {
    // Were the parts that are cut off of one joined with those of the other, this would take seconds,
    // and longer texts all memory.
    let limits = Limits { timeout: Duration::from_secs(2), ..Limits::DEFAULT };
    let server = Server::one(&Gate::open(), limits);
    let pair = json!({"text": "a ".repeat(6000), "text_pair": "b ".repeat(6000)});
    assert_eq!(server.predict(asking(pair)), (200, json!([of(16.0)])));
    server.end();
}

#[test]
fn every_model_is_asked_by_its_name_and_the_first_without() {
    let (one, other) = (Gate::open(), Gate::open());
    let models = vec![served("one", &one, Some("sst")), served("other", &other, Some("rte"))];
    let server = Server::of(models, Limits::DEFAULT);
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
    let limits = Limits { max_body_bytes: 1000, max_inputs: 2, ..Limits::DEFAULT };
    let server = Server::one(&Gate::open(), limits);
    let large = vec![b' '; 10 << 20];
    let found = server.post("/predict", &large);
    assert_eq!(reason(&found), (413, "body: expected at most 1000 bytes, found 10485760"));
    let chunked = ureq::SendBody::from_owned_reader(Cursor::new(large.clone()));
    let found = got(server.client.post(server.url("/predict")).send(chunked));
    assert_eq!(found.0, 413);
    let found = server.predict(asking(json!(["a", "b", "a"])));
    assert_eq!(reason(&found), (422, "inputs: expected at most 2 texts, found 3"));
    assert_eq!(server.post("/predict", b"\xff").0, 400);
    // A client that is still sending sees the answer, not a broken connection.
    assert_eq!(server.post("/predicted", &large).0, 404);
    let found = server.client.get(server.url("/predict")).call().unwrap();
    assert_eq!(
        (found.status().as_u16(), found.headers()["allow"].to_str().unwrap()),
        (405, "POST")
    );
    assert_eq!(reason(&server.post("/health", &large)), (405, "method: expected GET, found POST"));
    let packed = server.client.post(server.url("/predict")).header("content-encoding", "gzip");
    assert_eq!(got(packed.send(&large)).0, 415);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    server.end();
}

#[test]
fn a_model_that_fails_is_this_side_s_fault_and_goes_on() {
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
    let found = server.predict(asking(json!(["a", "nan"])));
    assert!(reason(&found).1.starts_with("inputs[1]: expected finite logits, found NaN"));
    assert_eq!(found.0, 500);
    assert_eq!(server.predict(asking(json!("panic"))).0, 500);
    assert_eq!(server.predict(asking(json!("a"))).0, 200);
    server.end();
}

#[test]
fn requests_are_counted_by_path_and_status_and_the_page_needs_nothing_else() {
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
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
    let server = Server::one(&Gate::open(), Limits::DEFAULT);
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
