use super::*;

#[test]
fn every_data_set_name_finds_its_task_and_split() {
    let mut count = 0;
    for task in TASKS {
        for split in task.splits {
            assert_eq!(data_set(&task.data_set(split)).unwrap(), (task, split));
            count += 1;
        }
    }
    assert_eq!(count, 8 * 3 + 5 + 1 + 2);
}

#[test]
fn names_are_found_in_any_case() {
    assert_eq!(task("CoLA").unwrap().name, "cola");
    assert_eq!(data_set("MNLI_Matched_Dev").unwrap().1.file, "dev_matched.tsv");
}

#[test]
fn usual_spellings_are_known() {
    for (spelled, name) in [
        ("sst2", "sst"),
        ("SST-2", "sst"),
        ("sst_2", "sst"),
        ("STS-B", "stsb"),
        ("sts-b", "stsb"),
        ("sts", "stsb"),
        ("mnli-m", "mnli"),
        ("MNLI-mm", "mnli"),
        ("mnli_matched", "mnli"),
        ("QQP", "qqp"),
        ("diagnostic", "ax"),
    ] {
        assert_eq!(task(spelled).unwrap().name, name, "{spelled}");
    }
}

#[test]
fn near_misses_are_answered_with_what_may_be_meant() {
    for (typed, meant) in [("rtee", "rte"), ("mprc", "mrpc"), ("sst3", "sst"), ("mnil", "mnli")] {
        let message = task(typed).unwrap_err().to_string();
        assert!(message.ends_with(&format!("(hint: did you mean {meant}?)")), "{message}");
    }
    let message = data_set("rte_dve").unwrap_err().to_string();
    assert!(message.ends_with("(hint: did you mean rte_dev?)"), "{message}");
}

#[test]
fn evaluation_sets_are_called_many_names() {
    let mnli = task("mnli").unwrap();
    let called = |name: &str| -> Vec<&str> {
        let dev = mnli.splits.iter().filter(|split| split.part == Part::Dev);
        dev.filter(|split| mnli.is_called(split, name)).map(|split| split.name).collect()
    };
    for name in ["mnli_matched", "mnli-m", "MNLI-Matched"] {
        assert_eq!(called(name), ["matched_dev"], "{name}");
    }
    for name in ["mnli_mismatched", "mnli-mm"] {
        assert_eq!(called(name), ["mismatched_dev"], "{name}");
    }
    assert_eq!(called("mnli"), ["matched_dev", "mismatched_dev"]);
    assert!(called("rte").is_empty() && called("mnli_dev").is_empty());
    let sst = task("sst").unwrap();
    assert!(["sst", "sst2", "SST-2"].iter().all(|name| sst.is_called(&sst.splits[1], name)));
}

#[test]
fn an_unknown_name_is_answered_with_those_there_are() {
    let message = task("music").unwrap_err().to_string();
    assert_eq!(
        message,
        "task: expected one of cola, sst, mrpc, stsb, qqp, mnli, qnli, rte, wnli, ax, demo, \
         found music"
    );
    let message = data_set("rte").unwrap_err().to_string();
    assert_eq!(message, "data set: expected one of rte_train, rte_dev, rte_test, found rte");
}

#[test]
fn the_main_metric_is_among_the_metrics_and_has_its_tag() {
    for task in TASKS {
        assert!(task.metrics.contains(&task.main), "{}", task.name);
    }
    let tags = |name| task(name).unwrap().metrics.iter().map(|m| m.tag()).collect::<Vec<_>>();
    assert_eq!(tags("cola"), ["ACC", "MCC"]);
    assert_eq!(tags("mrpc"), ["ACC", "F1"]);
    assert_eq!(tags("stsb"), ["Pearson", "Spearman"]);
}

#[test]
fn metrics_go_by_their_tags_and_their_full_names() {
    for metric in Metric::ALL {
        assert_eq!(Metric::named(metric.tag()), Some(metric));
    }
    for (name, metric) in [
        ("accuracy", Metric::Accuracy),
        ("macro-F1", Metric::MacroF1),
        ("matthews", Metric::Matthews),
        ("spearman", Metric::Spearman),
    ] {
        assert_eq!(Metric::named(name), Some(metric));
    }
    assert_eq!(Metric::named("loss"), None);
}

#[test]
fn only_glue_s_scores_are_bounded() {
    let glue = task("stsb").unwrap();
    assert!(glue.is_score(5.0) && !glue.is_score(5.5) && !glue.is_own());
    let own = Task { name: "mine", ..*glue };
    assert!(own.is_own() && own.is_score(-7e6) && !own.is_score(f32::INFINITY));
}

#[test]
fn outputs_are_one_per_class_and_one_for_regression() {
    let outputs: Vec<_> = TASKS.iter().map(Task::outputs).collect();
    assert_eq!(outputs, [2, 2, 2, 1, 2, 3, 2, 2, 2, 3, 3]);
}

#[test]
fn the_first_class_is_the_dummy_of_test_rows() {
    let first = |name: &str| match task(name).unwrap().kind {
        Kind::Classification { labels } => labels[0],
        Kind::Regression => "0.0",
    };
    assert_eq!(first("mnli"), "contradiction");
    assert_eq!(first("qnli"), "not_entailment");
    assert_eq!(first("qqp"), "0");
}
