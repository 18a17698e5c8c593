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
        assert_eq!(given, serde_json::from_str::<serde_json::Value>(&config).unwrap(), "{name}");
    }
}
