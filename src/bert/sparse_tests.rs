use std::collections::HashMap;

use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::*;

type Tensors = BTreeMap<String, StoredTensor>;
type Texts = BTreeMap<String, String>;

fn tensors<const N: usize>(tensors: [(&str, &[usize], Vec<f32>); N]) -> Tensors {
    tensors
        .into_iter()
        .map(|(name, shape, values)| {
            (name.to_owned(), StoredTensor { shape: shape.to_vec(), values })
        })
        .collect()
}

/// 51 values in 3 rows, all 0 but five.
fn small() -> Tensors {
    let mut values = vec![0.0; 51];
    for (place, value) in [(0, 1.5), (9, -0.0), (15, -2.0), (16, f32::MIN_POSITIVE), (50, 3.0)] {
        values[place] = value;
    }
    tensors([("w", &[3, 17], values)])
}

fn bits(tensors: &Tensors) -> Vec<(&str, &[usize], Vec<u32>)> {
    tensors
        .iter()
        .map(|(name, tensor)| {
            let bits = tensor.values.iter().map(|value| value.to_bits()).collect();
            (name.as_str(), tensor.shape.as_slice(), bits)
        })
        .collect()
}

fn read(bytes: &[u8]) -> Result<(Tensors, Texts)> {
    decode(Path::new("m.safetensors"), bytes)
}

#[test]
fn a_small_tensor_is_stored_as_the_format_says() {
    let file = encode(&small(), &Texts::from([("config.json".into(), "{\n}".into())])).unwrap();
    let crate_reader = SafeTensors::deserialize(&file).unwrap();
    let mut names = crate_reader.names();
    names.sort_unstable();
    assert_eq!(names, ["w.bitmap", "w.values"]);
    let bitmap = crate_reader.tensor("w.bitmap").unwrap();
    assert_eq!((bitmap.dtype(), bitmap.shape()), (Dtype::U8, [7].as_slice()));
    assert_eq!(bitmap.data(), [0b1, 0b1000_0010, 0b1, 0, 0, 0, 0b100]);
    let values = crate_reader.tensor("w.values").unwrap();
    assert_eq!((values.dtype(), values.shape()), (Dtype::F32, [5].as_slice()));
    let expected: [[u8; 4]; 5] =
        [[0, 0, 0xc0, 0x3f], [0, 0, 0, 0x80], [0, 0, 0, 0xc0], [0, 0, 0x80, 0], [0, 0, 0x40, 0x40]];
    assert_eq!(values.data(), expected.as_flattened());
    assert_eq!(stored_bytes("w", &small()["w"].values), 7 + 5 * 4);
    assert_eq!(stored_bytes("w", &[0.0; 9]), 36, "dense, for names and shapes cost more");
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let texts = header.metadata().as_ref().unwrap();
    let expected = [
        ("format", "platon-sparse"),
        ("platon_format", "1"),
        ("shape.w", "3,17"),
        ("config.json", "{\n}"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(texts, &HashMap::from(expected));
    assert_eq!(u64::from_le_bytes(file[..8].try_into().unwrap()) % 8, 0, "floats are aligned");
}

#[test]
fn tensors_that_would_not_shrink_are_stored_as_they_are() {
    let full = (0..999).map(|n| n as f32 + 1.0).collect();
    let set =
        tensors([("full", &[999], full), ("small", &[2], vec![0.0; 2]), ("none", &[0], vec![])]);
    let file = encode(&set, &Texts::new()).unwrap();
    let crate_reader = SafeTensors::deserialize(&file).unwrap();
    for (name, tensor) in &set {
        assert_eq!(crate_reader.tensor(name).unwrap().shape(), tensor.shape);
    }
    assert_eq!(bits(&read(&file).unwrap().0), bits(&set));
}

#[test]
fn only_files_of_the_format_are_sparse() {
    let mut file = encode(&small(), &Texts::new()).unwrap();
    assert!(is_sparse(&file));
    file.truncate(file.len() - 1);
    assert!(is_sparse(&file), "a damaged file is refused as a sparse one");
    let data = [0; 4];
    let view = TensorView::new(Dtype::F32, vec![1], &data).unwrap();
    let ordinary = safetensors::serialize([("w", view)], None).unwrap();
    for bytes in [&ordinary, b"".as_slice(), b"PK\x03\x04 and so on", &[0xff; 64]] {
        assert!(!is_sparse(bytes));
    }
    assert_eq!(
        read(&ordinary).unwrap_err().to_string(),
        "m.safetensors: expected a metadata entry format of \"platon-sparse\", found none \
         (hint: this is no sparse file; load it as an ordinary model)"
    );
}

/// A two-layer encoder of small sizes, with `kept` of every 100 weights left in its matrices.
fn encoder(kept: usize) -> Tensors {
    let mut set = Tensors::new();
    for layer in 0..2 {
        for (name, shape) in [
            ("attention.self.query.weight", vec![64, 64]),
            ("attention.output.dense.weight", vec![64, 64]),
            ("intermediate.dense.weight", vec![256, 64]),
            ("output.dense.weight", vec![64, 256]),
            ("output.dense.bias", vec![64]),
        ] {
            let count: usize = shape.iter().product();
            // 37 is prime to 100: the places kept are spread.
            let kept = if shape.len() == 1 { 100 } else { kept };
            let value = |n: usize| if n * 37 % 100 < kept { n as f32 + 0.5 } else { 0.0 };
            let values = (0..count).map(value).collect();
            set.insert(
                format!("bert.encoder.layer.{layer}.{name}"),
                StoredTensor { shape, values },
            );
        }
    }
    set
}

fn dense_file(set: &Tensors) -> Vec<u8> {
    let parts = set.iter().map(|(name, tensor)| {
        let data = bytes_of(tensor.values.iter());
        entry(name.clone(), ElementType::F32, tensor.shape.clone(), data)
    });
    crate::bert::container::write(&Texts::new(), parts.collect()).unwrap()
}

#[test]
fn a_tenth_of_the_weights_takes_less_than_a_quarter_of_the_file() {
    let set = encoder(10);
    let (sparse, dense) = (encode(&set, &Texts::new()).unwrap(), dense_file(&set));
    assert!(sparse.len() * 4 < dense.len(), "{} of {} bytes", sparse.len(), dense.len());
    assert_eq!(bits(&read(&sparse).unwrap().0), bits(&set));
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let one = |name, shape| tensors([(name, shape, vec![0.0])]);
    let text = |name: &str| Texts::from([(name.to_owned(), String::new())]);
    for (set, texts, message) in [
        (one("w", &[2]), text("x"), "tensor w: expected as many values as shape [2] has, found 1"),
        (
            one("w", &[usize::MAX, 2]),
            text("x"),
            "tensor w: expected as many values as shape [18446744073709551615, 2] has, found 1",
        ),
        (
            one("w.values", &[1]),
            text("x"),
            "tensor of a sparse file: expected a name other than __metadata__, *.bitmap and \
             *.values, found w.values",
        ),
        (
            one("w", &[1]),
            text("shape.w"),
            "metadata of a sparse file: expected a name other than format, platon_format and \
             shape.*, found shape.w",
        ),
    ] {
        assert_eq!(encode(&set, &texts).unwrap_err().to_string(), message);
    }
    for name in ["__metadata__", "a.bitmap"] {
        assert!(encode(&one(name, &[1]), &Texts::new()).is_err(), "{name}");
    }
    for name in ["format", "platon_format", "shape."] {
        assert!(encode(&Tensors::new(), &text(name)).is_err(), "{name}");
    }
}

#[test]
fn more_elements_than_the_format_allows_are_counted_before_memory_is_taken() {
    assert_eq!(check_total([1 << 31, 1 << 31].into_iter()), Ok(()));
    let (expected, found) = check_total([1 << 31, 1 << 31, 1].into_iter()).unwrap_err();
    assert_eq!((expected.as_str(), found), ("at most 4294967296 elements", 4_294_967_297));
}

/// Values of every kind, with zeros as often as `density` asks for.
fn values(count: usize, density: u32) -> impl Strategy<Value = Vec<f32>> {
    let special = prop::sample::select(vec![0x8000_0000, 1, 0x7fc0_1234, 0xffa0_0001, 0x7f80_0000]);
    let stored = prop_oneof![any::<u32>(), special];
    let bits = prop_oneof![100 - density => Just(0), density => stored];
    prop::collection::vec(bits.prop_map(f32::from_bits), count)
}

fn any_tensors() -> impl Strategy<Value = Tensors> {
    let shape = prop::collection::vec(0..14_usize, 0..4);
    let tensor = (shape, 1..100_u32).prop_flat_map(|(shape, density)| {
        values(shape.iter().product(), density)
            .prop_map(move |values| StoredTensor { shape: shape.clone(), values })
    });
    prop::collection::btree_map("[a-z\"\\\\é.]{0,6}", tensor, 0..4)
        .prop_map(|set| set.into_iter().filter(|(name, _)| !is_own_tensor(name)).collect())
}

proptest! {
    #[test]
    fn every_bit_comes_back(set in any_tensors(), text in ".{0,9}") {
        let texts = Texts::from([("config.json".to_owned(), text)]);
        let file = encode(&set, &texts).unwrap();
        let (back, back_texts) = read(&file).unwrap();
        prop_assert_eq!(bits(&back), bits(&set));
        prop_assert_eq!(&back_texts, &texts);
        prop_assert_eq!(encode(&back, &texts).unwrap(), file);
    }

    #[test]
    fn the_file_is_never_longer_than_the_dense_one(set in any_tensors()) {
        // The metadata of an empty file, and names that JSON writes longer than they are.
        let fixed = encode(&Tensors::new(), &Texts::new()).unwrap().len() + 64;
        prop_assert!(encode(&set, &Texts::new()).unwrap().len() <= dense_file(&set).len() + fixed);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!is_sparse(&bytes));
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn mutations_never_panic_and_what_is_read_can_be_written(
        set in any_tensors(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut file = encode(&set, &Texts::new()).unwrap();
        for (place, byte) in changes {
            let place = place.index(file.len());
            // Digits and brackets more often than chance would have it: they keep the JSON whole.
            file[place] = if file[place].is_ascii_digit() { b'0' + byte % 10 } else { byte };
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let _ = is_sparse(&file);
        match read(&file) {
            Ok((set, texts)) => {
                let again = encode(&set, &texts).unwrap();
                let (back, _) = read(&again).unwrap();
                prop_assert_eq!(bits(&back), bits(&set));
            }
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }
}
