//! `platon list`

use std::path::{Path, PathBuf};

use clap::Args;

use super::compare::Forms;
use super::printer::Printer;
use crate::error::{Error, Result};
use crate::overview::table::Cell;
use crate::overview::{Summary, Table, runs_below};
use crate::run::folder::RUNS;

#[derive(Args)]
pub struct ListArgs {
    /// Folder to look through, with all below it.
    #[arg(default_value = RUNS)]
    folder: PathBuf,
    #[command(flatten)]
    forms: Forms,
}

pub fn run(args: &ListArgs, printer: &Printer) -> Result<()> {
    let is_there = args.folder.exists() || args.folder != Path::new(RUNS);
    let folders = if is_there { runs_below(&args.folder)? } else { Vec::new() };
    if folders.is_empty() {
        let error = Error::value("FOLDER", "a folder with runs below it", args.folder.display());
        return Err(error.hint("platon train makes runs"));
    }
    let head = ["run", "task", "method", "remaining, %", "state", "metric", "score", "when (UTC)"];
    let mut table = Table { head: head.map(str::to_string).to_vec(), rows: Vec::new() };
    for folder in folders {
        let name = folder.strip_prefix(&args.folder).unwrap_or(&folder);
        let name = if name.as_os_str().is_empty() { folder.as_path() } else { name };
        let name = Cell::Text(name.display().to_string());
        match Summary::read(&folder) {
            Ok(run) => table.rows.push(row(name, &run)),
            // One run that cannot be read does not hide the others.
            Err(error) => {
                let mut row = vec![Cell::Empty; head.len()];
                row.splice(..1, [name]);
                row.splice(4..5, [Cell::Text(format!("unreadable: {error}"))]);
                table.rows.push(row);
            }
        }
    }
    printer.data(&table.text(args.forms.format()))
}

fn row(name: Cell, run: &Summary) -> Vec<Cell> {
    let (metric, score) = run.scores.first().map_or((Cell::Empty, Cell::Empty), |(name, value)| {
        (name.as_str().into(), Cell::number(*value, 2))
    });
    let when = run.when().map_or(Cell::Empty, Cell::Text);
    let ratio = run.remaining.map_or(Cell::Empty, |ratio| Cell::number(100.0 * ratio, 1));
    vec![
        name,
        run.tasks().into(),
        run.method().into(),
        ratio,
        run.state.words().into(),
        metric,
        score,
        when,
    ]
}
