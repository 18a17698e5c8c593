use serde_json::json;

use super::Problem::{Classes, Labels, Regression};
use super::*;

fn settings(json: &str, outputs: usize) -> Result<HeadSettings> {
    let json = serde_json::from_str(json).unwrap();
    HeadSettings::read(&json, Path::new("config.json"), outputs)
}

// Printed by tests/fixtures/head_settings.py.
#[test]
fn settings_mean_what_transformers_makes_of_them() {
    let table: &[(&str, &[&str], Problem, f64)] = &[
        (r#"{}"#, &["LABEL_0", "LABEL_1"], Classes, 0.1),
        (
            r#"{"id2label": null, "label2id": null, "problem_type": null, "classifier_dropout": null}"#,
            &["LABEL_0", "LABEL_1"],
            Classes,
            0.1,
        ),
        (r#"{"num_labels": 3}"#, &["LABEL_0", "LABEL_1", "LABEL_2"], Classes, 0.1),
        (r#"{"num_labels": 1}"#, &["LABEL_0"], Regression, 0.1),
        (r#"{"id2label": {"0": "a", "1": "b", "2": "c"}}"#, &["a", "b", "c"], Classes, 0.1),
        (r#"{"id2label": {"2": "c", "0": "a", "1": "b"}}"#, &["a", "b", "c"], Classes, 0.1),
        (r#"{"id2label": {" 0": "a", "01": "b"}}"#, &["a", "b"], Classes, 0.1),
        (r#"{"id2label": {"0": 5, "1": 7}}"#, &["5", "7"], Classes, 0.1),
        (r#"{"id2label": {"0": "a", "1": "b"}, "num_labels": 2}"#, &["a", "b"], Classes, 0.1),
        (
            r#"{"id2label": {"0": "a", "1": "b"}, "num_labels": 3}"#,
            &["LABEL_0", "LABEL_1", "LABEL_2"],
            Classes,
            0.1,
        ),
        (
            r#"{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}"#,
            &["a", "b"],
            Classes,
            0.1,
        ),
        (r#"{"label2id": {"a": 0, "b": 1, "c": 2}}"#, &["LABEL_0", "LABEL_1"], Classes, 0.1),
        (r#"{"id2label": {"0": "similarity"}}"#, &["similarity"], Regression, 0.1),
        (
            r#"{"id2label": {"0": "similarity"}, "problem_type": "regression"}"#,
            &["similarity"],
            Regression,
            0.1,
        ),
        (
            r#"{"id2label": {"0": "a", "1": "b"}, "problem_type": "single_label_classification"}"#,
            &["a", "b"],
            Classes,
            0.1,
        ),
        (
            r#"{"id2label": {"0": "a", "1": "b"}, "problem_type": "multi_label_classification"}"#,
            &["a", "b"],
            Labels,
            0.1,
        ),
        (
            r#"{"id2label": {"0": "a"}, "problem_type": "multi_label_classification"}"#,
            &["a"],
            Labels,
            0.1,
        ),
        (
            r#"{"classifier_dropout": 0.3, "hidden_dropout_prob": 0.2}"#,
            &["LABEL_0", "LABEL_1"],
            Classes,
            0.3,
        ),
        (
            r#"{"classifier_dropout": 0, "hidden_dropout_prob": 0.2}"#,
            &["LABEL_0", "LABEL_1"],
            Classes,
            0.0,
        ),
        (r#"{"hidden_dropout_prob": 0.2}"#, &["LABEL_0", "LABEL_1"], Classes, 0.2),
    ];
    for (json, labels, problem, dropout) in table {
        let head = settings(json, labels.len()).unwrap();
        assert_eq!(head.labels, *labels, "{json}");
        assert_eq!((head.problem, head.dropout), (*problem, *dropout), "{json}");
    }
}

#[test]
fn what_transformers_refuses_and_what_is_not_computed_is_refused() {
    for (json, outputs, expected) in [
        (
            r#"{"id2label": {"0": "a"}, "problem_type": "single_label_classification"}"#,
            1,
            "expected at least two outputs of a single_label_classification, found 1",
        ),
        (r#"{"id2label": ["a", "b"]}"#, 2, "expected id2label that names outputs by"),
        (r#"{"id2label": {"x": "a", "1": "b"}}"#, 2, "numbers of outputs in id2label, found \"x\""),
        (r#"{"id2label": {"0": null, "1": "b"}}"#, 2, "expected names in id2label, found null"),
        (r#"{"id2label": {"1": "a", "2": "b"}}"#, 2, "with the numbers 0 to 1, found 1, 2"),
        (r#"{"id2label": {"0": "a", "1": "b"}}"#, 3, "labels of the 3 outputs .. found a, b"),
        (r#"{"id2label": {}}"#, 2, "labels of the 2 outputs that the weights have, found none"),
        (r#"{"num_labels": 5}"#, 2, "found LABEL_0, LABEL_1, LABEL_2, LABEL_3, LABEL_4"),
        (r#"{"num_labels": -1}"#, 2, "expected num_labels from 1 to 1048576, found -1"),
        (r#"{"num_labels": 1e18}"#, 2, "expected num_labels from 1 to 1048576, found"),
        (r#"{"num_labels": "2"}"#, 2, "expected num_labels from 1 to 1048576, found \"2\""),
        (r#"{"problem_type": "ranking"}"#, 2, "expected problem_type regression, .. \"ranking\""),
        (r#"{"problem_type": 1}"#, 2, "expected problem_type regression, .. found 1"),
        (r#"{"problem_type": "regression"}"#, 2, "one output of a regression, found 2 outputs"),
        (r#"{"classifier_dropout": "a"}"#, 2, "classifier_dropout from 0 to 1, found \"a\""),
        (r#"{"hidden_dropout_prob": 2.0}"#, 2, "hidden_dropout_prob from 0 to 1, found 2.0"),
    ] {
        let error = settings(json, outputs).unwrap_err().to_string();
        let found =
            expected.split(" .. ").try_fold(&*error, |rest, part| Some(rest.split_once(part)?.1));
        assert!(error.starts_with("config.json: expected") && found.is_some(), "{json}: {error}");
    }
}

#[test]
fn the_default_of_two_labels_says_nothing_of_another_head() {
    let default = r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#;
    assert_eq!(settings(default, 3).unwrap().labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
    assert_eq!(settings(default, 1).unwrap().problem, Regression);
}

const RTE: &[&[&str]] = &[&["not_entailment"], &["entailment"]];
const SST: &[&[&str]] = &[&["0", "negative"], &["1", "positive"]];
const MNLI: &[&[&str]] = &[&["contradiction"], &["neutral"], &["entailment"]];

fn order(json: &Value, classes: &[&[&str]], outputs: usize) -> Result<Vec<usize>> {
    let classes: Vec<Vec<&str>> = classes.iter().map(|names| names.to_vec()).collect();
    HeadSettings::read(json, Path::new("config.json"), outputs)?.order("task", &classes)
}

#[test]
fn outputs_are_matched_with_a_task_s_classes_by_their_names() {
    let named = |names: &[&str]| {
        let names = names.iter().enumerate().map(|(n, name)| (n.to_string(), json!(name)));
        json!({"id2label": names.collect::<Map<_, _>>()})
    };
    for (json, classes, expected) in [
        (named(&["not_entailment", "entailment"]), RTE, vec![0, 1]),
        (named(&["entailment", "not_entailment"]), RTE, vec![1, 0]),
        (named(&["ENTAILMENT", "Not Entailment"]), RTE, vec![1, 0]),
        (named(&["entailment", "neutral", "contradiction"]), MNLI, vec![2, 1, 0]),
        (named(&["neutral", "entailment", "contradiction"]), MNLI, vec![2, 0, 1]),
        (named(&["POSITIVE", "NEGATIVE"]), SST, vec![1, 0]),
        (named(&["1", "0"]), SST, vec![1, 0]),
        (named(&["LABEL_0", "LABEL_1", "LABEL_2"]), MNLI, vec![0, 1, 2]),
        (named(&["label_1", "label_2", "label_0"]), MNLI, vec![2, 0, 1]),
        (named(&["0", "1", "2"]), MNLI, vec![0, 1, 2]),
        (json!({}), RTE, vec![0, 1]),
        (json!({"label2id": {"entailment": 0, "not_entailment": 1}}), RTE, vec![1, 0]),
        // As transformers 4 saved a model that was given id2label alone.
        (
            json!({"id2label": {"0": "entailment", "1": "not_entailment"},
                "label2id": {"LABEL_0": 0, "LABEL_1": 1}}),
            RTE,
            vec![1, 0],
        ),
        (
            json!({"id2label": {"0": "1", "1": "0"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}),
            SST,
            vec![1, 0],
        ),
    ] {
        assert_eq!(order(&json, classes, classes.len()).unwrap(), expected, "{json}");
    }
    assert_eq!(order(&json!({"num_labels": 1}), &[], 1).unwrap(), [0]);
}

#[test]
fn labels_that_differ_only_in_case_or_signs_are_each_their_own() {
    let own: &[&[&str]] = &[&["B"], &["a"], &["b"]];
    let named =
        |names: [&str; 3]| json!({"id2label": {"0": names[0], "1": names[1], "2": names[2]}});
    for (names, expected) in [(["B", "a", "b"], [0, 1, 2]), (["b", "a", "B"], [2, 1, 0])] {
        assert_eq!(order(&named(names), own, 3).unwrap(), expected);
    }
    let signs: &[&[&str]] = &[&["not x"], &["not-x"], &["x"]];
    assert_eq!(order(&named(["x", "not-x", "not x"]), signs, 3).unwrap(), [2, 1, 0]);
    // Numbers are names where classes are numbers, and places where outputs have no names.
    let numbers: &[&[&str]] = &[&["1"], &["2"], &["3"]];
    assert_eq!(order(&named(["3", "1", "2"]), numbers, 3).unwrap(), [1, 2, 0]);
    assert_eq!(order(&named(["LABEL_2", "LABEL_0", "label_1"]), numbers, 3).unwrap(), [1, 2, 0]);
    let error = order(&named(["0", "1", "2"]), numbers, 3).unwrap_err().to_string();
    assert!(error.contains("labels of task: 1, 2, 3, found 0, 1, 2"), "{error}");
    // One output cannot be two classes.
    let error = order(&named(["B", "a", "c"]), own, 3).unwrap_err().to_string();
    assert!(error.contains("labels of task: B, a, b, found B, a, c"), "{error}");
}

#[test]
fn a_head_of_other_classes_is_refused_with_both_orders() {
    for (json, classes, outputs, expected) in [
        (
            json!({"id2label": {"0": "sad", "1": "glad"}}),
            RTE,
            2,
            "expected labels of task: not_entailment, entailment, found sad, glad (hint: give",
        ),
        (
            json!({"id2label": {"0": "LABEL_1", "1": "entailment"}}),
            RTE,
            2,
            "not_entailment, entailment, found LABEL_1, entailment",
        ),
        (json!({"id2label": {"0": "a", "1": "a"}}), RTE, 2, "found a, a"),
        (json!({"id2label": {"0": "1", "1": "1"}}), RTE, 2, "found 1, 1"),
        (json!({}), RTE, 3, "found LABEL_0, LABEL_1, LABEL_2"),
        (
            json!({"id2label": {"0": "entailment", "1": "not_entailment"},
                "label2id": {"entailment": 1, "not_entailment": 0}}),
            RTE,
            2,
            "found entailment, not_entailment in id2label, not_entailment, entailment in label2id",
        ),
        (
            json!({"id2label": {"0": "1", "1": "0"}, "label2id": {"0": 0, "1": 1}}),
            SST,
            2,
            "expected labels of task: 0, 1, found 1, 0 in id2label, 0, 1 in label2id",
        ),
        (
            json!({"problem_type": "multi_label_classification"}),
            RTE,
            2,
            "a head of a single_label_classification, as task needs, found multi_label_",
        ),
        (json!({}), RTE, 1, "a head of a single_label_classification, as task needs, found regr"),
        (json!({}), &[], 2, "a head of a regression, as task needs, found single_label_"),
    ] {
        let error = order(&json, classes, outputs).unwrap_err().to_string();
        assert!(error.starts_with("config.json: expected "), "{json}: {error}");
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn written_labels_are_read_back_and_those_given_stay() {
    let head = HeadSettings::new(&["b", "a"], 0.2);
    let mut json = Map::from_iter([("num_labels".to_string(), json!(2))]);
    head.write_labels(&mut json);
    let expected = json!({"id2label": {"0": "b", "1": "a"}, "label2id": {"b": 0, "a": 1}});
    assert_eq!(Value::Object(json), expected);
    assert_eq!(HeadSettings::new(&[], 0.1).problem, Regression);
    let given = r#"{"id2label": {"0": "b", "1": "a"}, "num_labels": 2}"#;
    let mut json: Map<_, _> = serde_json::from_str(given).unwrap();
    settings(given, 2).unwrap().write_labels(&mut json);
    assert_eq!(Value::Object(json), serde_json::from_str::<Value>(given).unwrap());
}
