//! `platon prepare`

use std::path::PathBuf;

use clap::Args;

use super::bars::PrepareBars;
use super::printer::Printer;
use super::supply::supply_demo;
use crate::error::{Error, Result};
use crate::glue::encoder_at::EncoderAt;
use crate::glue::prepare::{Options, prepare};
use crate::glue::softlabels::attach;
use crate::glue::task::{TASKS, Task, task};

#[derive(Args)]
pub struct PrepareArgs {
    /// Tasks to prepare; without any, all GLUE tasks whose folder exists.
    tasks: Vec<String>,
    /// Folder with one folder of raw GLUE files per task.
    #[arg(long, default_value = "glue-data")]
    data_dir: PathBuf,
    /// Folder with the tokenizer: tokenizer.json, or a vocabulary of BERT's or RoBERTa's kind.
    #[arg(long)]
    tokenizer: PathBuf,
    /// Score files of other models on the training set, whose mean becomes the softlabel of each
    /// sample: of one task, into --output-dir.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "output_dir")]
    scores: Vec<PathBuf>,
    /// Folder for the encoded samples with their softlabels, to be named as --data-dir.
    #[arg(long, requires = "scores")]
    output_dir: Option<PathBuf>,
}

/// The demo has a vocabulary of its own, which another model's tokenizer does not share.
fn is_glue(task: &Task) -> bool {
    task.name != "demo"
}

pub fn run(args: &PrepareArgs, printer: &Printer) -> Result<()> {
    let tasks = if args.tasks.is_empty() {
        let present: Vec<_> =
            TASKS.iter().filter(|t| is_glue(t) && args.data_dir.join(t.folder).is_dir()).collect();
        if present.is_empty() {
            return Err(Error::value(
                "data-dir",
                "a folder that holds MRPC, RTE or another task's folder",
                args.data_dir.display(),
            )
            .hint("platon download TASK brings one; --data-dir names where it is"));
        }
        present
    } else {
        args.tasks.iter().map(|name| task(name)).collect::<Result<Vec<_>>>()?
    };
    let tokenizer = EncoderAt::new(&args.tokenizer);
    let options = Options { data_dir: &args.data_dir, tokenizer: &tokenizer };
    let bars = PrepareBars::new(printer, true);
    if args.output_dir.is_some() && tasks.len() != 1 {
        return Err(Error::value("scores", "one task", tasks.len()));
    }
    for task in tasks {
        supply_demo(task, &args.data_dir, &args.tokenizer, printer)?;
        let prepared = prepare(task, None, &options, &|progress| bars.show(progress))?;
        if let Some(dir) = &args.output_dir {
            let count = attach(task, &prepared, &args.scores, dir)?;
            printer.log(&format!("{}: {count} samples with softlabel", dir.display()));
        }
    }
    Ok(())
}
