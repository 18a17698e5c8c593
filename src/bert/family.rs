//! What tells one kind of BERT-like encoder from another, as Hugging Face names and configures it:
//! one description each.

/// A module's path of fields in this crate, and its name at Hugging Face.
pub type Named = (&'static str, &'static str);

/// One kind of encoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// The architecture of the encoder alone.
    pub encoder_class: &'static str,
    /// The architecture of the encoder with a head.
    pub classifier_class: &'static str,
    /// Architectures with another head, whose tensors are called like the classifier's.
    pub other_heads: &'static [&'static str],
    /// What a `config.json` means where it is silent.
    pub defaults: Defaults,
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
    /// The modules of the head.
    pub head: HeadNames,
    /// The parameters that PLATON prunes, as parts of their names. LayerNorm also lies under
    /// `attention.output` and `output`, hence the `.dense`.
    pub prunable: &'static [&'static str],
}

/// The layers of a head, by their whole names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNames {
    /// The first dense layer.
    pub dense: &'static str,
    /// The last.
    pub output: &'static str,
}

/// The values that transformers takes for what a configuration leaves out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Number of token types.
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Activation of the feed-forward layer.
    pub hidden_act: &'static str,
    /// Standard deviation of freshly initialised weights.
    pub initializer_range: f64,
    /// The padding token's number.
    pub pad_token_id: usize,
}

/// BERT of Devlin et al. (2019).
pub const BERT: Family = Family {
    model_type: "bert",
    encoder_class: "BertModel",
    classifier_class: "BertForSequenceClassification",
    other_heads: &["BertForMultipleChoice", "BertForTokenClassification"],
    defaults: Defaults {
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_act: "gelu",
        initializer_range: 0.02,
        pad_token_id: 0,
    },
    prefix: "bert.",
    parts: &["embeddings.", "encoder.", "pooler."],
    embeddings: &[
        ("word_embeddings", "embeddings.word_embeddings"),
        ("position_embeddings", "embeddings.position_embeddings"),
        ("token_type_embeddings", "embeddings.token_type_embeddings"),
        ("layer_norm", "embeddings.LayerNorm"),
    ],
    layers: "encoder.layer.",
    layer: &[
        ("attention.query", "attention.self.query"),
        ("attention.key", "attention.self.key"),
        ("attention.value", "attention.self.value"),
        ("attention.output", "attention.output.dense"),
        ("attention.layer_norm", "attention.output.LayerNorm"),
        ("intermediate", "intermediate.dense"),
        ("output", "output.dense"),
        ("layer_norm", "output.LayerNorm"),
    ],
    head: HeadNames { dense: "bert.pooler.dense", output: "classifier" },
    prunable: &["attention.self", "attention.output.dense", "output.dense", "intermediate.dense"],
};
