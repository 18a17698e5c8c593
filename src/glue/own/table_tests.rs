use std::fs;
use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::glue::read::MAX_LINE_BYTES;

/// The chosen cells of all rows of a file of these bytes, each with its line.
pub(in crate::glue::own) fn read_bytes(
    name: &str,
    bytes: &[u8],
    columns: &[&str],
) -> Result<Vec<(usize, Vec<Value>)>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    let mut table = Table::open(&path)?;
    let places = columns.iter().map(|name| table.header().place("text", name));
    let places = places.collect::<Result<Vec<_>>>()?;
    table.choose(places)?;
    let mut all = Vec::new();
    while let Some(Record { line, values }) = table.next_record()? {
        all.push((line, values));
    }
    Ok(all)
}

fn read(name: &str, text: &str, columns: &[&str]) -> Result<Vec<(usize, Vec<Value>)>> {
    read_bytes(name, text.as_bytes(), columns)
}

/// The same in words, of files of texts.
fn rows(name: &str, text: &str, columns: &[&str]) -> Vec<String> {
    let cell = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let row = |(line, values): (usize, Vec<Value>)| {
        format!("{line}:{}", values.iter().map(cell).collect::<Vec<_>>().join("|"))
    };
    read(name, text, columns).unwrap().into_iter().map(row).collect()
}

/// The error, without the folder.
pub(in crate::glue::own) fn refused(name: &str, bytes: &[u8], columns: &[&str]) -> String {
    let error = read_bytes(name, bytes, columns).unwrap_err().to_string();
    let folder = error.find(name).unwrap();
    error.split_at(folder).1.to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

#[test]
fn csv_is_read_as_rfc_4180_has_it() {
    let text = "id,text,label\r\n1,\"a, \"\"b\"\"\r\nc\",x\r\n\r\n2,d \"e\",\r\n3,,y";
    assert_eq!(
        rows("a.csv", text, &["text", "label"]),
        ["2:a, \"b\"\r\nc|x", "5:d \"e\"|", "6:|y"]
    );
    assert_eq!(rows("a.csv", text, &["label", "id"])[0], "2:x|1");
    // A byte-order mark, spaces around names, semicolons, blank lines first.
    assert_eq!(rows("a.csv", "\u{feff}\n text ; label\nb,c;d\n", &["text"]), ["3:b,c"]);
    assert_eq!(rows("a.csv", "text\na\n\n\nb\n", &["text"]), ["2:a", "5:b"]);
    assert_eq!(rows("a.csv", "text\n", &["text"]), [""; 0]);
}

#[test]
fn tsv_is_the_same_with_tabs() {
    let text = "text\tlabel\n\"a\tb\"\tx\n5\" wide\ty\n";
    assert_eq!(rows("a.tsv", text, &["text", "label"]), ["2:a\tb|x", "3:5\" wide|y"]);
}

#[test]
fn json_lines_keep_their_types() {
    let text = "{\"text\": \"a\\nb\", \"label\": 1}\n\n{\"label\": true, \"text\": null, \"x\": 1}\r\n\
                {\"label\": 0.5, \"text\": [1]}";
    assert_eq!(
        read("a.jsonl", text, &["text", "label"]).unwrap(),
        [
            (1, vec![Value::Text("a\nb".into()), Value::Whole(1)]),
            (3, vec![Value::Nothing, Value::Bool(true)]),
            (4, vec![Value::Other("a list"), Value::Number(0.5)]),
        ]
    );
}

#[test]
fn packed_files_are_as_the_files_in_them() {
    let text = "text,label\na,x\nb,y\n";
    let plain = read("a.csv", text, &["text"]).unwrap();
    assert_eq!(read_bytes("a.csv.gz", &gzip(text.as_bytes()), &["text"]).unwrap(), plain);
    assert_eq!(read_bytes("a.csv.zst", &zstd(text.as_bytes()), &["text"]).unwrap(), plain);
    // In several parts, as pigz and others write them.
    let (head, tail) = text.as_bytes().split_at(8);
    let parts = |pack: fn(&[u8]) -> Vec<u8>| [pack(head), pack(tail)].concat();
    assert_eq!(read_bytes("a.csv.gz", &parts(gzip), &["text"]).unwrap(), plain);
    assert_eq!(read_bytes("a.csv.zst", &parts(zstd), &["text"]).unwrap(), plain);
}

#[test]
fn malformed_text_is_refused_by_its_line() {
    for (name, text, expected) in [
        (
            "a.csv",
            "text,label\na,x\nb,c,y\n",
            "a.csv:3: expected 2 fields, as the first line names, found 3 fields (hint: a field that holds a separator",
        ),
        (
            "a.tsv",
            "text\tlabel\na\n",
            "a.tsv:2: expected 2 fields, as the first line names, found 1 field",
        ),
        (
            "a.csv",
            "text,label\na,x\n\"b,y\nc,z\n",
            "a.csv:3: expected a closing quotation mark, found the end of the file (hint: close it",
        ),
        ("a.csv", "text,label\n\"b", "a.csv:2: expected a closing quotation mark"),
        (
            "a.csv",
            "text,label\n\"he said \"hi\" to me\",y\n",
            "a.csv:2: expected the end of the field after its closing quotation mark, found \
             \"hi\\\" to me\\\",y\" (hint: a field with quotation marks of its own is quoted",
        ),
        (
            "a.tsv",
            "text\tlabel\n\"open\tx\nb\ty\n\"shut\tz\n",
            "a.tsv:4: expected the end of the field after its closing quotation mark, found \"shut",
        ),
        ("a.csv", "\"text,label\n", "a.csv:1: expected a closing quotation mark"),
        (
            "a.csv",
            "text,label\na,x\ntext,label\n",
            "a.csv:3: expected a row, found the names of the columns once more (hint: files that are joined",
        ),
        (
            "a.csv",
            "txt,label\na,x\n",
            "a.csv: expected a column called text, found the columns txt, label (hint: did you mean --text txt?)",
        ),
        ("a.csv", "Text,label\na,x\n", "(hint: did you mean --text Text?)"),
        ("a.csv", "id,label\na,x\n", "found the columns id, label (hint: --text names it"),
        (
            "a.csv",
            "text,id,text\na,x,b\n",
            "a.csv: expected one column called text, found 2 of them, the 1st and the 3rd of all (hint: rename",
        ),
        ("a.csv", "", "a.csv: expected a first line that names the columns, found none"),
        ("a.csv", "\n\n", "a.csv: expected a first line that names the columns, found none"),
        ("a.jsonl", "", "a.jsonl: expected a JSON object per line, found none"),
        (
            "a.jsonl",
            "{\"text\": 1}\n{\"txt\": 1}\n",
            "a.jsonl:2: expected a field called text, as the first line has, found txt",
        ),
        (
            "a.jsonl",
            "{\"text\": 1}\n{\"text\": \n",
            "a.jsonl:2: expected a JSON object on each line, found EOF",
        ),
        (
            "a.jsonl",
            "[{\"text\": 1}]",
            "(hint: one list of objects becomes lines by `jq -c '.[]'`)",
        ),
        (
            "a.jsonl",
            "{\"text\": 1}{\"text\": 1}",
            "a.jsonl:1: expected a JSON object on each line, found trailing characters at column",
        ),
        (
            "a.jsonl",
            "{\"txt\": 1}",
            "a.jsonl: expected a field called text, found the fields txt (hint: did",
        ),
        (
            "a.csv",
            "version https://git-lfs.github.com/spec/v1\n",
            "a.csv: expected the file itself, found a git-lfs pointer",
        ),
    ] {
        let error = refused(name, text.as_bytes(), &["text"]);
        assert!(error.contains(expected), "{error}\n{expected}");
    }
    for (name, bytes, expected) in [
        (
            "a.csv",
            b"text,label\na,x\nb\xff,y\n".as_slice(),
            "a.csv:3: expected UTF-8 text, found the byte 0xff (hint: save the file as UTF-8)",
        ),
        ("a.jsonl", b"{\"text\": \"\xff\"}", "a.jsonl:1: expected UTF-8 text, found the byte 0xff"),
        ("a.csv", b"\xff\xfet\0", "a.csv: expected CSV in UTF-8, found UTF-16"),
        (
            "a.csv",
            b"\x1f\x8b\x08",
            "a.csv: expected CSV in UTF-8, found a gzip file (hint: end its name in .gz)",
        ),
        ("a.jsonl", b"PAR1xx", "a.jsonl: expected JSON lines in UTF-8, found a Parquet file"),
        (
            "a.csv",
            b"PK\x03\x04",
            "found a zip archive or a spreadsheet (hint: save the rows as CSV",
        ),
    ] {
        let error = refused(name, bytes, &["text"]);
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_packed_file_that_was_cut_short_or_changed_is_refused() {
    let text = format!("text\n{}", (0..5000).map(|n| format!("row {n}\n")).collect::<String>());
    for (name, packed, kind) in [
        ("a.csv.gz", gzip(text.as_bytes()), "a whole gzip file"),
        ("a.csv.zst", zstd(text.as_bytes()), "a whole Zstandard file"),
    ] {
        let error = refused(name, &packed[..packed.len() / 2], &["text"]);
        assert!(error.contains(&format!("expected {kind}, found its end too early")), "{error}");
        assert!(error.contains("cut short or damaged"), "{error}");
        let mut changed = packed.clone();
        let middle = changed.len() / 2;
        changed[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x5a);
        // Only gzip has a sum of what is in it.
        match read_bytes(name, &changed, &["text"]) {
            Ok(_) => assert!(name.ends_with("zst")),
            Err(error) => assert!(error.to_string().contains(name), "{error}"),
        }
        let error = refused(name, b"text,label\nsome words,yes\n", &["text"]);
        assert!(error.contains(&format!("expected {kind}, found damage")), "{error}");
    }
}

#[test]
fn a_row_is_refused_by_its_length_before_it_is_in_memory() {
    let longest = "x".repeat(MAX_LINE_BYTES - 2);
    assert_eq!(read("a.csv", &format!("text\n{longest}\n"), &["text"]).unwrap().len(), 1);
    let expected = "expected a line of at most 1048576 bytes, found more (hint: texts so long";
    let of_many = "expected a row of at most 1048576 bytes, found more (hint: a quotation mark";
    for (name, text, expected) in [
        ("a.csv", format!("text\n{longest}xxx\n"), expected),
        // Of many lines, for want of a quotation mark.
        ("a.csv", format!("text\n\"{}", "some words\n".repeat(200_000)), of_many),
        ("a.jsonl", format!("{{\"text\": \"a\"}}\n{{\"text\": \"{longest}\"}}\n"), expected),
    ] {
        let error = refused(name, text.as_bytes(), &["text"]);
        assert!(error.starts_with(&format!("{name}:2: {expected}")), "{error}");
    }
    // A line of 3 GB, which takes no room on the disk; and 3 GB that are packed in some megabytes.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, "text\na\n").unwrap();
    File::options().write(true).open(&path).unwrap().set_len(3 << 30).unwrap();
    let mut table = Table::open(&path).unwrap();
    table.choose(vec![0]).unwrap();
    assert_eq!(table.next_record().unwrap().unwrap().line, 2);
    let error = table.next_record().unwrap_err().to_string();
    assert!(error.contains(&format!("a.csv:3: {expected}")), "{error}");
}

#[test]
fn whole_numbers_of_json_keep_all_their_digits() {
    let text = "{\"n\": 18446744073709551613}\n{\"n\": -9223372036854775808}\n{\"n\": 1.5}\n";
    let rows = read_bytes("a.jsonl", text.as_bytes(), &["n"]).unwrap();
    let values: Vec<Value> = rows.into_iter().flat_map(|(_, values)| values).collect();
    let large = Value::Text("18446744073709551613".into());
    assert_eq!(values, [large, Value::Whole(i64::MIN), Value::Number(1.5)]);
}

fn write_csv(rows: &[Vec<String>], separator: char) -> String {
    let field = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
    let row = |row: &Vec<String>| {
        row.iter().map(field).collect::<Vec<_>>().join(&separator.to_string()) + "\n"
    };
    rows.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn quoted_fields_come_back(rows in prop::collection::vec(prop::collection::vec("[a\"\n\r,;\t é]{0,6}", 2), 0..6)) {
        for (name, separator) in [("a.csv", ','), ("a.tsv", '\t')] {
            let text = format!("x{separator}y\n{}", write_csv(&rows, separator));
            let read = read(name, &text, &["x", "y"]).unwrap();
            let read: Vec<Vec<String>> = read.into_iter().map(|(_, values)| {
                values.into_iter().map(|value| match value {
                    Value::Text(text) => text,
                    other => panic!("{other:?}"),
                }).collect()
            }).collect();
            prop_assert_eq!(&read, &rows);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), Just(b'{'), Just(b'}'), Just(b':'), any::<u8>()], 0..200)
    ) {
        for name in ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.jsonl.zst", "a.parquet"] {
            for start in [b"text,label\n".as_slice(), b"text\tlabel\n", b"{\"text\":", b""] {
                let bytes = [start, &bytes].concat();
                for bytes in [bytes.clone(), gzip(&bytes), zstd(&bytes)] {
                    let _ = read_bytes(name, &bytes, &["text"]);
                }
            }
        }
    }
}
