//! Encoded examples as JSON lines: uid, label, token ids, token types, attention mask.

use std::io::{self, Write};
use std::path::Path;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::glue::read::Lines;
use crate::glue::task::{Kind, Task};
use crate::glue::tsv::{Label, dummy, expected_label};

/// One example as the model reads it. The three lists have one length, in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The identifier that predictions are reported under.
    pub uid: String,
    /// The class or score; a dummy on test rows.
    pub label: Label,
    /// Places in the vocabulary, with marks around: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]` of BERT,
    /// `<s> a </s>` or `<s> a </s></s> b </s>` of RoBERTa.
    pub token_id: Vec<u32>,
    /// 0 for the first text and its marks, 1 for the second; of a model without token types 0 for both.
    pub type_id: Vec<u8>,
    /// 1 for every token to attend to.
    pub attention_mask: Vec<u8>,
    /// What another model answers, to be learnt from: a logit for each class, or a score; empty where
    /// there is no such answer.
    pub softlabel: Vec<f32>,
}

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_struct("Sample", 6)?;
        line.serialize_field("uid", &self.uid)?;
        match self.label {
            Label::Class(class) => line.serialize_field("label", &class)?,
            Label::Score(score) => line.serialize_field("label", &score)?,
        }
        line.serialize_field("token_id", &self.token_id)?;
        line.serialize_field("type_id", &self.type_id)?;
        line.serialize_field("attention_mask", &self.attention_mask)?;
        if !self.softlabel.is_empty() {
            line.serialize_field("softlabel", &self.softlabel)?;
        }
        line.end()
    }
}

/// A fingerprint of sets of samples and of their order: SHA-256 in hexadecimal.
///
/// # Errors
/// None that is known of: samples can always be written as JSON.
pub fn fingerprint<'a>(sets: impl Iterator<Item = &'a [Sample]>) -> Result<String> {
    let mut hash = Sha256::new();
    for samples in sets {
        hash.update((samples.len() as u64).to_le_bytes());
        for sample in samples {
            serde_json::to_writer(&mut hash, sample)
                .map_err(|e| Error::run(format!("sample {}: {e}", sample.uid)))?;
        }
    }
    Ok(format!("{:x}", hash.finalize()))
}

/// The file may be somebody's own.
const AGAIN: &str = "mend it, or have platon prepare make the file from the raw one";

/// A line as it stands in the file; the task decides what its label means.
#[derive(Deserialize)]
struct Line {
    uid: Uid,
    label: Option<serde_json::Number>,
    token_id: Vec<u32>,
    type_id: Vec<u8>,
    /// The original writes it and never reads it.
    attention_mask: Option<Vec<u8>>,
    #[serde(default)]
    softlabel: Vec<f32>,
}

/// Some programs write a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Uid {
    Text(String),
    Number(serde_json::Number),
}

/// Python's `json.dumps` layout: a space after each comma and colon, so that files compare equal.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// One JSON object per line:
/// `{"uid": "0", "label": 1, "token_id": [...], "type_id": [...], "attention_mask": [...]}`.
///
/// # Errors
/// None are known; serde's interface has them.
pub fn to_lines(samples: &[Sample]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for sample in samples {
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
        sample
            .serialize(&mut serializer)
            .map_err(|e| Error::run(format!("sample {}: cannot be written: {e}", sample.uid)))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Reads the samples of a task, checking each: the lists are of one length and not empty, types
/// and mask are 0 or 1, the label is the task's. Without a mask no token is hidden. The rows of a set
/// that is not `labelled` may have no label, or -1, and get a dummy. Token ids are not checked against
/// a vocabulary.
///
/// # Errors
/// The file cannot be read or holds no sample, or a line is malformed, named by its number.
pub fn read_samples(task: &Task, labelled: bool, path: &Path) -> Result<Vec<Sample>> {
    let (mut lines, mut samples) = (Lines::open(path)?, Vec::new());
    while let Some((number, line)) = lines.next()? {
        let sample = parse(task, labelled, line).map_err(|(expected, found)| {
            Error::content(path, number, expected, found).hint(AGAIN)
        })?;
        samples.push(sample);
    }
    if samples.is_empty() {
        return Err(Error::content(path, None, "at least one sample", "none").hint(AGAIN));
    }
    Ok(samples)
}

/// The sample of one line, or what was expected and what was found.
fn parse(task: &Task, labelled: bool, line: &str) -> Result<Sample, (String, String)> {
    // serde would take a list of the fields' values as well.
    if line.trim_start().starts_with('[') {
        return Err(("a JSON sample".to_owned(), "invalid type: sequence".to_owned()));
    }
    let Line { uid, label, token_id, type_id, attention_mask, softlabel } =
        serde_json::from_str(line).map_err(|e| {
            // serde_json counts lines within the text it was given, which is one line here.
            let reason = e.to_string();
            let reason = reason.split(" at line ").next().unwrap_or(&reason);
            ("a JSON sample".to_owned(), format!("{reason} at column {}", e.column()))
        })?;
    let tokens = token_id.len();
    if tokens == 0 {
        return Err(("at least one token".to_owned(), "none".to_owned()));
    }
    let attention_mask = attention_mask.unwrap_or_else(|| vec![1; tokens]);
    for (name, list) in [("type_id", &type_id), ("attention_mask", &attention_mask)] {
        if list.len() != tokens {
            let expected = format!("{name} of {tokens} numbers like token_id");
            return Err((expected, list.len().to_string()));
        }
        if let Some(other) = list.iter().find(|value| **value > 1) {
            return Err((format!("0 or 1 in {name}"), other.to_string()));
        }
    }
    if attention_mask.first() != Some(&1) {
        return Err(("1 for the first token in attention_mask".to_owned(), "0".to_owned()));
    }
    let label = match label.filter(|label| labelled || label.as_f64() != Some(-1.0)) {
        None if labelled => return Err(("a label".to_owned(), "none".to_owned())),
        None => dummy(task),
        Some(label) => known_label(task, &label).map_err(|e| (e, label.to_string()))?,
    };
    let outputs = task.outputs();
    if !softlabel.is_empty() && softlabel.len() != outputs {
        return Err((format!("softlabel of {outputs} numbers"), softlabel.len().to_string()));
    }
    if let Some(other) = softlabel.iter().find(|value| !value.is_finite()) {
        return Err(("finite numbers in softlabel".to_owned(), other.to_string()));
    }
    let uid = match uid {
        Uid::Text(text) => text,
        Uid::Number(number) => number.to_string(),
    };
    Ok(Sample { uid, label, token_id, type_id, attention_mask, softlabel })
}

/// The label that a number stands for, or what was expected.
fn known_label(task: &Task, label: &serde_json::Number) -> Result<Label, String> {
    match task.kind {
        Kind::Classification { labels } => label
            .as_u64()
            .and_then(|class| usize::try_from(class).ok())
            .filter(|class| *class < labels.len())
            .map(Label::Class)
            .ok_or_else(|| format!("a label from 0 to {}", labels.len().saturating_sub(1))),
        Kind::Regression => label
            .as_f64()
            .map(|score| score as f32)
            .filter(|score| task.is_score(*score))
            .map(Label::Score)
            .ok_or_else(|| expected_label(task)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::glue::task::task;

    fn sample(label: Label) -> Sample {
        Sample {
            uid: "0".into(),
            label,
            token_id: vec![101, 7, 102],
            type_id: vec![0, 0, 1],
            attention_mask: vec![1, 1, 1],
            softlabel: Vec::new(),
        }
    }

    fn write_samples(path: &Path, samples: &[Sample]) {
        fs::write(path, to_lines(samples).unwrap()).unwrap();
    }

    fn read(name: &str, content: &str) -> Result<Vec<Sample>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.json");
        fs::write(&path, content).unwrap();
        read_samples(task(name).unwrap(), true, &path)
    }

    #[test]
    fn a_line_looks_as_python_would_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.json");
        write_samples(&path, &[sample(Label::Class(1)), sample(Label::Score(3.0))]);
        let rest =
            r#""token_id": [101, 7, 102], "type_id": [0, 0, 1], "attention_mask": [1, 1, 1]}"#;
        let expected = format!(
            "{{\"uid\": \"0\", \"label\": 1, {rest}\n{{\"uid\": \"0\", \"label\": 3.0, {rest}\n"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn samples_come_back_as_they_were(
            uid in "\\PC*",
            class in 0usize..3,
            score in 0f32..=5.0,
            tokens in prop::collection::vec((any::<u32>(), 0u8..2, 0u8..2), 1..9),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("dev.json");
            for (name, label) in [("mnli", Label::Class(class)), ("stsb", Label::Score(score))] {
                let before = [Sample {
                    uid: uid.clone(),
                    label,
                    token_id: tokens.iter().map(|t| t.0).collect(),
                    type_id: tokens.iter().map(|t| t.1).collect(),
                    attention_mask: (0..).zip(&tokens).map(|(n, t)| if n == 0 { 1 } else { t.2 }).collect(),
                    softlabel: vec![score / 7.0; task(name).unwrap().outputs()],
                }];
                write_samples(&path, &before);
                prop_assert_eq!(read_samples(task(name).unwrap(), true, &path).unwrap(), before);
            }
        }
    }

    #[test]
    fn a_whole_number_is_a_score_but_a_fraction_is_no_class() {
        let line =
            r#"{"uid": "0", "label": 3, "token_id": [1], "type_id": [0], "attention_mask": [1]}"#;
        assert_eq!(read("stsb", line).unwrap()[0].label, Label::Score(3.0));
        let text = read("mnli", &line.replace("3,", "1.5,")).unwrap_err().to_string();
        assert!(text.contains(":1: expected a label from 0 to 2, found 1.5"), "{text}");
        let text = read("mnli", line).unwrap_err().to_string();
        assert!(text.contains(":1: expected a label from 0 to 2, found 3"), "{text}");
        let text = read("stsb", &line.replace("3,", "5.5,")).unwrap_err().to_string();
        assert!(text.contains(":1: expected a score from 0 to 5, found 5.5"), "{text}");
    }

    #[test]
    fn without_a_mask_every_token_is_attended_to() {
        let line = r#"{"uid": "0", "label": 1, "token_id": [5, 6], "type_id": [0, 0]}"#;
        assert_eq!(read("rte", line).unwrap()[0].attention_mask, [1, 1]);
    }

    #[test]
    fn test_rows_need_no_label() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("test.json");
        let rest = r#""token_id": [5], "type_id": [0]}"#;
        let labels = ["", "\"label\": -1, ", "\"label\": -1.0, ", "\"label\": null, "];
        let lines = labels.map(|label| format!("{{\"uid\": 7, {label}{rest}\n"));
        fs::write(&path, lines.concat()).unwrap();
        for (name, dummy) in [("mnli", Label::Class(0)), ("stsb", Label::Score(0.0))] {
            let samples = read_samples(task(name).unwrap(), false, &path).unwrap();
            assert_eq!(samples.iter().map(|s| s.label).collect::<Vec<_>>(), [dummy; 4]);
            assert!(read_samples(task(name).unwrap(), true, &path).is_err());
        }
        fs::write(&path, lines[1].replace("-1", "7")).unwrap();
        assert!(read_samples(task("mnli").unwrap(), false, &path).is_err());
    }

    #[test]
    fn malformed_lines_are_named_with_their_number() {
        let good =
            r#"{"uid":"0","label":1,"token_id":[1,2],"type_id":[0,0],"attention_mask":[1,1]}"#;
        for (from, to, expected) in [
            ("[0,0]", "[0]", "expected type_id of 2 numbers like token_id, found 1"),
            ("[1,1]", "[1,1,1]", "expected attention_mask of 2 numbers like token_id, found 3"),
            ("[0,0]", "[0,2]", "expected 0 or 1 in type_id, found 2"),
            ("[1,1]", "[0,1]", "expected 1 for the first token in attention_mask, found 0"),
            ("[1,2]", "[]", "expected at least one token, found none"),
            ("[1,2]", "[-1,2]", "expected a JSON sample, found invalid value: integer `-1`"),
            ("\"label\":1,", "", "expected a label, found none"),
            ("\"label\":1,", "\"label\":-1,", "expected a label from 0 to 1, found -1"),
            ("}", "", "expected a JSON sample, found EOF while parsing an object at column"),
        ] {
            let text = read("rte", &format!("{good}\n{}\n", good.replace(from, to)));
            let text = text.unwrap_err().to_string();
            assert!(text.contains(&format!("dev.json:2: {expected}")), "{text}");
        }
        let text = read("rte", "").unwrap_err().to_string();
        assert!(text.contains("expected at least one sample, found none"), "{text}");
    }
}
