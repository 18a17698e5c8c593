//! The course of a run, from its `metrics.jsonl`.

use serde_json::{Map, Value};

use crate::error::Result;
use crate::files::read_text;
use crate::run::RunFolder;

/// What a run wrote on its way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course(Vec<Map<String, Value>>);

/// Updates and values.
pub type Points = Vec<(f64, f64)>;

/// The split of logged updates.
pub(super) const TRAIN: &str = "train";

/// Whether a line's value of this name is a score: tags of metrics begin with a capital letter, gauges
/// do not.
pub(super) fn is_score(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

impl Course {
    /// That of the run in `folder`; empty where it wrote nothing yet. A last line that a killed run
    /// did not end is left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        if !folder.points().is_file() {
            return Ok(Self::default());
        }
        Ok(Self::parse(&read_text(&folder.points())?))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn of_split(&self, split: &str) -> impl Iterator<Item = &Map<String, Value>> {
        self.0.iter().filter(move |line| line.get("split").and_then(Value::as_str) == Some(split))
    }

    /// The values of `key` in the lines of `split`, by updates.
    pub fn of(&self, split: &str, key: &str) -> Points {
        let number = |line: &Map<String, Value>, key: &str| line.get(key)?.as_f64();
        self.of_split(split)
            .filter_map(|line| Some((number(line, "step")?, number(line, key)?)))
            .collect()
    }

    /// The values of `key` in the lines of logged updates.
    pub fn of_training(&self, key: &str) -> Points {
        self.of(TRAIN, key)
    }

    /// The evaluated sets, in the order in which they first come.
    pub fn sets(&self) -> Vec<&str> {
        let mut sets = Vec::new();
        for split in self.0.iter().filter_map(|line| line.get("split")?.as_str()) {
            if split != TRAIN && !sets.contains(&split) {
                sets.push(split);
            }
        }
        sets
    }

    /// The scores of the set `set`: their names, and their values by updates.
    pub fn scores(&self, set: &str) -> Vec<(String, Points)> {
        let first = self.of_split(set).next();
        let names =
            first.into_iter().flat_map(|line| line.keys().filter(|name| is_score(name)).cloned());
        names.map(|name| (name.clone(), self.of(set, &name))).collect()
    }
}

/// At most `most` of `points`, evenly chosen, the last one among them.
pub fn thinned(points: Points, most: usize) -> Points {
    let every = points.len().div_ceil(most.max(1)).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points.into_iter().enumerate().filter(|(n, _)| (last - n).is_multiple_of(every));
    kept.map(|(_, point)| point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_told_by_sets_and_keys() {
        let course = Course::parse(
            "{\"step\":10,\"split\":\"train\",\"loss\":2.0,\"threshold\":0.0}\n\
             {\"step\":20,\"split\":\"train\",\"loss\":1.5,\"threshold\":1e-9}\n\
             {\"step\":20,\"split\":\"rte_dev\",\"loss\":1.25,\"ACC\":60.5,\"F1\":null}\n\
             {\"step\":30,\"split\":\"tra",
        );
        assert_eq!(course.of_training("loss"), [(10.0, 2.0), (20.0, 1.5)]);
        assert_eq!(course.of("rte_dev", "loss"), [(20.0, 1.25)]);
        assert_eq!(course.sets(), ["rte_dev"]);
        // A score that is undefined has no point.
        let scores = [("ACC".to_string(), vec![(20.0, 60.5)]), ("F1".to_string(), vec![])];
        assert_eq!(course.scores("rte_dev"), scores);
    }

    #[test]
    fn many_points_become_few_and_the_last_stays() {
        let points = |n: usize| -> Points { (0..n).map(|n| (n as f64, 0.0)).collect() };
        assert_eq!(thinned(points(5), 10), points(5));
        let few: Vec<f64> = thinned(points(10), 4).into_iter().map(|p| p.0).collect();
        assert_eq!(few, [0.0, 3.0, 6.0, 9.0]);
        assert_eq!(thinned(vec![], 4), []);
        assert!(thinned(points(100_001), 600).len() <= 600);
    }
}
