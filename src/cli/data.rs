//! `platon data`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::printer::Printer;
use crate::error::{Error, Result, one_line};
use crate::glue::encode::Encoder;
use crate::glue::own::Columns;
use crate::glue::own::examples::Example;
use crate::glue::own::overview::{self, Column, Lengths, Odd, Overview};
use crate::glue::tsv::{Label, Row};

/// The longest texts that are counted, in tokens: beyond any model's reach.
const LONGEST: usize = 1 << 20;
/// Characters of the longest bar.
const BAR: usize = 30;
/// The most labels that are shown, and the most characters of one.
const LABELS: usize = 20;
const NAME: usize = 24;

#[derive(Args)]
pub struct DataArgs {
    /// File of rows: .csv, .tsv, .jsonl (these also with .gz or .zst) or .parquet.
    file: PathBuf,
    /// Column of the text; without it, only the columns are shown.
    #[arg(long)]
    text: Option<String>,
    /// Column of the second text, of pairs.
    #[arg(long, requires = "text")]
    text_pair: Option<String>,
    /// Column of the label.
    #[arg(long, requires = "text")]
    label: Option<String>,
    /// File that is to be evaluated on: shows what it shares with the first one.
    #[arg(long, requires = "text")]
    dev: Option<PathBuf>,
    /// Folder with the tokenizer that counts the tokens; without it, words are counted.
    #[arg(long, requires = "text")]
    checkpoint: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DataArgs, printer: &Printer) -> Result<()> {
    let columns = overview::columns(&args.file)?;
    let mut parts = Vec::new();
    if let Some(text) = &args.text {
        let (text_pair, label) = (args.text_pair.as_deref(), args.label.as_deref());
        let named = Columns { text, text_pair, label };
        let encoder = args.checkpoint.as_deref().map(Encoder::from_dir).transpose()?;
        let train = of(&args.file, named, encoder.as_ref())?;
        let dev =
            args.dev.as_deref().map(|path| of(path, named, encoder.as_ref()).map(|o| (path, o)));
        let mut dev = dev.transpose()?;
        if let Some((path, dev)) = &mut dev {
            train.share_with(dev, path, named)?;
        }
        parts.push((args.file.as_path(), train));
        parts.extend(dev);
    }
    if args.json {
        let file = |(path, overview): &(&Path, Overview)| -> Result<Value> {
            let mut object =
                serde_json::to_value(overview).map_err(|e| Error::run(e.to_string()))?;
            if let Some(object) = object.as_object_mut() {
                object.shift_insert(0, "file".into(), path.display().to_string().into());
            }
            Ok(object)
        };
        let files = parts.iter().map(file).collect::<Result<Vec<_>>>()?;
        return printer.data(&json!({"columns": columns, "files": files}).to_string());
    }
    printer.data(&table(&columns))?;
    for (n, (path, overview)) in parts.iter().enumerate() {
        let is_dev = n > 0;
        printer.data(&format!("\n{}: {} rows", path.display(), overview.rows))?;
        show(overview, args, is_dev).iter().try_for_each(|line| printer.data(line))?;
    }
    if args.text.is_none() {
        printer.log("--text and --label name the columns to look at more closely");
    }
    Ok(())
}

fn of(path: &Path, columns: Columns<'_>, encoder: Option<&Encoder>) -> Result<Overview> {
    let Some(encoder) = encoder else {
        return Overview::of(path, columns, "words", &mut |rows| Ok(overview::words(rows)));
    };
    let mut words = encoder.words();
    let row = |Example { text_a, text_b, .. }: &Example| Row {
        uid: String::new(),
        label: Label::Class(0),
        text_a: text_a.clone().unwrap_or_default(),
        text_b: text_b.clone(),
    };
    Overview::of(path, columns, "tokens", &mut |rows| {
        let rows: Vec<Row> = rows.iter().map(row).collect();
        let samples = encoder.encode_batch(&rows, LONGEST, &mut words)?;
        Ok(samples.iter().map(|sample| sample.token_id.len()).collect())
    })
}

/// The columns, as far as the first rows tell.
fn table(columns: &[Column]) -> String {
    let name = |column: &Column| one_line(&column.name);
    let width = columns.iter().map(|column| name(column).chars().count()).max().unwrap_or(0).max(6);
    let head = format!(
        "{:width$}  {:15}  {:>9}  {:>5}  first value",
        "column", "holds", "different", "empty"
    );
    let row = |column: &Column| {
        let (name, Column { kind, different, empty, example, .. }) = (name(column), column);
        format!("{name:width$}  {kind:15}  {different:>9}  {empty:>5}  {example}")
            .trim_end()
            .to_owned()
    };
    std::iter::once(head).chain(columns.iter().map(row)).collect::<Vec<_>>().join("\n")
}

fn show(overview: &Overview, args: &DataArgs, is_dev: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let of = |count: usize, rows: usize| 100.0 * count as f64 / rows.max(1) as f64;
    match (&overview.range, overview.target.as_deref()) {
        (Some((least, mean, most)), _) => {
            lines.push(format!("  numbers from {least} to {most}, {mean:.4} on average"));
        }
        (None, Some("classes")) => {
            let count = overview.labels.len();
            lines.push(format!("  {count} labels"));
            let largest = overview.labels.iter().map(|(_, rows)| *rows).max().unwrap_or(0);
            for (name, rows) in overview.labels.iter().take(LABELS) {
                let name: String = one_line(name).chars().take(NAME).collect();
                let bar = bar(*rows, largest);
                let line = format!(
                    "    {name:NAME$} {rows:>8}  {:>5.1} %  {bar}",
                    of(*rows, overview.rows)
                );
                lines.push(line.trim_end().to_owned());
            }
            lines.extend((count > LABELS).then(|| format!("    and {} more", count - LABELS)));
        }
        (None, Some(wrong)) => lines.push(format!("  labels: {wrong}")),
        (None, None) => {}
    }
    let Lengths { unit, shortest, median, most, longest, histogram } = &overview.lengths;
    lines.push(format!(
        "  {unit}: {shortest} to {longest}, median {median}, 95 % of the rows at most {most}"
    ));
    let largest = histogram.iter().map(|(_, rows)| *rows).max().unwrap_or(0);
    for (end, rows) in histogram {
        let line = format!("    up to {end:<6} {rows:>8}  {}", bar(*rows, largest));
        lines.push(line.trim_end().to_owned());
    }
    let mut odd = vec![("rows without text", &overview.empty)];
    odd.extend(args.label.as_ref().map(|_| ("rows without label", &overview.unlabelled)));
    odd.push(("rows whose text was there before", &overview.repeated));
    odd.extend(
        args.label.as_ref().map(|_| ("of these, with another label", &overview.contradicted)),
    );
    let shared = format!("rows whose text is in {} too", args.file.display());
    odd.extend(is_dev.then_some((shared.as_str(), &overview.shared)));
    lines.extend(odd.into_iter().map(|(what, odd)| format!("  {what}: {}", places(odd))));
    lines
}

/// How many, and where the first of them are.
fn places(odd: &Odd) -> String {
    let lines: Vec<String> = odd.lines.iter().map(ToString::to_string).collect();
    let more = if odd.rows > lines.len() { ", ..." } else { "" };
    match lines.len() {
        0 => odd.rows.to_string(),
        1 => format!("{} (line {})", odd.rows, lines.concat()),
        _ => format!("{} (lines {}{more})", odd.rows, lines.join(", ")),
    }
}

/// A bar for `count`, the longest being that for `largest`.
fn bar(count: usize, largest: usize) -> String {
    let length = (count * BAR).div_ceil(largest.max(1));
    "#".repeat(length)
}
