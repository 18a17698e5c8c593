//! What transformers makes a tokenizer of, class by class, in the form of `tokenizer.json`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::glue::added::Added;
use crate::glue::class::{Class, Model};
use crate::glue::marks::{self, Piece, Side, Template};
use crate::glue::object::Object;

/// What precedes the pieces of a word after the first, in WordPiece.
pub(super) const PREFIX: &str = "##";
/// Longer words are unknown to WordPiece.
pub(super) const LONGEST_WORD: u64 = 100;
/// Stands for the space before a word, in SentencePiece.
const SPACE: &str = "▁";

/// The tokens of a vocabulary by their ids.
pub(super) struct Vocabulary<'a> {
    ids: HashMap<&'a str, usize>,
    /// How many the library counts.
    pub size: usize,
}

impl<'a> Vocabulary<'a> {
    /// That of a model in the form of `tokenizer.json`: an object with ids, or a list.
    pub fn of(model: Option<&'a Value>) -> Self {
        let id = |id: &Value| id.as_u64().and_then(|id| usize::try_from(id).ok());
        let ids: HashMap<&str, usize> = match model.and_then(|model| model.get("vocab")) {
            Some(Value::Object(tokens)) => {
                tokens.iter().filter_map(|(token, n)| Some((token.as_str(), id(n)?))).collect()
            }
            Some(Value::Array(tokens)) => {
                let token = |entry: &'a Value| entry.get(0).and_then(Value::as_str);
                let tokens = tokens.iter().enumerate();
                tokens.filter_map(|(id, entry)| Some((token(entry)?, id))).collect()
            }
            _ => HashMap::new(),
        };
        let list = model.and_then(|model| model.get("vocab")).and_then(Value::as_array);
        let size = list.map_or(ids.len(), Vec::len);
        Self { ids, size }
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<usize> {
        self.ids.get(token).copied()
    }
}

/// A WordPiece model with the tokens `vocab` by their ids.
pub(super) fn word_piece(vocab: Map<String, Value>) -> Value {
    json!({
        "type": Model::WordPiece.name(),
        "unk_token": marks::BERT.unknown,
        "continuing_subword_prefix": PREFIX,
        "max_input_chars_per_word": LONGEST_WORD,
        "vocab": vocab,
    })
}

/// A BPE model with the tokens `vocab` by their ids, and pairs of them. What it does not know, it
/// leaves out.
pub(super) fn bpe(vocab: Value, merges: Value) -> Value {
    json!({
        "type": Model::Bpe.name(),
        "dropout": null,
        "unk_token": null,
        "continuing_subword_prefix": null,
        "end_of_word_suffix": null,
        "fuse_unk": false,
        "byte_fallback": false,
        "ignore_merges": false,
        "vocab": vocab,
        "merges": merges,
    })
}

/// A Unigram model with a list of tokens and scores; `unknown` is a place in it.
pub(super) fn unigram(vocab: Value, unknown: usize) -> Value {
    json!({
        "type": Model::Unigram.name(),
        "unk_id": unknown,
        "vocab": vocab,
        "byte_fallback": false,
    })
}

/// A tokenizer of `class` with its `model` and the tokens that are `added` to it, as the
/// configuration says. `letters` is its normalizer.
///
/// # Errors
/// The configuration is malformed.
pub(super) fn whole(
    class: &Class,
    config: &Object,
    model: Value,
    letters: Value,
    added: &[(usize, &Added)],
) -> Result<Value> {
    let prefix_space = prefix_space(class, config)?;
    let id_of =
        |mark: &str| added.iter().find(|(_, token)| token.content == mark).map(|(id, _)| *id);
    let (pre_tokenizer, post_processor, decoder) = match class.model {
        Model::WordPiece => (
            json!({"type": "BertPreTokenizer"}),
            template(class, id_of),
            json!({"type": "WordPiece", "prefix": PREFIX, "cleanup": true}),
        ),
        Model::Bpe => {
            let marks = class.marks;
            let with_id = |mark: &str| json!([mark, id_of(mark)]);
            let bytes = |prefix_space: bool| {
                json!({"type": "ByteLevel", "add_prefix_space": prefix_space,
                    "trim_offsets": true, "use_regex": true})
            };
            let processing = json!({
                "type": "RobertaProcessing",
                "sep": with_id(marks.separator),
                "cls": with_id(marks.first),
                "trim_offsets": true,
                "add_prefix_space": prefix_space,
            });
            (bytes(prefix_space), processing, bytes(true))
        }
        Model::Unigram => {
            let scheme = if prefix_space { "always" } else { "never" };
            let spaces = json!({"type": "Metaspace", "replacement": SPACE,
                "prepend_scheme": scheme, "split": true});
            let words = json!({"type": "Sequence",
                "pretokenizers": [{"type": "WhitespaceSplit"}, spaces]});
            (words, template(class, id_of), spaces)
        }
    };
    let added: Value = added.iter().map(|(id, token)| token.json(*id)).collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": letters,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": model,
    }))
}

/// Whether a text's first word gets a space before it as the others have one.
fn prefix_space(class: &Class, config: &Object) -> Result<bool> {
    const NAME: &str = "add_prefix_space";
    // Unlike a missing entry, null is no.
    let is_null = config.entries.get(NAME).is_some_and(Value::is_null);
    let default = class.model == Model::Unigram && !is_null;
    Ok(config.flag(NAME, Some(default))?.unwrap_or(default))
}

/// BERT's normalizer with what the configuration says of letters.
///
/// # Errors
/// The configuration is malformed.
pub(super) fn bert_normalizer(config: &Object) -> Result<Value> {
    let mut normalizer = Map::new();
    normalizer.insert("type".into(), json!("BertNormalizer"));
    normalizer.insert("clean_text".into(), json!(true));
    normalizer.extend(letters(config)?);
    Ok(normalizer.into())
}

/// What the configuration says of letters, with the names of `tokenizer.json`.
///
/// # Errors
/// The configuration is malformed.
pub(super) fn letters(config: &Object) -> Result<Map<String, Value>> {
    let entries = [
        ("handle_chinese_chars", config.flag("tokenize_chinese_chars", Some(true))?),
        ("strip_accents", config.flag("strip_accents", None)?),
        ("lowercase", config.flag("do_lower_case", Some(true))?),
    ];
    Ok(entries.into_iter().map(|(name, flag)| (name.to_owned(), json!(flag))).collect())
}

/// The first normalizer of SentencePiece's precompiled kind in `normalizer`, or null.
pub(super) fn precompiled(normalizer: Option<&Value>) -> Value {
    let parts = parts(normalizer, "normalizers");
    let is_one = |part: &&&Value| part.get("type").is_some_and(|kind| kind == "Precompiled");
    parts.iter().find(is_one).map_or(Value::Null, |part| (*part).clone())
}

/// The components in a sequence, or the one that is there; `list` is what a sequence calls them.
pub(super) fn parts<'a>(component: Option<&'a Value>, list: &str) -> Vec<&'a Value> {
    let Some(component) = component.filter(|component| !component.is_null()) else {
        return Vec::new();
    };
    let is_sequence = component.get("type").is_some_and(|kind| kind == "Sequence");
    match component.get(list).and_then(Value::as_array).filter(|_| is_sequence) {
        Some(parts) => parts.iter().collect(),
        None => vec![component],
    }
}

/// The post-processor that puts the marks of `class` around texts.
fn template(class: &Class, id_of: impl Fn(&str) -> Option<usize>) -> Value {
    let entry = |mark: &str| json!({"id": mark, "ids": [id_of(mark)], "tokens": [mark]});
    let around: Map<_, _> =
        marks::of(class.marks.pair).map(|mark| (mark.to_owned(), entry(mark))).collect();
    json!({
        "type": "TemplateProcessing",
        "single": template_json(class.marks.single),
        "pair": template_json(class.marks.pair),
        "special_tokens": around,
    })
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

/// Gives all pieces of a template the token type 0.
pub(super) fn remove_types(template: &mut Value) {
    for name in ["single", "pair"] {
        let pieces = template.get_mut(name).and_then(Value::as_array_mut);
        for piece in pieces.into_iter().flatten().filter_map(Value::as_object_mut) {
            for kind in piece.values_mut().filter_map(|value| value.get_mut("type_id")) {
                *kind = json!(0);
            }
        }
    }
}
