//! Hostile `tokenizer.json`, `vocab.txt` and `tokenizer_config.json`.

use serde_json::{Value, json};

use super::{
    Bytes, CONFIG as MODEL_CONFIG, Edit, Made, PREDICT, Planted, TOKENIZER, TRAIN, Text, Tokenizer,
    VOCAB, WEIGHTS, folder_instead, refuses,
};
use crate::dir::Dir;

/// The smallest vocabulary, each token's id being its place.
pub const TOKENS: [&str; 10] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sofa", "##s", "the"];

/// A `tokenizer.json` with these tokens, after `change`.
pub fn tokenizer_json(change: impl Fn(&mut Value)) -> Vec<u8> {
    let vocab: serde_json::Map<_, _> =
        TOKENS.iter().enumerate().map(|(id, token)| (token.to_string(), json!(id))).collect();
    let mark = |token: &str, kind: u8| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u8| json!({"Sequence": {"id": name, "type_id": kind}});
    let entry = |token: &str, id: u8| json!({"id": token, "ids": [id], "tokens": [token]});
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [mark("[CLS]", 0), text("A", 0), mark("[SEP]", 0)],
            "pair": [mark("[CLS]", 0), text("A", 0), mark("[SEP]", 0), text("B", 1),
                mark("[SEP]", 1)],
            "special_tokens": {"[CLS]": entry("[CLS]", 2), "[SEP]": entry("[SEP]", 3)},
        },
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    change(&mut tokenizer);
    tokenizer.to_string().into_bytes()
}

const CONFIG: &str = "run/model/tokenizer_config.json";

fn split_at(tokenizer: &mut Value, regex: &str) {
    let pattern = json!({"Regex": regex});
    tokenizer["pre_tokenizer"] =
        json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
}

fn half(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(text.len() / 2);
    text
}

/// A file of so many bytes, which takes no room on the disk.
fn sparse_file(dir: &Dir, name: &str, bytes: u64) {
    std::fs::File::create(dir.path(name)).unwrap().set_len(bytes).unwrap();
}

#[test]
fn files_beyond_the_limits_of_their_kind() {
    const MIB: u64 = 1 << 20;
    for (file, most, plant) in [
        (VOCAB, 64 * MIB, Planted(|dir, name| sparse_file(dir, name, 65 * MIB))),
        (TOKENIZER, 128 * MIB, Planted(|dir, name| sparse_file(dir, name, 129 * MIB))),
        (MODEL_CONFIG, 16 * MIB, Planted(|dir, name| sparse_file(dir, name, 17 * MIB))),
        (WEIGHTS, MIB << 14, Planted(|dir, name| sparse_file(dir, name, (MIB << 14) + 1))),
    ] {
        let expected = format!(": expected at most {most} bytes, found ");
        refuses(PREDICT, file, &[(plant, &expected)]);
    }
}

#[test]
fn tokenizers() {
    refuses(
        PREDICT,
        TOKENIZER,
        &[
            (Text(""), ": expected a tokenizer of Hugging Face's format, found EOF"),
            (Text("[]"), ": expected a tokenizer of Hugging Face's format, found"),
            (Bytes(b"{\"a\": \"\xff\"}"), ":1: expected UTF-8 text, found the byte 0xff"),
            (
                Made(|| half(tokenizer_json(|_| ()))),
                ": expected a tokenizer of Hugging Face's format, found EOF .. (hint: ",
            ),
            (
                Made(|| vec![b'['; 1_000_000]),
                ": expected a tokenizer of Hugging Face's format, found",
            ),
            (
                Made(|| br#"{"normalizer":"#.repeat(1_000_000)),
                ": expected a tokenizer of Hugging Face's format, found",
            ),
            (
                Tokenizer(|t| t["version"] = json!("2.0")),
                ": expected a tokenizer of Hugging Face's format, found Unknown tokenizer version",
            ),
            (
                Tokenizer(|t| t["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": []})),
                ": expected a WordPiece model, as BertTokenizer has, found a BPE model (hint: ",
            ),
            (
                Tokenizer(|t| {
                    t["model"] = json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})
                }),
                ": expected model.type one of WordPiece, BPE, Unigram, found \"WordLevel\" (hint: ",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"] = json!({})),
                ": expected the token [CLS] in the vocabulary, found none",
            ),
            (
                Tokenizer(|t| drop(t["model"]["vocab"].as_object_mut().unwrap().remove("[UNK]"))),
                ": expected the token [UNK] in the vocabulary, found none (hint: ",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"]["cat"] = json!(-1)),
                ": expected an id from 0 to 1048575 of \"cat\", found -1",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"]["cat"] = json!(6.5)),
                ": expected an id from 0 to 1048575 of \"cat\", found 6.5",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"]["cat"] = json!("6")),
                ": expected an id from 0 to 1048575 of \"cat\", found \"6\"",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"]["cat"] = json!(4_294_967_296_u64)),
                ": expected an id from 0 to 1048575 of \"cat\", found 4294967296",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"] = json!([["a", 1]])),
                ": expected a vocab with ids, found another form (hint: ",
            ),
            (
                Tokenizer(|t| t["model"]["vocab"]["dog"] = json!(10)),
                "run/model: expected at most 10 tokens, as the model has embeddings, found 11 \
                 (hint: the tokenizer must belong to the checkpoint)",
            ),
            (
                Tokenizer(|t| t["post_processor"] = json!(null)),
                ": expected [CLS] and [SEP] around an empty text, found \"\"",
            ),
            (
                Tokenizer(|t| {
                    t["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([99_999])
                }),
                ": expected [CLS] and [SEP] around an empty text, found",
            ),
            (
                Tokenizer(|t| split_at(t, "(a")),
                ": expected a pre_tokenizer of BERT or RoBERTa, found \"Split\"",
            ),
            (
                Tokenizer(|t| split_at(t, "((a{1000}){1000}){1000}")),
                ": expected a pre_tokenizer of BERT or RoBERTa, found \"Split\"",
            ),
        ],
    );
    refuses(
        TRAIN,
        TOKENIZER,
        &[(
            Made(|| half(tokenizer_json(|_| ()))),
            ": expected a tokenizer of Hugging Face's format, found EOF .. (hint: ",
        )],
    );
    refuses(
        PREDICT,
        VOCAB,
        &[
            (Text(""), ": expected the token [CLS] in the vocabulary, found none (hint: "),
            (
                Edit("[SEP]", "[SEPP]"),
                ": expected the token [SEP] in the vocabulary, found none (hint: ",
            ),
            (
                Edit("sofa", "\n"),
                "run/model: expected at most 10 tokens, as the model has embeddings, found 11",
            ),
            (
                Edit("sofa", "sofa\ndog"),
                "run/model: expected at most 10 tokens, as the model has embeddings, found 11",
            ),
            (
                Made(|| {
                    [
                        b"[UNK]\n[CLS]\n[SEP]\n".to_vec(),
                        (0..200_000).flat_map(|n| format!("{n}\n").into_bytes()).collect(),
                    ]
                    .concat()
                }),
                "run/model: expected at most 10 tokens, as the model has embeddings, found \
                 200003",
            ),
            (Bytes(b"[UNK]\n[CLS]\n[SEP]\n\xff\n"), ":4: expected UTF-8 text, found the byte 0xff"),
            (
                Planted(folder_instead),
                "run/model: expected tokenizer.json or vocab.txt, found neither",
            ),
        ],
    );
    refuses(
        PREDICT,
        CONFIG,
        &[
            (Text("{"), ":1: expected JSON, found EOF"),
            (Made(|| vec![b'['; 100_000]), ":1: expected JSON, found recursion limit exceeded"),
            (
                Text("{\"do_lower_case\": \"yes\"}"),
                ": expected true or false for do_lower_case, found \"yes\"",
            ),
            (
                Text("{\"tokenizer_class\": \"BertJapaneseTokenizer\"}"),
                ": expected tokenizer_class one of BertTokenizer, .. found \"BertJapaneseTokenizer\" \
                 (hint: its texts would become other tokens",
            ),
            (
                Planted(|dir, name| sparse_file(dir, name, 17 << 20)),
                ": expected at most 16777216 bytes, found 17825792 or more (hint: ",
            ),
            (Text("{\"strip_accents\": 1}"), ": expected true or false for strip_accents, found 1"),
        ],
    );
}
