//! YAML as PyYAML reads it, which is what task tables are written for.
//!
//! PyYAML takes the older YAML 1.1: `010` and `0x8` are 8, `on` and `yes` are true, and of a key that
//! comes twice the last value counts. Where a text is wanted, a plain scalar is the text that stands
//! there, be it `n`, `y` or `1e3`.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Options};

/// The keys of the mapping `text`, each once, in their order.
///
/// # Errors
/// It is no mapping, or unfolds to more than is good.
pub(super) fn keys(text: &str) -> Result<Vec<String>, Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |de| {
        de.deserialize_map(Keys)
    })
}

/// The value of `key` in the mapping `text`, if it is there. The other values may be anything.
///
/// # Errors
/// As [`keys`]; the value is no `T`.
pub(super) fn value<T: for<'de> Deserialize<'de>>(
    text: &str,
    key: &str,
) -> Result<Option<T>, Error> {
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |de| {
        Value { key, kind: PhantomData }.deserialize(de)
    })
}

fn options() -> Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a mapping of names to entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        while let Some((key, IgnoredAny)) = map.next_entry::<String, _>()? {
            if seen.insert(key.clone()) {
                keys.push(key);
            }
        }
        Ok(keys)
    }
}

struct Value<'a, T> {
    key: &'a str,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Value<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, de: D) -> Result<Self::Value, D::Error> {
        de.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Value<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Keys.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.key {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Scalars {
        texts: Vec<String>,
        whole: Vec<usize>,
        numbers: Vec<f64>,
        switches: Vec<bool>,
    }

    /// What PyYAML's `safe_load` gives for the numbers and switches; of the texts it would make some
    /// numbers, dates or booleans, which no label of a data file can be.
    #[test]
    fn plain_scalars_are_those_of_yaml_1_1() {
        let text = "
t:
  texts: [n, y, N, 1e3, on, yes, no, 010, 0x10, 2020-01-01, 1_000, 1.0, 'yes', true]
  whole: [010, 0x10, 0b11, 1_000, 12, +3]
  numbers: [0.05, .5, 1., 1.0e-1, 3]
  switches: [on, off, yes, No, TRUE, False]
";
        let read: Scalars = value(text, "t").unwrap().unwrap();
        let expected = "n y N 1e3 on yes no 010 0x10 2020-01-01 1_000 1.0 yes true";
        assert_eq!(read.texts.join(" "), expected);
        assert_eq!(read.whole, [8, 16, 3, 1000, 12, 3]);
        assert_eq!(read.numbers, [0.05, 0.5, 1.0, 0.1, 3.0]);
        assert_eq!(read.switches, [true, false, true, false, true, false]);
    }

    #[test]
    fn keys_are_texts_and_the_last_of_two_counts() {
        let text = "no: 1\n1e3: [2]\non: {a: .inf}\nno: 3\n";
        assert_eq!(keys(text).unwrap(), ["no", "1e3", "on"]);
        assert_eq!(value(text, "no").unwrap(), Some(3));
        assert_eq!(value::<u8>(text, "yes").unwrap(), None);
        assert!(keys("[1, 2]").is_err());
    }
}
