//! WordPiece encoding of rows with the `tokenizers` crate, as Hugging Face's BERT tokenizer does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{ModelWrapper, NormalizerWrapper, PostProcessor, Tokenizer};

use crate::error::{Error, Result};
use crate::files::{write_json, write_whole};
use crate::glue::read::{read_text, sha256_hex};
use crate::glue::sample::Sample;
use crate::glue::trusted;
use crate::glue::tsv::Row;
pub use crate::glue::words::Words;

/// The longest sequence, in tokens, that BERT's position embeddings reach.
pub const MAX_TOKENS: usize = 512;

/// What a sequence cannot do without.
const REQUIRED: [&str; 3] = ["[CLS]", "[SEP]", "[UNK]"];
/// The marks that a text may not spell: they are tokens of their own.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Whether the folder `dir` holds a tokenizer.
#[must_use]
pub fn has_tokenizer(dir: &Path) -> bool {
    dir.join("tokenizer.json").is_file() || dir.join("vocab.txt").is_file()
}

/// A BERT tokenizer: WordPiece with `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.
#[derive(Debug, Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// The tokenizer as its own file would have it, without truncation and padding.
    serialized: String,
    source: PathBuf,
}

impl Encoder {
    /// Loads a checkpoint folder's `tokenizer.json`, or else its `vocab.txt`, lower-casing as
    /// `tokenizer_config.json` says (by default it does). Truncation and padding set in
    /// `tokenizer.json` are not used.
    ///
    /// # Errors
    /// Neither file is there, one is malformed or not a WordPiece vocabulary, or `[CLS]`,
    /// `[SEP]` or `[UNK]` is missing.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let (whole, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        if whole.is_file() {
            return Self::from_json(&read_text(&whole)?, whole);
        }
        if vocab.is_file() {
            let json = wordpiece_json(&vocab, &dir.join("tokenizer_config.json"))?;
            return Self::from_json(&json.to_string(), vocab);
        }
        Err(Error::content(dir, None, "tokenizer.json or vocab.txt", "neither")
            .hint("put the checkpoint's tokenizer files into this folder"))
    }

    fn from_json(text: &str, source: PathBuf) -> Result<Self> {
        let wrong = |expected: &str, found: &dyn std::fmt::Display| {
            Error::content(&source, None, expected, found)
                .hint("use the tokenizer files of a BERT checkpoint")
        };
        let json: Value = serde_json::from_str(text)
            .map_err(|e| wrong("a tokenizer of Hugging Face's format", &e))?;
        trusted::check(&json).map_err(|(expected, found)| wrong(&expected, &found))?;
        let mut tokenizer = Tokenizer::from_bytes(text)
            .map_err(|e| wrong("a tokenizer of Hugging Face's format", &e))?;
        if !matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_)) {
            return Err(wrong("a WordPiece tokenizer", &"another model"));
        }
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| wrong("no truncation", &e))?;
        let marks = REQUIRED.map(|mark| (mark, tokenizer.token_to_id(mark)));
        let id = |mark: &str| marks.iter().find(|(name, _)| *name == mark).and_then(|(_, id)| *id);
        if let Some((missing, _)) = marks.iter().find(|(_, id)| id.is_none()) {
            let expected = format!("the token {missing} in the vocabulary");
            return Err(wrong(&expected, &"none"));
        }
        let serialized =
            tokenizer.to_string(false).map_err(|e| wrong("a serializable tokenizer", &e))?;
        // The library takes some things in forms that are not looked into above: lists for objects,
        // one component under the name of another. What it has made of them has one form.
        let parsed: Value =
            serde_json::from_str(&serialized).map_err(|e| wrong("a serializable tokenizer", &e))?;
        trusted::check(&parsed).map_err(|(expected, found)| wrong(&expected, &found))?;
        // Without a post-processor the marks would be left out, and no other error would tell.
        let empty =
            tokenizer.encode_fast("", true).map_err(|e| wrong("a working tokenizer", &e))?;
        let around: Vec<_> = empty.get_ids().iter().copied().map(Some).collect();
        if around != [id("[CLS]"), id("[SEP]")] {
            let found = empty.get_tokens().join(" ");
            let expected = "[CLS] and [SEP] around an empty text";
            return Err(wrong(expected, &format!("{found:?}")));
        }
        let both = tokenizer.encode_fast(("", ""), true);
        let both = both.map_err(|e| wrong("a working tokenizer", &e))?;
        let around: Vec<_> = both.get_ids().iter().copied().map(Some).collect();
        if around != [id("[CLS]"), id("[SEP]"), id("[SEP]")] {
            let found = both.get_tokens().join(" ");
            let expected = "[CLS], [SEP] and [SEP] around two texts";
            return Err(wrong(expected, &format!("{found:?}")));
        }
        Ok(Self { tokenizer, serialized, source })
    }

    /// The number of tokens, added ones included: the least number of embeddings.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The SHA-256, in hexadecimal, of everything that decides the encoding of a text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        sha256_hex(self.serialized.as_bytes())
    }

    /// Encodes rows in order, each truncated to `max_tokens` by shortening its longest text.
    /// `words` remembers the words of earlier rows.
    ///
    /// # Errors
    /// `max_tokens` leaves no room for the marks, or the tokenizer fails on a text.
    pub fn encode_batch(
        &self,
        rows: &[Row],
        max_tokens: usize,
        words: &mut Words,
    ) -> Result<Vec<Sample>> {
        rows.iter()
            .map(|row| match words.encode(&self.tokenizer, row, max_tokens) {
                Some(sample) => Ok(sample),
                None => self.encode(row, max_tokens),
            })
            .collect()
    }

    /// An empty memory of words for [`Encoder::encode_batch`].
    #[must_use]
    pub fn words(&self) -> Words {
        Words::new(&self.tokenizer)
    }

    fn encode(&self, row: &Row, max_tokens: usize) -> Result<Sample> {
        let text_b = row.second_text();
        let is_pair = text_b.is_some();
        let added = self.tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(is_pair));
        let Some(max_length) = max_tokens.checked_sub(added) else {
            let expected = format!("at least {added} for the marks");
            return Err(Error::value("max_tokens", expected, max_tokens));
        };
        // The two texts are truncated here, not by the tokenizer's own setting, so that one
        // tokenizer serves every length.
        let params = TruncationParams { max_length, ..TruncationParams::default() };
        let encoding = (|| {
            let text_a = self.tokenizer.encode_fast(row.text_a.as_str(), false)?;
            let text_b = match text_b {
                Some(text) => Some(self.tokenizer.encode_fast(text, false)?),
                None => None,
            };
            let (text_a, text_b) = truncate_encodings(text_a, text_b, &params)?;
            self.tokenizer.post_process(text_a, text_b, true)
        })()
        .map_err(|e| {
            Error::run(format!("{}: cannot encode row {}: {e}", self.source.display(), row.uid))
        })?;
        Ok(Sample {
            uid: row.uid.clone(),
            label: row.label,
            token_id: encoding.get_ids().to_vec(),
            type_id: encoding.get_type_ids().iter().map(|id| u8::from(*id > 0)).collect(),
            attention_mask: encoding
                .get_attention_mask()
                .iter()
                .map(|m| u8::from(*m > 0))
                .collect(),
        })
    }

    /// Writes `tokenizer.json`, `vocab.txt` and `tokenizer_config.json` into `dir`, a folder that
    /// transformers' `AutoTokenizer` and [`Encoder::from_dir`] load.
    ///
    /// # Errors
    /// A file cannot be written, or the ids are not 0, 1, 2, ... as `vocab.txt` needs them.
    pub fn save_to(&self, dir: &Path) -> Result<()> {
        let mut vocab: Vec<_> = self.tokenizer.get_vocab(true).into_iter().collect();
        vocab.sort_unstable_by_key(|(_, id)| *id);
        if let Some((place, (token, id))) =
            vocab.iter().enumerate().find(|(place, (_, id))| usize::try_from(*id) != Ok(*place))
        {
            let found = format!("{id} for {token:?}");
            return Err(Error::content(&self.source, None, format!("token id {place}"), found));
        }
        let lines: String = vocab.iter().map(|(token, _)| format!("{token}\n")).collect();
        write_whole(&dir.join("vocab.txt"), lines.as_bytes())?;
        write_whole(&dir.join("tokenizer.json"), self.serialized.as_bytes())?;
        write_json(&dir.join("tokenizer_config.json"), &self.config())
    }

    /// What transformers reads beside the vocabulary.
    fn config(&self) -> Value {
        let (lowercase, strip_accents, chinese) = match self.tokenizer.get_normalizer() {
            Some(NormalizerWrapper::BertNormalizer(n)) => {
                (n.lowercase, n.strip_accents, n.handle_chinese_chars)
            }
            _ => (false, None, false),
        };
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("BertTokenizer"));
        config.insert("do_lower_case".into(), json!(lowercase));
        config.insert("strip_accents".into(), json!(strip_accents));
        config.insert("tokenize_chinese_chars".into(), json!(chinese));
        config.insert("model_max_length".into(), json!(MAX_TOKENS));
        for mark in SPECIAL.iter().filter(|mark| self.tokenizer.token_to_id(mark).is_some()) {
            let name = mark.trim_matches(['[', ']']).to_lowercase();
            config.insert(format!("{name}_token"), json!(mark));
        }
        config.into()
    }
}

/// The `tokenizer.json` that stands for a `vocab.txt`, one token per line.
fn wordpiece_json(vocab_path: &Path, config_path: &Path) -> Result<Value> {
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
    for mark in REQUIRED {
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
        .filter(|(_, token)| SPECIAL.contains(token))
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let mark = |token: &str, kind: u8| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let sequence = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let single = [mark("[CLS]", 0), sequence("A", 0), mark("[SEP]", 0)];
    let pair = [single.to_vec(), vec![sequence("B", 1), mark("[SEP]", 1)]].concat();
    let entry = |token: &str| json!({"id": token, "ids": [vocab.get(token)], "tokens": [token]});
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
            "single": single,
            "pair": pair,
            "special_tokens": {"[CLS]": entry("[CLS]"), "[SEP]": entry("[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }))
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
