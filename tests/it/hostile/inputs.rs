//! Hostile inputs of `predict` and `encode`, test files of `submit`, and places to write to.

use super::raw::RTE;
use super::{
    Bytes, Edit, Made, PREDICT, Planted, TEST_TSV, TRAIN, TRAIN_TSV, Text, folder_instead,
    loop_instead, refuse, refuses,
};

#[test]
fn inputs_and_outputs() {
    refuses(
        PREDICT,
        "texts.txt",
        &[
            (
                Bytes(b"cat\tcat\n\x7fELF\xff\x00\x01"),
                ":2: expected UTF-8 text, found the byte 0xff",
            ),
            (
                Text("a\tb\tc\n"),
                ":1: expected two texts with a tab between them for rte, found 3 fields",
            ),
            (
                Made(|| b"a\tb\n".repeat(2000).into_iter().chain(*b"\t\t").collect()),
                ":2001: expected two texts with a tab between them for rte, found 3 fields",
            ),
            (
                Made(|| vec![b'\t'; 10_000_000]),
                ":1: expected a line of at most 1048576 bytes, found more",
            ),
            (Planted(folder_instead), ": cannot read: Is a directory"),
            (Planted(loop_instead), ": cannot read: Too many levels of symbolic links"),
        ],
    );
    refuse(
        "encode run --input texts.txt",
        "texts.txt",
        Bytes(b"\xfe\n"),
        ":1: expected UTF-8 text, found the byte 0xfe",
    );
    refuse(
        "encode run --input texts.txt --output new.safetensors",
        "texts.txt",
        Bytes(b"cat\n\xfe\n"),
        ":2: expected UTF-8 text, found the byte 0xfe",
    );
    refuse(
        "encode run --input texts.txt --output taken",
        "taken",
        Text("mine"),
        "output: expected a new file, found taken (hint: name another one, or remove \
         this one)",
    );
    refuse(
        "encode run --input texts.txt --output taken/new",
        "taken",
        Text("mine"),
        ": cannot create: File exists",
    );
    refuse(
        "export run --format sparse --output taken",
        "taken",
        Text("mine"),
        "output: expected a new file, found taken",
    );
    refuse(
        "export run --format sparse --output taken/new",
        "taken",
        Text("mine"),
        ": cannot create: File exists",
    );
    refuse(
        "export run --format hf --output taken",
        "taken",
        Text("mine"),
        ": cannot create: File exists",
    );
    refuse(
        "export run --format onnx --output taken",
        "taken",
        Text("mine"),
        ": cannot create: File exists",
    );
    refuse(
        "export run --format onnx --output taken",
        "taken/mine",
        Text("mine"),
        "taken: expected a new or empty folder, found files in it (hint: name another folder, \
         or remove this one)",
    );
    refuse(
        "convert run/model/model.safetensors taken/new",
        "taken",
        Text("mine"),
        "taken/new: cannot create: Not a directory",
    );
    refuse(
        "convert run/model/model.safetensors taken",
        "taken/mine",
        Text("mine"),
        "taken: expected a new or empty folder, found files in it (hint: name another folder, \
         or remove this one)",
    );
    refuse("train rte --no-tui --output-dir taken", "taken", Text("mine"), ": cannot create");
    refuse(
        "train rte --no-tui --output-dir taken/new",
        "taken",
        Text("mine"),
        "taken/new: cannot create: Not a directory",
    );
    refuse(
        "train rte --no-tui --output-dir taken",
        "taken/mine",
        Text("mine"),
        "output-dir: expected a new or empty folder, found taken",
    );
    refuse(
        "train rte --no-tui",
        "checkpoints",
        Text("mine"),
        "checkpoints/runs: cannot create: Not a directory",
    );
    refuses(
        "submit run",
        TEST_TSV,
        &[
            (
                Text("head\n0\ta\tb\n"),
                "RTE.tsv:2: expected 3000 rows, found 1 rows, none with index 1 (hint: were the \
                 predictions made for another split?)",
            ),
            (Edit("2\tthe", "two\tthe"), "RTE.tsv:4: expected"),
            (Text("head\n0\ta\n"), ":2: expected at least 3 fields, found 2 fields"),
        ],
    );
    refuse("submit run --output taken", TEST_TSV, Edit("2\tthe", "5\tthe"), "RTE.tsv:4: expected");
    refuse(
        "submit run run/../run",
        TEST_TSV,
        Text("head\n0\ta\tb\n"),
        "RUN: expected one run per task, found run, run/../run",
    );
    refuse(
        "submit texts.txt",
        "texts.txt",
        Text("x"),
        "texts.txt: expected a safetensors file, found",
    );
    refuse(
        "evaluate texts.txt",
        "texts.txt",
        Text("x"),
        "texts.txt: expected a safetensors file, found",
    );
    refuse(
        "evaluate new",
        "texts.txt",
        Text("x"),
        "new/config.json: cannot read: No such file or directory",
    );
    refuse(
        "predict texts.txt --input texts.txt",
        "texts.txt",
        Text("x"),
        ": expected a safetensors file, found",
    );
    refuse(
        "predict glue-data --input texts.txt --tokenizer texts.txt",
        "texts.txt",
        Text("x"),
        "glue-data/config.json: cannot read: No such file or directory",
    );
    refuse(
        "predict run --input texts.txt --tokenizer texts.txt",
        "texts.txt",
        Text("x"),
        ": expected tokenizer.json or vocab.txt, found neither (hint: name the folder \
         that holds the tokenizer with --tokenizer)",
    );
    refuse(
        "train rte --no-tui --output-dir new --resume --model-ckpt bad",
        "bad/config.json",
        Text("{}"),
        ": expected a configuration of bert, found missing field `vocab_size`",
    );
    refuse(
        "train rte --no-tui --output-dir new --with-label",
        "glue-data/canonical_data/model/rte_test_labeled.json",
        Text("{\"uid\":"),
        ":1: expected a JSON sample, found EOF while parsing",
    );
    refuse(
        RTE,
        "glue-data/canonical_data/model/rte_train.json",
        Planted(folder_instead),
        ": cannot write: Is a directory",
    );
    refuse(
        "predict glue-data --input texts.txt",
        "texts.txt",
        Text("x"),
        "glue-data/config.json: cannot read: No such file or directory",
    );
}

/// The superuser may read everything.
#[test]
fn files_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = super::folder();
    for (args, file) in [
        (RTE, TRAIN_TSV),
        (PREDICT, super::CONFIG),
        (PREDICT, super::WEIGHTS),
        (PREDICT, super::VOCAB),
        (PREDICT, "texts.txt"),
        (TRAIN, super::RECIPE),
    ] {
        let path = dir.path(file);
        let set = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o000);
        if std::fs::File::open(&path).is_ok() {
            println!("skipped: permissions do not hold for this user");
            return;
        }
        let line = dir.platon_refuses(args);
        assert!(line.contains(&format!("{file}: cannot read: Permission denied")), "{line}");
        set(0o644);
    }
}
