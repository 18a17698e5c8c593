//! A memory of words and their token ids: texts repeat few words many times.

use hashbrown::HashMap;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::glue::sample::Sample;
use crate::glue::tsv::Row;

/// Beyond so many words, which take some tens of MiB, no more are remembered.
const MAX_WORDS: usize = 200_000;

/// Encodes rows from the token ids of their words, each of which the tokenizer has to see once.
///
/// This needs a tokenizer that treats what a space separates apart, and that adds BERT's marks. The
/// tokenizer of every BERT checkpoint does.
#[derive(Debug)]
pub struct Words {
    ids: HashMap<String, Vec<u32>>,
    /// `[CLS]` and `[SEP]`; `None` for another kind of tokenizer, with which nothing is done here.
    marks: Option<(u32, u32)>,
}

impl Words {
    /// An empty memory for the words of `tokenizer`.
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        Self { ids: HashMap::new(), marks: marks(tokenizer) }
    }

    /// The sample of a row; `None` where `tokenizer` has to see the whole row: it is to be
    /// truncated, or the tokenizer is of another kind.
    pub(super) fn encode(
        &mut self,
        tokenizer: &Tokenizer,
        row: &Row,
        max_tokens: usize,
    ) -> Option<Sample> {
        let (first, separator) = self.marks?;
        let mut token_id = vec![first];
        self.add(tokenizer, &row.text_a, &mut token_id)?;
        token_id.push(separator);
        let mut type_id = vec![0; token_id.len()];
        if let Some(text_b) = row.second_text() {
            self.add(tokenizer, text_b, &mut token_id)?;
            token_id.push(separator);
            type_id.resize(token_id.len(), 1);
        }
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

    fn add(&mut self, tokenizer: &Tokenizer, text: &str, ids: &mut Vec<u32>) -> Option<()> {
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            if let Some(known) = self.ids.get(word) {
                ids.extend(known);
                continue;
            }
            let encoding = tokenizer.encode_fast(word, false).ok()?;
            ids.extend(encoding.get_ids());
            if self.ids.len() < MAX_WORDS {
                self.ids.insert(word.to_owned(), encoding.get_ids().to_vec());
            }
        }
        Some(())
    }
}

/// The ids of `[CLS]` and `[SEP]`, if the tokenizer splits at spaces and encodes texts as
/// `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`, with the types 0 up to the first `[SEP]` and 1
/// after it.
fn marks(tokenizer: &Tokenizer) -> Option<(u32, u32)> {
    let normalizes =
        matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)));
    let splits =
        matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)));
    let spaced = |token: &tokenizers::AddedToken| token.content.contains(' ');
    if !normalizes || !splits || tokenizer.get_added_tokens_decoder().values().any(spaced) {
        return None;
    }
    let [first, separator] = ["[CLS]", "[SEP]"].map(|mark| tokenizer.token_to_id(mark));
    let (first, separator) = (first?, separator?);
    let [a, b] = ["a", "b c"].map(|text| tokenizer.encode_fast(text, false).ok());
    let (a, b) = (a?, b?);
    let single = [&[first], a.get_ids(), &[separator]].concat();
    let pair = [&single[..], b.get_ids(), &[separator]].concat();
    let types = [vec![0; single.len()], vec![1; pair.len() - single.len()]].concat();
    let whole = tokenizer.encode_fast("a", true).ok()?;
    let both = tokenizer.encode_fast(("a", "b c"), true).ok()?;
    let as_expected = whole.get_ids() == single
        && whole.get_type_ids().iter().all(|kind| *kind == 0)
        && both.get_ids() == pair
        && both.get_type_ids() == types;
    as_expected.then_some((first, separator))
}
