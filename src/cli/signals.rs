//! What the operating system's signals do.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use burn_train::Interrupter;

use super::printer::Printer;
use crate::error::{Error, Result};
use crate::run::StoppedBy;
use crate::train::terminal::{TerminalState, give_stderr_back, leave_screen};

/// A write beyond the largest size allowed for a file fails then, and its error says why; the
/// system's way is to end the program.
pub fn fail_writes_instead_of_dying() {
    // SAFETY: no code of ours runs at this signal, so there is none that might not.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Who is to be asked to stop by the first signal.
struct Watched {
    ask: Box<dyn Fn(i32) + Send>,
    /// The terminal as it was, where there is a dashboard.
    terminal: Option<TerminalState>,
    /// The signal that asked, and when.
    asked: Option<(i32, Instant)>,
}

/// For how long after the first signal another one of its kind is still the same: `timeout` and the like
/// send theirs to a program and then to its group, a person is slower.
const SAME: Duration = Duration::from_millis(250);

static WATCHED: Mutex<Option<Watched>> = Mutex::new(None);

fn watched() -> MutexGuard<'static, Option<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the first signal ends the run of `interrupter` after the update it is at, a later one
/// at once. What is ignored already, as `nohup` does it, stays ignored. With a `dashboard` the
/// terminal is brought back first.
///
/// # Errors
/// The system does not let signals be handled.
pub fn stop_on_signals(interrupter: &Interrupter, dashboard: bool) -> Result<()> {
    let interrupter = interrupter.clone();
    let ask = move |signal| interrupter.stop(Some(StoppedBy::Signal(signal).name()));
    let numbers = StoppedBy::SIGNALS.map(|(number, _)| number);
    watch(&numbers, ask, dashboard.then(TerminalState::save))
}

/// The first signal asks a server to stop, a later one ends it at once. What is ignored already
/// stays ignored.
///
/// # Errors
/// The system does not let signals be handled.
#[cfg(feature = "serve")]
pub fn ask_on_signals(ask: impl Fn(i32) + Send + 'static) -> Result<()> {
    watch(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP], ask, None)
}

/// What was watched has ended, and nothing else has begun: a signal ends the program at once. The
/// signal that asked it to stop, if one did, perhaps when nothing was left to stop.
pub fn end_watch() -> Option<i32> {
    watched().take()?.asked.map(|(signal, _)| signal)
}

/// Asks by `ask` at the first of these signals. A process that watches one thing after the other does
/// so for the same signals.
fn watch(
    numbers: &[i32],
    ask: impl Fn(i32) + Send + 'static,
    terminal: Option<TerminalState>,
) -> Result<()> {
    static LISTENS: Once = Once::new();
    *watched() = Some(Watched { ask: Box::new(ask), terminal, asked: None });
    let mut begun = Ok(());
    LISTENS.call_once(|| begun = listen(numbers));
    begun
}

/// Handles these signals on a thread of its own.
fn listen(numbers: &[i32]) -> Result<()> {
    let handled = numbers.iter().copied().filter(|number| !is_ignored(*number));
    let mut signals = signal_hook::iterator::Signals::new(handled)
        .map_err(|e| Error::run(format!("signals cannot be handled: {e}")))?;
    let handle = move || signals.forever().for_each(on_signal);
    let thread = std::thread::Builder::new().name("signals".into()).spawn(handle);
    thread.map_err(|e| Error::run(format!("signals cannot be handled: {e}")))?;
    Ok(())
}

fn on_signal(signal: i32) {
    let mut watched = watched();
    match watched.as_mut() {
        Some(watched) if watched.asked.is_none() => {
            watched.asked = Some((signal, Instant::now()));
            (watched.ask)(signal);
        }
        Some(_) if may_come_twice(signal) => {}
        Some(Watched { asked: Some(first), .. }) if is_same(*first, (signal, Instant::now())) => {}
        watched => {
            if let Some(terminal) = watched.and_then(|watched| watched.terminal) {
                terminal.restore();
                give_stderr_back();
                leave_screen();
            }
            Printer::new().log("stopped at once");
            // The command is at work on another thread and cannot be asked to return.
            signal_hook::low_level::exit(128 + signal)
        }
    }
}

/// Whether the second of two signals, each with its time, says no more than the first.
fn is_same(first: (i32, Instant), second: (i32, Instant)) -> bool {
    first.0 == second.0 && second.1.saturating_duration_since(first.1) < SAME
}

/// A terminal that closes may say so twice, and the limit on processor time each second.
fn may_come_twice(signal: i32) -> bool {
    matches!(signal, libc::SIGHUP | libc::SIGXCPU)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_signal_twice_at_once_is_one() {
        let first = Instant::now();
        let is_same = |second, millis| {
            is_same((libc::SIGTERM, first), (second, first + Duration::from_millis(millis)))
        };
        assert!(is_same(libc::SIGTERM, 0) && is_same(libc::SIGTERM, 249));
        assert!(!is_same(libc::SIGTERM, 250) && !is_same(libc::SIGINT, 0));
    }

    #[test]
    fn each_run_of_a_process_is_stopped_by_its_first_signal() {
        for _ in 0..2 {
            let interrupter = Interrupter::new();
            stop_on_signals(&interrupter, false).unwrap();
            // SAFETY: the signal is handled by now.
            unsafe { libc::raise(libc::SIGUSR2) };
            let began = Instant::now();
            while !interrupter.should_stop() {
                assert!(began.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(interrupter.get_message().as_deref(), Some("SIGUSR2"));
            assert_eq!(end_watch(), Some(libc::SIGUSR2));
            assert_eq!(end_watch(), None);
        }
    }
}
