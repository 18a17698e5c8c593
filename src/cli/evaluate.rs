//! `platon evaluate`

use std::path::PathBuf;

use clap::Args;

use super::bars::{SlowBar, pace};
use super::inference::{EngineName, with_model};
use super::printer::Printer;
use super::runs::{Flags, SavedRun, no_task};
use crate::error::{Error, Result};
use crate::glue::task::Part;
use crate::infer::model::Load;
use crate::infer::scores::{SetScores, check};
use crate::infer::sets::{EvalSet, Wanted};
use crate::train::names_of;
use crate::train::plan::task_of;

#[derive(Args)]
pub struct EvaluateArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    run: PathBuf,
    /// The task of a model that no run says it of; or another than the run's, with the same labels.
    #[arg(long)]
    task: Option<String>,
    /// Task table that defines the task.
    #[arg(long)]
    task_def: Option<PathBuf>,
    /// Data folder, or another than the run's.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where the training file of your own lies now, if it was moved: rows held back are drawn from it.
    #[arg(long)]
    train_file: Option<PathBuf>,
    /// A file of your own to evaluate on, with the columns of the run's.
    #[arg(long)]
    dev_file: Option<PathBuf>,
    /// Where the test file of your own lies now, of a run that scores it.
    #[arg(long)]
    test_file: Option<PathBuf>,
    /// Folder with tokenizer files; without it that of the model.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// flex, ndarray, cuda or wgpu; without it the run's.
    #[arg(long)]
    backend: Option<String>,
    /// What computes the answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// One JSON object per dev set, with all digits.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvaluateArgs, printer: &Printer) -> Result<()> {
    let EvaluateArgs { run, task, task_def, data_dir, tokenizer, backend, .. } = args;
    let flags = Flags {
        task: task.as_deref(),
        task_def: task_def.as_deref(),
        data_dir: data_dir.as_deref(),
        train_file: args.train_file.as_deref(),
        dev_file: args.dev_file.as_deref(),
        test_file: args.test_file.as_deref(),
        tokenizer: tokenizer.as_deref(),
        backend: backend.as_deref(),
    };
    let runs = SavedRun::open_each(run, flags)?
        .ok_or_else(|| no_task(run).hint("name the task with --task"))?;
    for run in &runs {
        let task = task_of(&run.config)?;
        let tasks = run.learnt();
        let data_sets = match tasks.iter().any(|own| own.name == task.name) {
            true => names_of(task, tasks, &run.config.data().test_datasets),
            false => Some(Vec::new()),
        };
        // Of several tasks the run evaluated those that its data sets are of.
        let Some(data_sets) = data_sets.or_else(|| (runs.len() == 1).then(Vec::new)) else {
            continue;
        };
        evaluate(args, run, &data_sets, printer)?;
    }
    Ok(())
}

/// Prints the scores of `data_sets`, all of its task's without any.
fn evaluate(
    args: &EvaluateArgs,
    run: &SavedRun,
    data_sets: &[String],
    printer: &Printer,
) -> Result<()> {
    let EvaluateArgs { engine, json, .. } = args;
    let task = task_of(&run.config)?;
    let tasks = run.learnt();
    let trained = tasks.iter().find(|own| own.name == task.name).or(tasks.first()).copied();
    if let Some(trained) = trained.filter(|trained| trained.kind != task.kind) {
        return Err(Error::value(
            "task",
            format!("a task with the labels of {}, which the model has", trained.name),
            task.name,
        ));
    }
    let settings = run.config.data();
    if !settings.with_label && task.splits.iter().all(|split| split.part != Part::Dev) {
        let error = Error::value("task", "a task with labelled sets to evaluate on", task.name);
        return Err(match task.name {
            "ax" => error.hint("platon submit RUN writes its predictions for the GLUE server"),
            _ => error.hint("its split_names in the task table must name one that ends in dev"),
        });
    }
    let model = run.model()?;
    let wanted = Wanted { data_sets, with_label: settings.with_label, ..Wanted::default() };
    let sets = run.sets(task, &model, &wanted, printer)?;
    let load = Load::For(task);
    let engine = (*engine, run.config.run().backend);
    with_model(engine, model, load, printer, |model| {
        let (about, samples): (Vec<_>, Vec<_>) =
            sets.into_iter().map(|EvalSet { about, samples }| (about, samples)).unzip();
        let (batch_size, bar) = (run.config.logging().batch_size_eval, SlowBar::default());
        let all = model.predict(samples, batch_size, &|done, of| bar.show(done, of));
        for (about, (predictions, seconds)) in about.into_iter().zip(all) {
            check(&about, &predictions)?;
            let scores = SetScores::of(&about, &predictions);
            let rows = predictions.predicted.len();
            if *json {
                let mut line = serde_json::Map::new();
                line.insert("data_set".into(), scores.name.clone().into());
                line.insert("loss".into(), scores.loss.into());
                line.extend(scores.to_json());
                line.insert("rows".into(), rows.into());
                line.insert("seconds".into(), seconds.into());
                line.insert("rows_per_second".into(), (rows as f64 / seconds).into());
                printer.data(&serde_json::Value::Object(line).to_string())?;
            } else {
                printer.data(&scores.to_string())?;
            }
            printer.log(&format!("{}: {}", scores.name, pace(rows, seconds)));
        }
        Ok(())
    })
}
