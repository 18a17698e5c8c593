//! Colours of pictures. A picture names colours once; the page's style sheet gives them their looks in
//! light and in dark, and dashes to curves, so that no difference is one of colour alone.

use std::fmt::Write;

use plotters::style::RGBColor;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0, 0, 0);
/// What is said in passing.
pub const MUTED: RGBColor = RGBColor(0x77, 0x77, 0x77);
/// The ground of what is marked.
pub const BAND: RGBColor = RGBColor(0xee, 0xee, 0xee);
/// Text on dark cells and on light ones, the same in light and in dark.
pub const ON_DARK: RGBColor = RGBColor(255, 255, 255);
/// See [`ON_DARK`].
pub const ON_LIGHT: RGBColor = RGBColor(0x11, 0x11, 0x12);

/// Colours that people tell apart whatever their sight (Okabe and Ito), the yellow ones darker, for a
/// light ground and for a dark one, with the dashes of curves.
const SERIES: [(RGBColor, &str, &str); 7] = [
    (RGBColor(0x00, 0x72, 0xb2), "#5ab4f5", "none"),
    (RGBColor(0xd5, 0x5e, 0x00), "#ff8a3d", "7 3"),
    (RGBColor(0x00, 0x9e, 0x73), "#2fd3a0", "2 3"),
    (RGBColor(0xb4, 0x55, 0x8c), "#f09ccb", "9 3 2 3"),
    (RGBColor(0xb0, 0x7a, 0x00), "#ffc24d", "12 4"),
    (RGBColor(0x3a, 0x93, 0xc8), "#a6daff", "5 2 1 2"),
    (RGBColor(0x55, 0x55, 0x55), "#c9c9c9", "1 2"),
];

/// The colour of the n-th of several curves; no two have the same.
pub fn series(n: usize) -> RGBColor {
    let (RGBColor(red, green, blue), ..) = of(n);
    // Rounds beyond the first differ by what nobody sees, and by their dashes.
    let round = u8::try_from(n / SERIES.len()).unwrap_or(u8::MAX);
    RGBColor(red, green, if blue > 0x80 { blue - round } else { blue + round })
}

fn of(n: usize) -> (RGBColor, &'static str, &'static str) {
    SERIES.into_iter().cycle().nth(n % SERIES.len()).unwrap_or(SERIES[0])
}

/// As plotters writes it.
pub fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The style sheet's lines for `count` curves.
pub fn style(count: usize) -> String {
    let mut style = String::new();
    for n in 0..count {
        let (name, (_, dark, _)) = (hex(series(n)), of(n));
        let (.., dashes) = of(n + n / SERIES.len());
        let _ = writeln!(style, "svg [stroke=\"{name}\"] {{ stroke-dasharray: {dashes}; }}");
        let _ = writeln!(
            style,
            "@media screen and (prefers-color-scheme: dark) {{ svg [stroke=\"{name}\"] {{ stroke: \
             {dark}; }} svg [fill=\"{name}\"] {{ fill: {dark}; }} }}"
        );
    }
    style
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_curves_look_the_same() {
        let colours: BTreeSet<String> = (0..40).map(|n| hex(series(n))).collect();
        assert_eq!(colours.len(), 40);
        let others = [INK, MUTED, BAND, ON_DARK, ON_LIGHT].map(hex);
        assert!(others.iter().all(|other| !colours.contains(other)));
        assert!(style(2).contains("[stroke=\"#D55E00\"] { stroke-dasharray: 7 3; }"));
        // The eighth has the first one's colour and the second one's dashes.
        assert!(style(8).contains("[stroke=\"#0072B1\"] { stroke-dasharray: 7 3; }"));
    }
}
