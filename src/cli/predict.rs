//! `platon predict`

use clap::Args;
use serde_json::json;

use super::inference::with_model;
use super::printer::Printer;
use super::saved::SavedArgs;
use crate::error::Result;
use crate::infer::model::Load;
use crate::metrics::scores::{argmax, softmax};

#[derive(Args)]
pub struct PredictArgs {
    #[command(flatten)]
    saved: SavedArgs,
    /// One JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &PredictArgs, printer: &Printer) -> Result<()> {
    let PredictArgs { saved, json } = args;
    let checkpoint = saved.checkpoint()?;
    checkpoint.check_weights()?;
    let encoder = saved.encoder(&checkpoint)?;
    let (bert, task) = (checkpoint.config.clone(), saved.task(&checkpoint));
    let labels = Labels { names: checkpoint.labels(), is_regression: checkpoint.is_regression() };
    with_model(saved.backend()?, checkpoint, Load::Classifier(None), |model| {
        let outputs = model.outputs();
        if !json {
            printer.data(&labels.header(outputs))?;
        }
        saved.each_chunk((&encoder, &bert), task, printer, |rows, samples| {
            let all = model.predict(vec![samples], saved.batch_size());
            let logits = all.iter().flat_map(|(set, _)| set.logits.chunks(outputs));
            for (n, logits) in logits.enumerate() {
                printer.data(&labels.row(rows.first + n, logits, *json))?;
            }
            Ok(())
        })
    })
}

/// What a model's outputs are called.
struct Labels {
    names: Vec<String>,
    is_regression: bool,
}

impl Labels {
    fn name(&self, class: usize) -> String {
        self.names.get(class).cloned().unwrap_or(format!("LABEL_{class}"))
    }

    fn header(&self, outputs: usize) -> String {
        let classes = if self.is_regression { 0 } else { outputs };
        let columns = ["index", "prediction"].map(String::from).into_iter();
        columns.chain((0..classes).map(|n| self.name(n))).collect::<Vec<_>>().join("\t")
    }

    fn row(&self, index: usize, logits: &[f32], json: bool) -> String {
        let index = index.to_string();
        let scores = match self.is_regression {
            true => logits.to_vec(),
            false => softmax(logits, logits.len()),
        };
        let class = argmax(logits);
        let prediction = match self.is_regression {
            true => scores.first().map_or(String::new(), |value| format!("{value:.4}")),
            false => self.name(class),
        };
        if json {
            let label = if self.is_regression { json!(scores.first()) } else { json!(class) };
            return json!({"index": index, "prediction": prediction, "label": label,
                "scores": scores, "logits": logits})
            .to_string();
        }
        let mut fields = vec![index, prediction];
        if !self.is_regression {
            fields.extend(scores.iter().map(|p| format!("{p:.4}")));
        }
        fields.join("\t")
    }
}
