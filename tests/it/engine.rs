//! The sparse engine: its answers, what it leaves out, and how commands choose it.

use std::path::Path;

use platon::bert::family::BERT;
use platon::bert::weights::{Tensors, save};
use serde_json::Value;

use crate::dir::Dir;
use crate::fixtures::distance;

const TRAIN: &str = "train tiny --no-tui --output-dir run --max-steps 24 --pruner none";

/// A finished run of the tiny demo, not pruned, with texts to answer.
pub fn finished() -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok(TRAIN);
    let words = ["a cat", "two dogs bark", "the sun is up", "red", "he went away at last"];
    let pairs = (0..90).map(|n| format!("{}\t{}\n", words[n % 5], words[(n / 5) % 5]));
    dir.write("texts.txt", &pairs.collect::<String>());
    dir
}

/// Lets a few of the weights of each layer be, and zeroes whole neurons and heads.
pub fn prune(folder: &Path) {
    let file = folder.join("model.safetensors");
    let Tensors { mut tensors, .. } =
        Tensors::from_safetensors(&BERT, &file, &std::fs::read(&file).unwrap()).unwrap();
    for (name, tensor) in &mut tensors {
        let is_layer = name.contains("encoder.layer") && !name.contains("LayerNorm");
        if !is_layer {
            continue;
        }
        let width = tensor.values.len() / tensor.shape[0];
        for (n, value) in tensor.values.iter_mut().enumerate() {
            let (row, column) = (n / width, n % width);
            let is_kept = ((n * 2_654_435_761) >> 16) % 10 < 2;
            let is_neuron = name.contains("intermediate") && row % 3 == 0 && width > 1;
            let is_unread = name.contains("output.dense.weight") && column % 4 == 1;
            if (width > 1 && !is_kept) || is_neuron || is_unread {
                *value = 0.0;
            } else if width == 1 {
                // Biases that count.
                *value = (row as f32 * 0.37).sin();
            } else {
                *value *= 4.0;
            }
        }
    }
    save(&tensors, &file).unwrap();
}

fn logits(dir: &Dir, args: &str) -> Vec<f32> {
    let lines = dir.platon_ok(&format!("predict {args} --input texts.txt --json")).stdout;
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["logits"].clone();
    let rows = lines.lines().map(of);
    rows.flat_map(|row| row.as_array().unwrap().clone())
        .map(|v| v.as_f64().unwrap() as f32)
        .collect()
}

#[test]
fn both_engines_give_the_same_answers_from_a_run_a_folder_and_a_sparse_file() {
    let dir = finished();
    prune(&dir.path("run/model"));
    let dense = logits(&dir, "run --engine dense");
    assert_eq!(dense.len(), 90 * 3);
    dir.platon_ok("export run --format sparse --output small.safetensors");
    for model in ["run", "run/model", "small.safetensors"] {
        for engine in ["sparse", "auto"] {
            let sparse = logits(&dir, &format!("{model} --engine {engine}"));
            assert!(distance(&sparse, &dense) < 1e-4, "{model} {engine}");
        }
    }
    for pooling in ["first", "mean"] {
        let vectors = |engine: &str| -> Vec<f32> {
            let args =
                format!("encode run --input texts.txt --pooling {pooling} --engine {engine}");
            let lines = dir.platon_ok(&args).stdout;
            let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["vector"].clone();
            let rows = lines.lines().flat_map(|line| of(line).as_array().unwrap().clone());
            rows.map(|v| v.as_f64().unwrap() as f32).collect()
        };
        assert!(distance(&vectors("dense"), &vectors("sparse")) < 1e-4, "{pooling}");
    }
    let scores = |engine: &str| {
        let ended = dir.platon_ok(&format!("evaluate run --json --engine {engine}"));
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    };
    let (dense, sparse) = (scores("dense"), scores("sparse"));
    let difference = dense["loss"].as_f64().unwrap() - sparse["loss"].as_f64().unwrap();
    assert!(difference.abs() < 1e-5, "{dense} {sparse}");
}

#[test]
fn a_command_says_which_engine_it_takes_and_why() {
    let dir = finished();
    let said = |args: &str| {
        let ended = dir.platon_ok(&format!("predict {args} --input texts.txt"));
        ended.stderr.lines().find(|line| line.starts_with("engine: ")).unwrap().to_string()
    };
    assert!(said("run --engine dense").starts_with("engine: dense (flex), as asked for"));
    assert!(said("run --engine sparse").starts_with("engine: sparse ("));
    let ndarray = said("run --backend ndarray");
    assert!(ndarray.starts_with("engine: dense (ndarray), for the sparse one"), "{ndarray}");
    let auto = said("run");
    assert!(auto.starts_with("engine: dense (flex), for 100.0 % of the encoder"), "{auto}");
    prune(&dir.path("run/model"));
    let auto = said("run");
    assert!(auto.starts_with("engine: sparse (") && auto.contains(" % of the encoder"), "{auto}");
}

#[test]
fn a_folder_is_written_without_the_neurons_that_nothing_needs() {
    let dir = finished();
    prune(&dir.path("run/model"));
    let before = logits(&dir, "run --engine dense");
    let ended = dir.platon_ok("export run --format hf --output shrunk");
    let [whole, left] = ["run/model", "shrunk"].map(|folder| {
        dir.json(&format!("{folder}/config.json"))["intermediate_size"].as_u64().unwrap()
    });
    let is_alive = |neuron: &u64| !neuron.is_multiple_of(3) && neuron % 4 != 1;
    assert_eq!(left, (0..whole).filter(is_alive).count() as u64, "{}", ended.stderr);
    let said = format!("intermediate_size {left} instead of {whole}");
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("{left} of {whole}")), "{}", ended.stderr);
    assert!(distance(&logits(&dir, "shrunk --engine dense"), &before) < 1e-5);
    dir.platon_ok("export run --format hf --whole --output whole");
    assert_eq!(dir.bytes("whole/model.safetensors"), dir.bytes("run/model/model.safetensors"));
    let line = dir.platon_refuses("export run --format sparse --whole --output file");
    assert!(
        line.contains("--whole: expected --format hf or onnx, found --format sparse"),
        "{line}"
    );
}

#[test]
fn a_bench_times_both_engines_and_shows_what_is_packed() {
    let dir = finished();
    prune(&dir.path("run/model"));
    let all = dir.platon_ok("bench run --rounds 1 --json").stdout;
    let all: Value = serde_json::from_str(&all).unwrap();
    let batches = all["batches"].as_array().unwrap();
    assert!(!batches.is_empty());
    for batch in batches {
        for engine in ["dense", "sparse"] {
            assert!(batch[engine]["median_ms"].as_f64().unwrap() > 0.0, "{batch}");
            let [median, p95] =
                ["median_ms", "p95_ms"].map(|name| batch[engine][name].as_f64().unwrap());
            assert!(p95 >= median, "{batch}");
        }
    }
    let bytes = |engine: &str| all[engine]["layer_bytes"].as_u64().unwrap();
    assert!(bytes("sparse") < bytes("dense"), "{all}");
    assert!(dir.platon_ok("bench run --rounds 1").stdout.contains("faster"));
    let layers = dir.platon_ok("bench run --layers").stdout;
    assert!(
        layers.contains("attention output") && layers.contains("sparse, blocks of"),
        "{layers}"
    );
}
