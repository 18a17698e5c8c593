//! A memory of words and their token ids: texts repeat few words many times.

use hashbrown::HashMap;
use tokenizers::{Encoding, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::glue::marks::{self, Piece, Side, Template};
use crate::glue::sample::Sample;
use crate::glue::tsv::Row;

/// Beyond so many bytes of memory, some hundred thousand words, no more are remembered.
const MAX_BYTES: usize = 32 << 20;
/// Longer words, in bytes, are not: they hardly come again, and would take the room of many.
const LONGEST_WORD: usize = 64;

/// Encodes rows from the token ids of their words, each of which the tokenizer has to see once.
///
/// This needs a tokenizer that treats what a space separates apart, and that adds BERT's marks. The
/// tokenizer of every BERT checkpoint does.
#[derive(Debug)]
pub struct Words {
    ids: Memory,
    /// `None` for another kind of tokenizer, with which nothing is done here.
    templates: Option<Templates>,
}

/// Words and their token ids.
#[derive(Debug, Default)]
struct Memory {
    ids: HashMap<String, Vec<u32>>,
    /// The most that they take.
    bytes: usize,
}

impl Memory {
    fn add(&mut self, word: &str, ids: &[u32]) {
        // Of a table that has just grown less than half is full.
        let entry = 3 * size_of::<(String, Vec<u32>)>() + word.len() + size_of_val(ids);
        if word.len() <= LONGEST_WORD && self.bytes + entry <= MAX_BYTES {
            self.bytes += entry;
            self.ids.insert(word.to_owned(), ids.to_vec());
        }
    }
}

/// What is put around one text and around two, the marks as token ids.
#[derive(Debug)]
struct Templates {
    single: Box<Template<u32>>,
    pair: Box<Template<u32>>,
}

impl Words {
    /// An empty memory for the words of `tokenizer`.
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        Self { ids: Memory::default(), templates: Templates::of(tokenizer) }
    }

    /// The sample of a row; `None` where `tokenizer` has to see the whole row: it is to be
    /// truncated, or the tokenizer is of another kind.
    pub(super) fn encode(
        &mut self,
        tokenizer: &Tokenizer,
        row: &Row,
        max_tokens: usize,
    ) -> Option<Sample> {
        let Self { ids, templates } = self;
        let Templates { single, pair } = templates.as_ref()?;
        let text_b = row.second_text();
        let template = if text_b.is_some() { pair } else { single };
        let (token_id, type_id) = marks::fill(template, |side, tokens| match side {
            Side::A => add(ids, tokenizer, &row.text_a, tokens),
            Side::B => add(ids, tokenizer, text_b?, tokens),
        })?;
        let attention_mask = vec![1; token_id.len()];
        let (uid, label) = (row.uid.clone(), row.label);
        (token_id.len() <= max_tokens).then_some(Sample {
            uid,
            label,
            token_id,
            type_id,
            attention_mask,
        })
    }
}

/// Adds the token ids of `text` to `tokens`, and its words to the memory `known`.
fn add(known: &mut Memory, tokenizer: &Tokenizer, text: &str, tokens: &mut Vec<u32>) -> Option<()> {
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if let Some(ids) = known.ids.get(word) {
            tokens.extend(ids);
            continue;
        }
        let encoding = tokenizer.encode_fast(word, false).ok()?;
        tokens.extend(encoding.get_ids());
        known.add(word, encoding.get_ids());
    }
    Some(())
}

impl Templates {
    /// BERT's, if the tokenizer splits at spaces and marks and types texts as they say.
    fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let normalizes =
            matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)));
        let splits =
            matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
        // What is compared with a text may have spaces that the token has not: around ideographs.
        let spaced = |token: &tokenizers::AddedToken| {
            let plain = |c: char| c.is_ascii() || !token.normalized;
            !token.content.chars().all(|c| plain(c) && !c.is_whitespace() && !c.is_control())
        };
        if !normalizes || !splits || tokenizer.get_added_tokens_decoder().values().any(spaced) {
            return None;
        }
        let with_ids = |template: &Template<&str>| {
            let with_id = |(piece, kind): &(Piece<&str>, u8)| match piece {
                Piece::Mark(mark) => Some((Piece::Mark(tokenizer.token_to_id(mark)?), *kind)),
                Piece::Text(side) => Some((Piece::Text(*side), *kind)),
            };
            template.iter().map(with_id).collect::<Option<Box<_>>>()
        };
        let (single, pair) = (with_ids(marks::BERT.single)?, with_ids(marks::BERT.pair)?);
        let [a, b] = ["a", "b c"].map(|text| tokenizer.encode_fast(text, false).ok());
        let (a, b) = (a?, b?);
        let agrees = |template: &Template<u32>, encoding: &Encoding| {
            let filled = marks::fill(template, |side, ids| {
                ids.extend(if side == Side::A { &a } else { &b }.get_ids());
                Some(())
            });
            filled.is_some_and(|(ids, types)| {
                let types: Vec<u32> = types.into_iter().map(u32::from).collect();
                encoding.get_ids() == ids && encoding.get_type_ids() == types
            })
        };
        let whole = tokenizer.encode_fast("a", true).ok()?;
        let both = tokenizer.encode_fast(("a", "b c"), true).ok()?;
        (agrees(&single, &whole) && agrees(&pair, &both)).then_some(Self { single, pair })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_words_ends_where_its_room_does() {
        let mut memory = Memory::default();
        let word = |n: usize| format!("{n:064}");
        let mut count = 0;
        while memory.ids.len() == count {
            memory.add(&word(count), &[7; 64]);
            count += 1;
        }
        assert!(memory.bytes <= MAX_BYTES && memory.bytes > MAX_BYTES - 1000);
        // What the entries hold, counted from them.
        let held = |(word, ids): (&String, &Vec<u32>)| word.capacity() + 4 * ids.capacity();
        let table = memory.ids.allocation_size();
        assert!(memory.ids.iter().map(held).sum::<usize>() + table <= MAX_BYTES, "{table}");
        assert_eq!(memory.ids.get(&word(0)), Some(&vec![7; 64]));
    }

    #[test]
    fn long_words_are_not_remembered() {
        let mut memory = Memory::default();
        memory.add(&"x".repeat(LONGEST_WORD + 1), &[7]);
        assert_eq!((memory.ids.len(), memory.bytes), (0, 0));
    }
}
