//! The rows of an input of any length, a window of them at a time.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bars::{Reached, SlowBar, pace};
use super::printer::Printer;
use crate::bert::BertConfig;
use crate::error::{Error, Result};
use crate::glue::encode::{Encoder, Words};
use crate::glue::own::input::{AnyRead, Named, Rows as Source};
use crate::glue::sample::Sample;
use crate::glue::task::Task;
use crate::infer::sets::check_ids;

/// Rows that are read, encoded and computed at a time: enough of each length to fill batches with.
const WINDOW: usize = 1024;
/// A window ends earlier where its texts have so many bytes.
const WINDOW_BYTES: usize = 4 << 20;

/// An input that is open. Of plain lines nothing is read before their first window is.
pub struct Input<R = AnyRead> {
    path: PathBuf,
    rows: Source<R>,
    /// In bytes, of a file.
    size: Option<u64>,
}

/// What the rows of an input are encoded for.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    pub encoder: &'a Encoder,
    pub bert: &'a BertConfig,
}

/// A window's rows, but for their samples.
pub struct Rows<'a> {
    /// The number of the first one, from 0.
    pub first: usize,
    /// The line of each in the input, from 1.
    lines: Vec<usize>,
    bar: &'a SlowBar,
    /// What was done before these.
    before: Reached,
    /// Those that these take.
    bytes: u64,
}

/// How many rows were done.
pub struct Tally {
    pub rows: usize,
    /// When the first one had been read.
    started: Option<Instant>,
}

impl Input {
    /// The input `file`, which errors call `path`: texts for `task`, where that is known, in the
    /// columns `named`.
    ///
    /// # Errors
    /// It is a folder, or a table that cannot be read or has no such columns.
    pub fn new(
        path: &Path,
        file: File,
        task: Option<&'static Task>,
        named: &Named,
    ) -> Result<Self> {
        let failed = |e| Error::io(path, "read", e);
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(failed(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        let size = about.is_file().then_some(about.len());
        Ok(Self { path: path.to_path_buf(), rows: Source::new(path, file, task, named)?, size })
    }
}

impl<R: Read> Input<R> {
    /// Hands the rows to `work`, a window after the other, each once the one before is done: there is
    /// never more than one in memory. `bar` shows how far that is.
    ///
    /// # Errors
    /// The input cannot be read, or not encoded for the model; the windows before are done then. Or
    /// those of `work`.
    pub fn each_window(
        self,
        encoding: Encoding<'_>,
        (printer, bar): (&Printer, &SlowBar),
        mut work: impl FnMut(&Rows<'_>, Vec<Sample>) -> Result<()>,
    ) -> Result<Tally> {
        let Self { path, rows: texts, size } = self;
        let words = encoding.encoder.words();
        let mut windows = Windows { path: &path, texts, words, encoding, started: None };
        let (mut done, mut is_told) = (Reached { rows: 0, bytes: 0, of: size }, false);
        loop {
            let window = windows.next();
            if let Some(layout) = windows.texts.layout().filter(|_| !is_told) {
                printer.log(&layout);
                is_told = true;
            }
            let Window { lines, samples } = window?;
            let (count, bytes) = (samples.len(), windows.texts.bytes() - done.bytes);
            if count == 0 {
                return Ok(Tally { rows: done.rows, started: windows.started });
            }
            let rows = Rows { first: done.rows, lines, bar, before: done, bytes };
            rows.show(0, count);
            work(&rows, samples)?;
            done = Reached { rows: done.rows + count, bytes: done.bytes + bytes, ..done };
        }
    }
}

/// Reads and encodes.
struct Windows<'a, R> {
    path: &'a Path,
    texts: Source<R>,
    words: Words,
    encoding: Encoding<'a>,
    started: Option<Instant>,
}

struct Window {
    lines: Vec<usize>,
    samples: Vec<Sample>,
}

impl<R: Read> Windows<'_, R> {
    /// The next window, which is empty at the end.
    fn next(&mut self) -> Result<Window> {
        let (mut lines, mut rows, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < WINDOW && bytes < WINDOW_BYTES {
            let Some((line, row)) = self.texts.next_row()? else { break };
            self.started.get_or_insert_with(Instant::now);
            bytes += row.text_a.len() + row.text_b.as_ref().map_or(0, String::len);
            lines.push(line);
            rows.push(row);
        }
        let Encoding { encoder, bert, .. } = self.encoding;
        let reach = bert.max_tokens();
        let samples = encoder.encode_batch(&rows, reach, &mut self.words)?;
        for (line, sample) in lines.iter().zip(&samples) {
            check_ids(std::slice::from_ref(sample), self.path, *line, bert)?;
        }
        Ok(Window { lines, samples })
    }
}

impl Rows<'_> {
    /// The line, from 1, of the row `place` of these.
    pub fn line(&self, place: usize) -> usize {
        self.lines.get(place).copied().unwrap_or(self.first + place + 1)
    }

    /// Shows that so many of these, `of`, are done.
    pub fn show(&self, done: usize, of: usize) {
        self.bar.at(self.reached(done, of));
    }

    fn reached(&self, done: usize, of: usize) -> Reached {
        let bytes = self.bytes * done as u64 / of.max(1) as u64;
        let Reached { rows, bytes: before, of } = self.before;
        Reached { rows: rows + done, bytes: before + bytes, of }
    }
}

impl Tally {
    /// In words: the seconds are those since the first row had been read.
    pub fn pace(&self) -> String {
        pace(self.rows, self.started.map_or(0.0, |started| started.elapsed().as_secs_f64()))
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
