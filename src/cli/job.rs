//! A run at work: the job behind `train` and `resume`, and what stops it.

use std::io::IsTerminal;
use std::process::ExitCode;

use burn_train::Interrupter;

use super::output::{self, PrepareBars};
use crate::backend::{Job, devices, run_on};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::kernels::TrainingBackend;
use crate::train::terminal::TerminalState;
use crate::train::{Console, Outcome, Plan, RunLock, StoppedBy, train};

/// Goes on with a run.
pub fn go_on(config: RunConfig, no_tui: bool) -> Result<ExitCode> {
    if config.output_dir.join("report.json").is_file() {
        output::log(&format!("{}: this run is finished", config.output_dir.display()));
        return Ok(ExitCode::SUCCESS);
    }
    start(config, no_tui, true)
}

/// Starts a run, or goes on with it.
pub fn start(config: RunConfig, no_tui: bool, resume: bool) -> Result<ExitCode> {
    let dir = config.output_dir.clone();
    let _lock = RunLock::take(&dir)?;
    if !resume {
        // First of all, so that the run can be gone on with from now on.
        let text = toml::to_string(&config)
            .map_err(|e| Error::run(format!("the settings cannot be written: {e}")))?;
        write_whole(&dir.join("config.toml"), text.as_bytes())?;
    }
    let dashboard = cfg!(feature = "tui") && !no_tui && std::io::stdout().is_terminal();
    run_on(config.backend, TrainJob { config, dashboard, resume }).inspect_err(|_| {
        // A run that did not get to its first update leaves no folder.
        if !resume && !dir.join("metrics.jsonl").exists() {
            for file in ["config.toml", RunLock::FILE] {
                let _ = std::fs::remove_file(dir.join(file));
            }
            let _ = std::fs::remove_dir(&dir);
        }
    })
}

/// Reads and checks what the run needs, preparing data with progress bars.
pub fn plan(config: &RunConfig) -> Result<Plan> {
    let bars = PrepareBars::new(false);
    Plan::new(config, &|progress| bars.show(progress))
}

struct TrainJob {
    config: RunConfig,
    dashboard: bool,
    resume: bool,
}

impl Job for TrainJob {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        let Self { config, dashboard, resume } = self;
        let plan = plan(&config)?;
        let dir = config.output_dir.clone();
        let interrupter = Interrupter::new();
        stop_on_signals(&interrupter)?;
        let console = Console { lines: Box::new(output::log), dashboard, interrupter };
        let devices = if config.multi_gpu_on { devices::<B>(&device)? } else { vec![device] };
        match train::<B>(&config, plan, &devices, console, resume)? {
            Outcome::Finished(report) => {
                output::data(&report.table());
                output::data(&format!("{:<11} {}", "run", dir.display()));
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Stopped { step, of, by } => {
                let dir = dir.display();
                output::log(&format!(
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

/// The first signal ends the run after the update it is at, a second one at once.
fn stop_on_signals(interrupter: &Interrupter) -> Result<()> {
    let interrupter = interrupter.clone();
    let terminal = TerminalState::save();
    let numbers = StoppedBy::SIGNALS.map(|(number, _)| number);
    let mut signals = signal_hook::iterator::Signals::new(numbers)
        .map_err(|e| Error::run(format!("signals cannot be handled: {e}")))?;
    std::thread::spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            // A terminal that closes may say so twice.
            if asked && signal == libc::SIGHUP {
                continue;
            }
            if asked {
                terminal.restore();
                output::log(&format!("{}stopped at once", TerminalState::LEAVE_SCREEN));
                std::process::exit(128 + signal);
            }
            asked = true;
            interrupter.stop(Some(StoppedBy::Signal(signal).name()));
        }
    });
    Ok(())
}
