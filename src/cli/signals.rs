//! What the operating system's signals do.

use burn_train::Interrupter;

use super::printer::Printer;
use crate::error::{Error, Result};
use crate::run::StoppedBy;
use crate::train::terminal::{TerminalState, give_stderr_back};

/// A write beyond the largest size allowed for a file fails then, and its error says why; the
/// system's way is to end the program.
pub fn fail_writes_instead_of_dying() {
    // SAFETY: no code of ours runs at this signal, so there is none that might not.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// The first signal ends the run after the update it is at, a second one at once. What is ignored
/// already, as `nohup` does it, stays ignored. With a `dashboard` the terminal is brought back first.
///
/// # Errors
/// The system does not let signals be handled.
pub fn stop_on_signals(interrupter: &Interrupter, dashboard: bool) -> Result<()> {
    let interrupter = interrupter.clone();
    let terminal = TerminalState::save();
    let first = move |signal| interrupter.stop(Some(StoppedBy::Signal(signal).name()));
    let second = move |printer: &Printer| {
        if dashboard {
            terminal.restore();
            give_stderr_back();
            // Best effort: the terminal may be gone.
            let _ = printer.data(TerminalState::LEAVE_SCREEN);
        }
    };
    watch(&StoppedBy::SIGNALS.map(|(number, _)| number), first, second)
}

/// The first signal asks a server to stop, a second one ends it at once. What is ignored already
/// stays ignored.
///
/// # Errors
/// The system does not let signals be handled.
#[cfg(feature = "serve")]
pub fn ask_on_signals(first: impl Fn(i32) + Send + 'static) -> Result<()> {
    watch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP], first, |_| ())
}

/// Calls `first` at the first of these signals; at another one `second`, and ends the program.
fn watch(
    numbers: &[i32],
    first: impl Fn(i32) + Send + 'static,
    second: impl Fn(&Printer) + Send + 'static,
) -> Result<()> {
    let handled = numbers.iter().copied().filter(|number| !is_ignored(*number));
    let mut signals = signal_hook::iterator::Signals::new(handled)
        .map_err(|e| Error::run(format!("signals cannot be handled: {e}")))?;
    let handle = move || {
        let mut asked = false;
        for signal in signals.forever() {
            // A terminal that closes may say so twice, and the limit on processor time each second.
            if asked && matches!(signal, libc::SIGHUP | libc::SIGXCPU) {
                continue;
            }
            if asked {
                let printer = Printer::new();
                second(&printer);
                printer.log("stopped at once");
                // The command is at work on another thread and cannot be asked to return.
                signal_hook::low_level::exit(128 + signal);
            }
            asked = true;
            first(signal);
        }
    };
    let thread = std::thread::Builder::new().name("signals".into()).spawn(handle);
    thread.map_err(|e| Error::run(format!("signals cannot be handled: {e}")))?;
    Ok(())
}

/// Whether the program was started with this signal ignored.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: `sigaction` fills the plain struct it is given before it is read, and changes nothing
    // where it is given no new action.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
