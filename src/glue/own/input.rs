//! The rows of an input to predict: plain lines and the tasks' own files, or columns of a table.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::examples::{Columns, Examples};
use super::format::{Format, Layout, Packing};
use super::table::Table;
use crate::error::{Error, Result};
use crate::glue::read::MAX_LINE_BYTES;
use crate::glue::task::Task;
use crate::glue::texts::Texts;
use crate::glue::tsv::{Label, Row};

/// The columns that hold the texts, where somebody says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Of the text.
    pub text: Option<String>,
    /// Of the second text, of pairs.
    pub text_pair: Option<String>,
    /// Whether they are meant for this very input, rather than for what a model learnt from.
    pub for_this: bool,
}

/// The rows of an input.
pub enum Rows<R> {
    /// Laid out as their first line shows.
    Plain(Texts<BufReader<R>>),
    /// Of the columns of a table, and how many there were.
    Columns(Box<Examples>, usize),
}

/// A reader of anything.
pub type AnyRead = Box<dyn Read + Send>;

impl Rows<AnyRead> {
    /// The rows of `file`, which errors call `path` and which may be a pipe, for `task` if that is
    /// known.
    ///
    /// # Errors
    /// It cannot be read, is not what its name says, or lacks the columns.
    pub fn new(
        path: &Path,
        file: File,
        task: Option<&'static Task>,
        named: &Named,
    ) -> Result<Self> {
        check_pair(task, named)?;
        let format = Format::of(path);
        let is_sure = format.is_some_and(|format| {
            let Format { layout, packing } = format;
            let is_table = matches!(layout, Layout::Csv | Layout::JsonLines);
            let told = named.text.is_some() && (named.for_this || is_table);
            layout == Layout::Parquet || packing != Packing::None || told
        });
        if let Some(mut format) = format.filter(|_| is_sure) {
            if format.layout == Layout::Tsv && named.text.is_none() {
                // As where it is not compressed.
                format.layout = Layout::Unquoted;
            }
            let table = Table::of(path, file, format)?;
            return Self::of_columns(table, task, named);
        }
        if named.text.is_none() {
            return Ok(Self::Plain(Texts::new(path, BufReader::new(Box::new(file)), task)));
        }
        let mut reader = BufReader::new(file);
        let mut first = Vec::new();
        let bounded = reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut first);
        bounded.map_err(|e| Error::io(path, "read", e))?;
        let (layout, names) = header(&first);
        let has_them = named.text.as_ref().is_some_and(|text| names.contains(text));
        let reader: AnyRead = Box::new(Cursor::new(first).chain(reader));
        if !named.for_this && !has_them {
            return Ok(Self::Plain(Texts::new(path, BufReader::new(reader), task)));
        }
        let table =
            Table::of_lines(path, reader, Format { layout, packing: Packing::None }, false)?;
        Self::of_columns(table, task, named)
    }
}

impl<R: Read> Rows<R> {
    fn of_columns(table: Table, task: Option<&Task>, named: &Named) -> Result<Self> {
        let header = table.header();
        let (text, text_pair) = match &named.text {
            Some(text) => (text.clone(), named.text_pair.clone()),
            None => {
                let mut names = header.usual(task)?.into_iter();
                (names.next().unwrap_or_default(), names.next())
            }
        };
        let columns = Columns { text: &text, text_pair: text_pair.as_deref(), label: None };
        Ok(Self::Columns(Box::new(Examples::new(table, columns)?), 0))
    }

    /// How the rows are laid out, where that is not plain lines; known once the first is read.
    pub fn layout(&self) -> Option<String> {
        match self {
            Self::Plain(texts) => texts.layout(),
            Self::Columns(examples, _) => {
                let path = examples.path().display();
                Some(format!("{path}: read from the columns called {}", examples.names()))
            }
        }
    }

    /// Bytes of the input that were read for the rows so far.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Plain(texts) => texts.bytes(),
            Self::Columns(examples, _) => examples.bytes(),
        }
    }

    /// The next row, with the number of its line from 1; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read, or has not the texts it must have; the error names its line.
    pub fn next_row(&mut self) -> Result<Option<(usize, Row)>> {
        let (examples, rows) = match self {
            Self::Plain(texts) => return texts.next_row(),
            Self::Columns(examples, rows) => (examples, rows),
        };
        let Some(example) = examples.next_example()? else { return Ok(None) };
        let (uid, text_a) = (rows.to_string(), example.text_a.unwrap_or_default());
        *rows += 1;
        let row = Row { uid, label: Label::Class(0), text_a, text_b: example.text_b };
        Ok(Some((example.line, row)))
    }
}

/// The task's texts are as many as the columns.
fn check_pair(task: Option<&Task>, named: &Named) -> Result<()> {
    if let (None, Some(column)) = (&named.text, &named.text_pair) {
        return Err(Error::value(
            "text",
            format!("the column of the text beside {column}"),
            "none",
        ));
    }
    let Some(task) = task.filter(|_| named.text.is_some()) else { return Ok(()) };
    match (task.is_pair(), &named.text_pair) {
        (true, None) => {
            let expected = format!("the column of the second text for {}", task.name);
            Err(Error::value("text-pair", expected, "none"))
        }
        (false, Some(column)) => {
            let expected = format!("none: {} is about one text", task.name);
            Err(Error::value("text-pair", expected, column))
        }
        _ => Ok(()),
    }
}

/// How a text that begins with the line `first` is laid out, and what names it has for columns.
fn header(first: &[u8]) -> (Layout, Vec<String>) {
    let first = String::from_utf8_lossy(first);
    let first = first.trim_start_matches('\u{feff}').trim();
    if let Ok(object) = serde_json::from_str::<Map<String, Json>>(first) {
        return (Layout::JsonLines, object.keys().cloned().collect());
    }
    let layout = if first.contains('\t') { Layout::Tsv } else { Layout::Csv };
    let name = |name: &str| name.trim().trim_matches('"').to_owned();
    (layout, first.split(['\t', ',', ';']).map(name).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_read_alike_whether_it_is_compressed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        // As GLUE's files, in which marks are characters like others.
        let text = "index\tsentence\tlabel\n0\t\"All of it\"\tno\n1\t\"He said\tb\n2\tx\"\tc\n";
        std::fs::write(dir.path().join("x.tsv"), text).unwrap();
        let packed = File::create(dir.path().join("x.tsv.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap();
        let read = |name: &str| {
            let path = dir.path().join(name);
            let file = File::open(&path).unwrap();
            let mut rows = Rows::new(&path, file, None, &Named::default()).unwrap();
            let next = || rows.next_row().unwrap().map(|(line, row)| (line, row.text_a));
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        let expected = [(2, "\"All of it\""), (3, "\"He said"), (4, "x\"")];
        let expected = expected.map(|(line, text)| (line, text.to_string()));
        assert_eq!(
            (read("x.tsv").as_slice(), read("x.tsv.gz").as_slice()),
            (&expected[..], &expected[..])
        );
    }
}
