//! `platon resume`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::job::go_on;
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};

#[derive(Args)]
pub struct ResumeArgs {
    /// Run folder.
    run: PathBuf,
    /// Plain lines instead of the dashboard.
    #[arg(long)]
    no_tui: bool,
}

pub fn run(args: &ResumeArgs) -> Result<ExitCode> {
    go_on(run_config(&args.run)?, args.no_tui)
}

/// The settings of the run in the folder `dir`, which must have been begun.
pub fn run_config(dir: &Path) -> Result<RunConfig> {
    if dir.as_os_str().is_empty() {
        return Err(Error::value("output-dir", "the folder of the run to go on with", "none"));
    }
    let layer = Layer::from_file(&dir.join("config.toml"))
        .map_err(|e| e.hint("name the folder of a run that was begun"))?;
    // The folder may have moved, or be seen from elsewhere.
    let config = RunConfig::resolve(&[layer])?;
    Ok(RunConfig { output_dir: dir.to_path_buf(), ..config })
}

/// Refuses settings that differ from those the run began with.
pub fn check_same(begun: &RunConfig, asked: &RunConfig) -> Result<()> {
    let (begun, asked) = (begun.to_table()?, asked.to_table()?);
    match begun.iter().find(|(key, value)| asked.get(*key) != Some(*value)) {
        Some((key, value)) => {
            let found = asked.get(key).map_or("none".to_string(), ToString::to_string);
            Err(Error::value(key, format!("{value}, as the run began"), found)
                .hint("platon resume RUN goes on without naming the settings again"))
        }
        None => Ok(()),
    }
}
