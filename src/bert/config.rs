//! `config.json` of a Hugging Face BERT checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::family::BERT;
use super::head_settings::HeadSettings;
use crate::error::{Error, Result};

/// No published BERT comes near these; they bound what a file can make us allocate.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 256;
const MAX_PARAMETERS: usize = 4_000_000_000;

/// The sizes and constants of a BERT encoder, with the names of Hugging Face's `BertConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Number of word pieces.
    pub vocab_size: usize,
    /// Width of a token's vector.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Attention heads per layer; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest sequence, in tokens.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Number of token types (segments).
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layer; only the exact `gelu` is supported.
    #[serde(default = "default_activation")]
    pub hidden_act: String,
    /// Standard deviation of freshly initialised weights.
    #[serde(default = "default_range")]
    pub initializer_range: f64,
    /// The padding token's number.
    #[serde(default = "default_padding")]
    pub pad_token_id: usize,
}

/// The dropout rate that transformers takes where a configuration names none.
pub const DROPOUT: f64 = 0.1;

fn default_positions() -> usize {
    BERT.defaults.max_position_embeddings
}
fn default_types() -> usize {
    BERT.defaults.type_vocab_size
}
fn default_eps() -> f64 {
    BERT.defaults.layer_norm_eps
}
fn default_activation() -> String {
    BERT.defaults.hidden_act.into()
}
fn default_range() -> f64 {
    BERT.defaults.initializer_range
}
fn default_padding() -> usize {
    BERT.defaults.pad_token_id
}

impl BertConfig {
    /// Takes and checks what a configuration says; `path` is the file it stands in.
    ///
    /// # Errors
    /// It describes another architecture, or has sizes that contradict each other.
    pub fn from_json(value: Value, path: &Path) -> Result<Self> {
        if let Some(kind) = value.get("model_type").and_then(|v| v.as_str())
            && kind != BERT.model_type
        {
            let expected = format!("model_type {:?}", BERT.model_type);
            return Err(Error::content(path, None, expected, format!("{kind:?}")));
        }
        for (key, only) in [
            ("position_embedding_type", json!("absolute")),
            ("is_decoder", json!(false)),
            ("add_cross_attention", json!(false)),
        ] {
            if let Some(found) = value.get(key).filter(|found| **found != only) {
                return Err(Error::content(path, None, format!("{key} {only}"), found)
                    .hint("other variants of BERT are not supported"));
            }
        }
        let config: Self = serde_json::from_value(value)
            .map_err(|e| Error::content(path, None, "a BERT configuration", e))?;
        config.check(path)?;
        Ok(config)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("hidden_size", self.hidden_size, MAX_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_SIZE),
            ("intermediate_size", self.intermediate_size, MAX_SIZE),
            ("max_position_embeddings", self.max_position_embeddings, MAX_SIZE),
            ("type_vocab_size", self.type_vocab_size, MAX_SIZE),
        ];
        for (name, value, max) in sizes {
            if value == 0 || value > max {
                return Err(Error::content(path, None, format!("{name} from 1 to {max}"), value));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::content(
                path,
                None,
                "a hidden_size that num_attention_heads divides",
                format!("{} and {}", self.hidden_size, self.num_attention_heads),
            ));
        }
        let tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let layer = 4 * self.hidden_size + 2 * self.intermediate_size;
        let parameters = self.hidden_size * (tables + self.num_hidden_layers * layer);
        if parameters > MAX_PARAMETERS {
            return Err(Error::content(
                path,
                None,
                format!("sizes that make at most {MAX_PARAMETERS} parameters"),
                parameters,
            ));
        }
        if !(self.layer_norm_eps >= 0.0 && self.layer_norm_eps.is_finite()) {
            let expected = "layer_norm_eps of at least 0";
            return Err(Error::content(path, None, expected, self.layer_norm_eps));
        }
        // As it is used; an infinite one would make all vectors equal.
        if (self.layer_norm_eps as f32).is_infinite() {
            let expected = "layer_norm_eps within single precision";
            return Err(Error::content(path, None, expected, format!("{:?}", self.layer_norm_eps)));
        }
        if !(0.0..=1.0).contains(&self.initializer_range) {
            let expected = "initializer_range from 0 to 1";
            let found = format!("{:?}", self.initializer_range);
            return Err(Error::content(path, None, expected, found));
        }
        if self.pad_token_id >= self.vocab_size {
            let expected = format!("pad_token_id below the vocab_size {}", self.vocab_size);
            return Err(Error::content(path, None, expected, self.pad_token_id));
        }
        if self.hidden_act != "gelu" {
            return Err(Error::content(
                path,
                None,
                "hidden_act \"gelu\"",
                format!("{:?}", self.hidden_act),
            ));
        }
        Ok(())
    }

    /// The `config.json` of a classifier with this head, as a JSON object; `dropout` is the
    /// encoder's.
    pub fn to_classifier_json(&self, head: &HeadSettings, dropout: f64) -> Value {
        let mut json = self.to_json(BERT.classifier_class, dropout);
        json.insert("classifier_dropout".into(), head.dropout.into());
        head.write_labels(&mut json);
        json.insert("problem_type".into(), head.problem.name().into());
        Value::Object(json)
    }

    /// The `config.json` of the encoder alone, as a JSON object.
    pub fn to_encoder_json(&self, dropout: f64) -> Value {
        Value::Object(self.to_json(BERT.encoder_class, dropout))
    }

    fn to_json(&self, architecture: &str, dropout: f64) -> Map<String, Value> {
        let entries = [
            ("architectures", json!([architecture])),
            ("model_type", BERT.model_type.into()),
            ("vocab_size", self.vocab_size.into()),
            ("hidden_size", self.hidden_size.into()),
            ("num_hidden_layers", self.num_hidden_layers.into()),
            ("num_attention_heads", self.num_attention_heads.into()),
            ("intermediate_size", self.intermediate_size.into()),
            ("max_position_embeddings", self.max_position_embeddings.into()),
            ("type_vocab_size", self.type_vocab_size.into()),
            ("layer_norm_eps", self.layer_norm_eps.into()),
            ("hidden_act", self.hidden_act.clone().into()),
            ("initializer_range", self.initializer_range.into()),
            ("pad_token_id", self.pad_token_id.into()),
            ("hidden_dropout_prob", dropout.into()),
            ("attention_probs_dropout_prob", dropout.into()),
            ("torch_dtype", "float32".into()),
        ];
        entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BertConfig> {
        BertConfig::from_json(serde_json::from_str(json).unwrap(), Path::new("config.json"))
    }

    const GOOD: &str = r#"{"model_type": "bert", "vocab_size": 10, "hidden_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "unknown": 1}"#;

    #[test]
    fn defaults_are_those_of_hugging_face() {
        let config = read(GOOD).unwrap();
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!((config.max_position_embeddings, config.type_vocab_size), (512, 2));
    }

    #[test]
    fn contradictory_or_foreign_configurations_are_refused() {
        for (from, to, expected) in [
            ("\"bert\"", "\"roberta\"", "model_type"),
            ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "divides"),
            ("\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size from 1"),
            ("\"unknown\": 1", "\"hidden_act\": \"relu\"", "hidden_act"),
            ("\"vocab_size\": 10,", "", "vocab_size"),
            ("\"unknown\": 1", "\"layer_norm_eps\": 1e39", "within single precision, found 1e39"),
            ("\"unknown\": 1", "\"position_embedding_type\": \"relative_key\"", "absolute"),
            ("\"unknown\": 1", "\"is_decoder\": true", "is_decoder false"),
            ("\"vocab_size\": 10", "\"vocab_size\": 1000000000", "vocab_size from 1"),
            ("\"hidden_size\": 8", "\"hidden_size\": 1048576", "parameters"),
        ] {
            let error = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
