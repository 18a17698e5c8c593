//! What remains of each matrix, layer by layer, as a heat map.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::colours::{INK, ON_DARK, ON_LIGHT};
use super::picture::{Drawn, draw};
use crate::error::Result;
use crate::overview::table::{Cell, Table};
use crate::report::Shares;

// In units that are pixels where there is room.
const ROW: i32 = 22;
const HEAD: i32 = 24;
const NAMES: i32 = 50;
const COLUMN: i32 = 56;
const FOOT: i32 = 40;

/// The greatest of the shares.
pub fn most(shares: &Shares) -> f64 {
    shares.rows.iter().flat_map(|(_, row)| row.iter().flatten().copied()).fold(0.0, f64::max)
}

/// Draws shares as a heat map: the lighter a cell, the more remains, up to the share `most`. `label` is
/// its text for those who do not see it.
///
/// # Errors
/// It cannot be drawn.
pub fn svg(shares: &Shares, most: f64, label: &str) -> Result<String> {
    let (columns, rows) = (shares.columns.len() as i32, shares.rows.len() as i32);
    let size = (NAMES + COLUMN * columns + 4, HEAD + ROW * rows + FOOT);
    let size = (size.0.unsigned_abs(), size.1.unsigned_abs());
    draw(size, label, |root| draw_cells(shares, most.max(1e-9), size.0 as i32, root))
}

fn draw_cells(
    shares: &Shares,
    most: f64,
    width: i32,
    root: &DrawingArea<SVGBackend, Shift>,
) -> Drawn {
    let text = |colour: &RGBColor| ("sans-serif", 14).into_font().color(colour);
    let centre = Pos::new(HPos::Center, VPos::Center);
    for (n, column) in (0..).zip(&shares.columns) {
        let place = (NAMES + COLUMN * n + COLUMN / 2, HEAD / 2);
        root.draw(&Text::new(column.as_str(), place, text(&INK).pos(centre)))?;
    }
    for (n, (layer, row)) in (0..).zip(&shares.rows) {
        let top = HEAD + ROW * n;
        let name = name_of(*layer);
        let right = Pos::new(HPos::Right, VPos::Center);
        root.draw(&Text::new(name, (NAMES - 8, top + ROW / 2), text(&INK).pos(right)))?;
        for (m, share) in (0..).zip(row) {
            let Some(share) = share else { continue };
            let left = NAMES + COLUMN * m;
            let cell = [(left, top), (left + COLUMN - 1, top + ROW - 1)];
            root.draw(&Rectangle::new(cell, colour(share / most).filled()))?;
            let ink = if share / most > 0.55 { &ON_LIGHT } else { &ON_DARK };
            let place = (left + COLUMN / 2, top + ROW / 2);
            let percent = format!("{:.1}", 100.0 * share);
            root.draw(&Text::new(percent, place, text(ink).pos(centre)))?;
        }
    }
    // The scale.
    const STEPS: i32 = 48;
    let top = HEAD + ROW * shares.rows.len() as i32 + 10;
    let step = (width - NAMES - 4) / STEPS;
    for n in 0..STEPS {
        let left = NAMES + step * n;
        let cell = [(left, top), (left + step, top + 8)];
        let share = f64::from(n) / f64::from(STEPS - 1);
        root.draw(&Rectangle::new(cell, colour(share).filled()))?;
    }
    let ends = [(0.0, NAMES, HPos::Left), (most, NAMES + step * STEPS, HPos::Right)];
    for (share, x, side) in ends {
        let style = text(&INK).pos(Pos::new(side, VPos::Top));
        root.draw(&Text::new(format!("{:.0} %", 100.0 * share), (x, top + 12), style))?;
    }
    Ok(())
}

/// The colour of a share of the greatest, in [0, 1].
fn colour(share: f64) -> RGBColor {
    ViridisRGB.get_color(share.clamp(0.0, 1.0))
}

/// The numbers behind it, in %.
pub fn numbers(shares: &Shares) -> Table {
    let rows = shares.rows.iter().map(|(layer, row)| {
        let cell = |share: &Option<f64>| share.map_or(Cell::Empty, |s| Cell::number(100.0 * s, 4));
        std::iter::once(Cell::Text(name_of(*layer))).chain(row.iter().map(cell)).collect()
    });
    let head = std::iter::once("layer".to_string()).chain(shares.columns.iter().cloned());
    Table { head: head.collect(), rows: rows.collect() }
}

fn name_of(layer: Option<usize>) -> String {
    layer.map_or_else(|| "all".to_string(), |layer| layer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::Format;
    use crate::overview::page::colours::hex;

    #[test]
    fn a_cell_shows_what_remains() {
        let shares = Shares {
            columns: vec!["query".into(), "all".into()],
            rows: vec![
                (Some(0), vec![Some(0.05), Some(0.125)]),
                (Some(1), vec![None, Some(0.5)]),
                (None, vec![Some(0.05), Some(0.25)]),
            ],
        };
        assert_eq!(
            numbers(&shares).text(Format::Csv),
            "layer,query,all\n0,5,12.5\n1,,50\nall,5,25\n"
        );
        assert_eq!(most(&shares), 0.5);
        let beside = svg(&shares, 1.0, "beside one of which all remains").unwrap();
        assert!(beside.lines().any(|line| line == "100 %"));
        assert_eq!(beside.matches(&hex(colour(1.0))).count(), 1, "that of the scale");
        let svg = svg(&shares, 0.5, "what remains").unwrap();
        for text in ["query", "5.0", "12.5", "50.0", "25.0", "50 %"] {
            assert!(svg.lines().any(|line| line == text), "{text}");
        }
        // Five cells and the scale, whose ends are viridis'; the greatest share is its light end.
        assert_eq!(svg.matches("<rect").count(), 5 + 48);
        let [dark, light] = [0.0, 1.0].map(colour);
        assert_eq!(svg.matches(&hex(light)).count(), 2);
        assert!(u16::from(dark.1) + 150 < u16::from(light.1), "{dark:?} {light:?}");
        // What lies on a light cell is dark.
        let on = |text: &str| {
            let lines: Vec<&str> = svg.lines().collect();
            let n = lines.iter().position(|line| *line == text).unwrap();
            lines[n - 1].to_string()
        };
        assert!(on("50.0").contains("#111112") && on("5.0").contains("#FFFFFF"));
    }
}
