//! What a `tokenizer.json` may say. The library that reads it takes more, and some of that makes it
//! panic, hang or fill the memory.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::glue::added::MOST_ADDED;
use crate::glue::marks;

/// More tokens than any BERT has: no configuration may have as many.
pub const MOST_TOKENS: usize = 1 << 20;

const NORMALIZERS: [&str; 8] =
    ["BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Strip"];
const PRE_TOKENIZERS: [&str; 5] =
    ["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"];

/// Checks the components, the vocabulary and the marks; else what was expected and what was found.
pub fn check(json: &Map<String, Value>) -> Result<(), (String, String)> {
    check_kind(json, "normalizer", "normalizers", &NORMALIZERS)?;
    check_kind(json, "pre_tokenizer", "pretokenizers", &PRE_TOKENIZERS)?;
    check_vocabulary(json)?;
    check_marks(json.get("post_processor"))
}

/// One of `known` types, or a sequence of them.
fn check_kind(
    json: &Map<String, Value>,
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

/// Every token has an id of its own, and the token for unknown words is among them. Ids may be left
/// out, as those of a `vocab.txt` with a token twice are.
fn check_vocabulary(json: &Map<String, Value>) -> Result<(), (String, String)> {
    let mut tokens: HashMap<usize, &str> = HashMap::new();
    let empty = Map::new();
    let model = json.get("model");
    let vocabulary = model.and_then(|m| m.get("vocab")).and_then(Value::as_object);
    let vocabulary = vocabulary.unwrap_or(&empty);
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
    let added = json.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    if added > MOST_ADDED {
        return Err((format!("at most {MOST_ADDED} added_tokens"), added.to_string()));
    }
    match model.and_then(|m| m.get("unk_token")).and_then(Value::as_str) {
        Some(unknown) if !vocabulary.is_empty() && !vocabulary.contains_key(unknown) => {
            let mark = marks::BERT.unknown;
            match unknown == mark {
                true => Err((format!("the token {mark} in the vocabulary"), "none".into())),
                false => Err((format!("unk_token {mark:?}"), format!("{unknown:?}"))),
            }
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
