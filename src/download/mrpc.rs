//! MRPC's files, made as GLUE's script makes them.
//!
//! GLUE may not hand out this corpus, only the ids of the pairs that it moved from Microsoft's
//! training file to its dev set.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::download::read_small;
use crate::error::{Error, Result};
use crate::files::write_whole;

const TEST_HEADER: &str = "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n";

/// The files that GLUE's are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub train: &'a Path,
    pub test: &'a Path,
    pub dev_ids: &'a Path,
}

/// One row of Microsoft's files: label, both ids, both texts.
type Row<'a> = [&'a str; 5];

/// Writes those of `train.tsv`, `dev.tsv` and `test.tsv` that are named.
///
/// # Errors
/// An input is malformed, no pair of the list occurs, or a file cannot be written.
pub(super) fn assemble(inputs: &Inputs<'_>, folder: &Path, files: &[&str]) -> Result<Vec<PathBuf>> {
    let (train, test) = (read(inputs.train)?, read(inputs.test)?);
    let dev_ids = read(inputs.dev_ids)?;
    let dev_ids: HashSet<_> =
        dev_ids.lines().filter_map(|line| line.trim().split_once('\t')).collect();

    let (header, rows) = rows(inputs.train, &train)?;
    // GLUE's script keeps the byte-order mark that the header begins with.
    let (mut train_text, mut dev_text) = (format!("{header}\n"), format!("{header}\n"));
    let mut dev_rows = 0;
    for row in rows {
        let [label, id_a, id_b, text_a, text_b] = row;
        let in_dev = dev_ids.contains(&(id_a, id_b));
        dev_rows += usize::from(in_dev);
        let text = if in_dev { &mut dev_text } else { &mut train_text };
        text.push_str(&format!("{label}\t{id_a}\t{id_b}\t{text_a}\t{text_b}\n"));
    }
    if dev_rows == 0 {
        let expected = format!("pairs of ids that occur in {}", inputs.train.display());
        return Err(
            Error::content(inputs.dev_ids, None, expected, "none").hint(again(inputs.dev_ids))
        );
    }
    let mut test_text = TEST_HEADER.to_owned();
    let (_, rows) = self::rows(inputs.test, &test)?;
    for (index, [_, id_a, id_b, text_a, text_b]) in rows.into_iter().enumerate() {
        test_text.push_str(&format!("{index}\t{id_a}\t{id_b}\t{text_a}\t{text_b}\n"));
    }

    let mut written = Vec::new();
    for file in files {
        let text = match *file {
            "train.tsv" => &train_text,
            "dev.tsv" => &dev_text,
            "test.tsv" => &test_text,
            other => return Err(Error::value("file", "train.tsv, dev.tsv or test.tsv", other)),
        };
        let path = folder.join(file);
        write_whole(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// A text file with plain line ends.
fn read(path: &Path) -> Result<String> {
    let text = String::from_utf8(read_small(path)?)
        .map_err(|_| Error::content(path, None, "UTF-8 text", "other bytes").hint(again(path)))?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

/// The header and the rows.
fn rows<'a>(path: &Path, text: &'a str) -> Result<(&'a str, Vec<Row<'a>>)> {
    // Not `lines`: it would take a last carriage return for part of the line's end.
    let mut lines = text.split('\n');
    let header = lines.next().unwrap_or_default();
    if header.trim_start_matches('\u{feff}').split('\t').count() != 5 {
        let found = header.chars().take(60).collect::<String>();
        return Err(
            Error::content(path, 1, "a header of 5 fields", format!("'{found}'")).hint(again(path))
        );
    }
    let rows = lines
        .enumerate()
        .map(|(index, line)| (index + 2, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| {
            let fields: Vec<_> = line.split('\t').collect();
            let found = format!("{} fields", fields.len());
            fields
                .try_into()
                .map_err(|_| Error::content(path, number, "5 fields", found).hint(again(path)))
        })
        .collect::<Result<Vec<Row<'_>>>>()?;
    Ok((header, rows))
}

fn again(path: &Path) -> String {
    format!("remove {} and run again", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const HEADER: &str = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String";

    fn run(train: &str, test: &str, ids: &str, files: &[&str]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        };
        let (train, test, dev_ids) =
            (path("train.txt", train), path("test.txt", test), path("ids.tsv", ids));
        let inputs = Inputs { train: &train, test: &test, dev_ids: &dev_ids };
        let written = assemble(&inputs, &dir.path().join("MRPC"), files)?;
        Ok(written.iter().map(|path| fs::read_to_string(path).unwrap()).collect())
    }

    #[test]
    fn the_files_are_those_of_the_script() {
        let train = format!(
            "{HEADER}\r\n1\t70\t71\tHe said.\tShe \"said.\r\n0\t72\t73\tA \tB \r\n\
             1\t71\t70\tNot this order.\tNo.\r\n"
        );
        let test = format!("{HEADER}\n1\t5\t6\tA\tB\n0\t7\t8\tC\tD\n");
        let ids = "#1 ID\t#2 ID\n70\t71\n9\t9\n";
        let files = run(&train, &test, ids, &["train.tsv", "dev.tsv", "test.tsv"]).unwrap();
        let expected = format!("{HEADER}\n0\t72\t73\tA \tB\n1\t71\t70\tNot this order.\tNo.\n");
        assert_eq!(files[0], expected);
        assert_eq!(files[1], format!("{HEADER}\n1\t70\t71\tHe said.\tShe \"said.\n"));
        assert_eq!(files[2], format!("{TEST_HEADER}0\t5\t6\tA\tB\n1\t7\t8\tC\tD\n"));
        assert_eq!(run(&train, &test, ids, &["dev.tsv"]).unwrap(), files[1..2]);
    }

    #[test]
    fn other_files_are_refused_with_their_line() {
        let good = format!("{HEADER}\n1\t70\t71\tA\tB\n");
        let message = |train: &str, ids: &str| {
            run(train, &good, ids, &["train.tsv"]).unwrap_err().to_string()
        };
        let text = message("<html>no such page</html>", "70\t71\n");
        assert!(
            text.contains("train.txt:1: expected a header of 5 fields, found '<html>"),
            "{text}"
        );
        let text = message(&format!("{good}1\t2\tA\tB\n"), "70\t71\n");
        assert!(text.contains("train.txt:3: expected 5 fields, found 4 fields"), "{text}");
        let text = message(&good, "1\t2\n");
        assert!(text.contains("ids.tsv: expected pairs of ids that occur in"), "{text}");
        assert!(text.contains("and run again)"), "{text}");
    }
}
