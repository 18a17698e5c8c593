//! What must hold of every file from outside, whatever its bytes: it is read or refused in one line,
//! nothing beside it changes, and what was read comes back after it is written.
//!
//! One function for each fuzz target; the program's own tests run them over `corpus/`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use platon::bert::Checkpoint;
use platon::bert::sparse::{self as format, Dtype};
use platon::bert::weights::StoredTensor;
use platon::config::{Layer, RunConfig};
use platon::error::{Error, Result};
use platon::files::sha256_file;
use platon::glue::sample::{Sample, read_samples, to_lines};
use platon::glue::task::{Kind, Part, SCORE_RANGE, Split, TASKS, Task, task};
use platon::glue::tsv::{Label, Row, read_canonical, read_raw, write_canonical};
use platon::run::RunFolder;
use platon::run::checkpoints::{Checkpoints, PARTS};
use platon::torch;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

/// The longest line of error, in characters.
const LONGEST: usize = 1000;
/// The same of settings: one line names them all.
const LONGEST_OF_SETTINGS: usize = 1500;

/// Raw GLUE files and canonical TSV. The first byte says how the rest is read: `A` to `K` as a
/// training or dev file of the eleven tasks, `a` to `k` as a test file.
pub fn tsv(data: &[u8]) {
    let Some((letter, text)) = data.split_first() else { return };
    let place = Place::new("rows.tsv", text);
    let task = &TASKS[usize::from(letter & 0x1f).wrapping_sub(1) % TASKS.len()];
    let part = if letter & 0x20 == 0 { Part::Train } else { Part::Test };
    let split = Split { name: "rows", file: "rows.tsv", part };
    let raw = place.unchanged(|| read_raw(task, &split, &place.file));
    if let Some(rows) = accepted(raw, LONGEST) {
        for row in &rows {
            assert!(is_of_task(task, row.label), "{row:?} of {}", task.name);
            assert_eq!(row.text_b.is_some(), task.is_pair(), "{row:?}");
        }
        canonical_comes_back(task, rows, &place);
    }
    let canonical = place.unchanged(|| read_canonical(task, Part::Dev, &place.file));
    if let Some(rows) = accepted(canonical, LONGEST) {
        canonical_comes_back(task, rows, &place);
    }
}

fn canonical_comes_back(task: &Task, rows: Vec<Row>, place: &Place) {
    let file = place.folder.path().join("canonical.tsv");
    write_canonical(task, &rows, &file).unwrap();
    // Within a text, any white space is as good as a space.
    let spaced = |text: String| text.replace('\r', " ");
    let rows = rows.into_iter().map(|row| Row {
        text_a: spaced(row.text_a),
        text_b: row.text_b.map(spaced),
        ..row
    });
    assert_eq!(read_canonical(task, Part::Dev, &file).unwrap(), rows.collect::<Vec<_>>());
    fs::remove_file(file).unwrap();
}

fn is_of_task(task: &Task, label: Label) -> bool {
    match (task.kind, label) {
        (Kind::Classification { labels }, Label::Class(class)) => class < labels.len(),
        (Kind::Regression, Label::Score(score)) => SCORE_RANGE.contains(&score),
        _ => false,
    }
}

/// Encoded samples as JSON lines, of a task with classes and of one with scores.
pub fn jsonl(data: &[u8]) {
    let place = Place::new("rows.json", data);
    for name in ["mnli", "stsb"] {
        let task = task(name).unwrap();
        let samples = place.unchanged(|| read_samples(task, true, &place.file));
        let Some(samples) = accepted(samples, LONGEST) else { continue };
        for Sample { label, token_id, type_id, attention_mask, .. } in &samples {
            assert!(is_of_task(task, *label), "{label:?} of {name}");
            assert!(!token_id.is_empty());
            assert_eq!([type_id.len(), attention_mask.len()], [token_id.len(); 2]);
        }
        let lines = Place::new("rows.json", &to_lines(&samples).unwrap());
        assert_eq!(read_samples(task, true, &lines.file).unwrap(), samples);
    }
}

/// Sparse files. After an `H` that a brace follows, the header goes up to the first zero byte and
/// gets its length here; else all is a file.
pub fn sparse(data: &[u8]) {
    let made = data.strip_prefix(b"H").filter(|rest| rest.starts_with(b"{")).map(|rest| {
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        let (header, values) = rest.split_at(end);
        [&(end as u64).to_le_bytes(), header, values.get(1..).unwrap_or_default()].concat()
    });
    let data = made.as_deref().unwrap_or(data);
    let Some((tensors, texts)) = accepted(format::decode(Path::new("m"), data), LONGEST) else {
        return;
    };
    assert!(format::is_sparse(data));
    let values: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
    assert!(values <= 64 * data.len(), "{values} values in {} bytes", data.len());
    let again = format::encode(&tensors, &texts, Dtype::F32).unwrap().bytes;
    let (same, same_texts) = format::decode(Path::new("m"), &again).unwrap();
    assert_eq!((bits(&same), same_texts), (bits(&tensors), texts));
    let file = format::SparseFile::parse(Path::new("m"), data).unwrap();
    for (name, form) in &file.tensors {
        visited_once(form, &tensors[name]);
    }
    // In its own type a file has nothing to lose.
    if tensors.values().flat_map(|tensor| &tensor.values).all(|value| !value.is_nan()) {
        let own = format::encode(&tensors, &BTreeMap::new(), file.dtype).unwrap().bytes;
        let (same, _) = format::decode(Path::new("m"), &own).unwrap();
        for (name, tensor) in &tensors {
            assert_eq!(same[name].values, tensor.values, "{name:?}");
        }
    }
    let place = Place::new("model.safetensors", data);
    place.unchanged(|| opened(&place.file));
}

/// The stored elements come in order, and all others are zero.
fn visited_once(form: &format::Form<'_>, tensor: &StoredTensor) {
    assert_eq!((form.shape(), form.elements()), (&tensor.shape[..], tensor.values.len()));
    let (mut next, mut count) = (0, 0);
    for (place, value) in form.stored() {
        assert!(place >= next, "{place} after {next}");
        assert!(tensor.values[next..place].iter().all(|value| value.to_bits() == 0));
        assert_eq!(tensor.values[place].to_bits(), value.to_bits());
        (next, count) = (place + 1, count + 1);
    }
    assert!(tensor.values[next..].iter().all(|value| value.to_bits() == 0));
    assert_eq!(count, form.stored_count());
}

/// Checkpoints of PyTorch. After an `L` the rest is the main pickle of a file in the older format,
/// after a `Z` that of an archive, each with a storage `0` of four numbers; else all is a file.
pub fn pickle(data: &[u8]) {
    let made = match data.split_first() {
        Some((b'L', pickle)) => &legacy(pickle),
        Some((b'Z', pickle)) => &archive(pickle),
        _ => data,
    };
    let place = Place::new("model.pt", made);
    let read = place.unchanged(|| torch::read(&place.file));
    let Some(torch::TorchFile { tensors, config }) = accepted(read, LONGEST) else { return };
    let mut values = 0;
    for (name, tensor) in &tensors {
        let sizes = tensor.shape.iter().map(|size| *size as u128);
        // Zero times however many is zero.
        let count = if tensor.shape.contains(&0) { 0 } else { sizes.product() };
        assert_eq!(tensor.values.len() as u128, count, "{name:?} of {:?}", tensor.shape);
        values += tensor.values.len();
    }
    assert!(values <= 1024 * made.len(), "{values} values in {} bytes", made.len());
    if let Some(config) = config {
        assert!(config.is_object());
        let text = config.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), config);
    }
    let tensors = tensors
        .into_iter()
        .map(|(name, torch::TorchTensor { shape, values })| (name, StoredTensor { shape, values }));
    let tensors = tensors.collect();
    // Names and sizes that sparse files have no place for are refused.
    let file = accepted(format::encode(&tensors, &BTreeMap::new(), Dtype::F32), LONGEST);
    if let Some(file) = file {
        let (same, _) = format::decode(Path::new("m"), &file.bytes).unwrap();
        assert_eq!(bits(&same), bits(&tensors));
    }
    place.unchanged(|| opened(&place.file));
}

/// The older format around a pickle.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    const START: &[u8] =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    const KEYS: &[u8] = b"\x80\x02]X\x01\0\0\x000a.\x04\0\0\0\0\0\0\0";
    [START, pickle, KEYS, &numbers()].concat()
}

/// An archive around a pickle.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("m/data.pkl", pickle), ("m/data/0", &numbers())] {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The storage `0`, if its elements are f32.
fn numbers() -> Vec<u8> {
    [1f32, -0.0, f32::NAN, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A model of this file, if it is one.
fn opened(file: &Path) {
    if let Some(model) = accepted(Checkpoint::open(file), LONGEST) {
        accepted(model.into_tensors(), LONGEST);
    }
}

/// What a run folder holds. The first byte says what the rest is: `m` a checkpoint's
/// `manifest.json`, `p` its `progress.json`, anything else the run's `config.toml`.
pub fn manifest(data: &[u8]) {
    match data.split_first() {
        Some((b'm', text)) => checkpoint(text, None),
        Some((b'p', text)) => checkpoint(b"", Some(text)),
        Some((_, text)) => settings(text),
        None => {}
    }
}

/// The progress of the checkpoints that have a right one.
const PROGRESS: &[u8] = br#"{"update": 3, "evaluated_at": 0, "loss_sum": 0.5, "losses": 1,
    "gauges": {}, "scores": [], "best": null, "metrics_bytes": 0, "events": null, "seconds": 1.0,
    "pruning_seconds": 0.1, "wall_seconds": 2.0}"#;

/// A checkpoint with this manifest, or with this progress and a manifest that fits.
fn checkpoint(manifest: &[u8], progress: Option<&[u8]>) {
    let run = Place::new("config.toml", b"");
    let all = run.folder.path().join("checkpoint");
    let folder = all.join("update-3");
    fs::create_dir_all(&folder).unwrap();
    let parts = PARTS.map(|part| format!("{part}.mpk"));
    for part in &parts {
        fs::write(folder.join(part), part).unwrap();
    }
    fs::write(folder.join("progress.json"), progress.unwrap_or(PROGRESS)).unwrap();
    let right = fitting(&folder, &parts);
    let manifest =
        if progress.is_some() { right.to_string().into_bytes() } else { manifest.into() };
    fs::write(folder.join("manifest.json"), &manifest).unwrap();

    let checkpoints = Checkpoints::new(&RunFolder::at(run.folder.path()), 2);
    let newest = run.unchanged(|| checkpoints.newest());
    // One of another version is no reason to begin anew.
    let Some((whole, skipped)) = accepted(newest, LONGEST) else {
        return;
    };
    assert_eq!(skipped.len(), usize::from(whole.is_none()));
    skipped.iter().for_each(|error| check_line(error, LONGEST));
    if whole.is_some() {
        let stated: Value = serde_json::from_slice(&manifest).unwrap();
        // serde takes lists of the fields' values for objects.
        for (name, entry) in right["files"].as_object().unwrap() {
            let stated = stated.get("files").or(stated.get(2)).unwrap().get(name).unwrap();
            let value = |key, place: usize| stated.get(key).or(stated.get(place)).unwrap();
            assert_eq!(
                [value("bytes", 0), value("sha256", 1)],
                [&entry["bytes"], &entry["sha256"]]
            );
        }
    }
    // It gets its name if it is whole, and is removed if not.
    fs::rename(&folder, all.join("update-3.unfinished")).unwrap();
    checkpoints.settle().unwrap();
    assert_eq!(fs::read_dir(&all).unwrap().count(), usize::from(whole.is_some()));
    let Some(whole) = whole else { return };
    let (settled, _) = checkpoints.newest().unwrap();
    assert_eq!(settled.unwrap().record, whole.record);
    let lock = RunFolder::at(run.folder.path()).lock().unwrap();
    let unfinished = checkpoints.begin(3, &lock).unwrap();
    for part in &parts {
        fs::write(all.join("update-3.unfinished").join(part), part).unwrap();
    }
    checkpoints.complete(&unfinished, &whole.record).unwrap();
    let (written, _) = checkpoints.newest().unwrap();
    assert_eq!(written.unwrap().record, whole.record);
}

/// A manifest of what is in the folder.
fn fitting(folder: &Path, parts: &[String]) -> Value {
    let entry = |name: &str| {
        let path = folder.join(name);
        let bytes = fs::metadata(&path).unwrap().len();
        (name.to_owned(), json!({ "bytes": bytes, "sha256": sha256_file(&path).unwrap() }))
    };
    let names = parts.iter().map(String::as_str).chain(["progress.json"]);
    let files: Map<_, _> = names.map(entry).collect();
    json!({ "format": 3, "update": 3, "files": files })
}

fn settings(text: &[u8]) {
    let place = Place::new("config.toml", text);
    let read = |file: &Path| Layer::from_file(file).and_then(|layer| RunConfig::resolve(&[layer]));
    let Some(config) = accepted(place.unchanged(|| read(&place.file)), LONGEST_OF_SETTINGS) else {
        return;
    };
    let text = config.to_table().unwrap().to_string();
    let written = Place::new("config.toml", text.as_bytes());
    assert_eq!(read(&written.file).unwrap(), config);
    for total in [1, 100, usize::MAX] {
        if let Some(schedule) = accepted(config.ratio_schedule(total), LONGEST) {
            for step in [1, total / 2 + 1, total] {
                let ratio = schedule.at(step).ratio;
                // A sum of two floats may miss by its last bit.
                let range = config.pruning().final_threshold - 1e-9
                    ..=config.pruning().initial_threshold.unwrap_or(1.0) + 1e-9;
                assert!(ratio == 1.0 || range.contains(&ratio), "{ratio} at {step} of {total}");
            }
        }
    }
}

/// A folder of its own with one file.
struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new(name: &str, content: &[u8]) -> Self {
        let memory = Path::new("/dev/shm");
        let builder = tempfile::Builder::new();
        let folder =
            if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap();
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        Self { folder, file }
    }

    /// What `read` returns, which must leave the folder as it is.
    fn unchanged<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = listing(self.folder.path());
        let result = read();
        assert_eq!(listing(self.folder.path()), before);
        result
    }
}

/// All files below `folder` with their lengths.
fn listing(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            all.extend(listing(&path));
        }
        all.insert(path, if about.is_dir() { 0 } else { about.len() });
    }
    all
}

/// What was read; of an error, its line is checked.
fn accepted<T>(read: Result<T>, longest: usize) -> Option<T> {
    read.inspect_err(|error| check_line(error, longest)).ok()
}

fn check_line(error: &Error, longest: usize) {
    let line = error.to_string();
    assert!(!line.chars().any(char::is_control), "control characters in {line:?}");
    let length = line.chars().count();
    assert!(length <= longest, "{length} characters: {line}");
}

type Bits<'a> = Vec<(&'a str, &'a [usize], Vec<u32>)>;

/// Tensors as they compare: NaN equals itself, -0.0 does not equal 0.0.
fn bits(tensors: &BTreeMap<String, StoredTensor>) -> Bits<'_> {
    tensors
        .iter()
        .map(|(name, tensor)| {
            let values = tensor.values.iter().map(|value| value.to_bits()).collect();
            (name.as_str(), tensor.shape.as_slice(), values)
        })
        .collect()
}
