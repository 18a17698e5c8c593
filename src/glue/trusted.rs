//! What a `tokenizer.json` may say. The library that reads it takes more, and some of that makes it
//! panic, hang or fill the memory.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::glue::added::MOST_ADDED;
use crate::glue::class::Model;
use crate::glue::components;
use crate::glue::precompiled;

/// More tokens, and more pairs of them, than any model has: no configuration may have as many.
pub const MOST_TOKENS: usize = 1 << 20;
/// Longer tokens, in bytes, no Unigram model has: the library goes through all that begin a text at
/// every place of it, and into each as deep as it is long.
const LONGEST_TOKEN: usize = 256;
/// The most bytes of a token of WordPiece: words of 100 letters, beyond which it knows none.
const LONGEST_PIECE: usize = 512;
/// More components in a row than any tokenizer has.
const MOST_PARTS: usize = 16;
/// The one regular expression that the tokenizers of published models have: others may take time
/// without end.
const SPACES: &str = " {2,}";

const NORMALIZERS: [&str; 12] = [
    "BertNormalizer",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Precompiled",
    "Prepend",
    "Replace",
    "StripAccents",
    "Strip",
];
const PRE_TOKENIZERS: [&str; 7] = [
    "BertPreTokenizer",
    "ByteLevel",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
];
const DECODERS: [&str; 8] = [
    "BPEDecoder",
    "ByteFallback",
    "ByteLevel",
    "Fuse",
    "Metaspace",
    "Replace",
    "Strip",
    "WordPiece",
];

/// What was expected, and what was found.
type Checked<T = ()> = Result<T, (String, String)>;

/// Brings the model into one form: with its type, merges as pairs, scores as fractions.
pub fn plain_model(model: Model, json: &mut Map<String, Value>) -> Checked {
    let Some(part) = json.get_mut("model").and_then(Value::as_object_mut) else {
        return Err(("a model".into(), "none".into()));
    };
    part.insert("type".into(), json!(model.name()));
    let (name, plain): (_, fn(&mut Value) -> Checked) = match model {
        Model::WordPiece => return Ok(()),
        Model::Bpe => ("merges", |merge| {
            let pair: Vec<&str> = match &*merge {
                Value::String(text) => text.split(' ').collect(),
                Value::Array(pair) => pair.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            let [a, b] = pair.as_slice() else {
                return Err(("merges of two tokens each".into(), merge.to_string()));
            };
            *merge = json!([a, b]);
            Ok(())
        }),
        Model::Unigram => ("vocab", |entry| {
            let token = entry.get(0).and_then(Value::as_str);
            let score = entry.get(1).and_then(Value::as_f64).filter(|score| score.is_finite());
            let (Some(token), Some(score)) = (token, score) else {
                return Err(("a vocab of tokens with their scores".into(), entry.to_string()));
            };
            *entry = json!([token, score]);
            Ok(())
        }),
    };
    match part.get_mut(name) {
        Some(Value::Array(entries)) => entries.iter_mut().try_for_each(plain),
        Some(_) => Err((format!("a list of {name}"), "another form".into())),
        None => Err((format!("{name} in the model"), "none".into())),
    }
}

/// Checks the components, the vocabulary and the marks.
pub fn check(model: Model, json: &Map<String, Value>) -> Checked {
    check_parts(json, "normalizer", "normalizers", &NORMALIZERS)?;
    check_parts(json, "pre_tokenizer", "pretokenizers", &PRE_TOKENIZERS)?;
    check_parts(json, "decoder", "decoders", &DECODERS)?;
    let added = json.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    if added > MOST_ADDED {
        return Err((format!("at most {MOST_ADDED} added_tokens"), added.to_string()));
    }
    let part = json.get("model").unwrap_or(&Value::Null);
    match model {
        Model::WordPiece => {
            check_vocabulary(part)?;
            check_lengths(part)?;
        }
        Model::Bpe => {
            check_vocabulary(part)?;
            check_bpe(part)?;
        }
        Model::Unigram => check_unigram(part)?,
    }
    check_marks(json.get("post_processor"))
}

/// Components of `known` types, each type once: of two that lengthen a text each would lengthen what
/// the other has made.
fn check_parts(json: &Map<String, Value>, name: &str, list: &str, known: &[&str]) -> Checked {
    let parts = components::parts(json.get(name), list);
    if parts.len() > MOST_PARTS {
        return Err((format!("at most {MOST_PARTS} in {name}"), parts.len().to_string()));
    }
    let mut seen = Vec::new();
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str);
        let Some(kind) = kind.filter(|kind| known.contains(kind)) else {
            let found = kind.map_or("no type".to_string(), |kind| format!("{kind:?}"));
            return Err((format!("a {name} of BERT or RoBERTa"), found));
        };
        match kind {
            "Precompiled" => precompiled::check(part)?,
            "Replace" => check_replaced(part)?,
            "Prepend" if part.get("prepend").and_then(Value::as_str).map_or(0, str::len) > 4 => {
                return Err(("one letter to prepend".into(), part.to_string()));
            }
            _ => {}
        }
        if kind != "Replace" && seen.contains(&kind) {
            return Err((format!("each {name} once"), format!("{kind:?} twice")));
        }
        seen.push(kind);
    }
    Ok(())
}

/// What replaces a text may not be longer: row by row it would grow without end.
fn check_replaced(part: &Value) -> Checked {
    let letters = |text: &str| text.chars().count();
    let pattern = part.get("pattern");
    let pattern =
        |kind: &str| pattern.and_then(|pattern| pattern.get(kind)).and_then(Value::as_str);
    let content = part.get("content").and_then(Value::as_str).unwrap_or_default();
    let longest = match (pattern("String"), pattern("Regex")) {
        (Some(text), None) if !text.is_empty() => letters(text),
        (None, Some(SPACES)) => 1,
        _ => {
            return Err((
                format!("to Replace a String, or the Regex {SPACES:?}"),
                part.to_string(),
            ));
        }
    };
    match letters(content) <= longest {
        true => Ok(()),
        false => Err((format!("at most {longest} letters in its place"), part.to_string())),
    }
}

/// Every token has an id of its own, and the token for unknown words is among them. Ids may be left
/// out, as those of a `vocab.txt` with a token twice are.
fn check_vocabulary(model: &Value) -> Checked {
    let mut tokens: HashMap<usize, &str> = HashMap::new();
    let Some(vocabulary) = model.get("vocab").and_then(Value::as_object) else {
        return Err(("a vocab with ids".into(), "another form".into()));
    };
    for (token, id) in vocabulary {
        let number = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let Some(number) = number.filter(|id| *id < MOST_TOKENS) else {
            return Err((
                format!("an id from 0 to {} of {token:?}", MOST_TOKENS - 1),
                id.to_string(),
            ));
        };
        if let Some(other) = tokens.insert(number, token) {
            return Err(("each token id once".into(), format!("{id} for {other:?} and {token:?}")));
        }
    }
    match model.get("unk_token").and_then(Value::as_str) {
        Some(unknown) if !vocabulary.is_empty() && !vocabulary.contains_key(unknown) => {
            Err((format!("the token {unknown} in the vocabulary"), "none".into()))
        }
        _ => Ok(()),
    }
}

/// Tokens of WordPiece, which are written to a `vocab.txt`, some many times.
fn check_lengths(model: &Value) -> Checked {
    let empty = Map::new();
    let vocabulary = model.get("vocab").and_then(Value::as_object).unwrap_or(&empty);
    match vocabulary.keys().map(String::len).find(|length| *length > LONGEST_PIECE) {
        Some(long) => Err((format!("tokens of at most {LONGEST_PIECE} bytes"), long.to_string())),
        None => Ok(()),
    }
}

/// Pairs are of tokens and make one, none of which depends on chance or on where it stands in a word.
fn check_bpe(model: &Value) -> Checked {
    for (name, only) in [
        ("dropout", json!([null, 0.0])),
        ("continuing_subword_prefix", json!([null, ""])),
        ("end_of_word_suffix", json!([null, ""])),
    ] {
        let found = model.get(name).unwrap_or(&Value::Null);
        if !only.as_array().is_some_and(|only| only.contains(found)) {
            return Err((format!("no {name}"), found.to_string()));
        }
    }
    let empty = Map::new();
    let vocabulary = model.get("vocab").and_then(Value::as_object).unwrap_or(&empty);
    let merges = model.get("merges").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if merges.len() > MOST_TOKENS {
        return Err((format!("at most {MOST_TOKENS} merges"), merges.len().to_string()));
    }
    for merge in merges {
        let part = |n: usize| merge.get(n).and_then(Value::as_str).unwrap_or_default();
        let (a, b) = (part(0), part(1));
        for token in [a, b, &format!("{a}{b}")] {
            if !vocabulary.contains_key(token) {
                let expected = format!("merges of tokens of the vocabulary, {token:?} among it");
                return Err((expected, format!("the merge {merge}")));
            }
        }
    }
    Ok(())
}

/// Tokens with scores, one of which stands for what is unknown.
fn check_unigram(model: &Value) -> Checked {
    let tokens = model.get("vocab").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if tokens.len() > MOST_TOKENS {
        return Err((format!("at most {MOST_TOKENS} tokens"), tokens.len().to_string()));
    }
    let token = |entry: &Value| entry.get(0).and_then(Value::as_str).map_or(0, str::len);
    if let Some(long) = tokens.iter().map(token).find(|length| *length > LONGEST_TOKEN) {
        return Err((format!("tokens of at most {LONGEST_TOKEN} bytes"), long.to_string()));
    }
    let unknown = model.get("unk_id").unwrap_or(&Value::Null);
    match unknown.as_u64().is_some_and(|id| id < tokens.len() as u64) {
        true => Ok(()),
        false => Err((format!("an unk_id below {}", tokens.len()), unknown.to_string())),
    }
}

/// Every mark of a template has its ids, and every text its one place: a sample with a text twice
/// would be longer than the model reaches.
fn check_marks(post_processor: Option<&Value>) -> Checked {
    let Some(template) = post_processor.filter(|p| !p.is_null()) else { return Ok(()) };
    match template.get("type").and_then(Value::as_str) {
        Some("BertProcessing" | "RobertaProcessing") => return Ok(()),
        Some("TemplateProcessing") => {}
        other => return Err(("a post_processor of BERT or RoBERTa".into(), format!("{other:?}"))),
    }
    let known = template.get("special_tokens").and_then(Value::as_object);
    for (name, wanted) in [("single", &["A"][..]), ("pair", &["A", "B"])] {
        let pieces = template.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut texts = Vec::new();
        for piece in pieces {
            let text = piece.get("Sequence").and_then(|s| s.get("id")).and_then(Value::as_str);
            if name == "single" && text == Some("B") {
                return Err(("only sequence A in single".into(), "B".into()));
            }
            let mark = piece.get("SpecialToken").and_then(|m| m.get("id")).and_then(Value::as_str);
            if let Some(mark) = mark
                && !known.is_some_and(|known| known.contains_key(mark))
            {
                return Err((format!("special_tokens with {mark}"), "none".into()));
            }
            texts.extend(text);
        }
        texts.sort_unstable();
        if texts != wanted {
            let expected = format!("each text once in {name}, {wanted:?}");
            return Err((expected, format!("{texts:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "trusted_tests.rs"]
mod tests;
