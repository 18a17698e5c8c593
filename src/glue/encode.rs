//! Encoding of rows with the `tokenizers` crate, as Hugging Face's tokenizers of BERT, RoBERTa and
//! their kin do.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{
    AddedToken, Encoding, Model as _, ModelWrapper, NormalizedString, Normalizer,
    NormalizerWrapper, PostProcessor, PreTokenizerWrapper, Tokenizer,
};

use crate::error::{Error, Result};
use crate::files::{write_json, write_whole};
use crate::glue::added::Names;
use crate::glue::class::{Kind, Model};
use crate::glue::marks;
use crate::glue::read::sha256_hex;
use crate::glue::sample::Sample;
use crate::glue::trusted;
use crate::glue::tsv::Row;
use crate::glue::vocab::{self, Described};
pub use crate::glue::words::Words;

/// The longest sequence, in tokens, that the position embeddings of BERT and RoBERTa reach.
pub const MAX_TOKENS: usize = 512;

/// Whether the folder `dir` holds a tokenizer.
#[must_use]
pub fn has_tokenizer(dir: &Path) -> bool {
    ["tokenizer.json", "vocab.txt", "vocab.json"].iter().any(|name| dir.join(name).is_file())
}

/// A tokenizer with the marks that it puts around texts: BERT's WordPiece with `[CLS] a [SEP]` and
/// `[CLS] a [SEP] b [SEP]`, or RoBERTa's byte-level BPE, or SentencePiece's Unigram, with `<s> a </s>`
/// and `<s> a </s></s> b </s>`.
#[derive(Debug, Clone)]
pub struct Encoder {
    tokenizer: Tokenizer,
    /// The tokenizer as its own file would have it, without truncation and padding.
    serialized: String,
    source: PathBuf,
    kind: Kind,
    /// The marks by their names.
    names: Names,
}

impl Encoder {
    /// Loads a checkpoint folder's `tokenizer.json`, or else its `vocab.txt`, or its `vocab.json` and
    /// `merges.txt`, with what the files beside it say, to the same token ids as transformers.
    /// Truncation and padding set in `tokenizer.json` are not used.
    ///
    /// # Errors
    /// There is no such file, one is malformed or too large, a mark is missing, or the files ask for
    /// what is not done here.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let Described { mut json, source, kind, names } = vocab::describe(dir)?;
        let wrong = |expected: &str, found: &dyn std::fmt::Display| {
            Error::content(&source, None, expected, found).hint(vocab::HINT)
        };
        let mut tokenizer =
            Tokenizer::from_bytes(json.to_string()).map_err(|e| wrong(vocab::FORMAT, &e))?;
        let model = json.get_mut("model").map(Value::take).unwrap_or_default();
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| wrong("no truncation", &e))?;
        // The library takes some things in forms that are not looked into before: lists for objects,
        // one component under the name of another. What it has made of them has one form.
        let made = form(&tokenizer, model).map_err(|e| wrong("a serializable tokenizer", &e))?;
        trusted::check(kind.model, &made).map_err(|(expected, found)| wrong(&expected, &found))?;
        let serialized = Value::Object(made).to_string();
        let encoder = Self { tokenizer, serialized, source, kind, names };
        encoder.check_marks()?;
        encoder.check_added()?;
        Ok(encoder)
    }

    /// Without a post-processor the marks would be left out, and no other error would tell; nor
    /// would it where token types are other than the class or the configuration asks.
    fn check_marks(&self) -> Result<()> {
        let wrong = |expected: String, found: String| {
            Error::content(&self.source, None, expected, found).hint(vocab::HINT)
        };
        let ids_of = |encoding: tokenizers::Result<Encoding>| {
            encoding.map_err(|e| wrong("a working tokenizer".into(), e.to_string()))
        };
        let (tokenizer, own) = (&self.tokenizer, self.kind.marks);
        for (template, texts, encoding) in [
            (own.single, "an empty text", tokenizer.encode_fast("", true)),
            (own.pair, "two texts", tokenizer.encode_fast(("", ""), true)),
        ] {
            let encoding = ids_of(encoding)?;
            let ids = marks::of(template).map(|mark| tokenizer.token_to_id(mark));
            if !ids.eq(encoding.get_ids().iter().copied().map(Some)) {
                let expected = format!("{} around {texts}", listed(marks::of(template)));
                let found = encoding.get_tokens().join(" ");
                return Err(wrong(expected, format!("{found:?}")));
            }
        }
        if self.kind.class.is_none() && self.kind.typed {
            return Ok(());
        }
        let mark = own.separator;
        let encoding = ids_of(tokenizer.encode_fast((mark, mark), true))?;
        let types = own.pair.iter().map(|(_, kind)| u32::from(*kind) * u32::from(self.kind.typed));
        let types: Vec<u32> = types.collect();
        if encoding.get_type_ids() == types {
            return Ok(());
        }
        Err(wrong(
            format!("the token types {types:?} of a pair"),
            format!("{:?}", encoding.get_type_ids()),
        ))
    }

    /// A token of which its normalization leaves nothing would be found everywhere, inside of
    /// characters too.
    fn check_added(&self) -> Result<()> {
        let Some(normalizer) = self.tokenizer.get_normalizer() else { return Ok(()) };
        for token in self.tokenizer.get_added_tokens_decoder().values().filter(|t| t.normalized) {
            let mut content = NormalizedString::from(token.content.as_str());
            if normalizer.normalize(&mut content).is_err() || content.is_empty() {
                let found = format!("{:?}, of which nothing is left", token.content);
                let expected = "added tokens that remain when letters are normalized";
                return Err(Error::content(&self.source, None, expected, found).hint(vocab::HINT));
            }
        }
        Ok(())
    }

    /// The least number of embeddings: one for each id up to the highest of the vocabulary. Tokens
    /// that are added to it need one where a text has them.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        let vocabulary = self.tokenizer.get_vocab(false);
        vocabulary.into_values().max().map_or(0, |id| id as usize + 1)
    }

    /// Checks that a model with so many `embeddings` has one for every token of the vocabulary;
    /// `dir` is named in the error.
    ///
    /// # Errors
    /// It has fewer.
    pub fn check_fits(&self, embeddings: usize, dir: &Path) -> Result<()> {
        let size = self.vocab_size();
        if size <= embeddings {
            return Ok(());
        }
        let expected = format!("at most {embeddings} tokens, as the model has embeddings");
        Err(Error::content(dir, None, expected, size)
            .hint("the tokenizer must belong to the checkpoint"))
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
        let remembered: Vec<Option<Sample>> =
            rows.iter().map(|row| words.encode(&self.tokenizer, row, max_tokens)).collect();
        let rows = rows.par_iter().zip(remembered);
        rows.map(|(row, sample)| sample.map_or_else(|| self.encode(row, max_tokens), Ok)).collect()
    }

    /// An empty memory of words for [`Encoder::encode_batch`].
    #[must_use]
    pub fn words(&self) -> Words {
        Words::new(&self.tokenizer, self.kind.marks, self.kind.typed)
    }

    /// A row as `words` encodes it, and as the tokenizer does.
    #[cfg(test)]
    pub(super) fn both_ways(
        &self,
        row: &Row,
        max_tokens: usize,
        words: &mut Words,
    ) -> (Option<Sample>, Sample) {
        let remembered = words.encode(&self.tokenizer, row, max_tokens);
        (remembered, self.encode(row, max_tokens).unwrap())
    }

    /// Encodes one row as [`encode_batch`](Self::encode_batch) does, remembering nothing.
    ///
    /// # Errors
    /// Those of `encode_batch`.
    pub fn encode(&self, row: &Row, max_tokens: usize) -> Result<Sample> {
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
            let (mut text_a, mut text_b) = truncate_encodings(text_a, text_b, &params)?;
            // What was cut off is kept beside in parts, and each of a pair's would be joined with each
            // of the other's: gigabytes for two long texts.
            for text in std::iter::once(&mut text_a).chain(&mut text_b) {
                drop(text.take_overflowing());
            }
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
            softlabel: Vec::new(),
        })
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and, where BERT's says as much, `vocab.txt`
    /// into `dir`, a folder that transformers' `AutoTokenizer` and [`Encoder::from_dir`] load. The
    /// model reads at most `max_tokens`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn save_to(&self, dir: &Path, max_tokens: usize) -> Result<()> {
        if self.kind.class.is_some_and(|class| class.model == Model::WordPiece) {
            let vocabulary = self.tokenizer.get_vocab(false).into_iter().collect();
            write_whole(&dir.join("vocab.txt"), vocab::lines(vocabulary).as_bytes())?;
        }
        write_whole(&dir.join("tokenizer.json"), self.serialized.as_bytes())?;
        write_json(&dir.join("tokenizer_config.json"), &self.config(max_tokens))
    }

    /// What transformers reads beside the vocabulary.
    fn config(&self, max_tokens: usize) -> Value {
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!(self.kind.name()));
        if self.kind.model == Model::WordPiece {
            let (lowercase, strip_accents, chinese) = match self.tokenizer.get_normalizer() {
                Some(NormalizerWrapper::BertNormalizer(n)) => {
                    (n.lowercase, n.strip_accents, n.handle_chinese_chars)
                }
                _ => (false, None, false),
            };
            config.insert("do_lower_case".into(), json!(lowercase));
            config.insert("strip_accents".into(), json!(strip_accents));
            config.insert("tokenize_chinese_chars".into(), json!(chinese));
        } else if self.kind.class.is_some() {
            let prefix_space = match self.tokenizer.get_pre_tokenizer() {
                Some(PreTokenizerWrapper::ByteLevel(bytes)) => bytes.add_prefix_space,
                Some(PreTokenizerWrapper::Sequence(parts)) => {
                    let never = |part: &PreTokenizerWrapper| {
                        matches!(part,
                        PreTokenizerWrapper::Metaspace(s) if s.prepend_scheme == PrependScheme::Never)
                    };
                    !parts.as_ref().iter().any(never)
                }
                _ => false,
            };
            config.insert("add_prefix_space".into(), json!(prefix_space));
        }
        config.insert("model_max_length".into(), json!(max_tokens));
        if let Some(inputs) = self.kind.inputs() {
            config.insert("model_input_names".into(), inputs);
        }
        let added = added(&self.tokenizer);
        if self.kind.class.is_some_and(|class| !class.unnamed.is_empty()) {
            let is_named =
                |content: &str| self.names.values().flatten().any(|mark| mark.content == content);
            let unnamed = added.iter().map(|(_, token)| token);
            let unnamed = unnamed.filter(|token| token.special && !is_named(&token.content));
            let unnamed: Vec<&str> = unnamed.map(|token| token.content.as_str()).collect();
            config.insert("additional_special_tokens".into(), json!(unnamed));
        }
        let added = added.into_iter().map(|(id, token)| (id.to_string(), json!(token)));
        config.insert("added_tokens_decoder".into(), Value::Object(added.collect()));
        for (name, mark) in &self.names {
            config.insert(format!("{name}_token"), json!(mark.as_ref().map(|mark| &mark.content)));
        }
        config.into()
    }
}

/// A tokenizer in the form of `tokenizer.json`, as the library writes it; but the library prints a
/// line where an id has no token. `model` is what it was made of.
fn form(tokenizer: &Tokenizer, model: Value) -> serde_json::Result<Map<String, Value>> {
    let with_id = |(id, token): (u32, AddedToken)| {
        let mut object = Map::from_iter([("id".to_owned(), json!(id))]);
        if let Value::Object(token) = json!(token) {
            object.extend(token);
        }
        Value::Object(object)
    };
    let model = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => {
            let mut vocabulary: Vec<_> = model.get_vocab().into_iter().collect();
            vocabulary.sort_unstable_by_key(|(_, id)| *id);
            let vocabulary: Map<_, _> =
                vocabulary.into_iter().map(|(token, id)| (token, json!(id))).collect();
            json!({"type": "WordPiece", "unk_token": model.unk_token,
                "continuing_subword_prefix": model.continuing_subword_prefix,
                "max_input_chars_per_word": model.max_input_chars_per_word, "vocab": vocabulary})
        }
        _ => model,
    };
    let entries = [
        ("version", json!("1.0")),
        ("truncation", Value::Null),
        ("padding", Value::Null),
        ("added_tokens", added(tokenizer).into_iter().map(with_id).collect()),
        ("normalizer", serde_json::to_value(tokenizer.get_normalizer())?),
        ("pre_tokenizer", serde_json::to_value(tokenizer.get_pre_tokenizer())?),
        ("post_processor", serde_json::to_value(tokenizer.get_post_processor())?),
        ("decoder", serde_json::to_value(tokenizer.get_decoder())?),
        ("model", model),
    ];
    Ok(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The tokens that were added, by their ids.
fn added(tokenizer: &Tokenizer) -> Vec<(u32, AddedToken)> {
    let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
    added.sort_unstable_by_key(|(id, _)| *id);
    added
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
