//! The command line: one file per subcommand.

mod bars;
mod bench;
mod compare;
mod convert;
mod data;
mod demo_data;
mod doctor;
mod download;
mod encode;
mod evaluate;
mod inference;
mod left;
mod list;
mod own;
mod predict;
mod prepare;
mod printer;
mod recipe;
mod refused;
mod report;
mod resume;
mod runs;
mod saved;
#[cfg(feature = "serve")]
mod serve;
mod settings;
mod signals;
mod submit;
mod supply;
mod train;
mod training;
mod windows;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::printer::Printer;
use crate::backend::start_threads;
use crate::error::{Error, Result};
use crate::panics;
use crate::world::{self, Launch};

/// Prunes BERT and encoders like it while they are fine-tuned, with PLATON.
#[derive(Parser)]
#[command(name = "platon", version, max_term_width = 100, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fine-tune and prune a model on one task.
    Train(Box<train::TrainArgs>),
    /// Print a recipe that comes with the program, or the names of all.
    Recipe(recipe::RecipeArgs),
    /// Go on with a run that was stopped or killed.
    Resume(resume::ResumeArgs),
    /// Look at a file of your own before it is learnt from.
    Data(data::DataArgs),
    /// Turn raw GLUE files into encoded samples.
    Prepare(prepare::PrepareArgs),
    /// List the runs below a folder: what each is, how far it is, what it reached.
    List(list::ListArgs),
    /// Put runs side by side: what differs in their settings, and what came out.
    Compare(compare::CompareArgs),
    /// Write a page that shows a run, or compares several.
    Report(report::ReportArgs),
    /// Score the saved model of a run on the dev sets.
    Evaluate(evaluate::EvaluateArgs),
    /// Predict labels or scores for texts of your own.
    Predict(predict::PredictArgs),
    /// Answer over HTTP.
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
    /// Print or save the encoder's vectors of texts.
    Encode(encode::EncodeArgs),
    /// Time a model's answers, dense and sparse.
    Bench(bench::BenchArgs),
    /// Make the archive that the GLUE server takes from finished runs.
    Submit(submit::SubmitArgs),
    /// Write a run's model as a Hugging Face folder, an ONNX model or a sparse file.
    Export(convert::ExportArgs),
    /// Turn a checkpoint of any known kind into a Hugging Face folder.
    Convert(convert::ConvertArgs),
    /// Bring GLUE's official files, and models from Hugging Face.
    Download(download::DownloadArgs),
    /// Tell what this machine and this build can do, and what is in the way of a run.
    Doctor(doctor::DoctorArgs),
    /// Make the demo's data set anew.
    DemoData(demo_data::DemoDataArgs),
}

/// Parses the process's arguments, runs the command, prints its error.
pub fn main() -> ExitCode {
    let code = command_line();
    // Of other processes that do the same command's work.
    world::leave(code);
    ExitCode::from(code)
}

fn command_line() -> u8 {
    panics::keep_quiet();
    signals::fail_writes_instead_of_dying();
    let launch = Launch::found();
    start_threads(launch);
    let printer = Printer::new();
    let arguments = std::env::args_os().map(accept_underscores).collect();
    let arguments = match refused::sift(arguments, &train_flags()) {
        Ok(arguments) => arguments,
        Err(error) => {
            printer.log(&format!("error: {error}"));
            return 2;
        }
    };
    let matches = Cli::command().try_get_matches_from(arguments);
    let cli = match matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, usage errors to stderr with code 2.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let result = panics::catch(|| run(cli.command, &printer));
    let result = result.unwrap_or_else(|cause| {
        Err(Error::run(format!("internal error: {cause}")).hint("this is a bug; please report it"))
    });
    match result {
        Ok(code) => code,
        Err(Error::Closed) => 0,
        Err(error) => {
            printer.log(&format!("error: {error}"));
            1
        }
    }
}

/// Runs the command; the exit code.
fn run(command: Command, printer: &Printer) -> Result<u8> {
    match command {
        // They divide their work.
        Command::Train(_) | Command::Resume(_) => {}
        // Tells how many processes there are.
        Command::Doctor(_) => drop(world::speak_as_one()),
        _ => world::refuse_many()?,
    }
    match command {
        Command::Train(args) => return train::run(&args, printer),
        Command::Resume(args) => return resume::run(&args, printer),
        Command::Doctor(args) => return doctor::run(&args, printer),
        Command::Recipe(args) => recipe::run(&args, printer),
        Command::Data(args) => data::run(&args, printer),
        Command::Prepare(args) => prepare::run(&args, printer),
        Command::List(args) => list::run(&args, printer),
        Command::Compare(args) => compare::run(&args, printer),
        Command::Report(args) => report::run(&args, printer),
        Command::Evaluate(args) => evaluate::run(&args, printer),
        Command::Predict(args) => predict::run(&args, printer),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, printer),
        Command::Encode(args) => encode::run(&args, printer),
        Command::Bench(args) => bench::run(&args, printer),
        Command::Submit(args) => submit::run(&args, printer),
        Command::Export(args) => convert::export(&args, printer),
        Command::Convert(args) => convert::convert(&args, printer),
        Command::Download(args) => download::run(&args, printer),
        Command::DemoData(args) => demo_data::run(&args, printer),
    }
    .map(|()| 0)
}

/// The names of the flags of `train`, without the hyphens before them.
fn train_flags() -> Vec<String> {
    let mut command = Cli::command();
    let train = command.find_subcommand_mut("train");
    let names = train.into_iter().flat_map(|train| train.get_arguments()).flat_map(|flag| {
        flag.get_long_and_visible_aliases()
            .into_iter()
            .flatten()
            .chain(flag.get_all_aliases().into_iter().flatten())
    });
    names.map(str::to_string).collect()
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
