//! Weights that are not finite, by every way in, and results that are not.

use serde_json::{Value, json};

use super::exchanged::{CONVERT, sparse};
use super::*;

const PREDICT_SPARSE: &str = "predict run --input texts.txt --engine sparse";
const SUBMIT: &str = "submit run";
const ENCODE: &str = "encode run --input texts.txt";
const SPARSE: &str = "export run --format sparse";
const HF: &str = "export run --format hf";
const ONNX: &str = "export run --format onnx";
const WARM: &str = "train rte --no-tui --output-dir new --resume --model-ckpt warm.safetensors";
const QUERY: &str = "bert.encoder.layer.0.attention.self.query.weight";

/// `file`, a safetensors file, with the bytes of `values` at the element `place` of a tensor.
fn planted(mut file: Vec<u8>, tensor: &str, place: usize, values: &[u8]) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    let start = 8 + length + start + 4 * place;
    file[start..start + values.len()].copy_from_slice(values);
    file
}

fn with(tensor: &str, place: usize, value: f32) -> Vec<u8> {
    planted(weights::safetensors(|_| ()), tensor, place, &value.to_le_bytes())
}

/// A NaN in the second row of a matrix of four columns.
fn nan() -> Vec<u8> {
    with(QUERY, 6, f32::NAN)
}

/// The head's bias as four 16-bit numbers, the last of these bits.
fn half(dtype: &str, bits: u16) -> Vec<u8> {
    let file = weights::safetensors(|header| {
        header["classifier.bias"]["dtype"] = json!(dtype);
        header["classifier.bias"]["shape"] = json!([4]);
    });
    planted(file, "classifier.bias", 1, &[[0, 0], bits.to_le_bytes()].concat())
}

#[test]
fn weights_that_are_not_finite_are_refused_by_tensor_and_place() {
    let at = ": expected finite f32 numbers in tensor \
              bert.encoder.layer.0.attention.self.query.weight, found NaN at [1, 2] (hint: the \
              model diverged, or the file is damaged";
    for args in [PREDICT, EVALUATE, SUBMIT, ENCODE, SPARSE, HF, ONNX, TRAIN] {
        refuse(args, WEIGHTS, Made(nan), at);
    }
    refuse(WARM, "warm.safetensors", Planted(warm), at);
    let infinite = || with("classifier.weight", 7, f32::INFINITY);
    refuse(PREDICT, WEIGHTS, Made(infinite), "tensor classifier.weight, found inf at [1, 3] (");
    let bias = "tensor classifier.bias, found";
    for (make, found) in [
        ((|| half("F16", 0x7c00)) as fn() -> _, "inf at [3] ("),
        (|| half("BF16", 0xff80), "-inf at [3] ("),
        (|| half("BF16", 0x7fc1), "NaN at [3] ("),
    ] {
        refuse(PREDICT, WEIGHTS, Made(make), &format!("{bias} {found}"));
    }
    let inside = || planted(sparse(|_| ()), QUERY, 6, &f32::NAN.to_le_bytes());
    refuse(CONVERT, "model.sparse", Made(inside), at);
    refuse(
        "convert beyond.pt out/converted",
        "beyond.pt",
        Made(|| std::fs::read("tests/fixtures/torch/beyond_f32.pt").unwrap()),
        ": expected finite f32 numbers in tensor classifier.weight, found -inf at [1, 2] (",
    );
}

/// Finite weights with the largest numbers in the vector of one token.
fn huge(token: usize) -> Vec<u8> {
    let word = "bert.embeddings.word_embeddings.weight";
    planted(weights::safetensors(|_| ()), word, 4 * token, &3e38_f32.to_le_bytes().repeat(4))
}

/// The checkpoint of a warm start, with its configuration beside it.
fn warm(dir: &Dir, name: &str) {
    write_bytes(dir, name, &nan());
    dir.write("config.json", model::CONFIG_JSON);
}

#[test]
fn what_no_model_uses_may_be_anything() {
    let dir = folder();
    let file = weights::safetensors(|h| weights::rename(h, "classifier.bias", "cls.bias"));
    write_bytes(&dir, WEIGHTS, &planted(file, "cls.bias", 1, &f32::NAN.to_le_bytes()));
    dir.platon_ok(ENCODE);
}

#[test]
fn results_that_are_not_finite_are_refused_by_their_row() {
    // The mean of such a vector is infinite. Only the second text has `##s`, the ninth token.
    let row = || huge(8);
    let at = "texts.txt:2: expected";
    for args in [PREDICT, PREDICT_SPARSE] {
        let expected = format!("{at} finite logits, found NaN (hint: the model's");
        refuse(args, WEIGHTS, Made(row), &expected);
    }
    refuse(
        ENCODE,
        WEIGHTS,
        Made(row),
        &format!("{at} a vector of finite numbers, found NaN (hint"),
    );
    // All of them have `cat`, the seventh.
    let all = || huge(6);
    let sample = "a logit of sample 0 of rte_dev: expected a finite number, found NaN (hint: the";
    refuse(EVALUATE, WEIGHTS, Made(all), sample);
    refuse(SUBMIT, WEIGHTS, Made(all), "a logit of sample 0 of rte_test: expected a finite number");
    refuse(
        "train rte --no-tui --output-dir new --encode-mode",
        WEIGHTS,
        Made(all),
        "the vector of sample 0 of rte_dev: expected finite numbers, found NaN (hint: the model's",
    );
}
