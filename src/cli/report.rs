//! `platon report`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::compare::read_all;
use super::printer::Printer;
use crate::error::{Error, Result};
use crate::files::{self, write_whole};
use crate::overview::page::{GENERATOR, of_run, of_runs};
use crate::run::RunFolder;

#[derive(Args)]
pub struct ReportArgs {
    /// Folders of runs: one for its page, several for a page that compares them.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Where to; without it RUN/report.html, or of several runs comparison.html.
    #[arg(long)]
    output: Option<PathBuf>,
}

pub fn run(args: &ReportArgs, printer: &Printer) -> Result<()> {
    let runs = read_all(&args.runs, printer)?;
    let (page, usual) = match runs.as_slice() {
        [run] => (of_run(run)?, RunFolder::at(&run.path).page()),
        runs => (of_runs(runs)?, PathBuf::from("comparison.html")),
    };
    let path = args.output.clone().unwrap_or(usual);
    if path.exists() && !is_ours(&path) {
        return Err(Error::value("output", "a new file, or a page of platon's", path.display())
            .hint("name another one with --output"));
    }
    write_whole(&path, page.as_bytes())?;
    printer.log(&format!("{}: {:.0} kB", path.display(), page.len() as f64 / 1e3));
    Ok(())
}

/// Whether the file is a page that this program made, so that it may be made anew.
fn is_ours(path: &Path) -> bool {
    /// Of which version is all one.
    const NAME: &str = "content=\"platon ";
    debug_assert!(GENERATOR.starts_with("platon "));
    let mut head = [0; 512];
    let Ok(mut file) = files::open(path) else { return false };
    let read = file.read(&mut head);
    let head =
        read.map(|n| String::from_utf8_lossy(head.get(..n).unwrap_or_default()).into_owned());
    head.is_ok_and(|head| head.contains(NAME))
}
