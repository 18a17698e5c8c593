//! A checkpoint's `config` as JSON.

use std::path::Path;

use serde_json::{Map, Number, Value};

use super::graph::{Id, Node, Pickle};
use super::refusal::damaged;
use crate::error::Result;

/// The deepest JSON that serde_json reads back.
const MAX_DEPTH: usize = 127;

/// Most values and bytes of text: shared values are repeated in JSON, so that a short pickle could
/// otherwise grow without bound.
const MAX_SIZE: usize = 1 << 20;

/// The dict `id` as a JSON object; none when it is no dict.
pub(super) fn to_json(pickle: &Pickle, id: Id, path: &Path) -> Result<Option<Value>> {
    let value = Converter { pickle, path, left: MAX_SIZE }.value(id, 0)?;
    Ok(Some(value).filter(Value::is_object))
}

struct Converter<'a> {
    pickle: &'a Pickle,
    path: &'a Path,
    left: usize,
}

impl Converter<'_> {
    fn charge(&mut self, size: usize) -> Result<()> {
        self.left = self.left.checked_sub(size).ok_or_else(|| {
            damaged(self.path, format!("a config of at most {MAX_SIZE} values and bytes"), "more")
        })?;
        Ok(())
    }

    fn value(&mut self, id: Id, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            let expected = format!("a config nested at most {MAX_DEPTH} deep");
            return Err(damaged(self.path, expected, "one that goes deeper or contains itself"));
        }
        self.charge(1)?;
        Ok(match self.pickle.get(id) {
            Node::None
            | Node::Bytes
            | Node::Global(_)
            | Node::Storage(_)
            | Node::Tensor(_)
            | Node::Opaque => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Integer(value) => Value::Number(Number::from_i128(*value).ok_or_else(|| {
                damaged(self.path, "integers in config of at most 64 bits", value)
            })?),
            Node::Float(value) => Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Node::Text(text) => {
                self.charge(text.len())?;
                Value::String(text.clone())
            }
            Node::List(items) | Node::Tuple(items) => {
                let values = items.iter().map(|item| self.value(*item, depth + 1));
                Value::Array(values.collect::<Result<_>>()?)
            }
            Node::Dict(pairs) => {
                let mut object = Map::new();
                for (key, value) in pairs {
                    let value = self.value(*value, depth + 1)?;
                    if let Some(key) = self.key(*key)? {
                        object.insert(key, value);
                    }
                }
                Value::Object(object)
            }
        })
    }

    /// JSON's keys are texts: others are spelled as Python's `json.dumps` spells them, and what it
    /// refuses has no place in the object.
    fn key(&mut self, id: Id) -> Result<Option<String>> {
        Ok(Some(match self.pickle.get(id) {
            Node::Text(text) => {
                self.charge(text.len())?;
                text.clone()
            }
            Node::Integer(value) => value.to_string(),
            Node::Float(value) => value.to_string(),
            Node::Bool(value) => value.to_string(),
            Node::None => "null".to_string(),
            _ => return Ok(None),
        }))
    }
}
