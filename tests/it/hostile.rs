//! Hostile files: every one is refused with one line of error, at once, and leaves nothing behind.
//!
//! A table per kind of file. Each row plants one file in a folder where everything else is in
//! order, runs a command, and says what its line of error must tell.

mod encoded;
mod exchanged;
mod finite;
mod inputs;
mod mended;
mod model;
mod raw;
mod settings;
mod tokenizer;
mod weights;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Duration;

use serde_json::Value;

use crate::dir::{Dir, Ended};

#[cfg(feature = "ndarray")]
const BACKEND: &str = "ndarray";
#[cfg(not(feature = "ndarray"))]
const BACKEND: &str = "flex";

/// No refusal takes longer.
const AT_MOST: Duration = Duration::from_secs(20);
/// The longest line of error, in bytes: one names all settings.
const LONGEST_LINE: usize = 1500;
/// The most that a command may have printed before it refuses, in bytes.
const LONGEST_OUTPUT: usize = 100_000;

const TRAIN: &str = "train rte --no-tui --output-dir new";
const PREDICT: &str = "predict run --input texts.txt";
const EVALUATE: &str = "evaluate run";

const CONFIG: &str = "run/model/config.json";
const WEIGHTS: &str = "run/model/model.safetensors";
const TOKENIZER: &str = "run/model/tokenizer.json";
const VOCAB: &str = "run/model/vocab.txt";
const RECIPE: &str = "recipes/rte.toml";
const TRAIN_TSV: &str = "glue-data/RTE/train.tsv";
const TEST_TSV: &str = "glue-data/RTE/test.tsv";

/// What to plant in the place of a file.
enum Content {
    Text(&'static str),
    Bytes(&'static [u8]),
    Made(fn() -> Vec<u8>),
    /// The file that is there, with the first text replaced by the second.
    Edit(&'static str, &'static str),
    /// The right `tokenizer.json`, changed.
    Tokenizer(fn(&mut Value)),
    /// A model's weights with the right header, changed.
    Weights(fn(&mut Value)),
    /// A sparse file with the right header, changed.
    Sparse(fn(&mut Value)),
    /// Whatever needs more than a file's content; gets the folder and the file's name.
    Planted(fn(&Dir, &str)),
}

use Content::{Bytes, Edit, Made, Planted, Sparse, Text, Tokenizer, Weights};

impl Content {
    fn plant(&self, dir: &Dir, name: &str) {
        match self {
            Text(text) => write_bytes(dir, name, text.as_bytes()),
            Bytes(bytes) => write_bytes(dir, name, bytes),
            Made(make) => write_bytes(dir, name, &make()),
            Edit(from, to) => {
                let text = dir.read(name);
                assert!(text.contains(from), "{name} has no {from}");
                dir.write(name, &text.replacen(from, to, 1));
            }
            Tokenizer(change) => write_bytes(dir, name, &tokenizer::tokenizer_json(change)),
            Weights(change) => write_bytes(dir, name, &weights::safetensors(change)),
            Sparse(change) => write_bytes(dir, name, &exchanged::sparse(change)),
            Planted(plant) => plant(dir, name),
        }
    }
}

fn write_bytes(dir: &Dir, name: &str, content: &[u8]) {
    let path = dir.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn remove(dir: &Dir, name: &str) {
    std::fs::remove_file(dir.path(name)).unwrap();
}

/// A folder in the place of a file.
fn folder_instead(dir: &Dir, name: &str) {
    let _ = std::fs::remove_file(dir.path(name));
    std::fs::create_dir_all(dir.path(name)).unwrap();
}

/// A link to itself in the place of a file.
fn loop_instead(dir: &Dir, name: &str) {
    remove(dir, name);
    std::os::unix::fs::symlink(dir.path(name), dir.path(name)).unwrap();
}

/// A folder with a recipe, raw data of RTE and a finished run, all of the smallest.
pub fn folder() -> Dir {
    let dir = Dir::new();
    let rows = |n: usize, label: &str| -> String {
        (0..n).map(|n| format!("{n}\tthe cat {n}\ta sofa{label}\n")).collect()
    };
    let head = "index\tsentence1\tsentence2\tlabel\n";
    for (name, n) in [("train", 8), ("dev", 4)] {
        let text = format!("{head}{}", rows(n, "\tentailment"));
        dir.write(&format!("glue-data/RTE/{name}.tsv"), &text);
    }
    dir.write("glue-data/RTE/test.tsv", &format!("index\tsentence1\tsentence2\n{}", rows(3, "")));
    let recipe = format!(
        "task = \"rte\"\ninit_checkpoint = \"run/model\"\nbackend = \"{BACKEND}\"\n\
         final_threshold = 0.5\nwarmup_steps = 1\ninitial_warmup = 1\nfinal_warmup = 1\n\
         delta_t = 1\nbatch_size = 4\nepochs = 4\n"
    );
    dir.write(RECIPE, &recipe).write("run/config.toml", &recipe);
    dir.write(CONFIG, model::CONFIG_JSON).write(VOCAB, &tokenizer::TOKENS.join("\n"));
    write_bytes(&dir, WEIGHTS, &weights::safetensors(|_| ()));
    dir.write("texts.txt", "the cat\ta sofa\ncats\ta cat\n");
    dir
}

/// All files and folders below `path`.
fn listing(path: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        all.insert(entry.path().display().to_string());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(listing(&entry.path()));
        }
    }
    all
}

/// What may stay: prepared data, and of a run that failed anything but what finished ones have.
fn may_stay(path: &str) -> bool {
    let unfinished = |file: &str| !file.starts_with("model") && file != "report.json";
    path.contains("/canonical_data")
        || path.ends_with("/new")
        || path.split_once("/new/").is_some_and(|(_, file)| unfinished(file))
}

/// How the command ended, if it did in time.
fn ended(dir: &Arc<Dir>, args: &'static str) -> Option<Ended> {
    let ((sender, receiver), inside) = (channel(), Arc::clone(dir));
    spawn(move || sender.send(inside.platon(args)));
    receiver.recv_timeout(AT_MOST).ok()
}

/// What is wrong about the refusal of `content`; nothing if it is as it should be. `expected` holds
/// parts of the line of error with ` .. ` between them; `:` at its start stands for the file.
fn faults(args: &'static str, file: &str, content: &Content, expected: &str) -> Vec<String> {
    let dir = Arc::new(folder());
    content.plant(&dir, file);
    let before = listing(&dir.path(""));
    let Some(Ended { code, stdout, stderr }) = ended(&dir, args) else {
        return vec![format!("not ended within {AT_MOST:?}")];
    };
    let errors: Vec<&str> = stderr.lines().skip_while(|l| !l.starts_with("error: ")).collect();
    let [line] = errors.as_slice() else {
        let last = stderr.lines().last().unwrap_or_default();
        return vec![format!("exit code {code}, {} lines of error: {last:.300}", errors.len())];
    };
    let mut faults = Vec::new();
    let mut demand = |holds: bool, fault: String| faults.extend((!holds).then_some(fault));
    demand(code == 1, format!("exit code {code}"));
    let expected = match expected.starts_with(':') {
        true => format!("error: {file}{expected}"),
        false => expected.to_owned(),
    };
    let found = expected.split(" .. ").try_fold(*line, |rest, part| Some(rest.split_once(part)?.1));
    demand(found.is_some(), format!("{expected:?} is not in: {line:.900}"));
    for word in ["panicked", "backtrace", "internal error"] {
        demand(!stderr.contains(word), format!("says {word}"));
    }
    demand(line.len() <= LONGEST_LINE, format!("a line of {} bytes", line.len()));
    demand(!line.chars().any(char::is_control), "control characters".into());
    demand(stdout.len() <= LONGEST_OUTPUT, format!("prints {} bytes", stdout.len()));
    for path in listing(&dir.path("")).difference(&before).filter(|path| !may_stay(path)) {
        demand(false, format!("leaves {path}"));
    }
    faults
}

/// Demands that each of the rows, planted as `file`, is refused as it says.
fn refuses(args: &'static str, file: &str, rows: &[(Content, &str)]) {
    let mut all = String::new();
    for (row, (content, expected)) in rows.iter().enumerate() {
        for fault in faults(args, file, content, expected) {
            all += &format!("\nplaton {args}, {file}, row {row}: {fault}");
        }
    }
    assert!(all.is_empty(), "{all}");
}

/// The same with one row.
fn refuse(args: &'static str, file: &str, content: Content, expected: &str) {
    refuses(args, file, &[(content, expected)]);
}

#[test]
fn without_a_hostile_file_every_command_succeeds() {
    let dir = folder();
    for args in [
        "prepare rte --tokenizer run/model",
        PREDICT,
        EVALUATE,
        TRAIN,
        "encode run --input texts.txt",
        "export run --format sparse",
        "convert run/model-sparse.safetensors converted",
    ] {
        dir.platon_ok(args);
    }
    let tokenizer = tokenizer::tokenizer_json(|_| ());
    write_bytes(&dir, TOKENIZER, &tokenizer);
    assert_eq!(dir.platon_ok(PREDICT).stdout.lines().count(), 3);
    dir.write("empty.txt", "");
    assert_eq!(dir.platon_ok("predict run --json --input empty.txt").stdout, "");
    dir.write("no-newline.txt", "cat\ta cat");
    assert_eq!(
        dir.platon_ok("predict run --json --input no-newline.txt").stdout.lines().count(),
        1
    );
}

#[test]
fn hostile_command_lines_are_usage_errors() {
    let dir = folder();
    for (args, expected) in [
        ("train rte --seed -1", "unexpected argument"),
        ("train rte --batch-size 1e3", "invalid value"),
        ("train rte --seed 18446744073709551615", "invalid value"),
        ("train rte --epochs 99999999999999999999999", "invalid value"),
        ("train rte --backend nccl", "expected flex, ndarray, cuda or wgpu, found nccl"),
        ("train rte --model-ckpt run/model", "required arguments"),
        ("predict run --input texts.txt --batch-size 0", "0 is not in 1..=65535"),
        ("predict run", "--input <INPUT>"),
        ("submit", "<RUNS>"),
    ] {
        let ended = dir.platon(args);
        let errors = ended.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!((ended.code, errors), (2, 1), "platon {args}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "platon {args}: {}", ended.stderr);
    }
}
