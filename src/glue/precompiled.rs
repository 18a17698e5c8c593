//! SentencePiece's normalizer: a table of what letters become. The library looks at every place that
//! the table names, and panics where there is none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// More bytes than any table has.
const MOST_BYTES: usize = 4 << 20;
/// Longer texts, in bytes, no letter becomes: a text would outgrow the memory.
const LONGEST: usize = 64;

/// Checks the table of a normalizer; else what was expected and what was found.
///
/// It begins with the number of bytes of a double array, in four bytes, and that array; texts follow,
/// each ended by a zero byte. A cell of the array says with which offset to find those of the next
/// letters' bytes, and whether letters end there.
pub fn check(part: &Value) -> Result<(), (String, String)> {
    let wrong = |found: &str| ("a precompiled_charsmap of SentencePiece".into(), found.into());
    let text = part.get("precompiled_charsmap").and_then(Value::as_str);
    let text = text.ok_or_else(|| wrong("none"))?;
    if text.len() / 4 * 3 > MOST_BYTES {
        return Err(wrong(&format!("{} letters", text.len())));
    }
    let bytes = STANDARD.decode(text).map_err(|e| wrong(&e.to_string()))?;
    let short = || wrong(&format!("{} bytes, cut short", bytes.len()));
    let (size, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let cells = u32::from_le_bytes(*size) as usize / 4;
    let (array, texts) = rest.split_at_checked(cells * 4).ok_or_else(short)?;
    let texts = str::from_utf8(texts).map_err(|e| wrong(&e.to_string()))?;
    let array: Vec<usize> = array
        .chunks_exact(4)
        .map(|cell| cell.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
        .collect();
    Table { array, texts }.check().map_err(|found| wrong(&found))
}

struct Table<'a> {
    array: Vec<usize>,
    texts: &'a str,
}

impl Table<'_> {
    /// Goes to all places that letters lead to, as the library does.
    fn check(&self) -> Result<(), String> {
        let mut seen = vec![false; self.array.len()];
        let mut to_do = vec![(0, true)];
        while let Some((cell, is_root)) = to_do.pop() {
            let unit = self.array.get(cell).ok_or("an empty table")?;
            let base = cell ^ offset(*unit);
            // The places of all bytes, and of the text that stands for the letters so far.
            if (base | 0xff) >= self.array.len() {
                return Err(format!("a place {base} of {}", self.array.len()));
            }
            if !is_root && unit >> 8 & 1 == 1 {
                let place = self.array.get(base).map_or(0, |leaf| leaf & ((1 << 31) - 1));
                let text = self.texts.get(place..).ok_or(format!("a text at {place}"))?;
                let length = text.find('\0').unwrap_or(text.len());
                if length > LONGEST {
                    return Err(format!("a text of {length} bytes for one letter"));
                }
            }
            for byte in 1..=255 {
                let next = base ^ byte;
                let is_child = self.array.get(next).is_some_and(|unit| label(*unit) == byte);
                if let Some(seen) = seen.get_mut(next).filter(|seen| is_child && !**seen) {
                    *seen = true;
                    to_do.push((next, false));
                }
            }
        }
        Ok(())
    }
}

fn label(unit: usize) -> usize {
    unit & (1 << 31 | 0xff)
}

fn offset(unit: usize) -> usize {
    unit >> 10 << ((unit & 1 << 9) >> 6)
}
