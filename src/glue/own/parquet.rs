//! Apache Parquet, of which only the columns that are wanted are read, some rows at a time.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::basic::{CompressionCodec, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use super::bytes::text;
use super::table::{Record, Value};
use crate::error::{Error, Result};
use crate::glue::read::MAX_LINE_BYTES;
use crate::panics;

/// Rows that are decoded at a time.
const BATCH: usize = 256;

/// The rows of such a file.
pub(super) struct Parquet {
    path: PathBuf,
    bytes: u64,
    file: SerializedFileReader<File>,
    header: Vec<String>,
    /// The columns that are wanted, by their places among those that hold values.
    wanted: Vec<usize>,
    /// The next group of rows, and the open columns of the one before, with its rows still to come.
    group: usize,
    open: Vec<ColumnReader>,
    left: usize,
    /// Decoded rows, column by column in reverse.
    batch: Vec<Vec<Value>>,
    /// Rows decoded.
    row: usize,
    /// Bytes of their texts, and how many there may be.
    texts: u64,
    most: u64,
}

impl Parquet {
    /// The rows of `file`, which errors call `path`; their texts may have `most` bytes together.
    ///
    /// # Errors
    /// It is no whole Parquet file.
    pub(super) fn new(path: &Path, file: File, most: u64) -> Result<Self> {
        let bytes = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
        let file = sound(path, None, || SerializedFileReader::new(file))?;
        let schema = file.metadata().file_metadata().schema();
        let header = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        Ok(Self {
            path: path.to_path_buf(),
            bytes,
            file,
            header,
            wanted: Vec::new(),
            group: 0,
            open: Vec::new(),
            left: 0,
            batch: Vec::new(),
            row: 0,
            texts: 0,
            most,
        })
    }

    /// The names of the columns.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Chooses the columns to read, by their places in the header.
    ///
    /// # Errors
    /// One holds lists or groups of values.
    pub(super) fn choose(&mut self, places: Vec<usize>) -> Result<()> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        let mut wanted = Vec::with_capacity(places.len());
        for place in places {
            let leaf = (0..schema.num_columns()).find(|leaf| {
                schema.get_column_root_idx(*leaf) == place
                    && schema.get_column_root(*leaf).is_primitive()
                    && schema.column(*leaf).max_rep_level() == 0
            });
            let name = self.header.get(place).map_or("", String::as_str);
            wanted.push(leaf.ok_or_else(|| {
                let expected = format!("a value per row in the column {name}");
                Error::content(&self.path, None, expected, "lists or groups of values")
            })?);
        }
        self.wanted = wanted;
        Ok(())
    }

    /// Whether the column at `place` in the header holds a value per row.
    pub(super) fn is_plain(&self, place: usize) -> bool {
        let fields = self.file.metadata().file_metadata().schema().get_fields();
        fields.get(place).is_some_and(|field| field.is_primitive())
    }

    /// Bytes of the file that the rows so far stand for.
    pub(super) fn taken(&self) -> u64 {
        let rows = self.file.metadata().file_metadata().num_rows();
        let rows = u64::try_from(rows).unwrap_or(0).max(1);
        let done = self.row as u64;
        u64::try_from(u128::from(self.bytes) * u128::from(done.min(rows)) / u128::from(rows))
            .unwrap_or(self.bytes)
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The file is damaged, or a text is no UTF-8 or too long, or all together are; each of these names
    /// the row.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        while self.batch.first().is_none_or(Vec::is_empty) {
            if !self.decode()? {
                return Ok(None);
            }
        }
        let waiting = self.batch.first().map_or(0, Vec::len);
        let line = self.row + 1 - waiting;
        let values = self.batch.iter_mut().map(|column| column.pop().unwrap_or(Value::Nothing));
        Ok(Some(Record { line, values: values.collect() }))
    }

    /// Decodes some more rows; false where there are none.
    fn decode(&mut self) -> Result<bool> {
        while self.left == 0 {
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            self.open_group()?;
        }
        let (path, first, count) = (self.path.as_path(), self.row + 1, self.left.min(BATCH));
        let mut batch = Vec::with_capacity(self.open.len());
        for (column, leaf) in self.open.iter_mut().zip(&self.wanted) {
            let about = self.file.metadata().file_metadata().schema_descr().column(*leaf);
            let most = about.max_def_level();
            let cells = sound(path, Some(first), || cells(column, count, most))?;
            let cells = cells.ok_or_else(|| damage(path, first, "fewer rows than it tells"))?;
            let meaning = Meaning::of(&about);
            let value = |(cell, line): (Cell, usize)| match cell {
                Cell::Value(value) => Ok(meaning.value(value)),
                Cell::Bytes(bytes) if bytes.len() > MAX_LINE_BYTES => {
                    let expected = format!("a text of at most {MAX_LINE_BYTES} bytes");
                    Err(Error::content(path, line, expected, bytes.len())
                        .hint("texts so long are cut off in any case: shorten this one"))
                }
                Cell::Bytes(bytes) => Ok(Value::Text(text(path, line, bytes.data())?.to_owned())),
            };
            let mut values =
                cells.into_iter().zip(first..).map(value).collect::<Result<Vec<_>>>()?;
            values.reverse();
            batch.push(values);
        }
        let bytes = |value: &Value| match value {
            Value::Text(text) => text.len() as u64,
            _ => 0,
        };
        // A text that is stored once may be that of any number of rows.
        self.texts += batch.iter().flatten().map(bytes).sum::<u64>();
        if self.texts > self.most {
            let expected = format!("texts of at most {} bytes together", self.most);
            return Err(Error::content(path, first, expected, "more")
                .hint("take fewer rows: they are all read into memory"));
        }
        (self.batch, self.row, self.left) = (batch, self.row + count, self.left - count);
        Ok(true)
    }

    fn open_group(&mut self) -> Result<()> {
        let (path, group) = (self.path.as_path(), self.group);
        let about = self.file.metadata().row_group(group);
        let rows = usize::try_from(about.num_rows());
        let rows = rows.map_err(|_| damage(path, self.row + 1, "a negative number of rows"))?;
        for leaf in &self.wanted {
            let chunk = about.columns().get(*leaf);
            let chunk =
                chunk.ok_or_else(|| damage(path, self.row + 1, "a column that is not there"))?;
            check_chunk(path, self.row + 1, chunk, self.bytes)?;
        }
        let (file, wanted) = (&self.file, &self.wanted);
        let open = || {
            let group = file.get_row_group(group)?;
            wanted.iter().map(|leaf| group.get_column_reader(*leaf)).collect()
        };
        self.open = sound(path, Some(self.row + 1), open)?;
        (self.group, self.left) = (group + 1, rows);
        Ok(())
    }
}

/// What the numbers of a column stand for.
enum Meaning {
    /// For themselves.
    Stored,
    /// For numbers without a sign, of 32 or fewer bits, or of 64.
    Unsigned32,
    Unsigned64,
    /// For something else, in words.
    Other(&'static str),
}

impl Meaning {
    /// Files have it in one of two ways, of which the second is the older one.
    fn of(column: &ColumnDescriptor) -> Self {
        use ConvertedType as Converted;
        let unsigned = || match column.physical_type() {
            Type::INT32 => Self::Unsigned32,
            _ => Self::Unsigned64,
        };
        match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Decimal(_)), _) | (_, Converted::DECIMAL) => {
                Self::Other("a decimal number")
            }
            (Some(LogicalType::Date), _) | (_, Converted::DATE) => Self::Other("a date"),
            (Some(LogicalType::Time(_) | LogicalType::Timestamp(_)), _)
            | (
                _,
                Converted::TIME_MILLIS
                | Converted::TIME_MICROS
                | Converted::TIMESTAMP_MILLIS
                | Converted::TIMESTAMP_MICROS,
            ) => Self::Other("a time"),
            (Some(LogicalType::Integer(about)), _) if !about.is_signed => unsigned(),
            (
                _,
                Converted::UINT_8 | Converted::UINT_16 | Converted::UINT_32 | Converted::UINT_64,
            ) => unsigned(),
            _ => Self::Stored,
        }
    }

    /// The value that is stored as `value`.
    fn value(&self, value: Value) -> Value {
        match (self, value) {
            (_, Value::Nothing) => Value::Nothing,
            (Self::Other(word), _) => Value::Other(word),
            (Self::Unsigned32, Value::Whole(stored)) => Value::Whole(stored & 0xffff_ffff),
            (Self::Unsigned64, Value::Whole(stored)) if stored < 0 => {
                Value::Text(stored.cast_unsigned().to_string())
            }
            (_, value) => value,
        }
    }
}

/// A cell as it is stored.
enum Cell {
    Value(Value),
    Bytes(ByteArray),
}

/// The next `count` cells of a column, whose values have the definition level `most`; `None` where
/// it has fewer.
fn cells(column: &mut ColumnReader, count: usize, most: i16) -> ParquetResult<Option<Vec<Cell>>> {
    let other = |word: &'static str| move || Cell::Value(Value::Other(word));
    Ok(match column {
        ColumnReader::BoolColumnReader(reader) => {
            of(reader, count, most, |value| Cell::Value(Value::Bool(value)))?
        }
        ColumnReader::Int32ColumnReader(reader) => {
            of(reader, count, most, |value| Cell::Value(Value::Whole(value.into())))?
        }
        ColumnReader::Int64ColumnReader(reader) => {
            of(reader, count, most, |value| Cell::Value(Value::Whole(value)))?
        }
        ColumnReader::FloatColumnReader(reader) => {
            of(reader, count, most, |value| Cell::Value(Value::Number(value.into())))?
        }
        ColumnReader::DoubleColumnReader(reader) => {
            of(reader, count, most, |value| Cell::Value(Value::Number(value)))?
        }
        ColumnReader::ByteArrayColumnReader(reader) => of(reader, count, most, Cell::Bytes)?,
        ColumnReader::Int96ColumnReader(reader) => of(reader, count, most, |_| other("a time")())?,
        ColumnReader::FixedLenByteArrayColumnReader(reader) => {
            of(reader, count, most, |_| other("bytes of a fixed length")())?
        }
    })
}

/// The same of one type.
fn of<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    most: i16,
    cell: impl Fn(T::T) -> Cell,
) -> ParquetResult<Option<Vec<Cell>>> {
    let (mut levels, mut values) = (Vec::new(), Vec::with_capacity(count));
    let (rows, _, _) = reader.read_records(count, Some(&mut levels), None, &mut values)?;
    if rows != count {
        return Ok(None);
    }
    if most == 0 {
        return Ok((values.len() == count).then(|| values.into_iter().map(cell).collect()));
    }
    let mut values = values.into_iter();
    let cells = levels.into_iter().map(|level| match level == most {
        true => values.next().map(&cell),
        false => Some(Cell::Value(Value::Nothing)),
    });
    Ok(cells.collect::<Option<Vec<_>>>().filter(|cells| cells.len() == count))
}

/// Refuses what the library would ask the system for without a look at the file's size.
fn check_chunk(path: &Path, row: usize, chunk: &ColumnChunkMetaData, bytes: u64) -> Result<()> {
    let starts = [chunk.dictionary_page_offset(), Some(chunk.data_page_offset())];
    let starts = starts.into_iter().flatten().map(|start| u64::try_from(start).ok());
    let length = u64::try_from(chunk.compressed_size()).ok();
    let start = starts.min().flatten();
    let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
    if end.is_none_or(|end| end > bytes) {
        return Err(damage(path, row, "a column beyond its end"));
    }
    match chunk.compression_codec() {
        CompressionCodec::UNCOMPRESSED
        | CompressionCodec::SNAPPY
        | CompressionCodec::GZIP
        | CompressionCodec::ZSTD => Ok(()),
        other => {
            let expected = "columns that are plain or compressed by snappy, gzip or zstd";
            Err(Error::content(path, None, expected, other).hint("save it again with one of these"))
        }
    }
}

fn damage(path: &Path, row: impl Into<Option<usize>>, found: impl std::fmt::Display) -> Error {
    Error::content(path, row, "a whole Parquet file", found)
        .hint("the file was cut short or damaged on its way: bring it again")
}

/// What `work` of the library gives; it may panic over a file that is damaged.
fn sound<T>(path: &Path, row: Option<usize>, work: impl FnOnce() -> ParquetResult<T>) -> Result<T> {
    match panics::catch(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::External(e))) => Err(damage(path, row, e)),
        Ok(Err(e)) => Err(damage(path, row, e)),
        Err(panic) => Err(damage(path, row, panic)),
    }
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
