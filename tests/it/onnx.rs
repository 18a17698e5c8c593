//! The export to ONNX, as a file; that ONNX Runtime answers alike is for `tests/python/onnx_check.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use platon::bert::Checkpoint;
use platon::bert::names::layer_and_matrix;
use platon::export::onnx::messages::{GraphProto, ModelProto, TensorProto};
use prost::Message;

use crate::dir::Dir;
use crate::engine::{finished, prune};
use crate::fixtures::fixture;

const KINDS: [&str; 7] =
    ["roberta", "xlm-roberta", "camembert", "distilbert", "electra", "bert-silu", "bert-gelu-new"];

/// The graph of a file whose names are each given once and taken after they are given.
fn graph(path: &Path) -> GraphProto {
    let model = ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
    assert_eq!((model.producer_name.as_str(), model.opset_import.len()), ("platon", 1));
    assert_eq!(model.producer_version, env!("CARGO_PKG_VERSION"));
    let graph = model.graph.unwrap();
    let mut given: BTreeSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    for TensorProto { dims, data_type, name, raw_data } in &graph.initializer {
        let width = if *data_type == 1 { 4 } else { 8 };
        assert_eq!(raw_data.len() as i64, width * dims.iter().product::<i64>(), "{name}");
        assert!(given.insert(name), "{name}");
    }
    for node in &graph.node {
        assert!(node.input.iter().all(|input| given.contains(input.as_str())), "{}", node.name);
        assert!(node.output.iter().all(|output| given.insert(output)), "{}", node.name);
    }
    assert!(given.contains(graph.output[0].name.as_str()));
    graph
}

fn weights(graph: &GraphProto) -> BTreeMap<&str, (&[i64], Vec<f32>)> {
    let floats = graph.initializer.iter().filter(|tensor| tensor.data_type == 1);
    let value = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    floats
        .map(|tensor| {
            let values = tensor.raw_data.chunks_exact(4).map(value).collect();
            (tensor.name.as_str(), (tensor.dims.as_slice(), values))
        })
        .collect()
}

#[test]
fn every_family_keeps_every_weight_in_an_onnx_model() {
    for kind in KINDS {
        let dir = Dir::new();
        let model = fixture("families").join(kind);
        dir.platon_ok(&format!("export {} --format onnx --output out", model.display()));
        let graph = graph(&dir.path("out/model.onnx"));
        let found = weights(&graph);
        let tensors = Checkpoint::open(&model).unwrap().into_tensors().unwrap();
        for (name, tensor) in &tensors.tensors {
            let (dims, values) = &found.get(name.as_str()).unwrap_or_else(|| panic!("{name}"));
            let shape: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
            // What `MatMul` multiplies by is turned.
            let is_turned = layer_and_matrix(name).is_some() || name.contains("embeddings_project");
            match shape.as_slice() {
                [outputs, inputs] if is_turned => {
                    assert_eq!(*dims, [*inputs, *outputs], "{kind}: {name}");
                    let (outputs, inputs) = (*outputs as usize, *inputs as usize);
                    let turned = |n| tensor.values[(n % outputs) * inputs + n / outputs];
                    assert!((0..values.len()).all(|n| values[n] == turned(n)), "{kind}: {name}");
                }
                [_, width] if name.ends_with("token_type_embeddings.weight") && dims[0] == 1 => {
                    // All tokens are of the first type.
                    assert_eq!(*values, tensor.values[..*width as usize], "{kind}");
                }
                _ => assert!(shape == *dims && *values == tensor.values, "{kind}: {name}"),
            }
        }
        let has_types = graph.input.iter().any(|input| input.name == "token_type_ids");
        assert_eq!(has_types, kind.starts_with("bert") || kind == "electra", "{kind}");
        let [given, own] = ["config.json", "out/config.json"].map(|name| match name {
            "config.json" => std::fs::read_to_string(model.join(name)).unwrap(),
            _ => dir.read(name),
        });
        let [given, own] = [given, own].map(|text| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap()
        });
        assert!(given.iter().all(|(key, value)| own.get(key) == Some(value)), "{kind}");
    }
}

#[test]
fn a_runs_onnx_folder_has_a_tokenizer_and_leaves_out_what_nothing_needs() {
    let dir = finished();
    prune(&dir.path("run/model"));
    let ended = dir.platon_ok("export run --format onnx");
    let hidden = dir.json("run/model/config.json")["intermediate_size"].as_u64().unwrap() as i64;
    let alive = |neuron: &i64| neuron % 3 != 0 && neuron % 4 != 1;
    let neurons = (0..hidden).filter(alive).count() as i64;
    let said = format!("{neurons} of {hidden}");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert!(ended.stderr.contains("run/export-onnx: model.onnx of "), "{}", ended.stderr);
    let graph = graph(&dir.path("run/export-onnx/model.onnx"));
    let found = weights(&graph);
    let (dims, _) = &found["bert.encoder.layer.0.intermediate.dense.weight"];
    assert_eq!(dims[1], neurons);
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
        let own = dir.read(&format!("run/export-onnx/{name}"));
        assert_eq!(own.trim(), dir.read(&format!("run/model/{name}")).trim(), "{name}");
    }
    let before = dir.bytes("run/export-onnx/model.onnx");
    let line = dir.platon_refuses("export run --format onnx");
    assert!(
        line.contains("run/export-onnx: expected a new or empty folder, found files in it"),
        "{line}"
    );
    let line = dir.platon_refuses("export run --format onnx --dtype f16 --output other");
    assert!(line.contains("--dtype: expected --format sparse, found --format onnx"), "{line}");
    assert!(!dir.path("other").exists());
    assert_eq!(dir.bytes("run/export-onnx/model.onnx"), before);

    dir.platon_ok("export run --format onnx --output again");
    assert_eq!(dir.bytes("again/model.onnx"), before, "equal models make equal files");
    let ended = dir.platon_ok("export run --format onnx --whole --output whole");
    assert!(!ended.stderr.contains("neurons"), "{}", ended.stderr);
    assert!(dir.bytes("whole/model.onnx").len() > before.len());
    dir.platon_ok("export run --format sparse --output small.safetensors");
    let line = dir.platon_refuses("export small.safetensors --format onnx");
    assert!(line.contains("--output: expected where to write to, found none"), "{line}");
    dir.platon_ok("export small.safetensors --format onnx --output from-sparse");
    assert_eq!(dir.bytes("from-sparse/model.onnx"), before);
    assert!(dir.path("from-sparse/tokenizer.json").is_file());
}

#[test]
fn an_encoder_without_a_head_or_with_another_one_has_no_onnx_form() {
    let dir = finished();
    let mut config = dir.json("run/model/config.json");
    config["architectures"] = serde_json::json!(["BertForTokenClassification"]);
    dir.write("run/model/config.json", &config.to_string());
    let line = dir.platon_refuses("export run --format onnx");
    assert!(line.contains("BertForSequenceClassification"), "{line}");

    let dir = finished();
    let file = dir.path("run/model/model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let encoder = tensors.iter().filter(|(name, _)| !name.starts_with("classifier."));
    std::fs::write(&file, safetensors::serialize(encoder, None).unwrap()).unwrap();
    let line = dir.platon_refuses("export run --format onnx");
    assert!(line.contains("classifier.weight") && line.contains("this one has no head"), "{line}");
    assert!(!dir.path("run/export-onnx").exists());
}
