//! Between this crate's parameter paths and Hugging Face's tensor names; the names themselves stand
//! in [`family`](super::family).

use super::config::BertConfig;
use super::family::{Family, Named};

/// What PyTorch's data parallelism, Lightning and torch.compile put before all names.
const WRAPPERS: [&str; 3] = ["module.", "model.", "_orig_mod."];
/// What the original program calls the output layers of its heads, with their numbers behind it. The
/// first one is Hugging Face's; there is no other name for those of further tasks.
const ORIGINAL_OUTPUTS: &str = "scoring_list.";

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

    /// The Hugging Face name of the parameter that the path leads to, in a model of this family.
    pub fn hf_name(&self, family: &Family) -> String {
        hf_name(family, &self.0)
    }
}

/// Translates a path of field names such as `bert`, `encoder`, `0`, `attention`, `query`, `weight`.
pub fn hf_name(family: &Family, path: &[String]) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    // A wrapper around the classifier may add a leading field of its own.
    let start = path.iter().position(|field| matches!(*field, "bert" | "heads"));
    let (_, path) = path.split_at(start.unwrap_or(0));
    known_name(family, path).unwrap_or_else(|| path.join("."))
}

/// The same of a path of fields joined by dots.
pub fn hf_name_at(family: &Family, path: &str) -> String {
    let path: Vec<String> = path.split('.').map(str::to_string).collect();
    hf_name(family, &path)
}

fn known_name(family: &Family, path: &[&str]) -> Option<String> {
    let (module, leaf) = match path {
        ["bert", "embeddings", module @ .., leaf] => {
            (format!("{}{}", family.prefix, find(family.embeddings, module)?), leaf)
        }
        ["bert", "encoder", layer, module @ .., leaf] => {
            let Family { prefix, layers, .. } = family;
            (format!("{prefix}{layers}{layer}.{}", find(family.layer, module)?), leaf)
        }
        // Hugging Face's models have one head.
        ["heads", "0", "dense", leaf] => (family.head.dense.to_string(), leaf),
        ["heads", "0", "output", leaf] => (family.head.output.to_string(), leaf),
        ["heads", n, "output", leaf] => (format!("{ORIGINAL_OUTPUTS}{n}"), leaf),
        _ => return None,
    };
    // LayerNorm's are called otherwise in burn.
    let leaf = match *leaf {
        "gamma" => "weight",
        "beta" => "bias",
        other => other,
    };
    Some(format!("{module}.{leaf}"))
}

fn find(names: &[Named], module: &[&str]) -> Option<&'static str> {
    let module = module.join(".");
    names.iter().find(|(path, _)| *path == module).map(|(_, name)| *name)
}

/// Whether it is the output layer of a further task's head, which only models of several tasks have.
pub(super) fn is_of_further_head(hf_name: &str) -> bool {
    hf_name.starts_with(ORIGINAL_OUTPUTS)
}

/// The weight of the head's output layer, `[outputs, hidden]`.
pub fn output_weight(family: &Family) -> String {
    format!("{}.weight", family.head.output)
}

/// The Hugging Face name of a tensor that a checkpoint calls `stored`; `None` for one that is no part
/// of a classifier of this family (`cls.*`, `position_ids`), nor of further tasks' heads.
///
/// Known are names without the family's prefix, the `gamma` and `beta` of the first TensorFlow
/// conversions, the names that wrappers around the model put before them, and the head of the original program:
/// `pooler.dense.*` and `scoring_list.0.*`, and of further tasks `scoring_list.1.*` and so on.
pub(super) fn from_stored(family: &Family, stored: &str) -> Option<String> {
    let mut name = stored;
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = inner;
    }
    let name = if name.contains("LayerNorm.") {
        name.replace("LayerNorm.gamma", "LayerNorm.weight")
            .replace("LayerNorm.beta", "LayerNorm.bias")
    } else {
        name.to_string()
    };
    if name.ends_with("position_ids") {
        return None;
    }
    if let Some(output) = name.strip_prefix(ORIGINAL_OUTPUTS) {
        return match output.split_once('.')? {
            ("0", leaf) => Some(format!("{}.{leaf}", family.head.output)),
            _ => Some(name),
        };
    }
    if family.parts.iter().any(|part| name.starts_with(part)) {
        return Some(format!("{}{name}", family.prefix));
    }
    (name.starts_with(family.prefix) || is_head(family, &name)).then_some(name)
}

/// The encoder's tensors under their Hugging Face names, with their shapes there.
pub(super) fn encoder_shapes(config: &BertConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner, width) =
        (config.hidden_size, config.intermediate_size, config.embedding_width());
    let mut shapes = Vec::new();
    let mut add = |module: &str, leaf: &str, shape: Vec<usize>| {
        let path: Vec<String> = module.split('.').chain([leaf]).map(str::to_string).collect();
        shapes.push((hf_name(config.family, &path), shape));
    };
    for (table, entries) in [
        ("word_embeddings", config.vocab_size),
        ("position_embeddings", config.max_position_embeddings),
        ("token_type_embeddings", config.type_vocab_size),
    ] {
        if entries > 0 {
            add(&format!("bert.embeddings.{table}"), "weight", vec![entries, width]);
        }
    }
    for leaf in ["gamma", "beta"] {
        add("bert.embeddings.layer_norm", leaf, vec![width]);
    }
    if config.embedding_size.is_some() {
        add("bert.embeddings.projection", "weight", vec![hidden, width]);
        add("bert.embeddings.projection", "bias", vec![hidden]);
    }
    let layers = 0..config.num_hidden_layers;
    let in_layers = layers.clone().flat_map(|n| {
        ["attention.layer_norm", "layer_norm"].map(|norm| format!("bert.encoder.{n}.{norm}"))
    });
    for norm in in_layers {
        for leaf in ["gamma", "beta"] {
            add(&norm, leaf, vec![hidden]);
        }
    }
    for layer in layers {
        for (module, outputs, inputs) in [
            ("attention.query", hidden, hidden),
            ("attention.key", hidden, hidden),
            ("attention.value", hidden, hidden),
            ("attention.output", hidden, hidden),
            ("intermediate", inner, hidden),
            ("output", hidden, inner),
        ] {
            let module = format!("bert.encoder.{layer}.{module}");
            add(&module, "weight", vec![outputs, inputs]);
            add(&module, "bias", vec![outputs]);
        }
    }
    shapes
}

/// All parameters of a classifier of so many outputs, under their Hugging Face names, with their
/// shapes there.
pub fn parameter_shapes(config: &BertConfig, outputs: usize) -> Vec<(String, Vec<usize>)> {
    let (head, hidden) = (config.family.head, config.hidden_size);
    let mut shapes = encoder_shapes(config);
    for (layer, width) in [(head.dense, hidden), (head.output, outputs)] {
        shapes.push((format!("{layer}.weight"), vec![width, hidden]));
        shapes.push((format!("{layer}.bias"), vec![width]));
    }
    shapes
}

/// Whether Hugging Face stores this rank-2 tensor transposed: `nn.Linear` keeps `[out, in]` where
/// burn keeps `[in, out]`; embeddings are the same in both.
pub(super) fn is_transposed(hf_name: &str) -> bool {
    !hf_name.contains("embeddings.")
}

/// Whether the tensor belongs to the task head rather than to the pre-trained encoder.
pub fn is_head(family: &Family, hf_name: &str) -> bool {
    is_of_further_head(hf_name)
        || [family.head.dense, family.head.output]
            .into_iter()
            .any(|layer| hf_name.strip_prefix(layer).is_some_and(|leaf| leaf.starts_with('.')))
}

/// The family whose encoder has a tensor `hf_name`; those whose names are the same are one here.
fn family_of(hf_name: &str) -> Option<&'static Family> {
    Family::ALL.into_iter().find(|family| hf_name.starts_with(family.prefix))
}

/// Whether PLATON prunes the tensor `hf_name`.
pub fn is_prunable(hf_name: &str) -> bool {
    family_of(hf_name)
        .is_some_and(|family| family.prunable.iter().any(|part| hf_name.contains(part)))
}

/// Whether the tensor is a table of the embeddings: of words, positions or token types.
pub fn is_table(hf_name: &str) -> bool {
    family_of(hf_name).is_some() && hf_name.ends_with("_embeddings.weight")
}

/// Whether somebody who writes `part` of the tensor's name means such tensors: all may be meant that
/// PLATON prunes, but LayerNorm, what belongs to the embeddings, and the head only where the part
/// says so.
pub fn is_meant(family: &Family, hf_name: &str, part: &str) -> bool {
    let part = part.to_lowercase();
    if is_prunable(hf_name) {
        true
    } else if hf_name.to_lowercase().contains("norm") {
        part.contains("norm")
    } else if is_head(family, hf_name) {
        let fields = family.head.dense.split('.').chain(family.head.output.split('.'));
        let mut own = fields.filter(|f| !family.prefix.starts_with(f) && *f != "dense");
        own.any(|field| hf_name.contains(field) && part.contains(field))
    } else {
        !hf_name.contains("embeddings") || part.contains("embeddings")
    }
}

/// Layer number and module of a layer's tensor, for reports:
/// `bert.encoder.layer.3.attention.self.query.weight` gives `(3, "attention.self.query")`.
pub fn layer_and_matrix(hf_name: &str) -> Option<(usize, &str)> {
    let family = family_of(hf_name)?;
    let in_layers = hf_name.strip_prefix(family.prefix)?.strip_prefix(family.layers)?;
    let (number, rest) = in_layers.split_once('.')?;
    let (matrix, _) = rest.rsplit_once('.')?;
    Some((number.parse().ok()?, matrix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bert::family::{BERT, CAMEMBERT, DISTILBERT, ELECTRA, ROBERTA};

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
            ("heads.0.dense.weight", "bert.pooler.dense.weight"),
            ("net.bert.encoder.0.output.bias", "bert.encoder.layer.0.output.dense.bias"),
            ("heads.0.output.bias", "classifier.bias"),
            ("heads.1.output.bias", "scoring_list.1.bias"),
        ] {
            let path: Vec<String> = path.split('.').map(String::from).collect();
            assert_eq!(hf_name(&BERT, &path), expected);
        }
        for (family, path, expected) in [
            (&ROBERTA, "heads.0.dense.weight", "classifier.dense.weight"),
            (&ROBERTA, "heads.0.output.bias", "classifier.out_proj.bias"),
            (
                &CAMEMBERT,
                "bert.encoder.3.attention.key.bias",
                "roberta.encoder.layer.3.attention.self.key.bias",
            ),
            (
                &DISTILBERT,
                "bert.encoder.1.attention.layer_norm.gamma",
                "distilbert.transformer.layer.1.sa_layer_norm.weight",
            ),
            (&DISTILBERT, "heads.0.dense.bias", "pre_classifier.bias"),
            (&ELECTRA, "bert.embeddings.projection.weight", "electra.embeddings_project.weight"),
        ] {
            let path: Vec<String> = path.split('.').map(String::from).collect();
            assert_eq!(hf_name(family, &path), expected);
        }
    }

    #[test]
    fn dense_weights_and_biases_are_pruned_and_layer_norms_are_not() {
        assert!(is_prunable("bert.encoder.layer.0.attention.output.dense.bias"));
        assert!(is_prunable("bert.encoder.layer.0.intermediate.dense.weight"));
        assert!(!is_prunable("bert.encoder.layer.0.attention.output.LayerNorm.weight"));
        assert!(!is_prunable("bert.embeddings.word_embeddings.weight"));
        assert!(!is_prunable("bert.pooler.dense.weight"));
        assert!(is_prunable("roberta.encoder.layer.0.output.dense.bias"));
        assert!(!is_prunable("roberta.pooler.dense.bias") && !is_prunable("classifier.dense.bias"));
        assert!(is_prunable("distilbert.transformer.layer.0.ffn.lin2.weight"));
        assert!(!is_prunable("distilbert.transformer.layer.0.sa_layer_norm.weight"));
        assert!(!is_prunable("electra.embeddings_project.weight"));
        assert!(!is_prunable("classifier.weight"));
    }

    #[test]
    fn what_is_not_pruned_by_itself_is_meant_only_by_its_name() {
        let norm = "bert.encoder.layer.0.attention.output.LayerNorm.weight";
        for (family, name, part, expected) in [
            (&BERT, "bert.encoder.layer.0.output.dense.bias", "layer.0.", true),
            (&BERT, norm, "layer.0.", false),
            (&BERT, norm, "layer.0.attention.output.LayerNorm", true),
            (&BERT, "bert.embeddings.LayerNorm.bias", "embeddings", false),
            (&BERT, "bert.embeddings.word_embeddings.weight", "bert.", false),
            (&BERT, "bert.embeddings.word_embeddings.weight", "embeddings", true),
            (&BERT, "bert.pooler.dense.weight", "dense", false),
            (&BERT, "bert.pooler.dense.weight", "pooler", true),
            (&BERT, "classifier.weight", "*", false),
            (&ROBERTA, "classifier.out_proj.bias", "classifier", true),
            (&ROBERTA, "classifier.dense.bias", "out_proj", false),
            (&DISTILBERT, "pre_classifier.bias", "classifier", true),
            (&DISTILBERT, "distilbert.transformer.layer.1.sa_layer_norm.bias", "layer.1", false),
            (&ELECTRA, "electra.embeddings_project.weight", "embeddings_project", true),
        ] {
            assert_eq!(is_meant(family, name, part), expected, "{name} by {part}");
        }
        assert!(is_table("roberta.embeddings.position_embeddings.weight"));
        assert!(!is_table("electra.embeddings_project.weight") && !is_table("bert.pooler.weight"));
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
            ("model.bert.pooler.dense.bias", Some("bert.pooler.dense.bias")),
            ("_orig_mod.module.model.classifier.bias", Some("classifier.bias")),
            ("encoder.layer.1.output.dense.bias", Some("bert.encoder.layer.1.output.dense.bias")),
            ("pooler.dense.weight", Some("bert.pooler.dense.weight")),
            ("scoring_list.0.bias", Some("classifier.bias")),
            ("module.scoring_list.1.bias", Some("scoring_list.1.bias")),
            ("scoring_list.12.weight", Some("scoring_list.12.weight")),
            ("scoring_list.bias", None),
            ("classifier.weight", Some("classifier.weight")),
            ("bert.embeddings.position_ids", None),
            ("cls.predictions.bias", None),
        ] {
            assert_eq!(from_stored(&BERT, stored).as_deref(), expected, "{stored}");
        }
        for (family, stored, expected) in [
            (
                &ROBERTA,
                "encoder.layer.1.output.dense.bias",
                Some("roberta.encoder.layer.1.output.dense.bias"),
            ),
            (&ROBERTA, "roberta.embeddings.position_ids", None),
            (&ROBERTA, "lm_head.dense.weight", None),
            (&ROBERTA, "classifier.dense.weight", Some("classifier.dense.weight")),
            (
                &DISTILBERT,
                "transformer.layer.0.ffn.lin1.bias",
                Some("distilbert.transformer.layer.0.ffn.lin1.bias"),
            ),
            (&DISTILBERT, "vocab_projector.bias", None),
            (&DISTILBERT, "pre_classifier.bias", Some("pre_classifier.bias")),
            (&ELECTRA, "embeddings_project.bias", Some("electra.embeddings_project.bias")),
            (&ELECTRA, "discriminator_predictions.dense.bias", None),
        ] {
            assert_eq!(from_stored(family, stored).as_deref(), expected, "{stored}");
        }
    }

    #[test]
    fn a_prunable_tensor_has_a_layer_and_a_matrix() {
        assert_eq!(
            layer_and_matrix("bert.encoder.layer.3.attention.self.query.weight"),
            Some((3, "attention.self.query"))
        );
        assert_eq!(
            layer_and_matrix("distilbert.transformer.layer.2.attention.q_lin.weight"),
            Some((2, "attention.q_lin"))
        );
        assert_eq!(layer_and_matrix("classifier.weight"), None);
    }
}
