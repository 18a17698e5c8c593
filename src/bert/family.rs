//! What tells one kind of BERT-like encoder from another, as Hugging Face names and configures it:
//! one description each. They compute the same but for what stands here.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::activation::Activation;

/// A module's path of fields in this crate, and its name at Hugging Face.
pub type Named = (&'static str, &'static str);

/// One kind of encoder.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The architecture of the encoder alone.
    pub encoder_class: &'static str,
    /// The architecture of the encoder with a head.
    pub classifier_class: &'static str,
    /// Architectures with another head, whose tensors are called like the classifier's.
    pub other_heads: &'static [&'static str],
    /// What the original program's `--encoder_type` calls it, where it has it.
    pub encoder_type: Option<&'static str>,
    /// What a `config.json` means where it is silent.
    pub defaults: Defaults,
    /// Settings of `config.json` that BERT's calls otherwise: BERT's name, and this family's.
    pub renamed: &'static [Named],
    /// What the names of the encoder's tensors begin with. A checkpoint of the encoder alone leaves
    /// it out: its names begin with one of `parts`.
    pub prefix: &'static str,
    /// What follows the prefix.
    pub parts: &'static [&'static str],
    /// The modules of the embeddings; their names follow the prefix.
    pub embeddings: &'static [Named],
    /// What stands between the prefix and a layer's number.
    pub layers: &'static str,
    /// The modules of a layer; their names follow its number.
    pub layer: &'static [Named],
    /// The head of its classifier.
    pub head: HeadForm,
    /// Whether positions are counted from the one after the padding token's number, instead of 0.
    pub positions_after_padding: bool,
    /// Whether layer normalisation adds the default to the variance, whatever a configuration says.
    pub fixed_layer_norm_eps: bool,
    /// Whether a tokenizer tells the types of its tokens; else all are of the first type.
    pub takes_token_types: bool,
    /// Whether the output of an attention is dropped out, before the residual.
    pub drops_attention_output: bool,
    /// The parameters that PLATON prunes, as parts of their names. LayerNorm also lies under
    /// `attention.output` and `output`, hence the `.dense`.
    pub prunable: &'static [&'static str],
}

/// A classifier's head: dropout -> dense + activation -> dropout -> dense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadForm {
    /// The whole name of the first dense layer.
    pub dense: &'static str,
    /// The whole name of the last.
    pub output: &'static str,
    /// Between them.
    pub activation: Activation,
    /// Whether there is a dropout before the first.
    pub drops_input: bool,
}

/// The values that transformers takes for what a configuration leaves out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Number of token types; 0 where the family has none.
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Standard deviation of freshly initialised weights.
    pub initializer_range: f64,
    /// The padding token's number.
    pub pad_token_id: usize,
    /// Width of the embeddings, where it may differ from the layers'.
    pub embedding_size: Option<usize>,
}

/// BERT of Devlin et al. (2019).
pub static BERT: Family = Family {
    model_type: "bert",
    encoder_class: "BertModel",
    classifier_class: "BertForSequenceClassification",
    other_heads: &["BertForMultipleChoice", "BertForTokenClassification"],
    encoder_type: Some("1"),
    defaults: Defaults {
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        initializer_range: 0.02,
        pad_token_id: 0,
        embedding_size: None,
    },
    renamed: &[],
    prefix: "bert.",
    parts: &["embeddings.", "encoder.", "pooler."],
    embeddings: EMBEDDINGS,
    layers: "encoder.layer.",
    layer: LAYER,
    head: HeadForm {
        dense: "bert.pooler.dense",
        output: "classifier",
        activation: Activation::Tanh,
        drops_input: true,
    },
    positions_after_padding: false,
    fixed_layer_norm_eps: false,
    takes_token_types: true,
    drops_attention_output: true,
    prunable: PRUNABLE,
};

/// RoBERTa of Liu et al. (2019).
pub static ROBERTA: Family = Family {
    model_type: "roberta",
    encoder_class: "RobertaModel",
    classifier_class: "RobertaForSequenceClassification",
    // The others' heads have other names.
    other_heads: &[],
    encoder_type: Some("2"),
    defaults: Defaults { pad_token_id: 1, ..BERT.defaults },
    prefix: "roberta.",
    head: DENSE_AND_OUT_PROJ,
    positions_after_padding: true,
    takes_token_types: false,
    ..BERT
};

/// XLM-R of Conneau et al. (2020): RoBERTa with another vocabulary.
pub static XLM_ROBERTA: Family = Family {
    model_type: "xlm-roberta",
    encoder_class: "XLMRobertaModel",
    classifier_class: "XLMRobertaForSequenceClassification",
    encoder_type: None,
    ..ROBERTA
};

/// CamemBERT of Martin et al. (2020): RoBERTa with another vocabulary.
pub static CAMEMBERT: Family = Family {
    model_type: "camembert",
    encoder_class: "CamembertModel",
    classifier_class: "CamembertForSequenceClassification",
    encoder_type: None,
    ..ROBERTA
};

/// DistilBERT of Sanh et al. (2019): BERT without token types.
pub static DISTILBERT: Family = Family {
    model_type: "distilbert",
    encoder_class: "DistilBertModel",
    classifier_class: "DistilBertForSequenceClassification",
    other_heads: &["DistilBertForMultipleChoice", "DistilBertForTokenClassification"],
    encoder_type: None,
    defaults: Defaults { type_vocab_size: 0, ..BERT.defaults },
    renamed: &[
        ("hidden_size", "dim"),
        ("num_hidden_layers", "n_layers"),
        ("num_attention_heads", "n_heads"),
        ("intermediate_size", "hidden_dim"),
        ("hidden_act", "activation"),
        ("hidden_dropout_prob", "dropout"),
        ("attention_probs_dropout_prob", "attention_dropout"),
        ("classifier_dropout", "seq_classif_dropout"),
    ],
    prefix: "distilbert.",
    parts: &["embeddings.", "transformer."],
    layers: "transformer.layer.",
    layer: &[
        ("attention.query", "attention.q_lin"),
        ("attention.key", "attention.k_lin"),
        ("attention.value", "attention.v_lin"),
        ("attention.output", "attention.out_lin"),
        ("attention.layer_norm", "sa_layer_norm"),
        ("intermediate", "ffn.lin1"),
        ("output", "ffn.lin2"),
        ("layer_norm", "output_layer_norm"),
    ],
    head: HeadForm {
        dense: "pre_classifier",
        output: "classifier",
        activation: Activation::Relu,
        drops_input: false,
    },
    fixed_layer_norm_eps: true,
    takes_token_types: false,
    drops_attention_output: false,
    prunable: &[
        "attention.q_lin",
        "attention.k_lin",
        "attention.v_lin",
        "attention.out_lin",
        "ffn.lin1",
        "ffn.lin2",
    ],
    ..BERT
};

/// ELECTRA's discriminator, of Clark et al. (2020): BERT with embeddings of another width.
pub static ELECTRA: Family = Family {
    model_type: "electra",
    encoder_class: "ElectraModel",
    classifier_class: "ElectraForSequenceClassification",
    other_heads: &["ElectraForMultipleChoice", "ElectraForTokenClassification"],
    encoder_type: Some("7"),
    defaults: Defaults { embedding_size: Some(128), ..BERT.defaults },
    prefix: "electra.",
    parts: &["embeddings.", "embeddings_project.", "encoder."],
    head: HeadForm { activation: Activation::Gelu, ..DENSE_AND_OUT_PROJ },
    ..BERT
};

const EMBEDDINGS: &[Named] = &[
    ("word_embeddings", "embeddings.word_embeddings"),
    ("position_embeddings", "embeddings.position_embeddings"),
    ("token_type_embeddings", "embeddings.token_type_embeddings"),
    ("layer_norm", "embeddings.LayerNorm"),
    ("projection", "embeddings_project"),
];
const LAYER: &[Named] = &[
    ("attention.query", "attention.self.query"),
    ("attention.key", "attention.self.key"),
    ("attention.value", "attention.self.value"),
    ("attention.output", "attention.output.dense"),
    ("attention.layer_norm", "attention.output.LayerNorm"),
    ("intermediate", "intermediate.dense"),
    ("output", "output.dense"),
    ("layer_norm", "output.LayerNorm"),
];
const PRUNABLE: &[&str] =
    &["attention.self", "attention.output.dense", "output.dense", "intermediate.dense"];
const DENSE_AND_OUT_PROJ: HeadForm = HeadForm {
    dense: "classifier.dense",
    output: "classifier.out_proj",
    activation: Activation::Tanh,
    drops_input: true,
};

impl Family {
    /// All of them.
    pub const ALL: [&Self; 6] = [&BERT, &ROBERTA, &XLM_ROBERTA, &CAMEMBERT, &DISTILBERT, &ELECTRA];

    /// The one of this `model_type`.
    pub fn of(model_type: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|family| family.model_type == model_type)
    }

    /// Their `model_type`s, for people.
    pub fn names() -> String {
        Self::ALL.map(|family| family.model_type).join(", ")
    }

    /// What this family's `config.json` calls BERT's setting `name`.
    pub fn setting(&self, name: &'static str) -> &'static str {
        self.renamed.iter().find(|(bert, _)| *bert == name).map_or(name, |(_, own)| own)
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.model_type.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for &'static Family {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || D::Error::custom(format!("unknown model_type {name:?}"));
        Family::of(&name).ok_or_else(unknown)
    }
}
