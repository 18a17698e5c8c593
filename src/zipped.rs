//! Zip archives from elsewhere.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use zip::ZipArchive;
use zip::result::{ZipError, ZipResult};

/// Opens an archive in which every name occurs once. The crate `zip` keeps the last of several
/// entries of one name without a word, where other programs take the first.
///
/// # Errors
/// It cannot be read, is no archive, or has a name twice.
pub fn open<R: Read + Seek>(mut reader: R) -> ZipResult<ZipArchive<R>> {
    let zip = ZipArchive::new(&mut reader)?;
    let (start, names) = (zip.central_directory_start(), zip.len());
    drop(zip);
    let found = entries(&mut reader, start)?;
    if found != names {
        let reason = format!("{names} names for {found} entries");
        return Err(ZipError::InvalidArchive(reason.into()));
    }
    reader.rewind()?;
    ZipArchive::new(reader)
}

/// The number of the entries that the directory at `start` lists.
fn entries(reader: &mut (impl Read + Seek), start: u64) -> ZipResult<usize> {
    const SIGNATURE: &[u8; 4] = b"PK\x01\x02";
    reader.seek(SeekFrom::Start(start))?;
    let mut names = HashSet::new();
    loop {
        let mut head = [0; 46];
        let read = fill(reader, &mut head)?;
        if read < head.len() || !head.starts_with(SIGNATURE) {
            return Ok(names.len());
        }
        // The lengths of the name, of an extra field and of a comment stand 28 bytes in.
        let length = |at: usize| match head.get(at..at + 2) {
            Some([low, high]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let mut name = vec![0; usize::from(length(28))];
        reader.read_exact(&mut name)?;
        reader.seek(SeekFrom::Current(i64::from(length(30)) + i64::from(length(32))))?;
        if let Some(name) = names.replace(name) {
            let reason = format!("'{}' occurs twice", name.escape_ascii());
            return Err(ZipError::InvalidArchive(reason.into()));
        }
    }
}

/// Reads as much of `buffer` as there is.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut bytes = Vec::new();
    reader.take(buffer.len() as u64).read_to_end(&mut bytes)?;
    for (to, from) in buffer.iter_mut().zip(&bytes) {
        *to = *from;
    }
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn pack(names: &[&str]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        while let Some(at) = bytes.windows(from.len()).position(|part| part == from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        bytes
    }

    #[test]
    fn an_archive_without_a_name_twice_opens_wherever_it_begins() {
        let whole = pack(&["a/x", "b/x", "a/y"]);
        assert_eq!(open(Cursor::new(&whole)).unwrap().len(), 3);
        assert_eq!(open(Cursor::new([&[7; 100][..], &whole].concat())).unwrap().len(), 3);
        assert_eq!(open(Cursor::new(pack(&[]))).unwrap().len(), 0);
        assert!(open(Cursor::new(&whole[..whole.len() - 30])).is_err());
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused() {
        let twice = replaced(&pack(&["a/x", "b/x"]), "b/x", "a/x");
        assert_eq!(ZipArchive::new(Cursor::new(&twice)).unwrap().len(), 1, "as the crate has it");
        let text = open(Cursor::new(&twice)).unwrap_err().to_string();
        assert!(text.contains("'a/x' occurs twice"), "{text}");
    }

    #[test]
    fn entries_that_the_end_does_not_count_are_refused() {
        let mut bytes = pack(&["a", "b"]);
        let end = bytes.len() - 22;
        bytes[end + 8] = 1;
        bytes[end + 10] = 1;
        let text = open(Cursor::new(&bytes)).unwrap_err().to_string();
        assert!(text.contains("1 names for 2 entries"), "{text}");
    }
}
