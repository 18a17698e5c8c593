use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::glue::own::table::tests::{read_bytes, refused};

/// Writes the next column of `group`, with a definition level and a repetition level for each row where
/// it needs them.
fn add<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    levels: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, levels, repetitions).unwrap();
    column.close().unwrap();
}

/// A Parquet file of texts, some of them null, whole numbers, numbers, booleans and texts without
/// null.
fn parquet(rows: usize, compression: Compression, dictionary: bool) -> Vec<u8> {
    let schema = "message schema { optional binary text (UTF8); required int64 whole; \
                  required double number; optional boolean flag; required binary name; \
                  optional group list (LIST) { repeated group list { optional int64 element; } } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .set_encoding(Encoding::PLAIN)
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(50)
        .build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    // In two groups of rows.
    for half in [0..rows / 2, rows / 2..rows] {
        let mut group = writer.next_row_group().unwrap();
        let present = |n: &usize| !n.is_multiple_of(7);
        let text = |n: usize| ByteArray::from(format!("row {n}").into_bytes());
        let texts: Vec<ByteArray> = half.clone().filter(present).map(text).collect();
        let levels: Vec<i16> = half.clone().map(|n| i16::from(present(&n))).collect();
        add::<ByteArrayType>(&mut group, &texts, Some(&levels), None);
        let wholes: Vec<i64> = half.clone().map(|n| n as i64 - 3).collect();
        add::<Int64Type>(&mut group, &wholes, None, None);
        let numbers: Vec<f64> = half.clone().map(|n| n as f64 / 2.0).collect();
        add::<DoubleType>(&mut group, &numbers, None, None);
        let flags: Vec<bool> = half.clone().filter(present).map(|n| n % 2 == 0).collect();
        add::<BoolType>(&mut group, &flags, Some(&levels), None);
        let names: Vec<ByteArray> =
            half.clone().map(|n| ByteArray::from(["a", "b", "c"][n % 3])).collect();
        add::<ByteArrayType>(&mut group, &names, None, None);
        let none = vec![0; half.len()];
        add::<Int64Type>(&mut group, &[], Some(&none), Some(&none));
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn parquet_gives_the_columns_that_are_wanted() {
    let rows = 601;
    for (compression, dictionary) in [
        (Compression::UNCOMPRESSED, false),
        (Compression::SNAPPY, true),
        (Compression::GZIP(Default::default()), false),
        (Compression::ZSTD(Default::default()), true),
    ] {
        let bytes = parquet(rows, compression, dictionary);
        let columns = ["flag", "text", "whole", "number", "name"];
        let all = read_bytes("a.parquet", &bytes, &columns).unwrap();
        assert_eq!(all.len(), rows);
        for (n, (line, values)) in all.into_iter().enumerate() {
            assert_eq!(line, n + 1);
            let present = |value: Value| if n % 7 == 0 { Value::Nothing } else { value };
            let expected = [
                present(Value::Bool(n % 2 == 0)),
                present(Value::Text(format!("row {n}"))),
                Value::Whole(n as i64 - 3),
                Value::Number(n as f64 / 2.0),
                Value::Text(["a", "b", "c"][n % 3].into()),
            ];
            assert_eq!(values, expected, "{n}");
        }
    }
    let bytes = parquet(10, Compression::SNAPPY, true);
    let error = refused("a.parquet", &bytes, &["list"]);
    assert!(error.contains("expected a value per row in the column list, found lists"), "{error}");
    let error = refused("a.parquet", &bytes, &["texts"]);
    assert!(error.contains("(hint: did you mean --text text?)"), "{error}");
}

/// What numbers are stored as is not what they mean: in either form in which files have it.
#[test]
fn parquet_s_numbers_without_a_sign_and_its_dates_are_read_as_such() {
    for forms in [
        ["UINT_32", "UINT_64", "DATE", "TIMESTAMP_MILLIS"],
        ["INTEGER(32,false)", "INTEGER(64,false)", "DATE", "TIMESTAMP(NANOS,true)"],
    ] {
        let [narrow, wide, day, time] = forms;
        let schema = format!(
            "message schema {{ required int32 narrow ({narrow}); required int64 wide ({wide}); \
             optional int32 day ({day}); required int64 time ({time}); required int32 stored; }}"
        );
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let values = [7, 3_000_000_000_u32.cast_signed()];
        add::<Int32Type>(&mut group, &values, None, None);
        add::<Int64Type>(&mut group, &[7, -1], None, None);
        add::<Int32Type>(&mut group, &[19_000], Some(&[1, 0]), None);
        add::<Int64Type>(&mut group, &[1, 2], None, None);
        add::<Int32Type>(&mut group, &[-1, 1], None, None);
        group.close().unwrap();
        writer.close().unwrap();
        let columns = ["narrow", "wide", "day", "time", "stored"];
        let rows = read_bytes("a.parquet", &bytes, &columns).unwrap();
        let (time, day) = (Value::Other("a time"), Value::Other("a date"));
        let first = [Value::Whole(7), Value::Whole(7), day, time.clone(), Value::Whole(-1)];
        let most = Value::Text(u64::MAX.to_string());
        let second = [Value::Whole(3_000_000_000), most, Value::Nothing, time, Value::Whole(1)];
        assert_eq!(rows, [(1, first.to_vec()), (2, second.to_vec())]);
    }
}

/// A text that is stored once may stand in any number of rows.
#[test]
fn the_texts_of_a_parquet_file_are_bounded_together() {
    let bytes = parquet(601, Compression::SNAPPY, true);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    // A letter in each of 601 rows.
    for (most, is_enough) in [(601, true), (600, false)] {
        let file = File::open(file.path()).unwrap();
        let mut rows = Parquet::new(Path::new("a.parquet"), file, most).unwrap();
        rows.choose(vec![4]).unwrap();
        let end = loop {
            match rows.next() {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert_eq!(end.is_ok(), is_enough);
        if let Err(error) = end {
            let text = error.to_string();
            assert!(text.contains("expected texts of at most 600 bytes together"), "{text}");
        }
    }
}

#[test]
fn a_parquet_file_that_was_cut_short_or_changed_is_refused() {
    let bytes = parquet(601, Compression::SNAPPY, true);
    for length in [0, 3, 4, 8, 12, bytes.len() / 2, bytes.len() - 1] {
        let error = refused("a.parquet", &bytes[..length], &["text"]);
        assert!(error.contains("expected a whole Parquet file, found "), "{error}");
        assert!(error.contains("cut short or damaged"), "{error}");
    }
    let error = refused("a.parquet", b"text,label\na,b\n", &["text"]);
    assert!(error.contains("expected a whole Parquet file"), "{error}");
    // A column whose place is beyond the file's end, by a file whose middle is missing.
    let cut = [&bytes[..100], &bytes[bytes.len() - 900..]].concat();
    let error = refused("a.parquet", &cut, &["text"]);
    assert!(error.contains("whole Parquet file"), "{error}");
    // Every byte that is changed ends in rows or in an error.
    for place in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x41;
        let _ = read_bytes("a.parquet", &changed, &["text", "whole", "flag", "name"]);
    }
}
