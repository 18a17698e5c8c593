//! A table of texts, in the forms that people paste elsewhere.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::error::one_line;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Columns of one width each.
    #[default]
    Plain,
    /// Fields with commas between them (RFC 4180).
    Csv,
    /// A table of GitHub's Markdown.
    Markdown,
    /// A list of objects.
    Json,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The names of its columns.
    pub head: Vec<String>,
    /// Its rows, of as many cells each.
    pub rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Empty,
    /// A text.
    Text(String),
    /// A number, and how it is shown to people.
    Number(f64, String),
    /// Several values: their mean, the least and the greatest, and how they are shown to people.
    Spread([f64; 3], String),
    /// Several names, and how they are shown to people.
    Names(Vec<String>, String),
}

impl Cell {
    /// A number with so many digits after the point.
    pub fn number(value: f64, digits: usize) -> Self {
        Self::Number(value, format!("{value:.digits$}"))
    }

    /// For people.
    pub fn shown(&self) -> &str {
        match self {
            Self::Empty => "-",
            Self::Text(text)
            | Self::Number(_, text)
            | Self::Spread(_, text)
            | Self::Names(_, text) => text,
        }
    }

    /// Whether it is one, or several.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(..) | Self::Spread(..))
    }

    /// For programs: a cell for the column itself, and one for the least and the greatest value if it has
    /// several.
    fn parts(&self, has_range: bool) -> Vec<Self> {
        let (own, range) = match self {
            Self::Spread([mean, least, most], _) => {
                (Self::exactly(*mean), [*least, *most].map(Self::exactly))
            }
            Self::Number(value, _) => {
                (Self::exactly(*value), [(); 2].map(|()| Self::exactly(*value)))
            }
            Self::Names(names, _) => (Self::Text(names.join(", ")), [Self::Empty, Self::Empty]),
            other => (other.clone(), [Self::Empty, Self::Empty]),
        };
        let range = range.into_iter().filter(|_| has_range);
        std::iter::once(own).chain(range).collect()
    }

    /// A number with all digits: what reads it rounds for itself.
    fn exactly(value: f64) -> Self {
        Self::Number(value, value.to_string())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Table {
    /// Without the columns whose cells are all empty.
    #[must_use]
    pub fn without_empty_columns(mut self) -> Self {
        let is_used = |n: usize| self.rows.iter().any(|row| row.get(n) != Some(&Cell::Empty));
        let used: Vec<bool> = (0..self.head.len()).map(is_used).collect();
        let keep = |n: usize| used.get(n).copied().unwrap_or(false);
        let mut n = 0;
        self.head.retain(|_| (keep(n), n += 1).0);
        for row in &mut self.rows {
            let mut n = 0;
            row.retain(|_| (keep(n), n += 1).0);
        }
        self
    }

    /// Its text in this form.
    pub fn text(&self, format: Format) -> String {
        match format {
            Format::Plain => self.plain(),
            Format::Csv => self.for_programs().csv(),
            Format::Markdown => self.markdown(),
            Format::Json => self.for_programs().json(),
        }
    }

    /// The same with numbers of all digits, all names, and beside a column of several values `NAME min` and
    /// `NAME max`.
    fn for_programs(&self) -> Self {
        let has_range =
            |n: usize| self.rows.iter().any(|row| matches!(row.get(n), Some(Cell::Spread(..))));
        let names = self.head.iter().enumerate().flat_map(|(n, name)| {
            let range = ["min", "max"].into_iter().filter(move |_| has_range(n));
            std::iter::once(name.clone()).chain(range.map(move |what| format!("{name} {what}")))
        });
        let wide = |row: &Vec<Cell>| {
            row.iter().enumerate().flat_map(|(n, cell)| cell.parts(has_range(n))).collect()
        };
        Self { head: names.collect(), rows: self.rows.iter().map(wide).collect() }
    }

    fn plain(&self) -> String {
        let head: Vec<String> = self.head.iter().map(one_line).collect();
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| one_line(cell.shown())).collect())
            .collect();
        let width = |n: usize| {
            let cells = rows.iter().filter_map(|row| row.get(n));
            let head = head.get(n).map_or(0, |head| head.chars().count());
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        // Numbers stand on the right, so that they can be compared.
        let is_number = |n: usize| {
            let mut cells = self.rows.iter().filter_map(|row| row.get(n));
            cells.all(|cell| cell.is_number() || *cell == Cell::Empty)
        };
        let mut text = String::new();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((n, cell), width) in cells.enumerate().zip(&widths) {
                let gap = if n == 0 { "" } else { "  " };
                let _ = match is_number(n) {
                    true => write!(line, "{gap}{cell:>width$}"),
                    false => write!(line, "{gap}{cell:<width$}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        };
        line(&mut head.iter().map(String::as_str));
        for row in &rows {
            line(&mut row.iter().map(String::as_str));
        }
        text
    }

    fn csv(&self) -> String {
        let field = |text: &str| match text.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_string(),
        };
        let cell = |cell: &Cell| match cell {
            Cell::Empty => String::new(),
            other => field(other.shown()),
        };
        let head = self.head.iter().map(|name| field(name)).collect::<Vec<_>>().join(",");
        let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<_>>().join(",");
        let lines = std::iter::once(head).chain(self.rows.iter().map(row));
        lines.map(|line| line + "\n").collect()
    }

    fn markdown(&self) -> String {
        let escaped = |text: &str| one_line(text).replace('|', "\\|").replace('<', "&lt;");
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.head.iter().map(|name| escaped(name)).collect());
        let _ = writeln!(text, "|{}", "---|".repeat(self.head.len()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| escaped(cell.shown())).collect()));
        }
        text
    }

    fn json(&self) -> String {
        let value = |cell: &Cell| match cell {
            Cell::Empty => Value::Null,
            Cell::Number(value, _) => (*value).into(),
            other => other.shown().into(),
        };
        let object = |row: &Vec<Cell>| -> Value {
            self.head.iter().cloned().zip(row.iter().map(value)).collect::<Map<_, _>>().into()
        };
        let rows: Vec<Value> = self.rows.iter().map(object).collect();
        format!("{:#}", Value::from(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            head: ["run", "ACC", "note", "none"].map(str::to_string).to_vec(),
            rows: vec![
                vec!["a|b".into(), Cell::number(9.126, 2), "x, \"y\"".into(), Cell::Empty],
                vec!["longer".into(), Cell::number(80.0, 2), Cell::Empty, Cell::Empty],
            ],
        }
        .without_empty_columns()
    }

    #[test]
    fn a_table_has_four_forms() {
        assert_eq!(
            table().text(Format::Plain),
            "run       ACC  note\na|b      9.13  x, \"y\"\nlonger  80.00  -\n"
        );
        assert_eq!(
            table().text(Format::Csv),
            "run,ACC,note\na|b,9.126,\"x, \"\"y\"\"\"\nlonger,80,\n"
        );
        assert_eq!(
            table().text(Format::Markdown),
            "| run | ACC | note |\n|---|---|---|\n| a\\|b | 9.13 | x, \"y\" |\n| longer | 80.00 | - |\n"
        );
        let json: Value = serde_json::from_str(&table().text(Format::Json)).unwrap();
        assert_eq!(json[0], serde_json::json!({"run": "a|b", "ACC": 9.126, "note": "x, \"y\""}));
        assert_eq!(json[1]["note"], Value::Null);
        assert_eq!(Table::default().text(Format::Plain), "\n");
    }

    #[test]
    fn programs_are_told_all_names_and_ranges() {
        let names = Cell::Names(vec!["a".into(), "b".into()], "a and 1 more".into());
        let spread = Cell::Spread([2.0, 1.5, 2.5], "2.00 (1.50 to 2.50)".into());
        let table = Table {
            head: ["run", "ACC", "n"].map(str::to_string).to_vec(),
            rows: vec![
                vec![names, spread, Cell::number(1.0, 2)],
                vec!["c".into(), Cell::number(3.0, 2), Cell::Empty],
            ],
        };
        assert_eq!(
            table.text(Format::Plain),
            "run                           ACC     n\n\
             a and 1 more  2.00 (1.50 to 2.50)  1.00\n\
             c                            3.00     -\n"
        );
        assert_eq!(
            table.text(Format::Csv),
            "run,ACC,ACC min,ACC max,n\n\"a, b\",2,1.5,2.5,1\nc,3,3,3,\n"
        );
        let json: Value = serde_json::from_str(&table.text(Format::Json)).unwrap();
        let expected = serde_json::json!({"run": "a, b", "ACC": 2.0, "ACC min": 1.5, "ACC max": 2.5, "n": 1.0});
        assert_eq!(json[0], expected);
    }

    #[test]
    fn what_folders_are_called_is_not_obeyed() {
        let name = "x\u{1b}[31m\nrow2  <img>";
        let table = Table { head: vec!["run".into()], rows: vec![vec![name.into()]] };
        assert_eq!(table.text(Format::Plain), "run\nx?[31m row2  <img>\n");
        assert_eq!(table.text(Format::Markdown), "| run |\n|---|\n| x?[31m row2  &lt;img> |\n");
        let json: Value = serde_json::from_str(&table.text(Format::Json)).unwrap();
        assert_eq!(json[0]["run"], name);
    }
}
