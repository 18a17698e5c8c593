//! `platon demo-data`

use std::path::PathBuf;

use clap::Args;

use super::printer::Printer;
use crate::error::Result;
use crate::glue::demo;

#[derive(Args)]
pub struct DemoDataArgs {
    /// Folder to write to.
    #[arg(long, default_value = "glue-data/demo")]
    output_dir: PathBuf,
    /// Seed of the generator; the default makes the data in the repository.
    #[arg(long, default_value_t = demo::SEED)]
    seed: u64,
}

pub fn run(args: &DemoDataArgs, printer: &Printer) -> Result<()> {
    let demo = demo::generate(args.seed);
    demo::write(&demo, &args.output_dir)?;
    printer.log(&format!(
        "{} training and {} dev rows in {}",
        demo.train.len(),
        demo.dev.len(),
        args.output_dir.display()
    ));
    Ok(())
}
