//! The demo task: artificial natural-language inference in MNLI's raw layout, small enough to train
//! a tiny BERT on from scratch.
//!
//! A pair says of the same people how many of them, or how often one of them, will do something. The
//! label follows from the two quantifiers together (the square of opposition: all, some, none, not
//! all), and neither gives it away alone: a bag of words fails, attention succeeds.

#![allow(clippy::indexing_slicing, reason = "draws from tables of its own, below their lengths")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::iter::repeat_with;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::files::write_whole;
use crate::glue::marks;

/// The seed of the files under `glue-data/demo`.
pub const SEED: u64 = 2022;

const TRAIN: usize = 9000;
const DEV: usize = 900;
const LABELS: [&str; 3] = ["entailment", "neutral", "contradiction"];

/// One example.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The text that is taken as true.
    pub premise: String,
    /// The text that is judged.
    pub hypothesis: String,
    /// `entailment`, `neutral` or `contradiction`.
    pub label: &'static str,
}

/// The data set and the word pieces that cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// Training pairs.
    pub train: Vec<Pair>,
    /// Validation pairs; none of them occurs in `train`.
    pub dev: Vec<Pair>,
    /// The model's vocabulary, in order.
    pub vocab: Vec<String>,
}

/// The four corners of the square of opposition, each with its ways to say it: all, some, none, not
/// all. `{n}` is a noun, `{v}` what its bearer does.
type Corners = [[&'static str; 2]; 4];

/// How many of the people, and how often one of them.
const KINDS: [Corners; 2] = [
    [
        ["all {n}s will {v}", "every {n} will {v}"],
        ["some {n}s will {v}", "at least one {n} will {v}"],
        ["no {n} will {v}", "none of the {n}s will {v}"],
        ["not all {n}s will {v}", "not every {n} will {v}"],
    ],
    [
        ["the {n} will always {v}", "the {n} will {v} each time"],
        ["the {n} will sometimes {v}", "the {n} will {v} now and then"],
        ["the {n} will never {v}", "the {n} will at no time {v}"],
        ["the {n} will not always {v}", "the {n} will not {v} each time"],
    ],
];

/// Corner of the premise and corner of the hypothesis, as often as they stand here, by label. The
/// premise's corner does not tell entailment from contradiction; the few pairs of unlike corners
/// tilt the hypothesis's only slightly.
const ENTAILED: &[(usize, usize)] = &[
    (0, 0),
    (0, 0),
    (0, 1),
    (1, 1),
    (1, 1),
    (1, 1),
    (2, 2),
    (2, 2),
    (2, 3),
    (3, 3),
    (3, 3),
    (3, 3),
];
const CONTRADICTED: &[(usize, usize)] = &[
    (0, 3),
    (0, 3),
    (0, 2),
    (3, 0),
    (3, 0),
    (3, 0),
    (2, 1),
    (2, 1),
    (2, 0),
    (1, 2),
    (1, 2),
    (1, 2),
];
/// Neutral: what holds of some, or fails for some, leaves the others open.
const OPEN: &[(usize, usize)] = &[(1, 0), (1, 3), (3, 1), (3, 2)];

/// Nouns of one meaning; a pair draws each side's anew, so that shared words tell little.
const NOUNS: &[[&str; 2]] = &[
    ["pupil", "student"],
    ["doctor", "physician"],
    ["lawyer", "attorney"],
    ["singer", "vocalist"],
    ["farmer", "grower"],
    ["guest", "visitor"],
    ["driver", "chauffeur"],
    ["sailor", "rower"],
];
const VERBS: &[&str] =
    &["swim", "dance", "sing", "cook", "travel", "paint", "sleep", "work", "laugh", "read"];
const PLACES: &[&str] = &["", "at home", "in the garden", "on the boat", "near the river"];
const JOINTS: &[&str] = &["and", "but", "while"];

/// SplitMix64, written out so that the data does not change with the version of a library.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// One premise and one hypothesis under `label`.
fn pair(random: &mut Random, label: &'static str) -> Pair {
    let kind = random.below(2);
    let noun = random.below(NOUNS.len());
    let (verb, place) = (random.pick(VERBS), random.pick(PLACES));
    let (p, h) = random.pick(match label {
        "entailment" => ENTAILED,
        "contradiction" => CONTRADICTED,
        _ => OPEN,
    });
    // Mostly the other wording: a hypothesis that repeats its premise would give entailment away.
    let wording = random.below(2);
    let other = if random.below(4) == 0 { wording } else { 1 - wording };
    let mut premise = clause(random, KINDS[kind][p][wording], noun, verb, place);
    let hypothesis = clause(random, KINDS[kind][h][other], noun, verb, place);
    // Half of the premises also say something of others that does not matter.
    if random.below(2) == 0 {
        let aside = KINDS[1 - kind][random.below(4)][random.below(2)];
        let others = (noun + 1 + random.below(NOUNS.len() - 1)) % NOUNS.len();
        let verb = random.pick(VERBS);
        let aside = clause(random, aside, others, verb, "");
        premise = format!("{premise}, {} {aside}", random.pick(JOINTS));
    }
    Pair { premise: sentence(&premise), hypothesis: sentence(&hypothesis), label }
}

/// Fills in `form`, with either noun of one meaning and the place in front or at the end.
fn clause(random: &mut Random, form: &str, noun: usize, verb: &str, place: &str) -> String {
    let text = form.replace("{n}", random.pick(&NOUNS[noun])).replace("{v}", verb);
    match (place, random.below(2)) {
        ("", _) => text,
        (place, 0) => format!("{text} {place}"),
        (place, _) => format!("{place}, {text}"),
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// Makes the data set; the same `seed` always gives the same one.
pub fn generate(seed: u64) -> Demo {
    let mut random = Random(seed);
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for label in LABELS.into_iter().cycle().take(TRAIN + DEV) {
        let mut drawn = repeat_with(|| pair(&mut random, label));
        pairs.extend(drawn.find(|pair| seen.insert(pair.clone())));
    }
    let dev = pairs.split_off(TRAIN);
    Demo { train: pairs, dev, vocab: vocab() }
}

/// The special tokens, single characters, endings, and every word of the templates that is no stem
/// plus an ending.
fn vocab() -> Vec<String> {
    let mut vocab: Vec<String> =
        marks::BERT.by_name.iter().map(|(_, mark)| (*mark).to_owned()).collect();
    vocab.extend("!\"'(),-.:;?".chars().map(String::from));
    let letters = || ('0'..='9').chain('a'..='z');
    vocab.extend(letters().map(String::from));
    vocab.extend(letters().map(|c| format!("##{c}")));
    let texts = KINDS
        .iter()
        .flatten()
        .flatten()
        .chain(NOUNS.iter().flatten())
        .chain(VERBS)
        .chain(PLACES)
        .chain(JOINTS);
    for word in texts.flat_map(|text| text.split(' ')) {
        // A plural is its singular plus `##s`; four nouns are a stem plus `##er`.
        let assembled =
            ["", "{v}", "{n}", "{n}s", "singer", "farmer", "grower", "rower"].contains(&word);
        if !assembled && !vocab.iter().any(|w| w == word) {
            vocab.push(word.to_owned());
        }
    }
    vocab.extend(["farm", "grow", "row", "##er"].map(String::from));
    vocab
}

/// Writes `train.tsv`, `dev.tsv` and `model/{vocab.txt, config.json}` under `dir`.
///
/// # Errors
/// A file cannot be written.
pub fn write(demo: &Demo, dir: &Path) -> Result<()> {
    files(demo, dir).iter().try_for_each(|(path, text)| write_whole(path, text.as_bytes()))
}

/// As [`write()`], but for files that are there.
///
/// # Errors
/// A file cannot be written.
pub fn write_missing(demo: &Demo, dir: &Path) -> Result<()> {
    let files = files(demo, dir);
    let mut missing = files.iter().filter(|(path, _)| !path.exists());
    missing.try_for_each(|(path, text)| write_whole(path, text.as_bytes()))
}

fn files(demo: &Demo, dir: &Path) -> [(PathBuf, String); 4] {
    let model = dir.join("model");
    [
        (dir.join("train.tsv"), table(&demo.train, 1)),
        (dir.join("dev.tsv"), table(&demo.dev, 5)),
        (model.join("vocab.txt"), demo.vocab.join("\n") + "\n"),
        (model.join("config.json"), config(demo.vocab.len())),
    ]
}

/// MNLI's columns; the labels of single annotators are `annotators` in number, the parses are left out.
fn table(pairs: &[Pair], annotators: usize) -> String {
    let mut out = String::from(
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\
         \tsentence1_parse\tsentence2_parse\tsentence1\tsentence2",
    );
    for n in 1..=annotators {
        let _ = write!(out, "\tlabel{n}");
    }
    out.push_str("\tgold_label\n");
    for (i, Pair { premise, hypothesis, label }) in pairs.iter().enumerate() {
        let _ = write!(out, "{i}\t{i}\t{i}{label:.1}\tdemo\t-\t-\t-\t-\t{premise}\t{hypothesis}");
        for _ in 0..=annotators {
            let _ = write!(out, "\t{label}");
        }
        out.push('\n');
    }
    out
}

/// The tiny BERT's shape, in Hugging Face's form.
fn config(vocab_size: usize) -> String {
    format!(
        r#"{{
  "architectures": ["BertForSequenceClassification"],
  "attention_probs_dropout_prob": 0.0,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.0,
  "hidden_size": 64,
  "initializer_range": 0.1,
  "intermediate_size": 256,
  "layer_norm_eps": 1e-12,
  "max_position_embeddings": 64,
  "model_type": "bert",
  "num_attention_heads": 4,
  "num_hidden_layers": 2,
  "pad_token_id": 0,
  "type_vocab_size": 2,
  "vocab_size": {vocab_size}
}}
"#
    )
}

#[cfg(test)]
#[path = "demo_tests.rs"]
mod tests;
