//! Models for ONNX Runtime and other readers of ONNX: a folder as transformers' own export writes it.
//!
//! [`messages`] declares the file's parts, `file` writes them, `graph` collects nodes. `embeddings`,
//! `layer` and this module add those of the model, made of what `nodes` knows; `places` tells where the
//! weights of shrunk layers stand.

mod embeddings;
mod file;
mod graph;
mod layer;
pub mod messages;
mod nodes;
mod places;

use std::io::{BufWriter, Write};
use std::path::Path;

use self::file::File;
use self::graph::{Dim, Graph, Values, int, value};
use self::messages::{ModelProto, OperatorSetIdProto, element};
use self::nodes::Part;
use super::{Shape, check_new, hugging_face_config, tokenizer_texts, write_beside};
use crate::bert::weights::Tensors;
use crate::bert::{BertConfig, Checkpoint, names};
use crate::error::Result;
use crate::files::write_with;
use crate::infer::source::Source;
use crate::sparse::{Left, Shrunk};

/// The model's file in such a folder.
pub const MODEL: &str = "model.onnx";
/// The version of the format: what ONNX Runtime reads since 1.12.
const IR_VERSION: i64 = 8;
/// The version of the operators, the first with one for layer normalisation.
const OPSET: i64 = 17;
/// The output.
const LOGITS: &str = "logits";

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxFolder {
    /// What exact shrinking leaves of each layer, where it was asked for.
    pub left: Vec<Shrunk>,
    /// The numbers that the layers have in the graph, places that are left over among them.
    pub layer_weights: Left,
    /// The bytes of the model's file.
    pub bytes: u64,
    /// Names of tensors that are no part of a classifier.
    pub unused: Vec<String>,
    /// Whether the folder holds a tokenizer.
    pub has_tokenizer: bool,
}

/// Writes the classifier `checkpoint` as a folder with `model.onnx`, its configuration and its
/// tokenizer. The configuration is that of the model before anything is left out.
///
/// # Errors
/// `dir` is not new or empty, the checkpoint is no classifier, the model is too large for the format,
/// or a file cannot be read or written.
pub fn to_onnx(checkpoint: Checkpoint, shape: Shape, dir: &Path) -> Result<OnnxFolder> {
    check_new(dir)?;
    let texts = tokenizer_texts(&checkpoint)?;
    let (config, json) = (checkpoint.config.clone(), checkpoint.json.clone());
    let (tensors, head) = checkpoint.into_classifier()?;
    let json = hugging_face_config(&config, json, Some(&head));
    let Built { file, left, unused } = build(tensors, &config, head.labels.len(), shape)?;
    let path = dir.join(MODEL);
    file.check(&path)?;
    write_with(&path, |out| {
        let mut out = BufWriter::new(out);
        file.write(&mut out)?;
        out.flush()
    })?;
    write_beside(dir, &json, &texts)?;
    let layer_weights = layer_weights(&file.graph, &config, head.labels.len());
    let (bytes, has_tokenizer) = (file.bytes() as u64, !texts.is_empty());
    Ok(OnnxFolder { left, layer_weights, bytes, unused, has_tokenizer })
}

struct Built {
    file: File,
    left: Vec<Shrunk>,
    unused: Vec<String>,
}

/// A graph on its way from the inputs to the output. The parts of the model add their nodes to it.
struct Builder<'a> {
    graph: Graph,
    /// The weights that it does not have yet.
    source: Source,
    config: &'a BertConfig,
    shape: Shape,
    left: Vec<Shrunk>,
}

fn build(tensors: Tensors, config: &BertConfig, outputs: usize, shape: Shape) -> Result<Built> {
    let source = Source::new(tensors, config);
    let mut builder = Builder { graph: Graph::default(), source, config, shape, left: Vec::new() };
    let mut hidden = builder.embed()?;
    let mask = builder.mask();
    for n in 0..config.num_hidden_layers {
        hidden = builder.layer(n, &hidden, &mask)?;
    }
    builder.head(&hidden, outputs)?;
    let Builder { mut graph, source, left, .. } = builder;
    let of_tokens = [Dim::Batch, Dim::Length];
    let inputs = embeddings::inputs(config).into_iter();
    graph.proto.name = config.family.classifier_class.into();
    graph.proto.input =
        inputs.map(|(name, words)| value(name, element::INT64, &of_tokens, words)).collect();
    let words = "scores of the labels before the softmax, or the predicted value";
    let logits = value(LOGITS, element::FLOAT, &[Dim::Batch, Dim::Of(outputs)], words);
    graph.proto.output = vec![logits];
    let what = match shape {
        Shape::Kept => "every weight in its place",
        Shape::Shrunk => "without what zeros make superfluous",
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: format!("{}, {what}", config.family.classifier_class),
        ..ModelProto::default()
    };
    Ok(Built { file: File { model, graph }, left, unused: source.left() })
}

impl Builder<'_> {
    /// Turns the vectors of first tokens, `[batch, 1, hidden]`, into the output.
    fn head(&mut self, hidden: &str, outputs: usize) -> Result<()> {
        let (width, activation) = (self.config.hidden_size, self.config.family.head.activation);
        let zero = self.graph.integer(0);
        let axis = vec![int("axis", 1)];
        let first = self.graph.node_with("head.first", "Gather", [hidden, &zero], axis);
        let dense = self.gemm("heads.0.dense", "head.dense", &first, [width, width])?;
        let pooled = self.graph.activate("head.pooled", &dense, activation);
        self.gemm("heads.0.output", LOGITS, &pooled, [outputs, width])?;
        Ok(())
    }

    /// A dense layer `[outputs, inputs]` over single vectors.
    fn gemm(&mut self, path: &str, output: &str, x: &str, shape: [usize; 2]) -> Result<String> {
        let weight = self.source.take(&format!("{path}.weight"), &shape)?.values;
        let [outputs, _] = shape;
        let bias = self.source.take(&format!("{path}.bias"), &[outputs])?.values;
        let Part { module, .. } = Part::new(self.config.family, path);
        let weight = self.graph.weight(format!("{module}.weight"), &shape, weight);
        let bias = self.graph.weight(format!("{module}.bias"), &[outputs], bias);
        let turned = vec![int("transB", 1)];
        Ok(self.graph.node_with(output, "Gemm", [x, &weight, &bias], turned))
    }
}

/// How many of the layers' numbers the graph has.
fn layer_weights(graph: &Graph, config: &BertConfig, outputs: usize) -> Left {
    let is_of_layer = |name: &str| names::layer_and_matrix(name).is_some();
    let known = graph.known.iter().filter(|known| is_of_layer(&known.name));
    let alive = known.map(|known| match &known.values {
        Values::Floats(values) => values.len(),
        Values::Integers(_) => 0,
    });
    let shapes = names::parameter_shapes(config, outputs).into_iter();
    let of = shapes.filter(|(name, _)| is_of_layer(name));
    Left { alive: alive.sum(), of: of.map(|(_, shape)| shape.iter().product::<usize>()).sum() }
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
