//! Printing: data on stdout, everything else on stderr, and no panic when a pipe closes.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

type Stream = Mutex<Box<dyn Write + Send>>;

/// Where a command prints.
pub struct Printer {
    data: Stream,
    log: Stream,
}

impl Printer {
    /// The process's standard output and standard error.
    pub fn new() -> Self {
        Self::onto(std::io::stdout(), std::io::stderr())
    }

    fn onto(data: impl Write + Send + 'static, log: impl Write + Send + 'static) -> Self {
        Self { data: Mutex::new(Box::new(data)), log: Mutex::new(Box::new(log)) }
    }

    /// Prints data.
    ///
    /// # Errors
    /// [`Error::Closed`] where the reader has seen enough (`| head`); output that cannot be written
    /// otherwise, as to a full disk.
    pub fn data(&self, text: &str) -> Result<()> {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writeln!(data, "{}", text.trim_end_matches('\n')).and_then(|()| data.flush());
        written.map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Error::Closed,
            _ => Error::io("standard output", "write", e),
        })
    }

    /// Prints a message.
    pub fn log(&self, text: &str) {
        let _ = writeln!(self.log.lock().unwrap_or_else(PoisonError::into_inner), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_full_disk() {
        let printed = |kind| Printer::onto(Fails(kind), io::sink()).data("x").unwrap_err();
        assert!(matches!(printed(ErrorKind::BrokenPipe), Error::Closed));
        let text = printed(ErrorKind::StorageFull).to_string();
        assert!(text.starts_with("standard output: cannot write: "), "{text}");
    }
}
