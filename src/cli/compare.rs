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
    let runs = args.runs.iter().map(|path| Summary::read(path));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let mut seen: Vec<&PathBuf> = Vec::new();
    for path in &args.runs {
        if seen.contains(&path) {
            return Err(Error::value("RUNS", "each run once", path.display()));
        }
        seen.push(path);
    }
    printer.data(&compare(&runs)?.text(args.forms.format()))
}
