//! `platon train`

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::backend::AutodiffBackend;
use burn_train::Interrupter;
use clap::Args;

use super::output::{self, PrepareBars};
use super::settings::Settings;
use crate::backend::{Job, run_on};
use crate::config::{Layer, RunConfig};
use crate::error::{Error, Result};
use crate::kernels::UpdateKernels;
use crate::pruning::Pruner;
use crate::train::terminal::TerminalState;
use crate::train::{Console, Outcome, Plan, train};

const RECIPES: &str = "recipes";
const CTRL_C: &str = "Ctrl-C";

#[derive(Args)]
pub struct TrainArgs {
    /// Recipe to follow: recipes/TASK.toml, or the path of a .toml file. Without it the original's
    /// defaults hold.
    task: Option<String>,
    /// Choose among the task's recipes the one that keeps this ratio of the weights.
    #[arg(long, requires = "task", conflicts_with = "final_threshold")]
    keep_ratio: Option<f64>,
    #[command(flatten)]
    settings: Settings,
    /// Plain lines instead of the dashboard.
    #[arg(long, help_heading = "Run")]
    no_tui: bool,
    /// Print the settings, the plan and the parameters to be pruned, and train nothing.
    #[arg(long, help_heading = "Run")]
    dry_run: bool,
}

pub fn run(args: TrainArgs) -> Result<ExitCode> {
    let mut layers = Vec::new();
    if let Some(task) = &args.task {
        layers.push(recipe(task, args.keep_ratio)?);
    }
    layers.push(args.settings.layer()?);
    let mut config = RunConfig::resolve(&layers)?;
    let bars = PrepareBars::new(false);
    let plan = Plan::new(&config, &|progress| bars.show(progress))?;
    if args.dry_run {
        return run_on(config.backend, DryRun { config, plan });
    }
    choose_run_folder(&mut config)?;
    let dashboard = cfg!(feature = "tui") && !args.no_tui && std::io::stdout().is_terminal();
    run_on(config.backend, TrainJob { config, plan, dashboard })
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

/// Sets `output_dir` to a free name under `checkpoints/runs` where none was given. The folder is
/// made once the model is there, so that a run that cannot start leaves none.
fn choose_run_folder(config: &mut RunConfig) -> Result<()> {
    if config.output_dir.as_os_str().is_empty() {
        let name = match config.pruner {
            Pruner::None => format!("{}-none", config.task),
            pruner => {
                format!("{}-{pruner:?}-{}", config.task, config.final_threshold).to_lowercase()
            }
        };
        let runs = Path::new("checkpoints/runs");
        let numbered = (2..).map(|n| runs.join(format!("{name}-{n}")));
        let free = std::iter::once(runs.join(&name)).chain(numbered).find(|dir| !dir.exists());
        config.output_dir = free.unwrap_or_else(|| runs.join(&name));
    }
    let dir = &config.output_dir;
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::value("output-dir", "a new or empty folder", dir.display())
            .hint("name another folder, or remove this one"));
    }
    Ok(())
}

struct DryRun {
    config: RunConfig,
    plan: Plan,
}

impl Job for DryRun {
    type Output = ExitCode;

    fn run<B: AutodiffBackend<InnerBackend: UpdateKernels>>(
        self,
        device: B::Device,
    ) -> Result<ExitCode> {
        let settings = toml::to_string(&self.config)
            .map_err(|e| Error::run(format!("the settings cannot be printed: {e}")))?;
        output::data(&settings);
        output::data("");
        output::data(&self.plan.describe::<B>(&self.config, &device));
        Ok(ExitCode::SUCCESS)
    }
}

struct TrainJob {
    config: RunConfig,
    plan: Plan,
    dashboard: bool,
}

impl Job for TrainJob {
    type Output = ExitCode;

    fn run<B: AutodiffBackend<InnerBackend: UpdateKernels>>(
        self,
        device: B::Device,
    ) -> Result<ExitCode> {
        let Self { config, plan, dashboard } = self;
        let dir = config.output_dir.clone();
        let interrupter = Interrupter::new();
        stop_on_ctrl_c(&interrupter)?;
        let console = Console { lines: Box::new(output::log), dashboard, interrupter };
        match train::<B>(&config, plan, &device, console)? {
            Outcome::Finished(report) => {
                output::data(&report.table());
                output::data(&format!("{:<11} {}", "run", dir.display()));
                Ok(ExitCode::SUCCESS)
            }
            Outcome::Stopped { step, of, reason } => {
                output::log(&format!("stopped after update {step} of {of}: {reason}"));
                Ok(if reason == CTRL_C { ExitCode::from(130) } else { ExitCode::SUCCESS })
            }
        }
    }
}

/// The first Ctrl-C ends the run after the update it is at, a second one at once.
fn stop_on_ctrl_c(interrupter: &Interrupter) -> Result<()> {
    let interrupter = interrupter.clone();
    let terminal = TerminalState::save();
    let mut asked = false;
    ctrlc::set_handler(move || {
        if asked {
            terminal.restore();
            output::log(&format!("{}stopped at once", TerminalState::LEAVE_SCREEN));
            std::process::exit(130);
        }
        asked = true;
        interrupter.stop(Some(CTRL_C));
    })
    .map_err(|e| Error::run(format!("Ctrl-C cannot be handled: {e}")))
}
