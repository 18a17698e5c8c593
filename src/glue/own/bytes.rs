//! The lines of a file, unpacked, one in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{Format, Packing};
use crate::error::{Error, Result};
use crate::files::{check_pointer, not_utf8};
use crate::glue::read::{MAX_LINE_BYTES, line_too_long};

/// The largest text file, in bytes, once it is unpacked: that of a data file that is not packed.
pub(super) const MAX_BYTES: u64 = 4 << 30;

/// What files begin with that are not the text their name says.
const MAGICS: [(&[u8], &str, &str); 5] = [
    (&[0x1f, 0x8b], "a gzip file", "end its name in .gz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard file", "end its name in .zst"),
    (b"PAR1", "a Parquet file", "end its name in .parquet"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet", "save the rows as CSV, in UTF-8"),
    (&[0xff, 0xfe], "UTF-16", "save the file as UTF-8"),
];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a file.
pub(super) struct Lines {
    path: PathBuf,
    packing: Packing,
    reader: BufReader<Box<dyn Read + Send>>,
    /// Bytes read from the file itself, packed as they are.
    taken: Arc<AtomicU64>,
    /// Bytes handed out, and how many there may be.
    bytes: u64,
    most: u64,
    /// Lines handed out.
    pub(super) number: usize,
}

impl Lines {
    /// The lines of `reader`, which errors call `path`. `bounded` is a file that is read into memory
    /// as a whole.
    ///
    /// # Errors
    /// It cannot be read, or begins as no text does.
    pub(super) fn new(
        path: &Path,
        reader: impl Read + Send + 'static,
        format: Format,
        bounded: bool,
    ) -> Result<Self> {
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted { reader, taken: Arc::clone(&taken) };
        let reader: Box<dyn Read + Send> = match format.packing {
            Packing::None => Box::new(counted),
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(counted)),
            Packing::Zstd => Box::new(
                zstd::stream::read::Decoder::new(counted)
                    .map_err(|e| Error::io(path, "read", e))?,
            ),
        };
        let mut lines = Self {
            path: path.to_path_buf(),
            packing: format.packing,
            reader: BufReader::with_capacity(1 << 16, Box::new(io::empty())),
            taken,
            bytes: 0,
            most: if bounded { MAX_BYTES } else { u64::MAX },
            number: 0,
        };
        lines.begin(reader, format)?;
        Ok(lines)
    }

    /// Looks at how the text begins, and leaves out its byte-order mark.
    fn begin(&mut self, mut reader: Box<dyn Read + Send>, format: Format) -> Result<()> {
        const LONGEST: usize = 64;
        let mut start = Vec::new();
        // No further than the first line: whoever writes into a pipe may wait for what comes of it.
        while start.len() < LONGEST && !start.contains(&b'\n') {
            let mut some = [0; LONGEST];
            let read = match reader.read(&mut some) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|e| self.failed(e))?,
            };
            if read == 0 {
                break;
            }
            start.extend_from_slice(some.get(..read).unwrap_or_default());
        }
        check_pointer(&self.path, &start)?;
        if let Some((_, found, remedy)) = MAGICS.iter().find(|(magic, ..)| start.starts_with(magic))
        {
            let expected = format!("{} in UTF-8", format.layout.name());
            return Err(Error::content(&self.path, None, expected, *found).hint(remedy));
        }
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        }
        self.reader = BufReader::with_capacity(1 << 16, Box::new(Cursor::new(start).chain(reader)));
        Ok(())
    }

    /// Puts the next line into `line`, with its end; a last line without one gets it. False at the end
    /// of the file.
    ///
    /// # Errors
    /// The file cannot be read or unpacked, or the line is longer than [`MAX_LINE_BYTES`].
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        line.clear();
        let mut bounded = self.reader.by_ref().take(MAX_LINE_BYTES as u64 + 1);
        let read = bounded.read_until(b'\n', line);
        self.bytes += read.map_err(|e| self.failed(e))? as u64;
        if line.is_empty() {
            return Ok(false);
        }
        self.number += 1;
        if line.last() != Some(&b'\n') {
            if line.len() > MAX_LINE_BYTES {
                return Err(line_too_long(&self.path, self.number));
            }
            line.push(b'\n');
        }
        if self.bytes > self.most {
            let expected = format!("at most {} bytes once unpacked", self.most);
            return Err(Error::content(&self.path, self.number, expected, "more")
                .hint("take fewer rows: they are all read into memory"));
        }
        Ok(true)
    }

    /// Bytes of the file that have been read.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The error of reading.
    fn failed(&self, error: io::Error) -> Error {
        let kind = match self.packing {
            Packing::None => return Error::io(&self.path, "read", error),
            Packing::Gzip => "a whole gzip file",
            Packing::Zstd => "a whole Zstandard file",
        };
        let found = match error.kind() {
            io::ErrorKind::UnexpectedEof => "its end too early".to_owned(),
            io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory => {
                return Error::io(&self.path, "read", error);
            }
            _ if error.raw_os_error().is_some() => return Error::io(&self.path, "read", error),
            _ => format!("damage: {error}"),
        };
        Error::content(&self.path, self.number + 1, kind, found)
            .hint("the file was cut short or damaged on its way: bring it again")
    }
}

/// Counts what is read of a file.
struct Counted<R> {
    reader: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The text in `bytes`, of the line `line`.
///
/// # Errors
/// It is not UTF-8.
pub(super) fn text<'a>(path: &Path, line: usize, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| not_utf8(path, line, bytes, e))
}

/// Whether `file` is a plain file, rather than a pipe or the like.
pub(super) fn is_plain(file: &File) -> bool {
    file.metadata().is_ok_and(|about| about.is_file())
}
