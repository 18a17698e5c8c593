//! Which of transformers' tokenizers a folder asks for, and what it asks that is not done here.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::glue::marks::{self, Marks};
use crate::glue::object::Object;

/// How words become tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// The longest piece of the vocabulary first.
    WordPiece,
    /// Pairs of pieces become one, in the order in which the merges were learned.
    Bpe,
    /// The pieces that are most probable together.
    Unigram,
}

impl Model {
    const ALL: [Self; 3] = [Self::WordPiece, Self::Bpe, Self::Unigram];

    /// Its `type` in `tokenizer.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WordPiece => "WordPiece",
            Self::Bpe => "BPE",
            Self::Unigram => "Unigram",
        }
    }

    /// The model in `tokenizer.json`, by its type, or in old files by what it has.
    pub fn of(whole: &Object) -> Result<Self> {
        let entry = |name: &str| whole.get("model").and_then(|model| model.get(name));
        let Some(name) = entry("type") else {
            return Ok(match (entry("merges"), entry("vocab")) {
                (Some(_), _) => Self::Bpe,
                (None, Some(Value::Array(_))) => Self::Unigram,
                _ => Self::WordPiece,
            });
        };
        Self::ALL.into_iter().find(|model| *name == model.name()).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            let error = whole.wrong(format!("model.type one of {}", names.join(", ")), name);
            error.hint("no encoder here was made with another")
        })
    }

    /// The marks that its models have as a rule.
    const fn marks(self) -> &'static Marks {
        match self {
            Self::WordPiece => &marks::BERT,
            Self::Bpe | Self::Unigram => &marks::ROBERTA,
        }
    }
}

/// A tokenizer that transformers makes of a vocabulary and the configuration: of `tokenizer.json` it
/// takes only what the configuration cannot say.
#[derive(Debug, PartialEq)]
pub(super) struct Class {
    /// What it is called in transformers, without `Fast`; it is saved under the first name.
    pub names: &'static [&'static str],
    /// The `model_type` of models that have it where no file names a class.
    model_types: &'static [&'static str],
    pub model: Model,
    pub marks: &'static Marks,
    /// Whether its models get token types.
    typed: bool,
    /// Special tokens that it has where no file lists others.
    pub unnamed: &'static [&'static str],
    /// Whether its mask takes the spaces before it.
    pub mask_takes_spaces: bool,
    /// Where the token for unknown words stands in a list of tokens; `None`: where its name is.
    pub unknown: Option<usize>,
}

const BERT: Class = Class {
    names: &[
        "BertTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "LxmertTokenizer",
        "MobileBertTokenizer",
        "SqueezeBertTokenizer",
    ],
    model_types: &["bert", "electra", "distilbert"],
    model: Model::WordPiece,
    marks: &marks::BERT,
    typed: true,
    unnamed: &[],
    mask_takes_spaces: false,
    unknown: None,
};

const DISTILBERT: Class =
    Class { names: &["DistilBertTokenizer"], model_types: &[], typed: false, ..BERT };

const ROBERTA: Class = Class {
    names: &["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"],
    model_types: &["roberta"],
    model: Model::Bpe,
    marks: &marks::ROBERTA,
    typed: false,
    ..BERT
};

const XLM_ROBERTA: Class = Class {
    names: &["XLMRobertaTokenizer"],
    model_types: &["xlm-roberta"],
    model: Model::Unigram,
    unknown: Some(3),
    ..ROBERTA
};

const CAMEMBERT: Class = Class {
    names: &["CamembertTokenizer"],
    model_types: &["camembert"],
    unnamed: &["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
    mask_takes_spaces: true,
    unknown: None,
    ..XLM_ROBERTA
};

const CLASSES: [&Class; 5] = [&BERT, &DISTILBERT, &ROBERTA, &XLM_ROBERTA, &CAMEMBERT];
/// These take `tokenizer.json` as it stands.
const AS_IT_STANDS: [&str; 2] = ["PreTrainedTokenizer", "TokenizersBackend"];
/// Written for one of them: transformers 4 and 5 know this name.
const SAVED_AS_IT_STANDS: &str = "PreTrainedTokenizerFast";
/// Models without a table of token types, whatever their tokenizers say.
const UNTYPED: [&str; 4] = ["distilbert", "roberta", "xlm-roberta", "camembert"];
/// What a tokenizer hands to its model.
const INPUTS: [&str; 3] = ["input_ids", "token_type_ids", "attention_mask"];
const TYPES: &str = "token_type_ids";

/// How a tokenizer is made of its files.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kind {
    /// `None`: as `tokenizer.json` stands.
    pub class: Option<&'static Class>,
    pub model: Model,
    pub marks: &'static Marks,
    /// Whether the model gets its token types: else all are 0.
    pub typed: bool,
}

impl Kind {
    /// What the folder `dir` asks for with its `tokenizer_config.json`, read as `config`, or else
    /// with its `config.json`, or else with the files that are there; `whole` is its
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// It asks for another tokenizer, or for what is not done here.
    pub fn of(dir: &Path, config: &Object, whole: Option<&Object>) -> Result<Self> {
        check_supported(config)?;
        let settings = Object::read(&dir.join("config.json"))?;
        let named = |object: &Object| match object.get("tokenizer_class") {
            None => Ok(None),
            Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
            Some(other) => Err(object.wrong("a name for tokenizer_class", other)),
        };
        let model_type = settings.get("model_type").and_then(Value::as_str);
        let class = match (named(config)?, named(&settings)?) {
            (Some(name), _) => of_name(&name, config)?,
            (None, Some(name)) => of_name(&name, &settings)?,
            (None, None) => of_files(dir, model_type, whole)?,
        };
        let (model, marks) = match (class, whole) {
            (Some(class), _) => (class.model, class.marks),
            (None, Some(whole)) => (Model::of(whole)?, marks_in(whole, Model::of(whole)?)),
            (None, None) => (Model::WordPiece, &marks::BERT),
        };
        let typed = match config.get("model_input_names") {
            None => class.is_none_or(|class| class.typed),
            Some(Value::Array(names)) => names.iter().any(|name| name == TYPES),
            Some(other) => return Err(config.wrong("a list for model_input_names", other)),
        };
        let typed = typed && !model_type.is_some_and(|name| UNTYPED.contains(&name));
        Ok(Self { class, model, marks, typed })
    }

    /// The name of the class, for transformers.
    pub fn name(self) -> &'static str {
        self.class.and_then(|class| class.names.first()).unwrap_or(&SAVED_AS_IT_STANDS)
    }

    /// What the model gets, where transformers would not know it from the class.
    pub fn inputs(self) -> Option<Value> {
        if self.class.is_some_and(|class| class.typed == self.typed) {
            return None;
        }
        Some(INPUTS.into_iter().filter(|name| self.typed || *name != TYPES).collect())
    }
}

/// The class that `origin` names; `None`: `tokenizer.json` as it stands.
fn of_name(name: &str, origin: &Object) -> Result<Option<&'static Class>> {
    let bare = name.strip_suffix("Fast").unwrap_or(name);
    if AS_IT_STANDS.contains(&bare) {
        return Ok(None);
    }
    let class = CLASSES.into_iter().find(|class| class.names.contains(&bare));
    class.map(Some).ok_or_else(|| {
        let names = CLASSES.iter().flat_map(|class| class.names.iter().copied());
        let known: Vec<&str> = names.chain([SAVED_AS_IT_STANDS]).collect();
        let expected = format!("tokenizer_class one of {}", known.join(", "));
        let error = origin.wrong(expected, format!("{name:?}"));
        error.hint("its texts would become other tokens than the model was made with")
    })
}

/// The class where no file names one: that of the model, or else one that has such a vocabulary.
fn of_files(
    dir: &Path,
    model_type: Option<&str>,
    whole: Option<&Object>,
) -> Result<Option<&'static Class>> {
    if let Some(name) = model_type {
        let class = CLASSES.into_iter().find(|class| class.model_types.contains(&name));
        return Ok(Some(class.unwrap_or(&BERT)));
    }
    let has = |name: &str| dir.join(name).is_file();
    Ok(match whole.map(Model::of).transpose()? {
        Some(Model::WordPiece) => Some(&BERT),
        Some(Model::Bpe) => Some(&ROBERTA),
        Some(Model::Unigram) => None,
        None if has("vocab.json") && !has("vocab.txt") => Some(&ROBERTA),
        None => Some(&BERT),
    })
}

/// The marks of a `tokenizer.json` that is taken as it stands, by what its post-processor spells.
fn marks_in(whole: &Object, model: Model) -> &'static Marks {
    let text = whole.get("post_processor").map(Value::to_string).unwrap_or_default();
    let known = [model.marks(), &marks::BERT, &marks::ROBERTA];
    let spelled = |marks: &&Marks| text.contains(&json!(marks.first).to_string());
    known.into_iter().find(spelled).unwrap_or(model.marks())
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
