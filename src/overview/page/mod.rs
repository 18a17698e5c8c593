//! A run's page, and that of several runs: one file of HTML that needs nothing else.

mod bars;
mod chart;
mod colours;
mod heat;
mod html;
mod one;
mod picture;
mod scale;
mod several;

use std::path::{Path, PathBuf};

pub use html::GENERATOR;
pub use one::of_run;
pub use several::of_runs;

use super::run::Summary;
use crate::error::Result;
use crate::files::write_whole;
use crate::run::RunFolder;

/// Writes the page of the run in `folder` into it; where it is.
///
/// # Errors
/// Its files cannot be read, or the page cannot be written.
pub fn write(folder: &Path) -> Result<PathBuf> {
    let path = RunFolder::at(folder).page();
    write_whole(&path, of_run(&Summary::read(folder)?)?.as_bytes())?;
    Ok(path)
}
