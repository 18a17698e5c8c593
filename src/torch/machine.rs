//! The stack machine that a pickle is a program for: its input, its stack and its plain values.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use super::graph::{Id, Node, Pickle};
use super::refusal::{damaged, read_error};
use crate::error::{Error, Result};

/// Most bytes of one pickle: the largest checkpoints need less than 1 MiB beside their tensors.
pub(super) const MAX_PICKLE: u64 = 64 << 20;

/// Most values of one pickle; a checkpoint with its optimizer's state has some ten thousand.
pub(super) const MAX_NODES: usize = 1 << 22;
pub(super) const MAX_DEPTH: u16 = 1000;
/// Bytes of the largest integer: the file format's magic number has 10.
const MAX_INTEGER: usize = 16;

/// A pickle on its way from bytes to values.
pub(super) struct Machine<'a, R> {
    pub(super) path: &'a Path,
    source: &'a mut R,
    left: u64,
    pub(super) position: u64,
    pub(super) pickle: Pickle,
    /// Items copied from one container to another: a few bytes of a pickle can ask for many.
    pub(super) copied: usize,
    pub(super) stack: Vec<Id>,
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u64, Id>,
}

impl<'a, R: Read> Machine<'a, R> {
    pub(super) fn new(source: &'a mut R, available: u64, path: &'a Path) -> Self {
        Self {
            path,
            source,
            left: available.min(MAX_PICKLE),
            position: 0,
            pickle: Pickle { nodes: Vec::new(), depths: Vec::new(), root: Id(0) },
            copied: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    pub(super) fn refuse(&self, expected: impl Display, found: impl Display) -> Error {
        damaged(self.path, expected, found)
    }

    pub(super) fn too_deep(&self) -> Error {
        self.refuse(format!("values nested at most {MAX_DEPTH} deep"), "deeper ones")
    }

    /// Accounts for `count` more bytes, before they are read.
    fn take(&mut self, count: u64) -> Result<()> {
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            let found = format!("{} to its end or largest size", self.left);
            self.refuse(format!("{count} more bytes of the pickle"), found)
        })?;
        self.position += count;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|e| read_error(self.path, e))?;
        Ok(bytes)
    }

    /// An unsigned number of `N` bytes.
    pub(super) fn length<const N: usize>(&mut self) -> Result<u64> {
        let bytes: [u8; N] = self.array()?;
        Ok(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    /// Bytes after their length in `N` bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<Vec<u8>> {
        let length = self.length::<N>()?;
        self.take(length)?;
        // Bounded by `take`: at most a pickle's largest size, and what the file has left.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        self.source.read_exact(&mut bytes).map_err(|e| read_error(self.path, e))?;
        Ok(bytes)
    }

    pub(super) fn line(&mut self) -> Result<String> {
        const LONGEST: usize = 1000;
        let mut line = Vec::new();
        loop {
            match self.array()? {
                [b'\n'] => break,
                [byte] if line.len() < LONGEST => line.push(byte),
                _ => {
                    let expected = format!("a pickle's names of at most {LONGEST} bytes");
                    return Err(self.refuse(expected, "a longer one"));
                }
            }
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    pub(super) fn integer<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.counted::<N>()?;
        if bytes.len() > MAX_INTEGER {
            let expected = format!("integers of at most {MAX_INTEGER} bytes");
            return Err(self.refuse(expected, format!("one of {}", bytes.len())));
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        let value = bytes.iter().rev().fold(start, |value, byte| (value << 8) | i128::from(*byte));
        self.push(Node::Integer(value))
    }

    pub(super) fn text<const N: usize>(&mut self) -> Result<()> {
        let text = String::from_utf8(self.counted::<N>()?)
            .map_err(|e| self.refuse("texts in UTF-8", e.utf8_error()))?;
        self.push(Node::Text(text))
    }

    /// A `str` of Python 2, which may be text or bytes.
    pub(super) fn string<const N: usize>(&mut self) -> Result<()> {
        let bytes = self.counted::<N>()?;
        self.push(String::from_utf8(bytes).map_or(Node::Bytes, Node::Text))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<()> {
        let _ = self.counted::<N>()?;
        self.push(Node::Bytes)
    }

    pub(super) fn push(&mut self, node: Node) -> Result<()> {
        let id = Id(self.pickle.nodes.len());
        if id.0 >= MAX_NODES {
            return Err(self.refuse(format!("a pickle of at most {MAX_NODES} values"), "more"));
        }
        self.pickle.nodes.push(node);
        self.pickle.depths.push(0);
        self.stack.push(id);
        Ok(())
    }

    /// The value on top, above the last mark.
    pub(super) fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = if self.stack.len() > floor { self.stack.pop() } else { None };
        top.ok_or_else(|| self.operand("an empty stack"))
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.operand("a stack without a mark"))?;
        // No mark lies above the stack: `pop` does not go below one.
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// The error of an instruction whose operands are wrong.
    pub(super) fn operand(&self, found: impl Display) -> Error {
        self.refuse("a pickle whose instructions fit its values", found)
    }
}
