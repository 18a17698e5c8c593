//! `platon train`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::download::{checkpoint, default_cache, raw_files};
use super::encode::EncodeSets;
use super::job::{go_on, plan, start};
use super::output;
use super::settings::Settings;
use crate::backend::{Job, run_on};
use crate::bert::Checkpoint;
use crate::config::{Layer, RunConfig};
use crate::download::{Options, sources};
use crate::error::{Error, Result};
use crate::glue::prepare::holds_source;
use crate::glue::task_def;
use crate::kernels::TrainingBackend;
use crate::pruning::Pruner;
use crate::train::RunLock;
use crate::train::plan::task_of;

const RECIPES: &str = "recipes";

#[derive(Args)]
pub struct TrainArgs {
    /// Recipe to follow: recipes/TASK.toml, or the path of a .toml file. Without it the original's
    /// defaults hold.
    task: Option<String>,
    /// The task to learn (the original's way to name it).
    #[arg(long, help_heading = "Data", value_delimiter = ',')]
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

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let mut layers = Vec::new();
    if let Some(task) = &args.task {
        layers.push(recipe(task, args.keep_ratio)?);
    }
    layers.push(args.settings.layer()?);
    layers.extend(learned_task(&args.train_datasets)?);
    let mut config = RunConfig::resolve(&layers)?;
    if !config.task_def.as_os_str().is_empty() {
        // As in the original, the table's word goes before the flag's.
        let defined = task_def::read(&config.task_def, &config.task)?;
        config.dropout_p = defined.dropout_p.unwrap_or(config.dropout_p);
        config.check()?;
    }
    if args.resume && config.model_ckpt.as_os_str().is_empty() {
        let going_on = super::resume::run_config(&config.output_dir)?;
        super::resume::check_same(&going_on, &config)?;
        if args.dry_run || args.encode_mode {
            return Err(Error::value(
                "resume",
                "neither --dry-run nor --encode-mode",
                "one of them",
            ));
        }
        return go_on(going_on, args.no_tui);
    }
    if args.dry_run {
        return run_on(config.backend, DryRun { config });
    }
    claim_run_folder(&mut config)?;
    let dir = config.output_dir.clone();
    let begun = begin(config, args);
    begun.inspect_err(|_| {
        // A run that could not even start leaves no empty folder; a filled one stays.
        let _ = std::fs::remove_dir(&dir);
    })
}

fn begin(config: RunConfig, args: &TrainArgs) -> Result<ExitCode> {
    bring_what_is_missing(&config)?;
    if args.encode_mode {
        let plan = plan(&config)?;
        return run_on(config.backend, EncodeSets { config, plan });
    }
    start(config, args.no_tui, false)
}

/// Downloads the task's files and a well-known model that are not there.
fn bring_what_is_missing(config: &RunConfig) -> Result<()> {
    let (task, data_dir) = (task_of(config)?, &config.data_dir);
    let options = Options::new(data_dir, default_cache(data_dir));
    if !holds_source(task, data_dir) && sources::source(task.name).is_ok() {
        output::log(&format!("{}: not in {}, downloading it", task.name, data_dir.display()));
        raw_files(task, &options)?;
    }
    let folder = &config.init_checkpoint;
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let usable = Checkpoint::open(folder)
        .is_ok_and(|found| config.from_scratch || found.check_weights().is_ok());
    if !usable && !folder.is_file() && sources::is_well_known(name) {
        output::log(&format!("{name}: not in {}, downloading it", folder.display()));
        checkpoint(name, folder, &options)?;
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
    Ok(Some(Layer { origin: "command line".into(), settings }))
}

/// The recipe for `task`; with `keep_ratio`, the one that ends at this remaining ratio.
fn recipe(task: &str, keep_ratio: Option<f64>) -> Result<Layer> {
    let path = if task.ends_with(".toml") {
        PathBuf::from(task)
    } else {
        Path::new(RECIPES).join(format!("{}.toml", task.to_lowercase()))
    };
    if !path.is_file() {
        return Err(Error::value("TASK", format!("a recipe {}", path.display()), "no such file")
            .hint(format!("in the repository's folder there are recipes for {}", recipe_names())));
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

fn recipe_names() -> String {
    let mut names: Vec<String> = std::fs::read_dir(RECIPES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.path().file_stem()?.to_str()?.to_string()))
        .filter(|n| !n.contains('-'))
        .collect();
    names.sort();
    if names.is_empty() { "the GLUE tasks".into() } else { names.join(", ") }
}

/// Makes the folder `output_dir`; where none was given, the first free name under
/// `checkpoints/runs`, so that two runs that start at once take two folders.
fn claim_run_folder(config: &mut RunConfig) -> Result<()> {
    if !config.output_dir.as_os_str().is_empty() {
        let dir = &config.output_dir;
        // A process that was killed before it began its run may have left a lock.
        let is_lock = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name() == RunLock::FILE)
        };
        if std::fs::read_dir(dir).is_ok_and(|mut entries| !entries.all(is_lock)) {
            return Err(Error::value("output-dir", "a new or empty folder", dir.display())
                .hint("name another folder, or remove this one"));
        }
        return std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "create", e));
    }
    let name = match config.pruner {
        Pruner::None => format!("{}-none", config.task),
        pruner => format!("{}-{pruner:?}-{}", config.task, config.final_threshold).to_lowercase(),
    };
    let runs = Path::new("checkpoints/runs");
    std::fs::create_dir_all(runs).map_err(|e| Error::io(runs, "create", e))?;
    let mut dir = runs.join(&name);
    for n in 2.. {
        match std::fs::create_dir(&dir) {
            Ok(()) => break,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                dir = runs.join(format!("{name}-{n}"))
            }
            Err(e) => return Err(Error::io(&dir, "create", e)),
        }
    }
    config.output_dir = dir;
    Ok(())
}

struct DryRun {
    config: RunConfig,
}

impl Job for DryRun {
    type Output = ExitCode;

    fn run<B: TrainingBackend>(self, device: B::Device) -> Result<ExitCode> {
        let plan = plan(&self.config)?;
        let settings = toml::to_string(&self.config)
            .map_err(|e| Error::run(format!("the settings cannot be printed: {e}")))?;
        output::data(&settings);
        output::data("");
        output::data(&plan.describe::<B>(&self.config, &device));
        Ok(ExitCode::SUCCESS)
    }
}
