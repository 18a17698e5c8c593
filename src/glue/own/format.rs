//! A file's format, which its name tells.

use std::path::Path;

use crate::error::{Error, Result};

/// How the rows of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Fields with commas between them, quoted where need be (RFC 4180).
    Csv,
    /// The same with tabs.
    Tsv,
    /// Fields with tabs between them, nothing quoted: as in GLUE's files. No name tells it.
    Unquoted,
    /// A JSON object per line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
}

/// A file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// How its rows are laid out.
    pub layout: Layout,
    /// How it is compressed.
    pub packing: Packing,
}

/// The endings of names, in small letters.
const LAYOUTS: [(&str, Layout); 8] = [
    ("csv", Layout::Csv),
    ("tsv", Layout::Tsv),
    ("tab", Layout::Tsv),
    ("jsonl", Layout::JsonLines),
    ("ndjson", Layout::JsonLines),
    ("json", Layout::JsonLines),
    ("parquet", Layout::Parquet),
    ("pq", Layout::Parquet),
];

/// The same of whole files.
const PACKINGS: [(&str, Packing); 3] =
    [("gz", Packing::Gzip), ("zst", Packing::Zstd), ("zstd", Packing::Zstd)];

impl Format {
    /// The format of the file `path`; `None` where its name tells none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let (rest, last) = name.rsplit_once('.')?;
        let packing = PACKINGS.iter().find(|(ending, _)| *ending == last).map(|(_, p)| *p);
        let ending = match packing {
            Some(_) => rest.rsplit_once('.')?.1,
            None => last,
        };
        let layout = LAYOUTS.iter().find(|(known, _)| *known == ending)?.1;
        let packing = packing.unwrap_or(Packing::None);
        // Its parts are compressed, each by itself.
        (layout != Layout::Parquet || packing == Packing::None).then_some(Self { layout, packing })
    }

    /// The format that the file `path` must have.
    ///
    /// # Errors
    /// Its name tells none.
    pub fn required(path: &Path) -> Result<Self> {
        Self::of(path).ok_or_else(|| {
            let expected =
                "a name that ends in .csv, .tsv, .jsonl (these also with .gz or .zst) or .parquet";
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
            Error::content(path, None, expected, name)
                .hint("the ending tells the format: rename the file, or save it in one of these")
        })
    }
}

impl Layout {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Tsv | Self::Unquoted => "TSV",
            Self::JsonLines => "JSON lines",
            Self::Parquet => "Parquet",
        }
    }
}

/// The stem of a file's name, without what tells its format: `a/reviews.csv.gz` is `reviews`.
#[must_use]
pub fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split('.').find(|part| !part.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_tells_the_format() {
        for (name, layout, packing) in [
            ("a/b.csv", Layout::Csv, Packing::None),
            ("B.CSV.GZ", Layout::Csv, Packing::Gzip),
            ("b.tsv.zst", Layout::Tsv, Packing::Zstd),
            ("b.x.jsonl", Layout::JsonLines, Packing::None),
            ("b.json.gz", Layout::JsonLines, Packing::Gzip),
            ("b.parquet", Layout::Parquet, Packing::None),
        ] {
            assert_eq!(Format::of(Path::new(name)), Some(Format { layout, packing }), "{name}");
        }
        for name in ["b", "b.txt", "csv", "b.gz", "b.parquet.gz", "b.xlsx", "-", "", ".."] {
            assert_eq!(Format::of(Path::new(name)), None, "{name}");
        }
        let text = Format::required(Path::new("a/b.xlsx")).unwrap_err().to_string();
        assert!(text.starts_with("a/b.xlsx: expected a name that ends in .csv, "), "{text}");
    }

    #[test]
    fn a_stem_is_without_all_endings() {
        assert_eq!(stem(Path::new("a/reviews.train.csv.gz")), "reviews");
        assert_eq!((stem(Path::new(".csv")), stem(Path::new(".."))), ("csv".into(), String::new()));
    }
}
