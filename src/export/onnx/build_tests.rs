use std::collections::BTreeSet;

use serde_json::json;

use super::graph::Known;
use super::*;
use crate::bert::weights::StoredTensor;

/// A model of two layers with two heads of two dimensions over four features, and six neurons, all of
/// whose weights are `fill` of their name.
fn model(kind: &str, fill: impl Fn(&str, usize) -> Vec<f32>) -> (Tensors, BertConfig) {
    let distil = json!({"model_type": kind, "vocab_size": 10, "dim": 4, "n_layers": 2, "n_heads": 2,
        "hidden_dim": 6, "max_position_embeddings": 12});
    let others = json!({"model_type": kind, "vocab_size": 10, "hidden_size": 4,
        "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 6,
        "max_position_embeddings": 12, "embedding_size": 3, "pad_token_id": 1});
    let json = if kind == "distilbert" { distil } else { others };
    let config = BertConfig::from_json(json, Path::new("config.json")).unwrap();
    let shapes = names::parameter_shapes(&config, 3).into_iter();
    let tensors = shapes.map(|(name, shape)| {
        let values = fill(&name, shape.iter().product());
        (name, StoredTensor { shape, values })
    });
    let tensors = Tensors::new(config.family, Path::new("model"), tensors.collect()).unwrap();
    (tensors, config)
}

fn filled(_: &str, count: usize) -> Vec<f32> {
    vec![0.5; count]
}

/// Every name is given once, and taken after it was given.
fn check_order(graph: &Graph) {
    let mut given = BTreeSet::new();
    let mut give = |name: &String| assert!(given.insert(name.clone()), "{name} is given twice");
    graph.known.iter().for_each(|known| give(&known.name));
    graph.proto.input.iter().for_each(|input| give(&input.name));
    let mut taken = BTreeSet::new();
    for node in &graph.proto.node {
        for input in &node.input {
            assert!(given.contains(input), "{} takes {input}, which is not there", node.name);
            taken.insert(input.clone());
        }
        assert_eq!(node.output, std::slice::from_ref(&node.name));
        assert!(given.insert(node.name.clone()), "{} is given twice", node.name);
    }
    let unused: Vec<_> = given.difference(&taken).collect();
    assert_eq!(unused, ["logits"], "nothing is computed for nothing");
    for Known { name, shape, values } in &graph.known {
        let count = match values {
            Values::Floats(values) => values.len(),
            Values::Integers(values) => values.len(),
        };
        assert_eq!(count, shape.iter().product::<usize>(), "{name}");
    }
    for described in &graph.proto.value_info {
        assert!(given.contains(&described.name), "{}", described.name);
    }
}

fn shape<'a>(graph: &'a Graph, name: &str) -> &'a [usize] {
    &graph.known.iter().find(|known| known.name == name).unwrap_or_else(|| panic!("{name}")).shape
}

fn floats<'a>(graph: &'a Graph, name: &str) -> &'a [f32] {
    let known = graph.known.iter().find(|known| known.name == name);
    match &known.unwrap_or_else(|| panic!("{name}")).values {
        Values::Floats(values) => values,
        Values::Integers(_) => panic!("{name}"),
    }
}

#[test]
fn every_family_makes_a_graph_in_order_with_the_inputs_of_its_tokenizer() {
    for (kind, inputs) in [
        ("bert", &["input_ids", "attention_mask", "token_type_ids"][..]),
        ("electra", &["input_ids", "attention_mask", "token_type_ids"]),
        ("roberta", &["input_ids", "attention_mask"]),
        ("xlm-roberta", &["input_ids", "attention_mask"]),
        ("camembert", &["input_ids", "attention_mask"]),
        ("distilbert", &["input_ids", "attention_mask"]),
    ] {
        for shape in [Shape::Kept, Shape::Shrunk] {
            let (tensors, config) = model(kind, filled);
            let Built { file, left, unused } = build(tensors, &config, 3, shape).unwrap();
            check_order(&file.graph);
            let graph = &file.graph.proto;
            let names: Vec<_> = graph.input.iter().map(|input| input.name.as_str()).collect();
            assert_eq!(names, inputs, "{kind}");
            assert_eq!(graph.output[0].name, "logits");
            assert_eq!(left.len(), if shape == Shape::Kept { 0 } else { 2 });
            assert_eq!(unused, Vec::<String>::new(), "{kind}");
            // Nothing is zero: shrinking changes nothing.
            let Left { alive, of } = layer_weights(&file.graph, &config, 3);
            assert_eq!(alive, of);
            assert_eq!((file.model.ir_version, file.model.opset_import[0].version), (8, 17));
        }
    }
}

#[test]
fn each_layer_has_what_shrinking_left_of_it() {
    // Layer 0: the output reads dimension 3 alone, so head 0 goes; one key's dimension of head 1 is
    // zero; neurons 1 to 5 are not read. Layer 1: nothing reads the attention, and there are no neurons.
    let fill = |name: &str, count: usize| {
        let mut values = vec![0.5; count];
        let columns = |values: &mut Vec<f32>, width, kept: usize| {
            for (n, value) in values.iter_mut().enumerate() {
                *value = if n % width == kept { 2.0 } else { 0.0 };
            }
        };
        match name {
            "bert.encoder.layer.0.attention.output.dense.weight" => columns(&mut values, 4, 3),
            "bert.encoder.layer.0.attention.self.key.weight" => values[8..12].fill(0.0),
            "bert.encoder.layer.0.output.dense.weight" => columns(&mut values, 6, 0),
            "bert.encoder.layer.1.attention.output.dense.weight"
            | "bert.encoder.layer.1.output.dense.weight" => values.fill(0.0),
            _ => {}
        }
        values
    };
    let (tensors, config) = model("bert", fill);
    let Built { file, .. } = build(tensors, &config, 3, Shape::Shrunk).unwrap();
    let graph = &file.graph;
    check_order(graph);
    let name = |n: usize, name: &str| format!("bert.encoder.layer.{n}.{name}");
    for (module, expected) in [
        ("attention.self.query", [4, 1]),
        ("attention.self.key", [4, 1]),
        ("attention.self.value", [4, 1]),
        ("attention.output.dense", [1, 4]),
        ("intermediate.dense", [4, 1]),
        ("output.dense", [1, 4]),
    ] {
        assert_eq!(shape(graph, &name(0, &format!("{module}.weight"))), expected, "{module}");
        assert_eq!(shape(graph, &name(0, &format!("{module}.bias"))), &expected[1..], "{module}");
    }
    assert_eq!(floats(graph, &name(0, "attention.output.dense.weight")), [2.0; 4]);
    // Heads had two dimensions, and their scores are still divided by the root of two.
    let scale = 0.5_f32.sqrt();
    assert_eq!(floats(graph, &format!("number_{scale:?}")), [scale]);
    let scaled = graph.proto.node.iter().find(|node| node.name == "encoder.0.attention.scaled");
    assert_eq!(scaled.unwrap().input[1], format!("number_{scale:?}"));
    let of_layer_1: Vec<_> = graph
        .known
        .iter()
        .filter(|known| known.name.starts_with("bert.encoder.layer.1."))
        .collect();
    // Two biases and two normalisations.
    assert_eq!(of_layer_1.len(), 6);
    // Layer 0: query, key and value of one dimension, the way out of it, one neuron, two normalisations.
    // Layer 1: two biases and two normalisations.
    let numbers = 3 * (4 + 1) + (4 + 4) + (4 + 1) + (4 + 4) + 16 + (4 + 4 + 16);
    let Left { alive, of } = layer_weights(graph, &config, 3);
    assert_eq!((alive, of), (numbers, 2 * (4 * (16 + 4) + (24 + 6) + (24 + 4) + 16)));
    // --whole keeps every number.
    let (tensors, config) = model("bert", fill);
    let Built { file, .. } = build(tensors, &config, 3, Shape::Kept).unwrap();
    check_order(&file.graph);
    assert_eq!(layer_weights(&file.graph, &config, 3), Left { alive: of, of });
}

#[test]
fn a_head_narrower_than_its_layers_widest_is_filled_up() {
    let fill = |name: &str, count: usize| {
        let mut values: Vec<f32> = (1..=count).map(|n| n as f32).collect();
        // Dimension 0, of head 0, is never read.
        if name == "bert.encoder.layer.0.attention.output.dense.weight" {
            values.iter_mut().step_by(4).for_each(|value| *value = 0.0);
        }
        values
    };
    let (tensors, config) = model("bert", fill);
    let Built { file, .. } = build(tensors, &config, 3, Shape::Shrunk).unwrap();
    let value = "bert.encoder.layer.0.attention.self.value";
    let weight = floats(&file.graph, &format!("{value}.weight"));
    // The rows 1, 2 and 3 as columns 0, 2 and 3.
    assert_eq!(weight[..8], [5.0, 0.0, 9.0, 13.0, 6.0, 0.0, 10.0, 14.0]);
    assert_eq!(floats(&file.graph, &format!("{value}.bias")), [2.0, 0.0, 3.0, 4.0]);
    let output = "bert.encoder.layer.0.attention.output.dense.weight";
    assert_eq!(floats(&file.graph, output)[..8], [2.0, 6.0, 10.0, 14.0, 0.0, 0.0, 0.0, 0.0]);
}
