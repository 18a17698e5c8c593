//! What a pickle says, as a graph of inert values.

use super::globals::{Element, Global};

/// A value's place in its pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(pub(super) usize);

/// A value. Containers hold the places of their items: values are shared, and may form cycles.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    /// Bytes that are no text: nothing needs them.
    Bytes,
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<Rebuilt>),
    Opaque,
}

impl Node {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
            Self::Opaque => "an object",
        }
    }
}

/// A storage as the pickle describes it; its bytes lie elsewhere.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) element: Element,
    pub(super) key: Id,
    pub(super) count: usize,
    /// The part that it is of the storage `key`, as offset and count.
    pub(super) view: Option<(usize, usize)>,
}

/// A tensor as the pickle describes it.
#[derive(Debug)]
pub(super) struct Rebuilt {
    pub(super) storage: Id,
    pub(super) offset: Id,
    pub(super) shape: Id,
    pub(super) strides: Id,
}

/// What a pickle says.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) nodes: Vec<Node>,
    /// How deep each value is nested, as far as was known when its items were added.
    pub(super) depths: Vec<u16>,
    pub(super) root: Id,
}

impl Pickle {
    pub(super) fn get(&self, id: Id) -> &Node {
        self.nodes.get(id.0).unwrap_or(&Node::None)
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Node::Integer(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The value of the text `key`: the last one, as in Python.
    pub(super) fn lookup(&self, pairs: &[(Id, Id)], key: &str) -> Option<Id> {
        let is_key = |id: Id| matches!(self.get(id), Node::Text(text) if text == key);
        pairs.iter().rev().find(|(id, _)| is_key(*id)).map(|(_, value)| *value)
    }
}
