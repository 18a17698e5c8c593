use proptest::prelude::*;

use super::*;
use crate::glue::task::task;

fn read(body: &str) -> Result<Ask, Refusal> {
    Ask::read(body.as_bytes(), 3, None)
}

fn texts(body: &str) -> Vec<(String, Option<String>)> {
    read(body).unwrap().rows.into_iter().map(|row| (row.text_a, row.text_b)).collect()
}

fn reason(body: &str) -> String {
    let refusal = read(body).unwrap_err();
    assert_eq!(refusal.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    refusal.reason
}

#[test]
fn every_form_of_inputs_is_read() {
    let one = |a: &str| (a.to_string(), None);
    let two = |a: &str, b: &str| (a.to_string(), Some(b.to_string()));
    assert_eq!(texts(r#"{"inputs": "a"}"#), [one("a")]);
    assert_eq!(texts(r#"{"inputs": ["a", ""]}"#), [one("a"), one("")]);
    assert_eq!(texts(r#"{"inputs": {"text": "a"}}"#), [one("a")]);
    assert_eq!(texts(r#"{"inputs": {"text": "a", "text_pair": null}}"#), [one("a")]);
    assert_eq!(texts(r#"{"inputs": {"text": "a", "text_pair": "b"}}"#), [two("a", "b")]);
    assert_eq!(
        texts(r#"{"inputs": [{"text": "a", "text_pair": "b"}, ["c", "d"], "e"]}"#),
        [two("a", "b"), two("c", "d"), one("e")]
    );
    // On one line, as the rows of a file.
    assert_eq!(texts(r#"{"inputs": [["a\nb", "\tc"]]}"#), [two("a b", " c")]);
}

#[test]
fn parameters_are_those_of_the_api() {
    let ask = read(r#"{"inputs": "a"}"#).unwrap();
    assert_eq!((ask.top_k, ask.function, ask.truncation), (None, None, true));
    let ask = read(
        r#"{"inputs": "a", "parameters": {"top_k": 2, "function_to_apply": "none", "truncation": false}}"#,
    );
    let ask = ask.unwrap();
    assert_eq!((ask.top_k, ask.function), (Some(2), Some(Function::None)));
    assert!(!ask.truncation);
    let ask = read(r#"{"inputs": "a", "parameters": {"top_k": null, "function_to_apply": null}}"#);
    assert_eq!(ask.unwrap().top_k, None);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (body, expected) in [
        ("3", "body: expected a JSON object with inputs, found the number 3"),
        (
            "{}",
            "inputs: expected a text, an object with text and text_pair, or a list of such, found none",
        ),
        (r#"{"inputs": []}"#, "inputs: expected at least one text, found an empty list"),
        (
            r#"{"inputs": [1]}"#,
            "inputs[0]: expected a text, an object with text and text_pair, or a list of two texts, found the number 1",
        ),
        (r#"{"inputs": ["a", ["b"]]}"#, "inputs[1]: expected a list of two texts, found one of 1"),
        (r#"{"inputs": [["a", 7]]}"#, "inputs[0][1]: expected a text, found the number 7"),
        (r#"{"inputs": {"text_pair": "b"}}"#, "inputs.text: expected a text, found null"),
        (
            r#"{"inputs": {"text": "a", "pair": "b"}}"#,
            "inputs.pair: expected only text, text_pair, found a field that is not known",
        ),
        (r#"{"inputs": ["a", "b", "c", "d"]}"#, "inputs: expected at most 3 texts, found 4"),
        (
            r#"{"inputs": "a", "options": {}}"#,
            "options: expected only inputs, parameters, found a field that is not known",
        ),
        (
            r#"{"inputs": "a", "parameters": []}"#,
            "parameters: expected an object, found a list of 0",
        ),
        (
            r#"{"inputs": "a", "parameters": {"top_k": 0}}"#,
            "parameters.top_k: expected a number from 1, found the number 0",
        ),
        (
            r#"{"inputs": "a", "parameters": {"top_k": 1.5}}"#,
            "parameters.top_k: expected a number from 1, found the number 1.5",
        ),
        (
            r#"{"inputs": "a", "parameters": {"function_to_apply": "relu"}}"#,
            "parameters.function_to_apply: expected softmax, sigmoid or none, found the text \"relu\"",
        ),
        (
            r#"{"inputs": "a", "parameters": {"truncation": "only_first"}}"#,
            "parameters.truncation: expected true, false, longest_first or do_not_truncate, found the text \"only_first\"",
        ),
        (
            r#"{"inputs": "a", "parameters": {"padding": true}}"#,
            "parameters.padding: expected only top_k, function_to_apply, truncation, found a field that is not known",
        ),
    ] {
        assert_eq!(reason(body), expected);
    }
}

#[test]
fn a_task_has_one_text_or_two() {
    let reason = |name, body: &str| {
        Ask::read(body.as_bytes(), 3, Some(task(name).unwrap())).unwrap_err().reason
    };
    assert_eq!(
        reason("rte", r#"{"inputs": [["a", "b"], "c"]}"#),
        "inputs[1]: expected text and text_pair, for the model is one of rte, found one text"
    );
    assert_eq!(
        reason("sst", r#"{"inputs": ["a", ["b", "c"]]}"#),
        "inputs[1]: expected one text, for the model is one of sst, found two texts"
    );
    let empty = br#"{"inputs": {"text": "a", "text_pair": ""}}"#;
    assert!(Ask::read(empty, 3, Some(task("rte").unwrap())).is_ok());
}

#[test]
fn no_json_is_told_apart_and_long_values_are_cut() {
    let deep = "[".repeat(100_000);
    for body in [
        b"".as_slice(),
        b"{",
        b"\xff",
        b"{\"inputs\": \"\xff\"}",
        b"{\"inputs\": \"\0\"}",
        br#"{"inputs": "\ud800"}"#,
        br#"{"inputs": 1e999}"#,
        deep.as_bytes(),
    ] {
        let refusal = Ask::read(body, 3, None).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{refusal:?}");
    }
    let long = format!(r#"{{"inputs": "a", "{}": 1}}"#, "x".repeat(100_000));
    assert!(reason(&long).len() < 400);
    let long =
        format!(r#"{{"inputs": "a", "parameters": {{"top_k": "{}"}}}}"#, "x".repeat(100_000));
    assert!(reason(&long).len() < 400);
}

/// JSON of any shape, with the names that matter among it.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_string()),
        Just("true".to_string()),
        Just("\"softmax\"".to_string()),
        Just("\"a\\u0000b\"".to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        "\\PC{0,8}".prop_map(|text| Value::from(text).to_string()),
    ];
    leaf.prop_recursive(6, 64, 4, |inner| {
        let name = prop_oneof![
            Just("inputs"),
            Just("parameters"),
            Just("text"),
            Just("text_pair"),
            Just("top_k"),
            Just("truncation"),
            Just("other"),
        ];
        let field = (name, inner.clone()).prop_map(|(name, value)| format!("\"{name}\": {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec(field, 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_in_one_line(value in json(), around in any::<bool>()) {
        let body = if around { format!("{{\"inputs\": {value}}}") } else { value };
        match read(&body) {
            Ok(ask) => prop_assert!((1..=3).contains(&ask.rows.len())),
            Err(refusal) => {
                prop_assert!(refusal.status.is_client_error());
                prop_assert!(!refusal.reason.contains('\n') && refusal.reason.len() < 1000);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(Ask::read(&body, 3, None).is_err());
    }
}
