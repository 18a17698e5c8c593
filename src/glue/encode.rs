//! WordPiece encoding of rows with the `tokenizers` crate, as Hugging Face's BERT tokenizer does.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{Encoding, ModelWrapper, NormalizerWrapper, PostProcessor, Tokenizer};

use crate::error::{Error, Result};
use crate::files::{write_json, write_whole};
use crate::glue::marks::{self, Template};
use crate::glue::read::{read_text, sha256_hex};
use crate::glue::sample::Sample;
use crate::glue::trusted;
use crate::glue::tsv::Row;
use crate::glue::vocab;
pub use crate::glue::words::Words;

/// The longest sequence, in tokens, that BERT's position embeddings reach.
pub const MAX_TOKENS: usize = 512;

/// What a sequence cannot do without.
const REQUIRED: [&str; 3] = marks::BERT.required();

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
            let json = vocab::tokenizer_json(&vocab, &dir.join("tokenizer_config.json"))?;
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
        if let Some(missing) = REQUIRED.iter().find(|mark| tokenizer.token_to_id(mark).is_none()) {
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
        let check =
            |template: &Template<&str>, texts: &str, encoding: tokenizers::Result<Encoding>| {
                let encoding = encoding.map_err(|e| wrong("a working tokenizer", &e))?;
                let ids = marks::of(template).map(|mark| tokenizer.token_to_id(mark));
                if ids.eq(encoding.get_ids().iter().copied().map(Some)) {
                    return Ok(());
                }
                let expected = format!("{} around {texts}", listed(marks::of(template)));
                let found = encoding.get_tokens().join(" ");
                Err(wrong(&expected, &format!("{found:?}")))
            };
        check(marks::BERT.single, "an empty text", tokenizer.encode_fast("", true))?;
        check(marks::BERT.pair, "two texts", tokenizer.encode_fast(("", ""), true))?;
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
        config.insert("tokenizer_class".into(), json!(marks::BERT.tokenizer_class));
        config.insert("do_lower_case".into(), json!(lowercase));
        config.insert("strip_accents".into(), json!(strip_accents));
        config.insert("tokenize_chinese_chars".into(), json!(chinese));
        config.insert("model_max_length".into(), json!(MAX_TOKENS));
        for (name, mark) in marks::BERT.by_name() {
            if self.tokenizer.token_to_id(mark).is_some() {
                config.insert(format!("{name}_token"), json!(mark));
            }
        }
        config.into()
    }
}

/// As `a, b and c`.
fn listed<'a>(marks: impl Iterator<Item = &'a str>) -> String {
    let marks: Vec<&str> = marks.collect();
    match marks.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => marks.concat(),
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
