//! Texts and labels from the columns that somebody names.

use std::path::Path;

use super::table::{Table, Value};
use crate::error::{Error, Result};
use crate::glue::read::MAX_LINE_BYTES;
use crate::glue::tsv::as_field;

/// The columns of an example, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns<'a> {
    /// Of the text.
    pub text: &'a str,
    /// Of the second text, of pairs.
    pub text_pair: Option<&'a str>,
    /// Of the label, where it is wanted.
    pub label: Option<&'a str>,
}

/// A row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The line that it begins in, from 1; in Parquet, the row's number.
    pub line: usize,
    /// The text on one line, so that it is the same however it comes; `None` for null.
    pub text_a: Option<String>,
    /// The second text, of pairs; an empty one is none.
    pub text_b: Option<String>,
    /// The label as it stands there, where it is wanted.
    pub label: Value,
}

/// The examples of a file, one at a time.
pub struct Examples {
    table: Table,
    text: String,
    text_pair: Option<String>,
}

impl Examples {
    /// The examples of `table`.
    ///
    /// # Errors
    /// It has no such columns.
    pub fn new(mut table: Table, columns: Columns) -> Result<Self> {
        let header = table.header();
        let Columns { text, text_pair, label } = columns;
        if text_pair == Some(text) {
            return Err(Error::value("text-pair", format!("another column than {text}"), text));
        }
        let named = [("text", Some(text)), ("text-pair", text_pair), ("label", label)];
        let named = named.into_iter().filter_map(|(flag, name)| Some((flag, name?)));
        let places = named.map(|(flag, name)| header.place(flag, name));
        let places = places.collect::<Result<Vec<_>>>()?;
        table.choose(places)?;
        Ok(Self { table, text: text.to_owned(), text_pair: text_pair.map(str::to_owned) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.table.path()
    }

    /// The columns of the texts, in words.
    #[must_use]
    pub fn names(&self) -> String {
        let pair = self.text_pair.as_ref().map(|name| format!(" and {name}"));
        format!("{}s called {}{}", self.table.header().word(), self.text, pair.unwrap_or_default())
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.table.bytes()
    }

    /// The next example; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read, or a text is none; the error names its line.
    pub fn next_example(&mut self) -> Result<Option<Example>> {
        let Some(record) = self.table.next_record()? else { return Ok(None) };
        let line = record.line;
        let mut values = record.values.into_iter();
        let mut text = |column: &str| match values.next() {
            Some(Value::Text(text)) => Ok(Some(as_field(&text))),
            None | Some(Value::Nothing) => Ok(None),
            Some(other) => {
                let expected = format!("a text in {column}");
                Err(Error::content(self.table.path(), line, expected, in_words(&other)))
            }
        };
        let text_a = text(&self.text)?;
        let text_b = match &self.text_pair {
            Some(column) => Some(text(column)?.unwrap_or_default()),
            None => None,
        };
        let label = values.next().unwrap_or(Value::Nothing);
        Ok(Some(Example { line, text_a, text_b, label }))
    }

    /// The next example, whose first text must hold something.
    ///
    /// # Errors
    /// As [`next_example`](Self::next_example), or the text is empty.
    pub fn next_filled(&mut self) -> Result<Option<Example>> {
        let Some(example) = self.next_example()? else { return Ok(None) };
        let text = example.text_a.as_deref();
        if text.is_none_or(|text| text.trim().is_empty()) {
            let expected = format!("a text in {}", self.text);
            let found = if text.is_none() { "null" } else { "an empty one" };
            return Err(Error::content(self.table.path(), example.line, expected, found)
                .hint("fill it, or leave the row out"));
        }
        let bytes = [&example.text_a, &example.text_b].into_iter().flatten().map(String::len);
        if bytes.sum::<usize>() > MOST_TEXT {
            let expected = format!("texts of at most {MOST_TEXT} bytes together");
            return Err(Error::content(self.table.path(), example.line, expected, "more")
                .hint("texts so long are cut off in any case: shorten them"));
        }
        Ok(Some(example))
    }
}

/// The most bytes of a row's texts: what is written of it, with label and number, must fit a line.
const MOST_TEXT: usize = MAX_LINE_BYTES - (1 << 12);

/// A value as an error shows it.
pub(super) fn in_words(value: &Value) -> String {
    match value {
        Value::Nothing => "null".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Whole(number) => format!("the number {number}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Bool(value) => value.to_string(),
        Value::Other(word) => (*word).to_owned(),
    }
}
