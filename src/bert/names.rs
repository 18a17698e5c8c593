//! The only table between this crate's parameter paths and Hugging Face's tensor names.

use super::config::BertConfig;

/// The path that a burn module visitor has walked, and the Hugging Face name of the parameter at
/// its end.
///
/// Feed it the visitor's `enter_module` and `exit_module`; ask for [`hf_name`](Self::hf_name) in
/// `visit_float`.
#[derive(Debug, Default, Clone)]
pub struct ParamPath(Vec<String>);

impl ParamPath {
    /// A module (a struct's field or a list's item) begins.
    pub fn enter(&mut self, name: &str) {
        self.0.push(name.to_string());
    }

    /// The innermost module ends.
    pub fn exit(&mut self) {
        self.0.pop();
    }

    /// The Hugging Face name of the parameter that the path leads to.
    pub fn hf_name(&self) -> String {
        hf_name(&self.0)
    }
}

/// Translates a path of field names such as `bert`, `encoder`, `0`, `attention`, `query`, `weight`.
pub fn hf_name(path: &[String]) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    // A wrapper around the classifier may add a leading field of its own.
    let start = path.iter().position(|p| matches!(*p, "bert" | "pooler" | "classifier"));
    match path.split_at(start.unwrap_or(0)).1 {
        ["bert", "embeddings", "layer_norm", leaf] => {
            format!("bert.embeddings.LayerNorm.{}", norm_leaf(leaf))
        }
        ["bert", "encoder", n, rest @ ..] => {
            let tail = match rest {
                ["attention", "layer_norm", leaf] => {
                    format!("attention.output.LayerNorm.{}", norm_leaf(leaf))
                }
                ["attention", "output", leaf] => format!("attention.output.dense.{leaf}"),
                ["attention", projection, leaf] => format!("attention.self.{projection}.{leaf}"),
                ["layer_norm", leaf] => format!("output.LayerNorm.{}", norm_leaf(leaf)),
                [dense, leaf] => format!("{dense}.dense.{leaf}"),
                other => other.join("."),
            };
            format!("bert.encoder.layer.{n}.{tail}")
        }
        ["pooler", leaf] => format!("bert.pooler.dense.{leaf}"),
        other => other.join("."),
    }
}

fn norm_leaf(leaf: &str) -> &str {
    match leaf {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    }
}

/// The Hugging Face name of a tensor that a checkpoint calls `stored`; `None` for one that is no part
/// of a classifier (`cls.*`, `position_ids`).
///
/// Known are names without the `bert.` prefix, the `gamma` and `beta` of the first TensorFlow
/// conversions, the `module.` of PyTorch's data parallelism, and the head of the original program:
/// `pooler.dense.*` and `scoring_list.0.*`.
pub fn from_stored(stored: &str) -> Option<String> {
    let name = stored.strip_prefix("module.").unwrap_or(stored);
    let name = if name.contains("LayerNorm.") {
        name.replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias")
    } else {
        name.to_string()
    };
    if name.ends_with("position_ids") {
        return None;
    }
    if let Some(leaf) = name.strip_prefix("scoring_list.0.") {
        return Some(format!("classifier.{leaf}"));
    }
    if ["embeddings.", "encoder.", "pooler."].iter().any(|part| name.starts_with(part)) {
        return Some(format!("bert.{name}"));
    }
    (name.starts_with("bert.") || name.starts_with("classifier.")).then_some(name)
}

/// The encoder's tensors under their Hugging Face names, with their shapes there.
pub fn encoder_shapes(config: &BertConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let mut shapes = vec![
        ("bert.embeddings.word_embeddings.weight".to_string(), vec![config.vocab_size, hidden]),
        (
            "bert.embeddings.position_embeddings.weight".to_string(),
            vec![config.max_position_embeddings, hidden],
        ),
        (
            "bert.embeddings.token_type_embeddings.weight".to_string(),
            vec![config.type_vocab_size, hidden],
        ),
    ];
    let mut norm = |module: String| {
        for leaf in ["weight", "bias"] {
            shapes.push((format!("{module}.LayerNorm.{leaf}"), vec![hidden]));
        }
    };
    norm("bert.embeddings".to_string());
    for layer in 0..config.num_hidden_layers {
        for module in ["attention.output", "output"] {
            norm(format!("bert.encoder.layer.{layer}.{module}"));
        }
    }
    for layer in 0..config.num_hidden_layers {
        for (module, outputs, inputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ] {
            let name = format!("bert.encoder.layer.{layer}.{module}");
            shapes.push((format!("{name}.weight"), vec![outputs, inputs]));
            shapes.push((format!("{name}.bias"), vec![outputs]));
        }
    }
    shapes
}

/// Whether Hugging Face stores this rank-2 tensor transposed: `nn.Linear` keeps `[out, in]` where
/// burn keeps `[in, out]`; embeddings are the same in both.
pub fn is_transposed(hf_name: &str) -> bool {
    !hf_name.contains("embeddings.")
}

/// Whether the tensor belongs to the task head rather than to the pre-trained encoder.
pub fn is_head(hf_name: &str) -> bool {
    hf_name.starts_with("bert.pooler.") || hf_name.starts_with("classifier.")
}

/// The parameters PLATON prunes, as parts of their Hugging Face names. LayerNorm also lies under
/// `attention.output` and `output`, hence the `.dense`.
pub const PRUNABLE: [&str; 4] =
    ["attention.self", "attention.output.dense", "output.dense", "intermediate.dense"];

/// Whether the tensor `hf_name` is to be pruned (see [`PRUNABLE`]).
pub fn is_prunable(hf_name: &str) -> bool {
    PRUNABLE.iter().any(|part| hf_name.contains(part))
}

/// Layer number and matrix type of a prunable tensor, for reports:
/// `bert.encoder.layer.3.attention.self.query.weight` gives `(3, "attention.self.query")`.
pub fn layer_and_matrix(hf_name: &str) -> Option<(usize, &str)> {
    let (number, rest) = hf_name.strip_prefix("bert.encoder.layer.")?.split_once('.')?;
    let (matrix, _) = rest.rsplit_once('.')?;
    Some((number.parse().ok()?, matrix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_parameter_has_its_hugging_face_name() {
        for (path, expected) in [
            ("bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight"),
            ("bert.embeddings.layer_norm.gamma", "bert.embeddings.LayerNorm.weight"),
            ("bert.encoder.3.attention.key.bias", "bert.encoder.layer.3.attention.self.key.bias"),
            (
                "bert.encoder.3.attention.output.weight",
                "bert.encoder.layer.3.attention.output.dense.weight",
            ),
            (
                "bert.encoder.0.attention.layer_norm.beta",
                "bert.encoder.layer.0.attention.output.LayerNorm.bias",
            ),
            (
                "bert.encoder.0.intermediate.weight",
                "bert.encoder.layer.0.intermediate.dense.weight",
            ),
            ("bert.encoder.11.output.bias", "bert.encoder.layer.11.output.dense.bias"),
            ("bert.encoder.0.layer_norm.gamma", "bert.encoder.layer.0.output.LayerNorm.weight"),
            ("pooler.weight", "bert.pooler.dense.weight"),
            ("net.bert.encoder.0.output.bias", "bert.encoder.layer.0.output.dense.bias"),
            ("classifier.bias", "classifier.bias"),
        ] {
            let path: Vec<String> = path.split('.').map(String::from).collect();
            assert_eq!(hf_name(&path), expected);
        }
    }

    #[test]
    fn dense_weights_and_biases_are_pruned_and_layer_norms_are_not() {
        assert!(is_prunable("bert.encoder.layer.0.attention.output.dense.bias"));
        assert!(is_prunable("bert.encoder.layer.0.intermediate.dense.weight"));
        assert!(!is_prunable("bert.encoder.layer.0.attention.output.LayerNorm.weight"));
        assert!(!is_prunable("bert.embeddings.word_embeddings.weight"));
        assert!(!is_prunable("bert.pooler.dense.weight"));
        assert!(!is_prunable("classifier.weight"));
    }

    #[test]
    fn names_of_other_programs_are_known() {
        for (stored, expected) in [
            ("bert.embeddings.LayerNorm.weight", Some("bert.embeddings.LayerNorm.weight")),
            ("embeddings.LayerNorm.gamma", Some("bert.embeddings.LayerNorm.weight")),
            (
                "module.bert.encoder.layer.0.output.LayerNorm.beta",
                Some("bert.encoder.layer.0.output.LayerNorm.bias"),
            ),
            ("encoder.layer.1.output.dense.bias", Some("bert.encoder.layer.1.output.dense.bias")),
            ("pooler.dense.weight", Some("bert.pooler.dense.weight")),
            ("scoring_list.0.bias", Some("classifier.bias")),
            ("scoring_list.1.bias", None),
            ("classifier.weight", Some("classifier.weight")),
            ("bert.embeddings.position_ids", None),
            ("cls.predictions.bias", None),
        ] {
            assert_eq!(from_stored(stored).as_deref(), expected, "{stored}");
        }
    }

    #[test]
    fn a_prunable_tensor_has_a_layer_and_a_matrix() {
        assert_eq!(
            layer_and_matrix("bert.encoder.layer.3.attention.self.query.weight"),
            Some((3, "attention.self.query"))
        );
        assert_eq!(layer_and_matrix("classifier.weight"), None);
    }
}
