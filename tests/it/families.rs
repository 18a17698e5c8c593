//! Every kind of encoder against `transformers`.
//!
//! Expected arrays: `tests/fixtures/families.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use platon::bert::Checkpoint;
use platon::glue::sample::Sample;
use platon::glue::tsv::Label;
use platon::infer::model::{Load, Model};
use platon::infer::packed::PackedModel;
use platon::kernels::{LayerKernels, ModelKernels};
use platon::sparse::Instructions;
use serde_json::Value;

use crate::backends::on_every_backend;
use crate::dir::Dir;
use crate::fixtures::{Array, distance, fixture, read};
use crate::parity::{gradients_agree, outputs_agree};

on_every_backend!(
    outputs_of_every_family_equal_those_of_transformers,
    gradients_of_every_family_equal_those_of_transformers,
);

/// The models, and the number of their parameters.
const MODELS: [(&str, usize); 7] = [
    ("roberta", 41),
    ("xlm-roberta", 41),
    ("camembert", 41),
    ("distilbert", 40),
    ("electra", 43),
    ("bert-silu", 41),
    ("bert-gelu-new", 41),
];

fn folder(name: &str) -> PathBuf {
    fixture("families").join(name)
}

fn outputs_of_every_family_equal_those_of_transformers<B: LayerKernels + ModelKernels>() {
    for (name, _) in MODELS {
        outputs_agree::<B>(&folder(name));
    }
}

fn gradients_of_every_family_equal_those_of_transformers<B: LayerKernels + ModelKernels>() {
    for (name, parameters) in MODELS {
        assert_eq!(gradients_agree::<B>(&folder(name)), parameters, "{name}");
    }
}

/// The samples of the arrays, without padding.
fn samples(arrays: &HashMap<String, Array>) -> Vec<Sample> {
    let sample = |n: usize| {
        let length = arrays["attention_mask"].row(n).iter().sum::<f64>() as usize;
        let row = |name: &str| arrays[name].row(n)[..length].to_vec();
        Sample {
            uid: n.to_string(),
            label: Label::Class(0),
            token_id: row("input_ids").iter().map(|v| *v as u32).collect(),
            type_id: row("token_type_ids").iter().map(|v| *v as u8).collect(),
            attention_mask: vec![1; length],
            softlabel: Vec::new(),
        }
    };
    (0..arrays["labels"].values.len()).map(sample).collect()
}

#[test]
fn the_sparse_engine_answers_as_transformers_for_every_family() {
    for (name, _) in MODELS {
        let (arrays, _) = read(&folder(name).join("expected.safetensors"));
        for instructions in Instructions::available() {
            let checkpoint = Checkpoint::open(&folder(name)).unwrap();
            let bert = checkpoint.config.clone();
            let parts = Load::Classifier.read(checkpoint).unwrap();
            let model = PackedModel::new(&bert, parts, instructions).unwrap();
            let answers = model.predict(vec![samples(&arrays)], 2, &|_, _| ());
            let off = distance(&answers[0].0.logits, &arrays["logits"].f32());
            assert!(off < 2e-5, "{name}, {instructions:?}: logits differ by {off}");
        }
    }
}

#[test]
fn every_family_survives_the_sparse_file_and_a_hugging_face_folder_bit_for_bit() {
    let bits = |path: &Path| {
        let tensors = Checkpoint::open(path).unwrap().into_tensors().unwrap().expanded();
        tensors.tensors.into_iter().map(|(name, tensor)| (name, tensor.values)).collect::<Vec<_>>()
    };
    for (name, parameters) in MODELS {
        let dir = Dir::new();
        let model = folder(name);
        dir.platon_ok(&format!(
            "export {} --format sparse --output small.safetensors",
            model.display()
        ));
        dir.platon_ok("convert small.safetensors folder");
        dir.platon_ok(&format!("export {} --format hf --output shrunk", model.display()));
        let original = bits(&model);
        assert_eq!(original.len(), parameters, "{name}");
        for copy in ["small.safetensors", "folder", "shrunk"] {
            assert!(bits(&dir.path(copy)) == original, "{name}: {copy}");
        }
        let given = dir.json("folder/config.json");
        let config = std::fs::read_to_string(model.join("config.json")).unwrap();
        assert_eq!(given, serde_json::from_str::<Value>(&config).unwrap(), "{name}");
    }
}

/// A model of this kind to be trained from scratch, as the folder `model`: its configuration, and the
/// demo's words or one token for each byte.
#[cfg(feature = "flex")]
fn untrained(kind: &str) -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    let mut config: Value = dir.json("glue-data/demo/model/config.json");
    let Value::Object(config) = &mut config else { unreachable!() };
    config.insert("model_type".into(), kind.into());
    match kind {
        "roberta" => {
            let marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"].map(String::from);
            // Every byte as a letter, as GPT-2 writes them.
            let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let others = (0..256).filter(|byte| !printable(byte)).zip(256u32..);
            let letters = (0..256).filter(printable).chain(others.map(|(_, letter)| letter));
            let letters = letters.map(|letter| char::from_u32(letter).unwrap().to_string());
            let words: serde_json::Map<String, Value> =
                marks.into_iter().chain(letters).zip((0..).map(Value::from)).collect();
            dir.write("model/vocab.json", &Value::Object(words).to_string());
            dir.write("model/merges.txt", "#version: 0.2\n");
            config.insert("vocab_size".into(), 261.into());
            config.insert("max_position_embeddings".into(), 258.into());
            config.insert("type_vocab_size".into(), 1.into());
            config.insert("pad_token_id".into(), 1.into());
        }
        _ => {
            dir.write("model/vocab.txt", &dir.read("glue-data/demo/model/vocab.txt"));
            for (bert, own) in [
                ("hidden_size", "dim"),
                ("num_hidden_layers", "n_layers"),
                ("num_attention_heads", "n_heads"),
                ("intermediate_size", "hidden_dim"),
                ("hidden_act", "activation"),
            ] {
                let value = config.remove(bert).unwrap();
                config.insert(own.into(), value);
            }
        }
    }
    dir.write("model/config.json", &serde_json::to_string(config).unwrap());
    dir
}

#[cfg(feature = "flex")]
#[test]
fn other_encoders_are_trained_pruned_and_answer() {
    for (kind, class, layer) in [
        ("roberta", "RobertaForSequenceClassification", "roberta.encoder.layer."),
        ("distilbert", "DistilBertForSequenceClassification", "distilbert.transformer.layer."),
    ] {
        let dir = untrained(kind);
        let wrong =
            dir.platon("train tiny --no-tui --init-checkpoint model --encoder-type electra");
        let expected = format!("encoder_type: expected {kind}");
        assert!(wrong.code == 1 && wrong.stderr.contains(&expected), "{}", wrong.stderr);
        dir.platon_ok(&format!(
            "train tiny --no-tui --init-checkpoint model --encoder-type {kind} --output-dir run"
        ));
        let report = dir.json("run/report.json");
        assert!((report["reached_ratio"].as_f64().unwrap() - 0.2).abs() < 1e-3, "{report}");
        let config = dir.json("run/model/config.json");
        assert_eq!(
            (&config["model_type"], &config["architectures"][0]),
            (&kind.into(), &class.into())
        );
        let model = Checkpoint::open(&dir.path("run/model")).unwrap().into_tensors().unwrap();
        let layers = model.tensors.iter().filter(|(name, _)| {
            name.starts_with(layer) && !name.contains("LayerNorm") && !name.contains("layer_norm")
        });
        let (mut left, mut all) = (0, 0);
        for (_, tensor) in layers {
            left += tensor.values.iter().filter(|value| **value != 0.0).count();
            all += tensor.values.len();
        }
        assert!((left as f64 / all as f64 - 0.2).abs() < 1e-3, "{kind}: {left} of {all}");
        dir.write("texts.tsv", "two dogs bark\tthe sun is up\na cat\tred\n");
        let answers = |engine: &str| -> Vec<f32> {
            let args = format!("predict run --input texts.tsv --json --engine {engine}");
            let lines = dir.platon_ok(&args).stdout;
            let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["logits"].clone();
            let rows = lines.lines().flat_map(|line| of(line).as_array().unwrap().clone());
            rows.map(|value| value.as_f64().unwrap() as f32).collect()
        };
        let dense = answers("dense");
        assert_eq!(dense.len(), 6);
        assert!(distance(&dense, &answers("sparse")) < 1e-4, "{kind}");
        // Its own head, and next to no learning: the same predictions.
        dir.platon_ok(
            "train tiny --no-tui --init-checkpoint run/model --from-scratch=false --keep-head \
             --pruner none --learning-rate 1e-12 --max-steps 2 --output-dir kept",
        );
        let again = dir.json("kept/report.json");
        assert_eq!(again["dev"], report["dev"], "{kind}");
    }
}
