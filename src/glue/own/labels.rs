//! What is to be learnt, found out from the labels of the training rows.

use std::collections::BTreeMap;

use super::examples::in_words;
use super::table::Value;

/// The most classes there may be.
pub(crate) const MOST_CLASSES: usize = 10_000;
/// So few classes are never too many for their rows.
const FEW_CLASSES: usize = 20;
/// The longest name of a class, in characters.
const LONGEST: usize = 200;

/// What is to be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A class; its number is its place here. Whole numbers are in their order, all others in that of
    /// their bytes.
    Classes(Vec<String>),
    /// A number.
    Number,
}

/// How often each label occurs.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// By name: the number of rows, and the line of the first.
    counts: BTreeMap<String, (usize, usize)>,
    /// Rows that have a label.
    rows: usize,
    /// Those whose label is a number, and those whose number has a fraction.
    numbers: usize,
    fractions: usize,
    /// Classes beyond the most, which have no count.
    is_full: bool,
}

/// What was expected of a label, and what was found.
pub type Mismatch = (String, String);

impl Labels {
    /// Counts the label of a row.
    ///
    /// # Errors
    /// It is none.
    pub fn add(&mut self, label: &Value, line: usize) -> Result<(), Mismatch> {
        let name = class_name(label)?;
        self.rows += 1;
        let number = number(label).filter(|_| !is_code(label));
        self.numbers += usize::from(number.is_some());
        self.fractions += usize::from(number.is_some_and(|number| number.fract() != 0.0));
        if let Some((rows, _)) = self.counts.get_mut(&name) {
            *rows += 1;
        } else if self.counts.len() <= MOST_CLASSES {
            self.counts.insert(name, (1, line));
        } else {
            self.is_full = true;
        }
        Ok(())
    }

    /// Rows that have a label.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The names of the classes, in their order, with their rows.
    #[must_use]
    pub fn classes(&self) -> Vec<(&str, usize)> {
        let mut classes: Vec<_> =
            self.counts.iter().map(|(name, (rows, _))| (name.as_str(), *rows)).collect();
        let whole = |name: &str| name.parse::<i64>().ok();
        if classes.iter().all(|(name, _)| whole(name).is_some()) {
            classes.sort_by_key(|(name, _)| whole(name));
        }
        classes
    }

    /// Whether the labels are numbers of which one at least has a fraction.
    #[must_use]
    pub const fn are_measures(&self) -> bool {
        self.numbers == self.rows && self.fractions > 0
    }

    /// What is to be learnt.
    ///
    /// # Errors
    /// There is only one class, or there are as many as there can hardly be; what was expected, what
    /// was found, and a remedy.
    pub fn target(&self) -> Result<Target, (Mismatch, &'static str)> {
        if self.are_measures() {
            return Ok(Target::Number);
        }
        let classes = self.classes();
        let count = classes.len();
        if let [(name, rows)] = classes.as_slice() {
            let found = format!("only {name:?}, in all {rows} rows");
            let remedy = "there is nothing to tell apart: --label names the column of the labels";
            return Err((("at least two labels".to_owned(), found), remedy));
        }
        if self.is_full || count > MOST_CLASSES || (count > FEW_CLASSES && 2 * count > self.rows) {
            let found = match self.is_full || count > MOST_CLASSES {
                true => format!("more than {MOST_CLASSES}"),
                false => format!("{count} of them in {} rows", self.rows),
            };
            let remedy = match self.numbers == self.rows {
                true => "--regression learns numbers as numbers; --label names the column",
                false => "--label names the column of the labels",
            };
            return Err((("labels that occur more often".to_owned(), found), remedy));
        }
        Ok(Target::Classes(classes.into_iter().map(|(name, _)| name.to_owned()).collect()))
    }
}

/// The name of the class that `label` stands for: the same for 1, 1.0 and "1".
///
/// # Errors
/// It stands for none.
pub fn class_name(label: &Value) -> Result<String, Mismatch> {
    let name = match label {
        Value::Text(text) => {
            let text = text.trim();
            match text.split_once('.') {
                Some((whole, zeros))
                    if is_whole(whole) && !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') =>
                {
                    whole.to_owned()
                }
                _ => text.to_owned(),
            }
        }
        Value::Whole(number) => number.to_string(),
        Value::Number(number) if number.is_finite() => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Nothing | Value::Number(_) | Value::Other(_) => {
            return Err(("a label".to_owned(), in_words(label)));
        }
    };
    if name.is_empty() {
        return Err(("a label".to_owned(), "an empty one".to_owned()));
    }
    if name.contains(char::is_control) || name.chars().count() > LONGEST {
        let expected = format!("a label of at most {LONGEST} characters on one line");
        return Err((expected, format!("{name:?}")));
    }
    Ok(name)
}

/// The number that `label` is.
#[must_use]
pub fn number(label: &Value) -> Option<f64> {
    let number = match label {
        Value::Text(text) => text.trim().parse().ok()?,
        Value::Whole(number) => *number as f64,
        Value::Number(number) => *number,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The number that a regression learns.
///
/// # Errors
/// It is none, or beyond single precision.
pub fn score(label: &Value) -> Result<f32, Mismatch> {
    let score = number(label).map(|number| number as f32).filter(|score| score.is_finite());
    score.ok_or_else(|| ("a number".to_owned(), in_words(label)))
}

/// Whether a text of digits begins with one that a number would not begin with.
fn is_code(label: &Value) -> bool {
    let Value::Text(text) = label else { return false };
    let digits = text.trim().trim_start_matches('-').as_bytes();
    matches!(digits, [b'0', b'0'..=b'9', ..])
}

/// Whether `text` is a whole number as it is written.
fn is_whole(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[&str]) -> Labels {
        let mut labels = Labels::default();
        for (line, value) in (2..).zip(values) {
            labels.add(&Value::Text((*value).to_owned()), line).unwrap();
        }
        labels
    }

    fn target(values: &[&str]) -> Target {
        labels(values).target().unwrap()
    }

    fn classes(names: &[&str]) -> Target {
        Target::Classes(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn whole_numbers_are_classes_in_their_order_and_names_by_their_bytes() {
        assert_eq!(target(&["10", "9", "-1", "10"]), classes(&["-1", "9", "10"]));
        assert_eq!(target(&["b", "a", "B", "b"]), classes(&["B", "a", "b"]));
        assert_eq!(target(&["10", "9", "x"]), classes(&["10", "9", "x"]));
        assert_eq!(target(&["True", "False"]), classes(&["False", "True"]));
        assert_eq!(target(&["1.0", "0.0", "1"]), classes(&["0", "1"]));
        // Codes are names: 01 is not 1.
        assert_eq!(target(&["01", "1", "1.5"]), classes(&["01", "1", "1.5"]));
    }

    #[test]
    fn numbers_with_a_fraction_are_learnt_as_numbers() {
        assert_eq!(target(&["1", "2.5", "1e3"]), Target::Number);
        assert_eq!(target(&["1", "2.5", "x"]), classes(&["1", "2.5", "x"]));
        assert_eq!(target(&["nan", "2.5"]), classes(&["2.5", "nan"]));
    }

    #[test]
    fn values_of_other_types_have_the_same_names() {
        for (value, name) in [
            (Value::Whole(1), "1"),
            (Value::Number(1.0), "1"),
            (Value::Text(" 1.0".into()), "1"),
            (Value::Number(0.5), "0.5"),
            (Value::Bool(true), "true"),
        ] {
            assert_eq!(class_name(&value).unwrap(), name, "{value:?}");
        }
        for value in [
            Value::Nothing,
            Value::Number(f64::NAN),
            Value::Other("a list"),
            Value::Text(" ".into()),
            Value::Text("a\tb".into()),
            Value::Text("x".repeat(201)),
        ] {
            assert!(class_name(&value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn one_class_and_a_class_for_each_row_are_refused() {
        let refused = |values: &[&str]| labels(values).target().unwrap_err();
        assert_eq!(refused(&["a", "a"]).0.1, "only \"a\", in all 2 rows");
        let numbers: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let (mismatch, remedy) = refused(&numbers);
        assert_eq!(mismatch.1, "30 of them in 30 rows");
        assert!(remedy.starts_with("--regression"));
        assert!(labels(&numbers.repeat(2)).target().is_ok());
        assert!(labels(&numbers[..20]).target().is_ok());
    }

    #[test]
    fn a_score_is_a_number_of_single_precision() {
        assert_eq!(score(&Value::Text(" 2.5 ".into())), Ok(2.5));
        for text in ["", "x", "nan", "inf", "1e39"] {
            assert!(score(&Value::Text(text.into())).is_err(), "{text}");
        }
    }
}
