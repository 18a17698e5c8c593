//! Printing: data on stdout, everything else on stderr, and no panic when a pipe closes.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::world;

type Stream = Mutex<Box<dyn Write + Send>>;

/// Where a command prints. Of many processes that do one command's work, one prints.
pub struct Printer {
    data: Stream,
    log: Stream,
    /// Whether data goes to a terminal.
    terminal: bool,
}

impl Printer {
    /// The process's standard output and standard error.
    pub fn new() -> Self {
        Self::onto(io::stdout(), io::stderr(), io::stdout().is_terminal())
    }

    fn onto(
        data: impl Write + Send + 'static,
        log: impl Write + Send + 'static,
        terminal: bool,
    ) -> Self {
        Self { data: Mutex::new(Box::new(data)), log: Mutex::new(Box::new(log)), terminal }
    }

    /// Prints data.
    ///
    /// # Errors
    /// [`Error::Closed`] where the reader has seen enough (`| head`) or the terminal was closed;
    /// output that cannot be written otherwise, as to a full disk.
    pub fn data(&self, text: &str) -> Result<()> {
        if !world::speaks() {
            return Ok(());
        }
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writeln!(data, "{}", text.trim_end_matches('\n')).and_then(|()| data.flush());
        written.map_err(|e| match (e.kind(), e.raw_os_error()) {
            (ErrorKind::BrokenPipe, _) => Error::Closed,
            (_, Some(libc::EIO)) if self.terminal => Error::Closed,
            _ => Error::io("standard output", "write", e),
        })
    }

    /// Whether data shows on a terminal.
    pub fn shows_data(&self) -> bool {
        self.terminal
    }

    /// Prints a message.
    pub fn log(&self, text: &str) {
        if !world::speaks() {
            return;
        }
        let _ = writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(i32);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_or_terminal_is_told_from_a_full_or_broken_disk() {
        let printed = |number, terminal| {
            Printer::onto(Fails(number), io::sink(), terminal).data("x").unwrap_err()
        };
        assert!(matches!(printed(libc::EPIPE, false), Error::Closed));
        assert!(matches!(printed(libc::EIO, true), Error::Closed));
        for number in [libc::ENOSPC, libc::EIO] {
            let text = printed(number, false).to_string();
            assert!(text.starts_with("standard output: cannot write: "), "{text}");
        }
    }
}
