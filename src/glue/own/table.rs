//! Records of a file in any of the formats.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::bytes::{Lines, MAX_BYTES, is_plain};
use super::format::{Format, Layout};
use super::lines::JsonLines;
use super::parquet::Parquet;
use super::separated::Separated;
use crate::error::{Error, Result};
use crate::files;
use crate::glue::columns::{described, usual};
use crate::glue::names::nearest;
use crate::glue::read::open_data;
use crate::glue::task::Task;

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null.
    Nothing,
    /// A text; everything in CSV and TSV is one.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Another number.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// Something that is neither text nor label, in words.
    Other(&'static str),
}

/// The chosen cells of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The line that the row begins in, from 1; in Parquet, the row's number.
    pub line: usize,
    /// In the order in which they were chosen.
    pub values: Vec<Value>,
}

/// The records of a file.
pub struct Table {
    path: PathBuf,
    rows: Rows,
}

enum Rows {
    Separated(Box<Separated>),
    JsonLines(Box<JsonLines>),
    Parquet(Box<Parquet>),
}

/// The names of a file's columns.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    path: &'a Path,
    names: &'a [String],
    /// `column`, or `field` in JSON.
    word: &'static str,
}

impl Table {
    /// Opens the file `path`, which is to be read into memory as a whole.
    ///
    /// # Errors
    /// It cannot be read, is longer than any data set, or does not begin as a file of its name does.
    pub fn open(path: &Path) -> Result<Self> {
        let format = Format::required(path)?;
        let file = match format.layout {
            // Of its columns only those that are wanted are read.
            Layout::Parquet => files::open(path)?,
            _ => open_data(path)?,
        };
        match format.layout {
            Layout::Parquet => Self::of_parquet(path, file, MAX_BYTES),
            _ => Self::of_lines(path, file, format, true),
        }
    }

    /// The rows of `file`, which may be a pipe, in a known format; errors call it `path`.
    ///
    /// # Errors
    /// It cannot be read, or does not begin as a file of its format does.
    pub fn of(path: &Path, file: File, format: Format) -> Result<Self> {
        match format.layout {
            Layout::Parquet if is_plain(&file) => Self::of_parquet(path, file, u64::MAX),
            Layout::Parquet => Err(Error::content(path, None, "a file", "a pipe")
                .hint("Parquet is read from its end: save it to a file first")),
            _ => Self::of_lines(path, file, format, false),
        }
    }

    /// The rows of `reader` in a format of lines.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_lines(
        path: &Path,
        reader: impl Read + Send + 'static,
        format: Format,
        bounded: bool,
    ) -> Result<Self> {
        let lines = Lines::new(path, reader, format, bounded)?;
        let rows = match format.layout {
            Layout::JsonLines => Rows::JsonLines(Box::new(JsonLines::new(lines)?)),
            layout => Rows::Separated(Box::new(Separated::new(lines, layout)?)),
        };
        Ok(Self { path: path.to_path_buf(), rows })
    }

    fn of_parquet(path: &Path, file: File, most: u64) -> Result<Self> {
        let rows = Rows::Parquet(Box::new(Parquet::new(path, file, most)?));
        Ok(Self { path: path.to_path_buf(), rows })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the columns.
    #[must_use]
    pub fn header(&self) -> Header<'_> {
        let (names, word) = match &self.rows {
            Rows::Separated(rows) => (rows.header(), "column"),
            Rows::JsonLines(rows) => (rows.header(), "field"),
            Rows::Parquet(rows) => (rows.header(), "column"),
        };
        Header { path: &self.path, names, word }
    }

    /// Whether the column at `place` in the header holds a value per row, as far as the file tells.
    #[must_use]
    pub fn is_plain(&self, place: usize) -> bool {
        match &self.rows {
            Rows::Separated(_) | Rows::JsonLines(_) => true,
            Rows::Parquet(rows) => rows.is_plain(place),
        }
    }

    /// Chooses the columns to read, by their places in the header.
    ///
    /// # Errors
    /// A column holds what is no cell.
    pub fn choose(&mut self, places: Vec<usize>) -> Result<()> {
        match &mut self.rows {
            Rows::Separated(rows) => rows.choose(places),
            Rows::JsonLines(rows) => rows.choose(places),
            Rows::Parquet(rows) => rows.choose(places)?,
        }
        Ok(())
    }

    /// Takes fields that an object lacks for null: to look at a file is not to learn from it.
    pub fn may_lack(&mut self) {
        if let Rows::JsonLines(rows) = &mut self.rows {
            rows.may_lack();
        }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read; the error names its line.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        match &mut self.rows {
            Rows::Separated(rows) => rows.next(&self.path),
            Rows::JsonLines(rows) => rows.next(&self.path),
            Rows::Parquet(rows) => rows.next(),
        }
    }

    /// Bytes of the file that have been read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.rows {
            Rows::Separated(rows) => rows.taken(),
            Rows::JsonLines(rows) => rows.taken(),
            Rows::Parquet(rows) => rows.taken(),
        }
    }
}

impl<'a> Header<'a> {
    /// The names.
    #[must_use]
    pub const fn names(&self) -> &'a [String] {
        self.names
    }

    /// What such a file calls a column.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        self.word
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The names of the columns that usually hold the texts of `task`.
    ///
    /// # Errors
    /// There are none.
    pub fn usual(&self, task: Option<&Task>) -> Result<Vec<String>> {
        let places = usual(self.names, task);
        let places = places.ok_or_else(|| {
            let found = format!("the {}s {}", self.word, self.names.join(", "));
            let expected = described(task, self.word);
            Error::content(self.path, None, expected, found).hint(match self.has("token_id") {
                true => "encoded samples are for platon evaluate",
                false => {
                    "--text names the column of the text, --text-pair that of the second one; without a \
                     header give a text per line, or two with a tab between them, in a .tsv file"
                }
            })
        })?;
        Ok(places.into_iter().filter_map(|place| self.names.get(place).cloned()).collect())
    }

    /// The place of the column `name`, which the setting `flag` asks for.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn place(&self, flag: &str, name: &str) -> Result<usize> {
        let Self { path, names, word } = *self;
        let places: Vec<usize> =
            (0..).zip(names).filter(|(_, n)| *n == name).map(|(p, _)| p).collect();
        match places.as_slice() {
            [place] => Ok(*place),
            [] => {
                let found = format!("the {word}s {}", names.join(", "));
                let error = Error::content(path, None, format!("a {word} called {name}"), found);
                let alike = names.iter().find(|known| known.eq_ignore_ascii_case(name));
                let meant = alike.map(String::as_str);
                let meant = meant.or_else(|| nearest(name, names.iter().map(String::as_str)));
                Err(match meant {
                    Some(meant) => error.hint(format!("did you mean --{flag} {meant}?")),
                    None => error.hint(format!(
                        "--{flag} names it; the first line of the file has the names"
                    )),
                })
            }
            [first, .., last] => {
                let expected = format!("one {word} called {name}");
                let found = format!(
                    "{} of them, the {} and the {} of all",
                    places.len(),
                    nth(first + 1),
                    nth(last + 1)
                );
                Err(Error::content(path, None, expected, found).hint("rename all but one"))
            }
        }
    }
}

/// `1st`, `2nd` and so on.
fn nth(n: usize) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
#[path = "table_tests.rs"]
pub(super) mod tests;
