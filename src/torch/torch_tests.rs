use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;

use super::hostile_tests::{archive, checkpoint, read_bytes};
use super::*;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/torch")).join(name)
}

fn tensor(shape: &[usize], values: &[f32]) -> TorchTensor {
    TorchTensor { shape: shape.to_vec(), values: values.to_vec() }
}

#[test]
fn tensors_of_every_kind_are_read_from_every_format() {
    let expected = BTreeMap::from(
        [
            ("weight", tensor(&[2, 3], &[0.0, 0.125, 0.25, 0.375, 0.5, 0.625])),
            ("weight_transposed", tensor(&[3, 2], &[0.0, 0.375, 0.125, 0.5, 0.25, 0.625])),
            ("shared_head", tensor(&[4], &[0.0, 0.125, 0.25, 0.375])),
            ("shared_tail", tensor(&[2, 2], &[0.75, 0.875, 1.0, 1.125])),
            ("shared_strided", tensor(&[3], &[0.125, 0.5, 0.875])),
            ("expanded", tensor(&[2, 3], &[0.5, 0.5, 0.5, 0.25, 0.25, 0.25])),
            (
                "permuted",
                tensor(
                    &[2, 2, 3],
                    &[0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375],
                ),
            ),
            ("half", tensor(&[3], &[1.5, -0.25, 65504.0])),
            ("bfloat16", tensor(&[3], &[1.5, -0.25, 2f32.powi(100)])),
            ("double", tensor(&[2], &[0.125, -3.0])),
            ("parameter", tensor(&[2], &[0.5, 0.625])),
            ("scalar", tensor(&[], &[0.75])),
            ("empty", tensor(&[0, 3], &[])),
        ]
        .map(|(name, tensor)| (name.to_string(), tensor)),
    );
    for name in ["flat_zip.pt", "flat_legacy.pt", "flat_protocol5.pt"] {
        let file = read(&fixture(name)).unwrap();
        assert_eq!(file, TorchFile { tensors: expected.clone(), config: None }, "{name}");
    }
}

#[test]
fn a_state_dict_with_metadata_is_read() {
    let file = read(&fixture("linear.pt")).unwrap();
    let expected = [("bias", tensor(&[1], &[0.5])), ("weight", tensor(&[1, 2], &[0.125, 0.25]))];
    let expected = expected.map(|(name, tensor)| (name.to_string(), tensor));
    assert_eq!(file.tensors, BTreeMap::from(expected));
}

#[test]
fn plain_values_beside_the_tensors_do_no_harm() {
    let file = read(&fixture("plain_values.pt")).unwrap();
    assert_eq!(file.tensors, BTreeMap::from([("weight".to_string(), tensor(&[2], &[0.0, 0.125]))]));
}

#[test]
fn what_mt_dnn_writes_gives_its_state_and_its_config() {
    for name in ["mtdnn_zip.pt", "mtdnn_legacy.pt"] {
        let file = read(&fixture(name)).unwrap();
        let tied = tensor(&[2, 2], &[0.125, 0.25, 0.375, 0.5]);
        let expected = [
            (
                "bert.embeddings.word_embeddings.weight",
                tensor(&[3, 2], &[0.0, 0.125, 0.25, 0.375, 0.5, 0.625]),
            ),
            ("pooler.dense.weight", tied.clone()),
            ("scoring_list.0.weight", tied),
            ("scoring_list.0.bias", tensor(&[2], &[-1.0, 1.0])),
        ];
        let expected = expected.map(|(name, tensor)| (name.to_string(), tensor));
        assert_eq!(file.tensors, BTreeMap::from(expected), "{name}");
        let config = json!({
            "hidden_size": 2,
            "bert_dropout_p": 0.1,
            "do_lower_case": true,
            "label_size": "2,3",
            "nothing": null,
            "large": 1_099_511_627_776_u64,
            "list": [1, 2.5, ["x"]],
            "pair": [1, 2],
            "nested": {"a": {"0": "zero"}},
            "not_a_number": null,
            "score": null,
            "arguments": null,
            "encoder_type": null,
            "task_def_list": [null],
        });
        assert_eq!(file.config, Some(config), "{name}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for name in ["linear.pt", "mtdnn_legacy.pt"] {
        let whole = fs::read(fixture(name)).unwrap();
        for end in 0..whole.len() {
            let error = read_bytes(&whole[..end]).expect_err(&format!("{name} cut at {end}"));
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_missing_file_and_a_folder_are_named() {
    let error = read(&fixture("none.pt")).unwrap_err().to_string();
    assert!(error.contains("none.pt: cannot read"), "{error}");
    let error = read(&fixture("")).unwrap_err().to_string();
    assert!(error.contains("cannot read"), "{error}");
}

/// A changed value is no damage that can be seen; but an answer must come, and no panic.
fn answers(bytes: &[u8]) {
    if let Err(error) = read_bytes(bytes) {
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

/// The object's pickle of a good checkpoint, without the checksums that would hide its mutations.
fn good_pickle() -> Vec<u8> {
    let whole = fs::read(fixture("flat_legacy.pt")).unwrap();
    // Three pickles come before it: the magic number, the version and the writer's machine.
    let starts: Vec<usize> =
        (0..whole.len()).filter(|i| whole[*i..].starts_with(b"\x80\x02")).collect();
    whole[starts[3]..starts[4]].to_vec()
}

fn mutate(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    for (place, byte) in changes {
        let place = place % bytes.len();
        bytes[place] = *byte;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes_are_answered(
        start in prop::sample::select(vec![&b""[..], b"PK\x03\x04", b"\x80\x02"]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        answers(&[start, &bytes].concat());
        answers(&checkpoint(&[b"\x80\x02", bytes.as_slice()].concat()));
    }

    #[test]
    fn mutated_files_are_answered(
        name in prop::sample::select(vec![
            "flat_legacy.pt", "mtdnn_legacy.pt", "linear.pt", "mtdnn_zip.pt",
        ]),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        answers(&mutate(fs::read(fixture(name)).unwrap(), &changes));
    }

    #[test]
    fn mutated_pickles_are_answered(
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let pickle = mutate(good_pickle(), &changes);
        answers(&archive(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 24])]));
    }
}
