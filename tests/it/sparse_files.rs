//! Files that hold the weights that remain, and what is made of them.

use std::collections::HashMap;

use crate::dir::Dir;
use crate::fixtures::{fixture, read};

#[test]
fn a_sparse_file_comes_back_bit_for_bit() {
    let dir = Dir::with_finished_run("");
    for file in ["added_tokens.json", "special_tokens_map.json"] {
        dir.write(&format!("run/model/{file}"), "{}");
    }
    let ended = dir.platon_ok("export run --format sparse --output small.safetensors");
    assert!(ended.stderr.contains("MB; encoder layers "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("left out"), "{}", ended.stderr);
    dir.platon_ok("convert small.safetensors back");
    let values = |path: &str| {
        let (tensors, _) = read(&dir.path(path));
        tensors
            .into_iter()
            .map(|(k, v)| (k, v.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()))
            .collect::<HashMap<_, _>>()
    };
    assert_eq!(values("run/model/model.safetensors"), values("back/model.safetensors"));
    for file in [
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "tokenizer_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
    ] {
        assert_eq!(
            dir.read(&format!("run/model/{file}")).trim(),
            dir.read(&format!("back/{file}")).trim(),
            "{file}"
        );
    }
    let size = |path: &str| std::fs::metadata(dir.path(path)).unwrap().len();
    assert!(size("small.safetensors") < size("run/model/model.safetensors"));
    dir.platon_ok("export run --format hf --whole --output folder");
    assert_eq!(values("folder/model.safetensors"), values("back/model.safetensors"));
    dir.write("texts.txt", "a cat\ta dog\n");
    // The sparse engine sums in an order that it measures anew each time.
    let predict = |model: &str| {
        dir.platon_ok(&format!("predict {model} --engine dense --json --input texts.txt")).stdout
    };
    assert_eq!(predict("small.safetensors"), predict("run"));
    assert_eq!(predict("small.safetensors --tokenizer run/model"), predict("run"));
    dir.platon_ok("predict small.safetensors --engine sparse --input texts.txt");
    for (args, expected) in [
        ("export run --format sparse --output small.safetensors", "output: expected a new file"),
        ("convert small.safetensors back", "back: expected a new or empty folder"),
        ("convert nowhere out", "nowhere"),
        ("convert run/log.log out", "run/log.log: expected a safetensors file"),
    ] {
        let line = dir.platon_refuses(args);
        assert!(line.contains(expected), "{line}");
    }
    assert!(!dir.path("out").exists());
}

#[test]
fn a_sparse_file_in_16_bits_is_a_model_like_any_other() {
    let dir = Dir::with_finished_run("");
    dir.write("texts.txt", "a cat\ta dog\n");
    let size = |path: &str| std::fs::metadata(dir.path(path)).unwrap().len();
    dir.platon_ok("export run --format sparse --output f32.safetensors");
    let (model, _) = read(&dir.path("run/model/model.safetensors"));
    for dtype in ["f16", "bf16"] {
        let nearest = |value: &f64| match dtype {
            "f16" => half::f16::from_f32(*value as f32).to_f64(),
            _ => half::bf16::from_f32(*value as f32).to_f64(),
        };
        let file = format!("{dtype}.safetensors");
        dir.platon_ok(&format!("export run --format sparse --dtype {dtype} --output {file}"));
        assert!(size(&file) < size("f32.safetensors"));
        dir.platon_ok(&format!("convert {file} {dtype}"));
        let (converted, _) = read(&dir.path(&format!("{dtype}/model.safetensors")));
        assert_eq!(converted.len(), model.len());
        for (name, tensor) in &model {
            let expected: Vec<f64> = tensor.values.iter().map(nearest).collect();
            assert!(converted[name].values == expected, "{name} in {dtype}");
        }
        for args in ["predict {} --input texts.txt", "evaluate {} --task demo"] {
            let of = |model: &str| {
                dir.platon_ok(&format!("{} --engine dense", args.replace("{}", model))).stdout
            };
            assert_eq!(of(&file), of(dtype), "{args}");
        }
        dir.platon_ok(&format!("encode {file} --input texts.txt"));
    }
    let line = dir.platon_refuses("export run --format hf --dtype f16 --output hf");
    let expected = "--dtype: expected --format sparse, found --format hf (hint: a Hugging Face";
    assert!(line.contains(expected), "{line}");
    assert!(!dir.path("hf").exists());
}

#[test]
fn a_weight_too_large_for_16_bits_is_refused_with_its_tensor() {
    let dir = Dir::with_finished_run("");
    let path = dir.path("run/model/model.safetensors");
    let mut file = std::fs::read(&path).unwrap();
    let end = file.len();
    file[end - 4..].copy_from_slice(&70_000_f32.to_le_bytes());
    std::fs::write(&path, file).unwrap();
    let line = dir.platon_refuses("export run --format sparse --dtype f16");
    let expected = "expected numbers of at most 65504 to store as F16, found 70000 (hint: --dtype";
    assert!(line.contains(": tensor ") && line.contains(expected), "{line}");
    assert!(!dir.path("run/model-sparse.safetensors").exists());
    dir.platon_ok("export run --format sparse --dtype bf16");
}

#[test]
fn a_sparse_file_of_version_1_is_read() {
    let dir = Dir::new();
    let file = fixture("sparse/version_1.safetensors");
    let out = dir.path("out");
    dir.platon_ok(&format!("convert {} {}", file.display(), out.display()));
    let (tensors, _) = read(&out.join("model.safetensors"));
    let query = &tensors["bert.encoder.layer.0.attention.self.query.weight"];
    assert_eq!(query.values.iter().filter(|value| **value != 0.0).count(), 103);
    assert!(out.join("vocab.txt").is_file());
}
