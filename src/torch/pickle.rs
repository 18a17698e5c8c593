//! Pickles from bytes: the loop over their instructions.

use std::io::Read;
use std::path::Path;

use super::graph::{Node, Pickle};
use super::machine::{MAX_DEPTH, Machine};
use crate::error::Result;

/// Reads one pickle from `source`, which has `available` bytes.
pub(super) fn unpickle(source: &mut impl Read, available: u64, path: &Path) -> Result<Pickle> {
    let mut machine = Machine::new(source, available, path);
    machine.run()?;
    Ok(machine.pickle)
}

impl<R: Read> Machine<'_, R> {
    fn run(&mut self) -> Result<()> {
        let [instruction, protocol] = self.array()?;
        if instruction != 0x80 || !(2..=5).contains(&protocol) {
            return Err(self.refuse("a pickle of protocol 2 to 5", "another start"));
        }
        loop {
            let [instruction] = self.array()?;
            match instruction {
                b'.' => break,
                // A frame is a hint for buffers: what it holds is read as if it were not there.
                0x95 => {
                    let _ = self.length::<8>()?;
                }
                b'(' if self.marks.len() >= usize::from(MAX_DEPTH) => return Err(self.too_deep()),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'N' => self.push(Node::None)?,
                0x88 => self.push(Node::Bool(true))?,
                0x89 => self.push(Node::Bool(false))?,
                b'J' => {
                    let value = i32::from_le_bytes(self.array()?);
                    self.push(Node::Integer(value.into()))?;
                }
                b'K' => {
                    let value = u8::from_le_bytes(self.array()?);
                    self.push(Node::Integer(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.array()?);
                    self.push(Node::Integer(value.into()))?;
                }
                0x8a => self.integer::<1>()?,
                0x8b => self.integer::<4>()?,
                b'G' => {
                    let value = f64::from_be_bytes(self.array()?);
                    self.push(Node::Float(value))?;
                }
                0x8c => self.text::<1>()?,
                b'X' => self.text::<4>()?,
                0x8d => self.text::<8>()?,
                b'U' => self.string::<1>()?,
                b'T' => self.string::<4>()?,
                b'C' => self.bytes::<1>()?,
                b'B' => self.bytes::<4>()?,
                0x8e => self.bytes::<8>()?,
                b'q' => self.put::<1>()?,
                b'r' => self.put::<4>()?,
                0x94 => self.memoize(self.memo.len() as u64)?,
                b'h' => self.fetch::<1>()?,
                b'j' => self.fetch::<4>()?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b']' => self.push(Node::List(Vec::new()))?,
                b')' => self.push(Node::Tuple(Vec::new()))?,
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.tuple(items)?;
                }
                0x85 => self.last(1)?,
                0x86 => self.last(2)?,
                0x87 => self.last(3)?,
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(&module, &name)?;
                }
                0x93 => self.stack_global()?,
                b'R' => self.reduce()?,
                0x81 => self.new_object()?,
                b'b' => self.build()?,
                b'Q' => self.persistent()?,
                other => {
                    let found = format!("{other:#04x} at its byte {}", self.position - 1);
                    return Err(self.refuse("a pickle of the instructions of torch.save", found));
                }
            }
        }
        self.pickle.root = self.pop()?;
        Ok(())
    }
}
