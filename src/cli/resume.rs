//! `platon resume`

use std::path::PathBuf;

use clap::Args;
use toml::Table;

use super::printer::Printer;
use super::training::{go_on, on_all_ranks};
use crate::error::{Error, Result};
use crate::run::origin::model_in;

#[derive(Args)]
pub struct ResumeArgs {
    /// Run folder.
    run: PathBuf,
    /// Where the data lies now, if it was moved; it must be the same.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where the checkpoint that the run began with lies now.
    #[arg(long)]
    init_checkpoint: Option<PathBuf>,
    /// Where the tokenizer lies now, if the run has one of its own.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Where the teacher lies now, if the run has not asked it yet or learns from its hidden states.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// Where the training file lies now, if it is one of your own.
    #[arg(long)]
    train_file: Option<PathBuf>,
    /// Where the file to evaluate on lies now.
    #[arg(long)]
    dev_file: Option<PathBuf>,
    /// Where the test file lies now.
    #[arg(long)]
    test_file: Option<PathBuf>,
    /// Where the task table lies now.
    #[arg(long)]
    task_def: Option<PathBuf>,
    /// Plain lines instead of the dashboard.
    #[arg(long)]
    no_tui: bool,
}

pub fn run(args: &ResumeArgs, printer: &Printer) -> Result<u8> {
    let mut moved = Table::new();
    for (name, path) in [
        ("data_dir", &args.data_dir),
        ("init_checkpoint", &args.init_checkpoint),
        ("tokenizer", &args.tokenizer),
        ("teacher", &args.teacher),
        ("task_def", &args.task_def),
        ("train_file", &args.train_file),
        ("dev_file", &args.dev_file),
        ("test_file", &args.test_file),
    ] {
        let Some(path) = path else { continue };
        // As where the run begins, a run stands for the model in it.
        let path = if name == "init_checkpoint" { model_in(path)? } else { path.clone() };
        let text = path.to_str().ok_or_else(|| {
            Error::value(name.replace('_', "-"), "a path in UTF-8", path.display())
        })?;
        moved.insert(name.to_string(), text.into());
    }
    on_all_ranks(|world| go_on(&args.run, &moved, &|_| Ok(()), args.no_tui, world, printer))
}
