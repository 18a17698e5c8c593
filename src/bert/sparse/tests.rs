use std::collections::HashMap;

use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as DtypeOfCrate, SafeTensors};

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

/// 102 values in 6 rows, all 0 but five.
fn small() -> Tensors {
    let mut values = vec![0.0; 102];
    for (place, value) in [(0, 1.5), (9, -0.0), (15, -2.0), (16, f32::MIN_POSITIVE), (101, 3.0)] {
        values[place] = value;
    }
    tensors([("w", &[6, 17], values)])
}

/// A file of all their bits.
fn write(tensors: &Tensors, texts: &Texts) -> Vec<u8> {
    encode(tensors, texts, Dtype::F32).unwrap().bytes
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
    let texts = Texts::from([("config.json".into(), "{\n}".into())]);
    let encoded = encode(&small(), &texts, Dtype::F32).unwrap();
    assert_eq!(encoded.tensor_bytes, BTreeMap::from([("w".to_owned(), 5 + 5 * 4)]));
    let file = encoded.bytes;
    let crate_reader = SafeTensors::deserialize(&file).unwrap();
    let mut names = crate_reader.names();
    names.sort_unstable();
    assert_eq!(names, ["w.gaps", "w.values"]);
    let gaps = crate_reader.tensor("w.gaps").unwrap();
    assert_eq!((gaps.dtype(), gaps.shape()), (DtypeOfCrate::U8, [5].as_slice()));
    // The gaps 0, 8, 5, 0 and 84 with 4 low bits each: 1 0000, 1 0001, 1 1010, 1 0000, 000001 0010.
    assert_eq!(gaps.data(), [4, 0b0010_0001, 0b1010_1110, 0, 0b0001_0010]);
    let values = crate_reader.tensor("w.values").unwrap();
    assert_eq!((values.dtype(), values.shape()), (DtypeOfCrate::F32, [5].as_slice()));
    let expected: [[u8; 4]; 5] =
        [[0, 0, 0xc0, 0x3f], [0, 0, 0, 0x80], [0, 0, 0, 0xc0], [0, 0, 0x80, 0], [0, 0, 0x40, 0x40]];
    assert_eq!(values.data(), expected.as_flattened());
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    let texts = header.metadata().as_ref().unwrap();
    let expected = [
        ("format", "platon-sparse"),
        ("platon_format", "2"),
        ("dtype", "F32"),
        ("shape.w", "6,17"),
        ("config.json", "{\n}"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(texts, &HashMap::from(expected));
    assert_eq!(u64::from_le_bytes(file[..8].try_into().unwrap()) % 8, 0, "floats are aligned");
}

#[test]
fn tensors_that_would_not_shrink_are_stored_as_they_are() {
    // Bits without any order: exponents too.
    let full = (1..999_u32).map(|n| f32::from_bits(n.wrapping_mul(0x9e37_79b9))).collect();
    let set =
        tensors([("full", &[998], full), ("small", &[2], vec![0.0; 2]), ("none", &[0], vec![])]);
    let file = write(&set, &Texts::new());
    let crate_reader = SafeTensors::deserialize(&file).unwrap();
    for (name, tensor) in &set {
        assert_eq!(crate_reader.tensor(name).unwrap().shape(), tensor.shape);
    }
    assert_eq!(bits(&read(&file).unwrap().0), bits(&set));
}

/// 3000 numbers with exponents as trained weights have them, of which one in `one_in` is not 0.
fn weights(one_in: usize) -> Tensors {
    let value = |n: usize| if n % one_in == 1 % one_in { (n as f32).sin() * 0.1 } else { 0.0 };
    tensors([("w", &[50, 60], (0..3000).map(value).collect())])
}

#[test]
fn each_tensor_takes_the_smallest_of_its_forms() {
    for (set, dtype, names) in [
        (weights(1), Dtype::F32, &["w.high", "w.low"][..]),
        (weights(1), Dtype::Bf16, &["w.high", "w.low"]),
        (weights(2), Dtype::F32, &["w.bitmap", "w.high", "w.low"]),
        (weights(3), Dtype::Bf16, &["w.bitmap", "w.high", "w.low"]),
        (weights(8), Dtype::F32, &["w.gaps", "w.high", "w.low"]),
        (weights(40), Dtype::F32, &["w.gaps", "w.values"]),
        (weights(3000), Dtype::F16, &["w.gaps", "w.values"]),
    ] {
        let Encoded { bytes, tensor_bytes } = encode(&set, &Texts::new(), dtype).unwrap();
        let crate_reader = SafeTensors::deserialize(&bytes).unwrap();
        let mut found = crate_reader.names();
        found.sort_unstable();
        assert_eq!(found, names, "{dtype:?}");
        let data: usize = crate_reader.iter().map(|(_, tensor)| tensor.data().len()).sum();
        assert_eq!(tensor_bytes["w"], data);
        assert_eq!(bits(&read(&bytes).unwrap().0), bits(&in_dtype(&set, dtype)));
    }
}

/// What is left of the tensors in this type.
fn in_dtype(set: &Tensors, dtype: Dtype) -> Tensors {
    let near = |value: &f32| match dtype {
        Dtype::F32 => *value,
        // -0.0 + 0.0 is 0.0.
        Dtype::F16 => half::f16::from_f32(*value).to_f32() + 0.0,
        Dtype::Bf16 => half::bf16::from_f32(*value).to_f32() + 0.0,
    };
    let mut set = set.clone();
    for tensor in set.values_mut() {
        tensor.values = tensor.values.iter().map(near).collect();
    }
    set
}

#[test]
fn what_rounds_to_zero_is_not_stored() {
    let mut set = weights(10);
    for (place, value) in [(0, 1e-9), (10, -1e-9), (20, -0.0), (30, 1e-7)] {
        set.get_mut("w").unwrap().values[place] = value;
    }
    let file = encode(&set, &Texts::new(), Dtype::F16).unwrap().bytes;
    let form = &SparseFile::parse(Path::new("m"), &file).unwrap().tensors["w"];
    assert_eq!(form.stored_count(), 300 + 1);
    assert_eq!(form.stored().take(2).map(|(place, _)| place).collect::<Vec<_>>(), [1, 11]);
    assert!(form.stored().any(|(place, value)| place == 30 && value == 2_f32.powi(-24) * 2.0));
}

#[test]
fn a_weight_too_large_for_the_type_is_refused_with_its_tensor() {
    let set = tensors([("a", &[2], vec![0.0, 65504.0]), ("b", &[1], vec![-65520.0])]);
    assert_eq!(
        encode(&set, &Texts::new(), Dtype::F16).err().unwrap().to_string(),
        "tensor b: expected numbers of at most 65504 to store as F16, found -65520 (hint: --dtype \
         bf16 has room for it)"
    );
    assert!(encode(&set, &Texts::new(), Dtype::Bf16).is_ok());
    let set = tensors([("c", &[1], vec![f32::MAX])]);
    let error = encode(&set, &Texts::new(), Dtype::Bf16).err().unwrap().to_string();
    assert!(error.ends_with("(hint: --dtype f32 has room for it)"), "{error}");
}

#[test]
fn a_file_is_visited_without_expanding_it() {
    let file = write(&small(), &Texts::new());
    let parsed = SparseFile::parse(Path::new("m"), &file).unwrap();
    assert_eq!(parsed.dtype, Dtype::F32);
    let form = &parsed.tensors["w"];
    assert_eq!((form.shape(), form.elements(), form.is_dense()), (&[6, 17][..], 102, false));
    let stored: Vec<_> = form.stored().collect();
    let expected = [(0, 1.5), (9, -0.0), (15, -2.0), (16, f32::MIN_POSITIVE), (101, 3.0)];
    assert_eq!((stored.as_slice(), form.stored_count()), (&expected[..], 5));

    let file = write(&weights(1), &Texts::new());
    let form = &SparseFile::parse(Path::new("m"), &file).unwrap().tensors["w"];
    assert!(form.is_dense());
    assert!(form.stored().map(|(place, _)| place).eq(0..3000));
}

#[test]
fn files_of_version_1_are_read() {
    let file = include_bytes!("../../../tests/fixtures/sparse/version_1.safetensors");
    let dense = include_bytes!("../../../tests/fixtures/tiny_bert/model.safetensors");
    let family = &crate::bert::family::BERT;
    let model =
        crate::bert::weights::Tensors::from_safetensors(family, Path::new("m"), dense).unwrap();
    // The file was written by the program of 2026-11-25, of a model without nine in ten weights.
    let mut expected = model.tensors;
    for (name, tensor) in &mut expected {
        if name.contains(".encoder.") && tensor.shape.len() == 2 {
            for (place, value) in tensor.values.iter_mut().enumerate() {
                *value = if place % 10 == 3 { *value } else { 0.0 };
            }
        }
    }
    let (tensors, texts) = read(file).unwrap();
    assert_eq!(bits(&tensors), bits(&expected));
    assert!(texts.keys().eq(["config.json", "vocab.txt"]), "{:?}", texts.keys());
    assert!(write(&tensors, &texts).len() < file.len());
}

#[test]
fn only_files_of_the_format_are_sparse() {
    let mut file = write(&small(), &Texts::new());
    assert!(is_sparse(&file));
    file.truncate(file.len() - 1);
    assert!(is_sparse(&file), "a damaged file is refused as a sparse one");
    let data = [0; 4];
    let view = TensorView::new(DtypeOfCrate::F32, vec![1], &data).unwrap();
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
        let data = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        part(name, "", ElementType::F32, tensor.shape.clone(), data)
    });
    crate::bert::container::write(&Texts::new(), parts.collect()).unwrap()
}

#[test]
fn a_tenth_of_the_weights_takes_less_than_a_sixth_of_the_file() {
    let set = encoder(10);
    let (sparse, dense) = (write(&set, &Texts::new()), dense_file(&set));
    assert!(sparse.len() * 6 < dense.len(), "{} of {} bytes", sparse.len(), dense.len());
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
            "tensor of a sparse file: expected a name other than __metadata__, *.bitmap, *.gaps, \
             *.values, *.high and *.low, found w.values",
        ),
        (
            one("w", &[1]),
            text("shape.w"),
            "metadata of a sparse file: expected a name other than format, platon_format, \
             dtype and shape.*, found shape.w",
        ),
    ] {
        assert_eq!(encode(&set, &texts, Dtype::F32).err().unwrap().to_string(), message);
    }
    for name in ["__metadata__", "a.bitmap", "a.gaps", "a.high", "a.low"] {
        assert!(encode(&one(name, &[1]), &Texts::new(), Dtype::F32).is_err(), "{name}");
    }
    for name in ["format", "platon_format", "dtype", "shape."] {
        assert!(encode(&Tensors::new(), &text(name), Dtype::F32).is_err(), "{name}");
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
    let weight = (-1.0..1.0_f32).prop_map(f32::to_bits);
    let stored = prop_oneof![1 => any::<u32>(), 1 => special, 6 => weight];
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

fn any_dtype() -> impl Strategy<Value = Dtype> {
    prop::sample::select(Dtype::ALL.to_vec())
}

proptest! {
    #[test]
    fn every_bit_comes_back(set in any_tensors(), text in ".{0,9}") {
        let texts = Texts::from([("config.json".to_owned(), text)]);
        let file = write(&set, &texts);
        let (back, back_texts) = read(&file).unwrap();
        prop_assert_eq!(bits(&back), bits(&set));
        prop_assert_eq!(&back_texts, &texts);
        prop_assert_eq!(write(&back, &texts), file);
    }

    #[test]
    fn in_16_bits_what_comes_back_is_the_nearest_and_is_written_the_same(
        mut set in any_tensors(),
        dtype in any_dtype(),
    ) {
        let most = dtype.largest();
        for tensor in set.values_mut() {
            let finite = |value: &f32| if value.is_nan() { 0.5 } else { value.clamp(-most, most) };
            tensor.values = tensor.values.iter().map(finite).collect();
        }
        let file = encode(&set, &Texts::new(), dtype).unwrap().bytes;
        let (back, _) = read(&file).unwrap();
        let expected = in_dtype(&set, dtype);
        prop_assert_eq!(bits(&back), bits(&expected));
        prop_assert_eq!(encode(&back, &Texts::new(), dtype).unwrap().bytes, file);
    }

    #[test]
    fn the_stored_elements_are_visited_in_order(set in any_tensors(), dtype in any_dtype()) {
        let Ok(encoded) = encode(&set, &Texts::new(), dtype) else { return Ok(()) };
        let file = SparseFile::parse(Path::new("m"), &encoded.bytes).unwrap();
        for (name, form) in file.tensors {
            let stored: Vec<_> = form.stored().collect();
            prop_assert_eq!(stored.len(), form.stored_count());
            prop_assert!(stored.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let mut values = vec![0_u32; form.elements()];
            for (place, value) in stored {
                values[place] = value.to_bits();
            }
            let expanded = form.expand();
            prop_assert_eq!(&expanded.shape, &set[&name].shape);
            prop_assert_eq!(values, expanded.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_file_is_never_longer_than_the_dense_one(set in any_tensors()) {
        // The metadata of an empty file, and names that JSON writes longer than they are.
        let fixed = write(&Tensors::new(), &Texts::new()).len() + 96;
        prop_assert!(write(&set, &Texts::new()).len() <= dense_file(&set).len() + fixed);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(!is_sparse(&bytes));
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn mutations_never_panic_and_what_is_read_can_be_written(
        set in any_tensors(),
        dtype in any_dtype(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let Ok(Encoded { bytes: mut file, .. }) = encode(&set, &Texts::new(), dtype) else {
            return Ok(());
        };
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
                let (back, _) = read(&write(&set, &texts)).unwrap();
                prop_assert_eq!(bits(&back), bits(&set));
            }
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }
}
