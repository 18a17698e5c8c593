//! Event files that TensorBoard reads, with scalars only.
//!
//! A file is a sequence of TFRecords: the length (u64), its checksum, the data, their checksum, all
//! little-endian, the checksums CRC-32C and masked. The data of each are one protobuf message:
//!
//! ```text
//! Event   { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
//! Summary { repeated Value value = 1; }
//! Value   { string tag = 1; float simple_value = 2; }
//! ```
//!
//! They are encoded here by hand, as these five fields are a few lines, while the crates that write
//! event files stand on old ground: tensorboard-rs 0.5.9 on protobuf 2 and image 0.23, both long
//! superseded, tfrecord 0.15.0 and tboard 0.1.1 on prost 0.12, with some 130 and 50 crates in all.
//! A value carries no metadata: from `simple_value` alone TensorBoard knows it for a scalar.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crc::{CRC_32_ISCSI, Crc};

use crate::error::{Error, Result};
use crate::files::open_own;

/// CRC-32C, by its name in the catalogue.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// What the first event of a file says.
const FILE_VERSION: &str = "brain.Event:2";

/// Holds several hundred events.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes one event file. Events are buffered: what [`flush`](Self::flush) did not write when the
/// program is killed is lost, and errors of the implicit flush on drop are not seen.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// Creates `events.out.tfevents.{seconds}.{host}.{pid}.{n}` in `dir`, which is made if missing,
    /// and writes the event that opens every file. `n` counts up past files that exist.
    ///
    /// # Errors
    /// The folder or the file cannot be made or written.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", e))?;
        let now = since_epoch();
        // TensorBoard reads the files of a folder in the order of their names.
        let (seconds, host, pid) = (now.as_secs(), host_name(), std::process::id());
        let mut n = 0_u32;
        let (path, file) = loop {
            let path = dir.join(format!("events.out.tfevents.{seconds:010}.{host}.{pid}.{n}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(Error::io(path, "create", e)),
            }
        };
        let mut writer = Self { path, file: BufWriter::with_capacity(BUFFER_BYTES, file) };
        writer.record(&version_event(now.as_secs_f64()))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Goes on in the file `path`, of which the first `bytes` bytes stay.
    ///
    /// # Errors
    /// The file cannot be written, or is shorter.
    pub fn resume(path: &Path, bytes: u64) -> Result<Self> {
        let failed = |e| Error::io(path, "write", e);
        let mut file = open_own(path, OpenOptions::new().write(true))?;
        let found = file.metadata().map_err(failed)?.len();
        if found < bytes {
            return Err(Error::content(path, None, format!("at least {bytes} bytes"), found));
        }
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds the value that `tag` has at `step`. It may be NaN or infinite, which TensorBoard marks
    /// in the plot.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<()> {
        self.record(&scalar_event(since_epoch().as_secs_f64(), tag, step, value))
    }

    /// Hands all events so far to the operating system, for TensorBoard to see.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(|e| self.failed(e))
    }

    /// As [`flush`](Self::flush), and waits until the events are on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.file.get_ref().sync_data().map_err(|e| self.failed(e))
    }

    /// Written in one piece: the buffer never splits what fits into it.
    fn record(&mut self, data: &[u8]) -> Result<()> {
        self.file.write_all(&framed(data)).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::io(&self.path, "write", source)
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The machine's name, for the file's name only: reduced to letters, digits, `-`, `_` and dots.
fn host_name() -> String {
    let given = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok())
        .unwrap_or_default();
    plain(given.trim())
}

fn plain(host: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    match host.chars().take(64).map(kept).collect::<String>() {
        name if name.is_empty() => "localhost".into(),
        name => name,
    }
}

/// The TFRecord of `data`.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked(data).to_le_bytes());
    record
}

/// TFRecord's masked checksum: rotated and shifted, so that checksums of data that themselves hold
/// checksums stay good.
fn masked(data: &[u8]) -> u32 {
    CRC32C.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn version_event(wall_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time);
    event.bytes(3, FILE_VERSION.as_bytes());
    event.0
}

fn scalar_event(wall_time: f64, tag: &str, step: u64, simple_value: f32) -> Vec<u8> {
    let (mut value, mut summary, mut event) =
        (Message::default(), Message::default(), Message::default());
    value.bytes(1, tag.as_bytes());
    value.float(2, simple_value);
    summary.bytes(1, &value.0);
    event.double(1, wall_time);
    event.integer(2, step);
    event.bytes(5, &summary.0);
    event.0
}

/// A protobuf message under construction. Each field is its number and its wire type, then its
/// value: a varint (type 0), 8 bytes (1), a length and so many bytes (2), or 4 bytes (5).
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(&mut self, field: u8, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u8, value: f64) {
        self.key(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn float(&mut self, field: u8, value: f32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn key(&mut self, field: u8, wire_type: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire_type));
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_hex(hex: &str) -> Vec<u8> {
        let byte = |digits: &[u8; 2]| {
            u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
        };
        hex.as_bytes().as_chunks().0.iter().map(byte).collect()
    }

    /// The data of each record, whose two checksums must hold.
    fn records(mut file: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while !file.is_empty() {
            let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
            let (record, rest) = file.split_at(length + 16);
            let data = record[12..12 + length].to_vec();
            assert_eq!(record, framed(&data));
            all.push(data);
            file = rest;
        }
        all
    }

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }

    /// The bytes come from TensorBoard 2.21.0 in Python: `Event(wall_time=1.5, ...)` of
    /// tensorboard.compat.proto, serialized and written by its `RecordWriter`; the framing was
    /// computed once more there with a bitwise CRC of the polynomial 0x82f63b78.
    #[test]
    fn records_are_those_of_tensorboard_itself() {
        assert_eq!(
            framed(&version_event(1.5)),
            from_hex(
                "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a32\
                 2a28646c"
            )
        );
        assert_eq!(
            framed(&scalar_event(1.5, "Prune/ratio", 300, 0.25)),
            from_hex(
                "220000000000000078113dfd09000000000000f83f10ac022a140a120a0b5072756e652f\
                 726174696f150000803e95a37b59"
            )
        );
    }

    /// From the same program, without the framing: the tag takes two bytes for its length.
    #[test]
    fn long_tags_and_late_steps_take_longer_varints() {
        let event = scalar_event(1.5, &"x".repeat(200), u64::from(u32::MAX), f32::NAN);
        let mut expected = from_hex("09000000000000f83f10ffffffff0f2ad3010ad0010ac801");
        expected.extend([b'x'; 200]);
        expected.extend(from_hex("150000c07f"));
        assert_eq!(event, expected);
    }

    #[test]
    fn events_stand_in_the_file_after_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("made/if/missing");
        let mut writer = EventWriter::create(&dir).unwrap();
        let path = writer.path().to_path_buf();
        assert_eq!(records(&fs::read(&path).unwrap()).len(), 1, "the file's version");
        // More than the buffer holds, whatever part of it reached the file by itself.
        for step in 0..5000 {
            writer.scalar("train/loss", step, step as f32).unwrap();
        }
        writer.flush().unwrap();
        let read = records(&fs::read(&path).unwrap());
        assert_eq!(read.len(), 5001);
        assert!(read[0].ends_with(FILE_VERSION.as_bytes()));
        let wall_time = f64::from_le_bytes(read[5000][1..9].try_into().unwrap());
        assert_eq!(read[5000], scalar_event(wall_time, "train/loss", 4999, 4999.0));
        assert!((since_epoch().as_secs_f64() - wall_time).abs() < 600.0);
    }

    #[test]
    fn a_file_that_is_gone_on_with_has_no_event_twice() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path()).unwrap();
        writer.scalar("a", 1, 0.5).unwrap();
        writer.flush().unwrap();
        let path = writer.path().to_path_buf();
        let bytes = fs::metadata(&path).unwrap().len();
        writer.scalar("a", 2, 0.0).unwrap();
        drop(writer);
        let mut writer = EventWriter::resume(&path, bytes).unwrap();
        writer.scalar("a", 2, 1.0).unwrap();
        writer.flush().unwrap();
        let read = records(&fs::read(&path).unwrap());
        assert_eq!(read.len(), 3);
        let wall_time = f64::from_le_bytes(read[2][1..9].try_into().unwrap());
        assert_eq!(read[2], scalar_event(wall_time, "a", 2, 1.0));
        let text = EventWriter::resume(&path, 1 << 20).err().unwrap().to_string();
        assert!(text.contains("expected at least 1048576 bytes"), "{text}");
    }

    #[test]
    fn what_reaches_the_file_unasked_are_whole_records() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path()).unwrap();
        for step in 0..5000 {
            writer.scalar("a", step, 0.0).unwrap();
        }
        let read = records(&fs::read(writer.path()).unwrap()).len();
        assert!(1 < read && read < 5001, "{read}");
    }

    #[test]
    fn two_writers_at_once_take_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(dir.path()).unwrap();
        let second = EventWriter::create(dir.path()).unwrap();
        first.scalar("a", 1, 0.0).unwrap();
        drop(first);
        let third = EventWriter::create(dir.path()).unwrap();
        let mut sizes: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|file| records(&fs::read(file.unwrap().path()).unwrap()).len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 2], "three files, and what was in the first is still there");
        for writer in [second, third] {
            let name = writer.path().file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("events.out.tfevents."), "{name}");
            assert!(name.contains(&format!(".{}.", std::process::id())), "{name}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let wanted = file.join("tensorboard_logdir");
        let error = EventWriter::create(&wanted).unwrap_err().to_string();
        assert!(error.contains(wanted.to_str().unwrap()), "{error}");
    }

    #[test]
    fn host_names_keep_the_file_in_its_folder() {
        assert_eq!(plain("../héc:tor"), ".._h_c_tor");
        assert_eq!(plain(""), "localhost");
    }
}
