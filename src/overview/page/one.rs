//! The page of one run.

use maud::{Markup, html};

use super::bars::Bars;
use super::chart::{Chart, Curve};
use super::heat;
use super::html::{Figure, copied, document, grid, table, tiles};
use super::scale::Scale;
use crate::config::SETTINGS;
use crate::error::Result;
use crate::overview::course::{Course, Points, thinned};
use crate::overview::run::Summary;
use crate::overview::table::{Cell, Table};
use crate::report::Report;
use crate::run::RunFolder;
use crate::sparse::{Left, Shrunk};

/// The most points of a curve that are drawn.
pub const MOST_POINTS: usize = 500;

/// The page of `run`.
///
/// # Errors
/// Its files cannot be read, or a picture cannot be drawn.
pub fn of_run(run: &Summary) -> Result<String> {
    let folder = RunFolder::at(&run.path);
    let course = Course::read(&folder)?;
    let mut curves = 1;
    let mut courses = Vec::new();
    for (title, notes, chart) in charts(run, &course) {
        if chart.is_empty() {
            continue;
        }
        curves = curves.max(chart.curves.len());
        courses.push(figure(title, notes, &chart)?.html());
    }
    let name = run.name.clone();
    let body = html! {
        header {
            h1 { (name) }
            p.muted { (about(run)) }
        }
        (tiles(&results(run)))
        @if !courses.is_empty() {
            section {
                h2 { "Course" }
                (grid(&courses))
            }
        }
        @if let Some(report) = &run.report { (model(run, report)?) }
        (costs(run, &folder))
        section {
            h2 { "Settings" }
            (settings(run)?)
        }
        section {
            h2 { "Commands" }
            (commands(run))
        }
    };
    // Two for what marks a distribution.
    Ok(document(&format!("{name}: platon"), curves.max(2), &body))
}

/// A sentence about what the run is.
fn about(run: &Summary) -> String {
    let when = run.when().map(|when| format!(", {when}"));
    format!(
        "{} on {}, {}{}",
        run.method(),
        run.tasks(),
        run.state.words(),
        when.unwrap_or_default()
    )
}

/// What came out, in few numbers.
fn results(run: &Summary) -> Vec<(String, String)> {
    let mut results: Vec<(String, String)> =
        run.scores.iter().map(|(name, value)| (name.clone(), format!("{value:.2}"))).collect();
    if let Some(ratio) = run.remaining {
        results.push(("weights remaining".into(), format!("{:.2} %", 100.0 * ratio)));
    }
    if let Some(report) = &run.report {
        results.push(("model file".into(), megabytes(report.model_bytes)));
        results.push(("updates".into(), report.steps.to_string()));
        results.push(("per update".into(), format!("{:.3} s", report.seconds_per_step)));
        results.push(("training".into(), format!("{:.1} min", report.seconds / 60.0)));
        results.push(("memory, at most".into(), megabytes(report.peak_rss_bytes)));
    }
    results
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The pictures of a run's course, with their titles and what there is to say.
fn charts(run: &Summary, course: &Course) -> Vec<(&'static str, Vec<String>, Chart)> {
    let phases = run.report.as_ref().and_then(|report| report.phases);
    let prunes = run.config.pruning().pruner.prunes();
    let chart = |y: &str, scale: Scale, curves: Vec<Curve>| Chart {
        x: "update",
        y: y.to_string(),
        scales: (Scale::Linear, scale),
        curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
        phases: phases.map(|phases| (phases.before as f64, phases.falling as f64)),
    };
    let sets = course.sets();
    let mut losses = vec![curve("training", course.of_training("loss"))];
    losses.extend(sets.iter().map(|set| curve(set, course.of(set, "loss"))));
    let scores = sets.iter().flat_map(|set| {
        let named = course.scores(set).into_iter().map(|(name, points)| match sets.len() {
            1 => curve(&name, points),
            _ => curve(&format!("{name} {set}"), points),
        });
        named.collect::<Vec<_>>()
    });
    let marked = match (prunes, phases) {
        (true, Some(_)) => vec![
            "Phases: 1 before pruning, 2 (shaded) while the ratio falls, 3 at the final ratio."
                .to_string(),
        ],
        (true, None) if run.report.is_none() => {
            vec!["The phases are marked once a run is finished.".to_string()]
        }
        // Reports of earlier versions do not tell.
        _ => Vec::new(),
    };
    let mut charts = vec![
        ("Loss", marked, chart("loss", Scale::Linear, losses)),
        ("Scores", vec![], chart("score", Scale::Linear, scores.collect())),
    ];
    if prunes {
        let percent = |points: Points| points.into_iter().map(|(x, y)| (x, 100.0 * y)).collect();
        let zeros = course.of_training("sparsity");
        let counted = zeros.into_iter().map(|(x, zeros)| (x, 1.0 - zeros)).collect();
        let remaining = vec![
            curve("asked for", percent(course.of_training("ratio"))),
            curve("counted", percent(counted)),
        ];
        let threshold = vec![curve("threshold", course.of_training("threshold"))];
        let regrowth = "Between maskings pruned weights may grow again.".to_string();
        charts.push((
            "Remaining weights",
            vec![regrowth],
            chart("% of the prunable weights", Scale::Linear, remaining),
        ));
        let below = "Weights whose score is below it are set to zero.".to_string();
        charts.push(("Threshold", vec![below], chart("score", Scale::Log, threshold)));
    }
    let rate = vec![curve("learning rate", course.of_training("learning_rate"))];
    charts.push(("Learning rate", vec![], chart("learning rate", Scale::Linear, rate)));
    let seconds = vec![
        curve("whole update", course.of_training("seconds")),
        curve("of it pruning", course.of_training("pruning_seconds")),
    ];
    charts.push(("Time per update", vec![], chart("seconds", Scale::Linear, seconds)));
    charts
}

/// A curve of not too many points.
pub fn curve(name: &str, points: Points) -> Curve {
    Curve { name: name.to_string(), points: thinned(points, MOST_POINTS), ranges: Vec::new() }
}

/// A figure of a chart.
///
/// # Errors
/// It cannot be drawn.
pub fn figure<'a>(title: &'a str, notes: Vec<String>, chart: &Chart) -> Result<Figure<'a>> {
    Ok(Figure {
        title,
        notes,
        svg: chart.svg(&format!("{title} by {}", chart.x))?,
        legend: chart.names(),
        numbers: chart.numbers(),
    })
}

/// What the model of a run became.
fn model(run: &Summary, report: &Report) -> Result<Markup> {
    let mut figures = Vec::new();
    if let Some(heat) = heat_map("Remaining weights by layer and matrix", report, None)? {
        figures.push(heat.html());
    }
    let weights = Bars { of: &report.weights, x: "absolute value of a weight", mark: None };
    if !report.weights.counts.is_empty() {
        let note = format!("Of {} prunable weights {}", report.prunable, weights.left_out());
        let svg = weights.svg("how the weights spread")?;
        let numbers = weights.numbers();
        let title = "Weights";
        figures.push(Figure { title, notes: vec![note], svg, legend: vec![], numbers }.html());
    }
    if let Some(scores) = &report.scores {
        // Groups of matrices that have ratios of their own have thresholds of their own.
        let is_one = run.config.pruning().prune_ratios.is_empty();
        let threshold = report.threshold.filter(|_| is_one);
        let bars = Bars { of: scores, x: "importance × uncertainty", mark: threshold };
        let mut notes =
            vec![format!("After the last update. Of {} {}", report.prunable, bars.left_out())];
        if let Some(threshold) = threshold {
            notes.push(format!(
                "The line is the threshold, {threshold:.2e}: what is left of it was pruned."
            ));
        }
        let svg = bars.svg("how the scores spread")?;
        let numbers = bars.numbers();
        figures.push(Figure { title: "Scores", notes, svg, legend: vec![], numbers }.html());
    }
    let others = Table {
        head: ["also pruned", "weights", "remaining, %"].map(str::to_string).to_vec(),
        rows: report
            .others()
            .map(|row| {
                let weights = Cell::number(row.weights as f64, 0);
                vec![row.matrix.as_str().into(), weights, Cell::number(100.0 * row.ratio, 2)]
            })
            .collect(),
    };
    Ok(html! {
        section {
            h2 { "Model" }
            (grid(&figures))
            @if !others.rows.is_empty() { (table(&others)) }
        }
        @if report.pruner.prunes() && !report.shrinking.is_empty() { (shrinking(&report.shrinking)) }
    })
}

/// The heat map of what remains; `None` where nothing of a layer was pruned.
///
/// # Errors
/// It cannot be drawn.
pub fn heat_map<'a>(
    title: &'a str,
    report: &Report,
    most: Option<f64>,
) -> Result<Option<Figure<'a>>> {
    let shares = report.shares();
    let most = most.unwrap_or_else(|| heat::most(&shares));
    if shares.rows.is_empty() || !report.pruner.prunes() {
        return Ok(None);
    }
    Ok(Some(Figure {
        title,
        notes: vec!["In %; the lighter, the more remains.".to_string()],
        svg: heat::svg(&shares, most, "what remains of each matrix of each layer")?,
        legend: Vec::new(),
        numbers: heat::numbers(&shares),
    }))
}

/// What exact shrinking would leave.
fn shrinking(layers: &[Shrunk]) -> Markup {
    let row = |name: String, shrunk: &Shrunk| {
        let left = |left: Left| Cell::Text(format!("{} of {}", left.alive, left.of));
        let Shrunk { neurons, keys, values, heads } = *shrunk;
        vec![Cell::Text(name), left(neurons), left(keys), left(values), left(heads)]
    };
    let head = ["layer", "neurons", "query and key dimensions", "value dimensions", "heads"];
    let mut rows: Vec<Vec<Cell>> =
        layers.iter().enumerate().map(|(n, layer)| row(n.to_string(), layer)).collect();
    rows.push(row("all".to_string(), &layers.iter().copied().sum()));
    let left = Table { head: head.map(str::to_string).to_vec(), rows };
    html! {
        section {
            h2 { "What exact shrinking leaves" }
            p { "Neurons, dimensions and heads that zeros have made superfluous can go without changing any \
                 answer: " code { "platon export" } " leaves them out where the format allows it." }
            (table(&left))
        }
    }
}

/// The weights' file of a Hugging Face folder.
const WEIGHTS: &str = "model.safetensors";

/// Files and their sizes.
fn costs(run: &Summary, folder: &RunFolder) -> Markup {
    let exported = |best: bool| {
        [
            ("sparse file", folder.sparse(best)),
            ("exported Hugging Face folder's weights", folder.hugging_face(best).join(WEIGHTS)),
            ("ONNX model", folder.onnx(best).join("model.onnx")),
        ]
    };
    let own = [
        ("Hugging Face folder's weights", folder.model().join(WEIGHTS)),
        ("those of the best evaluation's model", folder.best().join(WEIGHTS)),
    ];
    let files = own.into_iter().chain(exported(false)).chain(exported(true));
    let rows = files.filter_map(|(what, path)| {
        let bytes = std::fs::metadata(&path).ok()?.len();
        let name = path.strip_prefix(&run.path).unwrap_or(&path).display().to_string();
        Some(vec![what.into(), name.into(), Cell::number(bytes as f64 / 1e6, 1)])
    });
    let head = ["file", "in the run folder", "MB"].map(str::to_string).to_vec();
    let sizes = Table { head, rows: rows.collect() };
    html! {
        @if !sizes.rows.is_empty() {
            section {
                h2 { "Files" }
                (table(&sizes))
            }
        }
    }
}

/// All settings, by their groups.
fn settings(run: &Summary) -> Result<Markup> {
    let values = run.config.to_table()?;
    let mut groups: Vec<(&str, Table)> = Vec::new();
    for setting in SETTINGS {
        let Some(value) = values.get(setting.name) else { continue };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let row = vec![setting.name.into(), Cell::Text(text)];
        match groups.last_mut() {
            Some((group, table)) if *group == setting.group => table.rows.push(row),
            _ => {
                let head = ["setting", "value"].map(str::to_string).to_vec();
                groups.push((setting.group, Table { head, rows: vec![row] }));
            }
        }
    }
    Ok(html! {
        @for (group, settings) in &groups {
            details {
                summary { (group) }
                (table(settings))
            }
        }
    })
}

/// What to do with it.
fn commands(run: &Summary) -> Markup {
    let path = quoted(&run.path.display().to_string());
    let mut lines = Vec::new();
    if run.report.is_none() {
        lines.push(format!("platon resume {path}"));
    }
    lines.push(format!("platon train {path}/config.toml --output-dir OTHER"));
    if run.report.is_some() {
        lines.push(format!("platon predict {path} --input texts.tsv"));
        lines.push(format!("platon evaluate {path}"));
        lines.push(format!("platon bench {path}"));
        lines.push(format!("platon export {path} --format sparse"));
        lines.push(format!("platon export {path} --format onnx"));
        lines.push(format!("platon serve {path}"));
    }
    copied(&lines.join("\n"), "Copy")
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match path.chars().all(is_plain) {
        true => path.to_string(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}
