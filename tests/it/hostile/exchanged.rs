//! Hostile files of other programs: sparse files and PyTorch checkpoints.

use serde_json::{Value, json};

use super::weights::{cut, file, safetensors, shortened, word};
use super::{Bytes, Made, Planted, Sparse, WEIGHTS, refuse, refuses, remove, write_bytes};

pub const CONVERT: &str = "convert model.sparse out/converted";

/// A sparse file of the smallest BERT with one more text.
pub fn sparse(change: impl Fn(&mut Value)) -> Vec<u8> {
    safetensors(|header| {
        header["__metadata__"] = json!({"format": "platon-sparse", "platon_format": "1",
            "config.json": super::model::CONFIG_JSON});
        change(header);
    })
}

/// A sparse file of one tensor of this shape with 8 bytes of bitmap and no values.
fn bombs(shape: &str) -> Vec<u8> {
    let header = json!({
        "__metadata__": {"format": "platon-sparse", "platon_format": "1", "shape.bert.x": shape,
            "config.json": super::model::CONFIG_JSON},
        "bert.x.bitmap": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
        "bert.x.values": {"dtype": "F32", "shape": [0], "data_offsets": [8, 8]},
    });
    file(&header.to_string(), &[0; 8])
}

const TORCH: &str = "predict evil.pt --input texts.txt --tokenizer run/model";
const EVIL: &str = "evil.pt";
const SYSTEM: &[u8] = b"\x80\x02cos\nsystem\nX\x0c\x00\x00\x00touch pwned\n\x85R.";
const LEGACY: &[u8] =
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

/// A zip archive of these entries, stored as they are or compressed.
fn archive(entries: &[(&str, &[u8])], compressed: bool) -> Vec<u8> {
    use std::io::Write;
    let method =
        if compressed { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn sparse_files() {
    refuses(
        CONVERT,
        "model.sparse",
        &[
            (
                Sparse(|h| h["__metadata__"]["platon_format"] = json!("3")),
                ": expected a metadata entry platon_format of \"1\" or \"2\", found \"3\" (hint: \
                 another version of platon wrote the file: read it with that one)",
            ),
            (
                Sparse(|h| h["__metadata__"]["config.json"] = json!("{")),
                ": expected JSON in config.json, found EOF",
            ),
            (
                Sparse(|h| h["__metadata__"]["config.json"] = json!("{}")),
                ": expected a configuration of bert, found missing field",
            ),
            (
                Sparse(|h| h["__metadata__"]["shape.x"] = json!("2,2")),
                ": expected x.values of type F32 and one dimension, found none of that name \
                 (hint: the file is damaged",
            ),
            (
                Sparse(|h| h["__metadata__"]["shape.classifier.bias"] = json!("2")),
                ": expected tensor classifier.bias dense or sparse, found both",
            ),
            (
                Sparse(|h| word(h)["shape"] = json!([1_u64 << 63, 4])),
                ": expected tensor bert.embeddings.word_embeddings.weight of a size that fits \
                 into memory",
            ),
            (
                Sparse(|h| word(h)["data_offsets"] = json!([0, 164])),
                ": expected tensor bert.embeddings.word_embeddings.weight in the bytes 0 to \
                 160 of the data, found 0 to 164",
            ),
            (
                Sparse(|h| word(h)["dtype"] = json!("F64")),
                ": expected tensor bert.embeddings.word_embeddings.weight of type F32, F16, \
                 BF16 or U8, found F64",
            ),
            (Made(|| shortened(sparse(|_| ()), 4)), ": expected at least"),
            (Made(|| bombs("65536,65536")), ": expected bert.x.bitmap of 536870912 bytes, found 8"),
            (
                Made(|| bombs("4294967296,4294967296")),
                ": expected a shape of bert.x such as 384,1536, found \"4294967296,4294967296\"",
            ),
            (
                Made(|| bombs("-8,-8")),
                ": expected a shape of bert.x such as 384,1536, found \"-8,-8\"",
            ),
        ],
    );
}

#[test]
fn pytorch_files() {
    refuses(
        TORCH,
        EVIL,
        &[
            (Made(|| archive(&[("m/data.pkl", SYSTEM)], false)), ": expected .. os.system"),
            (
                Made(|| archive(&[("m/data.pkl", &[0; 10_000_000])], true)),
                ": expected an archive of entries stored as they are, found m/data.pkl \
                 compressed or encrypted (hint: ",
            ),
            (
                Made(|| archive(&[("m/data.pkl", b"\x80\x02}."), ("m/../../evil", b"x")], false)),
                ": expected an archive whose entries lie in one folder, found an entry \
                 m/../../evil",
            ),
            (
                Made(|| {
                    archive(&[("a/data.pkl", b"\x80\x02}."), ("b/data.pkl", b"\x80\x02}.")], false)
                }),
                ": expected an archive with one NAME/data.pkl, found none or several",
            ),
            (
                Made(|| archive(&[("m/data.pkl", b"\x80\x02}.")], false)),
                ": expected a dict of tensors, found no floating-point tensor",
            ),
            (
                Made(|| cut(archive(&[("m/data.pkl", SYSTEM)], false), 60)),
                ": expected a whole zip archive, found",
            ),
            (
                Made(|| {
                    archive(
                        &[("m/data.pkl", &[&b"\x80\x02"[..], &b"(".repeat(1_000_000)].concat())],
                        false,
                    )
                }),
                ": expected",
            ),
        ],
    );
    refuses(
        "convert evil.pt converted",
        EVIL,
        &[
            (Bytes(SYSTEM), ": expected .. os.system"),
            (Made(|| [LEGACY, SYSTEM].concat()), ": expected .. os.system"),
        ],
    );
    refuse(
        "train rte --no-tui --output-dir new --init-checkpoint evil.pt --tokenizer run/model",
        EVIL,
        Made(|| archive(&[("m/data.pkl", SYSTEM)], false)),
        ": expected .. os.system",
    );
    refuse(
        "predict run/model --input texts.txt",
        "run/model/pytorch_model.bin",
        Planted(|dir, name| {
            remove(dir, WEIGHTS);
            write_bytes(dir, name, &archive(&[("m/data.pkl", SYSTEM)], false));
        }),
        ": expected .. os.system",
    );
}
