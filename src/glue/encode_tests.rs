use std::fs;

use proptest::prelude::*;

use super::*;
use crate::glue::tsv::Label;

const VOCAB: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\ncafe\n##s\nX\nx\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn encoder(files: &[(&str, &str)]) -> Result<Encoder> {
    Encoder::from_dir(folder(files).path())
}

fn row(text_a: &str, text_b: Option<&str>) -> Row {
    let text_b = text_b.map(str::to_owned);
    Row { uid: "u".into(), label: Label::Class(1), text_a: text_a.into(), text_b }
}

fn ids(encoder: &Encoder, text_a: &str, text_b: Option<&str>, max_tokens: usize) -> Vec<u32> {
    let mut samples =
        encoder.encode_batch(&[row(text_a, text_b)], max_tokens, &mut encoder.words()).unwrap();
    samples.remove(0).token_id
}

#[test]
fn a_pair_is_marked_and_typed() {
    let encoder = encoder(&[("vocab.txt", VOCAB)]).unwrap();
    let rows = [row("Cafés a", Some("b zzz"))];
    let samples = encoder.encode_batch(&rows, 512, &mut encoder.words()).unwrap();
    let expected = Sample {
        uid: "u".into(),
        label: Label::Class(1),
        token_id: vec![2, 7, 8, 5, 3, 6, 1, 3],
        type_id: vec![0, 0, 0, 0, 0, 1, 1, 1],
        attention_mask: vec![1; 8],
        softlabel: Vec::new(),
    };
    assert_eq!(samples, [expected]);
    assert_eq!(ids(&encoder, "a", None, 512), [2, 5, 3]);
    assert_eq!(encoder.vocab_size(), 11);
}

#[test]
fn an_empty_second_text_is_none_as_in_transformers() {
    let encoder = encoder(&[("vocab.txt", VOCAB)]).unwrap();
    assert_eq!(ids(&encoder, "a", Some(""), 512), [2, 5, 3]);
    assert_eq!(ids(&encoder, "a", Some(" "), 512), [2, 5, 3, 3]);
    assert_eq!(ids(&encoder, "", Some("b"), 512), [2, 3, 6, 3]);
}

#[test]
fn the_longest_text_is_truncated_first() {
    let encoder = encoder(&[("vocab.txt", VOCAB)]).unwrap();
    // Room for 4: the short text stays whole, the long one is cut to the rest.
    assert_eq!(ids(&encoder, "a a a a a a", Some("b"), 7), [2, 5, 5, 5, 3, 6, 3]);
    assert_eq!(ids(&encoder, "a", Some("b b b b b"), 7), [2, 5, 3, 6, 6, 6, 3]);
    assert_eq!(ids(&encoder, "a a a a", Some("b b b b b"), 7), [2, 5, 5, 3, 6, 6, 3]);
    assert_eq!(ids(&encoder, "a a a a", None, 5), [2, 5, 5, 5, 3]);
    assert_eq!(ids(&encoder, "a a", None, 4), [2, 5, 5, 3]);
    let rows = [row("a", Some("b"))];
    let text = encoder.encode_batch(&rows, 2, &mut encoder.words()).unwrap_err().to_string();
    assert_eq!(text, "max_tokens: expected at least 3 for the marks, found 2");
}

/// Texts of words, spaces of all kinds, marks, accents that stand apart, and controls.
fn texts() -> impl Strategy<Value = Vec<String>> {
    const PIECES: &[&str] = &[
        "a", "b", "cafe", "Cafés", "X", "[SEP]", "[CLS]a", "[MASK]", "[PA", "D]", ",", "a.b",
        "你好", "Σς", "İ", "e\u{301}", "\u{301}", "\u{200b}", "\u{0}", "\u{fffd}", "\u{a0}",
        "\u{3000}", "\t", "\n", " ", " ", " ", "  ", "😀", "##s", "-", "ﬁ", "\u{ad}",
    ];
    let text = prop::collection::vec(prop::sample::select(PIECES), 0..12);
    let text = prop_oneof![text.prop_map(|t| t.concat()), "\\PC{0,20}", any::<String>()];
    prop::collection::vec(text, 2..8)
}

proptest! {
    #[test]
    fn remembered_words_encode_as_whole_texts_do(
        texts in texts(),
        cased: bool,
        more: bool,
        typed: bool,
        at_most in 3_usize..40,
    ) {
        let class = if typed { "BertTokenizer" } else { "DistilBertTokenizer" };
        let config = json!({"do_lower_case": !cased, "tokenizer_class": class}).to_string();
        let added = r##"{"Cafés": 11, "b.": 12, "[MA": 13, "#s": 14, "😀": 15}"##;
        let map = r#"{"mask_token": {"content": "[MASK]", "lstrip": true, "rstrip": true},
            "extra_special_tokens": ["é", "ﬁ", {"content": "-", "single_word": true}]}"#;
        let mut files = vec![("vocab.txt", VOCAB), ("tokenizer_config.json", &*config)];
        if more {
            files.extend([("special_tokens_map.json", map), ("added_tokens.json", added)]);
        }
        let encoder = encoder(&files).unwrap();
        let mut words = encoder.words();
        for pair in texts.windows(2) {
            let row = row(&pair[0], Some(&pair[1]));
            for at_most in [512, at_most] {
                let (remembered, whole) = encoder.both_ways(&row, at_most, &mut words);
                prop_assert!(more || remembered.is_some());
                prop_assert_eq!(remembered.unwrap_or_else(|| whole.clone()), whole);
            }
        }
    }
}

#[test]
fn a_tokenizer_that_does_not_split_at_spaces_sees_whole_texts() {
    let good: Value =
        serde_json::from_str(&encoder(&[("vocab.txt", VOCAB)]).unwrap().serialized).unwrap();
    let mut spaced = good.clone();
    let mark = json!({"id": 11, "content": "a b", "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": false});
    spaced["added_tokens"].as_array_mut().unwrap().push(mark);
    let mut typed = good.clone();
    typed["post_processor"]["pair"][3]["Sequence"]["type_id"] = json!(0);
    let mut split = good.clone();
    split["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
    for (json, expected) in [
        (&good, vec![2, 5, 6, 3]),
        (&spaced, vec![2, 11, 3]),
        (&typed, vec![2, 5, 6, 3]),
        (&split, vec![2, 5, 6, 3]),
    ] {
        let class = ("tokenizer_config.json", "{\"tokenizer_class\": \"PreTrainedTokenizerFast\"}");
        let encoder = encoder(&[("tokenizer.json", &json.to_string()), class]).unwrap();
        assert_eq!(ids(&encoder, "a b", None, 512), expected);
        let remembers = encoder.words().encode(&encoder.tokenizer, &row("a b", None), 512);
        assert_eq!(remembers.is_some(), json == &good);
    }
}

#[test]
fn of_a_token_that_is_there_twice_the_last_line_counts() {
    let encoder = encoder(&[("vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\nb\na\n\n\n")]).unwrap();
    assert_eq!(ids(&encoder, "a b", None, 512), [1, 5, 4, 2]);
    assert_eq!(encoder.vocab_size(), 8);
    let dir = tempfile::tempdir().unwrap();
    encoder.save_to(dir.path(), 512).unwrap();
    let saved = fs::read_to_string(dir.path().join("vocab.txt")).unwrap();
    assert_eq!(saved, "[UNK]\n[CLS]\n[SEP]\nb\nb\na\n\n\n", "the same ids");
    assert_eq!(Encoder::from_dir(dir.path()).unwrap().fingerprint(), encoder.fingerprint());
}

#[test]
fn a_mark_that_the_vocabulary_lacks_needs_no_embedding() {
    let encoder = encoder(&[("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")]).unwrap();
    assert_eq!(encoder.vocab_size(), 5);
    assert_eq!(ids(&encoder, "a [MASK]", None, 512), [2, 4, 5, 3], "as in transformers");
}

#[test]
fn a_vocabulary_of_more_tokens_than_any_model_has_is_refused() {
    let lines = |n: usize| VOCAB.to_owned() + &"a\n".repeat(n - 11);
    assert!(encoder(&[("vocab.txt", &lines(1 << 20))]).is_ok());
    let text = encoder(&[("vocab.txt", &lines((1 << 20) + 1))]).unwrap_err().to_string();
    assert!(text.contains("vocab.txt: expected at most 1048576 tokens, found 1048577"), "{text}");
}

#[test]
fn what_contradicts_itself_beside_a_vocabulary_is_refused_by_its_file() {
    let refused = |name: &str, content: &str| {
        encoder(&[("vocab.txt", VOCAB), (name, content)]).unwrap_err().to_string()
    };
    for (name, content, expected) in [
        ("tokenizer_config.json", "[]", ": expected a JSON object, found []"),
        ("tokenizer_config.json", "{\"added_tokens_decoder\": []}", ": expected an object for"),
        (
            "tokenizer_config.json",
            "{\"added_tokens_decoder\": {\"a\": \"b\"}}",
            ": expected numbers",
        ),
        (
            "tokenizer_config.json",
            "{\"mask_token\": {\"lstrip\": true}}",
            ": expected a token with",
        ),
        (
            "tokenizer_config.json",
            "{\"mask_token\": 3}",
            ": expected a token's text or object, found 3",
        ),
        (
            "tokenizer_config.json",
            "{\"tokenizer_class\": 1}",
            ": expected a name for tokenizer_class",
        ),
        (
            "config.json",
            "{\"tokenizer_class\": \"T5Tokenizer\"}",
            ": expected tokenizer_class one of",
        ),
        ("added_tokens.json", "{", ":1: expected JSON, found EOF"),
        ("added_tokens.json", "{\"a\": \"b\"}", ": expected a number as the id of \"a\""),
        (
            "special_tokens_map.json",
            "{\"sep_token\": null}",
            ": expected sep_token \"[SEP]\", found null",
        ),
        ("special_tokens_map.json", "{\"additional_special_tokens\": 1}", ": expected a list for"),
    ] {
        let text = refused(name, content);
        assert!(text.contains(&format!("{name}{expected}")), "{text}");
    }
    let many: Map<_, _> = (0..10_000).map(|n| (format!("t{n}"), json!(n))).collect();
    let text = refused("added_tokens.json", &Value::from(many).to_string());
    assert!(text.contains("expected at most 10000 added_tokens, found 10005"), "{text}");
    // Nothing is left of an accent: it would be found between any two letters, or inside of one.
    let text = refused("added_tokens.json", "{\"\u{301}\": 11}");
    assert!(text.contains("expected added tokens that remain when"), "{text}");
}

#[test]
fn case_follows_the_configuration() {
    let lower = encoder(&[("vocab.txt", VOCAB)]).unwrap();
    let config = ("tokenizer_config.json", "{\"do_lower_case\": false}");
    let cased = encoder(&[("vocab.txt", VOCAB), config]).unwrap();
    assert_eq!(ids(&lower, "X", None, 512), [2, 10, 3]);
    assert_eq!(ids(&cased, "X", None, 512), [2, 9, 3]);
    assert_ne!(lower.fingerprint(), cased.fingerprint());
}

#[test]
fn truncation_and_padding_in_the_file_are_not_used() {
    let dir = folder(&[("vocab.txt", VOCAB)]);
    let plain = Encoder::from_dir(dir.path()).unwrap();
    let mut json: Value = serde_json::from_str(&plain.serialized).unwrap();
    json["truncation"] = json!({"max_length": 4, "strategy": "LongestFirst", "stride": 0,
        "direction": "Right"});
    json["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right",
        "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    let loaded = Encoder::from_dir(dir.path()).unwrap();
    assert_eq!(ids(&loaded, "a a a a", None, 512), [2, 5, 5, 5, 5, 3]);
    assert_eq!(loaded.fingerprint(), plain.fingerprint());
}

#[test]
fn a_saved_folder_encodes_alike_from_either_file() {
    let config = ("tokenizer_config.json", "{\"do_lower_case\": false}");
    let before = encoder(&[("vocab.txt", VOCAB), config]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    before.save_to(dir.path(), 64).unwrap();
    assert_eq!(Encoder::from_dir(dir.path()).unwrap().fingerprint(), before.fingerprint());
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert_eq!(Encoder::from_dir(dir.path()).unwrap().fingerprint(), before.fingerprint());
    assert_eq!(fs::read_to_string(dir.path().join("vocab.txt")).unwrap(), VOCAB);
    let text = fs::read_to_string(dir.path().join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["do_lower_case"], false);
    assert_eq!(config["model_max_length"], 64);
    assert_eq!(config["cls_token"], "[CLS]");
}

/// A change of a post-processor, and what it is refused with.
type Strange = (fn(&mut Value), &'static str);

/// Each would make the library panic, leave a text out or make a sample longer than the model
/// reaches. The first three show only in what the library makes of them.
const STRANGE_TEMPLATES: &[Strange] = &[
    (
        |template| {
            template["type"] = json!("BertProcessing");
            template["single"][1]["Sequence"]["id"] = json!("B");
        },
        "expected only sequence A in single, found B",
    ),
    (
        |template| template["pair"][0] = json!({"SpecialToken": ["[X]", 0]}),
        "expected special_tokens with [X], found none",
    ),
    (
        |template| template["single"][0] = json!({"SpecialToken": ["[X]", 0]}),
        "expected special_tokens with [X], found none",
    ),
    (
        |template| template["single"][1] = json!({"Sequence": ["B", 0]}),
        "expected each text once in single, [\"A\"], found []",
    ),
    (
        |template| template["single"][2] = template["single"][1].clone(),
        "expected each text once in single, [\"A\"], found [\"A\", \"A\"]",
    ),
    (
        |template| template["pair"][2] = template["pair"][3].clone(),
        "expected each text once in pair, [\"A\", \"B\"], found [\"A\", \"B\", \"B\"]",
    ),
];

#[test]
fn a_folder_that_is_no_bert_tokenizer_is_refused() {
    let text = |files: &[(&str, &str)]| encoder(files).unwrap_err().to_string();
    assert!(text(&[]).contains("expected tokenizer.json or vocab.txt, found neither (hint: "));
    for mark in marks::BERT.required() {
        let message = text(&[("vocab.txt", &VOCAB.replace(mark, "[other]"))]);
        assert!(message.contains(&format!("vocab.txt: expected the token {mark} in")), "{message}");
    }
    let config = ("tokenizer_config.json", "{\"do_lower_case\": \"no\"}");
    let message = text(&[("vocab.txt", VOCAB), config]);
    assert!(message.contains("expected true or false for do_lower_case"), "{message}");

    let good: Value =
        serde_json::from_str(&encoder(&[("vocab.txt", VOCAB)]).unwrap().serialized).unwrap();
    let whole = |change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        text(&[("tokenizer.json", &json.to_string())])
    };
    let message = whole(&|json| json["post_processor"] = Value::Null);
    assert!(message.contains("expected [CLS] and [SEP] around an empty text"), "{message}");
    for (change, expected) in STRANGE_TEMPLATES {
        let message = whole(&|json| change(&mut json["post_processor"]));
        assert!(message.contains(expected), "{message}");
    }
    let message = whole(&|json| {
        json["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []});
    });
    assert!(message.contains("tokenizer.json: expected"), "{message}");
    let message = text(&[("tokenizer.json", "{")]);
    assert!(message.contains("expected a tokenizer of Hugging Face's format"), "{message}");
}
