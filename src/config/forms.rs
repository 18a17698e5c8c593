//! How settings stand in files and what they mean: the written value, checked, becomes the value
//! that the program works with.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::BackendName;
use crate::kernels::Precision;
use crate::optim::{OptimizerName, Schedule};
use crate::pruning::Pruner;

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
    Text: String, BackendName, OptimizerName, Precision, Pruner, Schedule;
    Path: PathBuf;
    Whole: usize, u64;
    Signed: i64;
    Number: f64;
    Switch: bool;
    List: Vec<String>;
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
    /// A share that is never all.
    Share(f64): "a number in [0, 1)", value => (0.0..1.0).contains(&value)
);
range!(
    /// A number above 0.
    Positive(f64): "a positive number", value => value > 0.0 && value.is_finite()
);
range!(
    /// A number from 0.
    NotNegative(f64): "0 or a positive number", value => value >= 0.0 && value.is_finite()
);

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
