use std::fs;

use super::*;
use crate::glue::tsv::{Label, read_canonical};

/// Files of texts in a folder of their own.
struct Setup(tempfile::TempDir);

impl Setup {
    fn new(files: &[(&str, &str)]) -> Self {
        let setup = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| setup.write(name, text));
        setup
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn files(&self, train: &str, dev: Option<&str>, test: Option<&str>) -> Files {
        let path = |name: &str| self.0.path().join(name);
        Files {
            train: path(train),
            dev: dev.map(path),
            test: test.map(path),
            text: "text".into(),
            text_pair: None,
            label: "label".into(),
            dev_share: 0.25,
            seed: 7,
        }
    }

    fn refused(&self, files: &Files) -> String {
        let error = files.settle(&[], false).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn classes(names: &[&str]) -> Target {
    Target::Classes(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn labels_are_found_and_counted() {
    let setup = Setup::new(&[
        ("a.csv", "text,label\na,pos\nb,neg\nc,pos\n"),
        ("dev.jsonl", "{\"text\": \"d\", \"label\": \"neg\"}\n"),
        ("test.tsv", "text\tid\ne\t1\n"),
    ]);
    let settled = setup.files("a.csv", Some("dev.jsonl"), Some("test.tsv")).settle(&[], false);
    let settled = settled.unwrap();
    assert_eq!(settled.target, classes(&["neg", "pos"]));
    assert_eq!(settled.classes, [("neg".to_owned(), 1), ("pos".to_owned(), 2)]);
    assert_eq!((settled.rows, settled.test_is_labelled), (3, false));
    // In the order that somebody asks for.
    let named = ["pos".to_owned(), "neg".to_owned()];
    let settled = setup.files("a.csv", None, None).settle(&named, false).unwrap();
    assert_eq!(settled.target, classes(&["pos", "neg"]));
    let setup =
        Setup::new(&[("a.csv", "text,label\na,1\nb,0\n"), ("b.csv", "text,label\na,1.5\n")]);
    let target = |name: &str, regression| {
        setup.files(name, None, None).settle(&[], regression).unwrap().target
    };
    assert_eq!(target("a.csv", false), classes(&["0", "1"]));
    assert_eq!(target("a.csv", true), Target::Number);
    assert_eq!(target("b.csv", false), Target::Number);
}

#[test]
fn a_test_file_without_labels_has_none_whatever_says_so() {
    let setup = Setup::new(&[
        ("a.csv", "text,label\na,1\nb,0\n"),
        ("minus.csv", "text,label\na,-1\nb,1\n"),
        ("empty.csv", "text,label\nc,\nd, \n"),
        ("null.jsonl", "{\"text\": \"c\", \"label\": null}\n"),
        ("secret.csv", "text,label\nc,-1\nd,-1\n"),
        ("mixed.csv", "text,label\nc,-1\nd,1\n"),
        ("some.csv", "text,label\nc,1\nd,\n"),
    ]);
    let is_labelled = |train: &str, test: &str| {
        setup.files(train, None, Some(test)).settle(&[], false).unwrap().test_is_labelled
    };
    for name in ["empty.csv", "null.jsonl", "secret.csv"] {
        assert!(!is_labelled("a.csv", name), "{name}");
    }
    // A label like others.
    assert!(is_labelled("minus.csv", "secret.csv"));
    for (name, expected) in [
        (
            "mixed.csv",
            "mixed.csv:2: expected a label of 0, 1 in label, found \"-1\" (hint: only labels of the \
             training rows can be learnt: add rows, or leave these out; without labels all rows are \
             predicted)",
        ),
        (
            "some.csv",
            "some.csv:3: expected a label in label, found an empty one (hint: mend the row, or leave \
             it out; without labels all rows are predicted)",
        ),
    ] {
        assert_eq!(setup.refused(&setup.files("a.csv", None, Some(name))), expected);
    }
}

#[test]
fn rows_without_text_or_label_are_refused_by_their_line() {
    let file = |text: &str| Setup::new(&[("a.csv", text)]);
    for (text, expected) in [
        (
            "text,label\na,x\n ,y\n",
            "a.csv:3: expected a text in text, found an empty one (hint: fill",
        ),
        (
            "text,label\na,x\nb, \n",
            "a.csv:3: expected a label in label, found an empty one (hint: m",
        ),
        (
            "text,label\na,x\nb,x\n",
            "a.csv: expected at least two labels in label, found only \"x\"",
        ),
        ("text,label\n", "a.csv: expected at least one row, found none"),
        (
            "text,class\na,x\n",
            "a.csv: expected a column called label, found the columns text, class",
        ),
    ] {
        let setup = file(text);
        let error = setup.refused(&setup.files("a.csv", None, None));
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    let setup = file("text,label\na,x\nb,y\n");
    let error = setup.files("a.csv", None, None).settle(&[], true).unwrap_err().to_string();
    assert!(error.contains("a.csv:2: expected a number in label, found \"x\""), "{error}");
    let setup = Setup::new(&[("a.jsonl", "{\"text\": 5, \"label\": 1}\n")]);
    let error = setup.refused(&setup.files("a.jsonl", None, None));
    assert!(error.starts_with("a.jsonl:1: expected a text in text, found the number 5"), "{error}");
}

#[test]
fn a_label_of_another_file_only_is_refused_there() {
    let setup = Setup::new(&[
        ("a.csv", "text,label\na,x\nb,y\n"),
        ("dev.csv", "text,label\na,x\nb,z\n"),
        ("none.csv", "text,label\n"),
    ]);
    for (dev, test) in [(Some("dev.csv"), None), (Some("a.csv"), Some("dev.csv"))] {
        let error = setup.refused(&setup.files("a.csv", dev, test));
        let expected =
            "dev.csv:3: expected a label of x, y in label, found \"z\" (hint: only labels";
        assert!(error.starts_with(expected), "{error}");
    }
    let error = setup.refused(&setup.files("a.csv", Some("none.csv"), None));
    assert!(error.starts_with("none.csv: expected at least one row"), "{error}");
    let only = ["x".to_owned(), "z".to_owned()];
    let error = setup.files("a.csv", None, None).settle(&only, false).unwrap_err().to_string();
    assert!(error.contains("a.csv:3: expected a label of x, z in label, found \"y\""), "{error}");
}

#[test]
fn rows_are_written_once_and_again_where_a_file_has_changed() {
    let rows: String = (0..40).map(|n| format!("\"row {n}\n\",{}\n", ["x", "y"][n % 2])).collect();
    let setup = Setup::new(&[("a.csv", &format!("text,label\n{rows}"))]);
    let files = setup.files("a.csv", None, None);
    let settled = files.settle(&[], false).unwrap();
    let task = files.task("mine", &settled.target, false);
    assert!(std::ptr::eq(task, files.task("mine", &settled.target, false)), "made once");
    let data = setup.0.path().join("data");
    let folder = files.prepare(task, &data, &Part::ALL).unwrap();
    assert!(folder.starts_with(data.join("own")));
    let read = |split: &str| fs::read_to_string(canonical_file(task, split, &folder)).unwrap();
    let (train, dev) = (read("train"), read("dev"));
    assert_eq!((train.lines().count(), dev.lines().count()), (30, 10));
    assert!(train.lines().chain(dev.lines()).any(|line| line == "7\ty\trow 7 "), "{train}");
    let count = |label: &str| dev.lines().filter(|line| line.contains(label)).count();
    assert_eq!((count("\tx\t"), count("\ty\t")), (5, 5));
    let times = |split: &str| {
        fs::metadata(canonical_file(task, split, &folder)).unwrap().modified().unwrap()
    };
    let before = times("train");
    assert_eq!(files.prepare(task, &data, &Part::ALL).unwrap(), folder);
    assert_eq!(times("train"), before);
    // Another draw has a folder of its own.
    let other = Files { seed: 8, ..files.clone() };
    assert_ne!(other.prepare(task, &data, &Part::ALL).unwrap(), folder);
    setup.write("a.csv", &format!("text,label\n{rows}new,x\n"));
    assert_eq!(files.prepare(task, &data, &Part::ALL).unwrap(), folder);
    assert_eq!(read("train").lines().count() + read("dev").lines().count(), 41);
    // A malformed file leaves no key that vouches for what was there.
    setup.write("a.csv", "text,label\na\n");
    assert!(files.prepare(task, &data, &Part::ALL).is_err());
    assert!(!folder.join("source.json").exists());
}

/// What evaluates has no need of the rows to learn from, unless it draws its own from them.
#[test]
fn rows_of_one_part_want_no_other_file() {
    let csv = "text,label\na,x\nb,y\nc,x\nd,y\n";
    let setup = Setup::new(&[("a.csv", csv), ("dev.csv", "text,label\ne,y\n"), ("b.csv", csv)]);
    let (with_dev, without) =
        (setup.files("a.csv", Some("dev.csv"), None), setup.files("b.csv", None, None));
    let task = with_dev.task("parts", &classes(&["x", "y"]), false);
    let data = setup.0.path().join("data");
    let remove = |name: &str| fs::remove_file(setup.0.path().join(name)).unwrap();
    let prepare = |files: &Files, parts: &[Part]| files.prepare(task, &data, parts);
    let lines = |folder: &Path, split: &str| {
        fs::read_to_string(canonical_file(task, split, folder))
            .map_or(0, |text| text.lines().count())
    };
    remove("a.csv");
    let folder = prepare(&with_dev, &[Part::Dev]).unwrap();
    assert_eq!((lines(&folder, "train"), lines(&folder, "dev")), (0, 1));
    // What was not asked for is not vouched for.
    let error = prepare(&with_dev, &Part::ALL).unwrap_err().to_string();
    assert!(error.contains("a.csv: cannot read"), "{error}");
    assert!(error.ends_with("(hint: put it back, or name its place with --train-file)"), "{error}");
    setup.write("a.csv", csv);
    prepare(&with_dev, &Part::ALL).unwrap();
    assert_eq!((lines(&folder, "train"), lines(&folder, "dev")), (4, 1));
    // One part made anew leaves the other known.
    remove("a.csv");
    setup.write("dev.csv", "text,label\ne,y\nf,x\n");
    prepare(&with_dev, &[Part::Dev]).unwrap();
    assert_eq!((lines(&folder, "train"), lines(&folder, "dev")), (4, 2));
    let key = fs::read_to_string(folder.join("source.json")).unwrap();
    let key: Key = serde_json::from_str(&key).unwrap();
    assert!(key.train.is_some() && key.dev.is_some() && key.test.is_none(), "{key:?}");
    // Of rows that are held back.
    let folder = prepare(&without, &[Part::Dev]).unwrap();
    assert_eq!((lines(&folder, "train"), lines(&folder, "dev")), (2, 2));
    remove("b.csv");
    let error = prepare(&without, &[Part::Dev]).unwrap_err().to_string();
    assert!(error.contains("b.csv: cannot read") && error.contains("--train-file"), "{error}");
}

/// In a test file of GLUE's -1 stands for no label; in one's own it may be one.
#[test]
fn minus_one_is_a_label_of_a_test_file_like_any_other() {
    let train: String = (0..8).map(|n| format!("row {n},{}\n", n % 4 - 2)).collect();
    let setup = Setup::new(&[
        ("a.csv", &format!("text,label\n{train}")),
        ("dev.csv", &format!("text,label\n{train}last row,1\n")),
        ("test.csv", "text,label\na,-2\nb,-1\nc,0\nd,1\n"),
    ]);
    let files = setup.files("a.csv", Some("dev.csv"), Some("test.csv"));
    for (regression, expected) in
        [(false, [0, 1, 2, 3].map(Label::Class)), (true, [-2.0, -1.0, 0.0, 1.0].map(Label::Score))]
    {
        let settled = files.settle(&[], regression).unwrap();
        assert!(settled.test_is_labelled);
        let name = if regression { "minus-scores" } else { "minus-classes" };
        let task = files.task(name, &settled.target, true);
        let folder = files.prepare(task, &setup.0.path().join("data"), &Part::ALL).unwrap();
        let path = canonical_file(task, "test", &folder);
        let rows = read_canonical(task, Part::Test, &path).unwrap();
        assert_eq!(rows.iter().map(|row| row.label).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_run_of_rows_that_were_drawn_otherwise_is_refused() {
    let setup = Setup::new(&[("a.csv", "text,label\na,1\nb,0\n")]);
    let files = Files { dev_share: 0.75, ..setup.files("a.csv", None, None) };
    let note = setup.0.path().join("own-data.json");
    files.note(&note).unwrap();
    let numbers = files.task("drawn-numbers", &Target::Number, false);
    files.check_noted(numbers, &note).unwrap();
    let old = fs::read_to_string(&note).unwrap().replace("\"format\": 2,", "");
    fs::write(&note, old).unwrap();
    let text = files.check_noted(numbers, &note).unwrap_err().to_string();
    assert!(text.contains("held back as they are now, found one of an older version"), "{text}");
    files.check_noted(files.task("drawn", &classes(&["0", "1"]), false), &note).unwrap();
    Files { dev_share: 0.5, ..files }.check_noted(numbers, &note).unwrap();
}

#[test]
fn a_task_has_the_metrics_of_its_kind() {
    let setup = Setup::new(&[]);
    let files = setup.files("a.csv", None, Some("b.csv"));
    let tags = |target: &Target| {
        let task = files.task("kinds", target, true);
        task.metrics.iter().map(|metric| metric.tag()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(tags(&classes(&["a", "b"])), "ACC MacroF1 F1 MCC");
    assert_eq!(tags(&classes(&["a", "b", "c"])), "ACC MacroF1");
    assert_eq!(tags(&Target::Number), "Pearson Spearman");
    let task = files.task("kinds", &Target::Number, true);
    assert!(task.is_score(-1e6) && !task.is_score(f32::NAN) && task.test.label.is_some());
    assert!(files.task("kinds", &Target::Number, false).test.label.is_none());
}
