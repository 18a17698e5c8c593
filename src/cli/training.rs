//! A run at work: the job behind `train` and `resume`, and what stops it.

use std::io::IsTerminal;
use std::process::ExitCode;

use burn_train::Interrupter;

use super::bars::{PrepareBars, SlowBar};
use super::printer::Printer;
use super::signals::stop_on_signals;
use crate::backend::{Job, devices, run_on};
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::Result;
use crate::files::write_whole;
use crate::kernels::TrainingBackend;
use crate::run::{Outcome, RunFolder, StoppedBy};
use crate::train::terminal;
use crate::train::{Console, Plan, Start, train};

/// Goes on with a run.
pub fn go_on(
    config: &RunConfig,
    folder: &RunFolder,
    no_tui: bool,
    printer: &Printer,
) -> Result<ExitCode> {
    if folder.is_finished() {
        printer.log(&format!("{}: this run is finished", folder.path().display()));
        return Ok(ExitCode::SUCCESS);
    }
    let lock = folder.lock()?;
    let start = Start::find(folder, &lock, config, true)?;
    work(config, folder, no_tui, start, printer)
}

/// Starts a run.
pub fn start(
    config: &RunConfig,
    folder: &RunFolder,
    no_tui: bool,
    printer: &Printer,
) -> Result<ExitCode> {
    let lock = folder.lock()?;
    // First of all, so that the run can be gone on with from now on, wherever that is.
    let written = config.absolute()?.to_table()?.to_string();
    write_whole(&folder.config(), written.as_bytes())?;
    let start = Start::find(folder, &lock, config, false)?;
    work(config, folder, no_tui, start, printer).inspect_err(|_| {
        if !folder.has_begun() {
            folder.remove_unbegun();
        }
    })
}

fn work(
    config: &RunConfig,
    folder: &RunFolder,
    no_tui: bool,
    start: Start,
    printer: &Printer,
) -> Result<ExitCode> {
    let dashboard = cfg!(feature = "tui")
        && !no_tui
        && std::io::stdout().is_terminal()
        && terminal::in_foreground();
    run_on(config.run().backend, TrainJob { config, folder, dashboard, start, printer })
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
    printer: &'a Printer,
}

impl Job for TrainJob<'_> {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        let Self { config, folder, dashboard, start, printer } = self;
        let planned = plan(config, start.needs_weights(), printer)?;
        let interrupter = Interrupter::new();
        stop_on_signals(&interrupter, dashboard)?;
        let lines = Printer::new();
        let lines = Box::new(move |line: &str| lines.log(line));
        let bar = SlowBar::default();
        let evaluated = Box::new(move |done, of| bar.show(done, of));
        let console = Console { lines, evaluated, dashboard, interrupter };
        let devices = if config.run().multi_gpu_on { devices::<B>(&device)? } else { vec![device] };
        let dir = folder.path().display();
        match train::<B>(config, folder, planned, &devices, console, start)? {
            Outcome::Finished(report) => {
                printer.data(&report.table())?;
                printer.data(&format!("{:<11} {dir}", "run"))?;
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Stopped { step, of, by } => {
                printer.log(&format!(
                    "stopped by {} after update {step} of {of}; go on with: platon resume {dir}",
                    by.name()
                ));
                Ok(match by {
                    StoppedBy::Signal(number) => exit_code(number),
                    StoppedBy::Dashboard => ExitCode::SUCCESS,
                })
            }
        }
    }
}

/// As shells have it: 130 for Ctrl-C, 143 for SIGTERM.
fn exit_code(signal: i32) -> ExitCode {
    u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
}
