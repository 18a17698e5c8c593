use std::fs;

use super::*;
use crate::glue::task::{TASKS, data_set, task};

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Vec<Row>> {
    let (task, split) = data_set(name).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(split.file);
    fs::write(&path, content).unwrap();
    read_raw(task, split, &path)
}

/// Rows as `uid|label|text a|text b`.
fn short(name: &str, content: &str) -> Vec<String> {
    let show = |row: &Row| match (&row.label, &row.text_b) {
        (Label::Class(n), None) => format!("{}|{n}|{}", row.uid, row.text_a),
        (Label::Class(n), Some(b)) => format!("{}|{n}|{}|{b}", row.uid, row.text_a),
        (Label::Score(x), Some(b)) => format!("{}|{x:?}|{}|{b}", row.uid, row.text_a),
        (Label::Score(_), None) => unreachable!(),
    };
    read(name, content).unwrap().iter().map(show).collect()
}

fn message(name: &str, content: &[u8]) -> String {
    read(name, content).unwrap_err().to_string()
}

#[test]
fn cola_has_no_header_but_in_test() {
    let raw = "gj04\t1\t\tThey won.\nbc01\t0\t*\tThem won.\n";
    assert_eq!(short("cola_train", raw), ["0|1|They won.", "1|0|Them won."]);
    let raw = "index\tsentence\n7\tBill left.\n8\tHe did.\n";
    assert_eq!(short("cola_test", raw), ["0|0|Bill left.", "1|0|He did."]);
}

#[test]
fn sst_counts_labelled_rows_and_keeps_test_numbers() {
    assert_eq!(short("sst_dev", "sentence\tlabel\ngood \t1\nbad \t0\n"), ["0|1|good ", "1|0|bad "]);
    assert_eq!(short("sst_test", "index\tsentence\n5\tuneasy .\n"), ["5|0|uneasy ."]);
}

#[test]
fn mrpc_begins_with_a_byte_order_mark_and_its_label() {
    let raw =
        "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t70\t71\tHe said\tShe \"said\n";
    assert_eq!(short("mrpc_train", raw), ["0|1|He said|She \"said"]);
    let raw = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n9\t70\t71\tA\tB\n";
    assert_eq!(short("mrpc_test", raw), ["0|0|A|B"]);
}

#[test]
fn stsb_is_counted_from_the_end() {
    let header = "index\tgenre\tfile\tyear\told\tsource1\tsource2\tsentence1\tsentence2";
    let raw =
        format!("{header}\tscore\n4\tm\tf\t2012\t0001\tnone\tnone\tA plane.\tA jet.\t3.800\n");
    assert_eq!(short("stsb_train", &raw), ["0|3.8|A plane.|A jet."]);
    let raw = format!("{header}\n4\tm\tf\t2012\t0001\tnone\tnone\tA plane.\tA jet.\n");
    assert_eq!(short("stsb_test", &raw), ["0|0.0|A plane.|A jet."]);
}

#[test]
fn qqp_skips_short_rows_and_does_not_count_them() {
    let raw = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n\
        10\t1\t2\tWhy?\tHow?\t0\n11\t3\t4\tcut\toff\n12\t5\t6\tWho?\t\t1\n";
    assert_eq!(short("qqp_train", raw), ["0|0|Why?|How?", "1|1|Who?|"]);
    assert_eq!(short("qqp_test", "id\tquestion1\tquestion2\n3\tA?\tB?\n"), ["3|0|A?|B?"]);
    assert!(message("qqp_test", b"h\n3\tA?\n").contains(":2: expected at least 3 fields"));
}

#[test]
fn mnli_skips_rows_without_a_gold_label() {
    let row = |uid, label| format!("{uid}\tp\tq\tg\tb1\tb2\tp1\tp2\tA man.\tA dog.\tx\t{label}\n");
    let header = row("index", "gold_label");
    let raw = [header, row("3", "neutral"), row("4", "-"), row("5", "contradiction")].concat();
    for name in ["mnli_train", "mnli_matched_dev", "mnli_mismatched_dev", "demo_train", "demo_dev"]
    {
        assert_eq!(short(name, &raw), ["3|1|A man.|A dog.", "5|0|A man.|A dog."], "{name}");
    }
    let raw = "index\tp\tq\tg\tb1\tb2\tp1\tp2\ts1\ts2\n6\tp\tq\tg\tb1\tb2\tp1\tp2\tA\t-\n";
    for name in ["mnli_matched_test", "mnli_mismatched_test"] {
        assert_eq!(short(name, raw), ["6|0|A|-"], "{name}");
    }
}

#[test]
fn qnli_is_counted_from_the_front() {
    let raw = "index\tquestion\tsentence\tlabel\n2\tWhen?\tIn 5.\tentailment\n";
    assert_eq!(short("qnli_dev", raw), ["2|1|When?|In 5."]);
    assert_eq!(short("qnli_test", "index\tq\ts\n2\tWhen?\tIn 5.\n"), ["2|0|When?|In 5."]);
}

#[test]
fn rte_keeps_its_numbers_and_wnli_counts() {
    let raw = "index\ts1\ts2\tlabel\n8\tA.\tB.\tentailment\n9\tC.\tD.\tnot_entailment\n";
    assert_eq!(short("rte_train", raw), ["8|1|A.|B.", "9|0|C.|D."]);
    assert_eq!(short("rte_test", "index\ts1\ts2\n8\tA.\tB.\n"), ["8|0|A.|B."]);
    assert_eq!(short("wnli_dev", "index\ts1\ts2\tlabel\n8\tA.\tB.\t1\n"), ["0|1|A.|B."]);
    assert_eq!(short("wnli_test", "index\ts1\ts2\n8\tA.\tB.\n"), ["0|0|A.|B."]);
}

#[test]
fn line_ends_of_windows_are_tolerated() {
    let raw = "index\ts1\ts2\tlabel\r\n8\tA.\tB.\tentailment\r\n\r\n";
    assert_eq!(short("rte_dev", raw), ["8|1|A.|B."]);
}

#[test]
fn malformed_rows_are_named_with_their_line() {
    let text = message("rte_train", b"index\ts1\ts2\tlabel\n0\tA\tB\tentailment\n1\tA B\n");
    assert!(
        text.contains("train.tsv:3: expected at least 4 fields, found 2 fields (hint"),
        "{text}"
    );
    let text = message("rte_train", b"h\n0\tA\tB\tentailment\n\n1\tA\tB\tentailment\n");
    assert!(text.contains("train.tsv:3: expected at least 4 fields, found 1 field "), "{text}");
    let text = message("rte_dev", b"h\n0\tA\tB\tmaybe\n");
    assert!(
        text.contains("dev.tsv:2: expected a label of not_entailment, entailment, found \"maybe\""),
        "{text}"
    );
    for score in ["5.1", "NaN", "-0.1", "high"] {
        let raw = format!("h\n4\tm\tf\t2012\t1\tn\tn\tA\tB\t{score}\n");
        let text = message("stsb_train", raw.as_bytes());
        assert!(text.contains(":2: expected a score from 0 to 5, found"), "{text}");
    }
    let text = message("cola_dev", b"gj04\t1\t\tGood.\ngj04\t1\t\tb\xe4d.\n");
    assert!(text.contains("dev.tsv:2: expected UTF-8 text, found the byte 0xe4"), "{text}");
    for raw in ["", "\n", "index\ts1\ts2\tlabel\n"] {
        assert!(
            message("rte_dev", raw.as_bytes()).contains("expected at least one row"),
            "{raw:?}"
        );
    }
}

#[test]
fn canonical_rows_come_back_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    for task in TASKS {
        let label = match task.kind {
            Kind::Classification { .. } => Label::Class(1),
            Kind::Regression => Label::Score(3.8),
        };
        let text_b = task.is_pair().then(|| "two ".to_owned());
        let rows = [Row { uid: "7".into(), label, text_a: " \"one\"".into(), text_b }];
        let path = dir.path().join(task.name);
        write_canonical(task, &rows, &path).unwrap();
        assert_eq!(read_canonical(task, Part::Train, &path).unwrap(), rows, "{}", task.name);
    }
    let text = |name| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(text("rte"), "7\tentailment\t \"one\"\ttwo \n");
    assert_eq!(text("cola"), "7\t1\t \"one\"\n");
    assert_eq!(text("stsb"), "7\t3.8\t \"one\"\ttwo \n");
}

#[test]
fn canonical_files_with_other_columns_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rte_dev.tsv");
    let rte = task("rte").unwrap();
    for (content, found) in [("0\tentailment\tA\n", 3), ("0\tentailment\tA\tB\tC\n", 5)] {
        fs::write(&path, content).unwrap();
        let text = read_canonical(rte, Part::Dev, &path).unwrap_err().to_string();
        assert!(text.ends_with(&format!(":1: expected 4 fields, found {found} fields")), "{text}");
    }
    let row = Row { uid: "0".into(), label: Label::Class(2), text_a: "A".into(), text_b: None };
    let text = write_canonical(rte, &[row], &path).unwrap_err().to_string();
    assert_eq!(text, "label: expected a label of not_entailment, entailment, found Class(2)");
}

#[test]
fn test_rows_of_other_programs_are_labelled_minus_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rte_test.tsv");
    fs::write(&path, "0\t-1\ta\tb\n1\tentailment\tc\td\n").unwrap();
    let rows = read_canonical(task("rte").unwrap(), Part::Test, &path).unwrap();
    assert_eq!(rows.iter().map(|row| row.label).collect::<Vec<_>>(), [0, 1].map(Label::Class));
    let text = read_canonical(task("rte").unwrap(), Part::Dev, &path).unwrap_err().to_string();
    assert!(text.contains("rte_test.tsv:1: expected a label of not_entailment, entail"), "{text}");
}
