//! The fuzz targets over their corpus: what a fuzzer once found stays mended without one.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Runs a target over all files of its corpus.
fn holds(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        let data = fs::read(&file).unwrap();
        count += 1;
        if catch_unwind(|| check(&data)).is_err() {
            failed.push(file);
        }
    }
    assert!(count >= 10, "{} has {count} files", folder.display());
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn tsv() {
    holds("tsv", fuzz::tsv);
}

#[test]
fn jsonl() {
    holds("jsonl", fuzz::jsonl);
}

#[test]
fn sparse() {
    holds("sparse", fuzz::sparse);
}

#[test]
fn manifest() {
    holds("manifest", fuzz::manifest);
}

#[test]
fn pickle() {
    holds("pickle", fuzz::pickle);
}
