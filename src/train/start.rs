//! Where a run begins: anew, or with the newest whole checkpoint.

use std::path::PathBuf;

use toml::{Table, Value};

use super::plan::Plan;
use crate::config::{FREE, Layer, RunConfig, SETTINGS};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::glue::task::Task;
use crate::run::checkpoints::{Checkpoints, Whole};
use crate::run::record::Binding;
use crate::run::{RunFolder, RunLock, RunRecord};

/// Where a run begins.
pub struct Start {
    /// Keeps other processes from its folder.
    pub(super) lock: RunLock,
    /// Whether it was begun before.
    pub(super) resumed: bool,
    /// Where its checkpoints are.
    pub(super) checkpoints: Checkpoints,
    /// The checkpoint to go on from.
    pub(super) whole: Option<Whole>,
    /// What was wrong with newer ones.
    pub(super) skipped: Vec<Error>,
    /// What stands in it.
    pub(super) record: RunRecord,
}

impl Start {
    /// Looks for the newest whole checkpoint in the locked `folder` where a run is to be resumed.
    ///
    /// # Errors
    /// The folder of the checkpoints cannot be read or put in order, or the checkpoint is bound to
    /// other settings.
    pub fn find(
        folder: &RunFolder,
        lock: &RunLock,
        config: &RunConfig,
        resume: bool,
    ) -> Result<Self> {
        let checkpoints = Checkpoints::new(folder, config.logging().keep_checkpoints);
        let (whole, skipped) = if resume {
            checkpoints.settle()?;
            checkpoints.newest()?
        } else {
            (None, Vec::new())
        };
        let record = whole.as_ref().map(|whole| whole.record.clone()).unwrap_or_default();
        match &record.binding {
            Some(begun) => {
                let begun = Layer { origin: folder.config(), settings: begun.settings.clone() };
                check_settings(&begun.renamed()?, &config.bound()?, folder, record.update)?;
            }
            None if whole.is_some() => {
                let expected = format!("update-{} bound to settings and data", record.update);
                return Err(Error::content(folder.checkpoints(), None, expected, "to none")
                    .hint("remove this checkpoint"));
            }
            None => {}
        }
        Ok(Self { lock: lock.clone(), resumed: resume, checkpoints, whole, skipped, record })
    }

    /// The files of the checkpoint to go on from; none without one.
    ///
    /// # Errors
    /// Its folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>> {
        self.whole.as_ref().map_or_else(|| Ok(Vec::new()), Whole::files)
    }

    /// Whether the run begins with the weights that its settings name, and not with its own.
    pub fn needs_weights(&self) -> bool {
        self.whole.is_none()
    }

    /// The updates done before.
    pub fn update(&self) -> usize {
        self.record.update
    }

    /// The fingerprint of the data that the run has begun with, where it has.
    pub fn data(&self) -> Option<&str> {
        self.record.binding.as_ref().map(|binding| binding.data.as_str())
    }

    /// What the run's checkpoints are to be bound to.
    ///
    /// # Errors
    /// The checkpoint to go on from is bound to another model, other classes or other data.
    pub(super) fn bind(&self, config: &RunConfig, plan: &Plan) -> Result<Binding> {
        let names = |task: &Task| task.kind.labels().unwrap_or_default();
        let labels = plan.tasks().flat_map(names).map(ToString::to_string).collect();
        let data = plan.fingerprint()?;
        let tags =
            |task: &Task| task.metrics.iter().map(|metric| metric.tag().to_string()).collect();
        let own = Binding {
            settings: config.bound()?,
            bert: plan.bert.clone(),
            labels,
            data,
            metrics: plan.tasks().map(tags).collect(),
        };
        let Some(begun) = &self.record.binding else { return Ok(own) };
        if begun.bert != own.bert {
            let sizes = |binding: &Binding| serde_json::to_string(&binding.bert);
            let words = |binding: &Binding| sizes(binding).unwrap_or_default();
            return Err(Error::value("init-checkpoint", words(begun), words(&own))
                .hint("go on with the model's folder that the run began with"));
        }
        let begun_table = "go on with the task table that the run began with";
        if begun.labels != own.labels {
            let words = |binding: &Binding| format!("the labels {}", binding.labels.join(", "));
            return Err(Error::value("task-def", words(begun), words(&own)).hint(begun_table));
        }
        if !begun.metrics.is_empty() && begun.metrics != own.metrics {
            let tags = |tags: &Vec<String>| tags.join(" ");
            let words = |binding: &Binding| {
                let tasks: Vec<_> = binding.metrics.iter().map(tags).collect();
                format!("the metrics {}", tasks.join(", "))
            };
            return Err(Error::value("task-def", words(begun), words(&own)).hint(begun_table));
        }
        if begun.data != own.data {
            let words = |binding: &Binding| {
                format!("data of SHA-256 {}...", binding.data.get(..16).unwrap_or(&binding.data))
            };
            return Err(Error::value("data-dir", words(begun), words(&own)).hint(
                "the files, or what config.toml says of a teacher, have changed since the run began; go \
                 on with those that it began with (platon resume RUN --data-dir names their folder, \
                 --train-file one of your own)",
            ));
        }
        let last = plan.updates.last();
        if self.update() > last {
            let expected = format!("at most update {last}");
            return Err(Error::value("checkpoint", expected, self.update())
                .hint("this checkpoint is another run's"));
        }
        Ok(own)
    }

    /// Writes paths that were named anew to the `config.toml` of the run, now that what they lead to
    /// is known to be right.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn keep_paths(&self, config: &RunConfig, folder: &RunFolder) -> Result<()> {
        let config = config.absolute()?;
        if !self.resumed
            || RunConfig::resolve(&[Layer::from_file(&folder.config())?])?.absolute()? == config
        {
            return Ok(());
        }
        write_whole(&folder.config(), config.to_table()?.to_string().as_bytes())
    }
}

/// Refuses settings other than those that a checkpoint is bound to, and names them.
fn check_settings(begun: &Table, own: &Table, folder: &RunFolder, update: usize) -> Result<()> {
    // What binds no longer may differ.
    let before = begun.keys().filter(|name| !FREE.contains(&name.as_str()));
    let names = before.chain(own.keys().filter(|name| !begun.contains_key(*name)));
    // A setting that there was not yet had the effect of its default.
    let default = |name: &str| {
        let setting = SETTINGS.iter().find(|setting| setting.name == name)?;
        (setting.default)().ok()
    };
    let value = |table: &Table, name: &str| table.get(name).cloned().or_else(|| default(name));
    let other: Vec<&String> = names.filter(|name| value(begun, name) != value(own, name)).collect();
    if other.is_empty() {
        return Ok(());
    }
    let words = |table: &Table| {
        let value = |name: &&String| table.get(*name).map_or("none".into(), Value::to_string);
        let all = other.iter().map(|name| format!("{name} = {}", value(name)));
        all.collect::<Vec<_>>().join(", ")
    };
    let expected = format!("{} as in checkpoint update-{update}", words(begun));
    Err(Error::content(folder.config(), None, expected, words(own)).hint(
        "put the settings back, or remove the checkpoint if it is another run's; other settings \
         are for another run: platon train CONFIG --output-dir OTHER",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_that_were_bound_to_the_old_name_of_a_precision_still_serve() {
        let folder = RunFolder::at("run".as_ref());
        for (old, new) in [("true", "f16"), ("false", "f32")] {
            let settings = format!("seed = 7\nfp16 = {old}").parse().unwrap();
            let begun = Layer { origin: folder.config(), settings }.renamed().unwrap();
            let own = format!("seed = 7\nprecision = \"{new}\"").parse().unwrap();
            check_settings(&begun, &own, &folder, 30).unwrap();
        }
    }

    #[test]
    fn checkpoints_from_before_a_setting_serve_where_it_has_its_default() {
        let folder = RunFolder::at("run".as_ref());
        let own = |text: &str| text.parse::<Table>().unwrap();
        check_settings(&own("seed = 7"), &own("seed = 7\nkeep_head = false"), &folder, 30).unwrap();
        let kept = own("seed = 7\nkeep_head = true");
        let text = check_settings(&own("seed = 7"), &kept, &folder, 30).unwrap_err().to_string();
        assert!(text.contains("expected keep_head = none as in checkpoint update-30"), "{text}");
    }

    #[test]
    fn a_setting_that_binds_no_longer_may_differ() {
        let folder = RunFolder::at("run".as_ref());
        let begun: Table = "seed = 7\nteacher = \"t\"\nold = 1".parse().unwrap();
        let text = check_settings(&begun, &"seed = 7".parse().unwrap(), &folder, 30).unwrap_err();
        assert!(text.to_string().contains("expected old = 1 as in"), "{text}");
    }

    #[test]
    fn all_settings_that_differ_are_named() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let begun = table("batch_size = 32\nbeta1 = 0.85\nseed = 7\nold = true");
        let folder = RunFolder::at("run".as_ref());
        check_settings(&begun, &begun, &folder, 30).unwrap();
        let own = table("batch_size = 16\nbeta1 = 0.85\nseed = 8\nnew = 1");
        let text = check_settings(&begun, &own, &folder, 30).unwrap_err().to_string();
        let expected = "run/config.toml: expected batch_size = 32, seed = 7, old = true, \
                        new = none as in checkpoint update-30, found batch_size = 16, seed = 8, \
                        old = none, new = 1 (hint: put the settings back";
        assert!(text.starts_with(expected), "{text}");
    }
}
