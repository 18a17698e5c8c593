//! How runs end.

use crate::report::Report;

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All updates were done; the run folder is complete.
    Finished(Box<Report>),
    /// All updates were done; another rank has the run folder.
    Shared,
    /// It was stopped before the end.
    Stopped {
        /// The last update done.
        step: usize,
        /// The last update planned.
        of: usize,
        /// Who stopped it.
        by: StoppedBy,
    },
}

/// Who stopped a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// A signal, by its number.
    Signal(i32),
    /// The dashboard's menu.
    Dashboard,
}

impl StoppedBy {
    /// The signals that stop a run, with the reasons to give to the interrupter. SIGXCPU comes
    /// where the processor time allowed is nearly used up, the
    /// last two are what a cluster's batch system can be told to send before the time is up.
    pub const SIGNALS: [(i32, &str); 6] = [
        (libc::SIGINT, "Ctrl-C"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGUSR2, "SIGUSR2"),
    ];

    /// Who gave this reason to the interrupter.
    pub fn of(reason: &str) -> Self {
        let signal = Self::SIGNALS.into_iter().find(|(_, name)| *name == reason);
        signal.map_or(Self::Dashboard, |(number, _)| Self::Signal(number))
    }

    /// As a user would say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dashboard => "the dashboard",
            Self::Signal(number) => {
                let signal = Self::SIGNALS.into_iter().find(|(signal, _)| *signal == number);
                signal.map_or("a signal", |(_, name)| name)
            }
        }
    }
}
