//! The settings of data of one's own, and what must hold between them.

use super::settings::Own;
use crate::error::{Error, Result};
use crate::glue::own::files::SHARE;
use crate::glue::own::labels::{Target, class_name};
use crate::glue::own::{Files, Value};
use crate::glue::task::Metric;

impl Own {
    /// The files and what of them is meant; `None` where a GLUE task is learnt.
    pub fn files(&self, seed: u64) -> Option<Files> {
        Some(Files {
            train: self.train_file.clone()?,
            dev: self.dev_file.clone(),
            test: self.test_file.clone(),
            text: self.text.clone()?,
            text_pair: self.text_pair.clone(),
            label: self.label.clone()?,
            dev_share: self.dev_share,
            seed,
        })
    }

    /// The metric that somebody asked for, however it was spelled.
    pub fn asked_metric(&self) -> Option<Metric> {
        self.metric.as_deref().and_then(Metric::named)
    }

    /// Checks what depends on several of them; `is_defined` is whether a task table is named too.
    pub(super) fn check(&self, is_defined: bool) -> Result<()> {
        if let Some(name) = self.metric.as_deref().filter(|name| Metric::named(name).is_none()) {
            let known = Metric::ALL.map(Metric::tag).join(", ");
            return Err(Error::value("metric", format!("one of {known}"), name));
        }
        let Some(train) = &self.train_file else {
            let given = [
                ("dev_file", self.dev_file.is_some()),
                ("test_file", self.test_file.is_some()),
                ("text", self.text.is_some()),
                ("text_pair", self.text_pair.is_some()),
                ("label", self.label.is_some()),
                ("labels", !self.labels.is_empty()),
                ("regression", self.regression),
            ];
            return given.iter().find(|(_, is_given)| *is_given).map_or(Ok(()), |(name, _)| {
                Err(Error::value("train_file", format!("a file that {name} is about"), "none"))
            });
        };
        if is_defined {
            let found = "both of them";
            return Err(Error::value("train_file", "train_file or task_def", found)
                .hint("a task table is for tasks in the original's folders"));
        }
        for (name, column) in [("text", &self.text), ("label", &self.label)] {
            if column.is_none() {
                let expected = format!("the column of {} in {}", name, train.display());
                return Err(Error::value(name, expected, "none")
                    .hint(format!("platon data {} shows the columns", train.display())));
            }
        }
        if self.dev_file.is_none() && self.dev_share == 0.0 {
            let expected = "a share above 0 where there is no dev_file";
            return Err(Error::value("dev_share", expected, 0));
        }
        if self.dev_file.as_ref() == Some(train) {
            return Err(Error::value(
                "dev_file",
                "other rows than those of train_file",
                train.display(),
            )
            .hint(SHARE));
        }
        if self.regression && !self.labels.is_empty() {
            return Err(Error::value("labels", "none beside regression", self.labels.join(", ")));
        }
        let mut seen = self.labels.iter().collect::<Vec<_>>();
        seen.sort_unstable();
        seen.dedup();
        let is_usual =
            |label: &String| class_name(&Value::Text(label.clone())).as_ref() == Ok(label);
        if self.labels.len() == 1
            || seen.len() != self.labels.len()
            || !self.labels.iter().all(is_usual)
        {
            let expected = "at least two labels, each once, as the file names them";
            return Err(Error::value("labels", expected, self.labels.join(", ")));
        }
        Ok(())
    }

    /// What is to be learnt; `None` where that is still to be found out.
    pub fn target(&self) -> Option<Target> {
        match (self.regression, self.labels.as_slice()) {
            (true, _) => Some(Target::Number),
            (false, []) => None,
            (false, labels) => Some(Target::Classes(labels.to_vec())),
        }
    }
}
