//! A folder's tokenizer in the one form that the library reads, from whatever files it has.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::glue::added::{self, Added, Names, Tokens};
use crate::glue::class::{Class, Kind};
use crate::glue::marks::{self, Piece, Side, Template};
use crate::glue::object::Object;
use crate::glue::read::read_text;
use crate::glue::trusted;

/// What precedes the pieces of a word after the first.
const PREFIX: &str = "##";
/// Longer words are unknown.
const LONGEST_WORD: u64 = 100;
/// What a `tokenizer.json` has to be.
pub(super) const FORMAT: &str = "a tokenizer of Hugging Face's format";
/// A remedy.
pub(super) const HINT: &str = "use the tokenizer files of a BERT checkpoint";

/// What a folder's files say of its tokenizer.
pub(super) struct Described {
    /// In the form of `tokenizer.json`.
    pub json: Value,
    /// The file with the vocabulary, for errors.
    pub source: PathBuf,
    pub kind: Kind,
    /// The marks by their names.
    pub names: Names,
}

/// Reads the tokenizer of the folder `dir` as transformers 5 does.
///
/// The vocabulary is that of `tokenizer.json`, or else of `vocab.txt`. Letters are treated as
/// `tokenizer_config.json` says, whatever `tokenizer.json` says, but where the class is to take that
/// file as it stands. Tokens besides the vocabulary's come as [`added`] tells.
///
/// # Errors
/// There is neither file, one is malformed or too large, or they ask for what is not done here.
pub(super) fn describe(dir: &Path) -> Result<Described> {
    let (whole, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
    let config = Object::read(&dir.join("tokenizer_config.json"))?;
    if whole.is_file() {
        let kind = Kind::of(dir, &config)?;
        let object = read_whole(whole)?;
        check_trusted(&object)?;
        let tokens = Tokens::read(dir, &config, Some(&object), kind.class)?;
        let names = tokens.names.clone();
        let source = object.path.clone();
        let json = from_whole(object, tokens, &config, kind)?;
        return Ok(Described { json, source, kind, names });
    }
    if !vocab.is_file() {
        return Err(Error::content(dir, None, "tokenizer.json or vocab.txt", "neither")
            .hint("put the checkpoint's tokenizer files into this folder"));
    }
    let kind = Kind::of(dir, &config)?;
    if kind.class == Class::AsItStands {
        return Err(Error::content(whole, None, "this file, as tokenizer_class asks", "none")
            .hint("with vocab.txt alone, let tokenizer_class be BertTokenizer"));
    }
    let tokens = Tokens::read(dir, &config, None, kind.class)?;
    let names = tokens.names.clone();
    let json = from_lines(&vocab, tokens, &config, kind)?;
    Ok(Described { json, source: vocab, kind, names })
}

fn read_whole(path: PathBuf) -> Result<Object> {
    let wrong =
        |found: &dyn std::fmt::Display| Error::content(&path, None, FORMAT, found).hint(HINT);
    match serde_json::from_str(&read_text(&path)?) {
        Ok(Value::Object(entries)) => Ok(Object { path, entries }),
        Ok(other) => Err(wrong(&other)),
        Err(e) => Err(wrong(&e)),
    }
}

fn check_trusted(whole: &Object) -> Result<()> {
    let wrong = |expected: &str, found: &str| whole.wrong(expected, found).hint(HINT);
    let entry = |name| whole.get("model").and_then(|model| model.get(name));
    if entry("type").is_some_and(|kind| kind != "WordPiece") {
        return Err(wrong("a WordPiece tokenizer", "another model"));
    }
    if entry("vocab").is_some_and(|vocabulary| !vocabulary.is_object()) {
        return Err(wrong(FORMAT, "a vocab without ids"));
    }
    trusted::check(&whole.entries).map_err(|(expected, found)| wrong(&expected, &found))
}

/// The tokenizer in `whole`, changed as the other files of the folder ask.
fn from_whole(mut whole: Object, tokens: Tokens, config: &Object, kind: Kind) -> Result<Value> {
    let empty = Map::new();
    let model = whole.get("model");
    let vocabulary = model.and_then(|model| model.get("vocab")).and_then(Value::as_object);
    let vocabulary = vocabulary.unwrap_or(&empty);
    let there = match kind.class {
        Class::Bert => Vec::new(),
        Class::AsItStands => added::in_whole(&whole)?.into_iter().map(|(_, token)| token).collect(),
    };
    let known = || there.iter().chain(&tokens.listed);
    check_required(vocabulary, known(), &whole.path)?;
    let more = tokens.into_added(&there);
    let all: Vec<Added> = there.into_iter().chain(more).collect();
    let all: Value =
        added::with_ids(&all, vocabulary).iter().map(|(id, token)| token.json(*id)).collect();
    if kind.class == Class::Bert {
        check_built_alike(&whole)?;
        if let Some(normalizer) = whole.entries.get_mut("normalizer").and_then(Value::as_object_mut)
        {
            normalizer.extend(letters(config)?);
        }
    }
    whole.entries.insert("added_tokens".into(), all);
    if !kind.typed
        && let Some(template) = whole.entries.get_mut("post_processor")
    {
        remove_types(template);
    }
    Ok(whole.entries.into())
}

/// Refuses what transformers 4 takes from `tokenizer.json` and 5 takes from the class alone.
fn check_built_alike(whole: &Object) -> Result<()> {
    let entry = |names: [&str; 2]| {
        let [part, name] = names;
        whole.get(part).and_then(|part| part.get(name)).cloned().unwrap_or_default()
    };
    for (names, only) in [
        (["normalizer", "type"], json!("BertNormalizer")),
        (["normalizer", "clean_text"], json!(true)),
        (["pre_tokenizer", "type"], json!("BertPreTokenizer")),
        (["model", "unk_token"], json!(marks::BERT.unknown)),
        (["model", "continuing_subword_prefix"], json!(PREFIX)),
        (["model", "max_input_chars_per_word"], json!(LONGEST_WORD)),
    ] {
        let found = entry(names);
        if found != only {
            let expected = format!("{} {only}, as BertTokenizer has", names.join("."));
            return Err(whole.wrong(expected, found).hint(
                "to take this file as it stands, write \"tokenizer_class\": \
                 \"PreTrainedTokenizerFast\" into tokenizer_config.json",
            ));
        }
    }
    Ok(())
}

/// What the configuration says of letters, with the names of `tokenizer.json`.
fn letters(config: &Object) -> Result<Map<String, Value>> {
    let entries = [
        ("handle_chinese_chars", config.flag("tokenize_chinese_chars", Some(true))?),
        ("strip_accents", config.flag("strip_accents", None)?),
        ("lowercase", config.flag("do_lower_case", Some(true))?),
    ];
    Ok(entries.into_iter().map(|(name, flag)| (name.to_owned(), json!(flag))).collect())
}

/// The texts of BERT's models cannot do without these.
fn check_required<'a>(
    vocabulary: &Map<String, Value>,
    added: impl Iterator<Item = &'a Added> + Clone,
    path: &Path,
) -> Result<()> {
    for mark in marks::BERT.required() {
        // Unknown words are looked up in the vocabulary itself.
        let is_added = mark != marks::BERT.unknown && added.clone().any(|t| t.content == mark);
        if !is_added && !vocabulary.contains_key(mark) {
            let expected = format!("the token {mark} in the vocabulary");
            return Err(Error::content(path, None, expected, "none").hint(HINT));
        }
    }
    Ok(())
}

/// The tokenizer of a `vocab.txt`, one token per line. Of a token that is there twice the last line
/// counts.
fn from_lines(path: &Path, tokens: Tokens, config: &Object, kind: Kind) -> Result<Value> {
    let text = read_text(path)?;
    let count = text.lines().count();
    if count > trusted::MOST_TOKENS {
        let expected = format!("at most {} tokens", trusted::MOST_TOKENS);
        return Err(Error::content(path, None, expected, count).hint(HINT));
    }
    let numbered = text.lines().enumerate();
    let vocab: Map<String, Value> =
        numbered.map(|(id, token)| (token.trim_end().to_owned(), json!(id))).collect();
    check_required(&vocab, tokens.listed.iter(), path)?;
    let added = tokens.into_added(&[]);
    let added = added::with_ids(&added, &vocab);
    let id_of =
        |mark: &str| added.iter().find(|(_, token)| token.content == mark).map(|(id, _)| *id);
    let entry = |mark: &str| json!({"id": mark, "ids": [id_of(mark)], "tokens": [mark]});
    let around: Map<_, _> =
        marks::of(marks::BERT.pair).map(|mark| (mark.to_owned(), entry(mark))).collect();
    let mut normalizer = Map::new();
    normalizer.insert("type".into(), json!("BertNormalizer"));
    normalizer.insert("clean_text".into(), json!(true));
    normalizer.extend(letters(config)?);
    let mut template = json!({
        "type": "TemplateProcessing",
        "single": template_json(marks::BERT.single),
        "pair": template_json(marks::BERT.pair),
        "special_tokens": around,
    });
    if !kind.typed {
        remove_types(&mut template);
    }
    let added: Value = added.iter().map(|(id, token)| token.json(*id)).collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template,
        "decoder": {"type": "WordPiece", "prefix": PREFIX, "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": marks::BERT.unknown,
            "continuing_subword_prefix": PREFIX,
            "max_input_chars_per_word": LONGEST_WORD,
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

/// Gives all pieces of a template the token type 0.
fn remove_types(template: &mut Value) {
    for name in ["single", "pair"] {
        let pieces = template.get_mut(name).and_then(Value::as_array_mut);
        for piece in pieces.into_iter().flatten().filter_map(Value::as_object_mut) {
            for kind in piece.values_mut().filter_map(|value| value.get_mut("type_id")) {
                *kind = json!(0);
            }
        }
    }
}

/// The lines of the `vocab.txt` with these tokens by their ids. A place without a token gets that of
/// the next one, which counts where it is last.
pub(super) fn lines(mut vocabulary: Vec<(String, u32)>) -> String {
    vocabulary.sort_unstable_by_key(|(_, id)| *id);
    let mut text = String::new();
    let mut next = 0;
    for (token, id) in &vocabulary {
        for _ in next..=*id {
            text.push_str(token);
            text.push('\n');
        }
        next = id.saturating_add(1);
    }
    text
}
