//! What may be asked: the form of Hugging Face's API for text classification.

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::glue::task::Task;
use crate::glue::tsv::{Label, Row, as_field};
use crate::infer::answer::Function;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The texts, or pairs of them.
    pub rows: Vec<Row>,
    /// How many of the labels to name.
    pub top_k: Option<usize>,
    /// What makes scores of logits; `None` for what the model's problem needs.
    pub function: Option<Function>,
    /// Whether a text beyond the model's reach is shortened; else it is refused.
    pub truncation: bool,
}

impl Ask {
    /// Reads the body of a request of at most so many texts, for a model of `task` if that is known.
    ///
    /// # Errors
    /// It is no JSON, or asks for what there is not.
    pub fn read(body: &[u8], most: usize, task: Option<&Task>) -> Result<Self, Refusal> {
        let value: Value = serde_json::from_slice(body).map_err(|e| {
            let reason = format!("body: expected a JSON object, found invalid JSON: {e}");
            Refusal::new(StatusCode::BAD_REQUEST, reason)
        })?;
        let Value::Object(mut fields) = value else {
            return Err(Refusal::value("body", "a JSON object with inputs", found(&value)));
        };
        known(&fields, "", &["inputs", "parameters"])?;
        let Some(inputs) = fields.remove("inputs") else {
            let expected = "a text, an object with text and text_pair, or a list of such";
            return Err(Refusal::value("inputs", expected, "none"));
        };
        let rows = rows(inputs, most)?;
        if let Some(task) = task {
            for (n, row) in rows.iter().enumerate() {
                fits(task, row, n)?;
            }
        }
        let ask = Self { rows, top_k: None, function: None, truncation: true };
        match fields.remove("parameters") {
            None | Some(Value::Null) => Ok(ask),
            Some(Value::Object(parameters)) => ask.with(&parameters),
            Some(other) => Err(Refusal::value("parameters", "an object", found(&other))),
        }
    }

    fn with(mut self, parameters: &Map<String, Value>) -> Result<Self, Refusal> {
        known(parameters, "parameters.", &["top_k", "function_to_apply", "truncation"])?;
        let given = |name: &str| parameters.get(name).filter(|value| !value.is_null());
        if let Some(value) = given("top_k") {
            let count = value.as_u64().filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
            let refuse = || Refusal::value("parameters.top_k", "a number from 1", found(value));
            self.top_k = Some(count.ok_or_else(refuse)?);
        }
        if let Some(value) = given("function_to_apply") {
            self.function = Some(match value.as_str() {
                Some("softmax") => Function::Softmax,
                Some("sigmoid") => Function::Sigmoid,
                Some("none") => Function::None,
                _ => {
                    let name = "parameters.function_to_apply";
                    return Err(Refusal::value(name, "softmax, sigmoid or none", found(value)));
                }
            });
        }
        if let Some(value) = given("truncation") {
            self.truncation = match (value, value.as_str()) {
                (Value::Bool(wanted), _) => *wanted,
                (_, Some("longest_first")) => true,
                (_, Some("do_not_truncate")) => false,
                _ => {
                    let expected = "true, false, longest_first or do_not_truncate";
                    return Err(Refusal::value("parameters.truncation", expected, found(value)));
                }
            };
        }
        Ok(self)
    }
}

/// Refuses fields that nobody would look at.
fn known(fields: &Map<String, Value>, around: &str, names: &[&str]) -> Result<(), Refusal> {
    match fields.keys().find(|field| !names.contains(&field.as_str())) {
        None => Ok(()),
        Some(field) => {
            let expected = format!("only {}", names.join(", "));
            Err(Refusal::value(&format!("{around}{field}"), expected, "a field that is not known"))
        }
    }
}

fn rows(inputs: Value, most: usize) -> Result<Vec<Row>, Refusal> {
    let list = match inputs {
        Value::Array(list) => list,
        one => return Ok(vec![row(one, 0, "inputs")?]),
    };
    if list.is_empty() {
        return Err(Refusal::value("inputs", "at least one text", "an empty list"));
    }
    if list.len() > most {
        return Err(Refusal::value("inputs", format!("at most {most} texts"), list.len()));
    }
    let rows = list.into_iter().enumerate();
    rows.map(|(n, value)| row(value, n, &format!("inputs[{n}]"))).collect()
}

/// The row number `n` of a request, called `name`.
fn row(value: Value, n: usize, name: &str) -> Result<Row, Refusal> {
    let (text_a, text_b) = match value {
        Value::String(text) => (text, None),
        Value::Object(mut fields) => {
            known(&fields, &format!("{name}."), &["text", "text_pair"])?;
            let text = fields.remove("text").unwrap_or_default();
            let pair = fields.remove("text_pair").filter(|pair| !pair.is_null());
            let pair = pair.map(|pair| text_in(pair, &format!("{name}.text_pair"))).transpose()?;
            (text_in(text, &format!("{name}.text"))?, pair)
        }
        Value::Array(pair) if name != "inputs" => {
            let [a, b] = <[Value; 2]>::try_from(pair).map_err(|other| {
                Refusal::value(name, "a list of two texts", format!("one of {}", other.len()))
            })?;
            (text_in(a, &format!("{name}[0]"))?, Some(text_in(b, &format!("{name}[1]"))?))
        }
        other => {
            let expected = match name {
                "inputs" => "a text, an object with text and text_pair, or a list of such",
                _ => "a text, an object with text and text_pair, or a list of two texts",
            };
            return Err(Refusal::value(name, expected, found(&other)));
        }
    };
    // On one line each, as those that a model has learnt from.
    let (text_a, text_b) = (as_field(&text_a), text_b.as_deref().map(as_field));
    Ok(Row { uid: n.to_string(), label: Label::Class(0), text_a, text_b })
}

fn text_in(value: Value, name: &str) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(Refusal::value(name, "a text", found(&other))),
    }
}

/// A task has one text or two.
fn fits(task: &Task, row: &Row, n: usize) -> Result<(), Refusal> {
    let (expected, found) = match (task.is_pair(), row.text_b.is_some()) {
        (true, false) => ("text and text_pair", "one text"),
        (false, true) => ("one text", "two texts"),
        _ => return Ok(()),
    };
    let expected = format!("{expected}, for the model is one of {}", task.name);
    Err(Refusal::value(&format!("inputs[{n}]"), expected, found))
}

/// What a value is, in words.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
