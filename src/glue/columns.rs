//! What columns of texts are usually called.

use crate::glue::task::Task;

/// What two texts are called in headers and JSON lines, in small letters: GLUE's names first.
const PAIRS: [[&str; 2]; 8] = [
    ["sentence1", "sentence2"],
    ["question1", "question2"],
    ["#1 string", "#2 string"],
    ["question", "sentence"],
    ["premise", "hypothesis"],
    ["text_a", "text_b"],
    ["text1", "text2"],
    ["text", "text_pair"],
];
/// What one text is called there.
const SINGLES: [[&str; 1]; 3] = [["sentence"], ["text"], ["text_a"]];

/// The places in `names` of the columns that usually hold the texts of `task`, or of any task.
pub(crate) fn usual(names: &[String], task: Option<&Task>) -> Option<Vec<usize>> {
    let pair = || called(names, &PAIRS);
    let single = || called(names, &SINGLES);
    match task.map(Task::is_pair) {
        Some(true) => pair(),
        Some(false) => single(),
        None => pair().or_else(single),
    }
}

/// The places in `names` of the first of `known` that are all there.
fn called<const N: usize>(names: &[String], known: &[[&str; N]]) -> Option<Vec<usize>> {
    let place = |name: &str| names.iter().position(|n| n.trim().to_lowercase() == name);
    known.iter().find_map(|texts| texts.iter().map(|name| place(name)).collect())
}

/// What a header would have to name, in words; `word` is what a column is called.
pub(crate) fn described(task: Option<&Task>, word: &str) -> String {
    let or = |names: Vec<String>| names.join(", or ");
    let pairs = || PAIRS.iter().map(|[a, b]| format!("{a} and {b}")).take(5).collect();
    let singles = || SINGLES.iter().map(|[name]| (*name).to_string()).take(2).collect();
    match task.map(|task| (task.name, task.is_pair())) {
        Some((name, true)) => format!("{word}s called {} for {name}", or(pairs())),
        Some((name, false)) => format!("a {word} called {} for {name}", or(singles())),
        None => format!("{word}s called {}, or {}", or(singles()), or(pairs())),
    }
}

/// Whether `names` has a column of a text.
pub(crate) fn has_a_text(names: &[String]) -> bool {
    called(names, &SINGLES).is_some()
}
