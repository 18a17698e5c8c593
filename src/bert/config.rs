//! `config.json` of a Hugging Face checkpoint.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::family::{BERT, Family};
use super::head_settings::HeadSettings;
use crate::activation::Activation;
use crate::error::{Error, Result};

/// No published BERT comes near these; they bound what a file can make us allocate.
const MAX_SIZE: usize = 1 << 20;
const MAX_LAYERS: usize = 256;
const MAX_PARAMETERS: usize = 4_000_000_000;

/// The sizes and constants of an encoder, with the names of Hugging Face's `BertConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// What kind of encoder it is.
    #[serde(rename = "model_type", default = "bert")]
    pub family: &'static Family,
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
    /// Rows of the table of positions.
    pub max_position_embeddings: usize,
    /// Number of token types (segments); 0 where there is no table of them.
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layer.
    pub hidden_act: Activation,
    /// Standard deviation of freshly initialised weights.
    pub initializer_range: f64,
    /// The padding token's number.
    pub pad_token_id: usize,
    /// Width of the embeddings, where it is not `hidden_size`: a dense layer is between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
}

fn bert() -> &'static Family {
    &BERT
}

/// Settings with one value for which this program computes the right thing.
const ONLY: [(&str, Value); 2] =
    [("is_decoder", Value::Bool(false)), ("add_cross_attention", Value::Bool(false))];

impl BertConfig {
    /// Takes and checks what a configuration says; `path` is the file it stands in.
    ///
    /// # Errors
    /// It describes another architecture, or has sizes that contradict each other.
    pub fn from_json(value: Value, path: &Path) -> Result<Self> {
        let refuse = |expected: String, found: &Value| {
            Err(Error::content(path, None, expected, found)
                .hint("other variants of these encoders are not supported"))
        };
        let family = family_of(&value, path)?;
        let relative = "position_embedding_type";
        if let Some(found) = value.get(relative).filter(|found| **found != json!("absolute")) {
            return refuse(format!("{relative} \"absolute\""), found);
        }
        for (key, only) in ONLY {
            if let Some(found) = value.get(key).filter(|found| **found != only) {
                return refuse(format!("{key} {only}"), found);
            }
        }
        let act = family.setting("hidden_act");
        if let Some(found) = value.get(act)
            && found.as_str().and_then(Activation::named).is_none()
        {
            let names = Activation::NAMES.map(|(name, _)| name).join(", ");
            return refuse(format!("{act} {names}"), found);
        }
        let config: Self = serde_json::from_value(with_bert_names(value, family)).map_err(|e| {
            Error::content(path, None, format!("a configuration of {}", family.model_type), e)
        })?;
        config.check(path)?;
        Ok(config)
    }

    /// The longest sequence, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// The position of a sequence's first token.
    pub fn first_position(&self) -> usize {
        if self.family.positions_after_padding { self.pad_token_id + 1 } else { 0 }
    }

    /// Token types that a sample may have; the first means nothing where there is no table.
    pub fn token_types(&self) -> usize {
        self.type_vocab_size.max(1)
    }

    /// Width of the embeddings.
    pub fn embedding_width(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let name = |name: &'static str| self.family.setting(name);
        let mut sizes = vec![
            ("vocab_size", self.vocab_size, MAX_SIZE),
            ("hidden_size", self.hidden_size, MAX_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_SIZE),
            ("intermediate_size", self.intermediate_size, MAX_SIZE),
            ("max_position_embeddings", self.max_position_embeddings, MAX_SIZE),
            ("embedding_size", self.embedding_width(), MAX_SIZE),
        ];
        if self.family.defaults.type_vocab_size > 0 {
            sizes.push(("type_vocab_size", self.type_vocab_size, MAX_SIZE));
        }
        for (setting, value, max) in sizes {
            if value == 0 || value > max {
                let expected = format!("{} from 1 to {max}", name(setting));
                return Err(Error::content(path, None, expected, value));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::content(
                path,
                None,
                format!("a {} that {} divides", name("hidden_size"), name("num_attention_heads")),
                format!("{} and {}", self.hidden_size, self.num_attention_heads),
            ));
        }
        let tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let layer = 4 * self.hidden_size + 2 * self.intermediate_size;
        let parameters = self.embedding_width() * (tables + self.hidden_size)
            + self.hidden_size * self.num_hidden_layers * layer;
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
        if self.max_tokens() == 0 {
            let expected = format!("max_position_embeddings above {}", self.first_position());
            return Err(Error::content(path, None, expected, self.max_position_embeddings)
                .hint("positions begin after pad_token_id"));
        }
        Ok(())
    }

    /// The `config.json` of a classifier with this head, as a JSON object; `dropout` is the
    /// encoder's.
    pub fn to_classifier_json(&self, head: &HeadSettings, dropout: f64) -> Value {
        let mut json = self.to_json(self.family.classifier_class, dropout);
        json.insert(self.family.setting("classifier_dropout").into(), head.dropout.into());
        head.write_labels(&mut json);
        json.insert("problem_type".into(), head.problem.name().into());
        Value::Object(json)
    }

    /// The `config.json` of the encoder alone, as a JSON object.
    pub fn to_encoder_json(&self, dropout: f64) -> Value {
        Value::Object(self.to_json(self.family.encoder_class, dropout))
    }

    fn to_json(&self, architecture: &str, dropout: f64) -> Map<String, Value> {
        let entries = [
            ("architectures", json!([architecture])),
            ("model_type", self.family.model_type.into()),
            ("vocab_size", self.vocab_size.into()),
            ("hidden_size", self.hidden_size.into()),
            ("num_hidden_layers", self.num_hidden_layers.into()),
            ("num_attention_heads", self.num_attention_heads.into()),
            ("intermediate_size", self.intermediate_size.into()),
            ("max_position_embeddings", self.max_position_embeddings.into()),
            ("type_vocab_size", self.type_vocab_size.into()),
            ("layer_norm_eps", self.layer_norm_eps.into()),
            ("hidden_act", self.hidden_act.name().into()),
            ("initializer_range", self.initializer_range.into()),
            ("pad_token_id", self.pad_token_id.into()),
            ("hidden_dropout_prob", dropout.into()),
            ("attention_probs_dropout_prob", dropout.into()),
            ("torch_dtype", "float32".into()),
        ];
        let has = |key: &str| match key {
            "type_vocab_size" => self.type_vocab_size > 0,
            "layer_norm_eps" => !self.family.fixed_layer_norm_eps,
            _ => true,
        };
        let entries = entries.into_iter().filter(|(key, _)| has(key));
        let mut json: Map<String, Value> =
            entries.map(|(key, value)| (self.family.setting(key).to_string(), value)).collect();
        if self.family.defaults.embedding_size.is_some() {
            json.insert("embedding_size".into(), self.embedding_width().into());
        }
        json
    }
}

/// The family that a configuration names; BERT where it names none.
///
/// # Errors
/// It names one that is not known.
pub(super) fn family_of(json: &Value, path: &Path) -> Result<&'static Family> {
    match json.get("model_type").filter(|kind| !kind.is_null()) {
        None => Ok(&BERT),
        Some(kind) => kind.as_str().and_then(Family::of).ok_or_else(|| {
            let expected = format!("model_type {}", Family::names());
            Error::content(path, None, expected, kind)
                .hint("encoders of other kinds are not supported")
        }),
    }
}

/// A configuration under BERT's names, with the family's defaults where it is silent.
fn with_bert_names(mut json: Value, family: &'static Family) -> Value {
    let Value::Object(given) = &mut json else { return json };
    for (bert, own) in family.renamed {
        given.remove(*bert);
        if let Some(value) = given.remove(*own) {
            given.insert((*bert).to_string(), value);
        }
    }
    let defaults = &family.defaults;
    if family.fixed_layer_norm_eps {
        given.remove("layer_norm_eps");
    }
    for (name, value) in [
        ("max_position_embeddings", json!(defaults.max_position_embeddings)),
        ("layer_norm_eps", json!(defaults.layer_norm_eps)),
        ("hidden_act", Activation::default().name().into()),
        ("initializer_range", json!(defaults.initializer_range)),
        ("pad_token_id", json!(defaults.pad_token_id)),
        ("type_vocab_size", json!(defaults.type_vocab_size)),
    ] {
        given.entry(name).or_insert(value);
    }
    given.insert("model_type".into(), family.model_type.into());
    if defaults.type_vocab_size == 0 {
        given.insert("type_vocab_size".into(), 0.into());
    }
    match defaults.embedding_size {
        // A width of another family's setting means nothing.
        None => drop(given.remove("embedding_size")),
        Some(width) => {
            let hidden = given.get("hidden_size").cloned();
            let own = given.entry("embedding_size").or_insert(json!(width));
            if Some(&*own) == hidden.as_ref() {
                given.remove("embedding_size");
            }
        }
    }
    json
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
    fn every_family_is_read_by_its_own_names_and_written_so() {
        let sizes = r#""vocab_size": 10, "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16"#;
        let distil = r#""vocab_size": 10, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16,
            "activation": "relu", "num_attention_heads": 12"#;
        for (kind, sizes, max_tokens, first, types, width) in [
            ("bert", sizes, 512, 0, 2, 8),
            ("roberta", sizes, 510, 2, 2, 8),
            ("xlm-roberta", sizes, 510, 2, 2, 8),
            ("camembert", sizes, 510, 2, 2, 8),
            ("distilbert", distil, 512, 0, 0, 8),
            ("electra", sizes, 512, 0, 2, 128),
        ] {
            let config = read(&format!(r#"{{"model_type": "{kind}", {sizes}}}"#)).unwrap();
            assert_eq!(config.family.model_type, kind);
            let found = (config.max_tokens(), config.first_position(), config.type_vocab_size);
            assert_eq!((found, config.embedding_width()), ((max_tokens, first, types), width));
            assert_eq!((config.hidden_size, config.num_attention_heads), (8, 2));
            let written = config.to_encoder_json(0.1);
            assert_eq!(written.get("model_type").unwrap(), kind);
            assert_eq!(written.get("dim").is_some(), kind == "distilbert");
            assert_eq!(BertConfig::from_json(written, Path::new("again")).unwrap(), config);
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<BertConfig>(&text).unwrap(), config);
        }
        // It is in no configuration of transformers' DistilBERT, which has a number in its place.
        let text = format!(r#"{{"model_type": "distilbert", "layer_norm_eps": 0.1, {distil}}}"#);
        let config = read(&text).unwrap();
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert!(config.to_encoder_json(0.1).get("layer_norm_eps").is_none());
        let narrow = r#"{"model_type": "roberta", "max_position_embeddings": 2, "#.to_string();
        let error = read(&(narrow + sizes + "}")).unwrap_err().to_string();
        assert!(error.contains("max_position_embeddings above 2, found 2"), "{error}");
    }

    #[test]
    fn contradictory_or_foreign_configurations_are_refused() {
        for (from, to, expected) in [
            ("\"bert\"", "\"deberta\"", "model_type bert, roberta, "),
            ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "divides"),
            ("\"hidden_size\": 8", "\"hidden_size\": 0", "hidden_size from 1"),
            ("\"unknown\": 1", "\"hidden_act\": \"relu6\"", "hidden_act gelu, gelu_new, "),
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
