//! Files of one's own on the command line: what they are for, before anything is written.

use std::path::Path;

use toml::Value;

use super::printer::Printer;
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::own::labels::Target;
use crate::glue::own::task_name::{is_name, is_taken, name_of};
use crate::glue::own::{Files, Settled};
use crate::run::RunFolder;
use crate::run::origin::origin;
use crate::train::plan::task_of;

/// The settings, with a name for the task and its labels where a file of one's own is learnt from.
///
/// # Errors
/// As [`RunConfig::resolve`]; the name is another task's, or the files are not what they must be.
pub fn settle(layers: &[Layer], printer: Option<&Printer>) -> Result<RunConfig> {
    let Some(named) = layers.iter().rposition(is_own) else { return RunConfig::resolve(layers) };
    let name = name(layers, named)?;
    let config = RunConfig::resolve(layers)?;
    let files = config.own_files();
    let files = files.ok_or_else(|| Error::value("train_file", "a file", "none"))?;
    let name = name.unwrap_or_else(|| name_of(&files.train));
    let own = config.own();
    let settled = files.settle(&own.labels, own.regression).map_err(|e| match e {
        Error::Io { .. } if !files.train.exists() => {
            e.hint("--train-file names the file to learn from")
        }
        e => e,
    })?;
    let (labels, is_number) = match &settled.target {
        Target::Classes(labels) => (labels.clone(), false),
        Target::Number => (Vec::new(), true),
    };
    if let Some(printer) = printer {
        printer.log(&in_words(&files, &settled));
    }
    // Whoever says so has them predicted only.
    let is_refused = |layer: &Layer| {
        layer.is_command_line() && layer.settings.get("with_label") == Some(&Value::from(false))
    };
    let is_scored = settled.test_is_labelled && !layers.iter().any(is_refused);
    // Without labels there is nothing to score, but predictions to write.
    let tests = files.test.is_some() && !is_scored;
    config.with([
        ("task", name.into()),
        ("labels", labels.into()),
        ("regression", is_number.into()),
        ("with_label", is_scored.into()),
        ("glue_format_on", (config.logging().glue_format_on || tests).into()),
    ])
}

/// Refuses to hold back rows to evaluate on that the model has learnt from with which `config` begins: in
/// the run that made it, or in one of those before it.
///
/// # Errors
/// As it says; a file cannot be read.
pub fn check_draw(config: &RunConfig) -> Result<()> {
    let Some(files) = config.own_files().filter(|files| files.dev.is_none()) else { return Ok(()) };
    let task = task_of(config)?;
    let mut runs: Vec<RunFolder> = Vec::new();
    let mut weights = config.model().weights().map(Path::to_path_buf);
    while let Some(path) = weights.take() {
        let path = std::path::absolute(&path).map_err(|e| Error::io(&path, "read", e))?;
        let run = origin(&path).map(|origin| origin.run);
        let Some(run) = run.filter(|run| !runs.contains(run)) else { break };
        // What it is of another version is not to keep anybody from its model.
        let begun = Layer::from_file(&run.config()).and_then(|layer| RunConfig::resolve(&[layer]));
        let Ok(begun) = begun else { break };
        if let Some((other, its)) = begun.own_files().zip(task_of(&begun).ok()) {
            let seen = files.seen(task, &other, its, &run.own_data())?;
            seen.map_or(Ok(()), |found| Err(learnt_from(&run, &other, found)))?;
        }
        weights = begun.model().weights().map(Path::to_path_buf);
        runs.push(run);
    }
    Ok(())
}

fn learnt_from(run: &RunFolder, other: &Files, found: String) -> Error {
    let expected = format!("rows to hold back that {} has not learnt from", run.path().display());
    let Files { label, dev_share, seed, .. } = other;
    let same = match other.dev {
        None => format!(
            "hold back what it held back (--label {label} --dev-share {dev_share} --seed {seed}), or "
        ),
        Some(_) => String::new(),
    };
    Error::value("train-file", expected, found)
        .hint(format!("{same}name rows to evaluate on with --dev-file"))
}

/// Whether the layer names a file to learn from.
pub fn is_own(layer: &Layer) -> bool {
    layer.settings.get("train_file").and_then(Value::as_str).is_some_and(|file| !file.is_empty())
}

/// The task's name where one is given. `named` is the layer that names the file: a recipe for one of
/// GLUE's tasks below it gives its other settings only.
fn name(layers: &[Layer], named: usize) -> Result<Option<String>> {
    let given = layers.iter().enumerate().rev().find_map(|(n, layer)| {
        let name = layer.settings.get("task")?.as_str()?;
        Some((n, name.to_owned()))
    });
    match given {
        Some((n, name)) if is_taken(&name) && n < named => Ok(None),
        Some((_, name)) if is_taken(&name) || !is_name(&name) => {
            let expected = "a name of letters, digits and hyphens that is none of GLUE's";
            Err(Error::value("task", expected, name)
                .hint("with train_file it names your own task; without it, the file does"))
        }
        given => Ok(given.map(|(_, name)| name)),
    }
}

/// What was found, in a line.
fn in_words(files: &Files, settled: &Settled) -> String {
    let rows = settled.rows;
    let learnt = match &settled.target {
        Target::Number => format!("a number in {}", files.label),
        Target::Classes(labels) => {
            let share = |(name, count): &(String, usize)| {
                format!("{name} {:.1} %", 100.0 * *count as f64 / rows as f64)
            };
            format!("{} labels: {}", labels.len(), first(settled.classes.iter().map(share)))
        }
    };
    let held = match &files.dev {
        Some(_) => String::new(),
        None => {
            let percent = (1000.0 * files.dev_share).round() / 10.0;
            format!("; {percent} % of them held back to evaluate on")
        }
    };
    format!("{}: {rows} rows{held}; {learnt}", files.train.display())
}

/// The first of `parts`, with commas between them.
fn first(parts: impl ExactSizeIterator<Item = String>) -> String {
    const MOST: usize = 10;
    let count = parts.len();
    let mut all: Vec<String> = parts.take(MOST).collect();
    all.extend((count > MOST).then(|| format!("and {} more", count - MOST)));
    all.join(", ")
}
