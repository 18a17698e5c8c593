//! Turns panics of the libraries below into one line of an error.

use std::any::Any;
use std::sync::{Mutex, PoisonError};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the message of the first panic instead of printing it and a backtrace.
pub fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let place =
            info.location().map_or(String::new(), |l| format!(" ({}:{})", l.file(), l.line()));
        let message = format!("{}{place}", text(info.payload()));
        // Later panics are mostly echoes of the first: a closed channel, a poisoned lock.
        LAST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
    }));
}

/// The first line of what a panic says.
pub fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.and_then(|text| text.lines().next()).unwrap_or("unknown panic").to_string()
}

/// The message kept since the last call.
pub fn take() -> Option<String> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner).take()
}
