//! `platon resume`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::printer::Printer;
use super::runs::begun;
use super::training::go_on;
use crate::error::Result;

#[derive(Args)]
pub struct ResumeArgs {
    /// Run folder.
    run: PathBuf,
    /// Plain lines instead of the dashboard.
    #[arg(long)]
    no_tui: bool,
}

pub fn run(args: &ResumeArgs, printer: &Printer) -> Result<ExitCode> {
    let (config, folder) = begun(&args.run)?;
    go_on(&config, &folder, args.no_tui, printer)
}
