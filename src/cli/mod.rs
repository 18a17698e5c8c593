//! The command line: one file per subcommand.

mod convert;
mod demo_data;
mod download;
mod encode;
mod evaluate;
mod job;
mod output;
mod predict;
mod prepare;
mod refused;
mod resume;
mod saved;
mod settings;
mod submit;
mod train;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::backend::start_threads;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::panics;

/// Prunes BERT on the GLUE benchmark while it is fine-tuned, with PLATON.
#[derive(Parser)]
#[command(name = "platon", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fine-tune and prune a model on one task.
    Train(Box<train::TrainArgs>),
    /// Go on with a run that was stopped or killed.
    Resume(resume::ResumeArgs),
    /// Turn raw GLUE files into encoded samples.
    Prepare(prepare::PrepareArgs),
    /// Score the saved model of a run on the dev sets.
    Evaluate(evaluate::EvaluateArgs),
    /// Predict labels or scores for texts of your own.
    Predict(predict::PredictArgs),
    /// Print or save the encoder's vectors of texts.
    Encode(encode::EncodeArgs),
    /// Make the archive that the GLUE server takes from finished runs.
    Submit(submit::SubmitArgs),
    /// Write a run's model as a Hugging Face folder or as a sparse file.
    Export(convert::ExportArgs),
    /// Turn a checkpoint of any known kind into a Hugging Face folder.
    Convert(convert::ConvertArgs),
    /// Bring GLUE's official files, and models from Hugging Face.
    Download(download::DownloadArgs),
    /// Make the demo's data set anew.
    DemoData(demo_data::DemoDataArgs),
}

/// Parses the process's arguments, runs the command, prints its error.
pub fn main() -> ExitCode {
    panics::keep_quiet();
    start_threads();
    let arguments = match refused::sift(std::env::args_os().map(accept_underscores).collect()) {
        Ok(arguments) => arguments,
        Err(error) => {
            output::log(&format!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    let matches = command().try_get_matches_from(arguments);
    let cli = match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, usage errors to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| run(cli.command)));
    let result = result.unwrap_or_else(|_| {
        let cause = panics::take().unwrap_or_default();
        Err(Error::run(format!("internal error: {cause}")).hint("this is a bug; please report it"))
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            output::log(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The command line with the settings' defaults in the help.
fn command() -> clap::Command {
    let defaults = RunConfig::default().to_table().unwrap_or_default();
    Cli::command().mut_subcommand("train", |train| {
        train.mut_args(|argument| {
            if argument.is_positional() {
                return argument;
            }
            let shown = match defaults.get(argument.get_id().as_str()) {
                Some(toml::Value::String(text)) if text.is_empty() => None,
                Some(toml::Value::String(text)) => Some(text.clone()),
                Some(toml::Value::Boolean(_) | toml::Value::Array(_)) | None => None,
                Some(value) => Some(value.to_string()),
            };
            match (shown, argument.get_help().cloned()) {
                (Some(value), Some(help)) => argument.help(format!("{help} [default: {value}]")),
                _ => argument,
            }
        })
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => train::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Prepare(args) => prepare::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(args),
        Command::Encode(args) => encode::run(args),
        Command::Submit(args) => submit::run(&args),
        Command::Export(args) => convert::export(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Download(args) => download::run(&args),
        Command::DemoData(args) => demo_data::run(&args),
    }
}

/// The original spells its options with underscores: `--batch_size` is `--batch-size` here.
fn accept_underscores(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with("--") => {
            let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
            let name = name.replace('_', "-");
            value.map_or_else(|| name.clone().into(), |v| format!("{name}={v}").into())
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn underscores_are_accepted_in_names_only() {
        let accepted = |a: &str| accept_underscores(a.into()).into_string().unwrap();
        assert_eq!(accepted("--data_dir=a_b"), "--data-dir=a_b");
        assert_eq!(accepted("--warmup_steps"), "--warmup-steps");
        assert_eq!(accepted("a_b"), "a_b");
    }
}
