//! `platon compare`

use std::path::PathBuf;

use clap::Args;

use super::printer::Printer;
use crate::error::{Error, Result};
use crate::overview::{Format, Summary, compare};

#[derive(Args)]
pub struct CompareArgs {
    /// Folders of runs; those that differ in nothing but their seed make one row.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    forms: Forms,
}

/// In which form a table is printed.
#[derive(Args)]
#[group(multiple = false)]
pub struct Forms {
    /// Comma-separated fields, with all digits.
    #[arg(long)]
    csv: bool,
    /// A Markdown table.
    #[arg(long)]
    markdown: bool,
    /// A list of JSON objects, with all digits.
    #[arg(long)]
    json: bool,
}

impl Forms {
    pub fn format(&self) -> Format {
        match (self.csv, self.markdown, self.json) {
            (true, ..) => Format::Csv,
            (_, true, _) => Format::Markdown,
            (_, _, true) => Format::Json,
            _ => Format::Plain,
        }
    }
}

pub fn run(args: &CompareArgs, printer: &Printer) -> Result<()> {
    printer.data(&compare(&read_all(&args.runs, printer)?)?.text(args.forms.format()))
}

/// The runs in `folders`, each once.
pub fn read_all(folders: &[PathBuf], printer: &Printer) -> Result<Vec<Summary>> {
    let (mut runs, mut files): (Vec<Summary>, usize) = (Vec::new(), 0);
    for path in folders {
        if runs.iter().any(|run| run.path == *path) {
            return Err(Error::value("RUNS", "each run once", path.display()));
        }
        // A shell's pattern finds logs and the like too.
        if path.is_file() {
            files += 1;
            continue;
        }
        runs.push(Summary::read(path)?);
    }
    if files > 0 {
        printer.log(&format!("left out what is no folder: {files} of {}", folders.len()));
    }
    if runs.is_empty() {
        return Err(Error::value("RUNS", "folders of runs", "none"));
    }
    Ok(runs)
}
