//! What the dashboard needs from the operating system.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether this process is the one that the terminal on standard output listens to: one in the
/// background is stopped when it changes the terminal's settings.
pub fn in_foreground() -> bool {
    // SAFETY: both calls only ask.
    unsafe { libc::tcgetpgrp(libc::STDOUT_FILENO) == libc::getpgrp() }
}

/// Columns and rows of the terminal on standard output; `None` where it is no longer there.
pub fn size() -> Option<(u16, u16)> {
    // SAFETY: the call fills the plain struct it is given before it is read.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        let got = libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) == 0;
        got.then_some(size)?
    };
    // Some pseudo-terminals do not know their size.
    let known = size.ws_col > 0 && size.ws_row > 0;
    Some(if known { (size.ws_col, size.ws_row) } else { (80, 24) })
}

/// Waits until something can be read from one of `sources`, or for so many milliseconds; whether
/// each of them has something to say, its end included.
///
/// # Errors
/// The system's, but not that a signal came.
pub fn wait_readable<const N: usize>(
    sources: [Option<BorrowedFd<'_>>; N],
    milliseconds: i32,
) -> io::Result<[bool; N]> {
    wait(sources, libc::POLLIN, milliseconds)
}

/// Waits until `target` takes more, for at most so many milliseconds.
///
/// # Errors
/// As [`wait_readable`].
pub fn wait_writable(target: BorrowedFd<'_>, milliseconds: i32) -> io::Result<()> {
    wait([Some(target)], libc::POLLOUT, milliseconds).map(|_| ())
}

fn wait<const N: usize>(
    files: [Option<BorrowedFd<'_>>; N],
    events: i16,
    milliseconds: i32,
) -> io::Result<[bool; N]> {
    // A negative number stands for none.
    let number = |file: Option<BorrowedFd<'_>>| file.map_or(-1, |file| file.as_raw_fd());
    let mut polled = files.map(|file| libc::pollfd { fd: number(file), events, revents: 0 });
    // SAFETY: the pointer and the length are those of one array.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, milliseconds) };
    if result < 0 {
        let error = io::Error::last_os_error();
        let interrupted = error.kind() == io::ErrorKind::Interrupted;
        return if interrupted { Ok([false; N]) } else { Err(error) };
    }
    Ok(polled.map(|file| file.revents != 0))
}

/// The largest amount of memory this process has held so far, in bytes; 0 where it is unknown.
pub fn peak_rss_bytes() -> u64 {
    // SAFETY: `getrusage` fills the plain struct it is given.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) == 0 {
            let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
            return u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit;
        }
    }
    0
}

/// The settings of the terminal on standard input at some moment, to go back to; none where there
/// is no terminal.
#[derive(Clone, Copy)]
pub struct TerminalState(Option<libc::termios>);

impl TerminalState {
    /// The settings now.
    pub fn save() -> Self {
        // SAFETY: `tcgetattr` fills the plain struct it is given before it is read.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let got = libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) == 0;
            Self(got.then_some(settings))
        }
    }

    /// The escape sequences that begin a full-screen display, and that end it and show the cursor.
    pub const ENTER_SCREEN: &str = "\x1b[?1049h";
    /// See [`ENTER_SCREEN`](Self::ENTER_SCREEN).
    pub const LEAVE_SCREEN: &str = "\x1b[?1049l\x1b[?25h";

    /// Hands over each key as it is pressed, without showing it. Ctrl-C stays a signal; Ctrl-Z and
    /// Ctrl-\, which would leave the display behind, are none. Whether there is a terminal to read
    /// keys from.
    pub fn read_keys(self) -> bool {
        let Some(mut settings) = self.0 else { return false };
        settings.c_lflag &= !(libc::ICANON | libc::ECHO);
        for key in [libc::VSUSP, libc::VQUIT] {
            if let Some(key) = settings.c_cc.get_mut(key) {
                *key = libc::_POSIX_VDISABLE;
            }
        }
        set(&settings)
    }

    /// Brings the settings back.
    pub fn restore(self) {
        if let Some(settings) = self.0 {
            set(&settings);
        }
    }
}

/// Nothing where the process is in the background or the terminal is gone.
fn set(settings: &libc::termios) -> bool {
    // SAFETY: the settings were read from this terminal.
    in_foreground() && unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings) == 0 }
}
