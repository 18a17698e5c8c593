//! What the dashboard needs from the operating system.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Whether this process is the one that the terminal on standard output listens to: one in the
/// background is stopped when it changes the terminal's settings.
pub fn in_foreground() -> bool {
    // SAFETY: both calls only ask.
    unsafe { libc::tcgetpgrp(libc::STDOUT_FILENO) == libc::getpgrp() }
}

/// Whether standard output or input was a terminal that has been closed since.
pub fn is_gone() -> bool {
    let end = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut ends = [end(libc::STDOUT_FILENO), end(libc::STDIN_FILENO)];
    // SAFETY: the pointer is that of two structs.
    let found = unsafe { libc::poll(ends.as_mut_ptr(), 2, 0) };
    found > 0 && ends.iter().any(|end| end.revents & libc::POLLHUP != 0)
}

/// Standard error, while it is put aside.
static ASIDE: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Lets what is written to standard error vanish, until it is given back.
pub fn put_stderr_aside() {
    let mut aside = ASIDE.lock().unwrap_or_else(PoisonError::into_inner);
    if aside.is_some() {
        return;
    }
    let copy = io::stderr().as_fd().try_clone_to_owned();
    let nothing = OpenOptions::new().write(true).open("/dev/null");
    if let (Ok(copy), Ok(nothing)) = (copy, nothing) {
        // SAFETY: both are open, and only the number of standard error changes its meaning.
        unsafe { libc::dup2(nothing.as_raw_fd(), libc::STDERR_FILENO) };
        *aside = Some(copy);
    }
}

/// The reverse of [`put_stderr_aside`].
pub fn give_stderr_back() {
    let aside = ASIDE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(aside) = aside {
        // SAFETY: as there.
        unsafe { libc::dup2(aside.as_raw_fd(), libc::STDERR_FILENO) };
    }
}

/// Gives the dashboard's thread, which polls without a pause, only the processor time that nobody
/// else wants. Elsewhere than on Linux nothing happens.
pub fn calm_dashboard_thread() {
    #[cfg(target_os = "linux")]
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        // The kernel keeps 15 characters of a thread's name: `train-renderer` has 14.
        if name.trim_end() != "train-renderer" {
            continue;
        }
        if let Some(id) = task.file_name().to_str().and_then(|s| s.parse::<libc::pid_t>().ok()) {
            // SAFETY: the struct is plain data without invalid values, it lives across the call,
            // and the call changes nothing but the scheduling of a thread of this process.
            unsafe {
                let parameters: libc::sched_param = std::mem::zeroed();
                libc::sched_setscheduler(id, libc::SCHED_IDLE, &raw const parameters);
            }
        }
    }
}

/// Lets Ctrl-C be a signal although the dashboard's raw mode turned that off. Ctrl-Z and Ctrl-\,
/// which would leave the display behind, are none.
pub fn allow_interrupt_key() {
    if let TerminalState(Some(mut settings)) = TerminalState::save() {
        settings.c_lflag |= libc::ISIG;
        for key in [libc::VSUSP, libc::VQUIT] {
            if let Some(key) = settings.c_cc.get_mut(key) {
                *key = libc::_POSIX_VDISABLE;
            }
        }
        set(&settings);
    }
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

    /// Brings the settings back.
    pub fn restore(self) {
        if let Some(settings) = self.0 {
            set(&settings);
        }
    }
}

/// Leaves a full-screen display and shows the cursor.
pub fn leave_screen() {
    let mut stdout = io::stdout();
    // Best effort: the terminal may be gone.
    let _ = stdout.write_all(b"\x1b[?1049l\x1b[?25h").and_then(|()| stdout.flush());
}

/// Does nothing where the process is in the background or the terminal is gone.
fn set(settings: &libc::termios) {
    if in_foreground() {
        // SAFETY: the settings were read from this terminal.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings) };
    }
}
