//! The terminal that the dashboard is drawn on, and the thread that draws.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use burn_train::Interrupter;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::board::{Board, Wish};
use super::view;
use crate::run::{Journal, StoppedBy};
use crate::train::terminal::{self, TerminalState};

/// Milliseconds between two pictures.
const TICK: i32 = 200;

/// A thread that draws until this is dropped or the terminal is gone.
pub struct Screen {
    thread: Option<JoinHandle<()>>,
    /// Closed to end the thread.
    open: Option<UnixStream>,
}

/// What the thread works with.
pub struct Shown {
    /// What is drawn.
    pub board: Arc<Mutex<Board>>,
    /// Stops the run.
    pub interrupter: Interrupter,
    /// Is told where the terminal is gone.
    pub journal: Journal,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// There is none, or no thread can be made.
    pub fn open(shown: Shown) -> io::Result<Self> {
        let out = Out::new()?;
        let (open, closed) = UnixStream::pair()?;
        let draw = move || {
            let journal = shown.journal.clone();
            if work(shown, out, &closed).is_err() {
                journal.line("the terminal is gone, and the dashboard with it");
            }
        };
        let thread = std::thread::Builder::new().name("dashboard".into()).spawn(draw)?;
        Ok(Self { thread: Some(thread), open: Some(open) })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(thread) = self.thread.take() {
            // A panic there is kept by the program's hook and takes nothing from the run.
            let _ = thread.join();
        }
    }
}

/// Brings the terminal back to what it was.
struct Restored {
    before: TerminalState,
    out: Out,
}

impl Drop for Restored {
    fn drop(&mut self) {
        self.before.restore();
        self.out.put(TerminalState::LEAVE_SCREEN.as_bytes());
    }
}

/// Draws and reads keys until `closed` says so.
///
/// # Errors
/// The terminal is gone.
fn work(shown: Shown, mut out: Out, closed: &UnixStream) -> io::Result<()> {
    let Shown { board, interrupter, .. } = shown;
    let lock = || board.lock().unwrap_or_else(PoisonError::into_inner);
    let before = TerminalState::save();
    let restored = Restored { before, out: out.again()? };
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut keys = input.is_terminal() && before.read_keys();
    lock().keys = keys;
    out.put(TerminalState::ENTER_SCREEN.as_bytes());
    // Empty, so that the first picture is one of another size.
    let mut area = Rect::ZERO;
    let options = TerminalOptions { viewport: Viewport::Fixed(area) };
    let mut terminal = Terminal::with_options(CrosstermBackend::new(out), options)?;
    loop {
        let now = size()?;
        if now != area {
            area = now;
            // Clears as well; ratatui's own way to clear waits for the terminal to answer.
            terminal.resize(area)?;
        }
        // A copy, so that the run does not wait for a slow terminal.
        let mut picture = lock().clone();
        picture.stopping = interrupter.should_stop();
        terminal.draw(|frame| view::draw(frame, &picture))?;
        restored.out.check()?;

        let source = keys.then(|| input.as_fd());
        let [typed, ended] = terminal::wait_readable([source, Some(closed.as_fd())], TICK)?;
        if ended {
            return Ok(());
        }
        if !typed {
            continue;
        }
        let mut bytes = [0; 32];
        let count = input.read(&mut bytes).unwrap_or(0);
        if count == 0 {
            // It would say so for ever.
            keys = false;
            lock().keys = false;
        }
        match lock().typed(bytes.get(..count).unwrap_or_default()) {
            Wish::None => {}
            Wish::Stop => interrupter.stop(Some(StoppedBy::Dashboard.name())),
            Wish::Redraw => terminal.resize(area)?,
        }
    }
}

fn size() -> io::Result<Rect> {
    let (width, height) = terminal::size().ok_or_else(io::Error::last_os_error)?;
    Ok(Rect { x: 0, y: 0, width, height })
}

/// The terminal, written to in whole pictures. What it no longer takes is lost without an error:
/// ratatui writes a last time when it is dropped, and prints, or panics, where that fails.
struct Out {
    file: File,
    picture: Vec<u8>,
    gone: Arc<AtomicBool>,
}

impl Out {
    /// Standard output, past the buffer that would break pictures at lines.
    fn new() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self { file, picture: Vec::new(), gone: Arc::default() })
    }

    /// The same terminal once more.
    fn again(&self) -> io::Result<Self> {
        let (file, gone) = (self.file.try_clone()?, self.gone.clone());
        Ok(Self { file, picture: Vec::new(), gone })
    }

    /// Whether the terminal took all so far.
    fn check(&self) -> io::Result<()> {
        let gone = self.gone.load(Ordering::Relaxed);
        if gone { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.check().is_ok() && self.try_put(bytes).is_err() {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    fn try_put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // Another program that shares the terminal may have made it answer at once.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    terminal::wait_writable(self.file.as_fd(), TICK)?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.picture.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let picture = std::mem::take(&mut self.picture);
        self.put(&picture);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_terminal_that_takes_nothing_is_no_error_to_ratatui() {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let file = File::from(OwnedFd::from(writer));
        let out = Out { file, picture: Vec::new(), gone: Arc::default() };
        let watched = out.again().unwrap();
        let viewport = Viewport::Fixed(Rect::new(0, 0, 10, 3));
        let options = TerminalOptions { viewport };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(out), options).unwrap();
        assert!(watched.check().is_ok());
        terminal.draw(|_| {}).unwrap();
        assert!(watched.check().is_err());
        terminal.draw(|_| {}).unwrap();
    }
}
