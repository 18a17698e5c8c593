//! `platon recipe`

use clap::Args;

use super::printer::Printer;
use crate::config::recipes::{names, recipe};
use crate::error::Result;

#[derive(Args)]
pub struct RecipeArgs {
    /// Recipe to print, as `mnli` or `mnli-0.10`; without it the names of all.
    name: Option<String>,
}

pub fn run(args: &RecipeArgs, printer: &Printer) -> Result<()> {
    match &args.name {
        Some(name) => printer.data(recipe(name)?.text.trim_end()),
        None => printer.data(&names()?.join("\n")),
    }
}
