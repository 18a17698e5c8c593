use std::sync::Mutex;

use super::*;
use crate::glue::sample::read_samples;
use crate::glue::task::{Kind, task};
use crate::glue::tsv::{Label, read_canonical};

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n";

/// A data folder with RTE's train and dev files and a tokenizer `tiny`.
struct Setup(tempfile::TempDir);

impl Setup {
    fn new() -> Self {
        let setup = Self(tempfile::tempdir().unwrap());
        let header = "index\tsentence1\tsentence2\tlabel\n";
        let rows = (0..600).map(|n| format!("{n}\t{}\tb\tentailment\n", "a ".repeat(n % 7)));
        setup.write("RTE/train.tsv", &format!("{header}{}", rows.collect::<String>()));
        setup.write("RTE/dev.tsv", &format!("{header}5\ta\tb\tnot_entailment\n"));
        setup.write("tiny/vocab.txt", VOCAB);
        setup
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn prepare(&self, splits: Option<&[&str]>) -> Result<Vec<Prepared>> {
        let tokenizer = EncoderAt::new(&self.path("tiny"));
        let options = Options { data_dir: self.0.path(), tokenizer: &tokenizer };
        prepare(task("rte").unwrap(), splits, &options, &|_| ())
    }

    /// Which of train and dev were up to date.
    fn skipped(&self) -> [bool; 2] {
        let done = self.prepare(None).unwrap();
        assert_eq!([done[0].rows, done[1].rows], [600, 1]);
        [done[0].skipped, done[1].skipped]
    }
}

#[test]
fn encoded_samples_are_refused_to_another_tokenizer_and_other_labels() {
    let setup = Setup::new();
    setup.prepare(None).unwrap();
    let (rte, dir) = (task("rte").unwrap(), setup.path("canonical_data/tiny"));
    let check = |task: &Task, tokenizer: &str| {
        check_encoded(
            task,
            task.split("train").unwrap(),
            &dir,
            &EncoderAt::new(&setup.path(tokenizer)),
        )
    };
    check(rte, "tiny").unwrap();
    // The same words in another order.
    setup.write("other/vocab.txt", &VOCAB.replace("a\nb", "b\na"));
    let error = check(rte, "other").unwrap_err().to_string();
    assert!(
        error.contains("rte_train.json: expected samples encoded by the tokenizer in"),
        "{error}"
    );
    // Without a tokenizer nothing is known, nor of what another program has made.
    check(rte, "nowhere").unwrap();
    let key = setup.path("canonical_data/tiny/rte_train.key.json");
    let text = fs::read_to_string(&key).unwrap();
    fs::write(&key, text.replace("not_entailment", "no_entailment")).unwrap();
    let error = check(rte, "tiny").unwrap_err().to_string();
    assert!(
        error.contains("not_entailment, entailment, found samples of the labels no_"),
        "{error}"
    );
    setup.write("canonical_data/tiny/rte_train.json", "{}\n");
    check(rte, "other").unwrap();
}

#[test]
fn both_stages_are_written_in_the_order_of_the_rows() {
    let setup = Setup::new();
    let done = setup.prepare(None).unwrap();
    assert_eq!(done[0].data_set, "rte_train");
    assert_eq!(done[0].path, setup.path("canonical_data/tiny/rte_train.json"));
    let samples = read_samples(task("rte").unwrap(), true, &done[0].path).unwrap();
    assert_eq!(samples.len(), 600);
    for (n, sample) in samples.iter().enumerate() {
        assert_eq!(sample.uid, n.to_string());
        assert_eq!(sample.label, Label::Class(1));
        assert_eq!(sample.token_id.len(), 4 + n % 7);
    }
    let canonical = setup.path("canonical_data/rte_train.tsv");
    assert_eq!(read_canonical(task("rte").unwrap(), Part::Train, &canonical).unwrap().len(), 600);
    // Nothing but the six files and the lock: no temporary one is left.
    let names = |folder: &str| fs::read_dir(setup.path(folder)).unwrap().count();
    assert_eq!((names("canonical_data"), names("canonical_data/tiny")), (3, 5));
}

#[test]
fn what_is_up_to_date_is_skipped() {
    let setup = Setup::new();
    assert_eq!(setup.skipped(), [false, false]);
    assert_eq!(setup.skipped(), [true, true]);
    let text = fs::read_to_string(setup.path("RTE/dev.tsv")).unwrap();
    setup.write("RTE/dev.tsv", &text.replace("\ta\t", "\tb\t"));
    assert_eq!(setup.skipped(), [true, false]);
    fs::remove_file(setup.path("canonical_data/rte_train.tsv")).unwrap();
    assert_eq!(setup.skipped(), [false, true]);
    setup.write("canonical_data/tiny/rte_train.json", "cut off");
    setup.write("canonical_data/tiny/rte_dev.key.json", "{");
    assert_eq!(setup.skipped(), [false, false]);
    assert_eq!(setup.skipped(), [true, true]);
}

#[test]
fn another_tokenizer_of_the_same_name_encodes_again() {
    let setup = Setup::new();
    setup.skipped();
    setup.write("tiny/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nb\na\n");
    assert_eq!(setup.skipped(), [false, false]);
    let path = setup.path("canonical_data/tiny/rte_dev.json");
    let samples = read_samples(task("rte").unwrap(), true, &path).unwrap();
    assert_eq!(samples[0].token_id, [2, 5, 3, 4, 3]);
}

#[test]
fn what_was_prepared_is_known_to_be_replaced() {
    let setup = Setup::new();
    let before = setup.prepare(Some(&["dev"])).unwrap().remove(0);
    assert!(before.is_still_there());
    assert_eq!(setup.skipped(), [false, true]);
    assert!(before.is_still_there());
    setup.write("tiny/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nb\na\n");
    let after = setup.prepare(Some(&["dev"])).unwrap().remove(0);
    assert_eq!(before.path, after.path);
    assert!(after.is_still_there() && !before.is_still_there());
    fs::remove_file(setup.path("canonical_data/tiny/rte_dev.key.json")).unwrap();
    assert!(!after.is_still_there());
}

/// So that a key is always that of the file beside it.
#[test]
fn one_process_at_a_time_prepares_a_set() {
    let setup = Setup::new();
    let path = setup.path("canonical_data/tiny/.lock");
    let lock = locked(&path).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| setup.prepare(Some(&["dev"])).unwrap().remove(0));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiting.is_finished() && !setup.path("canonical_data/tiny/rte_dev.json").exists());
        drop(lock);
        assert!(!waiting.join().unwrap().skipped);
    });
    // What is up to date needs no lock.
    let _lock = locked(&path).unwrap();
    assert!(setup.prepare(Some(&["dev"])).unwrap()[0].skipped);
}

#[test]
fn a_task_is_there_with_its_dev_sets() {
    let setup = Setup::new();
    let holds = |name: &str, sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        holds_source(task(name).unwrap(), &sets, setup.0.path())
    };
    assert!(holds("rte", &[]));
    fs::remove_file(setup.path("RTE/dev.tsv")).unwrap();
    assert!(!holds("rte", &[]), "as after an unpacking that was cut short");
    setup.write("canonical_data/rte_dev.tsv", "");
    assert!(holds("rte", &[]));
    for file in ["train.tsv", "dev_matched.tsv"] {
        setup.write(&format!("MNLI/{file}"), "");
    }
    assert!(!holds("mnli", &[]) && holds("mnli", &["mnli_matched"]));
    assert!(!holds("mnli", &["mnli_matched", "mnli_mismatched"]));
    setup.write("MNLI/dev_mismatched.tsv", "");
    assert!(holds("mnli", &[]) && !holds("qnli", &[]));
}

/// Samples hold the places of labels, and the numbers of scores.
#[test]
fn other_labels_encode_again() {
    let setup = Setup::new();
    let rte = task("rte").unwrap();
    let turned = Kind::Classification { labels: &["entailment", "not_entailment"] };
    let tokenizer = EncoderAt::new(&setup.path("tiny"));
    let options = Options { data_dir: setup.0.path(), tokenizer: &tokenizer };
    for (kind, class) in [(rte.kind, 0), (turned, 1), (rte.kind, 0)] {
        let task = Task { kind, ..*rte };
        for skipped in [false, true] {
            let done = prepare(&task, Some(&["dev"]), &options, &|_| ()).unwrap();
            assert_eq!(done[0].skipped, skipped);
            let samples = read_samples(&task, true, &done[0].path).unwrap();
            assert_eq!(samples[0].label, Label::Class(class));
        }
    }
}

#[test]
fn a_failed_run_leaves_no_key_behind() {
    let setup = Setup::new();
    setup.skipped();
    let good = fs::read_to_string(setup.path("RTE/dev.tsv")).unwrap();
    setup.write("RTE/dev.tsv", "index\ts1\ts2\tlabel\n5\ta\n");
    assert!(setup.prepare(None).unwrap_err().to_string().contains("dev.tsv:2: expected at least"));
    assert!(!setup.path("canonical_data/tiny/rte_dev.key.json").exists());
    setup.write("RTE/dev.tsv", &good);
    assert_eq!(setup.skipped(), [true, false]);
}

#[test]
fn a_missing_test_file_is_reported_but_a_missing_dev_file_is_an_error() {
    let setup = Setup::new();
    let tokenizer = EncoderAt::new(&setup.path("tiny"));
    let options = Options { data_dir: setup.0.path(), tokenizer: &tokenizer };
    let seen = Mutex::new(Vec::new());
    let note = |event: PrepareEvent<'_>| seen.lock().unwrap().push(format!("{event:?}"));
    prepare(task("rte").unwrap(), None, &options, &note).unwrap();
    let seen = seen.into_inner().unwrap();
    let count = |start: &str| seen.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(["Missing", "Started", "Advanced", "Finished"].map(count), [1, 2, 4, 2]);
    assert!(seen.last().unwrap().contains("rte_test"));

    assert_eq!(setup.prepare(Some(&["dev"])).unwrap().len(), 1);
    assert!(setup.prepare(Some(&["test"])).is_err());
    let text = setup.prepare(Some(&["validation"])).unwrap_err().to_string();
    assert_eq!(text, "split of rte: expected one of train, dev, test, found validation");
    fs::remove_file(setup.path("RTE/dev.tsv")).unwrap();
    assert_eq!(setup.prepare(None).unwrap().len(), 2, "the canonical file serves");
    fs::remove_file(setup.path("canonical_data/rte_dev.tsv")).unwrap();
    let text = setup.prepare(None).unwrap_err().to_string();
    let dir = setup.0.path().display();
    let hint =
        format!("(hint: platon download rte --data-dir {dir} brings it, or put GLUE's dev.tsv");
    assert!(text.contains(&hint), "{text}");
}
