//! What a command needs and the program can make or bring itself.

use std::path::Path;

use super::download::{checkpoint, default_cache, raw_files};
use super::printer::Printer;
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::download::{Options, sources};
use crate::error::Result;
use crate::glue::demo;
use crate::glue::prepare::holds_source;
use crate::glue::task::Task;
use crate::train::plan::task_of;

/// Makes the demo's files, and downloads the task's and a well-known model, where they are missing.
pub fn supply(config: &RunConfig, printer: &Printer) -> Result<()> {
    let (task, data_dir) = (task_of(config)?, &config.data().data_dir);
    let folder = &config.model().init_checkpoint;
    supply_demo(task, data_dir, folder, printer)?;
    let options = Options::new(data_dir, default_cache(data_dir));
    if !holds_source(task, data_dir) && sources::source(task.name).is_ok() {
        printer.log(&format!("{}: not in {}, downloading it", task.name, data_dir.display()));
        raw_files(task, &options, printer)?;
    }
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let usable = Checkpoint::open_config(folder)
        .is_ok_and(|found| config.model().from_scratch || found.check_weights().is_ok());
    if !usable && !folder.is_file() && sources::is_well_known(name) {
        printer.log(&format!("{name}: not in {}, downloading it", folder.display()));
        checkpoint(name, folder, &options, printer)?;
    }
    Ok(())
}

/// Makes what is missing of the demo's data in `data_dir`, and of its `model` where that lies in a
/// folder `demo/model`; nothing for other tasks.
pub fn supply_demo(task: &Task, data_dir: &Path, model: &Path, printer: &Printer) -> Result<()> {
    if task.name != "demo" {
        return Ok(());
    }
    let data = (!holds_source(task, data_dir)).then(|| data_dir.join(task.folder));
    let beside = model.parent().filter(|_| model.ends_with("demo/model") && !model.exists());
    let mut folders: Vec<_> = data.into_iter().chain(beside.map(Path::to_path_buf)).collect();
    folders.dedup();
    for folder in folders {
        demo::write_missing(&demo::generate(demo::SEED), &folder)?;
        printer.log(&format!("{}: the demo's data was made", folder.display()));
    }
    Ok(())
}
