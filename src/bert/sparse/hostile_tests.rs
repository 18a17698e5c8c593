//! Files of version 2 that break a rule of the format.

use std::collections::BTreeMap;
use std::path::Path;

use super::{ElementType, decode, part};
use crate::bert::container::{DAMAGED, TensorEntry, write};

/// A zlib stream of the bytes 7, 7, as any program may write it: a stored block.
const TWO_SEVENS: [u8; 13] = [0x78, 1, 1, 2, 0, 0xfd, 0xff, 7, 7, 0, 0x17, 0, 0x0f];

/// A file with a tensor `w` of this shape in these parts.
fn file(dtype: &str, shape: &str, parts: Vec<TensorEntry>) -> Vec<u8> {
    let texts =
        [("format", "platon-sparse"), ("platon_format", "2"), ("dtype", dtype), ("shape.w", shape)];
    let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned()));
    write(&BTreeMap::from(texts), parts).unwrap()
}

fn bytes(ending: &str, data: &[u8]) -> TensorEntry {
    part("w", ending, ElementType::U8, vec![data.len()], data.to_vec())
}

fn low(count: usize) -> TensorEntry {
    part("w", ".low", ElementType::U8, vec![count, 1], vec![1; count])
}

fn values(count: usize) -> TensorEntry {
    part("w", ".values", ElementType::F16, vec![count], vec![0x3c; 2 * count])
}

/// The error of a file in F16, without what every one has.
fn refused(shape: &str, parts: Vec<TensorEntry>) -> String {
    let message = decode(Path::new("m"), &file("F16", shape, parts)).unwrap_err().to_string();
    let inner = message.strip_prefix("m: expected ").unwrap();
    inner.strip_suffix(&format!(" (hint: {DAMAGED})")).unwrap().to_owned()
}

#[test]
fn the_files_that_the_others_damage_are_sound() {
    // Gaps 1 and 2 with one low bit: 1 1, 0 1 0.
    let gaps = || bytes(".gaps", &[1, 0b0_1011]);
    for parts in [vec![gaps(), values(2)], vec![gaps(), bytes(".high", &TWO_SEVENS), low(2)]] {
        let (tensors, _) = decode(Path::new("m"), &file("F16", "2,3", parts)).unwrap();
        let [first, second] = [1, 4].map(|place| tensors["w"].values[place]);
        assert!(first != 0.0 && first == second);
        assert_eq!(tensors["w"].values.iter().filter(|value| **value == 0.0).count(), 4);
    }
}

#[test]
fn run_lengths_that_break_a_rule_are_refused() {
    for (gaps, count, expected) in [
        (&[1, 0b1011, 0, 2][..], 2, "with zeros after 2 gaps, found a set bit"),
        (&[1, 0b1011], 1, "with zeros after 1 gaps, found a set bit"),
        (&[1, 0b1011], 3, "with a gap for each of 3 values, found 2"),
        (&[1], 2, "with a gap for each of 2 values, found 0"),
        (&[0, 0b1000_0100], 2, "with gaps within 6 elements, found one up to element 8"),
        (&[0, 0b1100_0000], 1, "with gaps within 6 elements, found one up to element 7"),
        (&[31, 0, 0, 0, 0, 0, 0, 0, 1], 1, "with a gap for each of 1 values, found 0"),
        (&[32, 0b1011], 2, "with a parameter of at most 31, found 32"),
        (&[255], 0, "with a parameter of at most 31, found 255"),
        (&[], 1, "with a parameter of at most 31, found no byte"),
    ] {
        let found = refused("2,3", vec![bytes(".gaps", gaps), values(count)]);
        assert_eq!(found, format!("w.gaps {expected}"));
    }
    let far = [&[31][..], &[0; 60], &[1, 0, 0, 0, 0]].concat();
    let found = refused("2,3", vec![bytes(".gaps", &far), values(1)]);
    assert_eq!(found, "w.gaps with gaps within 6 elements, found one up to element 1030792151041");
}

#[test]
fn a_small_file_does_not_claim_a_large_tensor() {
    let expected = "w.gaps for at most 64 elements a byte of index and values, found";
    let found = refused("65536,65536", vec![bytes(".gaps", &[1, 1]), values(1)]);
    assert_eq!(found, format!("{expected} 4294967296 elements for 4 bytes"));
    let found = refused("257", vec![bytes(".gaps", &[1, 1]), values(1)]);
    assert_eq!(found, format!("{expected} 257 elements for 4 bytes"));
    let file = file("F16", "256", vec![bytes(".gaps", &[1, 1]), values(1)]);
    assert!(decode(Path::new("m"), &file).is_ok());
}

#[test]
fn high_bytes_that_do_not_fit_the_others_are_refused() {
    let stream = |count| format!("w.high with a zlib stream of {count} bytes, found another");
    for count in [0, 1, 3, 9] {
        let parts = vec![bytes(".high", &TWO_SEVENS), low(count)];
        assert_eq!(refused(&count.to_string(), parts), stream(count));
    }
    for cut in [0, 1, 6, 12] {
        let parts = vec![bytes(".high", &TWO_SEVENS[..cut]), low(2)];
        assert_eq!(refused("2", parts), stream(2));
    }
    let longer = [&TWO_SEVENS[..], &[0]].concat();
    assert_eq!(refused("2", vec![bytes(".high", &longer), low(2)]), stream(2));
    let mut checksum = TWO_SEVENS;
    checksum[12] ^= 1;
    assert_eq!(refused("2", vec![bytes(".high", &checksum), low(2)]), stream(2));
    let three = part("w", ".low", ElementType::U8, vec![2, 3], vec![0; 6]);
    assert_eq!(
        refused("2", vec![bytes(".high", &TWO_SEVENS), three]),
        "w.low of type U8 and two dimensions, the second 1, found U8 of shape [2, 3]"
    );
    assert_eq!(
        refused("2", vec![bytes(".high", &TWO_SEVENS)]),
        "w.low of type U8 and two dimensions, the second 1, found none of that name"
    );
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let high = || bytes(".high", &TWO_SEVENS);
    let belongs = |part| format!("a metadata entry shape.* that {part} belongs to, found none");
    assert_eq!(refused("2", vec![high(), low(2), values(2)]), belongs("w.values"));
    let both = vec![bytes(".bitmap", &[3]), bytes(".gaps", &[0, 3]), values(2)];
    assert_eq!(refused("2", both), belongs("w.gaps"));
    assert_eq!(refused("2", vec![low(2), values(2)]), belongs("w.low"));
    assert_eq!(refused("3", vec![values(2)]), "w.values of 3 elements, found 2");
    let wide = part("w", ".values", ElementType::F32, vec![2], vec![0; 8]);
    assert_eq!(
        refused("2", vec![wide]),
        "w.values of type F16 and one dimension, found F32 of shape [2]"
    );
    let message = decode(Path::new("m"), &file("F64", "2", vec![])).unwrap_err().to_string();
    let expected = "m: expected a metadata entry dtype of F32, F16 or BF16, found \"F64\" (hint: ";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn version_1_has_no_parts_of_version_2() {
    let texts = [("format", "platon-sparse"), ("platon_format", "1"), ("shape.w", "2")];
    let texts = BTreeMap::from(texts.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let values = part("w", ".values", ElementType::F32, vec![2], vec![1; 8]);
    let file = write(&texts, vec![bytes(".gaps", &[0, 3]), values]).unwrap();
    assert_eq!(
        decode(Path::new("m"), &file).unwrap_err().to_string(),
        format!(
            "m: expected a file of version 2 that holds w.gaps, found version 1 (hint: {DAMAGED})"
        )
    );
}
