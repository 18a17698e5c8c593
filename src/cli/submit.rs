//! `platon submit`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;

use super::bars::SlowBar;
use super::inference::{EngineName, with_model};
use super::printer::Printer;
use super::runs::{Flags, SavedRun, no_task};
use crate::error::{Error, Result};
use crate::files::{check_writable, write_whole};
use crate::glue::task::task;
use crate::infer::model::Load;
use crate::infer::scores::answers;
use crate::infer::sets::{EvalSet, Wanted};
use crate::submission::{self, ENTRIES, Entry};

#[derive(Args)]
pub struct SubmitArgs {
    /// Run folders, at most one per task.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The archive to write.
    #[arg(long, default_value = "submission.zip")]
    output: PathBuf,
    /// Another data folder than the runs'.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Another backend than the runs'.
    #[arg(long)]
    backend: Option<String>,
    /// What computes the answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
}

pub fn run(args: &SubmitArgs, printer: &Printer) -> Result<()> {
    let output = &args.output;
    if output.exists() && !submission::is_one(output) {
        return Err(Error::value(
            "output",
            "a new file, or an earlier submission",
            output.display(),
        )
        .hint("name another one with --output"));
    }
    let mut runs = BTreeMap::new();
    for path in &args.runs {
        let (data_dir, backend) = (args.data_dir.as_deref(), args.backend.as_deref());
        let flags = Flags { data_dir, backend, ..Flags::default() };
        let each = SavedRun::open_each(path, flags)?
            .ok_or_else(|| no_task(path).hint("name the folder of a finished run"))?;
        let (known, others): (Vec<_>, Vec<_>) =
            each.into_iter().partition(|run| ENTRIES.iter().any(|entry| entry.task == run.task()));
        let others = others.iter().map(SavedRun::task).collect::<Vec<_>>().join(", ");
        if known.is_empty() {
            // MNLI's model predicts three files.
            let tasks: Vec<_> =
                BTreeSet::from(ENTRIES.map(|entry| entry.task)).into_iter().collect();
            let expected = format!("a run of one of GLUE's tasks: {}", tasks.join(", "));
            return Err(Error::value(path.display(), expected, others));
        }
        if !others.is_empty() {
            printer.log(&format!("{}: left out what GLUE has not: {others}", path.display()));
        }
        for run in known {
            let task = run.task().to_owned();
            if let Some(other) = runs.insert(task, run) {
                let found = format!("{}, {}", other.path.display(), path.display());
                return Err(Error::value("RUN", "one run per task", found));
            }
        }
    }
    check_writable(output)?;
    let mut files = BTreeMap::new();
    for (task, run) in &runs {
        let entries: Vec<_> = ENTRIES.iter().filter(|entry| entry.task == task).collect();
        for (file, text) in predicted(run, &entries, args.engine, printer)? {
            printer.log(&format!(
                "{file}: {} predictions of {}",
                text.lines().count().saturating_sub(1),
                run.path.display()
            ));
            files.insert(file, text);
        }
    }
    for entry in ENTRIES.iter().filter(|entry| !runs.contains_key(entry.task)) {
        let constant = entry.labels.first().copied().unwrap_or("a constant score");
        printer.log(&format!(
            "{}: no run of {} was named: {constant} for all",
            entry.file, entry.task
        ));
        files.insert(entry.file, submission::constant(entry));
    }
    write_whole(output, &submission::zip(&files)?)?;
    printer.data(&output.display().to_string())
}

/// The files of `entries`, predicted by the model of `run`.
fn predicted(
    run: &SavedRun,
    entries: &[&'static Entry],
    engine: EngineName,
    printer: &Printer,
) -> Result<Vec<(&'static str, String)>> {
    let model = run.model()?;
    let mut wanted = Vec::new();
    for entry in entries {
        // The diagnostic set has files of its own.
        let diagnostic = entry.split == "ax";
        let task = task(if diagnostic { "ax" } else { entry.task })?;
        let name = format!("{}_{}", task.name, if diagnostic { "test" } else { entry.split });
        let tests = Wanted { no_dev: true, tests: true, ..Wanted::default() };
        let sets = run.sets(task, &model, &tests, printer)?.into_iter();
        let set = sets.filter(|set| set.about.name == name).collect::<Vec<_>>();
        wanted.push((entry.file, task, set));
    }
    let load = wanted.first().map_or(Load::Classifier, |(_, task, _)| Load::For(task));
    let engine = (engine, run.config.run().backend);
    with_model(engine, model, load, printer, |model| {
        let mut files = Vec::new();
        for (file, _, sets) in wanted {
            let mut rows = Vec::new();
            for EvalSet { about, samples } in sets {
                let (batch_size, bar) = (run.config.logging().batch_size_eval, SlowBar::default());
                let show = |done, of| bar.show(done, of);
                for (predictions, _) in model.predict(vec![samples], batch_size, &show) {
                    rows.extend(answers(&about, &predictions)?);
                }
            }
            files.push((file, submission::tsv(&rows)));
        }
        Ok(files)
    })
}
