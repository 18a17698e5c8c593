//! The nine GLUE tasks, the diagnostic set and the demo task, as data.

use crate::glue::task::{Column, Kind, Layout, Metric, Part, Split, Task, Uid};

const fn split(name: &'static str, file: &'static str, part: Part) -> Split {
    Split { name, file, part }
}

const PLAIN: &[Split] = &[
    split("train", "train.tsv", Part::Train),
    split("dev", "dev.tsv", Part::Dev),
    split("test", "test.tsv", Part::Test),
];
const MATCHED: &[Split] = &[
    split("train", "train.tsv", Part::Train),
    split("matched_dev", "dev_matched.tsv", Part::Dev),
    split("mismatched_dev", "dev_mismatched.tsv", Part::Dev),
    split("matched_test", "test_matched.tsv", Part::Test),
    split("mismatched_test", "test_mismatched.tsv", Part::Test),
];
const DEMO: &[Split] =
    &[split("train", "train.tsv", Part::Train), split("dev", "dev.tsv", Part::Dev)];

const BINARY: Kind = Kind::Classification { labels: &["0", "1"] };
const ENTAILMENT: Kind = Kind::Classification { labels: &["not_entailment", "entailment"] };
const INFERENCE: Kind =
    Kind::Classification { labels: &["contradiction", "neutral", "entailment"] };

/// The commonest layout: a header, both texts and then the label at the end of the row.
const PAIR_THEN_LABEL: Layout = Layout {
    header: true,
    fields: 4,
    skip_short: false,
    text_a: Column::Last(3),
    text_b: Some(Column::Last(2)),
    label: Some(Column::Last(1)),
    skip_label: None,
    uid: Uid::FirstColumn,
};
/// Its test files: the same without the label.
const PAIR: Layout = Layout {
    fields: 3,
    text_a: Column::Last(2),
    text_b: Some(Column::Last(1)),
    label: None,
    ..PAIR_THEN_LABEL
};
// MNLI's files differ in the number of annotators between the hypothesis and the gold label.
const MNLI: Layout = Layout {
    fields: 11,
    text_a: Column::First(8),
    text_b: Some(Column::First(9)),
    skip_label: Some("-"),
    ..PAIR_THEN_LABEL
};
const MNLI_TEST: Layout = Layout { fields: 10, label: None, skip_label: None, ..MNLI };
const QNLI: Layout =
    Layout { text_a: Column::First(1), text_b: Some(Column::First(2)), ..PAIR_THEN_LABEL };
const MRPC: Layout =
    Layout { fields: 5, label: Some(Column::First(0)), uid: Uid::RowNumber, ..PAIR };

/// The nine tasks; the diagnostic set, which models trained on MNLI predict; and the demo, which
/// has MNLI's layout.
pub const TASKS: &[Task] = &[
    Task {
        name: "cola",
        folder: "CoLA",
        kind: BINARY,
        metrics: &[Metric::Accuracy, Metric::Matthews],
        main: Metric::Matthews,
        splits: PLAIN,
        labelled: Layout {
            header: false,
            text_a: Column::Last(1),
            text_b: None,
            label: Some(Column::First(1)),
            uid: Uid::RowNumber,
            ..PAIR_THEN_LABEL
        },
        test: Layout {
            fields: 2,
            text_a: Column::Last(1),
            text_b: None,
            uid: Uid::RowNumber,
            ..PAIR
        },
    },
    Task {
        name: "sst",
        folder: "SST-2",
        kind: BINARY,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: Layout {
            fields: 2,
            text_a: Column::First(0),
            text_b: None,
            uid: Uid::RowNumber,
            ..PAIR_THEN_LABEL
        },
        test: Layout { fields: 2, text_a: Column::First(1), text_b: None, ..PAIR },
    },
    Task {
        name: "mrpc",
        folder: "MRPC",
        kind: BINARY,
        metrics: &[Metric::Accuracy, Metric::F1],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: MRPC,
        test: Layout { label: None, ..MRPC },
    },
    Task {
        name: "stsb",
        folder: "STS-B",
        kind: Kind::Regression,
        metrics: &[Metric::Pearson, Metric::Spearman],
        main: Metric::Pearson,
        splits: PLAIN,
        labelled: Layout { fields: 10, uid: Uid::RowNumber, ..PAIR_THEN_LABEL },
        test: Layout { fields: 9, uid: Uid::RowNumber, ..PAIR },
    },
    Task {
        name: "qqp",
        folder: "QQP",
        kind: BINARY,
        metrics: &[Metric::Accuracy, Metric::F1],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: Layout { fields: 6, skip_short: true, uid: Uid::RowNumber, ..PAIR_THEN_LABEL },
        test: PAIR,
    },
    Task {
        name: "mnli",
        folder: "MNLI",
        kind: INFERENCE,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: MATCHED,
        labelled: MNLI,
        test: MNLI_TEST,
    },
    Task {
        name: "qnli",
        folder: "QNLI",
        kind: ENTAILMENT,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: QNLI,
        test: Layout { fields: 3, label: None, ..QNLI },
    },
    Task {
        name: "rte",
        folder: "RTE",
        kind: ENTAILMENT,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: PAIR_THEN_LABEL,
        test: PAIR,
    },
    Task {
        name: "wnli",
        folder: "WNLI",
        kind: BINARY,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: PLAIN,
        labelled: Layout { uid: Uid::RowNumber, ..PAIR_THEN_LABEL },
        test: Layout { uid: Uid::RowNumber, ..PAIR },
    },
    Task {
        name: "ax",
        folder: "AX",
        kind: INFERENCE,
        metrics: &[Metric::Matthews],
        main: Metric::Matthews,
        splits: &[split("test", "AX.tsv", Part::Test)],
        labelled: PAIR_THEN_LABEL,
        test: PAIR,
    },
    Task {
        name: "demo",
        folder: "demo",
        kind: INFERENCE,
        metrics: &[Metric::Accuracy],
        main: Metric::Accuracy,
        splits: DEMO,
        labelled: MNLI,
        test: MNLI_TEST,
    },
];
