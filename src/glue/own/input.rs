//! The rows of an input to predict: plain lines and the tasks' own files, or columns of a table.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::examples::{Columns, Examples};
use super::format::{Format, Layout, Packing};
use super::separated::delimiter;
use super::table::Table;
use crate::error::{Error, Result, one_line};
use crate::glue::columns::{has_a_text, usual};
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
    /// Not looked at yet: what does so.
    Unread(Option<Look<R>>),
}

/// Looks at the first line, which tells the layout.
type Look<R> = Box<dyn FnOnce() -> Result<Rows<R>> + Send>;

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
        // A name in .tsv is that of plain lines and of GLUE's files too.
        let is_sure = format.is_some_and(|format| {
            let Format { layout, packing } = format;
            let told = named.text.is_some() && named.for_this;
            layout != Layout::Tsv || packing != Packing::None || told
        });
        if let Some(mut format) = format.filter(|_| is_sure) {
            if format.layout == Layout::Tsv && named.text.is_none() {
                // As where it is not compressed.
                format.layout = Layout::Unquoted;
            }
            if format.layout == Layout::Parquet || format.packing != Packing::None {
                return Self::of_columns(Table::of(path, file, format)?, task, named);
            }
            let mut reader = BufReader::new(file);
            if reader.fill_buf().map_err(|e| Error::io(path, "read", e))?.is_empty() {
                // Of no rows nobody need know the columns.
                let texts = Texts::new(path, BufReader::new(Box::new(reader) as AnyRead), task);
                return Ok(Self::Plain(texts));
            }
            let table = Table::of_lines(path, reader, format, false)?;
            return Self::of_columns(table, task, named);
        }
        let (path, named) = (path.to_path_buf(), named.clone());
        Ok(Self::Unread(Some(Box::new(move || Self::by_first_line(&path, file, task, &named)))))
    }

    /// The rows of a file whose name does not tell how they are laid out.
    fn by_first_line(
        path: &Path,
        file: File,
        task: Option<&'static Task>,
        named: &Named,
    ) -> Result<Self> {
        let mut reader = BufReader::new(file);
        let mut first = Vec::new();
        let bounded = reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut first);
        bounded.map_err(|e| Error::io(path, "read", e))?;
        let reader: AnyRead = Box::new(Cursor::new(first.clone()).chain(reader));
        let (layout, names) = header(&first);
        let has_named =
            named.text.as_ref().is_some_and(|text| named.for_this || names.contains(text));
        if !has_named && !is_table(layout, &names, task) {
            let learnt = named.text.is_some() && !named.for_this;
            let is_pair = learnt.then_some(named.text_pair.is_some());
            let texts = Texts::new(path, BufReader::new(reader), task).of_pairs(is_pair);
            return Ok(Self::Plain(texts));
        }
        let format = Format { layout, packing: Packing::None };
        let table = Table::of_lines(path, reader, format, false)?;
        // Columns that a model has learnt from need not be those of this input.
        let usual = Named::default();
        Self::of_columns(table, task, if has_named { named } else { &usual })
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
                Some(format!("{path}: read from the {}", one_line(examples.names())))
            }
            Self::Unread(_) => None,
        }
    }

    /// Bytes of the input that were read for the rows so far.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Plain(texts) => texts.bytes(),
            Self::Columns(examples, _) => examples.bytes(),
            Self::Unread(_) => 0,
        }
    }

    /// The next row, with the number of its line from 1; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read, or has not the texts it must have; the error names its line.
    pub fn next_row(&mut self) -> Result<Option<(usize, Row)>> {
        if let Self::Unread(look) = self
            && let Some(look) = look.take()
        {
            *self = look()?;
        }
        let (examples, rows) = match self {
            Self::Plain(texts) => return texts.next_row(),
            Self::Columns(examples, rows) => (examples, rows),
            // Whoever could not look has said why.
            Self::Unread(_) => return Ok(None),
        };
        let Some(example) = examples.next_example()? else { return Ok(None) };
        let text_a = example.text_a.ok_or_else(|| {
            Error::content(examples.path(), example.line, "a text", "null")
                .hint("an empty text is one; leave the row out where there is none")
        })?;
        let uid = rows.to_string();
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
    let text = String::from_utf8_lossy(first);
    let text = text.trim_start_matches('\u{feff}').trim_end();
    if let Ok(object) = serde_json::from_str::<Map<String, Json>>(text) {
        return (Layout::JsonLines, object.keys().cloned().collect());
    }
    let layout = if text.contains('\t') { Layout::Tsv } else { Layout::Csv };
    let separator = char::from(delimiter(text.as_bytes(), layout));
    if separator == ';' && text.contains("; ") {
        // A semicolon of a text's own.
        return (layout, vec![text.to_owned()]);
    }
    let name = |name: &str| name.trim().trim_matches('"').to_owned();
    (layout, text.split(separator).map(name).collect())
}

/// Whether a first line with these `names` is that of a table rather than a text: commas, semicolons or
/// braces alone make none. One that has another task's columns is.
fn is_table(layout: Layout, names: &[String], task: Option<&Task>) -> bool {
    match layout {
        Layout::JsonLines => true,
        Layout::Csv => names.len() > 1 && (usual(names, task).is_some() || has_a_text(names)),
        _ => false,
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
