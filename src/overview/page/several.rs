//! The page of several runs.

use std::collections::BTreeMap;

use maud::html;

use super::chart::{Chart, Curve};
use super::heat;
use super::html::{document, grid, legend, table};
use super::one::{curve, figure, heat_map};
use super::scale::Scale;
use crate::error::Result;
use crate::overview::compare::{Compared, Spread, compare, grouped};
use crate::overview::course::Course;
use crate::overview::run::Summary;
use crate::run::RunFolder;

/// The page of `runs`: what differs in their settings beside what came out, their curves over one
/// another, their scores against what remains, and what remains where.
///
/// # Errors
/// Their files cannot be read, or a picture cannot be drawn.
pub fn of_runs(runs: &[Summary]) -> Result<String> {
    let compared = compare(runs)?;
    let charts = charts(runs)?;
    let names = charts.first().map(|(_, chart)| chart.names()).unwrap_or_default();
    let mut courses = Vec::new();
    for (title, chart) in charts {
        if !chart.is_empty() {
            let mut figure = figure(title, Vec::new(), &chart)?;
            // One for all of them.
            figure.legend.clear();
            courses.push(figure.html());
        }
    }
    let mut against = Vec::new();
    let mut methods = 0;
    for (title, chart) in against_ratio(&grouped(runs)?) {
        methods = methods.max(chart.curves.len());
        let note = "Points are means over seeds, and bars reach from the worst to the best.";
        against.push(figure(&title, vec![note.to_string()], &chart)?.html());
    }
    let mut heats = Vec::new();
    // One scale for all: they are there to be compared.
    let pruned = runs.iter().filter_map(|run| run.report.as_ref());
    let pruned = pruned.filter(|report| report.pruner.prunes());
    let most = pruned.map(|report| heat::most(&report.shares())).fold(0.0, f64::max);
    for run in runs {
        let Some(report) = &run.report else { continue };
        let name = run.name.clone();
        let heat = heat_map(&name, report, Some(most))?;
        heats.extend(heat.map(|heat| heat.html()));
    }
    let title = format!("{} runs", runs.len());
    let body = html! {
        header {
            h1 { (title) }
            p.muted { "Runs that differ in nothing but their seed make one row: the mean, and from what to what." }
        }
        (table(&compared))
        @if !against.is_empty() {
            section {
                h2 { "Scores against what remains" }
                (grid(&against))
            }
        }
        @if !courses.is_empty() {
            section {
                h2 { "Courses" }
                (legend(&names))
                (grid(&courses))
            }
        }
        @if !heats.is_empty() {
            section {
                h2 { "What remains" }
                (grid(&heats))
            }
        }
    };
    Ok(document(&format!("{title}: platon"), runs.len().max(methods), &body))
}

/// The curves of the runs that have begun over one another, in the same order in each chart.
fn charts(runs: &[Summary]) -> Result<Vec<(&'static str, Chart)>> {
    let (mut losses, mut scores, mut remaining) = (Vec::new(), Vec::new(), Vec::new());
    for run in runs {
        let name = run.name.clone();
        let course = Course::read(&RunFolder::at(&run.path))?;
        let loss = course.of_training("loss");
        if loss.is_empty() {
            continue;
        }
        losses.push(curve(&name, loss));
        let sets = course.sets();
        let main = run.scores.first().and_then(|(name, _)| name.split(' ').next());
        let score = sets.first().zip(main).map(|(set, main)| course.of(set, main));
        scores.push(curve(&name, score.unwrap_or_default()));
        let ratio = course.of_training("ratio");
        remaining.push(curve(&name, ratio.into_iter().map(|(x, y)| (x, 100.0 * y)).collect()));
    }
    let mut tags: Vec<&str> =
        runs.iter().filter_map(|run| run.scores.first()).map(|(name, _)| name.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    let chart = |y: String, curves: Vec<Curve>| Chart {
        x: "update",
        y,
        scales: (Scale::Linear, Scale::Linear),
        curves,
        phases: None,
    };
    Ok(vec![
        ("Score on the first dev set", chart(tags.join(", "), scores)),
        ("Training loss", chart("loss".into(), losses)),
        ("Remaining weights, asked for", chart("%".into(), remaining)),
    ])
}

/// For each task and its first score a chart of it against the remaining ratio, with a curve for each
/// method, where there are two points at least.
fn against_ratio(groups: &[Compared]) -> Vec<(String, Chart)> {
    struct Found {
        at: (f64, f64),
        range: (f64, f64),
        /// The ratio that was asked for.
        asked: f64,
    }
    let mut charts: BTreeMap<(String, String), BTreeMap<String, Vec<Found>>> = BTreeMap::new();
    for group in groups {
        let finished = group.runs.iter().filter(|run| run.report.is_some());
        let Some(run) = finished.clone().next() else { continue };
        let Some((score, _)) = finished.clone().find_map(|run| run.scores.first()) else {
            continue;
        };
        let values = finished.clone().flat_map(|run| &run.scores);
        let values = values.filter(|(name, _)| name == score).map(|(_, value)| *value);
        let scores = Spread::of(values);
        let ratios = Spread::of(finished.filter_map(|run| Some(100.0 * run.remaining?)));
        let (Some(ratios), Some(scores)) = (ratios, scores) else { continue };
        let asked = run.config.pruning().final_threshold;
        let found = Found { at: (ratios.mean, scores.mean), range: scores.range, asked };
        let methods = charts.entry((run.tasks(), score.clone())).or_default();
        // Of two at the same ratio one has other settings, and is no point of the same curve.
        let is_taken = |curve: &Vec<Found>| curve.iter().any(|known| known.asked == asked);
        let name = match methods.get(&run.method()).is_some_and(is_taken) {
            true => format!("{} ({})", run.method(), run.name),
            false => run.method(),
        };
        methods.entry(name).or_default().push(found);
    }
    let charts = charts.into_iter().map(|((task, score), methods)| {
        let curves = methods.into_iter().map(|(name, mut found)| {
            found.sort_by(|a, b| a.at.0.total_cmp(&b.at.0));
            let points = found.iter().map(|found| found.at).collect();
            Curve { name, points, ranges: found.into_iter().map(|found| found.range).collect() }
        });
        let chart = Chart {
            x: "remaining, %",
            y: score.clone(),
            scales: (Scale::Percent, Scale::Linear),
            curves: curves.collect(),
            phases: None,
        };
        (format!("{task}: {score}"), chart)
    });
    charts
        .filter(|(_, chart)| chart.curves.iter().map(|c| c.points.len()).sum::<usize>() > 1)
        .collect()
}
