//! Hostile `model.safetensors`.

use serde_json::{Map, Value, json};

use super::{
    EVALUATE, Made, PREDICT, Planted, TRAIN, Text, WEIGHTS, Weights, folder_instead, refuses,
    remove,
};

/// The tensors of the smallest BERT with a head of two classes.
const SHAPES: &[(&str, &[usize])] = &[
    ("bert.embeddings.word_embeddings.weight", &[10, 4]),
    ("bert.embeddings.position_embeddings.weight", &[16, 4]),
    ("bert.embeddings.token_type_embeddings.weight", &[2, 4]),
    ("bert.embeddings.LayerNorm.weight", &[4]),
    ("bert.embeddings.LayerNorm.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.query.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.query.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.key.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.key.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.value.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.value.bias", &[4]),
    ("bert.encoder.layer.0.attention.output.dense.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.output.dense.bias", &[4]),
    ("bert.encoder.layer.0.attention.output.LayerNorm.weight", &[4]),
    ("bert.encoder.layer.0.attention.output.LayerNorm.bias", &[4]),
    ("bert.encoder.layer.0.intermediate.dense.weight", &[8, 4]),
    ("bert.encoder.layer.0.intermediate.dense.bias", &[8]),
    ("bert.encoder.layer.0.output.dense.weight", &[4, 8]),
    ("bert.encoder.layer.0.output.dense.bias", &[4]),
    ("bert.encoder.layer.0.output.LayerNorm.weight", &[4]),
    ("bert.encoder.layer.0.output.LayerNorm.bias", &[4]),
    ("bert.pooler.dense.weight", &[4, 4]),
    ("bert.pooler.dense.bias", &[4]),
    ("classifier.weight", &[2, 4]),
    ("classifier.bias", &[2]),
];

/// A safetensors file of these tensors, whose header is what `change` makes of the right one.
pub fn safetensors(change: impl Fn(&mut Value)) -> Vec<u8> {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, shape) in SHAPES {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).into(), entry);
    }
    let mut header = Value::Object(header);
    change(&mut header);
    let data: Vec<u8> = (0..end / 4).flat_map(|n| (0.01 * n as f32).to_le_bytes()).collect();
    file(&header.to_string(), &data)
}

/// The length of the header, the header, and the data.
pub fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

pub fn cut(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.truncate(length);
    bytes
}

/// Without the last bytes.
pub fn shortened(bytes: Vec<u8>, by: usize) -> Vec<u8> {
    let length = bytes.len() - by;
    cut(bytes, length)
}

pub fn word(header: &mut Value) -> &mut Value {
    &mut header["bert.embeddings.word_embeddings.weight"]
}

pub fn rename(header: &mut Value, from: &str, to: &str) {
    let entry = header.as_object_mut().unwrap().shift_remove(from).unwrap();
    header[to] = entry;
}

/// A head of this weight, of which the file has no bytes.
pub fn cut_off(shape: Value) -> Vec<u8> {
    let bytes = safetensors(|header| {
        let start = header["classifier.weight"]["data_offsets"][0].clone();
        header["classifier.weight"]["data_offsets"] = json!([start, start]);
        header["classifier.weight"]["shape"] = shape.clone();
        header["classifier.bias"]["data_offsets"] = json!([start, start]);
        header["classifier.bias"]["shape"] = json!([0]);
    });
    shortened(bytes, 4 * (2 * 4 + 2))
}

#[test]
fn safetensors_files() {
    refuses(
        PREDICT,
        WEIGHTS,
        &[
            (Text(""), ": expected a safetensors file, found"),
            (Made(|| cut(safetensors(|_| ()), 8)), ": expected a safetensors file, found"),
            (Made(|| cut(safetensors(|_| ()), 100)), ": expected a safetensors file, found"),
            (Made(|| shortened(safetensors(|_| ()), 1)), ": expected a safetensors file, found"),
            (
                Made(|| [safetensors(|_| ()), vec![0]].concat()),
                ": expected a safetensors file, found",
            ),
            (
                Made(|| [&(1_u64 << 63).to_le_bytes()[..], b"{}"].concat()),
                ": expected a safetensors file, found",
            ),
            (
                Made(|| [&u64::MAX.to_le_bytes()[..], b"{}"].concat()),
                ": expected a safetensors file, found",
            ),
            (
                Made(|| [&3_u64.to_le_bytes()[..], b"{}"].concat()),
                ": expected a safetensors file, found",
            ),
            (Made(|| file("not JSON", &[])), ": expected a safetensors file, found"),
            (Made(|| file("[]", &[])), ": expected a safetensors file, found"),
            (Made(|| file(&"[".repeat(100_000), &[])), ": expected a safetensors file, found"),
            (Made(|| file("{}", &[])), ": expected a tensor"),
            (
                Weights(|h| word(h)["data_offsets"] = json!([0, 156])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["data_offsets"] = json!([160, 0])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["data_offsets"] = json!([16, 176])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["data_offsets"] = json!([0, u64::MAX])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["data_offsets"] = json!([-1, 160])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["shape"] = json!([1_u64 << 63, 1_u64 << 63])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["shape"] = json!([11, 4])),
                ": expected a safetensors file, found",
            ),
            (
                Weights(|h| word(h)["shape"] = json!([4, 10])),
                ": expected tensor bert.embeddings.word_embeddings.weight of shape [10, 4], \
                 found shape [4, 10] (hint: config.json and the weights belong together)",
            ),
            (
                Weights(|h| word(h)["dtype"] = json!("I32")),
                ": expected tensor bert.embeddings.word_embeddings.weight of type F32, F16 or \
                 BF16, found I32",
            ),
            (Weights(|h| word(h)["dtype"] = json!("F31")), ": expected a safetensors file, found"),
            (
                Weights(|h| rename(h, "classifier.bias", "cls.bias")),
                ": expected a tensor classifier.bias, found none of that name (hint: the file \
                 must hold a model of the kind and the sizes of its config.json)",
            ),
            (
                Weights(|h| rename(h, "classifier.weight", "cls.weight")),
                ": expected a tensor classifier.weight, found none of that name (hint: name a \
                 fine-tuned model; this one has no head)",
            ),
            (
                Weights(|h| h["classifier.weight"]["shape"] = json!([4, 2])),
                ": expected tensor classifier.weight of shape",
            ),
            (
                Planted(folder_instead),
                "run/model: expected a file model.safetensors or pytorch_model.bin, found none",
            ),
            (
                Planted(remove),
                "run/model: expected a file model.safetensors or pytorch_model.bin, found none \
                 (hint: put the weights into this folder)",
            ),
        ],
    );
    refuses(
        EVALUATE,
        WEIGHTS,
        &[
            (Text("1234567"), ": expected a safetensors file, found"),
            (
                Weights(|h| {
                    h["classifier.weight"]["shape"] = json!([1, 8]);
                }),
                ": expected tensor classifier.weight of shape [outputs, 4], found shape [1, 8]",
            ),
        ],
    );
    refuses(
        TRAIN,
        WEIGHTS,
        &[
            (
                Text("version https://git-lfs.github.com/spec/v1\n"),
                ": expected the file itself, found a git-lfs pointer to it",
            ),
            (Made(|| shortened(safetensors(|_| ()), 1)), ": expected a safetensors file, found"),
            (
                Weights(|h| word(h)["shape"] = json!([40])),
                ": expected tensor bert.embeddings.word_embeddings.weight of shape [10, 4], \
                 found shape [40]",
            ),
        ],
    );
}
