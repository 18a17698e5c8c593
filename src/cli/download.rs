//! `platon download`

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::printer::Printer;
use crate::download::{DownloadEvent, Options, glue_task, model};
use crate::error::{Error, Result};
use crate::glue::task::{TASKS, Task, task};

#[derive(Args)]
pub struct DownloadArgs {
    /// Tasks whose official files to bring, or `all` (with the diagnostic set `ax`).
    tasks: Vec<String>,
    /// Model to bring from Hugging Face, as bert-base-uncased or OWNER/NAME.
    #[arg(long)]
    model: Option<String>,
    /// Folder that receives one folder of raw files per task.
    #[arg(long, default_value = "glue-data")]
    data_dir: PathBuf,
    /// Folder for the model; without it checkpoints/NAME.
    #[arg(long, requires = "model")]
    output_dir: Option<PathBuf>,
    /// Folder that keeps the archives; without it DATA-DIR/downloads.
    #[arg(long)]
    cache_dir: Option<PathBuf>,
    /// Another address for GLUE's files (or the variable PLATON_GLUE_URL).
    #[arg(long)]
    glue_url: Option<String>,
    /// Another address for Hugging Face (or the variable HF_ENDPOINT).
    #[arg(long)]
    hf_url: Option<String>,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

pub fn run(args: &DownloadArgs, printer: &Printer) -> Result<()> {
    if args.tasks.is_empty() && args.model.is_none() {
        return Err(Error::value("TASK", "tasks, all, or --model NAME", "none")
            .hint("platon download mrpc --model bert-base-uncased"));
    }
    let mut options = Options::new(&args.data_dir, cache_dir(&args.data_dir, args));
    options.force = args.force;
    options.glue_url = args.glue_url.clone().or(options.glue_url);
    options.hf_url = args.hf_url.clone().or(options.hf_url);
    for task in wanted(&args.tasks)? {
        raw_files(task, &options, printer)?;
    }
    if let Some(name) = &args.model {
        let short = name.rsplit('/').next().unwrap_or(name);
        let folder = args.output_dir.clone().unwrap_or_else(|| folder_of(short));
        checkpoint(name, &folder, &options, printer)?;
    }
    Ok(())
}

fn cache_dir(data_dir: &Path, args: &DownloadArgs) -> PathBuf {
    args.cache_dir.clone().unwrap_or_else(|| default_cache(data_dir))
}

/// Where the model `name` goes.
pub fn folder_of(name: &str) -> PathBuf {
    Path::new("checkpoints").join(name)
}

/// Where archives are kept.
pub fn default_cache(data_dir: &Path) -> PathBuf {
    data_dir.join("downloads")
}

fn wanted(names: &[String]) -> Result<Vec<&'static Task>> {
    if names.iter().any(|name| name == "all") {
        return Ok(TASKS.iter().filter(|task| task.name != "demo").collect());
    }
    names.iter().map(|name| task(name)).collect()
}

/// Brings the raw files of a task.
pub fn raw_files(task: &Task, options: &Options, printer: &Printer) -> Result<()> {
    let files: Vec<&str> = task.splits.iter().map(|split| split.file).collect();
    let bars = Bars::new(printer);
    let unpacked = glue_task(task.name, task.folder, &files, options, &|p| bars.show(p))?;
    for file in unpacked.missing {
        printer.log(&format!("{}/{file}: the archive has none", task.folder));
    }
    printer.log(&format!("{}: in {}", task.name, options.data_dir.join(task.folder).display()));
    Ok(())
}

/// Brings a model.
pub fn checkpoint(name: &str, folder: &Path, options: &Options, printer: &Printer) -> Result<()> {
    let bars = Bars::new(printer);
    let model = model(name, folder, options, &|p| bars.show(p))?;
    printer.log(&format!("{}: in {}", model.repository, folder.display()));
    Ok(())
}

/// A bar per file.
struct Bars<'a> {
    printer: &'a Printer,
    bars: MultiProgress,
    open: Mutex<HashMap<String, ProgressBar>>,
}

impl<'a> Bars<'a> {
    fn new(printer: &'a Printer) -> Self {
        Self { printer, bars: MultiProgress::new(), open: Mutex::default() }
    }

    fn show(&self, progress: DownloadEvent<'_>) {
        let Ok(mut open) = self.open.lock() else { return };
        match progress {
            DownloadEvent::Started { name, total, done } => {
                let bar = open.entry(name.to_string()).or_insert_with(|| {
                    let bar = self.bars.add(ProgressBar::no_length());
                    let style = "{msg:24} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}";
                    let style = ProgressStyle::with_template(style);
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_message(name.to_string());
                    bar
                });
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            DownloadEvent::Advanced { name, bytes } => {
                if let Some(bar) = open.get(name) {
                    bar.inc(bytes);
                }
            }
            DownloadEvent::Finished { name } => {
                if let Some(bar) = open.remove(name) {
                    bar.finish_and_clear();
                }
                self.bars.suspend(|| self.printer.log(&format!("{name}: downloaded")));
            }
            DownloadEvent::Cached { name } => {
                self.bars.suspend(|| self.printer.log(&format!("{name}: there already")));
            }
        }
    }
}
