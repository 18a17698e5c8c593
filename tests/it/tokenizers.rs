//! Folders of tokenizer files that contradict or complete each other, against transformers.

use std::path::Path;

use platon::glue::encode::Encoder;
use platon::glue::tsv::{Label, Row};
use serde_json::{Value, json};

use crate::dir::Dir;
use crate::fixtures::fixture;

/// The first is from tests/fixtures/tokenizer_folders.py, the others are from
/// tests/fixtures/subword_tokenizers.py, which tell what they hold; and how many variants are refused.
const MADE: [(&str, usize); 4] = [
    ("tokenizer_folders.json", 11),
    ("roberta_folders.json", 5),
    ("xlm_roberta_folders.json", 3),
    ("camembert_folders.json", 0),
];

fn made(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name)).unwrap()).unwrap()
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
            Some("VOCAB.JSON") => made["tokenizer.json"]["model"]["vocab"].to_string(),
            Some("MERGES") => {
                let merges = made["tokenizer.json"]["model"]["merges"].as_array().unwrap().iter();
                let lines = merges.map(|merge| format!("{}\n", merge.as_str().unwrap()));
                "#version: 0.2\n".to_owned() + &lines.collect::<String>()
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

/// The texts each alone, and pairs of them: the last two where none are named.
fn rows(made: &Value) -> Vec<Row> {
    let texts: Vec<&str> =
        made["texts"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    let row = |a: &str, b: Option<&str>| Row {
        uid: a.into(),
        label: Label::Class(0),
        text_a: a.into(),
        text_b: b.map(str::to_owned),
    };
    let last = json!([[texts.len() - 2, texts.len() - 1]]);
    let pairs = made.get("pairs").unwrap_or(&last).as_array().unwrap().iter();
    let text = |pair: &Value, n: usize| texts[pair[n].as_u64().unwrap() as usize];
    let pairs = pairs.map(|pair| row(text(pair, 0), Some(text(pair, 1))));
    texts.iter().map(|text| row(text, None)).chain(pairs).collect()
}

/// What the tokenizer of `dir` does otherwise than `variant` says.
fn differences(dir: &Path, variant: &Value, rows: &[Row]) -> Vec<String> {
    let encoder = match Encoder::from_dir(dir) {
        Ok(encoder) => encoder,
        Err(error) => return vec![error.to_string()],
    };
    let mut all = Vec::new();
    for (name, at_most) in [("ids", 512), ("truncated", 12)] {
        let Some(expected) = variant.get(name) else { continue };
        let samples = encoder.encode_batch(rows, at_most, &mut encoder.words()).unwrap();
        let expected = expected.as_array().unwrap();
        assert_eq!(samples.len(), expected.len());
        for (sample, expected) in samples.iter().zip(expected) {
            if json!(sample.token_id) != *expected {
                all.push(format!("{:?}: {:?}, not {expected}", sample.uid, sample.token_id));
            }
        }
        let types = &variant["types"];
        let last = samples.last().unwrap();
        if name == "ids"
            && types.as_array().is_some_and(|types| !types.is_empty())
            && json!(last.type_id) != *types
        {
            all.push(format!("types {:?}, not {types}", last.type_id));
        }
    }
    all
}

#[test]
fn every_folder_gives_the_ids_of_transformers_and_so_does_its_copy() {
    let mut all = String::new();
    for (file, _) in MADE {
        let made = made(file);
        let rows = rows(&made);
        let variants = made["variants"].as_object().unwrap();
        for (name, variant) in variants.iter().filter(|(_, variant)| variant["refused"].is_null()) {
            let dir = folder(&made, &variant["files"]);
            let expected = variant["as"].as_str().map_or(variant, |like| &variants[like]);
            let mut note = |which: &str, found: Vec<String>| {
                all.extend(found.iter().map(|found| format!("\n{file}, {name}{which}: {found}")));
            };
            note("", differences(&dir.path(""), expected, &rows));
            let Ok(encoder) = Encoder::from_dir(&dir.path("")) else { continue };
            let copy = Dir::new();
            encoder.save_to(&copy.path(""), 512).unwrap();
            note(", saved", differences(&copy.path(""), expected, &rows));
            let again = Encoder::from_dir(&copy.path("")).unwrap();
            if again.fingerprint() != encoder.fingerprint() {
                note(", saved", vec!["another fingerprint".into()]);
            }
            if copy.path("vocab.txt").is_file() {
                std::fs::remove_file(copy.path("tokenizer.json")).unwrap();
                note(", saved, of vocab.txt", differences(&copy.path(""), expected, &rows));
            }
        }
    }
    assert!(all.is_empty(), "{all}");
}

#[test]
fn what_the_files_ask_for_and_nobody_does_here_is_refused_by_file_and_entry() {
    for (file, count) in MADE {
        let made = made(file);
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
        assert_eq!(refused, count, "{file}");
    }
}
