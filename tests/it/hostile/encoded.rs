//! Hostile samples that come encoded.

use super::{Bytes, Made, Planted, Text, folder_instead, refuse, refuses};

const TRAIN: &str = "train rte --no-tui --output-dir new --data-dir enc";
const FILE: &str = "enc/rte_train.json";

/// A line with these values.
macro_rules! sample {
    ($label:literal, $ids:literal, $types:literal, $mask:literal) => {
        concat!(
            "{\"uid\": \"0\", \"label\": ",
            $label,
            ", \"token_id\": ",
            $ids,
            ", \"type_id\": ",
            $types,
            ", \"attention_mask\": ",
            $mask,
            "}\n"
        )
    };
}

const GOOD: &str = sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]");

fn nested(open: &str) -> Vec<u8> {
    let deep = open.repeat(100_000);
    GOOD.replace("[2, 5, 3]", &deep).into_bytes()
}

#[test]
fn samples() {
    refuses(
        TRAIN,
        FILE,
        &[
            (
                Text(""),
                ": expected at least one sample, found none (hint: mend it, or have platon prep",
            ),
            (
                Text("\n"),
                ": expected at least one sample, found none (hint: mend it, or have platon prep",
            ),
            (
                Text("{\"uid\": \"0\", \"label\": 1, \"token_id\": [2, 5"),
                ":1: expected a JSON sample, found EOF while parsing a list at column 42",
            ),
            (
                Text(concat!(
                    sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]"),
                    "{\"uid\": \"1\"}\n"
                )),
                ":2: expected a JSON sample, found missing field `token_id`",
            ),
            (Bytes(b"{\"uid\": \"\xff\"}"), ":1: expected UTF-8 text, found the byte 0xff"),
            (Text("null\n"), ":1: expected a JSON sample, found invalid type: null"),
            (Text("a cat\n"), ":1: expected a JSON sample, found expected value"),
            (
                Text(sample!("1", "\"2 5 3\"", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found invalid type: string \"2 5 3\", expected a \
                 sequence",
            ),
            (
                Text(sample!("1", "[2, -5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found invalid value: integer `-5`, expected u32",
            ),
            (
                Text(sample!("1", "[2, 4294967296, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found invalid value: integer `4294967296`, \
                 expected u32",
            ),
            (
                Text(sample!("1", "[2, 4294967295, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected token ids below the model's vocab_size 10, found 4294967295 \
                 (hint: the tokenizer must belong to the checkpoint)",
            ),
            (
                Text(sample!("1", "[2, 10, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected token ids below the model's vocab_size 10, found 10",
            ),
            (
                Text(sample!("1", "[2, 5.0, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found invalid type: floating point `5.0`, \
                 expected u32",
            ),
            (Text(sample!("1", "[]", "[]", "[]")), ":1: expected at least one token, found none"),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0]", "[1, 1, 1]")),
                ":1: expected type_id of 3 numbers like token_id, found 2",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1, 1]")),
                ":1: expected attention_mask of 3 numbers like token_id, found 4",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 2]", "[1, 1, 1]")),
                ":1: expected 0 or 1 in type_id, found 2",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[1, 2, 1]")),
                ":1: expected 0 or 1 in attention_mask, found 2",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[1, 256, 1]")),
                ":1: expected a JSON sample, found invalid value: integer `256`, expected u8",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[0, 0, 0]")),
                ":1: expected 1 for the first token in attention_mask, found 0",
            ),
            (
                Text(sample!("1", "[2, 5, 3]", "[0, 0, 0]", "[true, true, true]")),
                ":1: expected a JSON sample, found invalid type: boolean `true`, expected u8",
            ),
            (
                Text(sample!("2", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a label from 0 to 1, found 2",
            ),
            (
                Text(sample!("-1", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a label from 0 to 1, found -1",
            ),
            (
                Text(sample!("1.0", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a label from 0 to 1, found 1.0",
            ),
            (
                Text(sample!("NaN", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found expected value",
            ),
            (
                Text(sample!("-Infinity", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found invalid number",
            ),
            (
                Text(sample!("1e999", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found number out of range",
            ),
            (
                Text(sample!("null", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a label, found none",
            ),
            (
                Text(sample!("1, \"label\": 0", "[2, 5, 3]", "[0, 0, 0]", "[1, 1, 1]")),
                ":1: expected a JSON sample, found duplicate field `label`",
            ),
            (
                Made(|| nested("[")),
                ":1: expected a JSON sample, found invalid type: sequence, expected u32",
            ),
            (
                Made(|| [&b"{\"x\": "[..], &b"[".repeat(100_000)].concat()),
                ":1: expected a JSON sample, found EOF while parsing a list at column 100006",
            ),
            (Made(|| br#"{"uid": "#.repeat(100_000)), ":1: expected a JSON sample, found"),
            (
                Text(sample!(
                    "1",
                    "[2,5,5,5,5,5,5,5,5,5,5,5,5,5,5,5,3]",
                    "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
                    "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"
                )),
                "max_position_embeddings: expected training samples of at most 16 tokens, \
                 found 1 samples, all of them longer",
            ),
            (Text(GOOD), "enc/rte_dev.json: cannot read: No such file or directory"),
            (
                Planted(|dir, name| {
                    dir.write(name, GOOD);
                    folder_instead(dir, "enc/rte_dev.json");
                }),
                "enc/rte_dev.json: cannot read: Is a directory",
            ),
            (
                Planted(|dir, name| {
                    let long =
                        |value: &str| format!("[{value}{}]", format!(", {value}").repeat(16));
                    let line =
                        GOOD.replace("[2, 5, 3]", &long("5")).replace("[0, 0, 0]", &long("0"));
                    dir.write(name, GOOD)
                        .write("enc/rte_dev.json", &line.replace("[1, 1, 1]", &long("1")));
                }),
                "enc/rte_dev.json: expected samples of at most 16 tokens, the model's longest, \
                 found one of 17 (hint: start from a model with more positions \
                 (max_position_embeddings))",
            ),
        ],
    );
    refuse(
        "evaluate run --data-dir enc",
        "enc/rte_dev.json",
        Text(sample!("1", "[2, 10, 3]", "[0, 0, 0]", "[1, 1, 1]")),
        ":1: expected token ids below the model's vocab_size 10, found 10",
    );
    refuse("submit run --data-dir enc", "enc/rte_test.json", Text(GOOD), "RTE.tsv");
}
