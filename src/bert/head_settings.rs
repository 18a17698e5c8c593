//! What a `config.json` says of a classifier's head, read in this one place, with the meaning that
//! transformers 5 gives it.
//!
//! | key | meaning |
//! |---|---|
//! | `id2label` | the outputs' names by their numbers; without it, LABEL_0 and so on |
//! | `num_labels` | the number of outputs; a differing `id2label` is then void |
//! | `label2id` | names no output, but tells the order where `id2label` does not |
//! | `problem_type` | what the outputs mean; without it, one is a value, and several are classes |
//! | `classifier_dropout` | dropout before the last layer; without it, `hidden_dropout_prob` |
//!
//! One thing is ours: where the configuration is silent about labels, the weights tell their number,
//! where transformers takes 2.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The dropout rate that transformers takes where a configuration names none.
pub const DROPOUT: f64 = 0.1;

/// What the outputs of a head mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The only output is the predicted value.
    Regression,
    /// The outputs are scores of classes, one of which is right.
    Classes,
    /// Each output is the score of a label that holds or not, whatever the others do.
    Labels,
}

impl Problem {
    const ALL: [Self; 3] = [Self::Regression, Self::Classes, Self::Labels];

    /// As `problem_type` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::Classes => "single_label_classification",
            Self::Labels => "multi_label_classification",
        }
    }
}

/// The settings of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSettings {
    /// The outputs' names, in their order.
    pub labels: Vec<String>,
    /// What the outputs mean.
    pub problem: Problem,
    /// Dropout before the last layer, in [0, 1].
    pub dropout: f64,
    /// Whether the configuration gives `labels`.
    stated: bool,
    /// The outputs' names in their order as `label2id` has them, where it names them all.
    by_label: Option<Vec<String>>,
    /// Where they stand.
    file: PathBuf,
}

impl HeadSettings {
    /// The settings of a head with these outputs. Without `labels` it is a regression.
    pub fn new(labels: &[&str], dropout: f64) -> Self {
        let problem = if labels.is_empty() { Problem::Regression } else { Problem::Classes };
        let labels = match labels {
            [] => numbered(1),
            _ => labels.iter().map(ToString::to_string).collect(),
        };
        Self { labels, problem, dropout, stated: false, by_label: None, file: PathBuf::new() }
    }

    /// What the configuration `json`, which stands in `file`, says of a head whose weights have so
    /// many `outputs`.
    ///
    /// # Errors
    /// It says something that transformers refuses, that contradicts the weights, or that this
    /// program does not compute.
    pub fn read(json: &Value, file: &Path, outputs: usize) -> Result<Self> {
        let refuse = |expected: String, found: String| Error::content(file, None, expected, found);
        // The default of transformers for two says nothing: the original program saves it with
        // heads of any size.
        let given =
            labels(json, file)?.filter(|given| given.len() == outputs || *given != numbered(2));
        let stated = given.is_some();
        let labels = given.unwrap_or_else(|| numbered(outputs));
        if labels.len() != outputs {
            let expected = format!("labels of the {outputs} outputs that the weights have");
            return Err(refuse(expected, listed(&labels))
                .hint("id2label or num_labels belongs to other weights"));
        }
        if let Some(label) = labels.iter().find(|label| label.contains(char::is_control)) {
            // They stand in tables.
            return Err(refuse("labels of one line".into(), format!("{label:?}")));
        }
        let problem = match json.get("problem_type").filter(|problem| !problem.is_null()) {
            None if outputs == 1 => Problem::Regression,
            None => Problem::Classes,
            Some(named) => {
                let known = Problem::ALL.into_iter().find(|known| named == known.name());
                known.ok_or_else(|| {
                    let names = Problem::ALL.map(Problem::name).join(", ");
                    refuse(format!("problem_type {names} or none"), named.to_string())
                })?
            }
        };
        match problem {
            Problem::Regression if outputs > 1 => {
                let found = format!("{outputs} outputs");
                return Err(refuse("one output of a regression".into(), found)
                    .hint("predictions of several values are not supported"));
            }
            Problem::Classes if outputs == 1 => {
                let expected = format!("at least two outputs of a {}", problem.name());
                return Err(refuse(expected, "1".into())
                    .hint("if the output is a value, write problem_type \"regression\""));
            }
            _ => {}
        }
        let dropout = rate(json, "classifier_dropout", file)?;
        let dropout = match dropout {
            Some(dropout) => dropout,
            None => rate(json, "hidden_dropout_prob", file)?.unwrap_or(DROPOUT),
        };
        let by_label = by_label(json, outputs);
        Ok(Self { labels, problem, dropout, stated, by_label, file: file.to_path_buf() })
    }

    /// The outputs in the order of a task's `classes`, each given with all names that it goes by;
    /// none for a task of values. They are matched by these names, whatever their case; outputs
    /// called LABEL_0 or 0 and so on have a number for a name, that of the class.
    ///
    /// # Errors
    /// The head does not answer this task, or has other classes; the error tells both orders.
    pub fn order(&self, task: &str, classes: &[Vec<&str>]) -> Result<Vec<usize>> {
        let problem = if classes.is_empty() { Problem::Regression } else { Problem::Classes };
        let refuse = |expected: String, found: String| {
            Err(Error::content(&self.file, None, expected, found))
        };
        if self.problem != problem {
            let expected = format!("a head of a {}, as {task} needs", problem.name());
            return refuse(expected, self.problem.name().to_string());
        }
        if problem == Problem::Regression {
            return Ok(vec![0]);
        }
        let names: Vec<&str> = classes.iter().filter_map(|names| names.first().copied()).collect();
        let expected = format!("labels of {task}: {}", names.join(", "));
        let labels = match &self.by_label {
            Some(other) if says_nothing(&self.labels) => other,
            Some(other) if !says_nothing(other) && !alike(other, &self.labels) => {
                let found =
                    format!("{} in id2label, {} in label2id", listed(&self.labels), listed(other));
                return refuse(expected, found);
            }
            _ => &self.labels,
        };
        // Labels of one's own may differ in nothing but their case.
        let place = |names: &Vec<&str>| {
            let exact = labels.iter().position(|label| names.contains(&label.as_str()));
            let alike = |label: &String| names.iter().any(|name| same(name, label));
            exact.or_else(|| labels.iter().position(alike))
        };
        let by_name: Option<Vec<usize>> = classes.iter().map(place).collect();
        let is_one_to_one =
            |order: &Vec<usize>| order.iter().collect::<BTreeSet<_>>().len() == order.len();
        let by_name = by_name.filter(is_one_to_one);
        // Of classes that are numbers themselves, a number is a name.
        let is_place = |label: &String| prefixed(label).is_some();
        let are_numbers = classes.iter().flatten().any(|name| name.parse::<i64>().is_ok());
        let by_number = || {
            let numbers =
                numbers(labels).filter(|_| !are_numbers || labels.iter().all(is_place))?;
            (0..labels.len()).map(|class| numbers.iter().position(|n| *n == class)).collect()
        };
        match by_name.or_else(by_number) {
            Some(order) if labels.len() == classes.len() => Ok(order),
            _ => Err(Error::content(&self.file, None, expected, listed(labels)).hint(
                "give id2label the task's names, in the order of the outputs; LABEL_0, LABEL_1 and \
                 so on stand for the task's own order",
            )),
        }
    }

    /// Writes the outputs' names into a `config.json`, unless they are from there.
    pub fn write_labels(&self, json: &mut Map<String, Value>) {
        if self.stated && json.contains_key("id2label") {
            return;
        }
        let numbered = || self.labels.iter().enumerate();
        let id2label = numbered().map(|(n, name)| (n.to_string(), name.clone().into())).collect();
        let label2id = numbered().map(|(n, name)| (name.clone(), n.into())).collect();
        json.insert("id2label".into(), Value::Object(id2label));
        json.insert("label2id".into(), Value::Object(label2id));
        json.shift_remove("num_labels");
    }

    /// Puts the outputs into another order: the output n becomes what `order[n]` was.
    pub fn reorder(&mut self, order: &[usize]) {
        self.labels = order.iter().filter_map(|n| self.labels.get(*n)).cloned().collect();
        self.by_label = None;
    }
}

/// The labels that a configuration gives to the outputs, unless it says nothing of them.
fn labels(json: &Value, file: &Path) -> Result<Option<Vec<String>>> {
    let refuse = |expected: &str, found: String| Err(Error::content(file, None, expected, found));
    let given = |key: &str| json.get(key).filter(|value| !value.is_null());
    let number = match given("num_labels") {
        None => None,
        Some(number) => match number.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(number) if number <= MOST_OUTPUTS => Some(number),
            _ => {
                let expected = format!("num_labels from 1 to {MOST_OUTPUTS}");
                return refuse(&expected, number.to_string());
            }
        },
    };
    let Some(id2label) = given("id2label") else { return Ok(number.map(numbered)) };
    let Some(id2label) = id2label.as_object() else {
        return refuse("id2label that names outputs by their numbers", id2label.to_string());
    };
    let mut by_number = BTreeMap::new();
    for (id, name) in id2label {
        let name = match name {
            Value::String(name) => name.clone(),
            Value::Number(number) => number.to_string(),
            other => return refuse("names in id2label", other.to_string()),
        };
        let Ok(id) = id.trim().parse::<usize>() else {
            return refuse("numbers of outputs in id2label", format!("{id:?}"));
        };
        by_number.insert(id, name);
    }
    if let Some(number) = number.filter(|number| *number != by_number.len()) {
        return Ok(Some(numbered(number)));
    }
    if by_number.keys().copied().ne(0..by_number.len()) {
        let numbers: Vec<String> = by_number.keys().map(usize::to_string).collect();
        let expected = format!("id2label with the numbers 0 to {}", by_number.len() - 1);
        return refuse(&expected, numbers.join(", "));
    }
    Ok(Some(by_number.into_values().collect()))
}

/// No head comes near it.
const MOST_OUTPUTS: usize = 1 << 20;

/// The reverse of `label2id`, where it names every one of the outputs once.
fn by_label(json: &Value, outputs: usize) -> Option<Vec<String>> {
    let label2id = json.get("label2id")?.as_object()?;
    let mut names = vec![None; outputs];
    for (name, id) in label2id {
        let place = names.get_mut(usize::try_from(id.as_u64()?).ok()?)?;
        if place.replace(name.clone()).is_some() {
            return None;
        }
    }
    names.into_iter().collect()
}

/// A dropout rate, if there is one.
fn rate(json: &Value, key: &str, file: &Path) -> Result<Option<f64>> {
    match json.get(key).filter(|rate| !rate.is_null()) {
        None => Ok(None),
        Some(rate) => match rate.as_f64().filter(|rate| (0.0..=1.0).contains(rate)) {
            Some(rate) => Ok(Some(rate)),
            None => Err(Error::content(file, None, format!("{key} from 0 to 1"), rate)),
        },
    }
}

/// The names that transformers gives to so many outputs.
fn numbered(outputs: usize) -> Vec<String> {
    (0..outputs).map(|n| format!("LABEL_{n}")).collect()
}

/// What follows LABEL_ in a name.
fn prefixed(label: &str) -> Option<&str> {
    let (prefix, number) = label.split_at_checked("LABEL_".len())?;
    prefix.eq_ignore_ascii_case("LABEL_").then_some(number)
}

/// The numbers in the names of outputs that have no others: LABEL_1 and so on, or 1.
fn numbers(labels: &[String]) -> Option<Vec<usize>> {
    let number = |label: &String| prefixed(label).unwrap_or(label).parse().ok();
    labels.iter().map(number).collect()
}

/// Whether the names are those that transformers gives where there are no others.
fn says_nothing(labels: &[String]) -> bool {
    alike(labels, &numbered(labels.len()))
}

/// Whether two names mean the same class.
fn same(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.trim().to_lowercase().replace(['-', ' '], "_");
    plain(one) == plain(other)
}

fn alike(some: &[String], others: &[String]) -> bool {
    some.iter().zip(others).all(|(one, other)| same(one, other))
}

fn listed(labels: &[String]) -> String {
    if labels.is_empty() { "none".to_string() } else { labels.join(", ") }
}

#[cfg(test)]
#[path = "head_settings_tests.rs"]
mod tests;
