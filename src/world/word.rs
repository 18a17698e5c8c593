//! What each rank tells all others where they meet.

use serde::{Deserialize, Serialize};

/// Bytes of a word on its way.
pub const WORD: usize = 1024;

/// The bytes of a word.
pub type Bytes = [u8; WORD];

/// Where in their work ranks meet. All meet in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// The start of the processes.
    Start,
    /// The comparison of what a run depends on.
    Same,
    /// The end of a part of the preparation.
    Ready,
    /// A file that the first rank sends.
    File,
    /// An update's gradients.
    Gradients,
    /// A window of an evaluation.
    Answers,
    /// A checkpoint's beginning.
    Weights,
    /// A checkpoint's end.
    Saved,
    /// The end of the run.
    End,
    /// In vain where others should have been.
    Lost,
}

/// What a rank tells all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Which of the rank's words it is.
    pub number: u64,
    /// Where the rank is.
    pub at: At,
    /// The number of bytes that it will send next.
    pub length: u64,
    /// The hash of what must be the same everywhere.
    pub digest: Option<[u8; 32]>,
    /// Who asks for the run to stop.
    pub stop: Option<String>,
    /// What ended the rank's work.
    pub error: Option<String>,
}

impl Word {
    /// Of a rank that has nothing else to say.
    pub fn at(at: At) -> Self {
        Self { number: 0, at, length: 0, digest: None, stop: None, error: None }
    }

    /// As bytes; texts that are too long are cut.
    pub fn to_bytes(&self) -> Bytes {
        // A number, a place, a length, a digest, and marks take less than the difference.
        let cut = |text: &Option<String>, most: usize| {
            text.as_ref().map(|text| text.chars().take(most / 4).collect())
        };
        let word =
            Self { stop: cut(&self.stop, 128), error: cut(&self.error, 640), ..self.clone() };
        let mut bytes = [0; WORD];
        // What does not fit cannot be: the parts have limits.
        let _ = rmp_serde::encode::write(&mut bytes.as_mut_slice(), &word);
        bytes
    }

    /// The reverse of [`to_bytes`](Self::to_bytes); `None` where this is no word.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        rmp_serde::decode::from_read(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_and_long_texts_are_cut() {
        let word = Word {
            number: u64::MAX,
            length: u64::MAX,
            digest: Some([255; 32]),
            stop: Some("SIGTERM".into()),
            error: Some("train.tsv: line 7".into()),
            ..Word::at(At::Gradients)
        };
        assert_eq!(Word::from_bytes(&word.to_bytes()), Some(word.clone()));
        let long = Word {
            stop: Some("\u{1F600}".repeat(5000)),
            error: Some("\u{1F600}".repeat(5000)),
            ..word
        };
        let read = Word::from_bytes(&long.to_bytes()).unwrap();
        assert_eq!(read.error.unwrap().chars().count(), 160);
        assert_eq!(read.number, u64::MAX);
    }
}
