use std::fs;

use super::*;

const COLUMNS: Columns<'_> = Columns { text: "text", text_pair: None, label: Some("label") };

fn overview(text: &str) -> Overview {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    fs::write(&path, text).unwrap();
    Overview::of(&path, COLUMNS, "words", &mut |rows| Ok(words(rows))).unwrap()
}

#[test]
fn odd_rows_are_counted_and_named() {
    let found = overview("text,label\na b,x\n,y\na b,x\nc,\na b,y\nd e f,y\n");
    assert_eq!((found.rows, &found.empty.lines, &found.unlabelled.lines), (6, &vec![3], &vec![5]));
    assert_eq!((&found.repeated.lines, &found.contradicted.lines), (&vec![4, 6], &vec![6]));
    assert_eq!(found.labels, [("x".to_owned(), 2), ("y".to_owned(), 3)]);
    // Labels that mean the same class do not contradict each other.
    let found = overview("text,label\na,1\na,1.0\na, 1\nb,0\n");
    assert_eq!((found.repeated.rows, found.contradicted.rows), (2, 0));
    let many = "text,label\n".to_owned() + &",x\n".repeat(20) + "a,y\n";
    let found = overview(&many);
    assert_eq!((found.empty.rows, found.empty.lines), (20, vec![2, 3, 4, 5, 6]));
}

#[test]
fn numbers_have_a_range_and_one_class_is_none() {
    let found = overview("text,label\na,1\nb,2.5\nc,4\n");
    assert_eq!((found.target.as_deref(), found.range), (Some("numbers"), Some((1.0, 2.5, 4.0))));
    let found = overview("text,label\na,x\nb,x\n");
    let expected = "expected at least two labels, found only \"x\", in all 2 rows";
    assert_eq!(found.target.as_deref(), Some(expected));
}

#[test]
fn lengths_are_in_classes_that_can_be_counted_in() {
    let lengths = Lengths::of("words", (1..=100).collect());
    assert_eq!((lengths.shortest, lengths.median, lengths.most, lengths.longest), (1, 50, 95, 100));
    assert_eq!(lengths.histogram.len(), 10);
    assert!(lengths.histogram.iter().all(|(_, rows)| *rows == 10));
    assert_eq!(Lengths::of("words", vec![0, 0, 3]).histogram, [(1, 2), (2, 0), (3, 1)]);
    assert_eq!(Lengths::of("words", Vec::new()).histogram, [(1, 0)]);
}

#[test]
fn texts_of_both_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("a.csv"), "text,label\na,x\nb,y\n").unwrap();
    fs::write(path("b.csv"), "text,label\nc,x\nb,x\n").unwrap();
    let of = |name: &str| {
        Overview::of(&path(name), COLUMNS, "words", &mut |rows| Ok(words(rows))).unwrap()
    };
    let (train, mut dev) = (of("a.csv"), of("b.csv"));
    train.share_with(&mut dev, &path("b.csv"), COLUMNS).unwrap();
    assert_eq!((dev.shared.rows, dev.shared.lines), (1, vec![3]));
}

#[test]
fn columns_are_described_by_their_first_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let lines = "{\"id\": 1, \"x\": \"a\\nb\", \"s\": 0.5, \"f\": true, \"l\": [1], \"n\": null}\n\
                 {\"id\": 2, \"x\": \"\", \"s\": 1, \"f\": false, \"l\": [], \"n\": null}\n";
    fs::write(&path, lines).unwrap();
    let found = columns(&path).unwrap();
    let kinds: Vec<_> = found.iter().map(|column| column.kind).collect();
    let expected =
        ["whole numbers", "text", "numbers", "true or false", "lists or groups", "nothing"];
    assert_eq!(kinds, expected);
    // A field that another line lacks may be of no use: whoever learns from it is told.
    fs::write(&path, lines.replace(", \"n\": null}\n{\"id\": 2", "}\n{\"m\": 2, \"id\": 2"))
        .unwrap();
    let lacking = columns(&path).unwrap();
    assert_eq!(lacking.iter().map(|column| column.kind).collect::<Vec<_>>(), expected[..5]);
    fs::write(&path, lines.replace("\"id\": 2, ", "")).unwrap();
    assert_eq!(columns(&path).unwrap()[0].empty, 1);
    let text = &found[1];
    assert_eq!((text.different, text.empty, text.example.as_str()), (2, 1, "a b"));
}
