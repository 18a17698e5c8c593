//! Damaged and hostile files, made by hand.

use super::*;
use crate::bert::sparse::{decode, is_sparse};

/// A file of this header and so many bytes of 1 after it.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 1);
    file
}

/// A header with the format's own metadata, more of it, and tensors.
fn header(metadata: &str, tensors: &str) -> String {
    format!(
        r#"{{"__metadata__":{{"format":"platon-sparse","platon_format":"1"{metadata}}}{tensors}}}"#
    )
}

fn message(bytes: &[u8]) -> String {
    decode(Path::new("m"), bytes).unwrap_err().to_string()
}

/// `,"NAME":{...}` of a tensor between two offsets.
fn entry(name: &str, dtype: &str, shape: &str, from: usize, to: usize) -> String {
    format!(r#","{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

/// A sparse tensor `w` of 9 elements: 2 bytes of bitmap, of which each has its lowest bit set, and
/// so many bytes of values.
fn sparse(shape: &str, values: usize) -> Vec<u8> {
    let halves = entry("w.bitmap", "U8", "[2]", 0, 2)
        + &entry("w.values", "F32", &format!("[{}]", values / 4), 2, 2 + values);
    file(&header(&format!(r#","shape.w":"{shape}""#), &halves), 2 + values)
}

#[test]
fn the_file_that_the_others_damage_is_sound() {
    let (tensors, texts) = decode(Path::new("m"), &sparse("3,3", 8)).unwrap();
    let stored = f32::from_le_bytes([1; 4]);
    assert_eq!(tensors["w"].shape, [3, 3]);
    assert_eq!(tensors["w"].values, [stored, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, stored]);
    assert!(texts.is_empty());
}

#[test]
fn a_damaged_header_is_refused() {
    let long = {
        let mut bytes = file("{}", 0);
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes
    };
    let not_text = {
        let mut bytes = file("{}", 0);
        bytes[8] = 0xff;
        bytes
    };
    let one = entry("w", "F32", "[1]", 0, 4);
    for (bytes, expected) in [
        (b"PK".to_vec(), "a safetensors file, found a file of 2 bytes"),
        (long, "a header of at most 2 bytes, found 18446744073709551615 bytes"),
        (not_text, "a header of UTF-8 text, found invalid utf-8 sequence of 1 bytes from index 0"),
        (
            file("[]", 0),
            "a safetensors header of JSON, found invalid type: sequence, expected an object of \
             tensors",
        ),
        (
            file(&header("", &format!("{one}{one}")), 4),
            "a safetensors header of JSON, found two entries w",
        ),
        (
            file(&header(r#","a":"1","a":"2""#, ""), 0),
            "a safetensors header of JSON, found two entries a",
        ),
        (
            file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0),
            "a safetensors header of JSON, found two entries __metadata__",
        ),
        (
            file(&header(r#","a":1"#, ""), 0),
            "a safetensors header of JSON, found invalid type: integer `1`, expected a string",
        ),
        (
            file(&header("", r#","w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#), 4),
            "a safetensors header of JSON, found invalid value: integer `-1`, expected usize",
        ),
    ] {
        // serde_json's place in the line follows.
        let message = message(&bytes);
        assert!(message.starts_with(&format!("m: expected {expected}")), "{message}");
        assert!(message.ends_with(&format!(" (hint: {DAMAGED})")), "{message}");
        assert!(!is_sparse(&bytes));
    }
}

#[test]
fn other_formats_and_versions_are_refused_with_a_way_out() {
    let with = |metadata: &str| file(&format!(r#"{{"__metadata__":{{{metadata}}}}}"#), 0);
    for (bytes, expected) in [
        (
            with(r#""format":"pt""#),
            "m: expected a metadata entry format of \"platon-sparse\", found \"pt\" (hint: this is \
             no sparse file; load it as an ordinary model)",
        ),
        (
            with(r#""format":"platon-sparse""#),
            "m: expected a metadata entry platon_format of \"1\" or \"2\", found none (hint: \
             another version of platon wrote the file: read it with that one)",
        ),
        (
            with(r#""format":"platon-sparse","platon_format":"3""#),
            "m: expected a metadata entry platon_format of \"1\" or \"2\", found \"3\" (hint: \
             another version of platon wrote the file: read it with that one)",
        ),
        (
            file(&header("", &entry("w", "F64", "[1]", 0, 8)), 8),
            "m: expected tensor w of type F32, F16, BF16 or U8, found F64 (hint: a sparse file \
             holds no other types; export the model again)",
        ),
        (
            file(&header("", &entry("w", "F16", "[1]", 0, 2)), 2),
            "m: expected tensor w of type F32, found F16 (hint: a sparse file holds weights of \
             one type; export the model again)",
        ),
        (
            file(&header("", &entry("w", "U8", "[2]", 0, 2)), 2),
            "m: expected tensor w of type F32, found U8 (hint: a sparse file holds weights of \
             one type; export the model again)",
        ),
    ] {
        assert_eq!(message(&bytes), expected);
    }
}

#[test]
fn a_file_that_breaks_a_rule_of_the_format_is_refused() {
    let dense = |entries: &[String], data| file(&header("", &entries.concat()), data);
    let shaped =
        |entries: &[String], data| file(&header(r#","shape.w":"3,3""#, &entries.concat()), data);
    let bitmap = entry("w.bitmap", "U8", "[2]", 0, 2);
    let values = entry("w.values", "F32", "[2]", 2, 10);
    let halves = [bitmap.clone(), values.clone()];
    let padded = {
        let mut bytes = sparse("3,3", 8);
        let last = bytes.len() - 9;
        bytes[last] = 0b11;
        bytes
    };
    // Eight tensors whose ends add up to just under 2^64: a reader must not add to that.
    let most = usize::MAX / 8;
    let endless: Vec<_> = (0..8)
        .map(|n| entry(&n.to_string(), "U8", &format!("[{most}]"), n * most, (n + 1) * most))
        .collect();
    for (bytes, expected) in [
        (
            dense(&[entry("w", "F32", "[2]", 0, 4)], 4),
            "tensor w in the bytes 0 to 8 of the data, found 0 to 4",
        ),
        (
            dense(&[entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 0, 4)], 4),
            "tensor b in the bytes 4 to 8 of the data, found 0 to 4",
        ),
        (
            dense(&[entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 8, 12)], 12),
            "tensor b in the bytes 4 to 8 of the data, found 8 to 12",
        ),
        (
            dense(&[entry("w", "F32", "[1]", 4, 0)], 4),
            "tensor w in the bytes 0 to 4 of the data, found 4 to 0",
        ),
        (
            dense(&[entry("w", "F32", "[2]", 0, 8)], 7),
            "at least 8 bytes of data, for tensor w, found 7",
        ),
        (dense(&[entry("w", "F32", "[2]", 0, 8)], 9), "8 bytes of data, found 9"),
        (
            dense(&[entry("w", "F32", "[4294967296,4294967296]", 0, 0)], 0),
            "tensor w of a size that fits into memory, found shape [4294967296, 4294967296]",
        ),
        (dense(&endless, 9), "at least 2305843009213693951 bytes of data, for tensor 0, found 9"),
        (dense(&halves, 10), "a metadata entry shape.* that w.bitmap belongs to, found none"),
        (
            shaped(std::slice::from_ref(&bitmap), 2),
            "w.values of type F32 and one dimension, found none of that name",
        ),
        (shaped(&[entry("w.values", "F32", "[2]", 0, 8)], 8), "w.values of 9 elements, found 2"),
        (
            shaped(
                &[entry("w.bitmap", "F32", "[2]", 0, 8), entry("w.values", "F32", "[2]", 8, 16)],
                16,
            ),
            "w.bitmap of type U8 and one dimension, found F32 of shape [2]",
        ),
        (
            shaped(&[bitmap.clone(), entry("w.values", "U8", "[2]", 2, 4)], 4),
            "w.values of type F32 and one dimension, found U8 of shape [2]",
        ),
        (
            shaped(&[entry("w.bitmap", "U8", "[2,1]", 0, 2), values.clone()], 10),
            "w.bitmap of type U8 and one dimension, found U8 of shape [2, 1]",
        ),
        (
            shaped(&[bitmap, values, entry("w", "F32", "[1]", 10, 14)], 14),
            "tensor w dense or sparse, found both",
        ),
        (sparse("3,2", 8), "w.bitmap of 1 bytes, found 2"),
        (sparse("", 8), "w.bitmap of 1 bytes, found 2"),
        (sparse("4294967296,4294967295", 8), "w.bitmap of 2305843008676823040 bytes, found 2"),
        (padded, "w.bitmap with zeros after bit 9, found a set bit"),
        (sparse("3,3", 4), "w.bitmap with a set bit for each of 1 values, found 2"),
        (sparse("3,3", 12), "w.bitmap with a set bit for each of 3 values, found 2"),
        (sparse("3, 3", 8), "a shape of w such as 384,1536, found \"3, 3\""),
        (sparse("+9", 8), "a shape of w such as 384,1536, found \"+9\""),
        (sparse("09", 8), "a shape of w such as 384,1536, found \"09\""),
        (sparse("3,3,", 8), "a shape of w such as 384,1536, found \"3,3,\""),
        (
            sparse("4294967296,4294967296", 8),
            "a shape of w such as 384,1536, found \"4294967296,4294967296\"",
        ),
        (
            file(&header(r#","shape.a.values":"""#, ""), 0),
            "a shape of a tensor with a name that the format does not keep, found a.values",
        ),
    ] {
        assert_eq!(message(&bytes), format!("m: expected {expected} (hint: {DAMAGED})"));
    }
}

#[test]
fn an_error_repeats_little_of_a_hostile_name_and_none_of_its_control_characters() {
    let name = format!("\\u001b[2J\\n{}", "é".repeat(500));
    let bytes = file(&header("", &entry(&name, "U8", "[2]", 0, 2)), 2);
    let message = message(&bytes);
    assert!(message.starts_with("m: expected tensor ?[2J?é"), "{message}");
    assert!(message.chars().count() < 300 && message.contains("é... of type F32"), "{message}");
}
