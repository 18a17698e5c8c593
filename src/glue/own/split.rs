//! Rows held back from training, to evaluate on.

use std::collections::HashMap;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::glue::tsv::{Label, Row};
use crate::seed::mix;

/// The stream of random numbers that is drawn from.
const STREAM: u64 = 0x0053_504c_4954;

/// Rows of the same texts. They stay together: what was learnt by heart tells nothing.
struct Unit {
    rows: Vec<usize>,
    label: Label,
}

/// Whether each of `rows` is held back: `share` of the rows of every class, or of the scores in each
/// part of their range, drawn by `seed`. Of each class some rows are left to learn from.
pub(super) fn held_back(rows: &[Row], share: f64, seed: u64) -> Vec<bool> {
    let mut random = StdRng::seed_from_u64(mix(seed, STREAM));
    let mut held = vec![false; rows.len()];
    for mut units in strata(units(rows), share) {
        let count: usize = units.iter().map(|unit| unit.rows.len()).sum();
        let wanted = part_of(count, share);
        units.shuffle(&mut random);
        // The last one stays, whatever its size.
        units.pop();
        let mut taken = 0;
        for unit in units {
            // Nearer to the share with it than without?
            if taken > 0 && 2 * (taken + unit.rows.len()) > 2 * wanted + unit.rows.len() {
                continue;
            }
            taken += unit.rows.len();
            for row in unit.rows {
                held.get_mut(row).into_iter().for_each(|held| *held = true);
            }
            if taken >= wanted {
                break;
            }
        }
    }
    held
}

/// How many of so many rows are held back: at least one.
fn part_of(rows: usize, share: f64) -> usize {
    ((rows as f64 * share).round() as usize).max(1)
}

fn units(rows: &[Row]) -> Vec<Unit> {
    let mut places = HashMap::new();
    let mut units: Vec<Unit> = Vec::new();
    for (row, Row { text_a, text_b, label, .. }) in rows.iter().enumerate() {
        let place = *places.entry((text_a, text_b)).or_insert(units.len());
        match units.get_mut(place) {
            Some(unit) => unit.rows.push(row),
            None => units.push(Unit { rows: vec![row], label: *label }),
        }
    }
    units
}

/// The units by class; those of scores by the order of these, so many together that one is the share, or
/// the rest where that is less.
fn strata(units: Vec<Unit>, share: f64) -> Vec<Vec<Unit>> {
    let mut classes: HashMap<usize, Vec<Unit>> = HashMap::new();
    let mut scores = Vec::new();
    for unit in units {
        match unit.label {
            Label::Class(class) => classes.entry(class).or_default().push(unit),
            Label::Score(score) => scores.push((score, unit)),
        }
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_unstable_by_key(|(class, _)| *class);
    let mut strata: Vec<Vec<Unit>> = classes.into_iter().map(|(_, units)| units).collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (all, parts) = (scores.len(), part_of(scores.len(), share.min(1.0 - share)));
    let mut scores = scores.into_iter().map(|(_, unit)| unit);
    for part in 0..parts {
        // 10 in 3 parts: 3, 3, 4.
        let size = (part + 1) * all / parts - part * all / parts;
        strata.push(scores.by_ref().take(size).collect());
    }
    strata
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: usize, label: Label) -> Row {
        Row { uid: String::new(), label, text_a: text.to_string(), text_b: None }
    }

    fn count(held: &[bool]) -> usize {
        held.iter().filter(|held| **held).count()
    }

    #[test]
    fn every_class_gives_its_share_and_a_rare_one_gives_a_row() {
        let class = |n: usize| if n < 700 { 0 } else { 1 + usize::from(n >= 997) };
        let rows: Vec<Row> = (0..1000).map(|n| row(n, Label::Class(class(n)))).collect();
        let held = held_back(&rows, 0.1, 7);
        let of = |range: std::ops::Range<usize>| count(&held[range]);
        assert_eq!((of(0..700), of(700..997), of(997..1000)), (70, 30, 1));
        assert_eq!(held, held_back(&rows, 0.1, 7), "the same seed draws the same");
        assert_ne!(held, held_back(&rows, 0.1, 8));
        // All that can be given: one row of each class stays.
        assert_eq!(count(&held_back(&rows, 0.9999, 7)), 997);
    }

    #[test]
    fn scores_are_drawn_from_all_over_their_range() {
        let rows: Vec<Row> =
            (0..1000).map(|n| row(n, Label::Score((n * 7919 % 1000) as f32))).collect();
        let held = held_back(&rows, 0.1, 7);
        let mut tenths = [0; 10];
        for (row, _) in rows.iter().zip(&held).filter(|(_, held)| **held) {
            let Label::Score(score) = row.label else { unreachable!() };
            tenths[score as usize / 100] += 1;
        }
        assert_eq!(tenths, [10; 10]);
    }

    #[test]
    fn most_rows_can_be_held_back() {
        for share in [0.5, 0.6, 0.75, 0.9] {
            let wanted = (1000.0 * share) as usize;
            for label in [|n| Label::Score(n as f32), |n| Label::Class(n % 2)] {
                let rows: Vec<Row> = (0..1000).map(|n| row(n, label(n))).collect();
                let found = count(&held_back(&rows, share, 7));
                assert!(found.abs_diff(wanted) <= 20, "{share}: {found}");
            }
        }
    }

    #[test]
    fn rows_of_the_same_texts_stay_together() {
        let rows: Vec<Row> = (0..600).map(|n| row(n % 200, Label::Class(n % 2))).collect();
        let held = held_back(&rows, 0.2, 1);
        assert!((0..600).all(|n| held[n] == held[n % 200]));
        assert_eq!(count(&held), 120);
        // All of one text: there is nothing to hold back.
        let alike: Vec<Row> = (0..10).map(|_| row(0, Label::Class(0))).collect();
        assert_eq!(count(&held_back(&alike, 0.5, 1)), 0);
    }

    #[test]
    fn few_rows_leave_some_to_learn_from() {
        assert!(held_back(&[], 0.1, 1).is_empty());
        let rows: Vec<Row> = (0..2).map(|n| row(n, Label::Class(n))).collect();
        assert_eq!(count(&held_back(&rows, 0.5, 1)), 0, "one row per class stays");
        let rows: Vec<Row> = (0..4).map(|n| row(n, Label::Class(n % 2))).collect();
        assert_eq!(count(&held_back(&rows, 0.1, 1)), 2);
        let rows: Vec<Row> = (0..3).map(|n| row(n, Label::Score(n as f32))).collect();
        assert_eq!(count(&held_back(&rows, 0.1, 1)), 1);
    }
}
