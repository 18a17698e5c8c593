use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::glue::encode::Encoder;
use crate::glue::tsv::Label;

#[test]
fn the_memory_of_words_ends_where_its_room_does() {
    let mut memory = Memory::default();
    let word = |n: usize| format!("{n:064}");
    let mut count = 0;
    while memory.ids.len() == count {
        memory.add(&word(count), &[7; 64]);
        count += 1;
    }
    assert!(memory.bytes <= MAX_BYTES && memory.bytes > MAX_BYTES - 1000);
    // What the entries hold, counted from them.
    let held = |(word, ids): (&String, &Vec<u32>)| word.capacity() + 4 * ids.capacity();
    let table = memory.ids.allocation_size();
    assert!(memory.ids.iter().map(held).sum::<usize>() + table <= MAX_BYTES, "{table}");
    assert_eq!(memory.ids.get(&word(0)), Some(&vec![7; 64]));
}

#[test]
fn long_words_are_not_remembered() {
    let mut memory = Memory::default();
    memory.add(&"x".repeat(LONGEST_WORD + 1), &[7]);
    assert_eq!((memory.ids.len(), memory.bytes), (0, 0));
}

#[test]
fn texts_are_cut_where_spaces_allow() {
    let words = |spaces: Spaces, text| {
        let mut rest = text;
        std::iter::from_fn(|| spaces.next(&mut rest)).collect::<Vec<&str>>()
    };
    let text = "  a b\n c  d, \u{a0} e  ";
    assert_eq!(words(Spaces::Dropped, text), ["a", "b\n", "c", "d,", "\u{a0}", "e"]);
    assert_eq!(words(Spaces::Kept, text), ["  a", " b\n c", "  d,", " \u{a0} e", "  "]);
    assert!(words(Spaces::Kept, "").is_empty() && words(Spaces::Dropped, " ").is_empty());
}

/// The folder with the `tokenizer.json` of a fixture from tests/fixtures/subword_tokenizers.py.
fn folder(kind: &str, config: &Value) -> tempfile::TempDir {
    let fixture = format!("{}/tests/fixtures/{kind}_folders.json", env!("CARGO_MANIFEST_DIR"));
    let made: Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("config.json", json!({"model_type": kind.replace('_', "-")}).to_string());
    write("tokenizer.json", made["tokenizer.json"].to_string());
    write("tokenizer_config.json", config.to_string());
    dir
}

/// Encoders, and whether every text of theirs can be encoded word by word.
static ENCODERS: LazyLock<Vec<(Encoder, bool)>> = LazyLock::new(|| {
    let special = |more: Value| json!({"additional_special_tokens": more});
    let of = |kind: &str, config: Value, every: bool| {
        (Encoder::from_dir(folder(kind, &config).path()).unwrap(), every)
    };
    vec![
        of("roberta", json!({}), true),
        of("roberta", json!({"add_prefix_space": true}), true),
        of("roberta", special(json!(["b", "'s", {"content": "d", "single_word": true}])), true),
        of("roberta", special(json!([{"content": "a", "lstrip": true}, "😀"])), true),
        of("roberta", special(json!([{"content": "a", "rstrip": true}])), false),
        of("roberta", special(json!(["a b"])), false),
        of("xlm_roberta", json!({}), false),
        of("xlm_roberta", json!({"add_prefix_space": false}), false),
        of("xlm_roberta", special(json!([{"content": "a", "rstrip": true}, "ﬁ", "。"])), false),
        of("camembert", json!({}), false),
    ]
});

/// Texts of words, spaces of all kinds, marks, letters that join with what is before or after them,
/// and controls.
fn texts() -> impl Strategy<Value = Vec<String>> {
    const PIECES: &[&str] = &[
        "a", "b", "the", "cat", "d", "X", "'s", "'t", "'", "1", "99", "é", "É", "ß", "Она", "你",
        "。", "<mask>", "</s>", "<s>", "<unk>", "<", "s>", "▁", "Ġ", "e\u{301}", "\u{301}",
        "\u{600}", "\u{200d}", "\u{200b}", "\u{0}", "\u{a0}", "\u{2009}", "\u{3000}", "\u{85}",
        "\t", "\n", "\r\n", " ", " ", " ", " ", "  ", "   ", "😀", "ﬁ", "™", "\u{ad}", ",", "!!",
        "-",
    ];
    let text = prop::collection::vec(prop::sample::select(PIECES), 0..14);
    let text = prop_oneof![
        3 => text.prop_map(|t| t.concat()),
        1 => "\\PC{0,20}",
        1 => "[a-e' ]{0,30}",
        1 => any::<String>()
    ];
    prop::collection::vec(text, 2..8)
}

proptest! {
    #[test]
    fn remembered_words_of_every_kind_encode_as_whole_texts_do(texts in texts(), at_most in 4_usize..40) {
        for (encoder, every) in &*ENCODERS {
            let mut words = encoder.words();
            for pair in texts.windows(2) {
                let row = Row {
                    uid: "u".into(),
                    label: Label::Class(0),
                    text_a: pair[0].clone(),
                    text_b: Some(pair[1].clone()),
                };
                for at_most in [512, at_most] {
                    let (remembered, whole) = encoder.both_ways(&row, at_most, &mut words);
                    prop_assert!(!every || remembered.is_some());
                    prop_assert_eq!(remembered.unwrap_or_else(|| whole.clone()), whole);
                }
            }
        }
    }
}

#[test]
fn plain_texts_of_every_kind_are_encoded_word_by_word() {
    for kind in ["roberta", "xlm_roberta", "camembert"] {
        let encoder = Encoder::from_dir(folder(kind, &json!({})).path()).unwrap();
        let row = Row {
            uid: "u".into(),
            label: Label::Class(0),
            text_a: "The cat  sat, didn't it? Она сказала 你好。".into(),
            text_b: Some("größere <mask> Häuser ".into()),
        };
        let (remembered, whole) = encoder.both_ways(&row, 512, &mut encoder.words());
        assert_eq!(remembered, Some(whole), "{kind}");
    }
}
