use std::io::Write;

use super::*;
use crate::glue::task::task;

type Read = Vec<(usize, String, Option<String>)>;

/// The rows of `content` in a file `name`, for the task called `of` or for an unknown one, and what is
/// said of their layout.
fn read(name: &str, content: &[u8], of: Option<&str>) -> Result<(Read, Option<String>)> {
    let of = of.map(|of| task(of).unwrap());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut rows = Rows::new(Path::new(name), file, of, &Named::default())?;
    let mut all = Vec::new();
    while let Some((line, Row { uid, text_a, text_b, .. })) = rows.next_row()? {
        assert_eq!(uid, all.len().to_string());
        all.push((line, text_a, text_b));
    }
    Ok((all, rows.layout()))
}

fn gzip(content: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(content.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn row(line: usize, a: &str, b: Option<&str>) -> (usize, String, Option<String>) {
    (line, a.to_string(), b.map(str::to_string))
}

/// Refused in the same words whether it is compressed or not.
fn refused(name: &str, content: &str, of: Option<&str>) -> String {
    let text = read(name, content.as_bytes(), of).unwrap_err().to_string();
    let packed = format!("{name}.gz");
    let other = read(&packed, &gzip(content), of).unwrap_err().to_string();
    assert_eq!(other.replacen(&packed, name, 1), text);
    text
}

#[test]
fn a_file_is_read_alike_whether_it_is_compressed_or_not() {
    for (name, content, expected) in [
        // As GLUE's files, in which marks are characters like others.
        (
            "x.tsv",
            "index\tsentence\tlabel\n0\t\"All of it\"\tno\n1\t\"He said\tb\n2\tx\"\tc\n",
            vec![row(2, "\"All of it\"", None), row(3, "\"He said", None), row(4, "x\"", None)],
        ),
        ("x.csv", "text;n\na, b;1\n", vec![row(2, "a, b", None)]),
        // The line ends of old Macintoshes, and one within a field.
        ("x.csv", "text,n\ra,1\rb,2\r", vec![row(1, "a", None), row(1, "b", None)]),
        (
            "x.csv",
            "text\nall doctor\rsome pupil\n",
            vec![row(2, "all doctor", None), row(2, "some pupil", None)],
        ),
        ("x.csv", "text,n\r\n\"a\r\nb\tc\",1\r\n", vec![row(2, "a  b c", None)]),
        ("x.jsonl", "{\"text\": \"a\\nb\\tc\"}\n", vec![row(1, "a b c", None)]),
        ("x.jsonl", "{\"text\": \"a\", \"text_pair\": null}\n", vec![row(1, "a", Some(""))]),
    ] {
        assert_eq!(read(name, content.as_bytes(), None).unwrap().0, expected, "{content:?}");
        let packed = read(&format!("{name}.gz"), &gzip(content), None).unwrap().0;
        assert_eq!(packed, expected, "{content:?}");
    }
}

#[test]
fn csv_is_known_by_its_name_or_its_header() {
    let csv = "label,premise,hypothesis\n0,\"a, \"\"b\"\"\nc\",d\n\n1,,\"\"\n";
    let expected = [row(2, "a, \"b\" c", Some("d")), row(5, "", Some(""))];
    for name in ["x.csv", "X.CSV", "standard input"] {
        for of in [Some("mnli"), None] {
            let (rows, layout) = read(name, csv.as_bytes(), of).unwrap();
            assert_eq!(rows, expected, "{name}");
            let said = format!("{name}: read from the columns called premise and hypothesis");
            assert_eq!(layout.unwrap(), said);
        }
    }
    let text = refused("x.csv", "text\nA, b\n", None);
    assert!(text.contains("x.csv:2: expected 1 field, as the first line names, found 2"), "{text}");
    let text = refused("x.csv", "a cat,a dog\n", Some("rte"));
    assert!(text.contains("x.csv: expected columns called sentence1 and sentence2"), "{text}");
    assert!(text.contains("found the columns a cat, a dog (hint: --text names"), "{text}");
    let text = refused("x.csv", "text\n\"open\n", None);
    assert!(
        text.contains("x.csv:2: expected a closing quotation mark, found the end of the file"),
        "{text}"
    );
    // A text that begins with a quotation mark of its own would make one row of several.
    let text = refused("x.csv", "text\n\"hello\nfine\n\"bye\nok\n", None);
    assert!(text.contains("x.csv:4: expected the end of the field after its closing"), "{text}");
    for rest in [" product", " \"product"] {
        let text = refused("x.csv", &format!("text\n\"Great\"{rest}\n"), None);
        assert!(text.contains("x.csv:2: expected the end of the field"), "{text}");
    }
    let open = format!("text\n\"{}", "short line\n".repeat(100_000));
    let text = refused("x.csv", &open, None);
    assert!(text.contains("x.csv:2: expected a row of at most 1048576 bytes"), "{text}");
    let long = format!("text\n\"{}\"\n", "a\n".repeat(500_000));
    assert_eq!(read("x.csv", long.as_bytes(), None).unwrap().0.len(), 1);
    // Commas alone make no table, the columns of another task one that is refused.
    assert_eq!(read("x.txt", b"a, b\nc\n", None).unwrap().0.len(), 2);
    let text = read("x.txt", b"sentence,label\nA,1\n", Some("rte")).unwrap_err().to_string();
    assert!(text.contains("x.txt: expected columns called sentence1 and sentence2"), "{text}");
}

#[test]
fn json_lines_are_known_by_their_name_or_the_first_one() {
    let lines = "{\"idx\": 3, \"sentence2\": \"B\\tb\", \"sentence1\": \"A\"}\n\n{\"sentence1\": \
                 \"C\", \"sentence2\": \"D\"}\n";
    let expected = [row(1, "A", Some("B b")), row(3, "C", Some("D"))];
    for name in ["x.jsonl", "standard input", "x.txt"] {
        let (rows, layout) = read(name, lines.as_bytes(), None).unwrap();
        assert_eq!(rows, expected);
        let said = format!("{name}: read from the fields called sentence1 and sentence2");
        assert_eq!(layout.unwrap(), said);
    }
    for (lines, expected) in [
        ("{\"text\": 3}", "x.jsonl:1: expected a text in text, found the number 3"),
        ("{\"text\": null}", "x.jsonl:1: expected a text, found null (hint: an empty text is one"),
        ("[1]", "x.jsonl:1: expected a JSON object on each line, found invalid type: sequence"),
        ("{\"texts\": \"a\"}", "x.jsonl: expected fields called sentence, or text, or"),
        ("{\"token_id\": [1]}", "(hint: encoded samples are for platon evaluate)"),
        (
            "{\"text\": \"a\"}\nb",
            "x.jsonl:2: expected a JSON object on each line, found expected v",
        ),
    ] {
        let text = refused("x.jsonl", lines, None);
        assert!(text.contains(expected), "{text}");
    }
    let text = refused("x.jsonl", "{\"sentence\": \"A\"}\n", Some("rte"));
    assert!(text.contains("x.jsonl: expected fields called sentence1 and sentence2, or"), "{text}");
    // A brace makes no JSON.
    assert_eq!(read("x.txt", b"{a}\nb\n", None).unwrap().0.len(), 2);
}

/// A model's own columns need not be those of an input.
#[test]
fn columns_that_a_model_learnt_from_are_looked_for_first() {
    let read = |content: &str, text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let named = Named { text: Some(text.into()), text_pair: None, for_this: false };
        let mut rows = Rows::new(Path::new("standard input"), file, None, &named)?;
        let next = || rows.next_row().transpose().map(|row| row.map(|(_, row)| row.text_a));
        std::iter::from_fn(next).collect::<Result<Vec<_>>>()
    };
    for content in [
        "sentence,label\ngood,1\n",
        "sentence;label\ngood;1\n",
        "{\"text\": \"good\"}\n",
        "sentence\tlabel\ngood\t1\n",
        "review,sentence\ngood,bad\n",
        "{\"sentence\": \"bad\", \"review\": \"good\"}\n",
        "good\n",
    ] {
        assert_eq!(read(content, "review").unwrap(), ["good"], "{content}");
    }
    let text = read("{\"Review\": \"good\"}\n", "review").unwrap_err().to_string();
    assert!(text.contains("expected fields called sentence, or text"), "{text}");
}

#[test]
fn marks_of_a_text_make_no_table() {
    for line in ["Text; hello, world", "text;price (a,b)", "Sentence; and more"] {
        let content = format!("{line}\nb\n");
        let rows = read("standard input", content.as_bytes(), None).unwrap().0;
        assert_eq!(rows, [row(1, line, None), row(2, "b", None)]);
    }
}

#[test]
fn an_input_without_a_byte_has_no_rows() {
    for name in ["x.jsonl", "x.csv", "x.tsv", "x.txt", "standard input"] {
        assert_eq!(read(name, b"", None).unwrap().0, []);
    }
}

#[test]
fn a_column_is_not_both_texts() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"text\na\n").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let text = Some("text".to_owned());
    let named = Named { text: text.clone(), text_pair: text, for_this: true };
    let error = Rows::new(Path::new("x.csv"), file, None, &named).err().unwrap().to_string();
    assert_eq!(error, "text-pair: expected another column than text, found text");
}
