//! A run at work: the job behind `train` and `resume`, and what stops it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use burn_train::Interrupter;
use toml::Table;

use super::bars::{PrepareBars, SlowBar};
use super::printer::Printer;
use super::runs::begun;
use super::signals::{end_watch, stop_on_signals};
use crate::backend::{Job, devices, run_on};
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::kernels::TrainingBackend;
use crate::run::{Outcome, RunFolder, StoppedBy};
use crate::train::teacher::{Progress, has_answered, teach, teacher_settings};
use crate::train::terminal;
use crate::train::{Console, Plan, Start, settle, train};
use crate::world::{At, World};

/// Where one of a run's processes keeps its books: the first one in the run folder, which is the
/// user's, the others in folders of their own, which go with them.
pub struct Place(Option<tempfile::TempDir>);

impl Place {
    /// Of this process.
    ///
    /// # Errors
    /// A folder cannot be made.
    pub fn of(world: &World) -> Result<Self> {
        if world.is_first() {
            return Ok(Self(None));
        }
        let folder = tempfile::Builder::new().prefix("platon-rank-").tempdir();
        let folder = folder.map_err(|e| Error::io(std::env::temp_dir(), "create", e));
        Ok(Self(Some(folder?)))
    }

    /// The user's folder, or this process's own.
    ///
    /// # Errors
    /// Those of `users`; a folder cannot be made.
    pub fn folder(&self, users: impl FnOnce() -> Result<RunFolder>) -> Result<RunFolder> {
        match &self.0 {
            None => users(),
            Some(own) => RunFolder::new_at(&own.path().join("run")),
        }
    }
}

/// What `read` gives of `folder`: on the first rank, which then sends the `files` it comes from, and
/// on the others once they have these.
fn handed_on<T>(
    world: &World,
    folder: &RunFolder,
    read: impl Fn() -> Result<T>,
    files: impl Fn(&T) -> Result<Vec<PathBuf>>,
) -> Result<T> {
    let own = world.is_first().then(&read).transpose()?;
    let names = own.as_ref().map_or_else(|| Ok(Vec::new()), files)?;
    world.share_files(folder.path(), &names)?;
    own.map_or_else(read, Ok)
}

/// Does `work`, on all ranks where there are several; how it ended on any of them.
pub fn on_all_ranks(work: impl FnOnce(&World) -> Result<u8>) -> Result<u8> {
    let world = World::start()?;
    let result = work(&world);
    world.agree(At::End, result)
}

/// Goes on with the run in the folder `dir`, if `same` accepts its settings; `moved` are settings
/// that lie elsewhere now.
pub fn go_on(
    dir: &Path,
    moved: &Table,
    same: &dyn Fn(&RunConfig) -> Result<()>,
    no_tui: bool,
    world: &World,
    printer: &Printer,
) -> Result<u8> {
    let place = Place::of(world)?;
    let folder = place.folder(|| Ok(RunFolder::at(dir)))?;
    let settings = || begun(folder.path(), moved.clone()).and_then(|(c, _)| same(&c).map(|()| c));
    let config = handed_on(world, &folder, settings, |_| Ok(vec![folder.config()]))?;
    let is_finished = || world.gather(At::Ready, &folder.is_finished());
    if is_finished()?.first() == Some(&true) {
        printer.log(&format!("{}: this run is finished", dir.display()));
        if world.is_first() && folder.checkpoints().exists() {
            // It was killed between its last two steps, or another process is at them.
            if let Ok(_lock) = folder.lock() {
                settle(&config, &folder)?;
            }
        }
        return Ok(0);
    }
    let lock = folder.lock()?;
    // Who held it may have come to its end in the meantime.
    if is_finished()?.first() == Some(&true) {
        drop(lock);
        return go_on(dir, moved, same, no_tui, world, printer);
    }
    if let Some(code) = own_teacher(&config, &folder, moved, no_tui, world, printer)? {
        return Ok(code);
    }
    let find = || Start::find(&folder, &lock, &config, true);
    let files = |start: &Start| {
        let answers = Some(folder.teacher_answers()).filter(|path| path.is_file());
        Ok(start.files()?.into_iter().chain(answers).collect())
    };
    let start = handed_on(world, &folder, find, files)?;
    work(&config, &folder, no_tui, start, world, printer)
}

/// Trains the teacher that the run in `folder` is to have of its own, where there is none yet: the
/// same model, with the same settings, without pruning. `moved` are settings that lie elsewhere now.
/// The exit code, where that was stopped.
fn own_teacher(
    config: &RunConfig,
    folder: &RunFolder,
    moved: &Table,
    no_tui: bool,
    world: &World,
    printer: &Printer,
) -> Result<Option<u8>> {
    let teacher = folder.teacher();
    let is_needed =
        config.has_own_teacher() && !teacher.is_finished() && !has_answered(config, folder);
    // The other ranks see no more of the run's folder than they are handed.
    if world.gather(At::Ready, &is_needed)?.first() != Some(&true) {
        return Ok(None);
    }
    if !world.is_alone() {
        let (expected, found) = ("one process for a teacher of the run's own", world.size());
        return Err(Error::value("teacher", expected, found)
            .hint("train it first, with --pruner none, and name its run"));
    }
    printer.log(&format!("the teacher comes first: {}", teacher.path().display()));
    let config = teacher_settings(config, &teacher)?;
    let code = if teacher.config().is_file() {
        go_on(teacher.path(), moved, &|_| Ok(()), no_tui, world, printer)?
    } else {
        start(&config, &RunFolder::new_at(teacher.path())?, no_tui, world, printer)?
    };
    let asked_to_stop = end_watch();
    let code = match asked_to_stop {
        None if teacher.is_finished() => return Ok(None),
        // It came when nothing was left to stop.
        Some(signal) => exit_code(signal),
        None => code,
    };
    let dir = folder.path().display();
    printer.log(&format!("this was the run's teacher; go on with both: platon resume {dir}"));
    Ok(Some(code))
}

/// Starts a run.
pub fn start(
    config: &RunConfig,
    folder: &RunFolder,
    no_tui: bool,
    world: &World,
    printer: &Printer,
) -> Result<u8> {
    let lock = folder.lock()?;
    // Another process may have begun a run here since the folder was made.
    folder.check_unused()?;
    // First of all, so that the run can be gone on with from now on, wherever that is.
    let written = config.absolute()?.to_table()?.to_string();
    write_whole(&folder.config(), written.as_bytes())?;
    let begun =
        own_teacher(config, folder, &Table::new(), no_tui, world, printer).and_then(|code| {
            match code {
                None => {
                    let start = Start::find(folder, &lock, config, false)?;
                    work(config, folder, no_tui, start, world, printer)
                }
                Some(code) => Ok(code),
            }
        });
    begun.inspect_err(|_| {
        if !folder.has_begun() && !folder.teacher().has_begun() {
            folder.remove_unbegun();
        }
    })
}

fn work(
    config: &RunConfig,
    folder: &RunFolder,
    no_tui: bool,
    start: Start,
    world: &World,
    printer: &Printer,
) -> Result<u8> {
    let dashboard = cfg!(feature = "tui")
        && !no_tui
        && world.is_first()
        && std::io::stdin().is_terminal()
        && std::io::stdout().is_terminal()
        && terminal::in_foreground();
    run_on(config.run().backend, TrainJob { config, folder, dashboard, start, world, printer })
}

/// Reads and checks what the run needs, preparing data with progress bars.
pub fn plan(
    config: &RunConfig,
    needs_weights: bool,
    printer: &Printer,
) -> Result<(Plan, Checkpoint)> {
    let bars = PrepareBars::new(printer, false);
    Plan::new(config, needs_weights, &|progress| bars.show(progress))
}

struct TrainJob<'a> {
    config: &'a RunConfig,
    folder: &'a RunFolder,
    dashboard: bool,
    start: Start,
    world: &'a World,
    printer: &'a Printer,
}

impl Job for TrainJob<'_> {
    type Output = u8;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<u8> {
        let Self { config, folder, dashboard, start, world, printer } = self;
        let (mut plan, checkpoint) =
            world.in_turn(|| plan(config, start.needs_weights(), printer))?;
        let own = config.own_files().filter(|_| world.is_first() && start.update() == 0);
        own.map_or(Ok(()), |files| files.note(&folder.own_data()))?;
        let bars = PrepareBars::new(printer, false);
        let bar = SlowBar::default();
        let progress = Progress {
            prepared: &|event| bars.show(event),
            answered: &|done, of| bar.show(done, of),
        };
        // Of several processes each has a device of its own.
        let devices = devices::<B>(&device, config.run().multi_gpu_on)?;
        let first = devices.first().unwrap_or(&device);
        teach::<B>(&mut plan, config, folder, first, start.data(), world, &progress)?;
        let interrupter = Interrupter::new();
        stop_on_signals(&interrupter, dashboard)?;
        let lines = Printer::new();
        let lines = Box::new(move |line: &str| lines.log(line));
        let bar = SlowBar::default();
        let evaluated = Box::new(move |done, of| bar.show(done, of));
        let world = world.clone();
        let console = Console { lines, evaluated, dashboard, interrupter, world };
        let dir = folder.path().display();
        match train::<B>(config, folder, (plan, checkpoint), &devices, console, start)? {
            Outcome::Finished(report) => {
                printer.data(&report.table())?;
                printer.data(&format!("{:<11} {dir}", "run"))?;
                Ok(0)
            }
            Outcome::Shared => Ok(0),
            Outcome::Stopped { step, of, by } => {
                printer.log(&format!(
                    "stopped by {} after update {step} of {of}; go on with: platon resume {dir}",
                    by.name()
                ));
                Ok(match by {
                    StoppedBy::Signal(number) => exit_code(number),
                    StoppedBy::Dashboard => 0,
                })
            }
        }
    }
}

/// As shells have it: 130 for Ctrl-C, 143 for SIGTERM.
fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}
