//! What must hold between several settings.

use super::{Data, Logging, Model, Objective, Pruning, RunConfig};
use crate::error::{Error, Result};
use crate::files::is_file_name;
use crate::pruning::{Pattern, Pruner, RatioSchedule};
use crate::run::folder::{OWN_NAMES, is_own_name};

impl RunConfig {
    /// Checks what depends on several settings.
    pub(super) fn check(&self) -> Result<()> {
        let Pruning { initial_threshold, final_threshold, pruner, beta1, keep_zeros, .. } =
            *self.pruning();
        let initial = initial_threshold.unwrap_or(1.0);
        RatioSchedule::check_ratios(initial, final_threshold)?;
        let above = |(_, ratio): &&(Pattern, f64)| *ratio > initial;
        if let Some((pattern, ratio)) = self.pruning().prune_ratios.iter().find(above) {
            let expected = format!("at most initial_threshold ({initial})");
            return Err(Error::value("prune_ratios", expected, format!("{pattern}={ratio}")));
        }
        if pruner == Pruner::Platon && beta1 == 0.0 {
            // The importance is the last window's then, from which it never departs.
            return Err(Error::value(
                "beta1",
                "a number in (0, 1)",
                "0: all uncertainties would be 0, and nothing would be pruned",
            ));
        }
        let Model { keep_head, from_scratch, model_ckpt, .. } = self.model();
        if *keep_head && (*from_scratch || model_ckpt.is_some()) {
            let other = if *from_scratch { "from_scratch" } else { "model_ckpt" };
            return Err(Error::value("keep_head", "the head of init_checkpoint", other)
                .hint(format!("leave {other} or keep_head away")));
        }
        self.check_tasks()?;
        let Objective { teacher, mkd_opt, distill_hidden, .. } = self.objective();
        if teacher.is_none() && *distill_hidden > 0.0 {
            return Err(Error::value("distill_hidden", "0 without a teacher", distill_hidden));
        }
        if *distill_hidden > 0.0 && self.run().multi_gpu_on {
            let expected = "one device with distill_hidden";
            return Err(Error::value("multi_gpu_on", expected, true));
        }
        if teacher.is_some() && *mkd_opt > 0 {
            return Err(Error::value("mkd_opt", "0 where there is a teacher", mkd_opt)
                .hint("both would give each sample a target: leave one of them away"));
        }
        let shares = [self.pruning().initial_warmup_share, self.pruning().final_warmup_share];
        let shares: f64 = shares.iter().flatten().sum();
        if shares >= 1.0 {
            let expected = "with initial_warmup_share a share of the run below 1";
            return Err(Error::value("final_warmup_share", expected, shares));
        }
        self.own().check(self.data().task_def.is_some())?;
        if keep_zeros && self.model().draws_weights() {
            return Err(Error::value("keep_zeros", "weights of a checkpoint", "from_scratch")
                .hint("leave from_scratch or keep_zeros away"));
        }
        let Logging { log_file, tensorboard_logdir, .. } = self.logging();
        for (name, value) in [("log_file", log_file), ("tensorboard_logdir", tensorboard_logdir)] {
            // They lie in the run folder, which a path could leave.
            if !is_file_name(value) || value.contains(char::is_control) {
                let expected = "a name inside the run folder";
                return Err(Error::value(name, expected, format!("{value:?}")));
            }
            if is_own_name(value) {
                return Err(Error::value(name, "a name of its own", value).hint(format!(
                    "the run has files called {}, model-TASK and best-TASK",
                    OWN_NAMES.join(", ")
                )));
            }
        }
        if log_file == tensorboard_logdir {
            let found = format!("{log_file}, as log_file");
            return Err(Error::value("tensorboard_logdir", "a name of its own", found));
        }
        Ok(())
    }

    /// Checks what goes with several tasks, or only with them.
    fn check_tasks(&self) -> Result<()> {
        let Data { task, more_tasks, mix_opt, ratio, .. } = self.data();
        let rates = self.model().more_dropouts.len();
        if rates > 0 && rates != more_tasks.len() {
            let expected = format!("one for each of more_tasks, which are {}", more_tasks.len());
            return Err(Error::value("more_dropouts", expected, rates));
        }
        if more_tasks.is_empty() {
            let given = [("mix_opt", *mix_opt > 0), ("ratio", *ratio > 0.0)];
            return given.iter().find(|(_, is_given)| *is_given).map_or(Ok(()), |(name, _)| {
                Err(Error::value(name, "several training sets", task)
                    .hint("--train-datasets names them, as mnli,rte"))
            });
        }
        let others = [
            ("train_file", self.own().train_file.is_some()),
            ("teacher", self.objective().teacher.is_some()),
            ("keep_head", self.model().keep_head),
        ];
        if let Some((name, _)) = others.iter().find(|(_, is_given)| *is_given) {
            let found = format!("{task}, {}", more_tasks.join(", "));
            return Err(Error::value(name, "one task", found));
        }
        Ok(())
    }
}
