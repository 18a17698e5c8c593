//! `platon encode`, and `train --encode-mode`

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::inference::{EngineName, with_model};
use super::printer::Printer;
use super::saved::SavedArgs;
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::infer::model::Load;
use crate::infer::scores::OVERFLOW;
use crate::infer::sets::EvalSet;
use crate::infer::vectors::{Pooling, not_finite, vectors_file};
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
    if let Some(file) = output.as_ref().filter(|file| file.exists()) {
        return Err(Error::value("output", "a new file", file.display())
            .hint("name another one, or remove this one"));
    }
    let bert = checkpoint.config.clone();
    let width = bert.hidden_size;
    with_model(saved.engine()?, checkpoint, Load::Encoder, printer, |model| {
        let mut all = Vec::new();
        // A vector has any text, whatever the model's task.
        saved.each_chunk((&encoder, &bert), None, printer, |read, samples| {
            let rows = model.vectors(samples, saved.batch_size(), pooling);
            if let Some((row, value)) = not_finite(&rows, width) {
                return Err(saved
                    .wrong(read.line(row), "a vector of finite numbers", value)
                    .hint(OVERFLOW));
            }
            if output.is_some() {
                all.extend(rows);
                return Ok(());
            }
            for (n, vector) in rows.chunks(width).enumerate() {
                let index = (read.first + n).to_string();
                printer.data(&json!({"index": index, "vector": vector}).to_string())?;
            }
            Ok(())
        })?;
        let Some(file) = output else { return Ok(()) };
        let metadata = HashMap::from([("pooling".to_string(), pooling.name().to_string())]);
        write(file, &all, width, metadata, printer)
    })
}

/// Writes the vectors of the evaluation sets into the run folder.
pub fn sets(
    config: &RunConfig,
    folder: &RunFolder,
    (plan, checkpoint): (Plan, Checkpoint),
    printer: &Printer,
) -> Result<()> {
    let sets = plan.into_sets();
    let width = checkpoint.config.hidden_size;
    let engine = (EngineName::Auto, config.run().backend);
    with_model(engine, checkpoint, Load::Encoder, printer, |model| {
        for EvalSet { about, samples } in sets {
            let batch_size = config.logging().batch_size_eval;
            let rows = model.vectors(samples, batch_size, Pooling::First);
            if let Some((row, value)) = not_finite(&rows, width) {
                let uid = about.uids.get(row).map_or("", String::as_str);
                let what = format!("the vector of sample {uid} of {}", about.name);
                return Err(Error::value(what, "finite numbers", value).hint(OVERFLOW));
            }
            write(&folder.vectors(&about.name), &rows, width, HashMap::new(), printer)?;
        }
        Ok(())
    })
}

fn write(
    file: &Path,
    rows: &[f32],
    width: usize,
    metadata: HashMap<String, String>,
    printer: &Printer,
) -> Result<()> {
    write_whole(file, &vectors_file(rows, width, metadata)?)?;
    printer.log(&format!("{}: {} vectors", file.display(), rows.len() / width.max(1)));
    Ok(())
}
