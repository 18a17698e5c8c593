//! Inputs that are longer than what is computed at a time, through files, pipes and terminals.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::crash::signal;
use crate::dir::Dir;
use crate::fixtures::read;

/// Rows that are read at a time.
const WINDOW: usize = 1024;

/// So many pairs, of some different lengths.
fn pairs(count: usize) -> String {
    (0..count).map(|n| format!("a cat {}\ta dog\n", "sleeps ".repeat(n * 7 % 31))).collect()
}

fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All names in the folder.
fn names(dir: &Dir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path(".")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Whether the last line of `text` says how many rows there were and how fast.
fn tells_the_pace(text: &str, rows: usize) -> bool {
    let line = text.lines().last().unwrap_or_default();
    line.starts_with(&format!("{rows} rows in ")) && line.ends_with(" rows/s")
}

#[test]
fn answers_come_in_the_order_of_the_input_from_window_to_window() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let count = 2 * WINDOW + 100;
    dir.write("pairs.tsv", &pairs(count)).write("few.tsv", &pairs(31));
    let few = json_lines(&dir.platon_ok("predict run --input few.tsv --json").stdout);
    let logits = |row: &serde_json::Value| row["logits"][0].as_f64().unwrap();
    assert!(few.iter().skip(1).any(|row| (logits(row) - logits(&few[0])).abs() > 1e-3));
    let ended = dir.platon_ok("predict run --input pairs.tsv --json");
    assert!(tells_the_pace(&ended.stderr, count), "{}", ended.stderr);
    let all = json_lines(&ended.stdout);
    assert_eq!(all.len(), count);
    for (n, row) in all.iter().enumerate() {
        assert_eq!(row["index"], n.to_string());
        // Batches of other rows change the last digits.
        let expected = logits(&few[n % 31]);
        assert!((logits(row) - expected).abs() < 1e-5, "row {n}: {row}, not {expected}");
    }
    let table = dir.platon_ok("predict run --input pairs.tsv").stdout;
    assert_eq!(table.lines().filter(|line| line.starts_with("index")).count(), 1);
    assert_eq!(table.lines().count(), count + 1);
}

#[test]
fn a_file_of_vectors_holds_what_is_printed_bit_for_bit() {
    let dir = Dir::with_finished_run("--max-steps 2");
    dir.write("pairs.tsv", &pairs(WINDOW + 10));
    let printed = json_lines(&dir.platon_ok("encode run --input pairs.tsv").stdout);
    let ended = dir.platon_ok("encode run --input pairs.tsv --output new/vectors.safetensors");
    let said = format!("new/vectors.safetensors: {} vectors\n", WINDOW + 10);
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert!(tells_the_pace(&ended.stderr, WINDOW + 10), "{}", ended.stderr);
    let (tensors, metadata) = read(&dir.path("new/vectors.safetensors"));
    let stored = &tensors["vectors"];
    assert_eq!(
        (stored.shape.as_slice(), printed.len()),
        ([WINDOW + 10, 64].as_slice(), WINDOW + 10)
    );
    assert_eq!(metadata["pooling"], "first");
    for (n, row) in printed.iter().enumerate() {
        let values: Vec<f64> = row["vector"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .map(f64::from)
            .collect();
        assert!(values == stored.row(n), "row {n}");
    }
}

#[test]
fn a_late_error_leaves_the_rows_before_it_and_no_part_of_a_file() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let wrong = pairs(2 * WINDOW + 5) + "a\tb\tc\n" + &pairs(9);
    let before = names(dir.write("pairs.tsv", &wrong));
    let expected = format!("pairs.tsv:{}: expected ", 2 * WINDOW + 6);
    let ended = dir.platon("predict run --input pairs.tsv --json");
    assert_eq!((ended.code, ended.stdout.lines().count()), (1, 2 * WINDOW));
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    let line = dir.platon_refuses("encode run --input pairs.tsv --output vectors.safetensors");
    assert!(line.contains(&expected), "{line}");
    assert_eq!(names(&dir), before);
}

#[test]
fn an_input_that_cannot_be_read_is_refused_before_anything_is_printed() {
    let dir = Dir::with_finished_run("--max-steps 2");
    dir.write("texts/a.txt", "a\tb\n").write("wrong.tsv", "a\n");
    for (input, expected) in [
        ("nowhere.tsv", "nowhere.tsv: cannot read"),
        ("texts", "texts: cannot read: Is a directory"),
        ("wrong.tsv", "wrong.tsv:1: expected two texts"),
    ] {
        let ended = dir.platon(&format!("predict run --input {input}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{input}");
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| !line.starts_with("engine: "));
        assert_eq!(lines.count(), 1, "{}", ended.stderr);
    }
    let empty = dir.platon_with_input("predict run --input -", "");
    assert_eq!(empty.stdout.lines().count(), 1, "the header: {}", empty.stdout);
}

#[test]
fn answers_come_while_a_pipe_is_still_open() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
    command.args(["predict", "run", "--input", "-", "--json"]).current_dir(dir.path("."));
    let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut rows = program.stdin.take().unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        rows.write_all(pairs(WINDOW).as_bytes()).unwrap();
        // A program that waited for more would wait for ever, and so would this.
        assert_eq!(answers.by_ref().take(WINDOW).map(Result::unwrap).count(), WINDOW);
    }
    // Who reads the answers goes first.
    drop(answers);
    rows.write_all(pairs(WINDOW).as_bytes()).unwrap();
    assert!(program.wait().unwrap().success());
}

#[test]
fn ctrl_c_ends_the_encoding_at_once_and_leaves_no_part_of_a_file() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let before = names(&dir);
    let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
    command.args("encode run --input - --output vectors.safetensors".split(' '));
    command.current_dir(dir.path(".")).stdin(Stdio::piped());
    crate::dir::with_signals(&mut command, &[]);
    let mut program = command.spawn().unwrap();
    let mut rows = program.stdin.take().unwrap();
    // More than a pipe holds: some have been read then.
    for _ in 0..4 {
        rows.write_all(pairs(WINDOW).as_bytes()).unwrap();
    }
    let started = Instant::now();
    signal(&program, "-INT");
    let status = program.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGINT));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(names(&dir), before);
}

#[test]
fn an_evaluation_tells_its_rows_and_their_pace() {
    let dir = Dir::with_finished_run("--max-steps 2");
    let ended = dir.platon_ok("evaluate run --json");
    let row = &json_lines(&ended.stdout)[0];
    let number = |key: &str| row[key].as_f64().unwrap();
    assert_eq!(row["rows"], 48);
    assert!((number("rows_per_second") * number("seconds") - 48.0).abs() < 1e-6, "{row}");
    let line = ended.stderr.lines().last().unwrap();
    assert!(line.starts_with("demo_dev: 48 rows in ") && line.ends_with(" rows/s"), "{line}");
}
