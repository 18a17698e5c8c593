//! What a command needs and the program can make or bring itself.

use std::path::{Path, PathBuf};

use super::download::{checkpoint, default_cache, folder_of, raw_files};
use super::printer::Printer;
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::download::{Options, is_of, sources};
use crate::error::Result;
use crate::glue::demo;
use crate::glue::prepare::holds_source;
use crate::glue::task::Task;
use crate::train::plan::tasks_of;

/// Makes the demo's files, and downloads the task's and a well-known model, where they are missing.
pub fn supply(config: &RunConfig, printer: &Printer) -> Result<()> {
    let data_dir = &config.data().data_dir;
    let folder = &config.model().init_checkpoint;
    let options = Options::new(data_dir, default_cache(data_dir));
    for task in tasks_of(config)? {
        supply_demo(task, data_dir, folder, printer)?;
        let data_sets = &config.data().test_datasets;
        if !holds_source(task, data_sets, data_dir) && sources::source(task.name).is_ok() {
            printer.log(&format!("{}: not in {}, downloading it", task.name, data_dir.display()));
            raw_files(task, &options, printer)?;
        }
    }
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let usable = Checkpoint::open_config(folder).is_ok_and(|found| {
        !config.model().reads_init_checkpoint() || found.check_weights().is_ok()
    });
    if !usable && !folder.is_file() && sources::is_well_known(name) {
        printer.log(&format!("{name}: not in {}, downloading it", folder.display()));
        checkpoint(name, folder, &options, printer)?;
    }
    Ok(())
}

/// Where the model `named` is, or is to be, if that is a name at Hugging Face and no path: `checkpoints/NAME`
/// where it has been downloaded to there, and of a short name in any case.
pub fn downloaded(named: &Path) -> PathBuf {
    let parts: Option<Vec<&str>> =
        named.components().map(|part| part.as_os_str().to_str()).collect();
    let name = match parts.as_deref() {
        Some([name] | [_, name]) if !named.exists() => *name,
        _ => return named.to_path_buf(),
    };
    let folder = folder_of(name);
    let is_it = match Some(Path::new(name)) == Some(named) {
        true => folder.exists() || sources::is_well_known(name),
        false => is_of(&folder, named),
    };
    if is_it { folder } else { named.to_path_buf() }
}

/// Makes what is missing of the demo's data, and of its `model`, in a folder `glue-data`: where
/// another is named, the files should be there.
pub fn supply_demo(task: &Task, data_dir: &Path, model: &Path, printer: &Printer) -> Result<()> {
    if task.name != "demo" || !data_dir.ends_with("glue-data") {
        return Ok(());
    }
    let folder = data_dir.join(task.folder);
    let lacks_model = model == folder.join("model") && !model.exists();
    if !holds_source(task, &[], data_dir) || lacks_model {
        demo::write_missing(&demo::generate(demo::SEED), &folder)?;
        printer.log(&format!("{}: the demo's data was made", folder.display()));
    }
    Ok(())
}
