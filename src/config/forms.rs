//! How settings stand in files and what they mean: the written value, checked, becomes the value
//! that the program works with.

use std::fmt;
use std::path::PathBuf;

use serde::de::{DeserializeOwned, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BackendName, NoiseNorm};
use crate::kernels::Precision;
use crate::optim::{OptimizerName, Schedule};
use crate::pruning::{Pattern, Pruner};

/// A type that settings are written in.
pub trait Written: Serialize + DeserializeOwned {
    /// How a flag takes it.
    const KIND: Kind;
}

/// How a flag takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// A whole number from 0.
    Whole,
    /// A whole number that may be negative.
    Signed,
    /// Any number.
    Number,
    /// Any number, or the word `auto`.
    NumberOrAuto,
    /// `true` where it only stands there, or with `=true` and `=false`.
    Switch,
    /// Texts with commas between them.
    List,
}

macro_rules! written {
    ($($kind:ident: $($written:ty),+;)+) => {
        $($(impl Written for $written { const KIND: Kind = Kind::$kind; })+)+
    };
}

written! {
    Text: String, BackendName, NoiseNorm, OptimizerName, Precision, Pruner, Schedule;
    Path: PathBuf;
    Whole: usize, u64;
    Signed: i64;
    Number: f64;
    NumberOrAuto: NumberOrAuto;
    Switch: bool;
    List: Vec<String>, Vec<f64>;
}

/// A number, or the word `auto`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NumberOrAuto {
    /// The number.
    Number(f64),
    /// The word.
    Auto,
}

/// The word for a number that is yet to be found.
pub const AUTO: &str = "auto";

impl Serialize for NumberOrAuto {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Auto => serializer.serialize_str(AUTO),
        }
    }
}

impl<'de> Deserialize<'de> for NumberOrAuto {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadNumberOrAuto)
    }
}

struct ReadNumberOrAuto;

impl Visitor<'_> for ReadNumberOrAuto {
    type Value = NumberOrAuto;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or \"auto\"")
    }

    fn visit_f64<E>(self, number: f64) -> Result<NumberOrAuto, E> {
        Ok(NumberOrAuto::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<NumberOrAuto, E> {
        Ok(NumberOrAuto::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<NumberOrAuto, E> {
        Ok(NumberOrAuto::Number(number as f64))
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<NumberOrAuto, E> {
        match word {
            AUTO => Ok(NumberOrAuto::Auto),
            _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
        }
    }
}

/// What a written value means.
pub trait Form {
    /// As it is written.
    type Written: Written;
    /// As the program works with it.
    type Value;

    /// The meaning of a written value, or what was expected and what was found.
    fn read(written: Self::Written) -> Result<Self::Value, (&'static str, String)>;

    /// The reverse.
    fn write(value: &Self::Value) -> Self::Written;
}

/// Any value, as it is.
pub struct Any<T>(std::marker::PhantomData<T>);

impl<T: Written + Clone> Form for Any<T> {
    type Written = T;
    type Value = T;

    fn read(written: T) -> Result<T, (&'static str, String)> {
        Ok(written)
    }

    fn write(value: &T) -> T {
        value.clone()
    }
}

/// Numbers that must be in a range, and are what they are.
macro_rules! range {
    ($(#[$doc:meta])* $name:ident($written:ty): $expected:literal, $value:ident => $check:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Form for $name {
            type Written = $written;
            type Value = $written;

            fn read($value: $written) -> Result<$written, (&'static str, String)> {
                if $check { Ok($value) } else { Err(($expected, $value.to_string())) }
            }

            fn write(value: &$written) -> $written {
                *value
            }
        }
    };
}

range!(
    /// A number of things of which there must be one.
    AtLeast1(usize): "at least 1", value => value > 0
);
range!(
    /// A time in seconds, short enough to be added to any other.
    Seconds(usize): "1 to 31536000 seconds, which are a year", value => (1..=31_536_000).contains(&value)
);
range!(
    /// A share that is never all.
    Share(f64): "a number in [0, 1)", value => (0.0..1.0).contains(&value)
);
range!(
    /// A share.
    Fraction(f64): "a number in [0, 1]", value => (0.0..=1.0).contains(&value)
);
range!(
    /// A number above 0.
    Positive(f64): "a positive number", value => value > 0.0 && value.is_finite()
);
range!(
    /// A number by which numbers of 32 bits are kept away from 0.
    PositiveSingle(f64): "a number that is positive in 32 bits", value => value as f32 > 0.0 && value.is_finite()
);
range!(
    /// A number from 0.
    NotNegative(f64): "0 or a positive number", value => value >= 0.0 && value.is_finite()
);

/// Shares that are never all.
pub struct Shares;

impl Form for Shares {
    type Written = Vec<f64>;
    type Value = Vec<f64>;

    fn read(values: Vec<f64>) -> Result<Vec<f64>, (&'static str, String)> {
        match values.iter().find(|value| !(0.0..1.0).contains(*value)) {
            Some(value) => Err(("numbers in [0, 1)", value.to_string())),
            None => Ok(values),
        }
    }

    fn write(values: &Vec<f64>) -> Vec<f64> {
        values.clone()
    }
}

/// A number, 0 being written for none.
pub struct ZeroIsNone;

impl Form for ZeroIsNone {
    type Written = usize;
    type Value = Option<usize>;

    fn read(written: usize) -> Result<Option<usize>, (&'static str, String)> {
        Ok((written > 0).then_some(written))
    }

    fn write(value: &Option<usize>) -> usize {
        value.unwrap_or(0)
    }
}

/// An upper bound, 0 being written for none.
pub struct Bound;

impl Form for Bound {
    type Written = f64;
    type Value = Option<f64>;

    fn read(written: f64) -> Result<Option<f64>, (&'static str, String)> {
        NotNegative::read(written).map(|bound| (bound > 0.0).then_some(bound))
    }

    fn write(value: &Option<f64>) -> f64 {
        value.unwrap_or(0.0)
    }
}

/// A number from 1, -1 being written for all.
pub struct MinusOneIsAll;

impl Form for MinusOneIsAll {
    type Written = i64;
    type Value = Option<usize>;

    fn read(written: i64) -> Result<Option<usize>, (&'static str, String)> {
        match usize::try_from(written) {
            Err(_) if written == -1 => Ok(None),
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(("-1 for all, or at least 1", written.to_string())),
        }
    }

    fn write(value: &Option<usize>) -> i64 {
        value.and_then(|number| i64::try_from(number).ok()).unwrap_or(-1)
    }
}

/// A text, an empty one being written for none.
pub struct OptionalText;

impl Form for OptionalText {
    type Written = String;
    type Value = Option<String>;

    fn read(written: String) -> Result<Option<String>, (&'static str, String)> {
        Ok((!written.is_empty()).then_some(written))
    }

    fn write(value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }
}

/// A share that is never all, 0 being written for none.
pub struct OptionalShare;

impl Form for OptionalShare {
    type Written = f64;
    type Value = Option<f64>;

    fn read(written: f64) -> Result<Option<f64>, (&'static str, String)> {
        Share::read(written).map(|share| (share > 0.0).then_some(share))
    }

    fn write(value: &Option<f64>) -> f64 {
        value.unwrap_or(0.0)
    }
}

/// A path, an empty one being written for none.
pub struct EmptyIsNone;

impl Form for EmptyIsNone {
    type Written = PathBuf;
    type Value = Option<PathBuf>;

    fn read(written: PathBuf) -> Result<Option<PathBuf>, (&'static str, String)> {
        Ok((!written.as_os_str().is_empty()).then_some(written))
    }

    fn write(value: &Option<PathBuf>) -> PathBuf {
        value.clone().unwrap_or_default()
    }
}

/// A number, the word `auto` being written where it is found out where a run begins.
pub struct AutoIsNone;

impl Form for AutoIsNone {
    type Written = NumberOrAuto;
    type Value = Option<f64>;

    fn read(written: NumberOrAuto) -> Result<Option<f64>, (&'static str, String)> {
        Ok(match written {
            NumberOrAuto::Number(number) => Some(number),
            NumberOrAuto::Auto => None,
        })
    }

    fn write(value: &Option<f64>) -> NumberOrAuto {
        value.map_or(NumberOrAuto::Auto, NumberOrAuto::Number)
    }
}

/// Patterns over names.
pub struct Patterns;

impl Form for Patterns {
    type Written = Vec<String>;
    type Value = Vec<Pattern>;

    fn read(written: Vec<String>) -> Result<Vec<Pattern>, (&'static str, String)> {
        let empty = || ("parts of names, with commas between them", format!("{written:?}"));
        written.iter().map(|text| Pattern::new(text).ok_or_else(empty)).collect()
    }

    fn write(value: &Vec<Pattern>) -> Vec<String> {
        value.iter().map(Pattern::to_string).collect()
    }
}

/// Patterns over names, each with a ratio.
pub struct Ratios;

impl Form for Ratios {
    type Written = Vec<String>;
    type Value = Vec<(Pattern, f64)>;

    fn read(written: Vec<String>) -> Result<Vec<(Pattern, f64)>, (&'static str, String)> {
        let mut ratios: Vec<(Pattern, f64)> = Vec::new();
        for text in written {
            let part = text.rsplit_once('=').and_then(|(pattern, ratio)| {
                let ratio = ratio.trim().parse().ok().filter(|r| *r > 0.0 && *r <= 1.0)?;
                Some((Pattern::new(pattern)?, ratio))
            });
            let Some((pattern, ratio)) = part else {
                return Err(("PATTERN=RATIO with a ratio in (0, 1], as layer.0.=0.5", text));
            };
            if ratios.iter().any(|(other, _)| *other == pattern) {
                return Err(("each pattern once", text));
            }
            ratios.push((pattern, ratio));
        }
        Ok(ratios)
    }

    fn write(value: &Vec<(Pattern, f64)>) -> Vec<String> {
        value.iter().map(|(pattern, ratio)| format!("{pattern}={ratio}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_patterns_with_ratios() {
        let read = |texts: &[&str]| Ratios::read(texts.iter().map(ToString::to_string).collect());
        let parts = read(&["embeddings=0.5", " layer.*.output = 1"]).unwrap();
        assert_eq!(Ratios::write(&parts), ["embeddings=0.5", "layer.*.output=1"]);
        for wrong in ["a", "a=", "=0.5", "a=0", "a=1.1", "a=nan", "a=-0.1", "a=x"] {
            let (expected, found) = read(&[wrong]).unwrap_err();
            assert!(expected.contains("PATTERN=RATIO") && found == wrong, "{wrong}");
        }
        assert_eq!(read(&["a=0.5", "a=0.2"]).unwrap_err().0, "each pattern once");
        assert!(Patterns::read(vec!["a".into(), " ".into()]).is_err());
    }
}
