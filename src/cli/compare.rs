//! `platon compare`

use std::path::PathBuf;

use clap::Args;

use super::printer::Printer;
use crate::error::{Error, Result, one_line};
use crate::overview::{Format, Summary, compare, tell_apart};
use crate::run::RunFolder;

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
    let (mut runs, mut left_out, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for path in folders {
        // A shell's pattern finds logs and the like too, and a link to a run beside the run itself.
        let place = path.canonicalize().unwrap_or_else(|_| path.clone());
        let is_run = RunFolder::at(path).config().exists() || !path.exists();
        if !is_run || seen.contains(&place) {
            left_out.push(path);
            continue;
        }
        seen.push(place);
        runs.push(Summary::read(path)?);
    }
    if runs.is_empty() {
        return Err(Error::value("RUNS", "folders of runs", "none")
            .hint("platon list FOLDER shows the runs below a folder"));
    }
    if !left_out.is_empty() {
        let names: Vec<_> = left_out.iter().map(|path| path.display().to_string()).collect();
        printer.log(&one_line(format!(
            "left out what is no run, or one that stands there already: {}",
            names.join(", ")
        )));
    }
    tell_apart(&mut runs);
    Ok(runs)
}
