//! Turns panics of the libraries below into one line of an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the message of the first panic instead of printing it and a backtrace.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .map(|s| (*s).to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "unknown panic".into());
        let place =
            info.location().map_or(String::new(), |l| format!(" ({}:{})", l.file(), l.line()));
        let message = format!("{}{place}", message.lines().next().unwrap_or_default());
        // Later panics are mostly echoes of the first: a closed channel, a poisoned lock.
        LAST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }));
}

/// The message kept since the last call: of a panic in whatever thread.
pub fn take() -> String {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    last.unwrap_or_else(|| "a panic without a message".into())
}

/// Runs `work`; where that panics, the panic's message.
///
/// # Errors
/// It panics.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| take())
}
