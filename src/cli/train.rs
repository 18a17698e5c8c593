//! `platon train`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args};

use super::download::{checkpoint, default_cache, raw_files};
use super::encode;
use super::printer::Printer;
use super::runs::{begun, check_same};
use super::settings::Settings;
use super::training::{go_on, plan, start};
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::{Layer, RunConfig};
use crate::download::{Options, sources};
use crate::error::{Error, Result};
use crate::glue::names::{canonical, nearest};
use crate::glue::prepare::holds_source;
use crate::glue::task_def;
use crate::kernels::TrainingBackend;
use crate::run::RunFolder;
use crate::train::plan::{task_of, with_own_name};

const RECIPES: &str = "recipes";
const RUNS: &str = "checkpoints/runs";

#[derive(Args)]
pub struct TrainArgs {
    /// Recipe to follow: recipes/TASK.toml, or the path of a .toml file. Without it the original's
    /// defaults hold.
    task: Option<String>,
    /// The task to learn (the original's way to name it).
    #[arg(long, help_heading = "Data", value_delimiter = ',', action = ArgAction::Set)]
    train_datasets: Vec<String>,
    /// Choose among the task's recipes the one that keeps this ratio of the weights.
    #[arg(long, requires = "task", conflicts_with = "final_threshold")]
    keep_ratio: Option<f64>,
    #[command(flatten)]
    settings: Settings,
    /// Go on with the run in --output-dir; with --model-ckpt, start a new one with its weights.
    #[arg(long, help_heading = "Run")]
    resume: bool,
    /// Plain lines instead of the dashboard.
    #[arg(long, help_heading = "Run")]
    no_tui: bool,
    /// Write the encoder's vectors of the evaluation sets into the run folder, and train nothing.
    #[arg(long, help_heading = "Run")]
    encode_mode: bool,
    /// Print the settings, the plan and the parameters to be pruned, and train nothing.
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
}

pub fn run(args: &TrainArgs, printer: &Printer) -> Result<ExitCode> {
    let config = settings(args)?;
    if args.resume && config.model().model_ckpt.is_none() {
        let dir = config.run().output_dir.as_deref().ok_or_else(|| {
            Error::value("output-dir", "the folder of the run to go on with", "none")
        })?;
        let (going_on, folder) = begun(dir)?;
        check_same(&going_on, &config)?;
        if args.dry_run || args.encode_mode {
            let expected = "neither --dry-run nor --encode-mode";
            return Err(Error::value("resume", expected, "one of them"));
        }
        return go_on(&going_on, &folder, args.no_tui, printer);
    }
    if args.dry_run {
        run_on(config.run().backend, DryRun { config: &config, printer })?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = run_folder(&config)?;
    let path = folder.path().to_string_lossy().into_owned();
    let config = config.with([("output_dir", path.into())])?;
    let begun = begin(&config, &folder, args, printer);
    // A run that could not even start leaves no empty folder; a filled one stays.
    begun.inspect_err(|_| folder.remove_if_empty())
}

/// The settings of the new run, the task table's among them.
fn settings(args: &TrainArgs) -> Result<RunConfig> {
    let mut layers = Vec::new();
    if let Some(task) = &args.task {
        layers.push(recipe(task, args.keep_ratio)?);
    }
    layers.push(args.settings.layer());
    layers.extend(learned_task(&args.train_datasets)?);
    let config = with_own_name(RunConfig::resolve(&layers)?)?;
    let Some(table) = &config.data().task_def else { return Ok(config) };
    // As in the original, the table's word goes before the flag's.
    match task_def::read(table, &config.data().task)?.dropout_p {
        Some(rate) => config.with([("dropout_p", rate.into())]),
        None => Ok(config),
    }
}

fn begin(
    config: &RunConfig,
    folder: &RunFolder,
    args: &TrainArgs,
    printer: &Printer,
) -> Result<ExitCode> {
    bring_what_is_missing(config, printer)?;
    if args.encode_mode {
        encode::sets(config, folder, plan(config, printer)?, printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    start(config, folder, args.no_tui, printer)
}

/// Downloads the task's files and a well-known model that are not there.
fn bring_what_is_missing(config: &RunConfig, printer: &Printer) -> Result<()> {
    let (task, data_dir) = (task_of(config)?, &config.data().data_dir);
    let options = Options::new(data_dir, default_cache(data_dir));
    if !holds_source(task, data_dir) && sources::source(task.name).is_ok() {
        printer.log(&format!("{}: not in {}, downloading it", task.name, data_dir.display()));
        raw_files(task, &options, printer)?;
    }
    let folder = &config.model().init_checkpoint;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let usable = Checkpoint::open(folder)
        .is_ok_and(|found| config.model().from_scratch || found.check_weights().is_ok());
    if !usable && !folder.is_file() && sources::is_well_known(name) {
        printer.log(&format!("{name}: not in {}, downloading it", folder.display()));
        checkpoint(name, folder, &options, printer)?;
    }
    Ok(())
}

/// `--train-datasets` as a setting.
fn learned_task(names: &[String]) -> Result<Option<Layer>> {
    let name = match names {
        [] => return Ok(None),
        [name] => name,
        _ => {
            return Err(Error::value("train-datasets", "one task", names.join(","))
                .hint("learning several tasks at once is not there yet"));
        }
    };
    let settings = toml::Table::from_iter([("task".to_string(), name.clone().into())]);
    Ok(Some(Layer::command_line(settings)))
}

/// The recipe for `task`; with `keep_ratio`, the one that ends at this remaining ratio.
fn recipe(task: &str, keep_ratio: Option<f64>) -> Result<Layer> {
    let named = |name: &str| Path::new(RECIPES).join(format!("{name}.toml"));
    let path = match task.ends_with(".toml") {
        true => PathBuf::from(task),
        false if named(&task.to_lowercase()).is_file() => named(&task.to_lowercase()),
        false => named(&canonical(task)),
    };
    if !path.is_file() {
        let known = recipe_names();
        let hint = match nearest(task, known.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None if known.is_empty() => "in the repository's folder there are recipes".into(),
            None => format!("there are recipes for {}", known.join(", ")),
        };
        return Err(
            Error::value("TASK", format!("a recipe {}", path.display()), "no such file").hint(hint)
        );
    }
    let Some(ratio) = keep_ratio else { return Layer::from_file(&path) };
    let mut ratios = Vec::new();
    for candidate in siblings(&path)? {
        let layer = Layer::from_file(&candidate)?;
        let kept = layer.settings.get("final_threshold").and_then(toml::Value::as_float);
        if kept == Some(ratio) {
            return Ok(layer);
        }
        ratios.extend(kept.map(|k| k.to_string()));
    }
    Err(Error::value(
        "keep-ratio",
        format!("one of {task}'s recipes: {}", ratios.join(", ")),
        ratio,
    )
    .hint(format!("any other ratio can be tried with --final-threshold {ratio}")))
}

/// `recipes/mnli.toml`, `recipes/mnli-0.15.toml`, ...
fn siblings(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let entries = std::fs::read_dir(folder).map_err(|e| Error::io(folder, "read", e))?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name == format!("{stem}.toml")
                || (name.starts_with(&format!("{stem}-")) && name.ends_with(".toml"))
        })
        .collect();
    found.sort();
    Ok(found)
}

fn recipe_names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(RECIPES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_string()))
        .filter(|n| !n.contains('-'))
        .collect();
    names.sort();
    names
}

/// The folder of a new run; where none was named, one under `checkpoints/runs`.
fn run_folder(config: &RunConfig) -> Result<RunFolder> {
    if let Some(path) = &config.run().output_dir {
        return RunFolder::new_at(path);
    }
    let (task, pruner) = (&config.data().task, config.pruning().pruner.name());
    let name = match config.pruning().pruner.prunes() {
        true => format!("{task}-{pruner}-{}", config.pruning().final_threshold).to_lowercase(),
        false => format!("{task}-{pruner}"),
    };
    RunFolder::numbered(Path::new(RUNS), &name)
}

struct DryRun<'a> {
    config: &'a RunConfig,
    printer: &'a Printer,
}

impl Job for DryRun<'_> {
    type Output = ();

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<()> {
        let Self { config, printer } = self;
        let (plan, _) = plan(config, printer)?;
        printer.data(&config.to_table()?.to_string())?;
        printer.data("")?;
        printer.data(&plan.describe::<B>(config, &device))
    }
}
