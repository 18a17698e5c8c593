//! How the dashboard is drawn: all that matters, and the whole menu, in 80 columns and 24 rows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Clear, Dataset, Gauge, GraphType, Paragraph};

use super::board::{Board, Metric};
use crate::run::point::{REMAINING, ZEROS};

const ACCENT: Color = Color::Yellow;

/// Draws `board`.
pub fn draw(frame: &mut Frame<'_>, board: &Board) {
    let state = board.state();
    let rows = Layout::vertical([
        Constraint::Length(state.len() as u16 + 2),
        Constraint::Min(3),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [top, middle, bar, keys] = rows.areas(frame.area());
    let [table, plot] =
        Layout::horizontal([Constraint::Length(36), Constraint::Min(10)]).areas(middle);

    let lines = state.into_iter().map(|(label, text)| {
        Line::from(vec![Span::from(format!(" {label:<10}")).fg(ACCENT), Span::from(text)])
    });
    let block = Block::bordered()
        .title(format!(" platon: {} ", board.about.title))
        .title(Line::from(format!(" {} ", board.about.folder)).right_aligned());
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), top);
    metrics(frame, board, table);
    course(frame, board, plot);
    let gauge = Gauge::default().gauge_style(Style::new().fg(ACCENT)).ratio(board.done());
    let label = format!("{:.0} %, {}", board.done() * 100.0, board.left());
    frame.render_widget(gauge.label(label), bar);
    frame.render_widget(help(board), keys);
    if board.menu {
        menu(frame);
    }
}

/// The table of all metrics but those that stand above it.
fn metrics(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let shown = board.metrics.iter().filter(|metric| ![REMAINING, ZEROS].contains(&&*metric.name));
    let block = Block::bordered().title(" Metrics ");
    let width = usize::from(block.inner(area).width);
    let lines = shown.map(|metric| {
        // The value is shown whole.
        let room = width.saturating_sub(metric.text.chars().count() + 3);
        let name = format!(" {:<room$.room$} ", metric.name);
        Line::from(vec![Span::from(name).fg(color(metric)), Span::from(metric.text.as_str())])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn color(metric: &Metric) -> Color {
    if metric.evaluated { Color::Cyan } else { ACCENT }
}

/// The course of the metric that was chosen.
fn course(frame: &mut Frame<'_>, board: &Board, area: Rect) {
    let Some(metric) = board.metrics.get(board.selected) else {
        frame.render_widget(Block::bordered(), area);
        return;
    };
    let points = metric.series.points(board.latest);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let values = || points.iter().map(of);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        if high > low {
            [low, high]
        } else if high == low {
            // One value only is drawn in the middle.
            [low - 0.5, low + 0.5]
        } else {
            [0.0, 1.0]
        }
    };
    let ([left, right], [low, high]) = (span(|point| point.0), span(|point| point.1));
    let which = if board.latest { "the latest" } else { "all" };
    let block = Block::bordered().title(format!(" {}, {which} updates ", metric.name));
    let line = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(color(metric)))
        .data(&points);
    let grey = Style::new().fg(Color::DarkGray);
    let updates = [left, right].map(|update| format!("{:.0}", update.max(0.0)));
    let values = [low, (low + high) / 2.0, high].map(value_label);
    let chart = Chart::new(vec![line])
        .block(block)
        .x_axis(Axis::default().style(grey).bounds([left, right]).labels(updates))
        .y_axis(Axis::default().style(grey).bounds([low, high]).labels(values));
    frame.render_widget(chart, area);
}

/// A number at the vertical axis.
fn value_label(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.2e}")
    }
}

fn help(board: &Board) -> Line<'static> {
    if board.stopping {
        return Line::from(" stopping: this update is finished and a checkpoint saved").bold();
    }
    let keys = [("q", "quit"), ("← →", "other metric"), ("↑ ↓", "all or latest updates")];
    let keys: &[_] = if board.keys { &keys } else { &[("Ctrl-C", "quit")] };
    let spans = keys.iter().flat_map(|(key, what)| {
        [Span::from(format!(" {key} ")).bold(), Span::from(format!("{what}  "))]
    });
    Line::from(spans.collect::<Vec<_>>())
}

const MENU: [(&str, &str); 5] = [
    ("s", "stop: finish this update and save a checkpoint;"),
    ("", "`platon resume` goes on from there"),
    ("c", "continue"),
    ("", ""),
    ("Ctrl-C", "stops too; twice, at once and without a checkpoint"),
];

fn menu(frame: &mut Frame<'_>) {
    let lines = MENU.map(|(key, what)| {
        Line::from(vec![Span::from(format!(" {key:>6}  ")).bold(), Span::from(what)])
    });
    let all = frame.area();
    let (width, height) = (62.min(all.width), (MENU.len() as u16 + 2).min(all.height));
    let area = Rect {
        x: all.x + (all.width - width) / 2,
        y: all.y + (all.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Quit? ").border_style(Style::new().fg(ACCENT));
    frame.render_widget(Paragraph::new(Vec::from(lines)).block(block), area);
}
