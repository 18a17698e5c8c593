//! Patterns over the names of parameters.

use std::fmt;

/// A part of a name; `*` in it stands for any text, none as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern `text`, without spaces around it; `None` for an empty one, which is part of every
    /// name.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_string()))
    }

    /// Whether `name` has such a part.
    pub fn matches(&self, name: &str) -> bool {
        let mut rest = name;
        self.0.split('*').all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_part_of_a_name_and_a_star_any_text() {
        let name = "bert.encoder.layer.10.attention.self.query.weight";
        for (pattern, expected) in [
            ("layer.10.", true),
            ("layer.1", true),
            ("layer.1.", false),
            ("encoder.layer.*.attention", true),
            ("attention*layer", false),
            ("*", true),
            ("query.*", true),
            ("bert*query*weight", true),
            ("layer.*.output", false),
            ("Query", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern}");
        }
        assert_eq!((Pattern::new(""), Pattern::new("  ")), (None, None));
        assert_eq!(Pattern::new(" key ").unwrap().text(), "key");
    }
}
