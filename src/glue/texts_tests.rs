use super::*;
use crate::glue::task::{TASKS, task};

type Read = Vec<(usize, String, Option<String>)>;

/// The rows of `content` in a file `name`, for the task called `of` or for an unknown one.
fn read(name: &str, content: &str, of: Option<&str>) -> Result<(Read, Option<String>)> {
    let of = of.map(|of| task(of).unwrap());
    let mut texts = Texts::new(Path::new(name), content.as_bytes(), of);
    let mut rows = Vec::new();
    while let Some((line, Row { uid, text_a, text_b, .. })) = texts.next_row()? {
        assert_eq!(uid, rows.len().to_string());
        rows.push((line, text_a, text_b));
    }
    Ok((rows, texts.layout()))
}

fn row(line: usize, a: &str, b: Option<&str>) -> (usize, String, Option<String>) {
    (line, a.to_string(), b.map(str::to_string))
}

fn refused(name: &str, content: &str, of: Option<&str>) -> String {
    read(name, content, of).unwrap_err().to_string()
}

#[test]
fn lines_are_one_text_or_two() {
    let (rows, layout) = read("a.txt", "\u{feff}one\r\ntwo\ttexts\n\nfour", None).unwrap();
    let expected =
        [row(1, "one", None), row(2, "two", Some("texts")), row(3, "", None), row(4, "four", None)];
    let two = "a.txt: read as two texts on each line, from the first one on";
    assert_eq!((rows.as_slice(), layout.as_deref()), (expected.as_slice(), Some(two)));
    let text = refused("a.txt", "a\nb\tc\td\n", None);
    assert!(text.contains("a.txt:2: expected a text, or two with a tab between them, found 3 fie"));
}

/// The heads of GLUE's official files, each with a row.
#[test]
fn the_tasks_own_files_are_known_by_their_headers() {
    let pair = |a, b| row(2, a, Some(b));
    for (name, head, fields, expected) in [
        ("cola", "index\tsentence", "0\tA", row(2, "A", None)),
        ("sst", "sentence\tlabel", "A\t1", row(2, "A", None)),
        ("sst", "index\tsentence", "0\tA", row(2, "A", None)),
        (
            "mrpc",
            "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            "1\t7\t8\tA, \"a\"\tB",
            pair("A, \"a\"", "B"),
        ),
        ("mrpc", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t7\t8\tA\tB", pair("A", "B")),
        (
            "stsb",
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
            "0\tg\tf\t2012\t1\ts\ts\tA\tB",
            pair("A", "B"),
        ),
        (
            "qqp",
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
            "0\t1\t2\tA\tB\t0",
            pair("A", "B"),
        ),
        ("qqp", "id\tquestion1\tquestion2", "0\tA\tB", pair("A", "B")),
        (
            "mnli",
            "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t\
             sentence1_parse\tsentence2_parse\tsentence1\tsentence2",
            "0\t1\t2\tg\tp\tp\tp\tp\tA\tB",
            pair("A", "B"),
        ),
        ("qnli", "index\tquestion\tsentence", "0\tA\tB", pair("A", "B")),
        ("rte", "index\tsentence1\tsentence2\tlabel", "0\tA\tB\tentailment", pair("A", "B")),
        ("wnli", "index\tsentence1\tsentence2", "0\tA\tB", pair("A", "B")),
        ("ax", "index\tsentence1\tsentence2", "0\tA\tB", pair("A", "B")),
    ] {
        let content = format!("{head}\n{fields}\n");
        for of in [Some(name), None] {
            let (rows, layout) = read("test.tsv", &content, of).unwrap();
            assert_eq!(rows, std::slice::from_ref(&expected), "{head} for {of:?}");
            assert!(layout.unwrap().starts_with("test.tsv: read from the columns called "));
        }
        let text = refused("test.tsv", &format!("{content}0\n"), Some(name));
        assert!(text.contains("test.tsv:3: expected ") && text.ends_with("found 1"), "{text}");
    }
}

#[test]
fn files_without_a_header_are_known_by_their_labels() {
    let (rows, layout) =
        read("dev.tsv", "gj04\t1\t\tA b.\ngj04\t0\t*\tC.\n", Some("cola")).unwrap();
    assert_eq!(rows, [row(1, "A b.", None), row(2, "C.", None)]);
    assert_eq!(layout.unwrap(), "dev.tsv: read as a file of cola");
    for task in TASKS {
        let label = match task.kind {
            crate::glue::task::Kind::Classification { labels } => labels[1],
            crate::glue::task::Kind::Regression => "3.8",
        };
        let (second, b) = if task.is_pair() { ("\tB", Some("B")) } else { ("", None) };
        let canonical = format!("7\t{label}\tA{second}\n");
        assert_eq!(read("x.tsv", &canonical, Some(task.name)).unwrap().0, [row(1, "A", b)]);
        let text = refused("x.tsv", &format!("{canonical}8\n"), Some(task.name));
        assert!(text.contains("x.tsv:2: expected ") && text.ends_with("found 1"), "{text}");
    }
}

#[test]
fn a_row_has_as_many_texts_as_the_task() {
    let text = refused("a.txt", "a\tb\nc\n", Some("rte"));
    assert_eq!(text, "a.txt:2: expected two texts with a tab between them for rte, found one text");
    let text = refused("a.txt", "a\nb\tc\n", Some("sst"));
    assert_eq!(text, "a.txt:2: expected one text without a tab for sst, found 2 fields");
    let text = refused("a.txt", "a\tb\tc\n", Some("rte"));
    assert!(text.contains("found 3 fields (hint: a first line may name the columns called sent"));
    // Another task's file is no pair of texts.
    let text = refused("dev.tsv", "sentence\tlabel\nA\t1\n", Some("rte"));
    assert!(text.contains("dev.tsv:1: expected columns called sentence1 and sentence2, or "));
    assert!(text.ends_with("for rte, found sentence, label"), "{text}");
}
