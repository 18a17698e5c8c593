//! The name of the task that files of one's own are: it becomes part of file names.

use std::path::Path;

use super::format::stem;
use crate::glue::names;
use crate::glue::task::TASKS;

/// What a task is called whose files have no name, and stands before one that GLUE has taken.
const OWN: &str = "own";

/// The name of the task that the training file `path` is for: the file's own without its endings, or
/// its folder's where it is only called `train`.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let parent = absolute.parent().and_then(Path::file_name).unwrap_or_default();
    let candidates = [stem(path), parent.to_string_lossy().into_owned()];
    let name = candidates.iter().map(|name| plain(name)).find(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| OWN.to_owned());
    // GLUE's tasks have their names to themselves.
    match is_taken(&name) {
        true => format!("{OWN}-{name}"),
        false => name,
    }
}

/// Whether `name` is that of one of GLUE's tasks or of the demo.
#[must_use]
pub fn is_taken(name: &str) -> bool {
    let name = names::canonical(name);
    TASKS.iter().any(|task| task.name == name)
}

/// Whether `name` can be that of a task: it becomes part of file names.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(plain)
}

/// The longest name of a task, in bytes.
const LONGEST: usize = 40;

/// `name` in small letters, digits and hyphens, without the word `train` at an end.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = name.chars().map(kept).collect();
    let words = name.split('-').filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let is_train = |word: &&str| matches!(*word, "train" | "training");
    let words = match words.as_slice() {
        [rest @ .., last] if is_train(last) => rest,
        [first, rest @ ..] if is_train(first) => rest,
        all => all,
    };
    let mut name = words.join("-");
    name.truncate(LONGEST);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_task() {
        for (path, name) in [
            ("data/reviews.csv", "reviews"),
            ("data/Movie Reviews (2024).train.csv.gz", "movie-reviews-2024"),
            ("data/reviews_train.csv", "reviews"),
            ("data/train.csv", "data"),
            ("data/training.parquet", "data"),
            ("data/rte.csv", "own-rte"),
            ("data/SST-2.tsv", "own-sst-2"),
            ("train/train.csv", "own"),
            ("data/\u{4e2d}.csv", "data"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
            assert!(is_name(name) && !is_taken(name));
        }
        let long = name_of(Path::new(&format!("{}.csv", "x".repeat(300))));
        assert_eq!(long.len(), LONGEST);
        for name in ["", "a_b", "a/b", "a b", "\u{e9}"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
