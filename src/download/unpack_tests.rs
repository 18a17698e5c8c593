use std::io::Cursor;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

const WANTED: &[&str] = &["train.tsv", "dev.tsv", "test.tsv"];

fn options(method: CompressionMethod) -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(method)
}

fn pack(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        if name.ends_with('/') {
            zip.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, options(CompressionMethod::Deflated)).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

fn good() -> Vec<u8> {
    pack(&[
        ("CoLA/", b""),
        ("CoLA/train.tsv", b"train"),
        ("CoLA/dev.tsv", b"dev"),
        ("CoLA/test.tsv", b"test"),
    ])
}

fn run(dir: &TempDir, archive: &[u8], force: bool, limits: &Limits) -> Result<Unpacked> {
    let path = dir.path().join("a.zip");
    fs::write(&path, archive).unwrap();
    unpack(&path, WANTED, &dir.path().join("CoLA"), force, limits)
}

/// The error, after which no file may be there.
fn refused(archive: &[u8], limits: &Limits) -> String {
    let dir = tempfile::tempdir().unwrap();
    let message = run(&dir, archive, false, limits).unwrap_err().to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("a.zip: expected "), "{message}");
    assert!(message.contains("(hint: "), "{message}");
    let left = fs::read_dir(dir.path().join("CoLA")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{message}");
    assert!(!dir.path().join("evil").exists() && !dir.path().with_file_name("evil").exists());
    message
}

fn contents(dir: &TempDir) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(dir.path().join("CoLA"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_wanted_files_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let unpacked = run(&dir, &good(), false, &Limits::default()).unwrap();
    assert_eq!(unpacked.written.len(), 3);
    assert!(unpacked.kept.is_empty() && unpacked.missing.is_empty());
    let expected = [("dev.tsv", "dev"), ("test.tsv", "test"), ("train.tsv", "train")];
    assert_eq!(contents(&dir), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn folders_of_other_names_and_extras_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let archive = pack(&[
        ("__MACOSX/QQP/._train.tsv", b"attributes"),
        ("__MACOSX/train.tsv", b"attributes"),
        ("QQP-clean/original/train.tsv", b"the raw one"),
        ("QQP-clean/train.tsv", b"train"),
        ("QQP-clean/dev.tsv", b"dev"),
        ("QQP-clean/Icon\r", b""),
    ]);
    let unpacked = run(&dir, &archive, false, &Limits::default()).unwrap();
    assert_eq!(unpacked.missing, ["test.tsv"]);
    let expected = [("dev.tsv", "dev"), ("train.tsv", "train")];
    assert_eq!(contents(&dir), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn files_that_are_there_are_left_alone_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("CoLA")).unwrap();
    fs::write(dir.path().join("CoLA/dev.tsv"), "mine").unwrap();
    let unpacked = run(&dir, &good(), false, &Limits::default()).unwrap();
    assert_eq!(unpacked.kept, [dir.path().join("CoLA/dev.tsv")]);
    assert_eq!(contents(&dir)[0].1, "mine");
    run(&dir, &good(), true, &Limits::default()).unwrap();
    assert_eq!(contents(&dir)[0].1, "dev");
}

#[test]
fn a_missing_train_or_dev_file_is_an_error() {
    let archive = pack(&[("CoLA/dev.tsv", b"dev"), ("CoLA/readme", b"")]);
    let message = refused(&archive, &Limits::default());
    assert!(message.contains("expected a file train.tsv, found CoLA/dev.tsv, CoLA/readme"));
    assert!(refused(&pack(&[]), &Limits::default()).contains("found nothing"));
    let archive = pack(&[("a/train.tsv", b"a"), ("b/train.tsv", b"b"), ("b/dev.tsv", b"b")]);
    let message = refused(&archive, &Limits::default());
    assert!(message.contains("expected one train.tsv, found 'a/train.tsv' and 'b/train.tsv'"));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../evil", "CoLA/../../evil", "/evil", "\\evil", "..\\evil", "C:evil", "C:/evil"] {
        let mut entries: Vec<(&str, &[u8])> =
            vec![("CoLA/train.tsv", b"t"), ("CoLA/dev.tsv", b"d")];
        // Put in afterwards, as the writer need not take such names.
        let placeholder = "x".repeat(name.len());
        entries.push((&placeholder, b"evil"));
        let archive = replace(pack(&entries), placeholder.as_bytes(), name.as_bytes());
        let message = refused(&archive, &Limits::default());
        assert!(message.contains("names of files inside a folder"), "{name}: {message}");
    }
}

#[test]
fn links_are_refused() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_symlink("CoLA/train.tsv", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.start_file("CoLA/dev.tsv", SimpleFileOptions::default()).unwrap();
    let message = refused(&zip.finish().unwrap().into_inner(), &Limits::default());
    assert!(message.contains("a file 'CoLA/train.tsv', found a symbolic link"), "{message}");
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 3 << 20];
    let archive = pack(&[("train.tsv", &zeros), ("dev.tsv", b"dev")]);
    assert!(archive.len() < 10_000);
    let message = refused(&archive, &Limits::default());
    assert!(message.contains("expected at most 100 times the packed"), "{message}");
    assert!(message.contains("found 3145728 bytes in 'train.tsv'"), "{message}");
    let limits = Limits { entry_bytes: 1000, ..Limits::default() };
    assert!(refused(&archive, &limits).contains("at most 1000 bytes in a file"));
    let archive = pack(&[("train.tsv", &[1; 800]), ("dev.tsv", &[2; 800])]);
    let limits = Limits { total_bytes: 1500, ..limits };
    assert!(refused(&archive, &limits).contains("at most 1500 bytes in all"));
}

#[test]
fn more_than_the_archive_says_is_refused() {
    let content = vec![b'x'; 7777];
    let archive = pack(&[("train.tsv", &content), ("dev.tsv", b"dev")]);
    let size = |bytes: u32| bytes.to_le_bytes();
    for claimed in [100, 9999] {
        let lie = replace(archive.clone(), &size(7777), &size(claimed));
        assert_ne!(lie, archive);
        refused(&lie, &Limits::default());
    }
}

#[test]
fn broken_archives_are_refused() {
    let archive = good();
    for bytes in [0, 10, archive.len() / 2, archive.len() - 1] {
        let message = refused(&archive[..bytes], &Limits::default());
        assert!(message.contains("expected a zip archive"), "{message}");
        assert!(message.contains("a.zip and run again)"), "{message}");
    }
    refused(b"<html>no such page</html>", &Limits::default());

    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["train.tsv", "dev.tsv"] {
        zip.start_file(name, options(CompressionMethod::Stored)).unwrap();
        zip.write_all(b"some content").unwrap();
    }
    let archive = zip.finish().unwrap().into_inner();
    let message = refused(&replace(archive, b"some content", b"same content"), &Limits::default());
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn a_file_is_not_put_in_the_place_of_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("CoLA/train.tsv")).unwrap();
    let message = run(&dir, &good(), false, &Limits::default()).unwrap_err().to_string();
    assert!(message.contains("CoLA/train.tsv: cannot write"), "{message}");
    assert_eq!(fs::read_dir(dir.path().join("CoLA")).unwrap().count(), 1);
}

/// Replaces every occurrence by something of the same length.
fn replace(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut at = 0;
    while at + from.len() <= bytes.len() {
        if &bytes[at..at + from.len()] == from {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        at += 1;
    }
    bytes
}

#[test]
fn the_same_name_twice_is_refused() {
    let mut archive =
        pack(&[("CoLA/train.tsv", b"a"), ("DoLA/train.tsv", b"b"), ("CoLA/dev.tsv", b"")]);
    while let Some(at) = archive.windows(4).position(|part| part == b"DoLA") {
        archive[at] = b'C';
    }
    let text = refused(&archive, &Limits::default());
    assert!(text.contains("found invalid Zip archive: 'CoLA/train.tsv' occurs twice"), "{text}");
}
