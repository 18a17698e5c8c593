//! `platon convert` and `platon export`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::output;
use super::saved::model_in;
use crate::bert::Checkpoint;
use crate::error::{Error, Result, one_line};
use crate::export::{Converted, to_hugging_face, to_sparse};

#[derive(Args)]
pub struct ConvertArgs {
    /// .pt file of the original program, sparse file, or folder with pytorch_model.bin.
    input: PathBuf,
    /// New Hugging Face folder.
    output: PathBuf,
    /// Folder with tokenizer.json or vocab.txt; without it that of the input.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Run folder, or the folder of a model.
    run: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    format: Format,
    /// Where to; without it RUN/export-hf or RUN/model-sparse.safetensors.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A Hugging Face folder.
    Hf,
    /// One file that stores only the weights that remain.
    Sparse,
}

pub fn convert(args: &ConvertArgs) -> Result<ExitCode> {
    let checkpoint = Checkpoint::open(&model_in(&args.input))?;
    write_folder(checkpoint, args.tokenizer.as_deref(), &args.output)
}

pub fn export(args: &ExportArgs) -> Result<ExitCode> {
    let checkpoint = Checkpoint::open(&model_in(&args.run))?;
    match args.format {
        Format::Hf => {
            let default = || args.run.join("export-hf");
            write_folder(checkpoint, None, &args.output.clone().unwrap_or_else(default))
        }
        Format::Sparse => {
            let default = || args.run.join("model-sparse.safetensors");
            let file = args.output.clone().unwrap_or_else(default);
            if file.exists() {
                return Err(Error::value("output", "a new file", file.display())
                    .hint("name another one, or remove this one"));
            }
            let layers = to_sparse(checkpoint, &file)?;
            let bytes = std::fs::metadata(&file).map_err(|e| Error::io(&file, "read", e))?.len();
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            output::log(&format!(
                "{}: {:.1} MB; encoder layers {:.1} MB, {:.2} of the {:.1} MB that they take dense",
                file.display(),
                megabytes(bytes),
                megabytes(layers.sparse),
                layers.sparse as f64 / layers.dense.max(1) as f64,
                megabytes(layers.dense),
            ));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn write_folder(checkpoint: Checkpoint, tokenizer: Option<&Path>, dir: &Path) -> Result<ExitCode> {
    let Converted { unused, has_tokenizer } = to_hugging_face(checkpoint, tokenizer, dir)?;
    if !unused.is_empty() {
        output::log(&one_line(format!("tensors left out: {}", unused.join(", "))));
    }
    if !has_tokenizer {
        output::log("no tokenizer was found; --tokenizer FOLDER adds one");
    }
    output::log(&format!("{}: a Hugging Face folder", dir.display()));
    Ok(ExitCode::SUCCESS)
}
