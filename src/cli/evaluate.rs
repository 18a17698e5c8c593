//! `platon evaluate`

use std::path::PathBuf;

use clap::Args;

use super::inference::with_model;
use super::printer::Printer;
use super::runs::SavedRun;
use crate::error::{Error, Result};
use crate::infer::model::Load;
use crate::infer::scores::{SetScores, check};
use crate::infer::sets::{EvalSet, Wanted};
use crate::train::plan::task_of;

#[derive(Args)]
pub struct EvaluateArgs {
    /// Run folder.
    run: PathBuf,
    /// Another task than the run's, with the same labels.
    #[arg(long)]
    task: Option<String>,
    /// Another data folder than the run's.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Another backend than the run's.
    #[arg(long)]
    backend: Option<String>,
    /// One JSON object per dev set, with all digits.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvaluateArgs, printer: &Printer) -> Result<()> {
    let EvaluateArgs { run, task, data_dir, backend, json } = args;
    let run = SavedRun::open(run, task.as_deref(), data_dir.as_deref(), backend.as_deref())?;
    let (trained, task) = (task_of(&run.own)?, task_of(&run.config)?);
    if trained.kind != task.kind {
        return Err(Error::value(
            "task",
            format!("a task with the labels of {}, which the model has", trained.name),
            task.name,
        ));
    }
    let model = run.model()?;
    let settings = run.config.data();
    let same_task = trained.name == task.name;
    let data_sets = if same_task { settings.test_datasets.as_slice() } else { &[] };
    let wanted = Wanted { data_sets, with_label: settings.with_label, ..Wanted::default() };
    let sets = run.sets(task, &model, &wanted, printer)?;
    let load = Load::For(task);
    with_model(run.config.run().backend, model, load, |model| {
        let (about, samples): (Vec<_>, Vec<_>) =
            sets.into_iter().map(|EvalSet { about, samples }| (about, samples)).unzip();
        let all = model.predict(samples, run.config.logging().batch_size_eval);
        for (about, (predictions, seconds)) in about.into_iter().zip(all) {
            check(&about, &predictions)?;
            let scores = SetScores::of(task, &about, &predictions);
            if *json {
                let mut line = serde_json::Map::new();
                line.insert("data_set".into(), scores.name.clone().into());
                line.insert("loss".into(), scores.loss.into());
                line.extend(scores.to_json());
                line.insert("seconds".into(), seconds.into());
                printer.data(&serde_json::Value::Object(line).to_string())?;
            } else {
                printer.data(&scores.to_string())?;
            }
        }
        Ok(())
    })
}
