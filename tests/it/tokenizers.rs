//! Folders of tokenizer files that contradict or complete each other, against transformers.

use std::path::Path;

use platon::glue::encode::Encoder;
use platon::glue::tsv::{Label, Row};
use serde_json::{Value, json};

use crate::dir::Dir;
use crate::fixtures::fixture;

/// From tests/fixtures/tokenizer_folders.py, which tells what it holds.
fn made() -> Value {
    let text = std::fs::read_to_string(fixture("tokenizer_folders.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// `value` after a JSON merge patch (RFC 7386).
fn merge(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let entries = value.as_object_mut().unwrap();
    for (key, change) in patch {
        if change.is_null() {
            entries.shift_remove(key);
        } else {
            merge(entries.entry(key).or_insert(Value::Null), change);
        }
    }
}

fn folder(made: &Value, files: &Value) -> Dir {
    let dir = Dir::new();
    for (name, content) in files.as_object().unwrap() {
        let text = match content.as_str() {
            Some("VOCAB") => {
                let tokens = made["vocab"].as_array().unwrap().iter();
                tokens.map(|token| format!("{}\n", token.as_str().unwrap())).collect()
            }
            Some(text) => text.to_owned(),
            None if name == "tokenizer.json" => {
                let mut whole = made["tokenizer.json"].clone();
                merge(&mut whole, content);
                whole.to_string()
            }
            None => content.to_string(),
        };
        dir.write(name, &text);
    }
    dir
}

/// The texts each alone, and the last two as a pair.
fn rows(made: &Value) -> Vec<Row> {
    let texts: Vec<&str> =
        made["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let row = |a: &str, b: Option<&str>| Row {
        uid: a.into(),
        label: Label::Class(0),
        text_a: a.into(),
        text_b: b.map(str::to_owned),
    };
    let [.., a, b] = texts[..] else { panic!("{} texts", texts.len()) };
    texts.iter().map(|text| row(text, None)).chain([row(a, Some(b))]).collect()
}

/// What the tokenizer of `dir` does otherwise than `variant` says.
fn differences(dir: &Path, variant: &Value, rows: &[Row]) -> Vec<String> {
    let encoder = match Encoder::from_dir(dir) {
        Ok(encoder) => encoder,
        Err(error) => return vec![error.to_string()],
    };
    let samples = encoder.encode_batch(rows, 512, &mut encoder.words()).unwrap();
    let mut all = Vec::new();
    for (sample, expected) in samples.iter().zip(variant["ids"].as_array().unwrap()) {
        if json!(sample.token_id) != *expected {
            all.push(format!("{:?}: {:?}, not {expected}", sample.uid, sample.token_id));
        }
    }
    let types = &variant["types"];
    let pair = samples.last().unwrap();
    if types.as_array().is_some_and(|types| !types.is_empty()) && json!(pair.type_id) != *types {
        all.push(format!("types {:?}, not {types}", pair.type_id));
    }
    all
}

#[test]
fn every_folder_gives_the_ids_of_transformers_and_so_does_its_copy() {
    let made = made();
    let rows = rows(&made);
    let mut all = String::new();
    let variants = made["variants"].as_object().unwrap();
    for (name, variant) in variants.iter().filter(|(_, variant)| variant.get("ids").is_some()) {
        let dir = folder(&made, &variant["files"]);
        let mut note = |which: &str, found: Vec<String>| {
            all.extend(found.iter().map(|found| format!("\n{name}{which}: {found}")));
        };
        note("", differences(&dir.path(""), variant, &rows));
        let Ok(encoder) = Encoder::from_dir(&dir.path("")) else { continue };
        let copy = Dir::new();
        encoder.save_to(&copy.path("")).unwrap();
        note(", saved", differences(&copy.path(""), variant, &rows));
        if copy.path("vocab.txt").is_file() {
            std::fs::remove_file(copy.path("tokenizer.json")).unwrap();
            note(", saved, of vocab.txt", differences(&copy.path(""), variant, &rows));
        }
    }
    assert!(all.is_empty(), "{all}");
}

#[test]
fn what_the_files_ask_for_and_nobody_does_here_is_refused_by_file_and_entry() {
    let made = made();
    let variants = made["variants"].as_object().unwrap();
    let mut refused = 0;
    for (name, variant) in variants {
        let Some(part) = variant.get("refused").and_then(Value::as_str) else { continue };
        let dir = folder(&made, &variant["files"]);
        let text = Encoder::from_dir(&dir.path("")).unwrap_err().to_string();
        assert!(text.contains(part) && text.contains(".json: expected "), "{name}: {text}");
        assert!(text.contains("(hint: ") && text.lines().count() == 1, "{name}: {text}");
        refused += 1;
    }
    assert_eq!(refused, 11);
}
