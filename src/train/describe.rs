//! What `--dry-run` says about a plan.

use std::fmt::Write;

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::plan::Plan;
use crate::config::RunConfig;
use crate::infer::sets::EvalSet;

impl Plan {
    /// A description for `--dry-run`: updates, phases, sizes, and the parameters to be pruned.
    pub fn describe<B: Backend>(&self, config: &RunConfig, device: &B::Device) -> String {
        let net = self.classifier(config).init::<B>(device);
        let scope = self.selection.scope(&net);
        let parts = self.selection.parts();
        let (first, last) = self.schedule.boundaries();
        let total = self.updates.total();
        let mut out = String::new();
        let size = |set: &EvalSet| format!("{} {}", set.about.name, set.samples.len());
        let sets: Vec<String> = self.sets.iter().map(size).collect();
        let _ = writeln!(
            out,
            "training samples  {} ({} more are too long)",
            self.samples.len(),
            self.dropped
        );
        let _ = writeln!(out, "evaluation sets   {}", sets.join(", "));
        let _ = writeln!(
            out,
            "updates           {total} ({} per epoch), evaluated {} times",
            self.updates.per_epoch(),
            self.updates.evaluations()
        );
        if self.updates.last() < total {
            let _ = writeln!(out, "stops after       {}", self.updates.last());
        }
        if !config.pruning().pruner.prunes() {
            let _ = writeln!(out, "pruning           none");
        } else {
            let span = |from: usize, to: usize| match from <= to {
                true => format!("updates {from} to {to}"),
                false => "no update".to_owned(),
            };
            let _ = writeln!(out, "before pruning    {}", span(1, first));
            let _ = writeln!(
                out,
                "ratio falls       {}, from {} to {}",
                span(first + 1, last),
                self.schedule.at(first).ratio,
                config.pruning().final_threshold
            );
            for ((part, ratio), size) in
                parts.iter().zip(scope.sizes(1 + parts.len()).iter().skip(1))
            {
                let _ = writeln!(out, "part              {part} to {ratio}, {size} weights");
            }
            let _ = writeln!(out, "final ratio       {}", span(last + 1, total));
        }
        let _ = writeln!(out, "parameters        {}", net.num_params());
        let _ = writeln!(
            out,
            "prunable          {} in {} tensors:",
            scope.size(),
            scope.members().len()
        );
        for member in scope.members() {
            let _ = writeln!(out, "  {:>9}  {}", member.size, member.name);
        }
        out
    }
}
