//! Options of the original program that are not here, each with what to do instead.

use std::ffi::OsString;

use crate::error::{Error, Result};

struct Refused {
    /// As typed, with hyphens.
    name: &'static str,
    /// The value that asks for nothing; such an option is dropped without a word.
    harmless: Option<&'static str>,
    instead: &'static str,
}

const fn refused(name: &'static str, instead: &'static str) -> Refused {
    Refused { name, harmless: None, instead }
}

const fn unless(name: &'static str, harmless: &'static str, instead: &'static str) -> Refused {
    Refused { name, harmless: Some(harmless), instead }
}

const PADDING: &str =
    "leave it out: padding is never computed on CPUs, and is the shortest possible on GPUs";
const DISTRIBUTED: &str = "leave it out: one process does it all; --multi-gpu-on gives it all GPUs";
const LATER: &str = "this is not there yet; leave it out";
const HEAD: &str = "leave it out: the head is the original's default one";
const MASKED: &str = "leave it out: platon fine-tunes on GLUE's tasks and learns no language model";
const ANSWERS: &str =
    "leave it out: it belongs to answer networks (SAN), which no GLUE recipe uses";
const RATES: &str = "use --warmup-schedule warmup_linear, linear, constant or cosine";

const REFUSED: &[Refused] = &[
    refused("--do-padding", PADDING),
    refused("--local-rank", DISTRIBUTED),
    refused("--world-size", DISTRIBUTED),
    refused("--master-addr", DISTRIBUTED),
    refused("--master-port", DISTRIBUTED),
    refused("--cuda", "use --backend cuda"),
    refused("--fp16-opt-level", "leave it out: --fp16 is like level O1"),
    refused("--encoder-type", "leave it out: the encoder is always BERT"),
    refused("--init-ratio", "leave it out: all weights of the checkpoint are used"),
    refused("--data-sort-on", "use --bin-on, which fills batches with samples of like length"),
    refused("--dropout-w", "use --dropout-p and --bert-dropout-p"),
    refused("--update-bert-opt", "leave it out: all layers are trained"),
    refused("--pooler-actf", HEAD),
    refused("--answer-opt", ANSWERS),
    refused("--answer-att-hidden-size", ANSWERS),
    refused("--answer-att-type", ANSWERS),
    refused("--answer-rnn-type", ANSWERS),
    refused("--answer-sum-att-type", ANSWERS),
    refused("--answer-merge-opt", ANSWERS),
    refused("--answer-mem-type", ANSWERS),
    refused("--answer-dropout-p", ANSWERS),
    refused("--answer-weight-norm-on", ANSWERS),
    refused("--answer-num-turn", ANSWERS),
    refused("--answer-att-drop", ANSWERS),
    refused("--answer-mem-drop", ANSWERS),
    refused("--answer-opt-on", ANSWERS),
    refused("--masked-lm-prob", MASKED),
    refused("--short-seq-prob", MASKED),
    refused("--max-predictions-per-seq", MASKED),
    refused("--bert-maxlen", MASKED),
    refused("--mlm-prob", MASKED),
    refused("--have-lr-scheduler", RATES),
    refused("--multi-step-lr", RATES),
    refused("--lr-gamma", RATES),
    refused("--scheduler-type", RATES),
    unless("--mkd-opt", "0", LATER),
    unless("--mix-opt", "0", "it mixes several training sets, which are not there yet"),
    unless("--ratio", "0", "it mixes several training sets, which are not there yet"),
    refused("--adv-train", LATER),
    refused("--adv-opt", LATER),
    refused("--adv-norm-level", LATER),
    refused("--adv-p-norm", LATER),
    refused("--adv-alpha", LATER),
    refused("--adv-k", LATER),
    refused("--adv-step-size", LATER),
    refused("--adv-noise-var", LATER),
    refused("--adv-epsilon", LATER),
];

/// The original's `--backend` names a library for several processes.
const PROCESS_BACKENDS: [&str; 3] = ["nccl", "gloo", "mpi"];

/// Takes out of the arguments of `train` what asks for nothing.
///
/// # Errors
/// An option is none of platon's; the error says what to do instead.
pub fn sift(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    if arguments.get(1).is_none_or(|command| command != "train") {
        return Ok(arguments);
    }
    let mut kept = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text.as_ref(), None),
        };
        let next = || arguments.peek().map(|next| next.to_string_lossy().into_owned());
        let value = inline.clone().or_else(next);
        if name == "--backend"
            && let Some(library) = value.as_deref().filter(|v| PROCESS_BACKENDS.contains(v))
        {
            return Err(
                Error::value(name, "flex, ndarray, cuda or wgpu", library).hint(DISTRIBUTED)
            );
        }
        // Nothing here needs a switch for it: a head's input has one row per sample, for which the
        // original's two kinds of dropout are the same.
        if name == "--vb-dropout" {
            continue;
        }
        match REFUSED.iter().find(|refused| refused.name == name) {
            None => kept.push(argument),
            Some(Refused { harmless: Some(harmless), .. })
                if value.as_deref().is_some_and(|v| is(v, harmless)) =>
            {
                if inline.is_none() {
                    arguments.next();
                }
            }
            Some(Refused { instead, .. }) => {
                return Err(Error::value(
                    name,
                    "an option of platon",
                    "one of the original's only",
                )
                .hint(instead));
            }
        }
    }
    Ok(kept)
}

fn is(value: &str, number: &str) -> bool {
    value == number
        || (value.parse::<f64>().ok() == number.parse::<f64>().ok() && value.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sifted(line: &str) -> Result<String> {
        let arguments = line.split(' ').map(OsString::from).collect();
        let kept: Vec<_> = sift(arguments)?.into_iter().map(|a| a.into_string().unwrap()).collect();
        Ok(kept.join(" "))
    }

    #[test]
    fn what_asks_for_nothing_is_dropped() {
        for (line, expected) in [
            ("platon train --mkd-opt 0 --seed 7", "platon train --seed 7"),
            ("platon train --ratio=0.0 --seed 7", "platon train --seed 7"),
            ("platon train --vb-dropout --mix-opt 0", "platon train"),
            ("platon evaluate --cuda", "platon evaluate --cuda"),
            ("platon train --backend flex", "platon train --backend flex"),
        ] {
            assert_eq!(sifted(line).unwrap(), expected);
        }
    }

    #[test]
    fn every_refusal_names_a_replacement() {
        for refused in REFUSED {
            let text = sifted(&format!("platon train {} 5", refused.name)).unwrap_err().to_string();
            assert!(text.starts_with(refused.name) && text.contains("(hint: "), "{text}");
        }
        let text = sifted("platon train --backend nccl").unwrap_err().to_string();
        assert!(text.contains("expected flex, ndarray, cuda or wgpu, found nccl"), "{text}");
    }
}
