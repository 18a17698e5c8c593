//! `platon predict`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output;
use super::saved::SavedArgs;
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::error::Result;
use crate::glue::encode::Encoder;
use crate::kernels::{ModelKernels, TrainingBackend};
use crate::metrics::scores::{argmax, softmax};
use crate::train::evaluate::{load_classifier, predict};

#[derive(Args)]
pub struct PredictArgs {
    #[command(flatten)]
    saved: SavedArgs,
    /// One JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
}

pub fn run(args: PredictArgs) -> Result<ExitCode> {
    let checkpoint = args.saved.checkpoint()?;
    checkpoint.check_weights()?;
    let encoder = args.saved.encoder(&checkpoint)?;
    let backend = args.saved.backend()?;
    run_on(backend, PredictJob { args, checkpoint, encoder })
}

struct PredictJob {
    args: PredictArgs,
    checkpoint: Checkpoint,
    encoder: Encoder,
}

impl Job for PredictJob {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        self.predict::<B::InnerBackend>(&device)
    }
}

impl PredictJob {
    fn predict<B: ModelKernels>(self, device: &B::Device) -> Result<ExitCode> {
        let Self { args, checkpoint, encoder } = self;
        let is_regression = checkpoint.is_regression();
        let names = checkpoint.labels();
        let bert = checkpoint.config.clone();
        let (net, outputs) = load_classifier::<B>(checkpoint, None, device)?;
        let name = |class: usize| names.get(class).cloned().unwrap_or(format!("LABEL_{class}"));
        if !args.json {
            let columns =
                if is_regression { Vec::new() } else { (0..outputs).map(name).collect::<Vec<_>>() };
            output::data(&[vec!["index".into(), "prediction".into()], columns].concat().join("\t"));
        }
        args.saved.each_chunk(&encoder, &bert, |first, samples| {
            let all = predict(&net, vec![samples], args.saved.batch_size(), device);
            let logits = all.iter().flat_map(|(set, _)| set.logits.chunks(outputs));
            for (n, logits) in logits.enumerate() {
                let index = (first + n).to_string();
                let scores = if is_regression { logits.to_vec() } else { softmax(logits, outputs) };
                let class = argmax(logits);
                let prediction = if is_regression {
                    scores.first().map_or(String::new(), |value| format!("{value:.4}"))
                } else {
                    name(class)
                };
                if args.json {
                    let label = if is_regression { json!(scores.first()) } else { json!(class) };
                    output::data(
                        &json!({"index": index, "prediction": prediction, "label": label,
                            "scores": scores, "logits": logits})
                        .to_string(),
                    );
                } else {
                    let mut fields = vec![index, prediction];
                    if !is_regression {
                        fields.extend(scores.iter().map(|p| format!("{p:.4}")));
                    }
                    output::data(&fields.join("\t"));
                }
            }
            Ok(())
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
