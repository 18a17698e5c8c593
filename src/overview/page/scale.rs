//! How an axis is divided and labelled.

use std::ops::Range;

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten; what is not positive has no place.
    Log,
    /// By halves of 100.
    Percent,
}

impl Scale {
    /// Where a number stands on the axis.
    pub fn place(self, value: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => value,
            Self::Log => value.log10(),
            Self::Percent => (value / 100.0).log2(),
        };
        place.is_finite().then_some(place)
    }

    /// From the least of `places` to the greatest; something where there is none.
    pub fn range(self, places: impl Iterator<Item = f64>) -> Range<f64> {
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p), high.max(p)));
        // What differs by rounding alone is one place.
        if high - low > high.abs() * 1e-6 {
            low..high
        } else if low.is_finite() {
            let aside = match self {
                Self::Linear => (low.abs() * 0.02).max(1e-9),
                Self::Log | Self::Percent => 0.5,
            };
            low - aside..low + aside
        } else {
            0.0..1.0
        }
    }

    /// What to write at a place of an axis of this length.
    pub fn label(self, place: f64, length: f64) -> String {
        match self {
            // Only whole powers are round.
            Self::Log | Self::Percent if (place - place.round()).abs() > 1e-6 => String::new(),
            Self::Log => format!("1e{place:.0}"),
            Self::Percent => (100.0 * place.round().exp2()).to_string(),
            Self::Linear => match length {
                l if l >= 1e7 => format!("{:.0}M", place / 1e6),
                l if l >= 2e4 => format!("{:.0}k", place / 1e3),
                l if l >= 20.0 => format!("{place:.0}"),
                l if l >= 2.0 => format!("{place:.1}"),
                l if l >= 0.05 => format!("{place:.2}"),
                l if l >= 0.005 => format!("{place:.3}"),
                l if l >= 0.0005 => format!("{place:.4}"),
                _ if place == 0.0 => "0".to_string(),
                _ if place.abs() >= 1.0 => format!("{place:.5}"),
                l => {
                    let digits = (place.abs().log10().floor() - l.log10()).ceil() + 1.0;
                    format!("{place:.*e}", digits.clamp(1.0, 6.0) as usize)
                }
            },
        }
    }
}

/// The same with some air above and below.
pub fn padded(range: &Range<f64>, scale: Scale) -> Range<f64> {
    let air = (range.end - range.start) * 0.06;
    match scale {
        Scale::Log => range.start.floor()..range.end.ceil().max(range.start.floor() + 1.0),
        // What is never negative begins at 0 where it comes near.
        Scale::Linear if range.start >= 0.0 && range.start <= range.end * 0.25 => {
            0.0..range.end + air
        }
        Scale::Linear => range.start - air..range.end + air,
        // With a round place at either end.
        Scale::Percent => {
            let start = (range.start - air).floor();
            start..(range.end + air).ceil().max(start + 1.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_digits_that_tell_them_apart() {
        let labels = [
            Scale::Linear.label(1500.0, 1800.0),
            Scale::Linear.label(2_500_000.0, 1e7),
            Scale::Linear.label(0.25, 0.9),
            Scale::Linear.label(0.000_025, 0.0001),
            Scale::Linear.label(0.000_015, 6e-7),
            Scale::Linear.label(0.0, 0.0001),
            Scale::Log.label(-17.0, 6.0),
            Scale::Log.label(-16.5, 6.0),
            Scale::Percent.label(-2.0, 3.0),
            Scale::Percent.label(-0.5, 3.0),
        ];
        assert_eq!(
            labels,
            ["1500", "2M", "0.25", "2.5e-5", "1.500e-5", "0", "1e-17", "", "25", ""]
        );
        assert_eq!(Scale::Percent.place(12.5), Some(-3.0));
    }

    #[test]
    fn every_axis_has_a_length() {
        assert_eq!(Scale::Linear.range([3.0, 1.0].into_iter()), 1.0..3.0);
        assert_eq!(Scale::Log.range([2.0].into_iter()), 1.5..2.5);
        assert_eq!(Scale::Linear.range(std::iter::empty()), 0.0..1.0);
        let same = [20.0, 20.000_001].into_iter();
        assert_eq!(Scale::Linear.range(same), 19.6..20.4);
        assert_eq!(padded(&(-2.8..-1.8), Scale::Percent), -3.0..-1.0);
        let alone = Scale::Linear.range([0.0].into_iter());
        assert!(alone.start < 0.0 && alone.end > 0.0);
        assert_eq!(padded(&(-17.5..-15.2), Scale::Log), -18.0..-15.0);
        assert_eq!(padded(&(0.1..1.0), Scale::Linear).start, 0.0);
        assert!(padded(&(80.0..85.0), Scale::Linear).start > 79.0);
        assert_eq!([0.0, -1.0, 100.0].map(|v| Scale::Log.place(v)), [None, None, Some(2.0)]);
    }
}
