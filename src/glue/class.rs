//! Which of transformers' tokenizers a folder asks for, and what it asks that no BERT tokenizer here
//! does.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::glue::marks;
use crate::glue::object::Object;

/// How a tokenizer is made of its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// From the vocabulary and the configuration; of `tokenizer.json`, only what the configuration
    /// cannot say.
    Bert,
    /// As `tokenizer.json` stands.
    AsItStands,
}

/// What transformers makes `BertTokenizer` of.
const BERT: [&str; 6] = [
    "BertTokenizer",
    "ElectraTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
];
/// The same, without token types.
const BERT_WITHOUT_TYPES: &str = "DistilBertTokenizer";
const AS_IT_STANDS: [&str; 2] = ["PreTrainedTokenizer", "TokenizersBackend"];

/// Written for a tokenizer that is no [`Class::Bert`]: transformers 4 and 5 know this name.
const SAVED_AS_IT_STANDS: &str = "PreTrainedTokenizerFast";
/// What a tokenizer hands to its model.
const INPUTS: [&str; 3] = ["input_ids", "token_type_ids", "attention_mask"];
const TYPES: &str = "token_type_ids";

/// A class, and whether the model gets its token types: else all are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub class: Class,
    pub typed: bool,
}

impl Kind {
    /// What the folder `dir` asks for with its `tokenizer_config.json`, read as `config`, or else
    /// with its `config.json`.
    ///
    /// # Errors
    /// It asks for another tokenizer, or for what is not done here.
    pub fn of(dir: &Path, config: &Object) -> Result<Self> {
        check_supported(config)?;
        let model = Object::read(&dir.join("config.json"))?;
        let named = |object: &Object| match object.get("tokenizer_class") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
            Some(other) => Err(object.wrong("a name for tokenizer_class", other)),
        };
        let (name, origin) = match (named(config)?, named(&model)?) {
            (Some(name), _) => (name, config),
            (None, Some(name)) => (name, &model),
            (None, None) => (marks::BERT.tokenizer_class.to_owned(), config),
        };
        let bare = name.strip_suffix("Fast").unwrap_or(&name);
        let class = if BERT.contains(&bare) || bare == BERT_WITHOUT_TYPES {
            Class::Bert
        } else if AS_IT_STANDS.contains(&bare) {
            Class::AsItStands
        } else {
            let known = [&BERT[..], &[BERT_WITHOUT_TYPES, SAVED_AS_IT_STANDS]].concat();
            let expected = format!("tokenizer_class one of {}", known.join(", "));
            return Err(origin
                .wrong(expected, format!("{name:?}"))
                .hint("its texts would become other tokens than the model was made with"));
        };
        let typed = match config.get("model_input_names") {
            None => bare != BERT_WITHOUT_TYPES,
            Some(Value::Array(names)) => names.iter().any(|name| name == TYPES),
            Some(other) => return Err(config.wrong("a list for model_input_names", other)),
        };
        Ok(Self { class, typed })
    }

    /// The name of the class, for transformers.
    pub fn name(self) -> &'static str {
        match self.class {
            Class::Bert => marks::BERT.tokenizer_class,
            Class::AsItStands => SAVED_AS_IT_STANDS,
        }
    }

    /// What the model gets, where transformers would not know it from the class.
    pub fn inputs(self) -> Option<Value> {
        match (self.class, self.typed) {
            (Class::Bert, true) => None,
            (_, typed) => Some(INPUTS.into_iter().filter(|name| typed || *name != TYPES).collect()),
        }
    }
}

/// Entries that change the token ids in ways that are not computed here.
fn check_supported(config: &Object) -> Result<()> {
    for (name, only) in
        [("split_special_tokens", json!(false)), ("truncation_side", json!("right"))]
    {
        if let Some(found) = config.get(name).filter(|found| **found != only) {
            return Err(unsupported(config, format!("{name} {only}"), found));
        }
    }
    if let Some(found) = config.get("auto_map").filter(|map| {
        map.is_array() || map.get("AutoTokenizer").is_some_and(|class| !class.is_null())
    }) {
        return Err(unsupported(config, "no auto_map, a tokenizer with code of its own", found));
    }
    let files = config.get("fast_tokenizer_files").and_then(Value::as_array);
    if let Some(found) = files.into_iter().flatten().find(|file| **file != "tokenizer.json") {
        let expected = "tokenizer.json alone in fast_tokenizer_files";
        return Err(unsupported(config, expected, found));
    }
    Ok(())
}

fn unsupported(config: &Object, expected: impl std::fmt::Display, found: &Value) -> Error {
    config.wrong(expected, found).hint("remove it if the model was made without it")
}
