//! What a file of one's own holds, before hours are spent on it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde::Serialize;

use super::examples::{Columns, Example, Examples};
use super::labels::{Labels, Target, class_name, number};
use super::table::{Table, Value};
use crate::error::{Error, Result};

/// The most odd rows that are named, of each kind.
const NAMED: usize = 5;
/// Rows that are looked at to describe the columns.
const LOOKED_AT: usize = 1000;
/// The longest values that are shown, in characters.
const SHOWN: usize = 40;
/// Classes of lengths in a histogram.
const BARS: usize = 12;

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds, in words.
    pub kind: &'static str,
    /// How many different values the first rows have.
    pub different: usize,
    /// How many of these have none.
    pub empty: usize,
    /// Its first value.
    pub example: String,
}

/// Rows of one odd kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Odd {
    /// How many.
    pub rows: usize,
    /// The lines of the first ones.
    pub lines: Vec<usize>,
}

/// How long the texts of a file are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// What is counted: `tokens`, or `words`.
    pub unit: &'static str,
    /// The shortest.
    pub shortest: usize,
    /// The length that half of the texts do not exceed.
    pub median: usize,
    /// The length that 95 of 100 texts do not exceed.
    pub most: usize,
    /// The longest.
    pub longest: usize,
    /// Upper ends of classes of lengths, and how many texts are in each.
    pub histogram: Vec<(usize, usize)>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// Rows.
    pub rows: usize,
    /// What the labels are: `classes`, `numbers`, or why they are neither.
    pub target: Option<String>,
    /// Labels with their rows; none of numbers.
    pub labels: Vec<(String, usize)>,
    /// The smallest number, the mean and the largest of a regression.
    pub range: Option<(f64, f64, f64)>,
    /// The lengths of the texts.
    pub lengths: Lengths,
    /// Rows without text.
    pub empty: Odd,
    /// Rows without label.
    pub unlabelled: Odd,
    /// Rows whose texts stood there before.
    pub repeated: Odd,
    /// Those of them with another label than before.
    pub contradicted: Odd,
    /// Rows whose texts are in the other file too.
    pub shared: Odd,
    /// The texts, by their hashes, with the hash of the label of the first.
    #[serde(skip)]
    texts: HashMap<u64, u64>,
}

impl Odd {
    fn add(&mut self, line: usize) {
        self.rows += 1;
        if self.lines.len() < NAMED {
            self.lines.push(line);
        }
    }
}

/// The columns of the file `path`.
///
/// # Errors
/// It cannot be read.
pub fn columns(path: &Path) -> Result<Vec<Column>> {
    let mut table = Table::open(path)?;
    let names = table.header().names().to_vec();
    let places: Vec<usize> = (0..names.len()).filter(|place| table.is_plain(*place)).collect();
    table.choose(places.clone())?;
    // Only of those that are used every line must have one.
    table.may_lack();
    let mut cells: Vec<Vec<Value>> = vec![Vec::new(); places.len()];
    for _ in 0..LOOKED_AT {
        let Some(record) = table.next_record()? else { break };
        cells.iter_mut().zip(record.values).for_each(|(column, value)| column.push(value));
    }
    let mut columns: Vec<Column> = names
        .into_iter()
        .map(|name| Column {
            name,
            kind: "lists or groups",
            different: 0,
            empty: 0,
            example: String::new(),
        })
        .collect();
    for (place, values) in places.into_iter().zip(cells) {
        if let Some(column) = columns.get_mut(place) {
            describe(column, &values);
        }
    }
    Ok(columns)
}

fn describe(column: &mut Column, values: &[Value]) {
    let text = |value: &Value| match value {
        Value::Nothing => String::new(),
        Value::Text(text) => text.trim().to_owned(),
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Other(word) => (*word).to_owned(),
    };
    let texts: Vec<String> = values.iter().map(text).collect();
    let filled = || texts.iter().zip(values).filter(|(text, _)| !text.is_empty());
    column.empty = texts.iter().filter(|text| text.is_empty()).count();
    let mut different: Vec<&String> = texts.iter().collect();
    different.sort_unstable();
    different.dedup();
    column.different = different.len();
    let all =
        |is: &dyn Fn(&Value) -> bool| filled().next().is_some() && filled().all(|(_, v)| is(v));
    let whole = |value: &Value| number(value).is_some_and(|number| number.fract() == 0.0);
    column.kind = match () {
        () if filled().next().is_none() => "nothing",
        () if all(&whole) => "whole numbers",
        () if all(&|value| number(value).is_some()) => "numbers",
        () if all(&|value| matches!(value, Value::Bool(_))) => "true or false",
        () if all(&|value| matches!(value, Value::Other(_))) => "lists or groups",
        () => "text",
    };
    let first = filled().next().map_or("", |(text, _)| text.as_str());
    let mut example: String =
        first.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if first.chars().count() > SHOWN {
        example.push_str("...");
    }
    column.example = example;
}

impl Overview {
    /// What the file `path` holds in `columns`; `lengths` gives the lengths of some texts in `unit`.
    /// Rows that cannot be learnt from are counted, not refused.
    ///
    /// # Errors
    /// The file cannot be read, lacks a column, or a row is malformed.
    pub fn of(
        path: &Path,
        columns: Columns<'_>,
        unit: &'static str,
        lengths: &mut dyn FnMut(&[Example]) -> Result<Vec<usize>>,
    ) -> Result<Self> {
        const WINDOW: usize = 1024;
        let mut examples = Examples::new(Table::open(path)?, columns)?;
        let mut overview = Self::empty();
        let (mut labels, mut numbers, mut all) = (Labels::default(), Vec::new(), Vec::new());
        loop {
            let mut window = Vec::with_capacity(WINDOW);
            while window.len() < WINDOW {
                let Some(example) = examples.next_example()? else { break };
                window.push(example);
            }
            if window.is_empty() {
                break;
            }
            for example in &window {
                overview.add(example, columns, &mut labels);
                numbers.extend(number(&example.label));
            }
            all.extend(lengths(&window)?);
        }
        if overview.rows == 0 {
            return Err(Error::content(path, None, "at least one row", "none"));
        }
        if columns.label.is_some() {
            overview.settle(&labels, &numbers);
        }
        overview.lengths = Lengths::of(unit, all);
        Ok(overview)
    }

    fn empty() -> Self {
        Self {
            rows: 0,
            target: None,
            labels: Vec::new(),
            range: None,
            lengths: Lengths::default(),
            empty: Odd::default(),
            unlabelled: Odd::default(),
            repeated: Odd::default(),
            contradicted: Odd::default(),
            shared: Odd::default(),
            texts: HashMap::new(),
        }
    }

    fn add(&mut self, example: &Example, columns: Columns<'_>, labels: &mut Labels) {
        self.rows += 1;
        let text = example.text_a.as_deref().unwrap_or_default();
        if text.trim().is_empty() {
            self.empty.add(example.line);
        }
        if columns.label.is_some() && labels.add(&example.label, example.line).is_err() {
            self.unlabelled.add(example.line);
        }
        let label = class_name(&example.label);
        let label = hash(&label.unwrap_or_else(|_| format!("{:?}", example.label)));
        match self.texts.get(&texts(example)) {
            Some(first) => {
                self.repeated.add(example.line);
                if *first != label && columns.label.is_some() {
                    self.contradicted.add(example.line);
                }
            }
            None => {
                self.texts.insert(texts(example), label);
            }
        }
    }

    /// What is to be learnt from the labels.
    fn settle(&mut self, labels: &Labels, numbers: &[f64]) {
        let classes = labels.classes().into_iter();
        match labels.target() {
            Ok(Target::Number) => {
                let smallest = numbers.iter().copied().fold(f64::INFINITY, f64::min);
                let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
                self.range = Some((smallest, mean, largest));
                self.target = Some("numbers".to_owned());
            }
            Ok(Target::Classes(_)) => {
                self.labels = classes.map(|(name, rows)| (name.to_owned(), rows)).collect();
                self.target = Some("classes".to_owned());
            }
            Err(((expected, found), _)) => {
                self.target = Some(format!("expected {expected}, found {found}"));
            }
        }
    }

    /// Counts the rows of the file `path` whose texts this one has too.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn share_with(&self, other: &mut Self, path: &Path, columns: Columns<'_>) -> Result<()> {
        let columns = Columns { label: None, ..columns };
        let mut examples = Examples::new(Table::open(path)?, columns)?;
        while let Some(example) = examples.next_example()? {
            if self.texts.contains_key(&texts(&example)) {
                other.shared.add(example.line);
            }
        }
        Ok(())
    }
}

/// The hash of a row's texts.
fn texts(example: &Example) -> u64 {
    hash(&(&example.text_a, &example.text_b))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The words of a row's texts, for want of a tokenizer.
#[must_use]
pub fn words(examples: &[Example]) -> Vec<usize> {
    let count =
        |text: &Option<String>| text.as_deref().unwrap_or_default().split_whitespace().count();
    examples.iter().map(|example| count(&example.text_a) + count(&example.text_b)).collect()
}

impl Lengths {
    /// Of texts of these lengths.
    fn of(unit: &'static str, mut all: Vec<usize>) -> Self {
        all.sort_unstable();
        let at = |share: f64| {
            let place = (share * all.len() as f64).ceil() as usize;
            all.get(place.saturating_sub(1)).copied().unwrap_or(0)
        };
        let longest = all.last().copied().unwrap_or(0);
        // Classes of a width that one can count in: 1, 2, 5, 10, 20, ...
        let steps = (0..20).flat_map(|tens| [1, 2, 5].map(|unit| unit * 10usize.pow(tens.min(15))));
        let fits = |width: &usize| longest.div_ceil(*width) <= BARS;
        let width = steps.into_iter().find(fits).unwrap_or(longest.max(1));
        let bars = longest.div_ceil(width).max(1);
        let end = |bar: usize| (bar + 1) * width;
        let up_to = |length: usize| all.partition_point(|other| *other <= length);
        let before = |bar: usize| if bar == 0 { 0 } else { up_to(bar * width) };
        let histogram = (0..bars).map(|bar| (end(bar), up_to(end(bar)) - before(bar))).collect();
        Self {
            unit,
            shortest: all.first().copied().unwrap_or(0),
            median: at(0.5),
            most: at(0.95),
            longest,
            histogram,
        }
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
