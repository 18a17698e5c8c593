//! The remaining ratio of the checkpoint that a run begins with.

use std::path::Path;

use super::plan::{first_layers, task_of};
use super::selection::Selection;
use crate::bert::{Checkpoint, names};
use crate::config::{AUTO, RunConfig};
use crate::error::{Error, Result};

/// `config` with the initial ratio as a number where it is to be found: the share of the prunable
/// weights that are not zero in the checkpoint. Nothing else knows of the word `auto`.
///
/// # Errors
/// The checkpoint cannot be read; it has no zeros that could stay, where they are to; its ratio is
/// not above the final one.
pub fn with_found_ratio(config: RunConfig) -> Result<RunConfig> {
    let (pruning, model) = (config.pruning(), config.model());
    let is_wanted = pruning.initial_threshold.is_none();
    if is_wanted && !pruning.pruner.prunes() {
        return config.with([("initial_threshold", 1.0.into())]);
    }
    if !is_wanted && !pruning.keep_zeros {
        return Ok(config);
    }
    let Some(path) = model.weights() else {
        let error = Error::value("initial_threshold", "a number with from_scratch", AUTO);
        return Err(error.hint("weights that are drawn afresh have no zeros to count"));
    };
    let found = remaining(&config, path)?;
    if pruning.keep_zeros && found == 1.0 {
        let expected = "a checkpoint with zeros among the prunable weights";
        return Err(Error::value("keep_zeros", expected, format!("none in {}", path.display()))
            .hint("name a pruned model with --init-checkpoint, or leave keep-zeros away"));
    }
    if !is_wanted {
        return Ok(config);
    }
    let last = pruning.final_threshold;
    if found <= last {
        let expected = format!("a checkpoint that has more than final_threshold ({last}) left");
        let found = format!("{found} in {}", path.display());
        return Err(Error::value("initial_threshold", expected, found)
            .hint("lower final_threshold; only what remains can be pruned further"));
    }
    config.with([("initial_threshold", found.into())])
}

/// The share of the prunable weights that are not zero in the checkpoint `path` of `config`.
fn remaining(config: &RunConfig, path: &Path) -> Result<f64> {
    let model = config.model();
    let has_head = model.model_ckpt.is_some() || model.keep_head;
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.check_weights()?;
    let (family, outputs) = (checkpoint.config.family, task_of(config)?.outputs());
    let bert = first_layers(&checkpoint.config, model.num_hidden_layers)?;
    let selection = Selection::new(config, &bert, outputs)?;
    let tensors = checkpoint.into_tensors()?.expanded().tensors;
    let (mut all, mut zeros) = (0, 0);
    for (name, shape) in names::parameter_shapes(&bert, outputs) {
        if !selection.takes(&name) {
            continue;
        }
        all += shape.iter().product::<usize>();
        // A new head has none.
        if let Some(tensor) =
            tensors.get(&name).filter(|_| has_head || !names::is_head(family, &name))
        {
            zeros += tensor.values.iter().filter(|w| **w == 0.0).count();
        }
    }
    Ok(all.saturating_sub(zeros) as f64 / all.max(1) as f64)
}
