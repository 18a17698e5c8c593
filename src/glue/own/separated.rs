//! CSV and TSV: fields with commas or tabs between them, quoted where need be (RFC 4180).

use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::bytes::{Lines, text};
use super::format::Layout;
use super::quoting::{Quoting, too_long, unclosed};
use super::table::{Record, Value};
use crate::error::{Error, Result};
use crate::glue::read::MAX_LINE_BYTES;

/// The rows of such a file after the first, which names the columns.
pub(super) struct Separated {
    reader: Reader<Feed>,
    record: ByteRecord,
    header: Vec<String>,
    /// The columns that are wanted, by their places.
    wanted: Vec<usize>,
}

impl Separated {
    /// The rows of `lines`, once the header is read.
    ///
    /// # Errors
    /// There is no header, or it cannot be read.
    pub(super) fn new(mut lines: Lines, layout: Layout) -> Result<Self> {
        let path = lines.path().to_path_buf();
        let mut first = Vec::new();
        // Blank lines before the header are none of it.
        while lines.next(&mut first)? && first.iter().all(u8::is_ascii_whitespace) {}
        let delimiter = delimiter(&first, layout);
        let mut feed = Feed {
            lines,
            line: first,
            given: 0,
            started: None,
            bytes: 0,
            fault: None,
            quoting: (layout != Layout::Unquoted).then(|| Quoting::new(delimiter)),
        };
        feed.check_marks()?;
        let quotes = feed.quoting.is_some();
        let mut builder = ReaderBuilder::new();
        builder.delimiter(delimiter).has_headers(false).flexible(true).buffer_capacity(1 << 13);
        builder.quoting(quotes);
        let (reader, record) = (builder.from_reader(feed), ByteRecord::new());
        let mut rows = Self { reader, record, header: Vec::new(), wanted: Vec::new() };
        let Some(line) = rows.read()? else {
            return Err(Error::content(&path, None, "a first line that names the columns", "none"));
        };
        let names = rows.record.iter().map(|name| Ok(text(&path, line, name)?.trim().to_owned()));
        rows.header = names.collect::<Result<_>>()?;
        Ok(rows)
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Chooses the columns to read.
    pub(super) fn choose(&mut self, wanted: Vec<usize>) {
        self.wanted = wanted;
    }

    /// Bytes of the file that have been read.
    pub(super) fn taken(&self) -> u64 {
        self.reader.get_ref().lines.taken()
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// It cannot be read, has more or fewer fields than the header, or is the header once more.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Record>> {
        let Some(line) = self.read()? else { return Ok(None) };
        let (found, expected) = (self.record.len(), self.header.len());
        if found != expected {
            let fields = |n: usize| format!("{n} field{}", if n == 1 { "" } else { "s" });
            let expected = format!("{}, as the first line names", fields(expected));
            return Err(Error::content(path, line, expected, fields(found)).hint(
                "a field that holds a separator or a line end stands in quotation marks, its own \
                 ones doubled",
            ));
        }
        let field = |place: &usize| {
            let field = self.record.get(*place).unwrap_or_default();
            Ok(Value::Text(text(path, line, field)?.to_owned()))
        };
        let values = self.wanted.iter().map(field).collect::<Result<Vec<_>>>()?;
        // One column may well hold its own name.
        if expected > 1
            && self.record.iter().zip(&self.header).all(|(a, b)| a.trim_ascii() == b.as_bytes())
        {
            return Err(Error::content(path, line, "a row", "the names of the columns once more")
                .hint("files that are joined keep the first one's header only: remove this line"));
        }
        Ok(Some(Record { line, values }))
    }

    /// Reads a record; the line it begins in.
    fn read(&mut self) -> Result<Option<usize>> {
        let feed = self.reader.get_mut();
        (feed.started, feed.bytes) = (None, 0);
        let read = self.reader.read_byte_record(&mut self.record);
        let feed = self.reader.get_mut();
        if let Some(fault) = feed.fault.take() {
            return Err(fault);
        }
        let path = feed.lines.path();
        let read = read.map_err(|e| Error::content(path, feed.lines.number, "a row", e))?;
        Ok(read.then_some(feed.started.unwrap_or(feed.lines.number)))
    }
}

/// A semicolon where it, and no comma, is in the header: spreadsheets write it where a comma divides
/// whole numbers from fractions.
pub(super) fn delimiter(header: &[u8], layout: Layout) -> u8 {
    match layout {
        Layout::Tsv | Layout::Unquoted => b'\t',
        _ if !header.contains(&b',') && header.contains(&b';') => b';',
        _ => b',',
    }
}

/// Feeds the lines of a file, one at each call, so that a record is known by the line that it begins
/// in, and one without an end is noticed before it is in memory.
struct Feed {
    lines: Lines,
    /// The line that is handed out, and how much of it was.
    line: Vec<u8>,
    given: usize,
    /// The line that the record now read begins in, and its bytes so far.
    started: Option<usize>,
    bytes: usize,
    fault: Option<Error>,
    /// Where marks count.
    quoting: Option<Quoting>,
}

impl Feed {
    /// Looks at the marks of the line.
    fn check_marks(&mut self) -> Result<()> {
        let Some(quoting) = &mut self.quoting else { return Ok(()) };
        quoting.follow(&self.line, self.lines.path(), self.lines.number)
    }

    /// Takes another line where there is one. False at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        if self.lines.next(&mut self.line)? {
            self.given = 0;
            self.check_marks()?;
            return Ok(true);
        }
        match self.started {
            // All lines have an end: only a quotation mark leaves a record without one.
            Some(line) => Err(unclosed(self.lines.path(), line)),
            None => Ok(false),
        }
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.line.len() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return Ok(0),
                Err(e) => {
                    self.fault = Some(e);
                    return Err(io::Error::other("a fault that is told elsewhere"));
                }
            }
        }
        let rest = self.line.get(self.given..).unwrap_or_default();
        let is_blank = rest.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        if self.started.is_none() && !is_blank {
            self.started = Some(self.lines.number);
        }
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given += count;
        self.bytes += count;
        if self.bytes > MAX_LINE_BYTES + 1
            && let Some(line) = self.started
        {
            self.fault = Some(too_long(self.lines.path(), line));
            return Err(io::Error::other("a row that is too long"));
        }
        Ok(count)
    }
}
