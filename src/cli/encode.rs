//! `platon encode`

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::output;
use super::saved::SavedArgs;
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::glue::encode::Encoder;
use crate::kernels::{ModelKernels, TrainingBackend};
use crate::train::Plan;
use crate::train::data::EvalSet;
use crate::train::vectors::{Pooling, load_encoder, vectors, vectors_file};

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

pub fn run(args: EncodeArgs) -> Result<ExitCode> {
    let checkpoint = args.saved.checkpoint()?;
    checkpoint.check_weights()?;
    let encoder = args.saved.encoder(&checkpoint)?;
    if let Some(file) = args.output.as_ref().filter(|file| file.exists()) {
        return Err(Error::value("output", "a new file", file.display())
            .hint("name another one, or remove this one"));
    }
    let backend = args.saved.backend()?;
    run_on(backend, EncodeJob { args, checkpoint, encoder })
}

struct EncodeJob {
    args: EncodeArgs,
    checkpoint: Checkpoint,
    encoder: Encoder,
}

impl Job for EncodeJob {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        self.encode::<B::InnerBackend>(&device)
    }
}

impl EncodeJob {
    fn encode<B: ModelKernels>(self, device: &B::Device) -> Result<ExitCode> {
        let Self { args, checkpoint, encoder } = self;
        let pooling = match args.pooling {
            PoolingName::First => Pooling::First,
            PoolingName::Mean => Pooling::Mean,
        };
        let bert = checkpoint.config.clone();
        let width = bert.hidden_size;
        let net = load_encoder::<B>(checkpoint, device)?;
        let mut all = Vec::new();
        args.saved.each_chunk(&encoder, &bert, |first, samples| {
            let rows = vectors(&net, samples, args.saved.batch_size(), pooling, device);
            if args.output.is_some() {
                all.extend(rows);
                return Ok(());
            }
            for (n, vector) in rows.chunks(width).enumerate() {
                let index = (first + n).to_string();
                output::data(&json!({"index": index, "vector": vector}).to_string());
            }
            Ok(())
        })?;
        if let Some(file) = &args.output {
            let metadata = HashMap::from([("pooling".to_string(), pooling.name().to_string())]);
            write_whole(file, &vectors_file(&all, width, metadata)?)?;
            output::log(&format!("{}: {} vectors", file.display(), all.len() / width.max(1)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `train --encode-mode`: writes the vectors of the evaluation sets into the run folder, and trains
/// nothing.
pub struct EncodeSets {
    pub config: RunConfig,
    pub plan: Plan,
}

impl Job for EncodeSets {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        self.encode::<B::InnerBackend>(&device)
    }
}

impl EncodeSets {
    fn encode<B: ModelKernels>(self, device: &B::Device) -> Result<ExitCode> {
        let Self { config, plan } = self;
        let (checkpoint, sets) = plan.into_encoding();
        let width = checkpoint.config.hidden_size;
        let net = load_encoder::<B>(checkpoint, device)?;
        for EvalSet { about, samples } in sets {
            let rows = vectors(&net, samples, config.batch_size_eval, Pooling::First, device);
            let file = config.output_dir.join(format!("{}_encoding.safetensors", about.name));
            write_whole(&file, &vectors_file(&rows, width, HashMap::new())?)?;
            output::log(&format!("{}: {} vectors", file.display(), about.uids.len()));
        }
        Ok(ExitCode::SUCCESS)
    }
}
