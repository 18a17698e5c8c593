//! The stack machine's instructions on containers, names and objects.

use std::io::Read;

use super::globals::{Global, resolve};
use super::graph::{Id, Node, Rebuilt, Storage};
use super::machine::{MAX_DEPTH, MAX_NODES, Machine};
use super::refusal::printable;
use crate::error::{Error, Result};

pub(super) const SAVE_WEIGHTS: &str =
    "in Python, save its weights alone: torch.save(model.state_dict(), FILE)";

/// Where the classes of whole models stand, and what a file of one is.
const WHOLE_MODELS: [(&str, &str); 6] = [
    ("transformers.models.", "a whole model"),
    ("transformers.modeling_", "a whole model"),
    ("pytorch_transformers.", "a whole model"),
    ("pytorch_pretrained_bert.", "a whole model"),
    ("torch.nn.modules.", "a whole model"),
    ("__torch__", "a TorchScript program"),
];

impl<R: Read> Machine<'_, R> {
    pub(super) fn put<const N: usize>(&mut self) -> Result<()> {
        let index = self.length::<N>()?;
        self.memoize(index)
    }

    pub(super) fn memoize(&mut self, index: u64) -> Result<()> {
        let top = self.stack.last().copied().ok_or_else(|| self.operand("an empty stack"))?;
        if self.memo.len() >= MAX_NODES {
            return Err(self.refuse(format!("a pickle of at most {MAX_NODES} values"), "more"));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    pub(super) fn fetch<const N: usize>(&mut self) -> Result<()> {
        let index = self.length::<N>()?;
        let id = self.memo.get(&index).copied();
        self.stack.push(id.ok_or_else(|| self.operand("a reference to a value not yet seen"))?);
        Ok(())
    }

    pub(super) fn tuple(&mut self, items: Vec<Id>) -> Result<()> {
        let depth = self.depth_above(&items)?;
        self.push(Node::Tuple(items))?;
        if let Some(last) = self.pickle.depths.last_mut() {
            *last = depth;
        }
        Ok(())
    }

    pub(super) fn last(&mut self, count: usize) -> Result<()> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.tuple(items)
    }

    /// How deep a container of `items` is nested.
    fn depth_above(&self, items: &[Id]) -> Result<u16> {
        let depths = items.iter().filter_map(|id| self.pickle.depths.get(id.0));
        match depths.max().map_or(0, |deepest| deepest + 1) {
            depth if depth > MAX_DEPTH => Err(self.too_deep()),
            depth => Ok(depth),
        }
    }

    /// The value on top of the stack, to be added to; the value stays there.
    fn container(&mut self, items: &[Id]) -> Result<&mut Node> {
        let depth = self.depth_above(items)?;
        let id = self.pop()?;
        self.stack.push(id);
        if let Some(known) = self.pickle.depths.get_mut(id.0) {
            *known = depth.max(*known);
        }
        let empty = self.operand("an empty stack");
        self.pickle.nodes.get_mut(id.0).ok_or(empty)
    }

    pub(super) fn append(&mut self, added: &[Id]) -> Result<()> {
        let found = match self.container(added)? {
            Node::List(items) => {
                items.extend(added);
                return Ok(());
            }
            Node::Opaque => return Ok(()),
            other => other.kind(),
        };
        Err(self.operand(format!("items of {found}")))
    }

    pub(super) fn set_items(&mut self, added: &[Id]) -> Result<()> {
        let (added, rest) = added.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.operand("a key without a value"));
        }
        let found = match self.container(added.as_flattened())? {
            Node::Dict(pairs) => {
                pairs.extend(added.iter().map(|[key, value]| (*key, *value)));
                return Ok(());
            }
            Node::Opaque => return Ok(()),
            other => other.kind(),
        };
        Err(self.operand(format!("keys of {found}")))
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let global = resolve(module, name).ok_or_else(|| {
            let found = printable(&format!("{module}.{name}"));
            if let Some((_, what)) =
                WHOLE_MODELS.iter().find(|(start, _)| module.starts_with(start))
            {
                let found = format!("{what} ({found})");
                return Error::content(self.path, None, "a dict of tensors", found)
                    .hint(SAVE_WEIGHTS);
            }
            Error::content(
                self.path,
                None,
                "only tensors and plain values",
                format!("the pickle global {found}"),
            )
            .hint(
                "loading this file in Python may run code; save the state_dict alone with torch.save, or get \
                 the checkpoint from a source you trust",
            )
        })?;
        self.push(Node::Global(global))
    }

    pub(super) fn stack_global(&mut self) -> Result<()> {
        let name = self.pop()?;
        let module = self.pop()?;
        let names = self.pickle.text(module).zip(self.pickle.text(name));
        // The longest name of the list has some thirty bytes: a longer one is refused all the same.
        let short = |text: &str| text.chars().take(1000).collect::<String>();
        let names = names.map(|(module, name)| (short(module), short(name)));
        let (module, name) = names.ok_or_else(|| self.operand("a name that is no text"))?;
        self.global(&module, &name)
    }

    fn pop_call(&mut self) -> Result<(Global, Vec<Id>)> {
        let arguments = self.pop()?;
        let called = self.pop()?;
        let Node::Global(global) = self.pickle.get(called) else {
            let found = format!("a call of {}", self.pickle.get(called).kind());
            return Err(self.operand(found));
        };
        let Node::Tuple(arguments) = self.pickle.get(arguments) else {
            return Err(self.operand("a call without a tuple of arguments"));
        };
        // No allowed function needs more than the first four.
        Ok((*global, arguments.iter().take(4).copied().collect()))
    }

    pub(super) fn reduce(&mut self) -> Result<()> {
        let (global, arguments) = self.pop_call()?;
        match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push(Node::Dict(Vec::new())),
            (Global::OrderedDict, [pairs]) => self.ordered_dict(*pairs),
            (Global::Tensor, &[storage, offset, shape, strides]) => {
                if !matches!(self.pickle.get(storage), Node::Storage(_)) {
                    return Err(self.operand("a tensor without a storage"));
                }
                self.push(Node::Tensor(Box::new(Rebuilt { storage, offset, shape, strides })))
            }
            (Global::Parameter, [tensor, ..]) => {
                if !matches!(self.pickle.get(*tensor), Node::Tensor(_)) {
                    return Err(self.operand("a parameter without a tensor"));
                }
                self.stack.push(*tensor);
                Ok(())
            }
            (Global::Inert, _) => self.push(Node::Opaque),
            (global, _) => Err(self.operand(format!("a call of {global:?} with other arguments"))),
        }
    }

    /// Python 2 hands the pairs over as an argument, as a list of lists.
    fn ordered_dict(&mut self, pairs: Id) -> Result<()> {
        let wrong = || self.operand("an OrderedDict of no pairs");
        let lists = self.pickle.items(pairs).ok_or_else(wrong)?;
        let copied = self.copied + lists.len();
        if copied > MAX_NODES {
            return Err(self.refuse(format!("a pickle of at most {MAX_NODES} values"), "more"));
        }
        let mut items = Vec::with_capacity(2 * lists.len());
        for pair in lists {
            match self.pickle.items(*pair) {
                Some(pair @ [_, _]) => items.extend(pair),
                _ => return Err(wrong()),
            }
        }
        self.copied = copied;
        self.push(Node::Dict(Vec::new()))?;
        self.set_items(&items)
    }

    pub(super) fn new_object(&mut self) -> Result<()> {
        match self.pop_call()? {
            (Global::OrderedDict, arguments) if arguments.is_empty() => {
                self.push(Node::Dict(Vec::new()))
            }
            (Global::Inert, _) => self.push(Node::Opaque),
            (global, _) => Err(self.operand(format!("an object of {global:?}"))),
        }
    }

    /// An object's attributes, such as `_metadata` of a state dict: nothing needs them.
    pub(super) fn build(&mut self) -> Result<()> {
        let _ = self.pop()?;
        let found = match self.container(&[])? {
            Node::Dict(_) | Node::Opaque => return Ok(()),
            other => other.kind(),
        };
        Err(self.operand(format!("attributes of {found}")))
    }

    /// A storage: `("storage", type, key, device, count)`, in the older format with a sixth item.
    pub(super) fn persistent(&mut self) -> Result<()> {
        let described = self.pop()?;
        let storage = self.storage(described);
        let storage = storage.ok_or_else(|| self.operand("a storage described otherwise"))?;
        self.push(Node::Storage(Box::new(storage)))
    }

    fn storage(&self, described: Id) -> Option<Storage> {
        let pickle = &self.pickle;
        let (&[tag, element, key, _device, count], rest) =
            pickle.items(described)?.split_first_chunk::<5>()?;
        let Node::Global(Global::Storage(element)) = pickle.get(element) else { return None };
        let view = match rest {
            [] => None,
            [view] if matches!(pickle.get(*view), Node::None) => None,
            [view] => {
                let [_, offset, count] = pickle.items(*view)? else { return None };
                Some((pickle.size(*offset)?, pickle.size(*count)?))
            }
            _ => return None,
        };
        let known = pickle.text(tag)? == "storage" && pickle.text(key).is_some();
        known.then_some(Storage { element: *element, key, count: pickle.size(count)?, view })
    }
}
