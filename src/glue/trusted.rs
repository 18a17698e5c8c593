//! What a `tokenizer.json` may say. The library that reads it takes more, and some of that makes it
//! panic, hang or fill the memory.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::glue::marks;

/// More tokens than any BERT has besides its vocabulary.
const MOST_ADDED: usize = 10_000;

const NORMALIZERS: [&str; 8] =
    ["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Strip"];
const PRE_TOKENIZERS: [&str; 5] =
    ["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"];

/// Checks the components, the vocabulary and the marks; else what was expected and what was found.
pub fn check(json: &Value) -> Result<(), (String, String)> {
    check_kind(json, "normalizer", "normalizers", &NORMALIZERS)?;
    check_kind(json, "pre_tokenizer", "pretokenizers", &PRE_TOKENIZERS)?;
    check_vocabulary(json)?;
    check_marks(json.get("post_processor"))
}

/// One of `known` types, or a sequence of them.
fn check_kind(
    json: &Value,
    name: &str,
    list: &str,
    known: &[&str],
) -> Result<(), (String, String)> {
    let component = match json.get(name) {
        None | Some(Value::Null) => return Ok(()),
        Some(component) => component,
    };
    let parts = component.get(list).and_then(Value::as_array);
    let parts: Vec<&Value> = match (component.get("type").and_then(Value::as_str), parts) {
        (Some("Sequence"), Some(parts)) => parts.iter().collect(),
        _ => vec![component],
    };
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str);
        if !kind.is_some_and(|kind| known.contains(&kind)) {
            let found = kind.map_or("no type".to_string(), |kind| format!("{kind:?}"));
            return Err((format!("a {name} of BERT"), found));
        }
    }
    Ok(())
}

/// The ids are 0, 1, 2, ..., as `vocab.txt` needs them; the token for unknown words is among them.
fn check_vocabulary(json: &Value) -> Result<(), (String, String)> {
    let mut tokens: BTreeMap<u64, &str> = BTreeMap::new();
    let empty = Map::new();
    let model = json.get("model");
    let vocabulary = model.and_then(|m| m.get("vocab")).and_then(Value::as_object);
    let vocabulary = vocabulary.unwrap_or(&empty);
    for (token, id) in vocabulary {
        if let Some(id) = id.as_u64()
            && let Some(other) = tokens.insert(id, token)
        {
            return Err(("each token id once".into(), format!("{id} for {other:?} and {token:?}")));
        }
    }
    let added = json.get("added_tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if added.len() > MOST_ADDED {
        return Err((format!("at most {MOST_ADDED} added_tokens"), added.len().to_string()));
    }
    for token in added {
        let id = token.get("id").and_then(Value::as_u64);
        if let (Some(id), Some(content)) = (id, token.get("content").and_then(Value::as_str)) {
            tokens.entry(id).or_insert(content);
        }
    }
    if let Some((place, (id, token))) = (0..).zip(&tokens).find(|(place, (id, _))| place != *id) {
        return Err((format!("token id {place}"), format!("{id} for {token:?}")));
    }
    match model.and_then(|m| m.get("unk_token")).and_then(Value::as_str) {
        Some(unknown) if !vocabulary.is_empty() && !vocabulary.contains_key(unknown) => {
            Err((format!("unk_token {:?}", marks::BERT.unknown), format!("{unknown:?}")))
        }
        _ => Ok(()),
    }
}

/// Every mark of a template has its ids, and every text its one place: a sample with a text twice
/// would be longer than the model reaches.
fn check_marks(post_processor: Option<&Value>) -> Result<(), (String, String)> {
    let Some(template) = post_processor.filter(|p| !p.is_null()) else { return Ok(()) };
    match template.get("type").and_then(Value::as_str) {
        Some("BertProcessing") => return Ok(()),
        Some("TemplateProcessing") => {}
        other => return Err(("a post_processor of BERT".into(), format!("{other:?}"))),
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
