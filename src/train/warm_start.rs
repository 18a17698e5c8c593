//! Whether the weights of `model_ckpt` go into a model of `init_checkpoint`, which gives settings and
//! tokenizer.

use crate::bert::Checkpoint;
use crate::error::{Error, Result};
use crate::glue::encode::Encoder;
use crate::infer::tokenizer::TokenizerFolder;

/// What to do where `model_ckpt` is not of the kind of `init_checkpoint`.
const BASE: &str = "name the model that it is made of with --init-checkpoint";

/// Refuses weights of `found` in a model of `base`'s settings, if it computes otherwise in a way that no
/// tensor's shape shows.
///
/// # Errors
/// As it says.
pub(super) fn check_computes_alike(base: &Checkpoint, found: &Checkpoint) -> Result<()> {
    let facts = |checkpoint: &Checkpoint| {
        let bert = &checkpoint.config;
        [
            ("model_type", bert.family.model_type.to_string()),
            ("num_attention_heads", bert.num_attention_heads.to_string()),
            ("hidden_act", bert.hidden_act.name().to_string()),
            ("layer_norm_eps", format!("{:?}", bert.layer_norm_eps)),
            ("first position", bert.first_position().to_string()),
        ]
    };
    let mut both = facts(base).into_iter().zip(facts(found));
    match both.find(|(own, other)| own != other) {
        None => Ok(()),
        Some(((name, own), (_, other))) => {
            let expected = format!("a model with the {name} of init_checkpoint's, {own}");
            let found = format!("{other} in {}", found.path().display());
            Err(Error::value("model_ckpt", expected, found).hint(BASE))
        }
    }
}

/// Refuses weights of `found` where its tokenizer is another than the run's.
///
/// # Errors
/// As it says; its tokenizer cannot be read.
pub(super) fn check_reads_alike(encoder: &Encoder, found: &Checkpoint) -> Result<()> {
    let folder = TokenizerFolder::of(None, found)?;
    if !folder.has_one() || folder.holds(encoder)? {
        return Ok(());
    }
    let expected = "a model with the tokenizer of init_checkpoint's";
    Err(Error::value("model_ckpt", expected, found.path().display()).hint(BASE))
}
