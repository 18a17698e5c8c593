//! The `tokenizer.json` that stands for a `vocab.txt`.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::glue::marks::{self, Piece, Side, Template};
use crate::glue::read::read_text;

/// What stands for the `vocab.txt` at `vocab_path`, one token per line, with what the configuration
/// at `config_path` says of letters, if it is there.
///
/// # Errors
/// A file cannot be read or is malformed, or a token is missing or there twice.
pub(super) fn tokenizer_json(vocab_path: &Path, config_path: &Path) -> Result<Value> {
    let config = if config_path.is_file() {
        serde_json::from_str(&read_text(config_path)?)
            .map_err(|e| Error::content(config_path, e.line(), "JSON", e))?
    } else {
        Value::Null
    };
    let flag = |name: &str, default: Option<bool>| match config.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => {
            Err(Error::content(config_path, None, format!("true or false for {name}"), other))
        }
    };
    let text = read_text(vocab_path)?;
    let mut seen = HashSet::new();
    let mut vocab = Map::new();
    for (id, token) in text.lines().enumerate() {
        if !seen.insert(token) {
            return Err(Error::content(
                vocab_path,
                id + 1,
                "each token once",
                format!("{token:?} again"),
            ));
        }
        vocab.insert(token.to_owned(), json!(id));
    }
    for mark in marks::BERT.required() {
        if !seen.contains(mark) {
            let expected = format!("the token {mark} in the vocabulary");
            return Err(Error::content(vocab_path, None, expected, "none")
                .hint("use the vocab.txt of a BERT checkpoint"));
        }
    }
    // Hugging Face lists the marks by id.
    let special: Vec<_> = text
        .lines()
        .enumerate()
        .filter(|(_, token)| marks::BERT.by_name().iter().any(|(_, mark)| mark == token))
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let entry = |token: &str| json!({"id": token, "ids": [vocab.get(token)], "tokens": [token]});
    let around: Map<_, _> =
        marks::of(marks::BERT.pair).map(|mark| (mark.to_owned(), entry(mark))).collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", Some(true))?,
            "strip_accents": flag("strip_accents", None)?,
            "lowercase": flag("do_lower_case", Some(true))?,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template_json(marks::BERT.single),
            "pair": template_json(marks::BERT.pair),
            "special_tokens": around,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": marks::BERT.unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }))
}

/// A template in the form of `tokenizer.json`.
fn template_json(template: &Template<&str>) -> Value {
    let piece = |(piece, kind): &(Piece<&str>, u8)| {
        let text = |name: &str| json!({"Sequence": {"id": name, "type_id": kind}});
        match piece {
            Piece::Mark(mark) => json!({"SpecialToken": {"id": mark, "type_id": kind}}),
            Piece::Text(Side::A) => text("A"),
            Piece::Text(Side::B) => text("B"),
        }
    };
    template.iter().map(piece).collect()
}
