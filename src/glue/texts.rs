//! Texts of one's own, a line each, and the tasks' own files, in which nothing is quoted.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, one_line};
use crate::glue::columns::{self, usual};
use crate::glue::read::{BYTE_ORDER_MARK, line_of, line_too_long};
use crate::glue::task::{Column, Layout, Task};
use crate::glue::tsv::{Label, MAX_LINE_BYTES, Row, as_field, is_label};

/// The rows of a file or of standard input, one at a time.
pub struct Texts<R> {
    reader: R,
    path: PathBuf,
    /// The task that the texts are for, if it is known.
    task: Option<&'static Task>,
    /// Whether they come in pairs, where that is known.
    is_pair: Option<bool>,
    form: Option<Form>,
    /// Lines read, and bytes.
    lines: usize,
    bytes: u64,
    rows: usize,
    /// Whether a plain line held two texts.
    has_pairs: bool,
}

/// How texts are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// A text, or two with a tab between them, on each line.
    Plain,
    /// A file of the task's own without a header, tab-separated.
    Headless { fields: usize, a: Column, b: Option<Column> },
    /// A file whose first line names the columns, tab-separated, of which these hold the texts.
    Table { names: Vec<String>, places: Vec<usize> },
}

impl<R: BufRead> Texts<R> {
    /// The rows of `reader`; `path` is what errors call it.
    pub fn new(path: &Path, reader: R, task: Option<&'static Task>) -> Self {
        Self {
            reader,
            path: path.to_path_buf(),
            task,
            is_pair: task.map(Task::is_pair),
            form: None,
            lines: 0,
            bytes: 0,
            rows: 0,
            has_pairs: false,
        }
    }

    /// The same for a model of which no task is known, but whether it reads pairs, if `is_pair` tells.
    #[must_use]
    pub fn of_pairs(self, is_pair: Option<bool>) -> Self {
        Self { is_pair: self.is_pair.or(is_pair), ..self }
    }

    /// How the rows are laid out, where that is not plain lines; known once the first is read.
    pub fn layout(&self) -> Option<String> {
        let path = self.path.display();
        match self.form.as_ref()? {
            // Nothing else tells that these are two.
            Form::Plain if self.has_pairs && self.is_pair.is_none() => {
                Some(format!("{path}: read as two texts on each line, from the first one on"))
            }
            Form::Plain => None,
            Form::Headless { .. } => Some(format!(
                "{path}: read as a file of {}",
                self.task.map_or("", |task| task.name)
            )),
            Form::Table { names, places } => {
                let names = places.iter().filter_map(|place| Some(names.get(*place)?.as_str()));
                let names = one_line(names.collect::<Vec<_>>().join(" and "));
                Some(format!("{path}: read from the columns called {names}"))
            }
        }
    }

    /// How many bytes the rows so far took, with what is between them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next row, with the number of its line from 1; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read, is not UTF-8, or a row has not the texts it must have; each of these
    /// names its line.
    pub fn next_row(&mut self) -> Result<Option<(usize, Row)>> {
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            let form = match self.form.take() {
                Some(form) => form,
                None => {
                    let form = self.form_of(&line)?;
                    if matches!(form, Form::Table { .. }) {
                        self.form = Some(form);
                        continue;
                    }
                    form
                }
            };
            // Nobody means an empty text by an empty line of such a file.
            let is_row = !line.is_empty() || !matches!(form, Form::Table { .. });
            let number = self.lines;
            let texts = if is_row { self.texts(&form, &line)? } else { Vec::new() };
            self.form = Some(form);
            if !is_row {
                continue;
            }
            self.has_pairs |= texts.len() > 1;
            let mut texts = texts.into_iter().map(as_field);
            let (text_a, text_b) = (texts.next().unwrap_or_default(), texts.next());
            let uid = self.rows.to_string();
            self.rows += 1;
            return Ok(Some((number, Row { uid, label: Label::Class(0), text_a, text_b })));
        }
    }

    /// The texts of the row `line`.
    fn texts<'a>(&self, form: &Form, line: &'a str) -> Result<Vec<&'a str>> {
        match form {
            Form::Plain => self.plain(line),
            Form::Headless { fields, a, b } => self.headless(line, *fields, *a, *b),
            Form::Table { names, places } => self.picked(line, names, places),
        }
    }

    fn wrong(&self, line: usize, expected: impl std::fmt::Display, found: impl ToString) -> Error {
        Error::content(&self.path, line, expected, found.to_string())
    }

    /// The next line without its end; `None` at the end of the input.
    fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        let mut bounded = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        let failed = |e| Error::io(&self.path, "read", e);
        self.bytes += bounded.read_until(b'\n', &mut line).map_err(failed)? as u64;
        if line.is_empty() {
            return Ok(None);
        }
        self.lines += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(line_too_long(&self.path, self.lines));
        }
        let mut line = line_of(&self.path, self.lines, line)?;
        line.truncate(line.trim_end_matches('\r').len());
        if self.lines == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        Ok(Some(line))
    }

    /// How the input is laid out, by its first line.
    fn form_of(&self, first: &str) -> Result<Form> {
        let names: Vec<String> = first.split('\t').map(str::to_owned).collect();
        if let Some(places) = self.places(&names)? {
            return Ok(Form::Table { names, places });
        }
        Ok(self.headless_form(first).unwrap_or(Form::Plain))
    }

    /// The columns of the texts, if `names` name them.
    fn places(&self, names: &[String]) -> Result<Option<Vec<usize>>> {
        let found = usual(names, self.task);
        // A header all the same, but another task's.
        if found.is_none() && names.len() > 1 && columns::has_a_text(names) {
            return Err(self.wrong(self.lines, self.columns(), names.join(", ")));
        }
        Ok(found)
    }

    /// What a header would have to name.
    fn columns(&self) -> String {
        columns::described(self.task, "column")
    }

    /// A file of the task's own that has no header: CoLA's, or a canonical one.
    fn headless_form(&self, first: &str) -> Option<Form> {
        let task = self.task?;
        let fields: Vec<&str> = first.split('\t').collect();
        let Layout { header, fields: count, text_a, text_b, label, .. } = task.labelled;
        let is = |place: usize| fields.get(place).is_some_and(|name| is_label(task, name.trim()));
        let labelled = match label {
            Some(Column::First(place)) => is(place),
            Some(Column::Last(place)) => fields.len().checked_sub(place).is_some_and(is),
            None => false,
        };
        if !header && fields.len() == count && labelled {
            return Some(Form::Headless { fields: count, a: text_a, b: text_b });
        }
        let count = if task.is_pair() { 4 } else { 3 };
        let canonical = fields.len() == count && is(1);
        let b = task.is_pair().then_some(Column::First(3));
        canonical.then_some(Form::Headless { fields: count, a: Column::First(2), b })
    }

    fn plain<'a>(&self, line: &'a str) -> Result<Vec<&'a str>> {
        let texts: Vec<&str> = line.split('\t').collect();
        let task = self.task.map_or("this model", |task| task.name);
        let (fits, expected) = match self.is_pair {
            Some(true) => {
                (texts.len() == 2, format!("two texts with a tab between them for {task}"))
            }
            Some(false) => (texts.len() == 1, format!("one text without a tab for {task}")),
            None => (texts.len() <= 2, "a text, or two with a tab between them".to_string()),
        };
        if fits {
            return Ok(texts);
        }
        let found = match texts.len() {
            1 => "one text".to_string(),
            n => format!("{n} fields"),
        };
        let hint = format!("a first line may name the {}", self.columns());
        Err(match texts.len() {
            1 | 2 => self.wrong(self.lines, expected, found),
            _ => self.wrong(self.lines, expected, found).hint(hint),
        })
    }

    fn headless<'a>(
        &self,
        line: &'a str,
        count: usize,
        a: Column,
        b: Option<Column>,
    ) -> Result<Vec<&'a str>> {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != count {
            let expected = format!("{count} fields, as in the lines before");
            return Err(self.wrong(self.lines, expected, fields.len()));
        }
        let text = |column| match column {
            Column::First(n) => fields.get(n),
            Column::Last(n) => fields.len().checked_sub(n).and_then(|n| fields.get(n)),
        };
        let texts = [Some(a), b].into_iter().flatten().filter_map(text);
        Ok(texts.copied().collect())
    }

    fn picked<'a>(
        &self,
        line: &'a str,
        names: &[String],
        places: &[usize],
    ) -> Result<Vec<&'a str>> {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != names.len() {
            let expected = format!("{} fields, as the first line names", names.len());
            return Err(self.wrong(self.lines, expected, fields.len()));
        }
        Ok(places.iter().filter_map(|place| fields.get(*place).copied()).collect())
    }
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
