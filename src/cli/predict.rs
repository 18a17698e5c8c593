//! `platon predict`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::bars::SlowBar;
use super::inference::with_model;
use super::printer::Printer;
use super::saved::{SavedArgs, check_new};
use super::windows::Encoding;
use crate::bert::HeadSettings;
use crate::bert::head_settings::Problem;
use crate::error::Result;
use crate::files::WaitingFile;
use crate::infer::answer::{Function, number};
use crate::infer::model::Load;
use crate::infer::scores::OVERFLOW;
use crate::metrics::scores::argmax;

#[derive(Args)]
pub struct PredictArgs {
    #[command(flatten)]
    saved: SavedArgs,
    /// One JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
    /// New file for the answers, which is there once all of them are; without it they are printed.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Where the answers go: a line each.
struct Answers<'a> {
    printer: &'a Printer,
    file: Option<WaitingFile>,
}

impl<'a> Answers<'a> {
    fn new(output: Option<&Path>, printer: &'a Printer) -> Result<Self> {
        let Some(path) = output else { return Ok(Self { printer, file: None }) };
        check_new(path)?;
        Ok(Self { printer, file: Some(WaitingFile::new(path)?) })
    }

    fn add(&mut self, line: &str) -> Result<()> {
        match &mut self.file {
            Some(file) => file.add(format!("{line}\n").as_bytes()),
            None => self.printer.data(line),
        }
    }

    fn finish(self) -> Result<()> {
        self.file.map_or(Ok(()), |file| file.finish(&[]))
    }
}

pub fn run(args: &PredictArgs, printer: &Printer) -> Result<()> {
    let PredictArgs { saved, json, output } = args;
    let checkpoint = saved.checkpoint()?;
    checkpoint.check_weights()?;
    let encoder = saved.encoder(&checkpoint)?;
    let bert = checkpoint.config.clone();
    let engine = saved.engine()?;
    let input = saved.open(&checkpoint, saved.task(&checkpoint))?;
    let mut answers = Answers::new(output.as_deref(), printer)?;
    with_model(engine, checkpoint, Load::Classifier, printer, |model| {
        let Some(head) = model.head() else { return Ok(()) };
        let head_of_table = (!*json).then(|| header(head));
        let encoding = Encoding { encoder: &encoder, bert: &bert };
        let bar = match output {
            Some(_) => SlowBar::default(),
            None => SlowBar::beside_data(printer),
        };
        let tally = input.each_window(encoding, (printer, &bar), |rows, samples| {
            let show = |done, of| rows.show(done, of);
            let all = model.predict(vec![samples], saved.batch_size(), &show);
            if rows.first == 0 {
                head_of_table.iter().try_for_each(|line| answers.add(line))?;
            }
            for (predictions, _) in all {
                if let Some((place, logit)) = predictions.not_finite() {
                    return Err(saved
                        .wrong(rows.line(place), "finite logits", logit)
                        .hint(OVERFLOW));
                }
                for (n, logits) in predictions.logits.chunks(head.labels.len()).enumerate() {
                    answers.add(&row(head, rows.first + n, logits, *json))?;
                }
            }
            Ok(())
        })?;
        if tally.rows == 0 {
            head_of_table.iter().try_for_each(|line| answers.add(line))?;
        }
        drop(bar);
        answers.finish()?;
        printer.log(&tally.pace());
        Ok(())
    })
}

fn header(head: &HeadSettings) -> String {
    let scores: &[String] = match head.problem {
        Problem::Regression => &[],
        Problem::Classes | Problem::Labels => &head.labels,
    };
    let columns = ["index", "prediction"].into_iter();
    columns.chain(scores.iter().map(String::as_str)).collect::<Vec<_>>().join("\t")
}

/// A line of the table, or a JSON object: what is predicted, and the probabilities.
fn row(head: &HeadSettings, index: usize, logits: &[f32], json: bool) -> String {
    let index = index.to_string();
    let name = |class: usize| head.labels.get(class).map_or("", String::as_str);
    let scores = Function::of(head.problem).scores(logits);
    let (prediction, label) = match head.problem {
        Problem::Regression => {
            let value = logits.first().copied().unwrap_or_default();
            (json!(number(value)), json!(value))
        }
        Problem::Classes => {
            let class = argmax(logits);
            (json!(name(class)), json!(class))
        }
        Problem::Labels => {
            // Those that are likelier than not.
            let hold: Vec<usize> =
                (0..).zip(logits).filter(|(_, l)| **l > 0.0).map(|l| l.0).collect();
            let names: Vec<&str> = hold.iter().map(|label| name(*label)).collect();
            (json!(names), json!(hold))
        }
    };
    if json {
        return json!({"index": index, "prediction": prediction, "label": label,
            "scores": scores, "logits": logits})
        .to_string();
    }
    let prediction = match &prediction {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.as_str().unwrap_or_default().to_string(),
    };
    let mut fields = vec![index, prediction];
    if head.problem != Problem::Regression {
        fields.extend(scores.iter().map(|p| format!("{p:.4}")));
    }
    fields.join("\t")
}
