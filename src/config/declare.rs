//! The macro that makes groups of settings from their one declaration, and the table of all settings.

use toml::{Table, Value};

use super::forms::{Form, Kind};
use crate::error::{Error, Result};

/// A setting, for those who show it or offer a flag for it.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Its key in recipes and `config.toml`; the flag's name has hyphens instead.
    pub name: &'static str,
    /// The heading of its group.
    pub group: &'static str,
    /// What it means, each line with a space before it.
    pub doc: &'static str,
    /// How its flag takes the value.
    pub kind: Kind,
    /// How its flag differs from others.
    pub flag: Flag,
    /// The written default.
    pub default: fn() -> Result<Value>,
    /// Refuses values of another type.
    pub(super) check_type: fn(&Value) -> Result<(), String>,
}

/// How a setting's flag differs from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// In nothing.
    Plain,
    /// There is none: the setting is given in another way.
    Without,
    /// It has a second name.
    Alias(&'static str),
    /// It stands only where another flag does.
    Requires(&'static str),
}

/// The meaning of the setting `name` in `table`, which has all settings.
pub(super) fn read<F: Form>(name: &str, table: &Table) -> Result<F::Value> {
    let written = table.get(name).cloned().map(Value::try_into::<F::Written>);
    let written = written.and_then(std::result::Result::ok);
    let written = written.ok_or_else(|| Error::run(format!("the setting {name} is missing")))?;
    F::read(written).map_err(|(expected, found)| Error::value(name, expected, found))
}

/// A value as it is written.
pub(super) fn written<F: Form>(name: &str, written: &F::Written) -> Result<Value> {
    Value::try_from(written).map_err(|e| Error::value(name, "a value that can be written", e))
}

/// Refuses values of another type than `F` is written in.
pub(super) fn check_type<F: Form>(value: &Value) -> Result<(), String> {
    let typed = value.clone().try_into::<F::Written>();
    typed.map(drop).map_err(|e| e.message().trim().to_string())
}

/// Groups of settings. Each setting stands here once: its documentation, which is also its flag's
/// help, its form (type and check), its written default, and how its flag differs.
macro_rules! settings {
    (@flag) => { Flag::Plain };
    (@flag $flag:expr) => { $flag };
    ($(
        $(#[doc = $group_doc:literal])+
        $group:ident in $heading:literal {
            $(
                $(#[doc = $doc:literal])+
                $name:ident: $form:ty = $default:expr $(, $flag:expr)?;
            )+
        }
    )+) => {
        $(
            $(#[doc = $group_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $group {
                $(
                    $(#[doc = $doc])+
                    pub $name: <$form as Form>::Value,
                )+
            }

            impl $group {
                /// The heading of its flags.
                pub const HEADING: &'static str = $heading;

                fn read(table: &Table) -> Result<Self> {
                    Ok(Self { $($name: declare::read::<$form>(stringify!($name), table)?,)+ })
                }

                fn write(&self, table: &mut Table) -> Result<()> {
                    $(
                        let written = <$form as Form>::write(&self.$name);
                        let name = stringify!($name);
                        table.insert(name.to_string(), declare::written::<$form>(name, &written)?);
                    )+
                    Ok(())
                }
            }
        )+

        /// All settings, in the order of their groups.
        pub const SETTINGS: &[Setting] = &[$($(
            Setting {
                name: stringify!($name),
                group: $heading,
                doc: concat!($($doc, "\n"),+),
                kind: <<$form as Form>::Written as Written>::KIND,
                flag: settings!(@flag $($flag)?),
                default: || declare::written::<$form>(stringify!($name), &$default),
                check_type: declare::check_type::<$form>,
            },
        )+)+];
    };
}

pub(super) use settings;
