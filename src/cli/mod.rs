//! The command line: one file per subcommand.

mod demo_data;
mod evaluate;
mod output;
mod prepare;
mod settings;
mod train;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::backend::start_threads;
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
    /// Turn raw GLUE files into encoded samples.
    Prepare(prepare::PrepareArgs),
    /// Score the saved model of a run on the dev sets.
    Evaluate(evaluate::EvaluateArgs),
    /// Make the demo's data set anew.
    DemoData(demo_data::DemoDataArgs),
}

/// Parses the process's arguments, runs the command, prints its error.
pub fn main() -> ExitCode {
    panics::keep_quiet();
    start_threads();
    let cli = match Cli::try_parse_from(std::env::args_os().map(accept_underscores)) {
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

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => train::run(*args),
        Command::Prepare(args) => prepare::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
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
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn underscores_are_accepted_in_names_only() {
        let accepted = |a: &str| accept_underscores(a.into()).into_string().unwrap();
        assert_eq!(accepted("--data_dir=a_b"), "--data-dir=a_b");
        assert_eq!(accepted("--warmup_steps"), "--warmup-steps");
        assert_eq!(accepted("a_b"), "a_b");
    }
}
