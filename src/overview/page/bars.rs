//! How weights or scores spread over orders of magnitude, as SVG and numbers.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::colours::{INK, series};
use super::picture::{Drawn, draw};
use super::scale::Scale;
use crate::error::Result;
use crate::overview::table::{Cell, Table};
use crate::pruning::Histogram;

/// The size, in units that are pixels where there is room.
const SIZE: (u32, u32) = (440, 270);

/// Bars of a histogram over powers of ten.
pub struct Bars<'a> {
    /// What is counted.
    pub of: &'a Histogram,
    /// What the x axis shows.
    pub x: &'static str,
    /// A number to mark.
    pub mark: Option<f64>,
}

impl Bars<'_> {
    /// How many bars on the left are too low to be seen, and how many numbers they count: some of a
    /// thousand. They would take most of the width.
    fn tail(&self) -> (usize, u64) {
        let all: u64 = self.of.counts.iter().sum();
        let sums = self.of.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let tail = sums.take_while(|sum| sum * 1000 < all);
        tail.fold((0, 0), |(bars, _), sum| (bars + 1, sum))
    }

    /// What is not drawn, in words.
    pub fn left_out(&self) -> String {
        let (bars, count) = self.tail();
        let zeros = self.of.zeros;
        match count {
            0 => format!("{zeros} are 0 and not drawn."),
            _ => {
                let end = 2f64.powi(self.of.from + bars as i32);
                format!("{zeros} are 0 and {count} below {end:.0e}: these are not drawn.")
            }
        }
    }

    /// Each bar's bounds on the axis, and its count.
    fn bars(&self) -> impl Iterator<Item = ((f64, f64), u64)> + '_ {
        let place = |power: i32| f64::from(power) * std::f64::consts::LOG10_2;
        (self.of.from..)
            .zip(&self.of.counts)
            .skip(self.tail().0)
            .map(move |(power, count)| ((place(power), place(power + 1)), *count))
    }

    /// The picture; `label` is its text for those who do not see it.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self, label: &str) -> Result<String> {
        draw(SIZE, label, |root| self.draw(root))
    }

    fn draw(&self, root: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let mark = self.mark.and_then(|mark| Scale::Log.place(mark));
        let ends = self.bars().flat_map(|((from, to), _)| [from, to]).chain(mark);
        let xs = Scale::Log.range(ends);
        let most = self.bars().map(|(_, count)| count).max().unwrap_or(1) as f64;
        let length = xs.end - xs.start;
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(xs, 0.0..most * 1.06)?;
        let text = ("sans-serif", 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| Scale::Log.label(*x, length))
            .y_label_formatter(&|y| Scale::Linear.label(*y, most))
            .x_desc(self.x)
            .y_desc("number")
            .label_style(text.clone())
            .axis_desc_style(text)
            .draw()?;
        let bars = self.bars().map(|((from, to), count)| {
            // A gap between neighbours.
            let inset = 0.06 * (to - from);
            Rectangle::new([(from + inset, 0.0), (to - inset, count as f64)], series(0).filled())
        });
        chart.draw_series(bars)?;
        if let Some(mark) = mark {
            let line = PathElement::new([(mark, 0.0), (mark, most)], series(1).stroke_width(2));
            chart.draw_series([line])?;
        }
        Ok(())
    }

    /// The numbers behind it.
    pub fn numbers(&self) -> Table {
        let number = |count: u64| Cell::number(count as f64, 0);
        let bound = |power: i32| Cell::Text(format!("{:e}", 2f64.powi(power)));
        let zeros = vec!["0".into(), "0".into(), number(self.of.zeros)];
        let bars = (self.of.from..)
            .zip(&self.of.counts)
            .map(|(power, count)| vec![bound(power), bound(power + 1), number(*count)]);
        Table {
            head: ["from", "to", "number"].map(str::to_string).to_vec(),
            rows: std::iter::once(zeros).chain(bars).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::Format;

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let of = Histogram { zeros: 5, from: -3, counts: vec![1, 4, 2] };
        let bars = Bars { of: &of, x: "weight", mark: Some(0.3) };
        assert_eq!(
            bars.numbers().text(Format::Csv),
            "from,to,number\n0,0,5\n1.25e-1,2.5e-1,1\n2.5e-1,5e-1,4\n5e-1,1e0,2\n"
        );
        let svg = bars.svg("weights").unwrap();
        let height = |line: &str| -> f64 {
            line.split(" height=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
        };
        let heights: Vec<f64> =
            svg.lines().filter(|l| l.contains("fill=\"#0072B2\"")).map(height).collect();
        assert_eq!(heights.len(), 3);
        assert!((heights[1] / heights[0] - 4.0).abs() < 0.1, "{heights:?}");
        assert!((heights[2] / heights[0] - 2.0).abs() < 0.1, "{heights:?}");
        assert_eq!(svg.matches("stroke=\"#D55E00\"").count(), 1);
        assert_eq!(bars.left_out(), "5 are 0 and not drawn.");
        // Two bars of 3 among 10,003 are the axis' and not the picture's.
        let counts = vec![1, 2, 4000, 6000];
        let long = Bars { of: &Histogram { zeros: 0, from: -10, counts }, ..bars };
        assert_eq!(long.left_out(), "0 are 0 and 3 below 4e-3: these are not drawn.");
        assert_eq!(long.bars().count(), 2);
        assert_eq!(long.numbers().rows.len(), 1 + 4);
        // Nothing to draw is no error.
        let none = Histogram::default();
        assert!(Bars { of: &none, x: "weight", mark: None }.svg("none").is_ok());
    }
}
