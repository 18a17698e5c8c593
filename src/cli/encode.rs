//! `platon encode`, and `train --encode-mode`

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::bars::SlowBar;
use super::inference::{EngineName, with_model};
use super::printer::Printer;
use super::saved::{SavedArgs, check_new};
use super::windows::Encoding;
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::infer::model::Load;
use crate::infer::scores::OVERFLOW;
use crate::infer::sets::EvalSet;
use crate::infer::vectors::{Pooling, not_finite};
use crate::infer::vectors_file::VectorsFile;
use crate::run::RunFolder;
use crate::train::Plan;

#[derive(Args)]
pub struct EncodeArgs {
    #[command(flatten)]
    saved: SavedArgs,
    /// What stands for a text: its first token's vector, or the mean of all its tokens'.
    #[arg(long, value_enum, default_value_t = PoolingName::First)]
    pooling: PoolingName,
    /// Safetensors file to write, with the tensor `vectors`; without it, one JSON object per row.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PoolingName {
    First,
    Mean,
}

impl From<PoolingName> for Pooling {
    fn from(name: PoolingName) -> Self {
        match name {
            PoolingName::First => Self::First,
            PoolingName::Mean => Self::Mean,
        }
    }
}

pub fn run(args: &EncodeArgs, printer: &Printer) -> Result<()> {
    let EncodeArgs { saved, pooling, output } = args;
    let pooling = Pooling::from(*pooling);
    let checkpoint = saved.checkpoint()?;
    checkpoint.check_weights()?;
    let encoder = saved.encoder(&checkpoint)?;
    output.as_deref().map_or(Ok(()), check_new)?;
    let bert = checkpoint.config.clone();
    let width = bert.hidden_size;
    let engine = saved.engine()?;
    // A vector has any text, whatever the model's task.
    let input = saved.open(&checkpoint, None)?;
    let metadata = HashMap::from([("pooling".to_string(), pooling.name().to_string())]);
    let new = |path: &PathBuf| VectorsFile::new(path, width, metadata);
    let mut file = output.as_ref().map(new).transpose()?;
    with_model(engine, checkpoint, Load::Encoder, printer, |model| {
        let encoding = Encoding { encoder: &encoder, bert: &bert };
        let bar = if file.is_some() { SlowBar::default() } else { SlowBar::beside_data(printer) };
        let tally = input.each_window(encoding, (printer, &bar), |read, samples| {
            let show = |done, of| read.show(done, of);
            let rows = model.vectors(samples, saved.batch_size(), pooling, &show);
            if let Some((row, value)) = not_finite(&rows, width) {
                return Err(saved
                    .wrong(read.line(row), "a vector of finite numbers", value)
                    .hint(OVERFLOW));
            }
            if let Some(file) = &mut file {
                return file.add(&rows);
            }
            for (n, vector) in rows.chunks(width).enumerate() {
                let index = (read.first + n).to_string();
                printer.data(&json!({"index": index, "vector": vector}).to_string())?;
            }
            Ok(())
        })?;
        drop(bar);
        if let Some(file) = file {
            finish(file, printer)?;
        }
        printer.log(&tally.pace());
        Ok(())
    })
}

/// Writes the vectors of the evaluation sets into the run folder: those of the encoder that a run of
/// the same settings would begin with.
pub fn sets(
    config: &RunConfig,
    folder: &RunFolder,
    (plan, checkpoint): (Plan, Checkpoint),
    printer: &Printer,
) -> Result<()> {
    let model = config.model();
    if model.draws_weights() {
        let error = Error::value("from_scratch", "weights of a checkpoint to encode with", true);
        return Err(error.hint("leave it away, or say --from-scratch=false"));
    }
    let fine_tuned = model.model_ckpt.as_ref().map(|path| Checkpoint::open(path)).transpose()?;
    let mut checkpoint = fine_tuned.unwrap_or(checkpoint);
    // Perhaps of fewer layers than the checkpoint's.
    checkpoint.config = plan.bert.clone();
    let sets = plan.into_sets();
    let width = checkpoint.config.hidden_size;
    let engine = (EngineName::Auto, config.run().backend);
    with_model(engine, checkpoint, Load::Encoder, printer, |model| {
        for EvalSet { about, samples } in sets {
            let batch_size = config.logging().batch_size_eval;
            let rows = model.vectors(samples, batch_size, Pooling::First, &|_, _| ());
            if let Some((row, value)) = not_finite(&rows, width) {
                let uid = about.uids.get(row).map_or("", String::as_str);
                let what = format!("the vector of sample {uid} of {}", about.name);
                return Err(Error::value(what, "finite numbers", value).hint(OVERFLOW));
            }
            let path = folder.vectors(&about.name);
            let mut file = VectorsFile::new(&path, width, HashMap::new())?;
            file.add(&rows)?;
            finish(file, printer)?;
        }
        Ok(())
    })
}

fn finish(file: VectorsFile, printer: &Printer) -> Result<()> {
    let (path, rows) = (file.path().display().to_string(), file.finish()?);
    printer.log(&format!("{path}: {rows} vectors"));
    Ok(())
}
