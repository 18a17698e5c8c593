//! Checkpoints built byte by byte that a reader must refuse.

use std::io::{Cursor, Write};

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::*;

const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const VERSION: &[u8] = b"\x80\x02M\xe9\x03.";
const MACHINE: &[u8] = b"\x80\x02}.";

pub(super) fn read_bytes(bytes: &[u8]) -> Result<TorchFile> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    read(file.path())
}

/// The older format with one storage "0" of four f32, the numbers 1 to 4.
pub(super) fn checkpoint(object: &[u8]) -> Vec<u8> {
    let keys = b"\x80\x02]X\x01\0\0\x000a.";
    let mut file = [MAGIC, VERSION, MACHINE, object, keys, &4i64.to_le_bytes()].concat();
    file.extend([1f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()));
    file
}

pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    [b"X", length.to_le_bytes().as_slice(), text.as_bytes()].concat()
}

fn long(value: i64) -> Vec<u8> {
    [b"\x8a\x08", value.to_le_bytes().as_slice()].concat()
}

fn storage(kind: &str, key: &str, count: i64) -> Vec<u8> {
    let start = format!("ctorch\n{kind}\n");
    let (tag, device) = (text("storage"), text("cpu"));
    [b"(", tag.as_slice(), start.as_bytes(), &text(key), &device, &long(count), b"tQ"].concat()
}

fn sizes(values: &[i64]) -> Vec<u8> {
    [b"(", values.iter().flat_map(|v| long(*v)).collect::<Vec<_>>().as_slice(), b"t"].concat()
}

fn rebuilt(storage: &[u8], offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        storage,
        &long(offset),
        &sizes(shape),
        &sizes(strides),
        b"\x89}tR",
    ]
    .concat()
}

/// The pickle of a dict of these pairs of a key and the instructions that make its value.
fn dict(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let items = pairs.iter().flat_map(|(key, value)| [text(key), value.to_vec()].concat());
    [b"\x80\x02}(", items.collect::<Vec<u8>>().as_slice(), b"u."].concat()
}

fn good() -> Vec<u8> {
    rebuilt(&storage("FloatStorage", "0", 4), 0, &[2, 2], &[1, 2])
}

/// A checkpoint whose only tensor has this description.
fn one(offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let tensor = rebuilt(&storage("FloatStorage", "0", 4), offset, shape, strides);
    checkpoint(&dict(&[("w", &tensor)]))
}

/// A checkpoint with a good tensor and this under another key.
fn beside(value: &[u8]) -> Vec<u8> {
    checkpoint(&dict(&[("w", &good()), ("other", value)]))
}

fn with_config(config: &[u8]) -> Vec<u8> {
    let state = [b"}", text("w").as_slice(), &good(), b"s"].concat();
    checkpoint(&dict(&[("state", &state), ("config", config)]))
}

/// `levels` lists, each of which holds the one before `width` times.
fn doubling(levels: usize, width: usize, innermost: &[u8]) -> Vec<u8> {
    let mut bytes = [innermost, b"r\0\0\0\x010"].concat();
    for _ in 0..levels {
        bytes.extend(b"](");
        bytes.extend(b"j\0\0\0\x01".repeat(width));
        bytes.extend(b"er\0\0\0\x010");
    }
    bytes.extend(b"j\0\0\0\x01");
    bytes
}

fn assert_refused(cases: &[(&str, Vec<u8>, &str)]) {
    for (name, bytes, expected) in cases {
        let error = read_bytes(bytes).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!(error.contains("(hint: ") && error.lines().count() == 1, "{name}: {error}");
    }
}

#[test]
fn the_tests_own_checkpoints_are_good() {
    let expected = TorchTensor { shape: vec![2, 2], values: vec![1.0, 3.0, 2.0, 4.0] };
    let python2 = b"ccollections\nOrderedDict\n]](U\x01wr\xff\xff\xff\xffh\x01ea\x85R";
    let python2 = [b"\x80\x02", good().as_slice(), b"q\x010", python2, b"."].concat();
    let mut cases = vec![
        ("at the top", checkpoint(&dict(&[("w", &good())]))),
        ("beside a list", beside(b"]")),
        ("beside a list that contains itself", beside(b"]q\x05h\x05a")),
        ("with a config of no use", with_config(b"cargparse\nNamespace\n)\x81}b")),
        ("of Python 2", checkpoint(&python2)),
    ];
    for key in ["state", "state_dict", "model_state_dict", "model", "module"] {
        let state = [b"}", text("w").as_slice(), &good(), b"s"].concat();
        let optimizer = rebuilt(&storage("FloatStorage", "0", 4), 0, &[4], &[1]);
        let pairs = [("optimizer", optimizer.as_slice()), (key, &state)];
        cases.push((key, checkpoint(&dict(&pairs))));
    }
    let state = [b"}", text("w").as_slice(), &good(), b"s"].concat();
    let epoch = [b"}", text("epoch").as_slice(), b"K\x03s"].concat();
    let pairs: [(&str, &[u8]); 2] = [("state", &epoch), ("state_dict", &state)];
    cases.push(("beside a trainer's own state", checkpoint(&dict(&pairs))));
    for (name, bytes) in cases {
        let file = read_bytes(&bytes).expect(name);
        assert_eq!(file.tensors, BTreeMap::from([("w".to_string(), expected.clone())]), "{name}");
        assert_eq!(file.config, None, "{name}");
    }
}

#[test]
fn a_view_of_a_storage_counts_from_its_own_start() {
    let view = [b"(", text("view").as_slice(), &long(2), &long(2), b"ttQ"].concat();
    let whole = storage("FloatStorage", "0", 4);
    let part = [&whole[..whole.len() - 2], &view].concat();
    let file = read_bytes(&checkpoint(&dict(&[("w", &rebuilt(&part, 1, &[1], &[9]))]))).unwrap();
    assert_eq!(file.tensors["w"].values, [4.0]);
    let outside = checkpoint(&dict(&[("w", &rebuilt(&part, 1, &[2], &[1]))]));
    assert_refused(&[("a view's end", outside, "within its storage")]);
}

#[test]
fn names_off_the_list_are_refused_and_named() {
    let call = |module: &str, name: &str| {
        let call = format!("c{module}\n{name}\n");
        beside(&[call.as_bytes(), &text("echo owned"), b"\x85R"].concat())
    };
    let stack_global = |module: &str, name: &str| {
        let call = [text(module), text(name), b"\x93".to_vec(), text("id"), b"\x85R".to_vec()];
        beside(&call.concat())
    };
    let escaped = stack_global("os\nx", "system\u{1b}[31m");
    let refused = |name: &str| {
        format!(
            "expected only tensors and plain values, found the pickle global {name} (hint: loading \
             this file in Python may run code; save the state_dict alone with torch.save, or get the \
             checkpoint from a source you trust)"
        )
    };
    let cases = [
        ("GLOBAL", call("os", "system"), "os.system"),
        ("STACK_GLOBAL", stack_global("os", "system"), "os.system"),
        ("eval", call("builtins", "eval"), "builtins.eval"),
        ("Python 2", call("__builtin__", "eval"), "__builtin__.eval"),
        ("__reduce__", call("posix", "system"), "posix.system"),
        ("getattr", call("builtins", "getattr"), "builtins.getattr"),
        (
            "another pickle",
            call("torch.storage", "_load_from_bytes"),
            "torch.storage._load_from_bytes",
        ),
        ("a dotted name", call("torch", "FloatStorage.mro"), "torch.FloatStorage.mro"),
        (
            "another function of the module",
            call("argparse", "ArgumentParser"),
            "argparse.ArgumentParser",
        ),
        ("control characters", escaped, "os\\nx.system\\u{1b}[31m"),
    ];
    for (name, bytes, global) in cases {
        let error = read_bytes(&bytes).expect_err(name).to_string();
        assert!(error.ends_with(&refused(global)), "{name}: {error}");
    }
    // What `torch.save(model)` writes is called what it is.
    for (module, name, what) in [
        ("torch.nn.modules.linear", "Linear", "a whole model"),
        ("transformers.models.bert.modeling_bert", "BertModel", "a whole model"),
        ("__torch__.model", "Bert", "a TorchScript program"),
    ] {
        let error = read_bytes(&call(module, name)).unwrap_err().to_string();
        let expected =
            format!("expected a dict of tensors, found {what} ({module}.{name}) (hint: ");
        assert!(error.contains(&expected) && error.contains("torch.save(model.state_"), "{error}");
    }
    let long = stack_global("os", &"x".repeat(5000));
    assert!(read_bytes(&long).unwrap_err().to_string().len() < 500);
}

#[test]
fn sizes_that_the_file_does_not_hold_are_refused() {
    let huge = 1 << 60;
    let huge_storage = rebuilt(&storage("FloatStorage", "0", huge), 0, &[huge], &[1]);
    let other_storage = rebuilt(&storage("FloatStorage", "../0", 4), 0, &[4], &[1]);
    let zip = dict(&[("w", &good())]);
    let mut claims = checkpoint(&dict(&[("w", &good())]));
    let place = claims.len() - 24;
    claims[place..place + 8].copy_from_slice(&huge.to_le_bytes());
    let mut negative = claims.clone();
    negative[place..place + 8].copy_from_slice(&(-1i64).to_le_bytes());
    assert_refused(&[
        ("text", beside(b"X\xff\xff\xff\xff"), "4294967295 more bytes"),
        ("long text", beside(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "more bytes"),
        ("string", beside(b"T\xff\xff\xff\x7f"), "2147483647 more bytes"),
        ("bytes", beside(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"), "more bytes"),
        ("integer", beside(b"\x8b\xff\xff\xff\x7f"), "more bytes"),
        ("integer of 17 bytes", beside(b"\x8a\x1100000000000000000"), "at most 16 bytes"),
        ("storage", checkpoint(&dict(&[("w", &huge_storage)])), "found 16"),
        ("storage's count", claims, "within the file's last 16 bytes"),
        ("storage's negative count", negative, "within the file's last 16 bytes"),
        (
            "storage's name",
            checkpoint(&dict(&[("w", &other_storage)])),
            "storages that tensors use",
        ),
        ("offset", one(4, &[1], &[1]), "within its storage"),
        ("negative offset", one(-1, &[1], &[1]), "within its storage"),
        ("stride", one(0, &[2, 2], &[3, 1]), "within its storage"),
        ("stride's overflow", one(1, &[3], &[i64::MAX]), "within its storage"),
        ("negative stride", one(3, &[4], &[-1]), "no negative size"),
        ("negative shape", one(0, &[-4], &[1]), "no negative size"),
        ("shape's overflow", one(0, &[i64::MAX, i64::MAX], &[0, 0]), "within its storage"),
        ("shape and strides", one(0, &[2, 2], &[1]), "a stride for each size"),
        ("dimensions", one(0, &[1; 17], &[1; 17]), "at most 16 dimensions"),
        ("repeated values", one(0, &[1 << 20, 1 << 20], &[0, 0]), "tensors of at most"),
        ("entry", archive(&[("a/data.pkl", &zip), ("a/data/0", &[0; 12])]), "found 12"),
        ("missing entry", archive(&[("a/data.pkl", &zip)]), "found none"),
        ("memo", beside(b"j\xff\xff\xff\xff"), "not yet seen"),
    ]);
    let edges = one(3, &[1, 1], &[i64::MAX, i64::MAX]);
    assert_eq!(read_bytes(&edges).unwrap().tensors["w"].values, [4.0]);
}

#[test]
fn pickles_that_make_no_sense_are_refused() {
    let deep_tuples = [b"N".to_vec(), b"\x85".repeat(1001)].concat();
    let deep_marks = b"(".repeat(1001);
    let deep_lists = [b"]".repeat(1500), b"a".repeat(1499)].concat();
    let text_bomb = doubling(1, 30_000, &text(&"x".repeat(1000)));
    let pairs_bomb = [b"]q\x01(".to_vec(), b"NN\x86".repeat(5000), b"e0".to_vec()];
    let ordered = b"ccollections\nOrderedDict\nh\x01\x85R0".repeat(1000);
    let pairs_bomb = [pairs_bomb.concat(), ordered, b"N".to_vec()].concat();
    assert_refused(&[
        ("text instruction", beside(b"I1\n"), "0x49 at its byte"),
        ("unknown instruction", beside(b"\xff"), "0xff at its byte"),
        ("extension", beside(b"\x82\x01"), "0x82 at its byte"),
        ("protocol 1", checkpoint(b"}."), "protocol 2 to 5"),
        ("protocol 6", checkpoint(b"\x80\x06}."), "protocol 2 to 5"),
        ("empty stack", checkpoint(b"\x80\x020."), "an empty stack"),
        ("nothing", checkpoint(b"\x80\x02."), "an empty stack"),
        ("below the mark", beside(b"N(\x85t"), "an empty stack"),
        ("no mark", checkpoint(b"\x80\x02}NNu."), "without a mark"),
        ("odd items", checkpoint(b"\x80\x02}(Nu."), "a key without a value"),
        ("items of None", beside(b"NNa"), "items of None"),
        ("keys of a list", beside(b"]NNs"), "keys of a list"),
        (
            "attributes of a text",
            beside(&[text("x"), b"}b".to_vec()].concat()),
            "attributes of a text",
        ),
        ("call of a text", beside(&[text("x"), b")R".to_vec()].concat()), "a call of a text"),
        ("call of a storage", beside(b"ctorch\nFloatStorage\n)R"), "a call of Storage"),
        ("no arguments", beside(b"ctorch._utils\n_rebuild_tensor_v2\n)R"), "other arguments"),
        ("tensor of None", beside(b"ctorch._utils\n_rebuild_tensor\n(NNNNtR"), "without a storage"),
        (
            "parameter of None",
            beside(b"ctorch._utils\n_rebuild_parameter\n(NtR"),
            "without a tensor",
        ),
        ("object", beside(b"ctorch._utils\n_rebuild_parameter\n)\x81"), "an object of Parameter"),
        ("storage", beside(b"NQ"), "described otherwise"),
        ("pairs", beside(b"ccollections\nOrderedDict\n]Na\x85R"), "no pairs"),
        ("text not in UTF-8", beside(b"X\x01\0\0\0\xff"), "UTF-8"),
        (
            "name without end",
            beside(&[b"c".to_vec(), b"x".repeat(2000)].concat()),
            "names of at most",
        ),
        ("name that is a number", beside(b"K\x01K\x02\x93"), "no text"),
        ("deep tuples", beside(&deep_tuples), "at most 1000 deep"),
        ("deep marks", beside(&deep_marks), "at most 1000 deep"),
        ("deep lists", beside(&deep_lists), "at most 1000 deep"),
        (
            "many values",
            checkpoint(&[b"\x80\x02".to_vec(), b"N0".repeat(1 << 23)].concat()),
            "values",
        ),
        (
            "many names for one value",
            checkpoint(&[b"\x80\x02N".to_vec(), b"\x94".repeat((1 << 22) + 1)].concat()),
            "values",
        ),
        ("many pairs", beside(&pairs_bomb), "values"),
        ("config that contains itself", with_config(b"}q\x05h\x05h\x05s"), "contains itself"),
        (
            "config of a list that contains itself",
            with_config(b"}N]q\x05h\x05as"),
            "contains itself",
        ),
        (
            "deep config",
            with_config(
                &[b"}N".to_vec(), b"]".repeat(200), b"a".repeat(199), b"s".to_vec()].concat(),
            ),
            "at most 127 deep",
        ),
        (
            "shared lists",
            with_config(&[b"}N".to_vec(), doubling(60, 2, b"N"), b"s".to_vec()].concat()),
            "a config of at most",
        ),
        (
            "shared text",
            with_config(&[b"}N".to_vec(), text_bomb, b"s".to_vec()].concat()),
            "a config of at most",
        ),
        ("large integer", with_config(b"}N\x8a\x0900000000\x01s"), "at most 64 bits"),
        ("a list at the top", archive(&[("a/data.pkl", b"\x80\x02].")]), "found a list"),
        ("no tensors", checkpoint(b"\x80\x02}."), "storages that tensors use"),
    ]);
}

#[test]
fn containers_that_are_no_checkpoint_are_refused() {
    let pickle = dict(&[("w", &good())]);
    let values: &[u8] = &[0; 16];
    let with = |name: &str| archive(&[("a/data.pkl", &pickle), ("a/data/0", values), (name, b"")]);
    let order =
        |order| archive(&[("a/data.pkl", &pickle), ("a/byteorder", order), ("a/data/0", values)]);
    let good =
        archive(&[("a/data.pkl", &pickle), ("a/byteorder", b"little"), ("a/data/0", values)]);
    assert_eq!(read_bytes(&good).unwrap().tensors["w"].values, [0.0; 4]);
    // The last entry's compression in the central directory, then its size.
    let directory = good.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[directory + at..directory + at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let mut damaged = good.clone();
    let place = good.windows(16).rposition(|w| w == values).unwrap();
    damaged[place] = 1;
    let big_endian = b"\x80\x02}X\x0d\0\0\0little_endian\x89s.";
    let big_endian = [MAGIC, VERSION, big_endian].concat();
    assert_refused(&[
        ("empty", Vec::new(), "a PyTorch checkpoint"),
        ("text", b"version https://git-lfs".to_vec(), "neither a zip archive nor a pickle"),
        ("other pickle", b"\x80\x02}.".to_vec(), "the magic number 0x1950a86a20f9469cfc6c"),
        ("other version", [MAGIC, b"\x80\x02M\xea\x03."].concat(), "the protocol version 0x3e9"),
        ("other machine", [MAGIC, VERSION, b"\x80\x02N."].concat(), "the writer's machine"),
        ("big endian", [big_endian.as_slice(), MACHINE].concat(), "little_endian True"),
        ("keys", [MAGIC, VERSION, MACHINE, MACHINE, b"\x80\x02]Na."].concat(), "storages' names"),
        (
            "no tensors",
            [MAGIC, VERSION, MACHINE, MACHINE, b"\x80\x02]."].concat(),
            "no floating-point",
        ),
        ("no pickle", archive(&[("a/model.bin", b"")]), "none or several"),
        ("pickle at the top", archive(&[("data.pkl", &pickle)]), "none or several"),
        ("two pickles", with("b/data.pkl"), "none or several"),
        ("path upwards", with("../x"), "found an entry ../x"),
        ("path upwards inside", with("a/../../x"), "lie in one folder"),
        ("path upwards on Windows", with("a\\..\\x"), "lie in one folder"),
        ("path from the root", with("/etc/passwd"), "lie in one folder"),
        ("byte order", order(b"big"), "byteorder little, found big"),
        ("long byte order", order(&[b' '; 100]), "at most 64 bytes"),
        ("compressed", changed(10, &[8, 0]), "compressed"),
        ("encrypted", changed(8, &[1, 0]), "compressed or encrypted"),
        ("sizes that differ", changed(24, &[0, 0, 0, 0x7f]), "entries that fit"),
        ("size beyond the file", changed(20, &[0, 0, 0, 0x7f, 0, 0, 0, 0x7f]), "entries that fit"),
        ("damaged values", damaged, "a whole file"),
    ]);
}
