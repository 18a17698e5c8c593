use std::fs;
use std::io::{Cursor, Write};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::test_server::{Answer, Server, serve, serve_files};
use super::*;

const FILES: &[&str] = &["train.tsv", "dev.tsv", "test.tsv"];

/// Folders of their own, and what happened.
struct Place {
    dir: TempDir,
    options: Options,
    events: Mutex<Vec<String>>,
}

impl Place {
    fn new(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path().join("data"), dir.path().join("cache"));
        options.glue_url = Some(format!("{}/", server.url));
        options.hf_url = Some(server.url.clone());
        options.settings.attempts = 2;
        options.settings.pause = Duration::from_millis(2);
        options.settings.proxy_from_env = false;
        Self { dir, options, events: Mutex::default() }
    }

    fn on_progress(&self, progress: DownloadEvent<'_>) {
        let event = match progress {
            DownloadEvent::Started { .. } | DownloadEvent::Advanced { .. } => return,
            DownloadEvent::Finished { name } => name.to_owned(),
            DownloadEvent::Cached { name } => format!("({name})"),
        };
        self.events.lock().unwrap().push(event);
    }

    /// The events since the last call.
    fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    fn glue(&self, name: &str, folder: &str, files: &[&str]) -> Result<Unpacked> {
        glue_task(name, folder, files, &self.options, &|progress| self.on_progress(progress))
    }

    fn model(&self, name: &str) -> Result<Model> {
        let into = self.dir.path().join("model");
        model(name, &into, &self.options, &|progress| self.on_progress(progress))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path().join(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn archive(folder: &str, files: &[&str]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        zip.start_file(format!("{folder}/{file}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(file.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn sums(files: &[(&str, &[u8])]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let line = |(name, body): &(&str, &[u8])| format!("{:x}  {name}\n", Sha256::digest(body));
    files.iter().map(line).collect::<String>().into_bytes()
}

#[test]
fn an_archive_becomes_a_tasks_files_once() {
    let server = serve_files(&[("/QQP-clean.zip", archive("QQP", FILES))]);
    let place = Place::new(&server);
    let result = place.glue("qqp", "QQP", FILES).unwrap();
    assert_eq!(result.written.len(), 3);
    assert_eq!(place.names("data/QQP"), ["dev.tsv", "test.tsv", "train.tsv"]);
    assert_eq!(place.read("data/QQP/dev.tsv"), "dev.tsv");
    assert_eq!(server.paths(), ["/SHA256SUMS", "/QQP-clean.zip"]);
    assert_eq!(place.events(), ["QQP-clean.zip"]);

    let result = place.glue("qqp", "QQP", FILES).unwrap();
    assert_eq!((result.written.len(), result.kept.len()), (0, 3));
    assert_eq!(server.seen().len(), 2, "nothing is asked");
    assert_eq!(place.events(), ["(QQP/train.tsv)", "(QQP/dev.tsv)", "(QQP/test.tsv)"]);

    fs::remove_file(place.dir.path().join("data/QQP/dev.tsv")).unwrap();
    place.glue("qqp", "QQP", FILES).unwrap();
    assert_eq!(place.events(), ["(QQP/train.tsv)", "(QQP/test.tsv)", "(QQP-clean.zip)"]);
    drop(server);
    fs::remove_file(place.dir.path().join("data/QQP/dev.tsv")).unwrap();
    place.glue("qqp", "QQP", FILES).expect("without the mirror, from the cache");
}

#[test]
fn force_replaces_files_and_unproved_archives() {
    let server = serve_files(&[("/CoLA.zip", archive("CoLA", FILES))]);
    let mut place = Place::new(&server);
    place.glue("cola", "CoLA", FILES).unwrap();
    fs::write(place.dir.path().join("data/CoLA/dev.tsv"), "mine").unwrap();
    place.options.force = true;
    place.glue("cola", "CoLA", FILES).unwrap();
    assert_eq!(place.read("data/CoLA/dev.tsv"), "dev.tsv");
    assert_eq!(place.events(), ["CoLA.zip", "CoLA.zip"]);
}

#[test]
fn a_missing_test_file_is_reported_and_a_missing_dev_file_refused() {
    let server = serve_files(&[
        ("/RTE.zip", archive("RTE", &["train.tsv", "dev.tsv"])),
        ("/WNLI.zip", archive("WNLI", &["train.tsv", "test.tsv"])),
    ]);
    let place = Place::new(&server);
    assert_eq!(place.glue("rte", "RTE", FILES).unwrap().missing, ["test.tsv"]);
    let message = place.glue("wnli", "WNLI", FILES).unwrap_err().to_string();
    assert!(message.contains("WNLI.zip: expected a file dev.tsv, found WNLI/train.tsv"));
    let message = place.glue("sst", "SST-2", FILES).unwrap_err().to_string();
    assert!(message.contains("/SST-2.zip: the server has no such file"), "{message}");
    assert!(message.contains("PLATON_GLUE_URL, or platon download --glue-url"), "{message}");
    assert!(place.glue("snli", "SNLI", FILES).is_err());
}

#[test]
fn a_mirrors_checksums_count() {
    let zip = archive("CoLA", FILES);
    let right = sums(&[("CoLA.zip", &zip), ("RTE.zip", b"another")]);
    let server =
        serve_files(&[("/CoLA.zip", zip.clone()), ("/RTE.zip", zip), ("/SHA256SUMS", right)]);
    let mut place = Place::new(&server);
    fs::create_dir_all(place.dir.path().join("cache")).unwrap();
    fs::write(place.dir.path().join("cache/CoLA.zip"), "of another time").unwrap();
    place.glue("cola", "CoLA", FILES).unwrap();
    assert_eq!(place.events(), ["CoLA.zip"]);
    let message = place.glue("rte", "RTE", FILES).unwrap_err().to_string();
    assert!(message.contains("RTE.zip: expected the SHA-256 "), "{message}");
    assert_eq!(place.names("cache"), ["CoLA.zip"]);

    place.options.checksums.insert("CoLA.zip".into(), "0".repeat(64));
    place.options.force = true;
    let message = place.glue("cola", "CoLA", FILES).unwrap_err().to_string();
    assert!(message.contains("expected the SHA-256 0000"), "the caller's come first: {message}");
    place.options.checksums.insert("CoLA.zip".into(), "abc".into());
    let message = place.glue("cola", "CoLA", FILES).unwrap_err().to_string();
    assert!(message.starts_with("checksum of CoLA.zip: expected 64 hexadecimal digits"));

    let server = serve_files(&[("/SHA256SUMS", b"<html>".to_vec())]);
    let message = Place::new(&server).glue("cola", "CoLA", FILES).unwrap_err().to_string();
    assert!(message.contains("/SHA256SUMS:1: expected a SHA-256"), "{message}");
}

#[test]
fn without_a_mirror_and_a_cache_there_is_an_error() {
    let mut place = Place::new(&serve_files(&[]));
    place.options.glue_url = Some("http://127.0.0.1:1".into());
    let message = place.glue("cola", "CoLA", FILES).unwrap_err().to_string();
    assert!(message.starts_with("http://127.0.0.1:1/SHA256SUMS: "), "{message}");
    place.options.glue_url = Some("a folder".into());
    let message = place.glue("cola", "CoLA", FILES).unwrap_err().to_string();
    assert!(message.starts_with("glue-url: expected an address"), "{message}");
}

#[test]
fn mrpc_is_assembled_and_the_diagnostic_set_taken_as_it_is() {
    let header = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n";
    let train = format!("{header}1\t1\t2\tA\tB\r\n0\t3\t4\tC\tD\r\n");
    let test = format!("{header}1\t5\t6\tE\tF\r\n");
    let server = serve_files(&[
        ("/msr_paraphrase_train.txt", train.into_bytes()),
        ("/msr_paraphrase_test.txt", test.into_bytes()),
        ("/mrpc_dev_ids.tsv", b"3\t4\n".to_vec()),
        ("/AX.tsv", b"index\tsentence1\r\n".to_vec()),
    ]);
    let place = Place::new(&server);
    assert_eq!(place.glue("mrpc", "MRPC", FILES).unwrap().written.len(), 3);
    let header = header.replace("\r\n", "\n");
    assert_eq!(place.read("data/MRPC/train.tsv"), format!("{header}1\t1\t2\tA\tB\n"));
    assert_eq!(place.read("data/MRPC/dev.tsv"), format!("{header}0\t3\t4\tC\tD\n"));
    let expected = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t5\t6\tE\tF\n";
    assert_eq!(place.read("data/MRPC/test.tsv"), expected);

    place.glue("ax", "AX", &["AX.tsv"]).unwrap();
    assert_eq!(place.read("data/AX/AX.tsv"), "index\tsentence1\r\n");
}

const REPOSITORY: &str = "/google-bert/bert-base-uncased/resolve/main";

fn hub(files: &[(&str, &[u8])]) -> Server {
    let files: Vec<_> =
        files.iter().map(|(name, body)| (format!("{REPOSITORY}/{name}"), body.to_vec())).collect();
    let files: Vec<_> = files.iter().map(|(path, body)| (path.as_str(), body.clone())).collect();
    serve_files(&files)
}

#[test]
fn a_model_comes_once_and_its_weights_last() {
    let server = hub(&[
        ("config.json", b"{\"model_type\": \"bert\"}"),
        ("tokenizer.json", b"{}"),
        ("vocab.txt", b"[PAD]"),
        ("model.safetensors", b"weights"),
    ]);
    let place = Place::new(&server);
    let result = place.model("bert-base-uncased").unwrap();
    assert_eq!(result.repository, "google-bert/bert-base-uncased");
    assert_eq!(result.weights, place.dir.path().join("model/model.safetensors"));
    let order = ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors"];
    assert_eq!(place.events(), order);
    assert_eq!(result.fetched.len(), 4);
    assert_eq!(place.names("model").len(), 5);
    assert_eq!(place.read("model/.repository"), "google-bert/bert-base-uncased");
    // Whoever has a model of the same name is to be brought elsewhere.
    let message = place.model("someone/bert-base-uncased").unwrap_err().to_string();
    let expected = "model: expected google-bert/bert-base-uncased, which ";
    assert!(message.contains(expected) && message.contains("--output-dir"), "{message}");
    place.events();

    let asked = server.seen().len();
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 0);
    assert_eq!(server.seen().len(), asked, "nothing is asked");
    assert_eq!(place.events(), order.map(|name| format!("({name})")));

    fs::remove_file(place.dir.path().join("model/vocab.txt")).unwrap();
    fs::remove_file(place.dir.path().join("model/model.safetensors")).unwrap();
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 2);
}

#[test]
fn weights_in_several_files_come_with_their_index() {
    let index =
        br#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}"#;
    let server = hub(&[
        ("config.json", b"{}"),
        ("vocab.txt", b"[PAD]"),
        ("model.safetensors.index.json", index),
        ("1.safetensors", b"one"),
        ("2.safetensors", b"two"),
    ]);
    let place = Place::new(&server);
    let result = place.model("bert-base-uncased").unwrap();
    assert_eq!(result.weights, place.dir.path().join("model/model.safetensors.index.json"));
    assert_eq!(result.fetched.len(), 5);
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 0);
    fs::remove_file(place.dir.path().join("model/2.safetensors")).unwrap();
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 1);
    for bad in ["{}", r#"{"weight_map": {"a": "../1"}}"#, "<html>"] {
        fs::write(place.dir.path().join("model/model.safetensors.index.json"), bad).unwrap();
        let message = place.model("bert-base-uncased").unwrap_err().to_string();
        assert!(message.contains("index.json: expected a weight_map of tensors"), "{message}");
    }
}

#[test]
fn all_that_decides_the_token_ids_comes_along() {
    let files = [
        "config.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "vocab.json",
        "model.safetensors",
    ];
    let server = hub(&files.map(|name| (name, &b"{}"[..])));
    let place = Place::new(&server);
    place.model("bert-base-uncased").unwrap();
    assert_eq!(place.events(), files);
}

#[test]
fn files_that_the_repository_lacks_do_not_stay_beside_its_own() {
    let server =
        hub(&[("config.json", b"{}"), ("vocab.txt", b"[PAD]"), ("model.safetensors", b"weights")]);
    let mut place = Place::new(&server);
    fs::create_dir_all(place.dir.path().join("model")).unwrap();
    fs::write(place.dir.path().join("model/config.json"), "{}").unwrap();
    fs::write(place.dir.path().join("model/added_tokens.json"), "{\"x\": 1}").unwrap();
    // What somebody has put there stays, and the folder says whose the rest is.
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 2);
    assert_eq!(place.read("model/.repository"), "google-bert/bert-base-uncased");
    place.options.force = true;
    let message = place.model("bert-base-uncased").unwrap_err().to_string();
    let expected =
        "added_tokens.json: expected no such file, as google-bert/bert-base-uncased has none";
    assert!(message.contains(expected) && message.contains("(hint: remove it, "), "{message}");
    fs::remove_file(place.dir.path().join("model/added_tokens.json")).unwrap();
    assert_eq!(place.model("bert-base-uncased").unwrap().fetched.len(), 3);
}

#[test]
fn a_file_beyond_the_limit_of_its_kind_does_not_come() {
    let server = serve(|seen| match seen.path.rsplit('/').next().unwrap() {
        "config.json" => Answer::ok("{}"),
        "vocab.txt" => Answer::ok("[PAD]").length(65 << 20).cut(1),
        _ => Answer::status(404),
    });
    let place = Place::new(&server);
    let message = place.model("a/b").unwrap_err().to_string();
    assert!(message.contains("vocab.txt: expected at most 67108864 bytes, found 68157440"));
    assert_eq!(place.names("model"), [".repository", "config.json"]);
}

#[test]
fn old_repositories_have_pickled_weights() {
    let server =
        hub(&[("config.json", b"{}"), ("vocab.txt", b"[PAD]"), ("pytorch_model.bin", b"weights")]);
    let place = Place::new(&server);
    let result = place.model("google-bert/bert-base-uncased").unwrap();
    assert_eq!(result.weights, place.dir.path().join("model/pytorch_model.bin"));
    assert_eq!(place.events(), ["config.json", "vocab.txt", "pytorch_model.bin"]);
    assert_eq!(place.names("model").len(), 4);
}

#[test]
fn what_is_no_model_of_a_known_kind_is_refused_before_its_weights_come() {
    for (config, found) in
        [("{\"model_type\": \"gpt2\"}", "model_type 'gpt2'"), ("<html>", "no JSON")]
    {
        let server = hub(&[("config.json", config.as_bytes())]);
        let place = Place::new(&server);
        let message = place.model("bert-base-uncased").unwrap_err().to_string();
        assert!(message.contains("electra, found "), "{message}");
        assert!(message.contains(found), "{message}");
        assert_eq!(server.seen().len(), 1);
        // A folder in which nothing has come would look like a model's.
        assert!(!place.dir.path().join("model").exists());
    }
    let server = hub(&[("config.json", b"{}"), ("model.safetensors", b"weights")]);
    let message = Place::new(&server).model("bert-base-uncased").unwrap_err().to_string();
    assert!(message.contains("expected tokenizer.json or vocab.txt or vocab.json"), "{message}");
    let server = hub(&[("config.json", b"{}"), ("vocab.txt", b"[PAD]")]);
    let message = Place::new(&server).model("bert-base-uncased").unwrap_err().to_string();
    assert!(message.contains("pytorch_model.bin: the server has no such file"), "{message}");
}

#[test]
fn a_model_that_is_not_handed_out_is_an_error() {
    let server = serve(|_| Answer::status(401));
    let place = Place::new(&server);
    let message = place.model("some/bert").unwrap_err().to_string();
    assert!(message.contains("/some/bert/resolve/main/config.json: the server refuses"));
    assert!(message.contains("check the model's name"), "{message}");
    let message = place.model("bert").unwrap_err().to_string();
    assert!(message.contains("owner/name or one of"), "{message}");
}

#[test]
fn interrupted_weights_are_taken_up_by_the_next_run() {
    let server = serve(|seen| match seen.path.rsplit('/').next().unwrap() {
        "config.json" => Answer::ok("{}"),
        "vocab.txt" => Answer::ok("[PAD]"),
        "model.safetensors" if seen.nth < 2 => {
            Answer::ranged(seen, b"weights", "\"1\"").cut(if seen.nth == 0 { 3 } else { 0 })
        }
        "model.safetensors" => Answer::ranged(seen, b"weights", "\"1\""),
        _ => Answer::status(404),
    });
    let place = Place::new(&server);
    let message = place.model("a/b").unwrap_err().to_string();
    assert!(message.contains("3 of 7 bytes have come (hint: run again to go on"), "{message}");
    let result = place.model("a/b").unwrap();
    assert_eq!(fs::read(result.weights).unwrap(), b"weights");
    assert_eq!(server.seen().last().unwrap().from, Some(3));
    let names = [".repository", "config.json", "model.safetensors", "vocab.txt"];
    assert_eq!(place.names("model"), names);
}

#[test]
fn files_have_the_limits_of_their_kind() {
    // A server that announces a configuration of 32 MiB.
    let server = serve(|_| Answer::ok("{}").length(32 << 20).cut(1));
    let text = Place::new(&server).model("bert-base-uncased").unwrap_err().to_string();
    assert!(
        text.contains("config.json: expected at most 16777216 bytes, found 33554432"),
        "{text}"
    );
}
