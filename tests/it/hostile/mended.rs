//! What an attack on the program found, and what happened before it was mended.

use serde_json::{Value, json};

use super::exchanged::CONVERT;
use super::raw::{RTE, long};
use super::settings::add;
use super::weights::{cut_off, rename};
use super::*;

const ENCODED: &str = "train rte --no-tui --output-dir new --data-dir enc";
const SCRATCH: &str = "train rte --no-tui --output-dir new --from-scratch";
const SPARSE: &str = "model.sparse";
const HUGE: Content = Edit(
    "\"vocab_size\": 10, \"hidden_size\": 4",
    "\"vocab_size\": 1000000, \"hidden_size\": 1000",
);

/// 2^`times` letters for each one.
fn doubling(tokenizer: &mut Value, times: usize) {
    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    tokenizer["normalizer"] = json!({"type": "Sequence", "normalizers": vec![double; times]});
}

/// The token `cat` under another id, at the end.
fn cat(tokenizer: &mut Value, id: u32) {
    tokenizer["model"]["vocab"].as_object_mut().unwrap().shift_remove("cat");
    tokenizer["model"]["vocab"]["cat"] = json!(id);
}

const MENDED: &[(&str, &str, Content, &str)] = &[
    // A sparse file's texts become files of their names, wherever those lead.
    // Once: exit code 0, and a file out/evil, beside the new folder.
    (
        CONVERT,
        SPARSE,
        Sparse(|h| h["__metadata__"]["../evil"] = json!("x")),
        ": expected a tokenizer's file, found \"../evil\"",
    ),
    // Once: exit code 0, and the weights are the text.
    (
        CONVERT,
        SPARSE,
        Sparse(|h| h["__metadata__"]["model.safetensors"] = json!("x")),
        ": expected a tokenizer's file, found \"model.safetensors\"",
    ),
    // Once: a NUL in the line of error, and half a folder.
    (
        CONVERT,
        SPARSE,
        Sparse(|h| h["__metadata__"]["a\0b"] = json!("x")),
        ": expected a tokenizer's file, found \"a\\0b\"",
    ),
    // Once: exit code 0, and a folder that no program loads.
    (
        CONVERT,
        SPARSE,
        Sparse(|h| rename(h, "bert.encoder.layer.0.output.dense.bias", "bert.x")),
        ": expected a tensor bert.encoder.layer.0.output.dense.bias, found none of that name",
    ),
    // Once: 4 GB and 25 s to draw a model of 10^9 parameters; then this line.
    (PREDICT, CONFIG, HUGE, "word_embeddings.weight of shape [1000000, 1000], found shape [10, 4]"),
    (TRAIN, CONFIG, HUGE, "word_embeddings.weight of shape [1000000, 1000], found shape [10, 4]"),
    // Once: internal error: chunk_size must not be zero.
    (
        PREDICT,
        WEIGHTS,
        Made(|| cut_off(json!([0, 4]))),
        ": expected tensor classifier.weight of shape [outputs, 4], found shape [0, 4]",
    ),
    // Once: internal error: capacity overflow. With 4000000000 for 2^62, 64 GB are asked for, and
    // the program is aborted.
    (
        PREDICT,
        WEIGHTS,
        Made(|| cut_off(json!([1_u64 << 62, 0]))),
        ": expected tensor classifier.weight of shape [outputs, 4], found shape [",
    ),
    // Once: the control character reaches the terminal.
    (
        PREDICT,
        WEIGHTS,
        Weights(|h| {
            rename(h, "classifier.bias", "classifier.\u{1b}[2J");
            h["classifier.\u{1b}[2J"]["dtype"] = json!("I32");
        }),
        ": expected tensor classifier.?[2J of type F32, F16 or BF16, found I32",
    ),
    // Once: exit code 0, and NaN for every probability.
    (
        PREDICT,
        CONFIG,
        Edit("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1"),
        ": expected layer_norm_eps of at least 0, found -1",
    ),
    // Once: exit code 0.
    (
        SCRATCH,
        CONFIG,
        Edit("\"initializer_range\": 0.02", "\"initializer_range\": -1"),
        ": expected initializer_range from 0 to 1, found -1",
    ),
    // Once: after the first update, `the training diverged`.
    (
        SCRATCH,
        CONFIG,
        Edit("\"initializer_range\": 0.02", "\"initializer_range\": 1e300"),
        ": expected initializer_range from 0 to 1, found 1e300",
    ),
    // Once: exit code 0, and a table with torn lines.
    (
        PREDICT,
        CONFIG,
        Edit("\"0\": \"not_entailment\"", "\"0\": \"a\\nb\\tc\\u001b[2J\""),
        ": expected labels of one line, found \"a\\nb\\tc\\u{1b}[2J\"",
    ),
    // Once: internal error of `tokenizers`: no entry found for key.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| t["post_processor"]["special_tokens"] = json!({})),
        ": expected special_tokens with [CLS]",
    ),
    // Once: internal error of `tokenizers`: Cannot parse precompiled_charsmap.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| {
            t["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
        }),
        ": expected a precompiled_charsmap of SentencePiece, found 3 bytes, cut short",
    ),
    // Once: internal error of `tokenizers`: chunk size must be non-zero.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| t["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0})),
        ": expected a pre_tokenizer of BERT or RoBERTa, found \"FixedLength\"",
    ),
    // Once: exit code 0 after a second; with 24 steps, more than 20 s and 9 GB.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| doubling(t, 20)),
        ": expected at most 16 in normalizer, found 20",
    ),
    // Once: internal error: range end index 4 out of range for slice of length 0.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| cat(t, 10)),
        "run/model: expected at most 10 tokens, as the model has embeddings, found 11",
    ),
    // Once: 79 MB of the library's text on stdout, then an internal error; with 4000000000, more
    // than 20 s and 8 GB.
    (
        "encode run --input texts.txt",
        TOKENIZER,
        Tokenizer(|t| cat(t, 10_000_000)),
        ": expected an id from 0 to 1048575 of \"cat\", found 10000000",
    ),
    // Once: found while the data is prepared, in enc/rte_train.json.
    (
        TRAIN,
        TOKENIZER,
        Tokenizer(|t| cat(t, 10)),
        "run/model: expected at most 10 tokens, as the model has embeddings, found 11",
    ),
    // Once: internal error: range start index 396 out of range for slice of length 40.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| {
            let evil = json!({"id": "[X]", "ids": [99], "tokens": ["[X]"]});
            t["post_processor"]["special_tokens"]["[X]"] = evil;
            t["post_processor"]["pair"][2]["SpecialToken"]["id"] = json!("[X]");
        }),
        ": expected [CLS], [SEP] and [SEP] around two texts",
    ),
    // Once: `max_tokens: expected at least 100 for the marks, found 16`, which names no file.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| {
            let mark = t["post_processor"]["pair"][0].clone();
            let marks = t["post_processor"]["pair"].as_array_mut().unwrap();
            marks.extend(vec![mark; 97]);
        }),
        ": expected [CLS], [SEP] and [SEP] around two texts",
    ),
    // Once: internal errors of `tokenizers`.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| t["post_processor"]["single"][1]["Sequence"]["id"] = json!("B")),
        ": expected only sequence A in single, found B",
    ),
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| {
            let one = t["post_processor"].clone();
            t["post_processor"] = json!({"type": "Sequence", "processors": [one.clone(), one]});
        }),
        ": expected a post_processor of BERT or RoBERTa, found Some(\"Sequence\")",
    ),
    // Once: exit code 0 until a text has an unknown word.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| t["model"]["unk_token"] = json!("[NO]")),
        ": expected the token [NO] in the vocabulary, found none",
    ),
    // Once: more than 20 s: the library's time grows with the square of their number.
    (
        PREDICT,
        TOKENIZER,
        Tokenizer(|t| {
            let token = |n: usize| {
                json!({"id": 10 + n, "content": format!("x{n}"), "single_word": true,
                    "lstrip": true, "rstrip": true, "normalized": true, "special": false})
            };
            t["added_tokens"] = (0..100_000).map(token).collect();
        }),
        ": expected at most 10000 added_tokens, found 100000",
    ),
    // Once: exit code 0, and a config.toml that cannot be read again.
    (TRAIN, RECIPE, add!("log_file = \"config.toml\""), "log_file: expected a name of its own"),
    // Once: exit code 0; two programs' lines in one file.
    (TRAIN, RECIPE, add!("log_file = \"metrics.jsonl\""), "log_file: expected a name of its own"),
    // Once: exit code 0, and no log.
    (TRAIN, RECIPE, add!("log_file = \"report.json\""), "log_file: expected a name of its own"),
    // Once: fails when the training has ended: `new/model: cannot create: File exists`.
    (TRAIN, RECIPE, add!("log_file = \"model\""), "log_file: expected a name of its own"),
    // Once: fails at the first checkpoint, as `Recorder error: Unknown("Not a directory")`.
    (TRAIN, RECIPE, add!("log_file = \"checkpoint\""), "log_file: expected a name of its own"),
    // Once: fails with `new/log.log: cannot create: Is a directory`, and leaves that folder.
    (
        TRAIN,
        RECIPE,
        add!("tensorboard = true\ntensorboard_logdir = \"log.log\""),
        "tensorboard_logdir: expected a name of its own",
    ),
    // Once: exit code 0, and event files among those of the model.
    (
        TRAIN,
        RECIPE,
        add!("tensorboard = true\ntensorboard_logdir = \"model\""),
        "tensorboard_logdir: expected a name of its own",
    ),
    // Once: a NUL in the line of error.
    (TRAIN, RECIPE, add!("log_file = \"a\\u0000b\""), "log_file: expected a name inside"),
    // Once: exit code 0, and a file whose name has a line end.
    (TRAIN, RECIPE, add!("log_file = \"a\\nb\\u001b[2J\""), "log_file: expected a name inside"),
    // Once: the control character reaches the terminal.
    (
        TRAIN,
        RECIPE,
        Edit("task = \"rte\"", "task = \"\\u001b[2J\""),
        "task: expected one of cola, .. found ?[2J",
    ),
    // Once: a line of error of 1 MB.
    (
        TRAIN,
        RECIPE,
        Made(|| [b"task = \"", &long("", 1_000_000)[..], b"\""].concat()),
        "task: expected one of cola, .. found aaaaaaaa",
    ),
    // Once: a line of error of 1 MB.
    (
        TRAIN,
        RECIPE,
        Made(|| [&long("", 1_000_000)[..], b" = 1"].concat()),
        ": expected a known setting, found \"aaaaaaaa",
    ),
    // Once: a line of error of 10 MB.
    (
        RTE,
        TRAIN_TSV,
        Made(|| long("head\n0\ta\tb\t", 10_000_000)),
        ":2: expected a line of at most 1048576 bytes, found more",
    ),
    // Once: a line of error of 1 MB.
    (
        ENCODED,
        "enc/rte_train.json",
        Made(|| [&long("{\"token_id\": \"", 1_000_000)[..], b"\"}\n"].concat()),
        ":1: expected a JSON sample, found invalid type: string \"aaaaaaaa",
    ),
    // Once: taken for a sample; what is refused is the dev set's absence.
    (
        ENCODED,
        "enc/rte_train.json",
        Text("[\"0\", 1, [2, 5, 3], [0, 0, 0], [1, 1, 1]]\n"),
        ":1: expected a JSON sample, found invalid type: sequence",
    ),
    // Once: 10 s and 2.8 GB (4.8 GB with 10^7 full stops), then a row.
    (
        PREDICT,
        "texts.txt",
        Made(|| b"a ".repeat(5_000_000)),
        ":1: expected a line of at most 1048576 bytes",
    ),
    // Once: `warmup_steps: expected initial_warmup * warmup_steps below the run's 0 updates`.
    (TRAIN, TRAIN_TSV, Text(""), ": expected at least one row, found none"),
    // Once: `No such file or directory`.
    (RTE, TRAIN_TSV, Planted(folder_instead), ": cannot read: Is a directory"),
    // Once: `No such file or directory`.
    (RTE, TRAIN_TSV, Planted(loop_instead), ": cannot read: Too many levels of symbolic links"),
    // Once: exit code 0: `left out, there is no glue-data/RTE/test.tsv`.
    (RTE, TEST_TSV, Planted(folder_instead), ": cannot read: Is a directory"),
    // Once: exit code 0: `ax_test: 0 samples prepared`.
    (
        "prepare ax --tokenizer run/model",
        "glue-data/canonical_data/ax_test.tsv",
        Text(""),
        ": expected at least one row, found none",
    ),
];

#[test]
fn what_an_attack_found_is_mended() {
    let mut all = String::new();
    for (row, (args, file, content, expected)) in MENDED.iter().enumerate() {
        for fault in faults(args, file, content, expected) {
            all += &format!("\nplaton {args}, {file}, row {row}: {fault}");
        }
    }
    assert!(all.is_empty(), "{all}");
}

#[test]
fn names_of_tensors_that_are_left_out_do_not_move_the_cursor() {
    let dir = folder();
    let hostile = |h: &mut Value| rename(h, "classifier.bias", "other.\u{1b}[2J\nbias");
    write_bytes(&dir, WEIGHTS, &weights::safetensors(hostile));
    // Once: the control characters reached the terminal.
    let stderr = dir.platon_ok("convert run/model converted").stderr;
    assert!(stderr.contains("tensors left out: other.?[2J bias"), "{stderr}");
}
