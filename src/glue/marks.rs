//! The tokens that a kind of tokenizer puts around texts: one description each.

/// How one kind of tokenizer marks texts.
#[derive(Debug, PartialEq)]
pub struct Marks {
    /// Stands for what the vocabulary lacks.
    pub unknown: &'static str,
    /// Stands before all texts.
    pub first: &'static str,
    /// Stands after each text.
    pub separator: &'static str,
    /// All marks by their names in transformers. A text may not spell them: they are tokens of their
    /// own.
    pub by_name: &'static [(&'static str, &'static str)],
    /// A text with its marks.
    pub single: &'static Template<&'static str>,
    /// Two texts with their marks.
    pub pair: &'static Template<&'static str>,
}

/// What comes one after the other, each with its token type.
pub type Template<M> = [(Piece<M>, u8)];

/// A piece of a marked text; `M` is a mark's name or id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<M> {
    /// A mark.
    Mark(M),
    /// One of the texts.
    Text(Side),
}

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

const CLS: &str = "[CLS]";
const SEP: &str = "[SEP]";
const UNK: &str = "[UNK]";

/// BERT's: `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`.
pub const BERT: Marks = Marks {
    unknown: UNK,
    first: CLS,
    separator: SEP,
    by_name: &[("pad", "[PAD]"), ("unk", UNK), ("cls", CLS), ("sep", SEP), ("mask", "[MASK]")],
    single: &[(Piece::Mark(CLS), 0), (Piece::Text(Side::A), 0), (Piece::Mark(SEP), 0)],
    pair: &[
        (Piece::Mark(CLS), 0),
        (Piece::Text(Side::A), 0),
        (Piece::Mark(SEP), 0),
        (Piece::Text(Side::B), 1),
        (Piece::Mark(SEP), 1),
    ],
};

const BOS: &str = "<s>";
const EOS: &str = "</s>";
const LACKING: &str = "<unk>";

/// RoBERTa's, all of one token type: `<s> a </s>` and `<s> a </s></s> b </s>`.
pub const ROBERTA: Marks = Marks {
    unknown: LACKING,
    first: BOS,
    separator: EOS,
    by_name: &[
        ("bos", BOS),
        ("eos", EOS),
        ("unk", LACKING),
        ("sep", EOS),
        ("pad", "<pad>"),
        ("cls", BOS),
        ("mask", "<mask>"),
    ],
    single: &[(Piece::Mark(BOS), 0), (Piece::Text(Side::A), 0), (Piece::Mark(EOS), 0)],
    pair: &[
        (Piece::Mark(BOS), 0),
        (Piece::Text(Side::A), 0),
        (Piece::Mark(EOS), 0),
        (Piece::Mark(EOS), 0),
        (Piece::Text(Side::B), 0),
        (Piece::Mark(EOS), 0),
    ],
};

impl Marks {
    /// What a sequence cannot do without.
    pub const fn required(&self) -> [&'static str; 3] {
        [self.first, self.separator, self.unknown]
    }
}

/// The marks of a template, in their order.
pub fn of<M: Copy>(template: &Template<M>) -> impl Iterator<Item = M> {
    template.iter().filter_map(|(piece, _)| match piece {
        Piece::Mark(mark) => Some(*mark),
        Piece::Text(_) => None,
    })
}

/// The token ids and types of a template, to which `add` adds the ids of a text.
pub fn fill(
    template: &Template<u32>,
    mut add: impl FnMut(Side, &mut Vec<u32>) -> Option<()>,
) -> Option<(Vec<u32>, Vec<u8>)> {
    let (mut ids, mut types) = (Vec::new(), Vec::new());
    for (piece, kind) in template {
        match piece {
            Piece::Mark(id) => ids.push(*id),
            Piece::Text(side) => add(*side, &mut ids)?,
        }
        types.resize(ids.len(), *kind);
    }
    Some((ids, types))
}
