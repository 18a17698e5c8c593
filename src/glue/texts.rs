//! Texts of one's own, in the layouts that they come in: a line each, the tasks' own files, tables
//! with a header, JSON lines.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::glue::columns::{self, usual};
use crate::glue::quoting::{Quoting, too_long, unclosed};
use crate::glue::read::{BYTE_ORDER_MARK, line_of, line_too_long};
use crate::glue::task::{Column, Layout, Task};
use crate::glue::tsv::{Label, MAX_LINE_BYTES, Row, is_label};

/// The rows of a file or of standard input, one at a time.
pub struct Texts<R> {
    reader: R,
    path: PathBuf,
    /// The task that the texts are for, if it is known.
    task: Option<&'static Task>,
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
    /// A table whose first line names the columns, of which these hold the texts.
    Table { separator: Separator, names: Vec<String>, places: Vec<usize> },
    /// A JSON object per line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// As in GLUE's files, where nothing is quoted.
    Tab,
    /// As in CSV, where fields may be quoted and then hold commas, line ends and doubled quotes.
    Comma,
}

impl<R: BufRead> Texts<R> {
    /// The rows of `reader`; `path` is what errors call it, and its ending tells of its content.
    pub fn new(path: &Path, reader: R, task: Option<&'static Task>) -> Self {
        Self {
            reader,
            path: path.to_path_buf(),
            task,
            form: None,
            lines: 0,
            bytes: 0,
            rows: 0,
            has_pairs: false,
        }
    }

    /// How the rows are laid out, where that is not plain lines; known once the first is read.
    pub fn layout(&self) -> Option<String> {
        let path = self.path.display();
        match self.form.as_ref()? {
            // Nothing else tells that these are two.
            Form::Plain if self.has_pairs && self.task.is_none() => {
                Some(format!("{path}: read as two texts on each line, from the first one on"))
            }
            Form::Plain => None,
            Form::Headless { .. } => Some(format!(
                "{path}: read as a file of {}",
                self.task.map_or("", |task| task.name)
            )),
            Form::Table { names, places, .. } => {
                let names = places.iter().filter_map(|place| Some(names.get(*place)?.as_str()));
                let names: Vec<&str> = names.collect();
                Some(format!("{path}: read from the columns called {}", names.join(" and ")))
            }
            Form::Json => Some(format!("{path}: read as JSON lines")),
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
            let is_row = !line.is_empty() || !matches!(form, Form::Json | Form::Table { .. });
            let number = self.lines;
            let texts = if is_row { self.texts(&form, line)? } else { Vec::new() };
            self.form = Some(form);
            if !is_row {
                continue;
            }
            self.has_pairs |= texts.len() > 1;
            let mut texts = texts.into_iter();
            let (text_a, text_b) = (texts.next().unwrap_or_default(), texts.next());
            let uid = self.rows.to_string();
            self.rows += 1;
            return Ok(Some((number, Row { uid, label: Label::Class(0), text_a, text_b })));
        }
    }

    /// The texts of the row that begins with `line`.
    fn texts(&mut self, form: &Form, line: String) -> Result<Vec<String>> {
        let number = self.lines;
        match form {
            Form::Plain => self.plain(&line),
            Form::Headless { fields, a, b } => self.headless(&line, *fields, *a, *b),
            Form::Table { separator: Separator::Tab, names, places } => {
                let fields: Vec<&str> = line.split('\t').collect();
                self.picked(number, &fields, names, places)
            }
            Form::Table { separator: Separator::Comma, names, places } => {
                let fields = self.record(line)?;
                let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
                self.picked(number, &fields, names, places)
            }
            Form::Json => self.json(&line),
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

    /// How the input is laid out, by its name and its first line.
    fn form_of(&mut self, first: &str) -> Result<Form> {
        let ending = self.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let is_json = ["jsonl", "ndjson", "json"].contains(&ending.to_lowercase().as_str());
        let is_csv = ending.eq_ignore_ascii_case("csv");
        let is_object = || serde_json::from_str::<Map<String, Value>>(first).is_ok();
        if is_json || (first.starts_with('{') && is_object()) {
            return Ok(Form::Json);
        }
        let mut headers = vec![(Separator::Tab, first.split('\t').map(str::to_owned).collect())];
        if is_csv || (first.contains(',') && !first.contains('\t')) {
            let names = match is_csv {
                true => self.record(first.to_owned())?,
                false => split_record(first),
            };
            headers.insert(0, (Separator::Comma, names));
        }
        for (separator, names) in headers {
            if let Some(places) = self.places(&names)? {
                return Ok(Form::Table { separator, names, places });
            }
        }
        if is_csv {
            return Err(self.wrong(1, self.columns(), format!("{first:?}")).hint(
                "without such a header, --text and --text-pair name the columns of this one; or give a \
                 text per line, or two with a tab between them, in a .tsv file",
            ));
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
        columns::described(self.task)
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

    fn plain(&self, line: &str) -> Result<Vec<String>> {
        let texts: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let task = self.task.map_or("", |task| task.name);
        let (fits, expected) = match self.task.map(Task::is_pair) {
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

    fn headless(
        &self,
        line: &str,
        count: usize,
        a: Column,
        b: Option<Column>,
    ) -> Result<Vec<String>> {
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
        Ok(texts.map(|text| (*text).to_owned()).collect())
    }

    fn picked(
        &self,
        line: usize,
        fields: &[&str],
        names: &[String],
        places: &[usize],
    ) -> Result<Vec<String>> {
        if fields.len() != names.len() {
            let expected = format!("{} fields, as the first line names", names.len());
            return Err(self.wrong(line, expected, fields.len()));
        }
        Ok(places.iter().filter_map(|place| Some((*fields.get(*place)?).to_owned())).collect())
    }

    /// The fields of a record of CSV that begins with `line`; it may go on over further lines.
    fn record(&mut self, mut record: String) -> Result<Vec<String>> {
        let start = self.lines;
        let mut quoting = Quoting::new(b',');
        record.push('\n');
        let mut followed = 0;
        loop {
            let line = record.as_bytes().get(followed..).unwrap_or_default();
            quoting.follow(line, &self.path, self.lines)?;
            followed = record.len();
            if !quoting.is_open() {
                record.truncate(followed - 1);
                return Ok(split_record(&record));
            }
            if record.len() > MAX_LINE_BYTES {
                return Err(too_long(&self.path, start));
            }
            let Some(next) = self.line()? else { return Err(unclosed(&self.path, start)) };
            record.push_str(&next);
            record.push('\n');
        }
    }

    fn json(&self, line: &str) -> Result<Vec<String>> {
        let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| {
            let reason = e.to_string();
            let reason = reason.split(" at line ").next().unwrap_or(&reason).to_owned();
            self.wrong(self.lines, "a JSON object on each line", reason)
        })?;
        let names: Vec<&String> = object.keys().collect();
        let fields = || self.columns().replacen("column", "field", 1);
        let places = self.places(&names.iter().map(|name| (*name).clone()).collect::<Vec<_>>());
        let Some(places) = places.ok().flatten() else {
            let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            let error = self.wrong(self.lines, fields(), known.join(", "));
            return Err(match object.contains_key("token_id") {
                true => error.hint("encoded samples are for platon evaluate"),
                false => error,
            });
        };
        let text = |place: usize| match names.get(place).and_then(|name| object.get(*name)) {
            Some(Value::String(text)) => Ok(text.clone()),
            other => {
                let found = other.map_or("none".to_string(), Value::to_string);
                let name = names.get(place).map_or("", |name| name.as_str());
                Err(self.wrong(self.lines, format!("a text in {name}"), found))
            }
        };
        places.into_iter().map(text).collect()
    }
}

/// The fields of a whole record of CSV, as RFC 4180 has them.
fn split_record(text: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => record.iter().map(str::to_owned).collect(),
        // A line without any characters is a field without any.
        _ => vec![String::new()],
    }
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
