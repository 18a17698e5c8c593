//! A folder's tokenizer in the one form that the library reads, from whatever files it has.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::glue::added::{self, Added, Names, Tokens};
use crate::glue::class::{Class, Kind, Model};
use crate::glue::components::{self, LONGEST_WORD, PREFIX, Vocabulary};
use crate::glue::marks;
use crate::glue::object::Object;
use crate::glue::read::read_text;
use crate::glue::trusted;

/// What a `tokenizer.json` has to be.
pub(super) const FORMAT: &str = "a tokenizer of Hugging Face's format";
/// A remedy.
pub(super) const HINT: &str = "use the tokenizer files of the checkpoint";

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
/// The vocabulary is that of `tokenizer.json`, or else of `vocab.txt`, or of `vocab.json` and
/// `merges.txt`. Letters are treated as `tokenizer_config.json` says, whatever `tokenizer.json` says,
/// but where the class is to take that file as it stands. Tokens besides the vocabulary's come as
/// [`added`] tells.
///
/// # Errors
/// There is no vocabulary, a file is malformed or too large, or they ask for what is not done here.
pub(super) fn describe(dir: &Path) -> Result<Described> {
    let whole = dir.join("tokenizer.json");
    let config = Object::read(&dir.join("tokenizer_config.json"))?;
    if whole.is_file() {
        let whole = read_whole(whole)?;
        let kind = Kind::of(dir, &config, Some(&whole))?;
        if let Some(class) = kind.class {
            check_model(&whole, class)?;
        }
        let whole = trusted(whole)?;
        let tokens = Tokens::read(dir, &config, Some(&whole), kind.class)?;
        let names = tokens.names.clone();
        let source = whole.path.clone();
        let json = from_whole(whole, tokens, &config, kind)?;
        return Ok(Described { json, source, kind, names });
    }
    if !["vocab.txt", "vocab.json"].iter().any(|name| dir.join(name).is_file()) {
        return Err(without_vocabulary(dir, "tokenizer.json or vocab.txt"));
    }
    let kind = Kind::of(dir, &config, None)?;
    let Some(class) = kind.class else {
        return Err(Error::content(whole, None, "this file, as tokenizer_class asks", "none")
            .hint("with a vocabulary alone, name the class that reads it, such as BertTokenizer"));
    };
    let tokens = Tokens::read(dir, &config, None, kind.class)?;
    let names = tokens.names.clone();
    let (json, source) = from_vocabulary(dir, class, tokens, &config, kind)?;
    Ok(Described { json, source, kind, names })
}

/// The error of a folder in which `expected` is missing.
fn without_vocabulary(dir: &Path, expected: &str) -> Error {
    let is_sentence_piece = ["sentencepiece.bpe.model", "spiece.model"];
    let found = if expected.contains(' ') { "neither" } else { "none" };
    let error = Error::content(dir, None, expected, found);
    match is_sentence_piece.iter().find(|name| dir.join(name).is_file()) {
        Some(name) => error.hint(format!(
            "of {name}, transformers makes tokenizer.json: load the folder with AutoTokenizer and \
             save it with save_pretrained"
        )),
        None => error.hint("put the checkpoint's tokenizer files into this folder"),
    }
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

/// `whole` with its model in one form, after checks.
fn trusted(mut whole: Object) -> Result<Object> {
    let model = Model::of(&whole)?;
    let Object { path, entries } = &mut whole;
    let checked =
        trusted::plain_model(model, entries).and_then(|()| trusted::check(model, entries));
    checked.map_err(|(expected, found)| Error::content(path, None, expected, found).hint(HINT))?;
    Ok(whole)
}

/// The tokenizer in `whole`, changed as the other files of the folder ask.
fn from_whole(mut whole: Object, tokens: Tokens, config: &Object, kind: Kind) -> Result<Value> {
    let vocabulary = Vocabulary::of(whole.get("model"));
    let there = match kind.class {
        Some(_) => Vec::new(),
        None => added::in_whole(&whole)?.into_iter().map(|(_, token)| token).collect(),
    };
    let known = || there.iter().chain(&tokens.listed);
    check_required(kind, &vocabulary, known(), &whole.path)?;
    let unknown = vocabulary.id(kind.marks.unknown);
    let more = tokens.into_added(&there);
    let all: Vec<Added> = there.into_iter().chain(more).collect();
    let all = added::with_ids(&all, &vocabulary);
    if let Some(class) = kind.class {
        check_built_alike(&whole, class, unknown)?;
        if class.model != Model::WordPiece {
            let Some(Value::Object(mut model)) = whole.entries.shift_remove("model") else {
                return Err(whole.wrong(FORMAT, "no model").hint(HINT));
            };
            let mut part = |name: &str| model.shift_remove(name).unwrap_or_default();
            let model = match class.model {
                Model::Unigram => {
                    let unknown = class.unknown.or(unknown).unwrap_or_default();
                    components::unigram(part("vocab"), unknown)
                }
                _ => components::bpe(part("vocab"), part("merges")),
            };
            let letters = components::precompiled(whole.get("normalizer"));
            return components::whole(class, config, model, letters, &all);
        }
    }
    let all: Value = all.iter().map(|(id, token)| token.json(*id)).collect();
    if kind.class.is_some()
        && let Some(normalizer) = whole.entries.get_mut("normalizer").and_then(Value::as_object_mut)
    {
        normalizer.extend(components::letters(config)?);
    }
    whole.entries.insert("added_tokens".into(), all);
    if !kind.typed
        && let Some(template) = whole.entries.get_mut("post_processor")
    {
        components::remove_types(template);
    }
    Ok(whole.entries.into())
}

/// Refuses what transformers 4 takes from `tokenizer.json` and 5 takes from the class alone.
/// `unknown` is the place of the token for unknown words.
fn check_built_alike(whole: &Object, class: &Class, unknown: Option<usize>) -> Result<()> {
    let entry = |part: &str, name: &str| whole.get(part).and_then(|part| part.get(name)).cloned();
    let null = Value::Null;
    let (no, none) = (json!([false, null]), json!([null, ""]));
    let alike = match class.model {
        Model::WordPiece => vec![
            ("normalizer", "type", json!(["BertNormalizer"])),
            ("normalizer", "clean_text", json!([true])),
            ("pre_tokenizer", "type", json!(["BertPreTokenizer"])),
            ("model", "unk_token", json!([marks::BERT.unknown])),
            ("model", "continuing_subword_prefix", json!([PREFIX])),
            ("model", "max_input_chars_per_word", json!([LONGEST_WORD])),
        ],
        Model::Bpe => vec![
            ("normalizer", "type", json!([null])),
            ("pre_tokenizer", "type", json!(["ByteLevel"])),
            ("pre_tokenizer", "use_regex", json!([true, null])),
            ("model", "continuing_subword_prefix", none.clone()),
            ("model", "end_of_word_suffix", none),
            ("model", "byte_fallback", no.clone()),
            ("model", "ignore_merges", no),
        ],
        Model::Unigram => vec![
            ("model", "unk_id", json!([class.unknown.or(unknown)])),
            ("model", "byte_fallback", no),
        ],
    };
    let differs = |(part, name, values): (&str, &str, Value)| {
        let values: Vec<Value> = values.as_array().cloned().unwrap_or_default();
        let found = entry(part, name).unwrap_or_default();
        let expected = values.first().unwrap_or(&null);
        (!values.contains(&found)).then(|| (format!("{part}.{name} {expected}"), found.to_string()))
    };
    let differs = alike.into_iter().find_map(differs);
    let differs = differs.or_else(|| (class.model == Model::Unigram).then(|| words(whole))?);
    differs.map_or(Ok(()), |(expected, found)| Err(not_alike(whole, class, &expected, &found)))
}

fn check_model(whole: &Object, class: &Class) -> Result<()> {
    let model = Model::of(whole)?;
    if model == class.model {
        return Ok(());
    }
    let [expected, found] = [class.model, model].map(|model| format!("a {} model", model.name()));
    Err(not_alike(whole, class, &expected, &found))
}

fn not_alike(whole: &Object, class: &Class, expected: &str, found: &str) -> Error {
    let name = class.names.first().copied().unwrap_or_default();
    whole.wrong(format!("{expected}, as {name} has"), found).hint(
        "to take this file as it stands, write \"tokenizer_class\": \"PreTrainedTokenizerFast\" \
         into tokenizer_config.json",
    )
}

/// What the normalizer and the pre-tokenizer of a Unigram model do besides what SentencePiece does:
/// what was expected, and what was found.
fn words(whole: &Object) -> Option<(String, String)> {
    for (part, list, known) in [
        ("normalizer", "normalizers", &["Precompiled", "Replace", "Strip"][..]),
        ("pre_tokenizer", "pretokenizers", &["WhitespaceSplit", "Metaspace"]),
    ] {
        for kind in components::parts(whole.get(part), list).iter().map(|part| part.get("type")) {
            if !kind.and_then(Value::as_str).is_some_and(|kind| known.contains(&kind)) {
                let found = kind.map_or("no type".to_owned(), Value::to_string);
                return Some((format!("a {part} of {}", known.join(", ")), found));
            }
        }
    }
    None
}

/// The texts of these models cannot do without marks. Unknown words are looked up in the vocabulary
/// itself; bytes are never unknown.
fn check_required<'a>(
    kind: Kind,
    vocabulary: &Vocabulary,
    added: impl Iterator<Item = &'a Added> + Clone,
    path: &Path,
) -> Result<()> {
    let marks = kind.marks;
    for mark in marks.required() {
        let is_unknown = mark == marks.unknown;
        let can_lack = match kind.model {
            Model::WordPiece => false,
            Model::Bpe => is_unknown,
            // It has a place instead of a name.
            Model::Unigram => is_unknown && kind.class.is_none(),
        };
        let is_added = !is_unknown && added.clone().any(|token| token.content == mark);
        if !can_lack && !is_added && vocabulary.id(mark).is_none() {
            let expected = format!("the token {mark} in the vocabulary");
            return Err(Error::content(path, None, expected, "none").hint(HINT));
        }
    }
    Ok(())
}

/// The tokenizer of a vocabulary that stands in files of its own, and the file with its tokens.
fn from_vocabulary(
    dir: &Path,
    class: &Class,
    tokens: Tokens,
    config: &Object,
    kind: Kind,
) -> Result<(Value, PathBuf)> {
    let (path, model, letters) = match class.model {
        Model::WordPiece => {
            let path = dir.join("vocab.txt");
            if !path.is_file() {
                return Err(without_vocabulary(dir, "tokenizer.json or vocab.txt"));
            }
            let model = components::word_piece(from_lines(&path)?);
            (path, model, components::bert_normalizer(config)?)
        }
        Model::Bpe => {
            let (path, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
            if !path.is_file() || !merges.is_file() {
                let expected = "tokenizer.json, or vocab.json and merges.txt";
                return Err(without_vocabulary(dir, expected));
            }
            let vocab = Value::from(Object::read(&path)?.entries);
            let merges = from_merges(&merges, &vocab)?;
            (path, components::bpe(vocab, merges), Value::Null)
        }
        Model::Unigram => return Err(without_vocabulary(dir, "tokenizer.json")),
    };
    let mut entries = Map::from_iter([("model".to_owned(), model)]);
    trusted::check(class.model, &entries)
        .map_err(|(expected, found)| Error::content(&path, None, expected, found).hint(HINT))?;
    let vocabulary = Vocabulary::of(entries.get("model"));
    check_required(kind, &vocabulary, tokens.listed.iter(), &path)?;
    let added = tokens.into_added(&[]);
    let added = added::with_ids(&added, &vocabulary);
    let model = entries.shift_remove("model").unwrap_or_default();
    let mut json = components::whole(class, config, model, letters, &added)?;
    if !kind.typed
        && let Some(template) = json.get_mut("post_processor")
    {
        components::remove_types(template);
    }
    Ok((json, path))
}

/// The tokens of a `vocab.txt`, one per line. Of a token that is there twice the last line counts.
fn from_lines(path: &Path) -> Result<Map<String, Value>> {
    let text = read_text(path)?;
    let count = text.lines().count();
    if count > trusted::MOST_TOKENS {
        let expected = format!("at most {} tokens", trusted::MOST_TOKENS);
        return Err(Error::content(path, None, expected, count).hint(HINT));
    }
    let numbered = text.lines().enumerate();
    Ok(numbered.map(|(id, token)| (token.trim_end().to_owned(), json!(id))).collect())
}

/// The pairs of tokens of `vocab` in a `merges.txt`, one per line after lines that tell its version.
fn from_merges(path: &Path, vocab: &Value) -> Result<Value> {
    let text = read_text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    lines
        .map(|(n, line)| {
            let wrong = |expected: String| {
                Err(Error::content(path, n + 1, expected, format!("{line:?}")).hint(HINT))
            };
            let pair: Vec<&str> = line.split(' ').collect();
            let [a, b] = pair.as_slice() else {
                return wrong("two tokens with a space between them".into());
            };
            match [*a, *b, &format!("{a}{b}")].iter().find(|token| vocab.get(token).is_none()) {
                Some(token) => wrong(format!("tokens of vocab.json, {token:?} among it")),
                None => Ok(json!(pair)),
            }
        })
        .collect()
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
