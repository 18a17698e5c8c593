//! `platon convert` and `platon export`

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::left::describe;
use super::printer::Printer;
use super::saved::encoder_of;
use crate::bert::Checkpoint;
use crate::bert::sparse::Dtype;
use crate::error::{Error, Result, one_line};
use crate::export::onnx::MODEL;
use crate::export::{
    Converted, OnnxFolder, Shape, SparseFile, to_hugging_face, to_onnx, to_sparse,
};
use crate::overview::Summary;
use crate::run::RunFolder;
use crate::run::origin::model_in;
use crate::sparse::Left;

#[derive(Args)]
pub struct ConvertArgs {
    /// .pt file of the original program, sparse file, run folder or Hugging Face folder.
    input: PathBuf,
    /// New Hugging Face folder.
    output: PathBuf,
    /// Folder with tokenizer files; without it that of the input.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    run: PathBuf,
    /// What to write.
    #[arg(long, value_enum)]
    format: Format,
    /// How a sparse file stores each weight; without it f32, which keeps every bit.
    #[arg(long, value_enum)]
    dtype: Option<Numbers>,
    /// Which model of a run.
    #[arg(long, value_enum, default_value_t = Moment::Last)]
    checkpoint: Moment,
    /// With --format hf or onnx: keep every weight in its place, also those that zeros make superfluous.
    #[arg(long)]
    whole: bool,
    /// Where to; without it RUN/export-hf, RUN/export-onnx or RUN/model-sparse.safetensors, of the best
    /// RUN/export-hf-best, RUN/export-onnx-best or RUN/best-sparse.safetensors.
    #[arg(long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Moment {
    /// The final one.
    Last,
    /// That of the best evaluation on the dev sets at the final ratio.
    Best,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A Hugging Face folder.
    Hf,
    /// A folder with model.onnx and a tokenizer, for ONNX Runtime and the like.
    Onnx,
    /// One file that stores only the weights that remain.
    Sparse,
}

#[derive(Clone, Copy, ValueEnum)]
enum Numbers {
    /// 32 bits.
    F32,
    /// 16 bits, of numbers up to 65504.
    F16,
    /// 16 bits, less precise than f16, of numbers as large as those of f32.
    Bf16,
}

impl From<Numbers> for Dtype {
    fn from(numbers: Numbers) -> Self {
        match numbers {
            Numbers::F32 => Self::F32,
            Numbers::F16 => Self::F16,
            Numbers::Bf16 => Self::Bf16,
        }
    }
}

pub fn convert(args: &ConvertArgs, printer: &Printer) -> Result<()> {
    let checkpoint = Checkpoint::open(&model_in(&args.input)?)?;
    if args.tokenizer.is_some() {
        encoder_of(args.tokenizer.as_deref(), &checkpoint)?;
    }
    write_folder(checkpoint, args.tokenizer.as_deref(), Shape::Kept, &args.output, printer)
}

/// Refuses options that another format has.
fn check_options(args: &ExportArgs) -> Result<()> {
    let (given, what) = match args.format {
        Format::Hf => ("--format hf", "a Hugging Face folder"),
        Format::Onnx => ("--format onnx", "an ONNX model"),
        Format::Sparse => {
            if args.whole {
                return Err(Error::value("--whole", "--format hf or onnx", "--format sparse")
                    .hint("a sparse file keeps every weight in its place: leave --whole away"));
            }
            return Ok(());
        }
    };
    if args.dtype.is_some() {
        return Err(Error::value("--dtype", "--format sparse", given)
            .hint(format!("{what} keeps every weight in f32: leave --dtype away")));
    }
    Ok(())
}

/// The final model of a finished run without `best/`: the best, unless that was lost.
fn final_as_best(run: &RunFolder) -> Result<PathBuf> {
    let report = Summary::read(run.path())?.report;
    let other = report.and_then(|r| r.best_update.filter(|update| *update != r.steps));
    match other {
        None => Ok(run.model()),
        Some(update) => {
            let expected = format!("the model after update {update}");
            Err(Error::content(run.best(), None, expected, "none")
                .hint("it is lost; --checkpoint last takes the final one"))
        }
    }
}

pub fn export(args: &ExportArgs, printer: &Printer) -> Result<()> {
    check_options(args)?;
    let run = RunFolder::at(&args.run);
    let model = match args.checkpoint {
        Moment::Last => model_in(&args.run)?,
        Moment::Best if !run.is_finished() => {
            let found = "a folder without report.json";
            return Err(Error::value(run.path().display(), "a finished run", found)
                .hint("the best model is known at a run's end: go on with platon resume"));
        }
        Moment::Best if run.best().is_dir() => run.best(),
        Moment::Best => final_as_best(&run)?,
    };
    let checkpoint = Checkpoint::open(&model)?;
    if args.output.is_none() {
        if !args.run.is_dir() {
            let found = format!("none, and {} is no folder", args.run.display());
            return Err(Error::value("--output", "where to write to", found)
                .hint("only what is made of a folder has a place of its own, in it"));
        }
        run.check()?;
    }
    let best = matches!(args.checkpoint, Moment::Best);
    let shape = if args.whole { Shape::Kept } else { Shape::Shrunk };
    match args.format {
        Format::Hf => {
            let folder = args.output.clone().unwrap_or_else(|| run.hugging_face(best));
            write_folder(checkpoint, None, shape, &folder, printer)
        }
        Format::Onnx => {
            let folder = args.output.clone().unwrap_or_else(|| run.onnx(best));
            write_onnx(checkpoint, shape, &folder, printer)
        }
        Format::Sparse => {
            let file = args.output.clone().unwrap_or_else(|| run.sparse(best));
            if file.exists() {
                return Err(Error::value("output", "a new file", file.display())
                    .hint("name another one, or remove this one"));
            }
            let dtype = args.dtype.map_or(Dtype::F32, Into::into);
            let SparseFile { layers, left, unused } = to_sparse(checkpoint, dtype, &file)?;
            describe(&left).iter().for_each(|line| printer.log(line));
            say_unused(&unused, printer);
            let bytes = std::fs::metadata(&file).map_err(|e| Error::io(&file, "read", e))?.len();
            printer.log(&format!(
                "{}: {:.1} MB; encoder layers {:.1} MB, {:.2} of the {:.1} MB that they take dense",
                file.display(),
                megabytes(bytes),
                megabytes(layers.sparse),
                layers.sparse as f64 / layers.dense.max(1) as f64,
                megabytes(layers.dense),
            ));
            Ok(())
        }
    }
}

fn write_folder(
    checkpoint: Checkpoint,
    tokenizer: Option<&Path>,
    shape: Shape,
    dir: &Path,
    printer: &Printer,
) -> Result<()> {
    let before = checkpoint.config.intermediate_size;
    let Converted { neurons, left, unused, has_tokenizer } =
        to_hugging_face(checkpoint, tokenizer, shape, dir)?;
    if shape == Shape::Shrunk {
        describe(&left).iter().for_each(|line| printer.log(line));
        printer.log(&match neurons {
            Some(neurons) => format!(
                "intermediate_size {neurons} instead of {before}: a configuration has one for all \
                 layers, and none for what is left of single heads"
            ),
            None => format!(
                "nothing of this can be left out of a Hugging Face folder: a layer needs all \
                 {before} neurons, and a configuration has one number for all"
            ),
        });
    }
    say_unused(&unused, printer);
    if !has_tokenizer {
        printer.log("no tokenizer was found; --tokenizer FOLDER adds one");
    }
    printer.log(&format!("{}: a Hugging Face folder", dir.display()));
    Ok(())
}

fn write_onnx(checkpoint: Checkpoint, shape: Shape, dir: &Path, printer: &Printer) -> Result<()> {
    let OnnxFolder { left, layer_weights, bytes, unused, has_tokenizer } =
        to_onnx(checkpoint, shape, dir)?;
    if shape == Shape::Shrunk {
        describe(&left).iter().for_each(|line| printer.log(line));
        let Left { alive, of } = layer_weights;
        printer.log(&match alive < of {
            true => format!(
                "encoder layers of {alive} of {of} numbers: each has its own neurons and heads, and \
                 heads as wide as its widest"
            ),
            false => format!(
                "nothing of this can be left out of an ONNX model, in which heads are as wide as a \
                 layer's widest; {of} numbers in encoder layers"
            ),
        });
    }
    say_unused(&unused, printer);
    if !has_tokenizer {
        printer.log("no tokenizer was found; put its files into the folder");
    }
    printer.log(&format!("{}: {MODEL} of {:.1} MB", dir.display(), megabytes(bytes)));
    Ok(())
}

fn say_unused(names: &[String], printer: &Printer) {
    if !names.is_empty() {
        printer.log(&one_line(format!("tensors left out: {}", names.join(", "))));
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
