//! The numbers of labels that have been settled.

use std::collections::HashMap;

use super::labels::{Mismatch, Target, class_name, score};
use super::table::Value;
use crate::glue::task::Task;
use crate::glue::tsv::Label;

/// Remedies for labels.
pub(super) const MEND: &str = "mend the row, or leave it out";
const LEARN: &str = "only labels of the training rows can be learnt: add rows, or leave these out";

/// The numbers of labels.
pub(super) struct Numbers(Option<HashMap<String, usize>>);

impl Numbers {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Classes(labels) => Self(Some(labels.iter().cloned().zip(0..).collect())),
            Target::Number => Self(None),
        }
    }

    pub(super) fn of_task(task: &Task) -> Self {
        let numbered =
            |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).zip(0..).collect();
        Self(task.kind.labels().map(numbered))
    }

    /// The number of a label; what is wrong with it, and a remedy.
    pub(super) fn label(&self, value: &Value) -> Result<Label, (Mismatch, &'static str)> {
        let mend = |mismatch| (mismatch, MEND);
        let Some(classes) = &self.0 else { return score(value).map(Label::Score).map_err(mend) };
        let name = class_name(value).map_err(mend)?;
        classes.get(&name).copied().map(Label::Class).ok_or_else(|| {
            let mut known: Vec<_> =
                classes.iter().map(|(name, class)| (class, name.as_str())).collect();
            known.sort_unstable();
            let known: Vec<&str> = known.into_iter().map(|(_, name)| name).collect();
            ((format!("a label of {}", known.join(", ")), format!("{name:?}")), LEARN)
        })
    }
}
