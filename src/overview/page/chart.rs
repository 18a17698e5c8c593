//! Curves over two axes, as SVG, and their numbers.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::colours::{BAND, INK, MUTED, series};
use super::picture::{Drawn, draw};
use super::scale::{Scale, padded};
use crate::overview::table::{Cell, Table};

/// The size of a chart, in units that are pixels where there is room.
const SIZE: (u32, u32) = (440, 270);

/// A curve with few points shows them.
const FEW: usize = 40;

/// One curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    /// For the legend.
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    /// From what to what the y of each point goes, where it is a mean.
    pub ranges: Vec<(f64, f64)>,
}

/// Curves over the same axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What the x axis shows.
    pub x: &'static str,
    /// What the y axis shows.
    pub y: String,
    /// How each axis is divided.
    pub scales: (Scale, Scale),
    /// The curves.
    pub curves: Vec<Curve>,
    /// The x at which the first phase ends, and the second one.
    pub phases: Option<(f64, f64)>,
}

impl Chart {
    /// The points that can be drawn, on both axes' scales.
    fn drawn<'a>(&self, curve: &'a Curve) -> impl Iterator<Item = (f64, f64)> + 'a {
        let (x_scale, y_scale) = self.scales;
        curve.points.iter().filter_map(move |(x, y)| Some((x_scale.place(*x)?, y_scale.place(*y)?)))
    }

    /// The names of its curves, for the legend.
    pub fn names(&self) -> Vec<String> {
        self.curves.iter().map(|curve| curve.name.clone()).collect()
    }

    /// Whether there is anything to draw.
    pub fn is_empty(&self) -> bool {
        self.curves.iter().all(|curve| self.drawn(curve).next().is_none())
    }

    /// The picture; `label` is its text for those who do not see it.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self, label: &str) -> crate::error::Result<String> {
        draw(SIZE, label, |root| self.draw(root))
    }

    fn draw(&self, root: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let (x_scale, y_scale) = self.scales;
        let all = || self.curves.iter().flat_map(|curve| self.drawn(curve));
        let ranges = self.curves.iter().flat_map(|curve| &curve.ranges);
        let ranges = ranges.flat_map(|(low, high)| [*low, *high]).filter_map(|y| y_scale.place(y));
        let xs = x_scale.range(all().map(|(x, _)| x));
        // Else no end of it might be a round place, and none be labelled.
        let xs = if x_scale == Scale::Percent { padded(&xs, x_scale) } else { xs };
        let ys = y_scale.range(all().map(|(_, y)| y).chain(ranges));
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(58)
            .build_cartesian_2d(xs.clone(), padded(&ys, y_scale))?;
        let (bottom, top) = (chart.y_range().start, chart.y_range().end);
        if let Some((before, falling)) = self.phases {
            let [before, falling] = [before, falling].map(|x| x.clamp(xs.start, xs.end));
            chart
                .draw_series([Rectangle::new([(before, bottom), (falling, top)], BAND.filled())])?;
            let style = ("sans-serif", 13).into_font().color(&MUTED);
            let style = style.pos(Pos::new(HPos::Center, VPos::Top));
            let height = top - (top - bottom) * 0.01;
            for (name, from, to) in
                [("1", xs.start, before), ("2", before, falling), ("3", falling, xs.end)]
            {
                if (to - from) > 0.03 * (xs.end - xs.start) {
                    let place = ((from + to) / 2.0, height);
                    chart.draw_series([Text::new(name, place, style.clone())])?;
                }
            }
        }
        let text = ("sans-serif", 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.12))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| x_scale.label(*x, xs.end - xs.start))
            .y_label_formatter(&|y| y_scale.label(*y, top - bottom))
            .x_desc(self.x)
            .y_desc(&self.y)
            .label_style(text.clone())
            .axis_desc_style(text)
            .draw()?;
        for (n, curve) in self.curves.iter().enumerate() {
            let colour = series(n);
            let points: Vec<_> = self.drawn(curve).collect();
            for ((x, _), (low, high)) in points.iter().zip(&curve.ranges) {
                if let (Some(low), Some(high)) = (y_scale.place(*low), y_scale.place(*high)) {
                    let bar = PathElement::new([(*x, low), (*x, high)], colour.stroke_width(1));
                    chart.draw_series([bar])?;
                }
            }
            if points.len() < FEW {
                let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(dots)?;
            }
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        }
        Ok(())
    }

    /// The numbers behind it: a row for each x that any curve has.
    pub fn numbers(&self) -> Table {
        let mut xs: Vec<f64> = self.curves.iter().flat_map(|c| &c.points).map(|p| p.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let number = |value: f64| Cell::Number(value, value.to_string());
        let rows = xs.into_iter().map(|x| {
            let of = |curve: &Curve| {
                let found = curve.points.iter().find(|point| point.0 == x);
                found.map_or(Cell::Empty, |point| number(point.1))
            };
            std::iter::once(number(x)).chain(self.curves.iter().map(of)).collect()
        });
        let names = self.curves.iter().map(|curve| curve.name.clone());
        Table {
            head: std::iter::once(self.x.to_string()).chain(names).collect(),
            rows: rows.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::Format;

    fn curve(name: &str, points: &[(f64, f64)]) -> Curve {
        Curve { name: name.into(), points: points.into(), ranges: vec![] }
    }

    fn chart() -> Chart {
        Chart {
            x: "update",
            y: "loss".into(),
            scales: (Scale::Linear, Scale::Linear),
            curves: vec![
                curve("train", &[(10.0, 0.0), (20.0, 1.0)]),
                curve("a, b", &[(20.0, 0.5)]),
            ],
            phases: Some((12.0, 18.0)),
        }
    }

    #[test]
    fn curves_are_where_their_numbers_are() {
        let svg = chart().svg("a < b").unwrap();
        assert!(svg.starts_with("<svg role=\"img\" aria-label=\"a &lt; b\" "), "{svg}");
        let line = svg.lines().find(|l| l.starts_with("<polyline") && l.contains("#0072B2"));
        let points = line.unwrap().split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<f64> = points.split([' ', ',']).flat_map(str::parse).collect();
        // To the right and upwards; what lies below the highest is further down.
        assert!(points[0] < points[2] && points[1] > points[3], "{points:?}");
        let dot = svg.lines().find(|l| l.starts_with("<circle") && l.contains("#D55E00")).unwrap();
        assert!(dot.contains(&format!("cx=\"{}\"", points[2])), "{dot}");
        // The falling phase is marked, and all three are numbered.
        assert_eq!(
            svg.lines().filter(|l| l.starts_with("<rect") && l.contains("#EEEEEE")).count(),
            1
        );
        for phase in ["1", "2", "3"] {
            assert!(svg.lines().any(|line| line == phase), "{phase}");
        }
    }

    #[test]
    fn numbers_can_be_copied() {
        assert_eq!(chart().numbers().text(Format::Csv), "update,train,\"a, b\"\n10,0,\n20,1,0.5\n");
    }

    #[test]
    fn what_a_logarithm_cannot_show_is_left_out() {
        let curves = vec![curve("threshold", &[(1.0, 0.0), (2.0, 1e-15), (3.0, 1e-12)])];
        let log = Chart { scales: (Scale::Linear, Scale::Log), curves, phases: None, ..chart() };
        assert!(!log.is_empty());
        let svg = log.svg("threshold").unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("1e-15"), "{svg}");
        let none = vec![curve("threshold", &[(1.0, 0.0)])];
        assert!(Chart { curves: none, ..log }.is_empty());
    }
}
