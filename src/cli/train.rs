//! `platon train`

use std::path::Path;

use clap::{ArgAction, Args};

use super::encode;
use super::own;
use super::printer::Printer;
use super::runs::check_same;
use super::settings::Settings;
use super::supply::{downloaded, supply, supply_demo};
use super::training::{Place, go_on, on_all_ranks, plan, start};
use crate::backend::{Job, check_built_in, run_on};
use crate::bert::head_settings::DROPOUT;
use crate::config::recipes::{DEFAULTS, recipe, recipe_keeping};
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::glue::task::Task;
use crate::kernels::TrainingBackend;
use crate::run::RunFolder;
use crate::run::folder::RUNS;
use crate::train::initial::with_found_ratio;
use crate::train::plan::{model_for, own_head_dropout, task_of, tasks_of, with_own_names};
use crate::world::{At, World};

/// The folder of runs whose own folder was not named.

#[derive(Args)]
pub struct TrainArgs {
    /// Recipe to follow: a task's name, or the path of a .toml file. Without it the original's
    /// defaults hold, which stand below in brackets, or with --train-file or --keep-ratio those of the
    /// recipe `defaults`. `platon recipe` lists and prints those that come with the program.
    task: Option<String>,
    /// The task to learn, or several with commas between them (the original's way to name it); without
    /// it and a recipe mnli.
    #[arg(long, help_heading = "Data", value_delimiter = ',', action = ArgAction::Set)]
    train_datasets: Vec<String>,
    /// Share of the weights to keep: chooses among the task's recipes, or without one is the final
    /// threshold.
    #[arg(long, conflicts_with = "final_threshold")]
    keep_ratio: Option<f64>,
    #[command(flatten)]
    settings: Settings,
    /// The original's name for --precision f16.
    #[arg(long, help_heading = "Run", conflicts_with = "precision", num_args = 0..=1,
        require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    fp16: Option<bool>,
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

pub fn run(args: &TrainArgs, printer: &Printer) -> Result<u8> {
    on_all_ranks(|world| train(args, world, printer))
}

fn train(args: &TrainArgs, world: &World, printer: &Printer) -> Result<u8> {
    if !world.is_alone() && (args.dry_run || args.encode_mode) {
        let (by, expected) = ("mpirun", "one process for --dry-run and --encode-mode");
        return Err(Error::value(by, expected, world.size()));
    }
    let config = settings(args, world.is_first().then_some(printer))?;
    if args.resume && config.model().model_ckpt.is_none() {
        let dir = config.run().output_dir.as_deref().ok_or_else(|| {
            Error::value("output-dir", "the folder of the run to go on with", "none")
        })?;
        if args.dry_run || args.encode_mode {
            let expected = "neither --dry-run nor --encode-mode";
            return Err(Error::value("resume", expected, "one of them"));
        }
        let config = with_own_teacher(config.clone(), &RunFolder::at(dir))?;
        let same = |begun: &RunConfig| check_same(begun, &config);
        return go_on(dir, &toml::Table::new(), &same, args.no_tui, world, printer);
    }
    own::check_draw(&config)?;
    if args.dry_run {
        run_on(config.run().backend, DryRun { config: &config, printer })?;
        return Ok(0);
    }
    // Before anything is downloaded for it.
    check_built_in(config.run().backend)?;
    let place = Place::of(world)?;
    let folder = place.folder(|| run_folder(&config));
    let folder = world.agree(At::Ready, folder)?;
    let path = folder.path().to_string_lossy().into_owned();
    let config = with_own_teacher(config.with([("output_dir", path.into())])?, &folder)?;
    let begun = begin(&config, &folder, args, world, printer);
    // A run that could not even start leaves no empty folder; a filled one stays.
    begun.inspect_err(|_| folder.remove_if_empty())
}

/// The settings of the new run, with what the task table or files of one's own add; `printer` shows
/// what was found in these.
fn settings(args: &TrainArgs, printer: Option<&Printer>) -> Result<RunConfig> {
    let mut layers = Vec::new();
    let mut ratio = args.keep_ratio;
    if let Some(task) = &args.task {
        let named = recipe(task)?.layer()?;
        let has_siblings = !own::is_own(&named) && !own::is_own(&args.settings.layer());
        let layer = match ratio.take_if(|_| has_siblings) {
            Some(ratio) => recipe_keeping(task, ratio)?,
            None => named,
        };
        layers.push(if args.resume { layer } else { taught_anew(layer) });
    }
    layers.push(args.settings.layer());
    layers.extend(ratio.map(|ratio| one("final_threshold", ratio.into())));
    layers.extend(args.fp16.map(|is_half| one("fp16", is_half.into())));
    let is_own = layers.iter().any(own::is_own);
    if is_own && !args.train_datasets.is_empty() {
        let found = format!("also --train-datasets {}", args.train_datasets.join(","));
        return Err(
            Error::value("train-file", "one thing to learn", found).hint("leave one of them out")
        );
    }
    layers.extend(learned_tasks(&args.train_datasets));
    if is_own || (args.task.is_none() && args.keep_ratio.is_some()) {
        layers.insert(0, recipe(DEFAULTS)?.layer()?);
    }
    // The rates of a run's other tasks are for these tasks, and for its own.
    let is_asked = args.settings.layer().settings.contains_key("dropout_p");
    if is_asked || !args.train_datasets.is_empty() {
        layers.iter_mut().for_each(|layer| drop(layer.settings.remove("more_dropouts")));
    }
    let config = of_models(with_own_names(&own::settle(&layers, printer)?)?)?;
    with_dropouts(config, &layers, is_asked)
}

/// The settings with the dropout before the head of each task: that of its task table, as in the original,
/// or the one that somebody asked for, or the task's own among GLUE's. `layers` are what was given, and
/// `is_asked` is whether the flag was.
fn with_dropouts(config: RunConfig, layers: &[Layer], is_asked: bool) -> Result<RunConfig> {
    let tasks = tasks_of(&config)?;
    let own = |task: &&'static Task| own_head_dropout(&config, task);
    let own = tasks.iter().map(own).collect::<Result<Vec<_>>>()?;
    let (rate, has_table) = (config.model().dropout_p, config.data().task_def.is_some());
    let is_given = is_asked || layers.iter().any(|layer| layer.settings.contains_key("dropout_p"));
    // Of a recipe it may be the first task's own, which is not asked for the others.
    let is_own = !is_asked && own.first() == Some(&Some(rate));
    let asked = (is_given && !is_own).then_some(rate);
    let rates = own.into_iter().map(|own| {
        let (before, after) = if has_table { (own, asked) } else { (asked, own) };
        before.or(after).unwrap_or(DROPOUT)
    });
    let mut rates: Vec<f64> = rates.collect();
    let first = rates.remove(0);
    let more = match config.model().more_dropouts.as_slice() {
        [] => rates,
        known => known.to_vec(),
    };
    config.with([("dropout_p", first.into()), ("more_dropouts", more.into())])
}

/// The settings of a run with a teacher in its own folder, as those of another run: that one has its own.
fn taught_anew(mut layer: Layer) -> Layer {
    let path = |name: &str| layer.settings.get(name).and_then(toml::Value::as_str).map(Path::new);
    let own = path("output_dir").map(|dir| RunFolder::at(dir).teacher());
    if own.is_some_and(|own| path("teacher") == Some(own.path())) {
        layer.settings.insert("teacher".into(), "self".into());
    }
    layer
}

/// The settings of a run in `folder`: a teacher called `self` is one that it trains itself.
fn with_own_teacher(config: RunConfig, folder: &RunFolder) -> Result<RunConfig> {
    if config.objective().teacher.as_deref() != Some(Path::new("self")) {
        return Ok(config);
    }
    let teacher = folder.teacher().path().to_string_lossy().into_owned();
    config.with([("teacher", teacher.into())])
}

/// Takes a run folder for the model in it, of several that of the run's first task.
fn of_models(config: RunConfig) -> Result<RunConfig> {
    let (model, task) = (config.model(), task_of(&config)?);
    let paths = [
        ("init_checkpoint", Some(&model.init_checkpoint)),
        ("model_ckpt", model.model_ckpt.as_ref()),
    ];
    let mut moved = config.clone();
    for (name, path) in paths {
        let Some(path) = path else { continue };
        let found = model_for(&downloaded(path), task)?;
        if let Some(found) = found.to_str().filter(|_| found != *path) {
            moved = moved.with([(name, found.into())])?;
        }
    }
    Ok(moved)
}

fn begin(
    config: &RunConfig,
    folder: &RunFolder,
    args: &TrainArgs,
    world: &World,
    printer: &Printer,
) -> Result<u8> {
    let config = &world.in_turn(|| {
        supply(config, printer)?;
        with_found_ratio(config.clone())
    })?;
    if args.encode_mode {
        encode::sets(config, folder, plan(config, true, printer)?, printer)?;
        return Ok(0);
    }
    start(config, folder, args.no_tui, world, printer)
}

/// `--train-datasets` as settings.
fn learned_tasks(names: &[String]) -> Option<Layer> {
    let (name, more) = names.split_first()?;
    let settings = [("task", name.clone().into()), ("more_tasks", more.to_vec().into())];
    let settings = settings.map(|(name, value): (&str, toml::Value)| (name.to_string(), value));
    Some(Layer::command_line(settings.into_iter().collect()))
}

/// One setting of the command line.
fn one(name: &str, value: toml::Value) -> Layer {
    Layer::command_line(toml::Table::from_iter([(name.to_string(), value)]))
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
        let (data, model) = (config.data(), config.model());
        supply_demo(task_of(config)?, &data.data_dir, &model.init_checkpoint, printer)?;
        let config = &with_found_ratio(config.clone())?;
        let (plan, _) = plan(config, true, printer)?;
        printer.data(&config.to_table()?.to_string())?;
        printer.data("")?;
        printer.data(&plan.describe::<B>(config, &device))
    }
}
