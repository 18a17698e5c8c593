//! A memory of words and their token ids: texts repeat few words many times.

use hashbrown::HashMap;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{
    AddedToken, Encoding, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizerWrapper,
    Tokenizer,
};

use crate::glue::marks::{self, Marks, Piece, Side, Template};
use crate::glue::sample::Sample;
use crate::glue::tsv::Row;

/// Beyond so many bytes of memory, some hundred thousand words, no more are remembered.
const MAX_BYTES: usize = 32 << 20;
/// Longer words, in bytes, are not: they hardly come again, and would take the room of many.
const LONGEST_WORD: usize = 64;

/// Encodes rows from the token ids of their words, each of which the tokenizer has to see once.
///
/// This needs a tokenizer that treats what a space separates apart. Those of BERT, RoBERTa and
/// SentencePiece's Unigram do, each in its way.
#[derive(Debug)]
pub struct Words {
    ids: Memory,
    /// `None` for another kind of tokenizer, with which nothing is done here.
    apart: Option<Apart>,
}

/// How a tokenizer treats words apart, and what is put around them, the marks as token ids.
#[derive(Debug)]
struct Apart {
    spaces: Spaces,
    single: Box<Template<u32>>,
    pair: Box<Template<u32>>,
}

/// What becomes of the spaces between words, and so where texts can be cut without other token ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spaces {
    /// They make no tokens.
    Dropped,
    /// The same, where a space and a letter beside it do not become something else together.
    DroppedIfPlain,
    /// A word's first token has the one before it in it, and more make tokens of their own.
    Kept,
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

impl Words {
    /// An empty memory for the words of `tokenizer`, which puts `marks` around texts, with their
    /// token types if it is `typed`.
    pub(super) fn new(tokenizer: &Tokenizer, marks: &Marks, typed: bool) -> Self {
        Self { ids: Memory::default(), apart: Apart::of(tokenizer, marks, typed) }
    }

    /// The sample of a row; `None` where `tokenizer` has to see the whole row: a word depends on
    /// others, the tokenizer is of another kind, or there is no room for the marks.
    pub(super) fn encode(
        &mut self,
        tokenizer: &Tokenizer,
        row: &Row,
        max_tokens: usize,
    ) -> Option<Sample> {
        let Self { ids, apart } = self;
        let Apart { spaces, single, pair } = apart.as_ref()?;
        let (text_a, text_b) = (row.text_a.as_str(), row.second_text());
        let template = if text_b.is_some() { pair } else { single };
        let mut add =
            |text: &str, tokens: &mut Vec<u32>| add(ids, tokenizer, *spaces, text, tokens);
        let (mut token_id, mut type_id) = marks::fill(template, |side, tokens| match side {
            Side::A => add(text_a, tokens),
            Side::B => add(text_b?, tokens),
        })?;
        if token_id.len() > max_tokens {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            add(text_a, &mut a)?;
            add(text_b.unwrap_or_default(), &mut b)?;
            let room = max_tokens.checked_sub(marks::of(template).count())?;
            let (a_left, b_left) = longest_first(a.len(), b.len(), room);
            (token_id, type_id) = marks::fill(template, |side, tokens| {
                tokens.extend(match side {
                    Side::A => a.get(..a_left)?,
                    Side::B => b.get(..b_left)?,
                });
                Some(())
            })?;
        }
        let attention_mask = vec![1; token_id.len()];
        let (uid, label) = (row.uid.clone(), row.label);
        Some(Sample { uid, label, token_id, type_id, attention_mask, softlabel: Vec::new() })
    }
}

/// How many tokens are left of two texts of `a` and `b` tokens if there is `room` for so many: the
/// longer is shortened until both are alike, then both are.
fn longest_first(a: usize, b: usize, room: usize) -> (usize, usize) {
    let (shorter, longer) = (a.min(b), a.max(b));
    if a + b <= room {
        return (a, b);
    }
    let (shorter, longer) = match shorter <= room / 2 {
        true => (shorter, longer.min(room - shorter)),
        false => (room / 2, room - room / 2),
    };
    if a > b { (longer, shorter) } else { (shorter, longer) }
}

/// Adds the token ids of `text` to `tokens`, and its words to the memory `known`; `None` where a
/// word depends on others.
fn add(
    known: &mut Memory,
    tokenizer: &Tokenizer,
    spaces: Spaces,
    text: &str,
    tokens: &mut Vec<u32>,
) -> Option<()> {
    let mut rest = text;
    while let Some(word) = spaces.next(&mut rest) {
        if let Some(ids) = known.ids.get(word) {
            tokens.extend(ids);
            continue;
        }
        if spaces == Spaces::DroppedIfPlain && !is_plain(tokenizer, word) {
            return None;
        }
        let encoding = tokenizer.encode_fast(word, false).ok()?;
        tokens.extend(encoding.get_ids());
        known.add(word, encoding.get_ids());
    }
    Some(())
}

impl Spaces {
    /// Takes the next word from `rest`.
    fn next<'a>(self, rest: &mut &'a str) -> Option<&'a str> {
        let end = match self {
            Self::Dropped | Self::DroppedIfPlain => {
                *rest = rest.trim_start_matches(' ');
                rest.find(' ')
            }
            Self::Kept => {
                let is_end = |at: &usize| {
                    let before = rest.get(..*at).and_then(|before| before.chars().next_back());
                    before.is_some_and(|letter| !letter.is_whitespace())
                };
                rest.match_indices(' ').map(|(at, _)| at).find(is_end)
            }
        };
        let (word, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
        *rest = after;
        (!word.is_empty()).then_some(word)
    }
}

/// Whether spaces around `word` stay what they are when letters are normalized, and so does it.
fn is_plain(tokenizer: &Tokenizer, word: &str) -> bool {
    let Some(normalizer) = tokenizer.get_normalizer() else { return true };
    let normal = |text: &str| {
        let mut text = NormalizedString::from(text);
        normalizer.normalize(&mut text).ok().map(|()| text)
    };
    let alone = normal(word).map(|word| format!(" {} ", word.get()));
    let between = normal(&format!(" {word} "));
    alone.is_some_and(|alone| between.is_some_and(|between| between.get() == alone))
}

impl Apart {
    /// `None` if the tokenizer does not treat words apart, or does not mark and type texts so.
    fn of(tokenizer: &Tokenizer, marks: &Marks, typed: bool) -> Option<Self> {
        let spaces = spaces(tokenizer)?;
        let with_ids = |template: &Template<&str>| {
            let with_id = |(piece, kind): &(Piece<&str>, u8)| {
                let kind = if typed { *kind } else { 0 };
                match piece {
                    Piece::Mark(mark) => Some((Piece::Mark(tokenizer.token_to_id(mark)?), kind)),
                    Piece::Text(side) => Some((Piece::Text(*side), kind)),
                }
            };
            template.iter().map(with_id).collect::<Option<Box<_>>>()
        };
        let (single, pair) = (with_ids(marks.single)?, with_ids(marks.pair)?);
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
        (agrees(&single, &whole) && agrees(&pair, &both)).then_some(Self { spaces, single, pair })
    }
}

/// What a tokenizer makes of spaces; `None` if its texts cannot be cut there.
fn spaces(tokenizer: &Tokenizer) -> Option<Spaces> {
    use NormalizerWrapper as N;
    use PreTokenizerWrapper as P;
    let normalizer = tokenizer.get_normalizer();
    let spaces = match (normalizer, tokenizer.get_pre_tokenizer()?) {
        (None | Some(N::BertNormalizer(_)), P::BertPreTokenizer(_)) => Spaces::Dropped,
        (None, P::ByteLevel(bytes)) if bytes.use_regex => Spaces::Kept,
        (None | Some(N::Precompiled(_)), P::Sequence(parts)) => match parts.as_ref() {
            [P::WhitespaceSplit(_), P::Metaspace(prefix)]
                if prefix.prepend_scheme != PrependScheme::First =>
            {
                Spaces::DroppedIfPlain
            }
            _ => return None,
        },
        _ => return None,
    };
    // What is compared with a text may have spaces that the token has not: around ideographs.
    let spaced = |token: &AddedToken| {
        let mut content = NormalizedString::from(token.content.as_str());
        if let Some(normalizer) = normalizer.filter(|_| token.normalized) {
            let _ = normalizer.normalize(&mut content);
        }
        [&*token.content, content.get()]
            .iter()
            .any(|text| text.chars().any(|c| c.is_whitespace() || c.is_control()))
            // It takes spaces that belong to the next word.
            || (spaces == Spaces::Kept && token.rstrip)
    };
    let added = tokenizer.get_added_tokens_decoder();
    (!added.values().any(spaced)).then_some(spaces)
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
