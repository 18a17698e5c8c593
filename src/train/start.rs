//! Where a run begins: anew, or with the newest whole checkpoint.

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::run::checkpoints::{Checkpoints, Whole};
use crate::run::{RunFolder, RunRecord};

/// Where a run begins.
pub(super) struct Start {
    /// Where its checkpoints are.
    pub checkpoints: Checkpoints,
    /// The checkpoint to go on from.
    pub whole: Option<Whole>,
    /// What was wrong with newer ones.
    pub skipped: Vec<Error>,
    /// What stands in it.
    pub record: RunRecord,
}

impl Start {
    /// Looks for the newest whole checkpoint where a run is to be resumed; the last `keep` are kept.
    ///
    /// # Errors
    /// The folder of the checkpoints cannot be read or put in order.
    pub fn find(folder: &RunFolder, keep: usize, resume: bool) -> Result<Self> {
        let checkpoints = Checkpoints::new(folder, keep);
        let (whole, skipped) = if resume {
            checkpoints.settle()?;
            checkpoints.newest()?
        } else {
            (None, Vec::new())
        };
        let record = whole.as_ref().map(|whole| whole.record.clone()).unwrap_or_default();
        Ok(Self { checkpoints, whole, skipped, record })
    }

    /// The updates done before.
    pub fn update(&self) -> usize {
        self.record.update
    }

    /// Refuses to go on with a run of other updates or other data, whose fingerprint is `data`.
    ///
    /// # Errors
    /// The checkpoint belongs to such a run.
    pub fn check_same(&self, plan: &Plan, data: &str) -> Result<()> {
        if let Some(begun) = self.record.data.as_ref().filter(|begun| *begun != data) {
            let words =
                |hash: &str| format!("data of SHA-256 {}...", hash.get(..16).unwrap_or(hash));
            return Err(Error::value("data-dir", words(begun), words(data)).hint(
                "the files have changed since the run began; go on with those that it began with",
            ));
        }
        let last = plan.updates.last();
        if self.update() > last {
            let expected = format!("at most update {last}");
            return Err(Error::value("checkpoint", expected, self.update())
                .hint("the settings of this run have changed since"));
        }
        Ok(())
    }
}
