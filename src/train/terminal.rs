//! What burn-train's dashboard needs from the operating system.

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

/// Lets Ctrl-C be a signal although the dashboard's raw mode turned that off.
pub fn allow_interrupt_key() {
    #[cfg(unix)]
    // SAFETY: `tcgetattr` fills the plain struct it is given before it is read, and both calls
    // only touch the terminal's settings.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) == 0 {
            settings.c_lflag |= libc::ISIG;
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const settings);
        }
    }
}

/// The largest amount of memory this process has held so far, in bytes; 0 where it is unknown.
pub fn peak_rss_bytes() -> u64 {
    #[cfg(unix)]
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

/// The terminal's settings at some moment, to go back to.
#[derive(Clone, Copy)]
pub struct TerminalState(#[cfg(unix)] Option<libc::termios>);

impl TerminalState {
    /// The settings now.
    pub fn save() -> Self {
        #[cfg(unix)]
        // SAFETY: `tcgetattr` fills the plain struct it is given before it is read.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            let got = libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) == 0;
            Self(got.then_some(settings))
        }
        #[cfg(not(unix))]
        Self()
    }

    /// The escape sequences that leave a full-screen display and show the cursor.
    pub const LEAVE_SCREEN: &str = "\x1b[?1049l\x1b[?25h";

    /// Brings the settings back.
    pub fn restore(self) {
        #[cfg(unix)]
        if let Some(settings) = self.0 {
            // SAFETY: the settings were read from this terminal.
            unsafe {
                libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &raw const settings);
            }
        }
    }
}
