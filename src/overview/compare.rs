//! Runs side by side: what differs in their settings, and what came out.

use toml::Value;

use super::run::{State, Summary};
use super::table::{Cell, Table};
use crate::config::{FREE, Pruning, SETTINGS, Setting};
use crate::error::Result;
use crate::report::Report;

/// Runs that differ in nothing but their seed.
#[derive(Debug, Clone)]
pub struct Compared<'a> {
    /// The runs, in the order in which they were named.
    pub runs: Vec<&'a Summary>,
    settings: toml::Table,
    /// Settings that have no effect in them.
    idle: Vec<&'static str>,
}

impl Compared<'_> {
    /// Those that are finished, or all where none is: half-way scores are not to be averaged with those
    /// of finished models.
    pub fn counted(&self) -> Vec<&Summary> {
        let finished = self.runs.iter().filter(|run| run.state == State::Finished);
        let finished: Vec<_> = finished.copied().collect();
        if finished.is_empty() { self.runs.clone() } else { finished }
    }
}

/// What does not make two runs different methods.
const ASIDE: [&str; 3] = ["format", "seed", "output_dir"];

/// Paths that lead to what decides the weights or the scores, and are no two copies of the same as a rule.
const DECIDING: [&str; 9] = [
    "data_dir",
    "train_file",
    "dev_file",
    "test_file",
    "task_def",
    "init_checkpoint",
    "tokenizer",
    "model_ckpt",
    "teacher",
];

/// Puts runs that differ in nothing but their seed together. Each seed may have a teacher of its own.
///
/// # Errors
/// Settings cannot be written.
pub fn grouped(runs: &[Summary]) -> Result<Vec<Compared<'_>>> {
    let groups = by_settings(runs, false)?;
    let are_mixed = groups.iter().any(|group| have_two_teachers(&group.runs));
    if are_mixed { by_settings(runs, true) } else { Ok(groups) }
}

/// Whether a seed is there twice, with another teacher.
fn have_two_teachers(runs: &[&Summary]) -> bool {
    let teacher = |run: &Summary| {
        run.config.objective().teacher.clone().filter(|_| !run.config.has_own_teacher())
    };
    let seed = |run: &Summary| run.config.optimisation().seed;
    runs.iter().enumerate().any(|(n, run)| {
        let others = runs.iter().take(n);
        others.into_iter().any(|other| seed(other) == seed(run) && teacher(other) != teacher(run))
    })
}

/// Puts runs with the same settings together, but for the seed and, if not `by_teacher`, for who
/// teaches them.
fn by_settings(runs: &[Summary], by_teacher: bool) -> Result<Vec<Compared<'_>>> {
    let mut groups: Vec<Compared<'_>> = Vec::new();
    for run in runs {
        let mut settings = run.config.to_table()?;
        let is_path = |name: &str| FREE.contains(&name) && !DECIDING.contains(&name);
        settings.retain(|name, _| !ASIDE.contains(&name) && !is_path(name));
        let idle: Vec<_> = idle(run).collect();
        for name in &idle {
            settings.remove(*name);
        }
        if run.config.has_own_teacher() {
            settings.insert("teacher".into(), "self".into());
        } else if run.config.objective().teacher.is_some() && !by_teacher {
            settings.insert("teacher".into(), "yes".into());
        }
        match groups.iter_mut().find(|group| group.settings == settings) {
            Some(group) => group.runs.push(run),
            None => groups.push(Compared { runs: vec![run], settings, idle }),
        }
    }
    Ok(groups)
}

/// Settings that have no effect in a run.
fn idle(run: &Summary) -> impl Iterator<Item = &'static str> {
    let (prunes, objective) = (run.config.pruning().pruner.prunes(), run.config.objective());
    let (is_taught, is_smooth) = (objective.teacher.is_some(), objective.adv_train);
    let shares = [
        (run.config.pruning().initial_warmup_share, "initial_warmup"),
        (run.config.pruning().final_warmup_share, "final_warmup"),
    ];
    let by_share = shares.map(|(share, name)| share.map(|_| name));
    SETTINGS.iter().filter_map(move |Setting { name, group, .. }| {
        let is_idle = (!prunes && *group == Pruning::HEADING && *name != "pruner")
            || (!is_taught && name.starts_with("distill_"))
            || (!is_smooth && name.starts_with("adv_") && *name != "adv_train")
            // Shares go before numbers of updates.
            || by_share.contains(&Some(*name))
            || (*name == "warmup_steps" && by_share.iter().all(Option::is_some))
            // Without labels it is only predicted.
            || (*name == "test_file" && !run.config.data().with_label)
            // Where rows of one's own files are kept.
            || (run.config.own_files().is_some() && *name == "data_dir");
        is_idle.then_some(*name)
    })
}

/// The table of `runs`: a row for each method, several seeds of which are folded into mean and range;
/// the settings that differ; scores, the ratio that remains, the model's size and the time.
///
/// # Errors
/// As [`grouped`].
pub fn compare(runs: &[Summary]) -> Result<Table> {
    let groups = grouped(runs)?;
    let differing: Vec<&str> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| {
            let with_effect = groups.iter().filter(|group| !group.idle.contains(name));
            let mut values = with_effect.map(|group| group.settings.get(*name));
            let first = values.next();
            values.any(|value| Some(value) != first)
        })
        .collect();
    let mut scores: Vec<&str> = Vec::new();
    for (name, _) in runs.iter().flat_map(|run| &run.scores) {
        if !scores.contains(&name.as_str()) {
            scores.push(name);
        }
    }
    let head = ["run", "seeds", "state"].into_iter().chain(differing.iter().copied());
    let head = head.chain(scores.iter().copied());
    let head = head.chain(["remaining, %", "model, MB", "s per update", "minutes"]);
    let rows = groups.iter().map(|group| {
        let mut row = vec![
            named(&group.runs),
            Cell::Text(seeds(&group.runs)),
            Cell::Text(states(&group.runs)),
        ];
        row.extend(differing.iter().map(|name| setting(group.settings.get(*name))));
        row.extend(scores.iter().map(|name| {
            let of =
                |run: &&Summary| run.scores.iter().find(|(own, _)| own == name).map(|(_, v)| *v);
            let counted = group.counted();
            folded(counted.iter().filter_map(of), counted.len(), 2)
        }));
        let mean = |digits, of: &dyn Fn(&Report) -> f64| {
            averaged(group.runs.iter().filter_map(|run| run.report.as_ref()).map(of), digits)
        };
        let counted = group.counted();
        let ratios = counted.iter().filter_map(|run| Some(100.0 * run.remaining?));
        row.push(averaged(ratios, 2));
        row.push(mean(1, &|report| report.model_bytes as f64 / 1e6));
        row.push(mean(3, &|report| report.seconds_per_step));
        row.push(mean(1, &|report| report.seconds / 60.0));
        row
    });
    let rows = rows.collect();
    Ok(Table { head: head.map(str::to_string).collect(), rows }.without_empty_columns())
}

/// The names of the runs: for people that of the first, and how many others there are.
fn named(runs: &[&Summary]) -> Cell {
    let names: Vec<String> = runs.iter().map(|run| run.name.clone()).collect();
    match names.as_slice() {
        [first, _, ..] => {
            let text = format!("{first} and {} more", names.len() - 1);
            Cell::Names(names, text)
        }
        _ => Cell::Text(names.concat()),
    }
}

fn seeds(runs: &[&Summary]) -> String {
    let seeds = runs.iter().map(|run| run.config.optimisation().seed.to_string());
    seeds.collect::<Vec<_>>().join(", ")
}

fn states(runs: &[&Summary]) -> String {
    let unfinished = runs.iter().filter(|run| run.state != State::Finished).count();
    match (unfinished, runs.len()) {
        (0, _) => "finished".into(),
        (n, all) if n == all => "unfinished".into(),
        (n, all) => format!("{n} of {all} unfinished"),
    }
}

fn setting(value: Option<&Value>) -> Cell {
    match value {
        None => Cell::Empty,
        Some(Value::String(text)) if text.is_empty() => Cell::Empty,
        Some(Value::String(text)) => Cell::Text(text.clone()),
        Some(Value::Float(number)) => Cell::Number(*number, number.to_string()),
        Some(Value::Integer(number)) => Cell::Number(*number as f64, number.to_string()),
        Some(other) => Cell::Text(other.to_string()),
    }
}

/// Values of several seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The least and the greatest.
    pub range: (f64, f64),
}

impl Spread {
    /// That of `values`; `None` of none.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        let count = values.len();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = values.iter().fold(0.0, |sum, value| sum + value) / count as f64;
        (count > 0).then_some(Self { count, mean, range: (least, most) })
    }
}

/// The mean.
fn averaged(values: impl Iterator<Item = f64>, digits: usize) -> Cell {
    Spread::of(values).map_or(Cell::Empty, |spread| Cell::number(spread.mean, digits))
}

/// The mean, from what to what of several, and how many of all `runs` have none: the correlation of
/// constant predictions is not defined.
fn folded(values: impl Iterator<Item = f64>, runs: usize, digits: usize) -> Cell {
    let Some(Spread { count, mean, range: (least, most) }) = Spread::of(values) else {
        return Cell::Empty;
    };
    let undefined = match runs.saturating_sub(count) {
        0 if count == 1 => return Cell::number(mean, digits),
        0 => String::new(),
        some => format!(", {some} of {runs} undefined"),
    };
    let range = match count {
        1 => String::new(),
        _ => format!(" ({least:.digits$} to {most:.digits$})"),
    };
    Cell::Spread([mean, least, most], format!("{mean:.digits$}{range}{undefined}"))
}
