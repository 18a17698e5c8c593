//! What exact shrinking leaves of a model, for people.

use crate::sparse::{Left, Shrunk};

/// What is left of each layer, and of all: a table's lines.
pub fn describe(shrunk: &[Shrunk]) -> Vec<String> {
    let row = |name: &str, shrunk: &Shrunk| {
        let left = |left: Left| format!("{} of {}", left.alive, left.of);
        format!(
            "{name:>5}  {:>13}  {:>16}  {:>13}  {:>10}",
            left(shrunk.neurons),
            left(shrunk.keys),
            left(shrunk.values),
            left(shrunk.heads),
        )
    };
    let mut lines =
        vec!["layer        neurons  query/key dims.     value dims.       heads".to_string()];
    lines.extend(shrunk.iter().enumerate().map(|(n, layer)| row(&n.to_string(), layer)));
    lines.push(row("all", &shrunk.iter().copied().sum()));
    lines
}
