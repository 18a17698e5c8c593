//! Rows that somebody might have, in the forms that files have, and a model of their words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use platon::glue::demo;

use crate::dir::Dir;

/// Texts and their labels.
pub type Rows = Vec<(String, String)>;

/// 2,000 sentences of three origins, which are their labels: MRPC's news, SST-2's reviews, CoLA's
/// examples. Where these are not there, the demo's hypotheses, labelled by their quantifier.
pub fn sentences() -> Rows {
    match std::env::var("PLATON_GLUE_DIR") {
        Ok(folder) => of_glue(&PathBuf::from(folder)),
        Err(_) => of_demo(),
    }
}

fn of_glue(folder: &std::path::Path) -> Rows {
    let texts = |file: &str, column: usize, skip: usize, label: &str| -> Rows {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let fields = text.lines().skip(skip).map(|line| line.split('\t').collect::<Vec<_>>());
        let long = fields.filter(|fields| fields[column].split(' ').count() > 6);
        long.map(|fields| (fields[column].to_lowercase(), label.to_string())).take(667).collect()
    };
    let sets = [
        texts("MRPC/train.tsv", 3, 1, "news"),
        texts("SST-2/train.tsv", 0, 1, "a review"),
        texts("CoLA/train.tsv", 3, 0, "grammar"),
    ];
    mixed((0..667).flat_map(|n| sets.iter().map(move |set| set[n].clone())).collect())
}

fn of_demo() -> Rows {
    let pairs = demo::generate(7).train;
    let label = |text: &str| {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match text {
            _ if has(&["no ", "none", "never", "at no"]) => "news",
            _ if has(&["all", "every", "always", "each"]) => "a review",
            _ => "grammar",
        }
    };
    let texts = pairs.into_iter().map(|pair| pair.hypothesis);
    mixed(texts.map(|text| (text.clone(), label(&text).to_string())).collect())
}

/// The first 2,000, in another order.
fn mixed(rows: Rows) -> Rows {
    (0..2000).map(|n| rows[n * 7919 % 2000].clone()).collect()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

pub fn csv(rows: &[(String, String)]) -> String {
    let row = |(n, (text, label)): (usize, &(String, String))| {
        format!("{n},{},{}\n", quoted(text), quoted(label))
    };
    format!("id,sentence_text,origin\n{}", rows.iter().enumerate().map(row).collect::<String>())
}

pub fn json_lines(rows: &[(String, String)]) -> String {
    let row = |(text, label): &(String, String)| {
        serde_json::json!({"origin": label, "sentence_text": text}).to_string() + "\n"
    };
    rows.iter().map(row).collect()
}

pub fn parquet_file(rows: &[(String, String)]) -> Vec<u8> {
    let schema = "message schema { required binary origin (UTF8); \
                  optional binary sentence_text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let levels = vec![1; rows.len()];
    for (second, levels) in [(true, None), (false, Some(levels.as_slice()))] {
        let cell = |(text, label): &(String, String)| {
            ByteArray::from(if second { label.as_str() } else { text.as_str() })
        };
        let cells: Vec<ByteArray> = rows.iter().map(cell).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&cells, levels, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// The demo's small model with the commonest words of `rows` for a vocabulary, in `model`.
pub fn with_model(dir: &Dir, rows: &[(String, String)]) {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sizes = std::fs::read_to_string(repository.join("glue-data/demo/model/config.json"));
    let mut sizes: serde_json::Value = serde_json::from_str(&sizes.unwrap()).unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    let words = rows.iter().flat_map(|(text, _)| text.split(|c: char| !c.is_ascii_alphanumeric()));
    words.filter(|word| !word.is_empty()).for_each(|word| *counts.entry(word).or_default() += 1);
    let mut words: Vec<_> = counts.into_iter().collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "'", "\"", "-"];
    let words = words.into_iter().map(|(word, _)| word).take(1000);
    let vocabulary: Vec<&str> = marks.into_iter().chain(words).collect();
    sizes["vocab_size"] = vocabulary.len().into();
    dir.write("model/config.json", &sizes.to_string());
    dir.write("model/vocab.txt", &(vocabulary.join("\n") + "\n"));
}

/// A folder with the tiny demo, whose recipe takes a second, and rows of two labels in `mood.csv`.
pub fn moods() -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.write("mood.csv", &mood(0..120));
    dir
}

/// These of its rows: a third is sad, the others are glad.
pub fn mood(rows: std::ops::Range<usize>) -> String {
    let row = |n: usize| match n % 3 {
        0 => format!("a cat sleeps {n},sad\n"),
        _ => format!("all the {n} dogs will run,glad\n"),
    };
    format!("text,label\n{}", rows.map(row).collect::<String>())
}

/// The flags that name their columns.
pub const COLUMNS: &str = "--text text --label label";
