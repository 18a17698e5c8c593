//! The flags that override a recipe, made from the table of all settings.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use toml::{Table, Value};

use crate::config::{AUTO, Flag, Kind, Layer, SETTINGS, Setting};

/// Settings of a run. What is not given comes from the recipe, or else from the default.
pub struct Settings(Table);

impl Settings {
    /// The flags that were given, as a layer over the recipe.
    pub fn layer(&self) -> Layer {
        Layer::command_line(self.0.clone())
    }
}

/// Numbers in TOML reach no further.
const LARGEST: u64 = i64::MAX as u64;

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        let flags = SETTINGS.iter().filter(|setting| setting.flag != Flag::Without);
        command.args(flags.map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SETTINGS.iter().filter(|setting| setting.flag != Flag::Without);
        let given = flags.filter_map(|setting| Some((setting.name, given(setting, matches)?)));
        let table = given.map(|(name, value)| Ok((name.to_string(), value?)));
        table.collect::<Result<_, clap::Error>>().map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn argument(setting: &Setting) -> Arg {
    let argument = Arg::new(setting.name)
        .long(flag(setting))
        .value_name(setting.name.to_uppercase())
        .help_heading(setting.group)
        .help(help(setting));
    let argument = match setting.kind {
        Kind::Text => argument,
        Kind::Path => argument.value_parser(value_parser!(PathBuf)),
        Kind::Whole => argument.value_parser(value_parser!(u64).range(..=LARGEST)),
        Kind::Signed => argument.value_parser(value_parser!(i64)).allow_negative_numbers(true),
        Kind::Number => argument.value_parser(value_parser!(f64)),
        Kind::NumberOrAuto => argument.value_parser(number_or_auto),
        Kind::Switch => argument
            .value_parser(value_parser!(bool))
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .hide_possible_values(true),
        // Of an option that comes twice the last one counts, as in the original.
        Kind::List => argument.value_delimiter(',').action(ArgAction::Set),
    };
    match setting.flag {
        Flag::Alias(name) => argument.alias(name),
        Flag::Requires(other) => argument.requires(other),
        Flag::Plain | Flag::Without => argument,
    }
}

/// What a file would hold of a number or the word `auto`.
fn number_or_auto(text: &str) -> Result<Value, String> {
    if text == AUTO {
        return Ok(AUTO.into());
    }
    text.parse::<f64>().map(Value::from).map_err(|e| format!("{e}; or {AUTO}"))
}

/// The name of the setting's flag, without the hyphens before it.
fn flag(setting: &Setting) -> String {
    setting.name.replace('_', "-")
}

/// The setting's documentation in one line, with its default where there is something to say.
fn help(setting: &Setting) -> String {
    let lines: Vec<&str> = setting.doc.lines().map(str::trim).collect();
    let text = lines.join(" ").trim_end().trim_end_matches('.').to_string();
    match (setting.default)() {
        Ok(Value::String(default)) if !default.is_empty() => format!("{text} [default: {default}]"),
        Ok(default @ (Value::Integer(_) | Value::Float(_))) => {
            format!("{text} [default: {default}]")
        }
        _ => text,
    }
}

/// The value that was given for a setting, as a file would hold it.
fn given(setting: &Setting, matches: &ArgMatches) -> Option<Result<Value, clap::Error>> {
    let name = setting.name;
    Some(Ok(match setting.kind {
        Kind::Text => matches.get_one::<String>(name)?.clone().into(),
        Kind::Path => match matches.get_one::<PathBuf>(name)?.to_str() {
            Some(path) => path.into(),
            None => {
                let message = format!("--{}: expected a path in UTF-8\n", flag(setting));
                return Some(Err(clap::Error::raw(ErrorKind::InvalidUtf8, message)));
            }
        },
        Kind::Whole => i64::try_from(*matches.get_one::<u64>(name)?).unwrap_or(i64::MAX).into(),
        Kind::Signed => (*matches.get_one::<i64>(name)?).into(),
        Kind::Number => (*matches.get_one::<f64>(name)?).into(),
        Kind::NumberOrAuto => matches.get_one::<Value>(name)?.clone(),
        Kind::Switch => (*matches.get_one::<bool>(name)?).into(),
        Kind::List => matches.get_many::<String>(name)?.cloned().collect::<Vec<_>>().into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Table, clap::Error> {
        let command =
            Settings::augment_args(Command::new("x")).arg(Arg::new("resume").long("resume"));
        let command = command.args_override_self(true);
        let matches = command.try_get_matches_from([&["x"], arguments].concat())?;
        Ok(Settings::from_arg_matches(&matches)?.layer().settings)
    }

    #[test]
    fn every_setting_but_the_tasks_has_a_flag_that_takes_what_a_file_holds() {
        for setting in SETTINGS {
            let (text, expected): (_, Value) = match setting.kind {
                Kind::Text | Kind::Path => ("x", "x".into()),
                Kind::Whole | Kind::Signed => ("3", 3.into()),
                Kind::Number | Kind::NumberOrAuto => ("0.5", 0.5.into()),
                Kind::Switch => ("true", true.into()),
                Kind::List => ("a,b", vec!["a", "b"].into()),
            };
            let result = parsed(&[&format!("--{}={text}", flag(setting)), "--resume=1"]);
            if setting.flag == Flag::Without {
                assert!(result.is_err());
                continue;
            }
            assert_eq!(result.unwrap(), Table::from_iter([(setting.name.to_string(), expected)]));
        }
    }

    #[test]
    fn flags_have_their_ways() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        assert_eq!(parsed(&[]).unwrap(), Table::new());
        assert_eq!(parsed(&["--deltaT", "5"]).unwrap(), table("delta_t = 5"));
        assert_eq!(parsed(&["--bin-on"]).unwrap(), table("bin_on = true"));
        let lists = ["--test-datasets", "a,b", "--test-datasets", "c,d"];
        assert_eq!(parsed(&lists).unwrap(), table("test_datasets = [\"c\", \"d\"]"));
        assert_eq!(parsed(&["--seed", "1", "--bin-on", "--seed=2"]).unwrap().len(), 2);
        let auto = parsed(&["--initial-threshold", "auto"]).unwrap();
        assert_eq!(auto, table("initial_threshold = \"auto\""));
        let parts = parsed(&["--prune-ratios", "embeddings=0.5,layer.0.=0.4"]).unwrap();
        assert_eq!(parts, table("prune_ratios = [\"embeddings=0.5\", \"layer.0.=0.4\"]"));
        assert_eq!(parsed(&["--bin-on=false"]).unwrap(), table("bin_on = false"));
        assert_eq!(
            parsed(&["--num-hidden-layers", "-1"]).unwrap(),
            table("num_hidden_layers = -1")
        );
        for wrong in [
            "--epochs=x",
            "--initial-threshold=all",
            "--seed=-1",
            "--seed=9223372036854775808",
            "--model-ckpt=x",
        ] {
            assert!(parsed(&[wrong]).is_err(), "{wrong}");
        }
        let text = help(SETTINGS.iter().find(|setting| setting.name == "delta_t").unwrap());
        assert_eq!(text, "Window over which sensitivities are averaged, in updates [default: 1]");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_no_file_can_hold_is_refused_by_its_flag() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let arguments = [OsStr::new("x"), OsStr::new("--data-dir"), OsStr::from_bytes(b"\xff")];
        let matches = Settings::augment_args(Command::new("x").arg(Arg::new("resume")))
            .try_get_matches_from(arguments)
            .unwrap();
        let error = Settings::from_arg_matches(&matches).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidUtf8);
        assert!(error.to_string().contains("--data-dir: expected a path in UTF-8"), "{error}");
    }
}
