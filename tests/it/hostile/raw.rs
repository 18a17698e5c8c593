//! Hostile raw and canonical data.

use super::{Bytes, Made, TEST_TSV, TRAIN, TRAIN_TSV, Text, refuse, refuses};

pub const RTE: &str = "prepare rte --tokenizer run/model";
const COLA: &str = "prepare cola --tokenizer run/model";
const STSB: &str = "prepare stsb --tokenizer run/model";
const MNLI: &str = "prepare mnli --tokenizer run/model";
const DEV_TSV: &str = "glue-data/RTE/dev.tsv";
const COLA_TSV: &str = "glue-data/CoLA/train.tsv";
const STSB_TSV: &str = "glue-data/STS-B/train.tsv";

/// `start` and one line of `size` bytes.
pub fn long(start: &str, size: usize) -> Vec<u8> {
    [start.as_bytes(), &vec![b'a'; size]].concat()
}

#[test]
fn raw_data() {
    refuses(
        RTE,
        TRAIN_TSV,
        &[
            (
                Text(""),
                ": expected at least one row, found none (hint: platon download rte --force brings \
                 the official file)",
            ),
            (
                Text("index\tsentence1\tsentence2\tlabel\n"),
                ": expected at least one row, found none",
            ),
            (Text("\r\r\r\r"), ": expected at least one row, found none"),
            (Text("head\r0\ta\tb\tentailment\r"), ": expected at least one row, found none"),
            (
                Text("head\n\n\n0\ta\tb\tentailment\n"),
                ":2: expected at least 4 fields, found 1 field (hint: fields are separated by \
                 single tabs; platon download rte --force brings the official file)",
            ),
            (
                Text("head\n0\ta\tb\tentailment\n1\ta"),
                ":3: expected at least 4 fields, found 2 fields",
            ),
            (
                Text("head\n0\ta\tb\tentail"),
                ":2: expected a label of not_entailment, entailment, found \"entail\"",
            ),
            (
                Text("head\n0\ta\tb\t1\n"),
                ":2: expected a label of not_entailment, entailment, found \"1\"",
            ),
            (
                Text("head\n0\ta\tb\t\u{1b}[2J\0\u{7}\n"),
                ":2: expected a label of not_entailment, entailment, found \
                 \"\\u{1b}[2J\\0\\u{7}\"",
            ),
            (Bytes(&[0; 4096]), ": expected at least one row, found none"),
            (Bytes(b"head\n\0\0\0\0\0\0\0\0\n"), ":2: expected at least 4 fields, found 1 field"),
            (
                Bytes(b"head\n0\ta\tb\tentailment\n1\ta\xc3(\tb\tentailment\n"),
                ":3: expected UTF-8 text, found the byte 0xc3 (hint: save the file as UTF-8)",
            ),
            (Bytes(b"\xff\xfeh\0\n\0"), ":1: expected UTF-8 text, found the byte 0xff"),
            (
                Made(|| long("head\n", 100_000_000)),
                ":2: expected a line of at most 1048576 bytes, found more",
            ),
            (
                Made(|| [&b"head\n0\ta\tb\tentailment\n"[..], &[b'\t'; 10_000_000]].concat()),
                ":3: expected a line of at most 1048576 bytes, found more",
            ),
        ],
    );
    refuse(RTE, DEV_TSV, Text("head\n0\ta\tb\n"), ":2: expected at least 4 fields, found 3 fields");
    refuse(
        TRAIN,
        DEV_TSV,
        Text("head\n0\ta\tb\n"),
        ":2: expected at least 4 fields, found 3 fields",
    );
    refuse(
        "evaluate run",
        DEV_TSV,
        Text("head\n0\ta\tb\n"),
        ":2: expected at least 4 fields, found 3 fields",
    );
    refuse(RTE, TEST_TSV, Text("head\n0\ta\n"), ":2: expected at least 3 fields, found 2 fields");
    refuse(
        "train rte --no-tui --output-dir new --glue-format-on",
        TEST_TSV,
        Text("head\n"),
        ": expected at least one row, found none",
    );
    refuses(
        COLA,
        COLA_TSV,
        &[
            (Text("gj04\t2\t\tA sofa.\n"), ":1: expected a label of 0, 1, found \"2\""),
            (Text("gj04\t1\tA sofa.\n"), ":1: expected at least 4 fields, found 3 fields"),
            (Text("gj04\t-1\t\tA\ngj04\t1\t\tA"), ":1: expected a label of 0, 1, found \"-1\""),
        ],
    );
    refuse(
        "prepare mrpc --tokenizer run/model",
        "glue-data/MRPC/train.tsv",
        Text("\u{feff}Quality\t#1\t#2\ta\tb\n7\t1\t2\ta\tb\n"),
        ":2: expected a label of 0, 1, found \"7\"",
    );
    refuse(
        "prepare qnli --tokenizer run/model",
        "glue-data/QNLI/train.tsv",
        Text("h\n0\ta\tb\n"),
        ":2: expected at least 4 fields, found 3 fields",
    );
    refuse(
        "prepare qqp --tokenizer run/model",
        "glue-data/QQP/train.tsv",
        Text("h\n0\ta\tb\n1\n\n"),
        ": expected at least one row, found none",
    );
    refuse(
        "prepare sst --tokenizer run/model",
        "glue-data/SST-2/train.tsv",
        Text("sentence\tlabel\na cat\t1.0\n"),
        ":2: expected a label of 0, 1, found \"1.0\"",
    );
    refuse(
        MNLI,
        "glue-data/MNLI/train.tsv",
        Text("h\n0\t1\t2\t3\t4\t5\t6\t7\ta\tb\t-\n"),
        ": expected at least one row, found none",
    );
    refuse(
        "prepare ax --tokenizer run/model",
        "glue-data/AX/AX.tsv",
        Text("h\n0\ta\n"),
        ":2: expected at least 3 fields, found 2 fields",
    );
    refuses(
        STSB,
        STSB_TSV,
        &[
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\tNaN\n"),
                ":2: expected a score from 0 to 5, found \"NaN\"",
            ),
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\tinf\n"),
                ":2: expected a score from 0 to 5, found \"inf\"",
            ),
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\t1e999999999\n"),
                ":2: expected a score from 0 to 5, found \"1e999999999\"",
            ),
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\t5.0001\n"),
                ":2: expected a score from 0 to 5, found \"5.0001\"",
            ),
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\t-0.1\n"),
                ":2: expected a score from 0 to 5, found \"-0.1\"",
            ),
            (
                Text("h\n0\t1\t2\t3\t4\t5\t6\ta\tb\t\n"),
                ":2: expected a score from 0 to 5, found \"\"",
            ),
        ],
    );
    refuse(
        RTE,
        "glue-data/canonical_data",
        Text("a file"),
        "glue-data/canonical_data/model/rte_train.key.json: cannot remove: Not a \
         directory",
    );
}

#[test]
fn canonical_data() {
    refuses(
        COLA,
        "glue-data/canonical_data/cola_train.tsv",
        &[
            (Text("0\t1\n"), ":1: expected 3 fields, found 2 fields"),
            (Text("0\t1\ta\tb\n"), ":1: expected 3 fields, found 4 fields"),
            (Text("0\t1\ta\n1\t3\ta\n"), ":2: expected a label of 0, 1, found \"3\""),
            (Bytes(b"0\t1\t\xfe\n"), ":1: expected UTF-8 text, found the byte 0xfe"),
        ],
    );
    refuse(
        STSB,
        "glue-data/canonical_data/stsb_train.tsv",
        Text("0\tnan\ta\tb\n"),
        ":1: expected a score from 0 to 5, found \"nan\"",
    );
    refuse(
        "prepare ax --tokenizer run/model",
        "glue-data/canonical_data/ax_test.tsv",
        Text("0\tneutral\ta"),
        ":1: expected 4 fields, found 3 fields",
    );
}
