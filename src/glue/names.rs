//! The many spellings of GLUE's tasks, and what somebody may have meant.

use std::cmp::Reverse;

use crate::error::Error;

/// How others call the tasks, without hyphens and in small letters.
const OTHER_NAMES: [(&str, &str); 9] = [
    ("sst2", "sst"),
    ("sts", "stsb"),
    ("mnlim", "mnli"),
    ("mnlimm", "mnli"),
    ("mnlimatched", "mnli"),
    ("mnlimismatched", "mnli"),
    ("diagnostic", "ax"),
    ("diagnostics", "ax"),
    ("gluediagnostics", "ax"),
];

/// `name` without what spellings differ in: `SST-2` is `sst2`.
#[must_use]
pub fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

/// The task's own name, where `name` is one of its other names; else `name` in its plain spelling.
#[must_use]
pub fn canonical(name: &str) -> String {
    let plain = plain(name);
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == plain);
    other.map_or(plain, |(_, task)| (*task).to_string())
}

/// `error` with the one of `known` that `typed` is a slip of, if there is one.
#[must_use]
pub fn did_you_mean<'a>(error: Error, typed: &str, known: impl Iterator<Item = &'a str>) -> Error {
    match nearest(typed, known) {
        Some(meant) => error.hint(format!("did you mean {meant}?")),
        None => error,
    }
}

/// The one of `known` that `typed` is a slip of: a letter in three may be wrong, and two swapped
/// count as one.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let slips = |name: &str| strsim::damerau_levenshtein(&typed, &name.to_lowercase());
    let most = |name: &str| (typed.chars().count().max(name.chars().count()) / 3).max(1);
    let near = known.filter(|name| (1..=most(name)).contains(&slips(name)));
    // Of equally near ones that which begins alike.
    let alike = |name: &str| typed.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    near.min_by_key(|name| (slips(name), Reverse(alike(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word() {
        let known = ["cola", "mrpc", "rte", "ax"];
        let nearest = |typed| nearest(typed, known.into_iter());
        assert_eq!(nearest("coal"), Some("cola"));
        assert_eq!(nearest("MRCP"), Some("mrpc"));
        assert_eq!(nearest("rt"), Some("rte"));
        assert_eq!((nearest("boolq"), nearest("cola"), nearest("")), (None, None, None));
    }
}
