//! Raw GLUE files to rows, and the canonical TSV in between: uid, label, text a[, text b].
//!
//! GLUE's files are tab-separated and never quoted: a quotation mark is part of the text.

use std::path::Path;

use crate::error::{Error, Result};
use crate::files::write_whole;
pub use crate::glue::read::MAX_LINE_BYTES;
use crate::glue::read::{BYTE_ORDER_MARK, Lines};
use crate::glue::task::{Column, Kind, Part, SCORE_RANGE, Split, Task, Uid};

/// A row's label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label {
    /// A class, counted from 0.
    Class(usize),
    /// A score, as [`Task::is_score`] has it.
    Score(f32),
}

/// One example before tokenization.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The identifier that predictions are reported under.
    pub uid: String,
    /// The label; class 0 or the score 0 on rows without one, as those of GLUE's test sets.
    pub label: Label,
    /// The first text.
    pub text_a: String,
    /// The second text, of tasks on pairs.
    pub text_b: Option<String>,
}

impl Row {
    /// The second text, if it is not empty: as in the original, and in transformers one pair at a time;
    /// in batches these put a mark for it.
    #[must_use]
    pub fn second_text(&self) -> Option<&str> {
        self.text_b.as_deref().filter(|text| !text.is_empty())
    }
}

/// Reads a raw GLUE file. Line ends may be LF or CRLF, and spaces before them are dropped.
///
/// # Errors
/// The file cannot be read, is not UTF-8, holds no row, or a row has too few fields or a label
/// that the task does not know; each of these names its line.
pub fn read_raw(task: &Task, split: &Split, path: &Path) -> Result<Vec<Row>> {
    let layout = task.layout(split);
    let (mut lines, mut rows) = (Lines::open(path)?, Vec::new());
    while let Some((number, line)) = lines.next()? {
        if layout.header && number == 1 {
            continue;
        }
        let fields: Vec<&str> = line.trim_end_matches([' ', '\r']).split('\t').collect();
        if fields.len() < layout.fields {
            if layout.skip_short {
                continue;
            }
            return Err(too_few(task, path, number, layout.fields, fields.len()));
        }
        let get = |column| {
            let field = match column {
                Column::First(n) => fields.get(n),
                Column::Last(n) => fields.len().checked_sub(n).and_then(|n| fields.get(n)),
            };
            field.copied().ok_or_else(|| too_few(task, path, number, layout.fields, fields.len()))
        };
        let label = match layout.label {
            None => dummy(task),
            Some(column) => {
                let name = get(column)?.trim();
                if layout.skip_label == Some(name) {
                    continue;
                }
                parse_label(task, name).ok_or_else(|| wrong_label(task, path, number, name))?
            }
        };
        let uid = match layout.uid {
            Uid::RowNumber => rows.len().to_string(),
            Uid::FirstColumn => get(Column::First(0))?.to_owned(),
        };
        let text_b = layout.text_b.map(&get).transpose()?.map(str::to_owned);
        rows.push(Row { uid, label, text_a: get(layout.text_a)?.to_owned(), text_b });
    }
    if rows.is_empty() {
        return Err(Error::content(path, None, "at least one row", "none").hint(again(task)));
    }
    Ok(rows)
}

/// Writes the canonical TSV: uid, the label as the raw file names it, text a[, text b].
///
/// # Errors
/// A label is not one of the task's, or the file cannot be written.
pub fn write_canonical(task: &Task, rows: &[Row], path: &Path) -> Result<()> {
    let mut text = String::new();
    if rows.first().is_some_and(|row| row.uid.starts_with(BYTE_ORDER_MARK)) {
        // Without one before it the identifier's own would be taken for the file's.
        text.push(BYTE_ORDER_MARK);
    }
    for Row { uid, label, text_a, text_b } in rows {
        let name = label_name(task, *label)
            .ok_or_else(|| Error::value("label", expected_label(task), format!("{label:?}")))?;
        for field in [uid, "\t", &name, "\t", &as_field(text_a)] {
            text.push_str(field);
        }
        if let Some(text_b) = text_b {
            text.push('\t');
            text.push_str(&as_field(text_b));
        }
        text.push('\n');
    }
    write_whole(path, text.as_bytes())
}

/// Reads the canonical TSV that [`write_canonical`] writes. Test rows may be labelled -1, as other
/// programs write them.
///
/// # Errors
/// The file cannot be read, is not UTF-8, or a row's fields or label are not the task's; each of
/// these names its line.
pub fn read_canonical(task: &Task, part: Part, path: &Path) -> Result<Vec<Row>> {
    let expected = if task.is_pair() { 4 } else { 3 };
    let (mut lines, mut rows) = (Lines::open(path)?, Vec::new());
    while let Some((number, line)) = lines.next()? {
        let mut fields = line.strip_suffix('\r').unwrap_or(line).split('\t');
        let (uid, label, text_a) = (fields.next(), fields.next(), fields.next());
        let text_b = if task.is_pair() { fields.next() } else { None };
        match (uid, label, text_a, fields.next()) {
            (Some(uid), Some(label), Some(text_a), None) if text_b.is_some() == task.is_pair() => {
                let known = match label.trim() {
                    "-1" | "-1.0" if part == Part::Test && task.test.label.is_none() => {
                        Some(dummy(task))
                    }
                    name => parse_label(task, name),
                };
                let label = known.ok_or_else(|| wrong_label(task, path, number, label))?;
                let (uid, text_a) = (uid.to_owned(), text_a.to_owned());
                rows.push(Row { uid, label, text_a, text_b: text_b.map(str::to_owned) });
            }
            _ => {
                let found = fields_word(line.split('\t').count());
                return Err(Error::content(path, number, fields_word(expected), found));
            }
        }
    }
    if rows.is_empty() {
        return Err(Error::content(path, None, "at least one row", "none")
            .hint("remove it, so that it is made again from the raw file"));
    }
    Ok(rows)
}

/// A text as one field; the tokenizer takes any white space for a space.
pub(crate) fn as_field(text: &str) -> String {
    text.replace(['\t', '\n', '\r'], " ")
}

/// The label of rows whose own is not known.
pub(crate) fn dummy(task: &Task) -> Label {
    match task.kind {
        Kind::Classification { .. } => Label::Class(0),
        Kind::Regression => Label::Score(0.0),
    }
}

/// Whether `name` is a label of the task.
pub(crate) fn is_label(task: &Task, name: &str) -> bool {
    parse_label(task, name).is_some()
}

fn parse_label(task: &Task, name: &str) -> Option<Label> {
    match task.kind {
        Kind::Classification { labels } => {
            labels.iter().position(|label| *label == name).map(Label::Class)
        }
        Kind::Regression => {
            name.parse().ok().filter(|score| task.is_score(*score)).map(Label::Score)
        }
    }
}

fn label_name(task: &Task, label: Label) -> Option<String> {
    match (task.kind, label) {
        (Kind::Classification { labels }, Label::Class(class)) => {
            labels.get(class).map(|name| (*name).to_owned())
        }
        // `{:?}` keeps the point of a whole number: 5.0, not 5.
        (Kind::Regression, Label::Score(score)) => Some(format!("{score:?}")),
        _ => None,
    }
}

/// The labels of a task in words, for errors.
pub(crate) fn expected_label(task: &Task) -> String {
    match task.kind {
        Kind::Classification { labels } => format!("a label of {}", labels.join(", ")),
        Kind::Regression if task.is_own() => "a number".to_owned(),
        Kind::Regression => {
            format!("a score from {} to {}", SCORE_RANGE.start(), SCORE_RANGE.end())
        }
    }
}

/// How a raw file comes to be whole.
pub(crate) fn again(task: &Task) -> String {
    match task.name {
        "demo" => "platon demo-data makes the file".to_owned(),
        name if !task.is_own() => {
            format!("platon download {name} --force brings the official file")
        }
        _ => "mend the file: it is your own".to_owned(),
    }
}

fn wrong_label(task: &Task, path: &Path, number: usize, found: &str) -> Error {
    Error::content(path, number, expected_label(task), format!("{found:?}"))
}

fn too_few(task: &Task, path: &Path, number: usize, expected: usize, found: usize) -> Error {
    let expected = format!("at least {}", fields_word(expected));
    Error::content(path, number, expected, fields_word(found))
        .hint(format!("fields are separated by single tabs; {}", again(task)))
}

fn fields_word(count: usize) -> String {
    format!("{count} field{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "tsv_tests.rs"]
mod tests;
