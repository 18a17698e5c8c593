use std::io::Read as _;

use ::zip::ZipArchive;

use super::*;
use crate::glue::task::{Kind, task};

const THREE: Entry = Entry { rows: 3, ..ENTRIES[7] };
const SCORES: Entry = Entry { rows: 2, ..ENTRIES[3] };

fn pairs(predictions: &[(&str, &str)]) -> Vec<(String, String)> {
    predictions.iter().map(|(uid, label)| ((*uid).to_owned(), (*label).to_owned())).collect()
}

fn read<'a>(entry: &Entry, text: &'a str) -> Result<Vec<&'a str>> {
    parse(Path::new("a.tsv"), entry, text)
}

/// Constant files for all tasks.
fn constants() -> BTreeMap<&'static str, String> {
    ENTRIES.iter().map(|entry| (entry.file, constant(entry))).collect()
}

#[test]
fn the_entries_are_those_of_the_tasks() {
    let rows: usize = ENTRIES.iter().map(|entry| entry.rows).sum();
    assert_eq!(rows, 426_309);
    for entry in ENTRIES {
        let task = task(entry.task).unwrap();
        assert!(entry.split == "ax" || task.split(entry.split).is_ok(), "{}", entry.file);
        let mut known = match task.kind {
            Kind::Classification { labels } => labels.to_vec(),
            Kind::Regression => vec![],
        };
        let mut labels = entry.labels.to_vec();
        labels.sort_unstable();
        known.sort_unstable();
        assert_eq!(labels, known, "{}", entry.file);
    }
}

#[test]
fn predictions_are_sorted_by_number() {
    let mut predictions: Vec<_> = (0..12).map(|n| (n.to_string(), (n % 2).to_string())).collect();
    predictions.sort_unstable();
    assert_eq!(predictions[2].0, "10", "sorted as text");
    assert_eq!(
        tsv(&predictions),
        "index\tprediction\n0\t0\n1\t1\n2\t0\n3\t1\n4\t0\n5\t1\n6\t0\n7\t1\n8\t0\n9\t1\n10\t0\n\
         11\t1\n"
    );
}

#[test]
fn other_identifiers_stay_in_their_order() {
    let text = tsv(&pairs(&[("b", "1"), ("10", "0"), ("9", "0")]));
    assert_eq!(text, "index\tprediction\nb\t1\n10\t0\n9\t0\n");
}

#[test]
fn a_file_comes_back_sorted() {
    let text = "index\tprediction\r\n2\tentailment\r\n0\tnot_entailment\r\n1\tentailment";
    let expected = ["not_entailment", "entailment", "entailment"];
    assert_eq!(read(&THREE, text).unwrap(), expected);
    let scores = read(&SCORES, "index\tprediction\n0\t5.000\n1\t0.125\n").unwrap();
    assert_eq!(scores, ["5.000", "0.125"]);
}

#[test]
fn a_wrong_file_is_refused_with_the_line() {
    let split = "(hint: were the predictions made for another split?)";
    for (entry, rows, message) in [
        (THREE, "", "a.tsv:1: expected \"index\\tprediction\", found \"\"".to_owned()),
        (
            THREE,
            "id\tlabel\n0\tentailment\n",
            "a.tsv:1: expected \"index\\tprediction\", found \"id\\tlabel\"".to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\n2\tentailment\n",
            format!("a.tsv:3: expected 3 rows, found 2 rows, none with index 1 {split}"),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\n1\tentailment\n2\tentailment\n3\tentailment\n",
            format!("a.tsv:5: expected 3 rows, found more {split}"),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\n0\tentailment\n",
            "a.tsv:3: expected each index once, found 0 again".to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\n3\tentailment\n",
            "a.tsv:3: expected an index from 0 to 2, found \"3\"".to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n+0\tentailment\n",
            "a.tsv:2: expected an index from 0 to 2, found \"+0\"".to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n0\tneutral\n",
            "a.tsv:2: expected a prediction of entailment, not_entailment, found \"neutral\""
                .to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\n\n",
            "a.tsv:3: expected an index, a tab and a prediction, found \"\"".to_owned(),
        ),
        (
            THREE,
            "index\tprediction\n0\tentailment\t1\n",
            "a.tsv:2: expected an index, a tab and a prediction, found \"0\\tentailment\\t1\""
                .to_owned(),
        ),
        (
            SCORES,
            "index\tprediction\n0\t5.001\n",
            "a.tsv:2: expected a score from 0 to 5, found \"5.001\"".to_owned(),
        ),
        (
            SCORES,
            "index\tprediction\n0\tNaN\n",
            "a.tsv:2: expected a score from 0 to 5, found \"NaN\"".to_owned(),
        ),
    ] {
        assert_eq!(read(&entry, rows).unwrap_err().to_string(), message);
    }
}

#[test]
fn scores_are_kept_in_range_and_rounded() {
    for (prediction, text) in [
        (3.4567, "3.457"),
        (-0.2, "0.000"),
        (-0.0, "0.000"),
        (5.3, "5.000"),
        (4.9996, "5.000"),
        (f32::MAX, "5.000"),
    ] {
        assert_eq!(score(prediction).unwrap(), text);
        assert!(is_known(&SCORES, text));
    }
    for prediction in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(score(prediction).is_err(), "{prediction}");
    }
}

#[test]
fn a_constant_file_has_every_row() {
    assert_eq!(
        constant(&THREE),
        "index\tprediction\n0\tentailment\n1\tentailment\n2\tentailment\n"
    );
    assert_eq!(constant(&SCORES), "index\tprediction\n0\t2.500\n1\t2.500\n");
    for entry in &ENTRIES {
        assert_eq!(constant(entry).lines().count(), entry.rows + 1, "{}", entry.file);
    }
}

#[test]
fn the_zip_holds_the_eleven_files_and_is_the_same_each_time() {
    let files = constants();
    let bytes = zip(&files).unwrap();
    assert_eq!(bytes, zip(&files).unwrap());
    let mut archive = ZipArchive::new(Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.len(), 11);
    for (place, entry) in ENTRIES.iter().enumerate() {
        let mut file = archive.by_index(place).unwrap();
        assert_eq!(file.name(), entry.file);
        assert_eq!(file.last_modified(), Some(DateTime::DEFAULT));
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text == files[entry.file], "{}", entry.file);
    }
}

#[test]
fn a_submission_that_the_server_would_refuse_is_not_made() {
    let mut files = constants();
    let ax = files.remove("AX.tsv").unwrap();
    assert_eq!(
        zip(&files).unwrap_err().to_string(),
        "submission: expected a file AX.tsv, found none (hint: a constant prediction stands in \
         for a task without a model)"
    );
    files.insert("AX.tsv", ax.replace("entailment", "maybe"));
    assert_eq!(
        zip(&files).unwrap_err().to_string(),
        "AX.tsv:2: expected a prediction of entailment, neutral, contradiction, found \"maybe\""
    );
    files.insert("ax.tsv", ax);
    assert_eq!(
        zip(&files).unwrap_err().to_string(),
        "file of a submission: expected one of CoLA.tsv, SST-2.tsv, MRPC.tsv, STS-B.tsv, \
         MNLI-m.tsv, MNLI-mm.tsv, QNLI.tsv, RTE.tsv, WNLI.tsv, QQP.tsv, AX.tsv, found ax.tsv"
    );
}
