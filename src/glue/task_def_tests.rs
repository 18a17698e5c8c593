use super::*;

fn table(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tasks.yml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// Two entries as they stand in the original's table, and one of a user.
const TABLE: &str = "\
cola:
  data_format: PremiseOnly
  dropout_p: 0.05
  enable_san: false
  metric_meta:
  - ACC
  - MCC
  loss: CeCriterion
  kd_loss: MseCriterion
  adv_loss: SymKlCriterion
  n_class: 2
  task_type: Classification
stsb:
  data_format: PremiseAndOneHypothesis
  enable_san: false
  metric_meta: [Pearson, Spearman]
  n_class: 1
  loss: MseCriterion
  task_type: Regression
mood: {data_format: PremiseOnly, metric_meta: [F1, ACC], n_class: 2, labels: [sad, glad],
  split_names: [train, home_dev], task_type: Classification}
";

#[test]
fn entries_of_the_original_s_table_are_its_tasks() {
    let (_dir, path) = table(TABLE);
    let cola = read(&path, "cola").unwrap();
    assert_eq!((cola.task.name, cola.dropout_p), ("cola", Some(0.05)));
    assert_eq!(read(&path, "stsb").unwrap().task, TASKS.iter().find(|t| t.name == "stsb").unwrap());
}

#[test]
fn what_a_table_measures_of_glue_s_tasks_is_measured() {
    let text = TABLE.replace("  - ACC\n  - MCC\n", "  - F1\n  - ACC\n");
    let (_dir, path) = table(&text);
    let cola = read(&path, "cola").unwrap().task;
    assert_eq!((cola.metrics, cola.main), (&[Metric::F1, Metric::Accuracy][..], Metric::F1));
    assert!(std::ptr::eq(cola, read(&path, "cola").unwrap().task), "memory is taken once");
    // The task's own main metric stays what decides, where it is measured.
    let (_dir, path) = table(&TABLE.replace("  - ACC\n  - MCC\n", "  - F1\n  - MCC\n"));
    let other = read(&path, "cola").unwrap().task;
    assert_eq!(
        (other.metrics, other.main),
        (&[Metric::F1, Metric::Matthews][..], Metric::Matthews)
    );
    assert_eq!(other.splits, cola.splits);
}

#[test]
fn another_entry_defines_a_task_of_canonical_rows() {
    let (_dir, path) = table(TABLE);
    let mood = read(&path, "mood").unwrap().task;
    assert_eq!(mood.kind, Kind::Classification { labels: &["sad", "glad"] });
    assert_eq!((mood.main, mood.is_pair(), mood.outputs()), (Metric::F1, false, 2));
    assert_eq!(mood.eval_name(&mood.splits[1]), "mood_home");
    assert!(std::ptr::eq(mood, read(&path, "mood").unwrap().task), "memory is taken once");
}

#[test]
fn memory_is_taken_once_for_each_definition() {
    let (_dir, path) = table(TABLE);
    let mood = read(&path, "mood").unwrap().task;
    let mut definitions = vec![mood];
    for (from, to) in [
        ("glad]", "merry]"),
        ("[sad, glad]", "[glad, sad]"),
        ("[F1, ACC]", "[ACC, F1]"),
        ("[F1, ACC]", "[F1]"),
        ("home_dev", "far_dev"),
        ("[train, home_dev]", "[train]"),
        ("PremiseOnly, metric", "PremiseAndOneHypothesis, metric"),
        ("n_class: 2, labels: [sad, glad],\n  split", "n_class: 1, split"),
    ] {
        let other = TABLE.replacen(from, to, 1);
        let other = other.replace(
            "Classification}",
            match from.contains("n_class") {
                true => "Regression}",
                false => "Classification}",
            },
        );
        let other = match from.contains("n_class") {
            true => other.replace("[F1, ACC]", "[Pearson]"),
            false => other,
        };
        let (_dir, path) = table(&other);
        let task = read(&path, "mood").unwrap().task;
        assert_ne!(task, mood, "{to}");
        assert!(std::ptr::eq(task, read(&path, "mood").unwrap().task), "{to}");
        definitions.push(task);
    }
    assert!(std::ptr::eq(mood, read(&path, "mood").unwrap().task));
    // Other tests define tasks at the same time, so that it is these that are counted.
    assert_eq!(definitions.len(), 9);
    let own = OWN.lock().unwrap();
    for task in definitions {
        assert_eq!(own.iter().filter(|known| **known == task).count(), 1, "{task:?}");
    }
}

#[test]
fn plain_scalars_are_those_of_the_original_s_reader() {
    let (_dir, path) = table(
        "mood: {data_format: PremiseOnly, metric_meta: [ACC], n_class: 010, enable_san: off,\n\
             \x20 labels: [n, y, no, on, 1e3, 010, 1.0, ~a], task_type: Classification}\n\
             mood: {data_format: PremiseOnly, metric_meta: [ACC], n_class: 0x4, enable_san: No,\n\
             \x20 labels: [n, y, 1e3, 010], task_type: Classification, dropout_p: 1.0e-1}\n",
    );
    let mood = read(&path, "mood").unwrap();
    assert_eq!(mood.task.kind, Kind::Classification { labels: &["n", "y", "1e3", "010"] });
    assert_eq!(mood.dropout_p, Some(0.1));
}

#[test]
fn a_task_is_found_under_its_other_names() {
    let (_dir, path) = table(&TABLE.replace("cola:", "sst:").replace("mood:", "sst2:"));
    assert_eq!(read(&path, "SST-2").unwrap().task.name, "sst");
    assert_eq!(read(&path, "STS-B").unwrap().task.name, "stsb");
    assert_eq!(read(&path, "sst2").unwrap().task.name, "sst2", "a name of one's own goes first");
    let text = read(&path, "stbs").unwrap_err().to_string();
    assert!(text.ends_with("(hint: did you mean stsb?)"), "{text}");
}

#[test]
fn tables_that_cannot_be_used_are_refused() {
    for (from, to, name, expected) in [
        ("cola:", "cola: [", "cola", "expected a task table in YAML"),
        ("", "", "rte", "expected an entry rte, found only cola, stsb, mood"),
        ("n_class: 2\n  task", "n_class: 3\n  task", "cola", "found one text with 0, 1, 2"),
        ("PremiseOnly\n", "Seqence\n", "cola", "expected data_format PremiseOnly or"),
        ("- MCC", "- BLEU", "cola", "expected metric_meta of ACC, F1, MCC"),
        (
            "enable_san: false\n  metric_meta:\n",
            "enable_san: true\n  metric_meta:\n",
            "cola",
            "expected enable_san false",
        ),
        ("Classification}", "Ranking}", "mood", "expected task_type Classification or"),
        ("[sad, glad]", "[sad, sad]", "mood", "expected each label once"),
        ("n_class: 2, labels", "n_class: 3, labels", "mood", "expected n_class from 2 to"),
        ("home_dev", "../dev", "mood", "expected split_names that end in"),
        ("metric_meta: [F1, ACC]", "metric_meta: []", "mood", "at least one metric"),
        (
            "[Pearson, Spearman]",
            "[Pearson, ACC]",
            "stsb",
            "expected metric_meta of Pearson, Spearman, which measure scores, for stsb, found ACC",
        ),
        (
            "[F1, ACC]",
            "[ACC, Pearson]",
            "mood",
            "expected metric_meta of ACC, F1, MCC, which measure 2 classes, for mood, found Pearson",
        ),
        (
            "n_class: 2, labels: [sad, glad]",
            "n_class: 3, labels: [sad, so, glad]",
            "mood",
            "expected metric_meta of ACC, MCC, which measure 3 classes, for mood, found F1",
        ),
        ("n_class: 2, labels", "n_class: -1, labels", "mood", "expected a usable entry mood"),
    ] {
        let (_dir, path) = table(&TABLE.replacen(from, to, 1));
        let text = read(&path, name).unwrap_err().to_string();
        assert!(text.contains("tasks.yml: ") && text.contains(expected), "{text}");
    }
    let (_dir, path) = table(&TABLE.replace("mood:", "../mood:"));
    let text = read(&path, "../mood").unwrap_err().to_string();
    assert!(text.contains("a name of letters, digits and hyphens"), "{text}");
    // Each alias doubles what the one before unfolds to.
    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for n in 1..60 {
        bomb += &format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1);
    }
    let (_dir, path) = table(&bomb);
    assert!(read(&path, "a0").is_err());
}
