//! What makes the library panic, hang or fill the memory is refused with one line.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::check_lengths;
use crate::glue::encode::Encoder;
use crate::glue::precompiled;

/// No refusal takes longer.
const AT_MOST: Duration = Duration::from_secs(5);

/// A change of a `tokenizer.json`, and a part of what it is refused with.
type Case = (fn(&mut Value), &'static str);

/// The `tokenizer.json` of a fixture from tests/fixtures/subword_tokenizers.py.
fn whole(kind: &str) -> Value {
    let fixture = format!("{}/tests/fixtures/{kind}_folders.json", env!("CARGO_MANIFEST_DIR"));
    let made: Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    made["tokenizer.json"].clone()
}

fn refusal(kind: &str, files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let settings = json!({"model_type": kind.replace('_', "-")}).to_string();
    for (name, content) in [("config.json", &*settings)].iter().chain(files) {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let begin = Instant::now();
    let text = Encoder::from_dir(dir.path()).unwrap_err().to_string();
    assert!(begin.elapsed() < AT_MOST, "{:?} for {text}", begin.elapsed());
    assert!(text.lines().count() == 1 && text.contains("(hint: ") && text.len() < 1500, "{text}");
    text
}

/// Each case is refused whether the file is taken as it stands or not.
fn refuses(kind: &str, cases: &[Case], classes: &[&str]) {
    for (n, (change, expected)) in cases.iter().enumerate() {
        let mut json = whole(kind);
        change(&mut json);
        for class in classes {
            let config = json!({"tokenizer_class": class}).to_string();
            let files =
                [("tokenizer.json", &*json.to_string()), ("tokenizer_config.json", &config)];
            let text = refusal(kind, &files);
            assert!(text.contains("tokenizer.json: expected "), "{kind} {n}: {text}");
            assert!(text.contains(expected), "{kind} {n}: {text}");
        }
    }
}

fn push(list: &mut Value, value: Value) {
    list.as_array_mut().unwrap().push(value);
}

#[test]
fn hostile_pairs() {
    refuses(
        "roberta",
        &[
            (
                |t| push(&mut t["model"]["merges"], json!("a zzz")),
                "merges of tokens of the vocabulary, \"zzz\" among it, found the merge [\"a\",\"zzz\"]",
            ),
            (
                |t| push(&mut t["model"]["merges"], json!(["zz", "z"])),
                "merges of tokens of the vocabulary, \"zz\" among it",
            ),
            (
                |t| push(&mut t["model"]["merges"], json!("a")),
                "merges of two tokens each, found \"a\"",
            ),
            (|t| push(&mut t["model"]["merges"], json!("a b c")), "merges of two tokens each"),
            (
                |t| push(&mut t["model"]["merges"], json!(["a", "b", "c"])),
                "merges of two tokens each",
            ),
            (|t| push(&mut t["model"]["merges"], json!(7)), "merges of two tokens each, found 7"),
            (|t| t["model"]["merges"] = json!({"a": "b"}), "a list of merges, found another form"),
            (
                |t| drop(t["model"].as_object_mut().unwrap().remove("merges")),
                "merges in the model, found none",
            ),
            (
                |t| t["model"]["vocab"]["a"] = json!(-1),
                "an id from 0 to 1048575 of \"a\", found -1",
            ),
            (|t| t["model"]["vocab"]["a"] = json!(1e30), "an id from 0 to 1048575 of \"a\""),
            (|t| t["model"]["vocab"]["a"] = json!(1 << 20), "an id from 0 to 1048575 of \"a\""),
            (|t| t["model"]["vocab"]["a"] = json!(2), "each token id once, found 2 for \"</s>\""),
            (|t| t["model"]["vocab"] = json!([["a", 0.0]]), "a vocab with ids, found another form"),
            (
                |t| {
                    t["model"]["vocab"].as_object_mut().unwrap().remove("</s>");
                    t["added_tokens"] = json!([]);
                },
                "the token </s> in the vocabulary, found none",
            ),
            (|t| t["model"]["dropout"] = json!(0.5), "no dropout, found 0.5"),
            (
                |t| t["model"]["continuing_subword_prefix"] = json!("##########"),
                "no continuing_subword_prefix",
            ),
            (|t| t["model"]["end_of_word_suffix"] = json!("</w>"), "no end_of_word_suffix"),
        ],
        &["RobertaTokenizer", "PreTrainedTokenizerFast"],
    );
    let none: Case = (|t| t["model"] = json!(null), "a model, found none");
    refuses("roberta", &[none], &["PreTrainedTokenizerFast"]);
    let model = |t: &mut Value| t["model"]["type"] = json!("WordLevel");
    refuses(
        "roberta",
        &[(model, "model.type one of WordPiece, BPE, Unigram")],
        &["RobertaTokenizer"],
    );
}

#[test]
fn hostile_components() {
    fn twice(part: Value) -> Value {
        json!({"type": "Sequence", "pretokenizers": [part, part]})
    }
    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }
    refuses(
        "roberta",
        &[
            (
                |t| {
                    t["pre_tokenizer"] = json!({"type": "Split", "behavior": "Isolated",
                        "invert": false, "pattern": {"Regex": "(a+)+$"}});
                },
                "a pre_tokenizer of BERT or RoBERTa, found \"Split\"",
            ),
            (
                |t| t["pre_tokenizer"] = twice(t["pre_tokenizer"].clone()),
                "each pre_tokenizer once, found \"ByteLevel\" twice",
            ),
            (
                |t| {
                    t["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": vec![json!({"type": "Digits"}); 17]});
                },
                "at most 16 in pre_tokenizer, found 17",
            ),
            (
                |t| t["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": 3}),
                "a pre_tokenizer of BERT or RoBERTa, found \"Sequence\"",
            ),
            (
                |t| t["decoder"] = replace(json!({"Regex": "((a{1000}){1000}){1000}"}), ""),
                "to Replace a String, or the Regex \" {2,}\"",
            ),
            (
                |t| t["normalizer"] = replace(json!({"Regex": "(a+)+$"}), ""),
                "to Replace a String, or the Regex \" {2,}\"",
            ),
            (
                |t| t["normalizer"] = replace(json!({"String": ""}), ""),
                "to Replace a String, or the Regex \" {2,}\"",
            ),
            (
                |t| t["normalizer"] = replace(json!({"String": "a"}), "aa"),
                "at most 1 letters in its place",
            ),
            (
                |t| t["normalizer"] = json!({"type": "Prepend", "prepend": "x".repeat(1000)}),
                "one letter to prepend",
            ),
            (
                |t| t["normalizer"] = json!({"Lowercase": 1}),
                "a normalizer of BERT or RoBERTa, found no type",
            ),
            (
                |t| t["post_processor"]["sep"] = json!(["</s>", 99_999]),
                "<s> and </s> around an empty text",
            ),
            (
                |t| t["post_processor"] = json!({"type": "RobertaProcessing"}),
                "Hugging Face's format",
            ),
            (
                |t| t["post_processor"] = json!({"type": "Sequence", "processors": []}),
                "a post_processor of BERT or RoBERTa",
            ),
            (
                |t| t["post_processor"] = json!(null),
                "<s> and </s> around an empty text, found \"\"",
            ),
            (
                |t| {
                    let token = |n: usize| {
                        json!({"id": n, "content": format!("t{n}"), "single_word": false,
                            "lstrip": false, "rstrip": false, "normalized": false, "special": false})
                    };
                    t["added_tokens"] = (0..10_001).map(token).collect();
                },
                "at most 10000 added_tokens, found 10001",
            ),
        ],
        &["PreTrainedTokenizerFast"],
    );
}

/// Each may be written many times, to the places in `vocab.txt` that have no token.
#[test]
fn tokens_of_wordpiece_have_a_length() {
    let of = |bytes: usize| check_lengths(&json!({"vocab": {"a": 0, "x".repeat(bytes): 1}}));
    assert_eq!(of(512), Ok(()));
    assert_eq!(of(513), Err(("tokens of at most 512 bytes".to_owned(), "513".to_owned())));
}

#[test]
fn hostile_scores() {
    refuses(
        "xlm_roberta",
        &[
            (
                |t| t["model"]["vocab"][9] = json!(["a"]),
                "a vocab of tokens with their scores, found",
            ),
            (
                |t| t["model"]["vocab"][9] = json!(["a", null]),
                "a vocab of tokens with their scores",
            ),
            (
                |t| t["model"]["vocab"][9] = json!(["a", "-1"]),
                "a vocab of tokens with their scores",
            ),
            (|t| t["model"]["vocab"][9] = json!([1, -1.0]), "a vocab of tokens with their scores"),
            (|t| t["model"]["vocab"] = json!({"a": 0}), "a list of vocab, found another form"),
            (
                |t| push(&mut t["model"]["vocab"], json!(["x".repeat(257), -1.0])),
                "tokens of at most 256 bytes, found 257",
            ),
            (
                |t| push(&mut t["model"]["vocab"], json!(["x".repeat(1 << 22), -1.0])),
                "tokens of at most 256 bytes, found 4194304",
            ),
            (|t| t["model"]["unk_id"] = json!(null), "unk_id"),
            (|t| t["model"]["unk_id"] = json!(1_000_000_000), "unk_id"),
            (|t| t["model"]["unk_id"] = json!(-1), "unk_id"),
            (|t| t["model"]["vocab"] = json!([]), "an unk_id below 0, found 3"),
        ],
        &["XLMRobertaTokenizer", "PreTrainedTokenizerFast"],
    );
    let mut right = whole("xlm_roberta");
    right["model"]["vocab"][9][1] = json!("SCORE");
    for (number, found) in [("NaN", "expected value"), ("-1e999", "number out of range")] {
        let text = right.to_string().replace("\"SCORE\"", number);
        let text = refusal("xlm_roberta", &[("tokenizer.json", &text)]);
        assert!(text.contains("expected a tokenizer of Hugging Face's format, found "), "{text}");
        assert!(text.contains(found), "{text}");
    }
}

fn set_table(whole: &mut Value, table: &str) {
    whole["normalizer"]["normalizers"][0]["precompiled_charsmap"] = json!(table);
}

#[test]
fn hostile_tables_of_letters() {
    refuses(
        "xlm_roberta",
        &[
            (
                |t| set_table(t, ""),
                "a precompiled_charsmap of SentencePiece, found 0 bytes, cut short",
            ),
            (|t| set_table(t, "AAAA"), "found 3 bytes, cut short"),
            (|t| set_table(t, "AAAAAA=="), "found an empty table"),
            (|t| set_table(t, "/////wAA"), "found 6 bytes, cut short"),
            (|t| set_table(t, "BAAAAAAAAAA="), "found a place 0 of 1"),
            (
                |t| set_table(t, "not base64!"),
                "a precompiled_charsmap of SentencePiece, found Invalid",
            ),
            (|t| set_table(t, &"A".repeat(6 << 20)), "found 6291456 letters"),
            (
                |t| t["normalizer"]["normalizers"][0] = json!({"type": "Precompiled"}),
                "a precompiled_charsmap of SentencePiece, found none",
            ),
            (
                |t| t["normalizer"]["normalizers"][1] = t["normalizer"]["normalizers"][0].clone(),
                "each normalizer once, found \"Precompiled\" twice",
            ),
        ],
        &["XLMRobertaTokenizer", "PreTrainedTokenizerFast"],
    );
}

#[test]
fn a_table_of_letters_that_is_trusted_makes_no_panic() {
    let right = whole("xlm_roberta")["normalizer"]["normalizers"][0].clone();
    assert_eq!(precompiled::check(&right), Ok(()));
    let table = STANDARD.decode(right["precompiled_charsmap"].as_str().unwrap()).unwrap();
    let letters: String = (1..0x3000).filter_map(char::from_u32).flat_map(|c| [c, ' ']).collect();
    let words = "ｶﾞ ① ﷺ Ａ ｶ ，？ e\u{301}E\u{301}u\u{308} \u{301} \u{feff}\u{200b} ½ﬁ™ \u{10ffff}";
    let (mut state, mut trusted) = (1_u64, 0);
    for round in 0..600 {
        let mut table = table.clone();
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        match round % 3 {
            0 => table.truncate(random(table.len())),
            _ => {
                for _ in 0..=random(3) {
                    let place = 4 + random(table.len() - 4);
                    table[place] ^= 1 << random(8);
                }
            }
        }
        let part = json!({"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(&table)});
        if precompiled::check(&part).is_err() {
            continue;
        }
        trusted += 1;
        let normalizer: NormalizerWrapper = serde_json::from_value(part).unwrap();
        for text in [&*letters, words] {
            let mut text = NormalizedString::from(text);
            normalizer.normalize(&mut text).unwrap();
        }
    }
    assert!((100..500).contains(&trusted), "{trusted}");
}

#[test]
fn hostile_vocabularies_in_files_of_their_own() {
    let model = &whole("roberta")["model"];
    let (vocab, first) = (model["vocab"].to_string(), model["merges"][0].as_str().unwrap());
    let [merges, wrong] = ["#version: 0.2\n", ""].map(|head| format!("{head}{first}\nt h e\n"));
    let merges = merges.replace("t h e\n", "");
    for (vocab, merges, expected) in [
        (
            &*vocab,
            &*wrong,
            "merges.txt:2: expected two tokens with a space between them, found \"t h e\"",
        ),
        (
            &vocab,
            "#version: 0.2\n\n",
            "merges.txt:2: expected two tokens with a space between them, found \"\"",
        ),
        (
            &vocab,
            "#version: 0.2\nt zzz\n",
            "merges.txt:2: expected tokens of vocab.json, \"zzz\" among it",
        ),
        ("[]", &merges, "vocab.json: expected a JSON object, found []"),
        ("{", &merges, "vocab.json:1: expected JSON, found EOF"),
        ("{}", &merges, "merges.txt:2: expected tokens of vocab.json, "),
        ("{}", "", "vocab.json: expected the token <s> in the vocabulary, found none"),
        (
            "{\"<s>\": 0, \"</s>\": -2}",
            "",
            "vocab.json: expected an id from 0 to 1048575 of \"</s>\", found -2",
        ),
        ("{\"<s>\": 0, \"</s>\": 0}", "", "vocab.json: expected each token id once, found 0 for"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vocab.json"), vocab).unwrap();
        std::fs::write(dir.path().join("merges.txt"), merges).unwrap();
        let text = Encoder::from_dir(dir.path()).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let text = refusal("roberta", &[("vocab.json", &vocab)]);
    assert!(
        text.contains("expected tokenizer.json, or vocab.json and merges.txt, found neither"),
        "{text}"
    );
    let text = refusal("xlm_roberta", &[("vocab.json", &vocab)]);
    assert!(text.contains("expected tokenizer.json, found none"), "{text}");
    let text = refusal("camembert", &[("sentencepiece.bpe.model", ""), ("vocab.txt", "a\n")]);
    assert!(text.contains("(hint: of sentencepiece.bpe.model, transformers makes"), "{text}");
}
