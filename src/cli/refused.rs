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
const DISTRIBUTED: &str = "leave it out: `mpirun -n 4 platon train TASK` starts four processes, of a \
     platon built with `--features mpi`; --multi-gpu-on gives one process all GPUs";
const HEAD: &str = "leave it out: the head is the original's default one";
const MASKED: &str = "leave it out: platon fine-tunes on GLUE's tasks and learns no language model";
const ANSWERS: &str =
    "leave it out: it belongs to answer networks (SAN), which no GLUE recipe uses";
const NOTHING: &str = "leave it out: it has no effect in the original either";
const RATES: &str = "use --warmup-schedule warmup_linear, linear, constant or cosine";

const REFUSED: &[Refused] = &[
    refused("--do-padding", PADDING),
    refused("--local-rank", DISTRIBUTED),
    refused("--world-size", DISTRIBUTED),
    refused("--master-addr", DISTRIBUTED),
    refused("--master-port", DISTRIBUTED),
    refused("--cuda", "use --backend cuda"),
    refused("--fp16-opt-level", "leave it out: --fp16 is like level O1"),
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
    refused("--lr", "use --learning-rate"),
    refused("--lr-gamma", RATES),
    refused("--scheduler-type", RATES),
    refused("--answer-mem-drop-p", ANSWERS),
    refused("--max-answer-len", ANSWERS),
    refused("--mem-cum-type", ANSWERS),
    refused("--mtl-opt", NOTHING),
    refused("--bert-model-type", NOTHING),
    refused("--do-lower-case", "leave it out: the tokenizer's files say it"),
    refused("--dump-state-on", NOTHING),
    refused("--name", "use --output-dir, which names the run"),
    refused("--debug", NOTHING),
    refused("--save-record", "use --tensorboard, which has the remaining share of each matrix"),
    unless("--adv-opt", "0", NOTHING),
];

/// The original's `--backend` names a library for several processes.
const PROCESS_BACKENDS: [&str; 3] = ["nccl", "gloo", "mpi"];

/// All of the original's options. Python takes the beginning of a name for the name where no other
/// option begins so.
#[rustfmt::skip]
const ORIGINAL: &[&str] = &[
    "adam-eps", "adv-alpha", "adv-epsilon", "adv-k", "adv-noise-var", "adv-norm-level", "adv-opt",
    "adv-p-norm", "adv-step-size", "adv-train", "answer-att-hidden-size", "answer-att-type",
    "answer-dropout-p", "answer-mem-drop-p", "answer-mem-type", "answer-merge-opt",
    "answer-num-turn", "answer-opt", "answer-rnn-type", "answer-sum-att-type",
    "answer-weight-norm-on", "backend", "batch-size", "batch-size-eval", "bert-dropout-p",
    "bert-model-type", "beta1", "beta2", "bin-grow-ratio", "bin-on", "bin-size", "cuda", "data-dir",
    "data-sort-on", "debug", "deltaT", "do-lower-case", "do-padding", "dropout-p", "dropout-w",
    "dump-state-on", "encode-mode", "encoder-type", "epochs", "eval-per-updates",
    "final-threshold", "final-warmup", "fp16", "fp16-opt-level", "global-grad-clipping",
    "glue-format-on", "grad-accumulation-step", "grad-clipping", "have-lr-scheduler", "help",
    "init-checkpoint", "init-ratio", "initial-threshold", "initial-warmup", "learning-rate",
    "local-rank", "log-file", "log-per-updates", "lr-gamma", "masked-lm-prob", "master-addr",
    "master-port", "max-answer-len", "max-predictions-per-seq", "max-seq-len", "mem-cum-type",
    "mix-opt", "mkd-opt", "model-ckpt", "momentum", "mtl-opt", "multi-gpu-on", "multi-step-lr",
    "name", "num-hidden-layers", "optimizer", "output-dir", "pooler-actf", "ratio", "resume",
    "save-per-updates", "save-per-updates-on", "save-record", "scheduler-type", "seed",
    "short-seq-prob", "task-def", "tensorboard", "tensorboard-logdir", "test-datasets",
    "train-datasets", "update-bert-opt", "vb-dropout", "warmup", "warmup-schedule", "warmup-steps",
    "weight-decay", "with-label", "world-size",
];

/// The whole name of an option of the original, with its hyphens, where `name` begins it; else
/// `name`. `known` are the names that platon itself has.
///
/// # Errors
/// It begins several.
fn whole_name(name: &str, known: &[String]) -> Result<String> {
    let Some(typed) = name.strip_prefix("--").filter(|typed| !typed.is_empty()) else {
        return Ok(name.to_string());
    };
    let is_whole = ORIGINAL.contains(&typed)
        || known.iter().any(|known| known == typed)
        || REFUSED.iter().any(|refused| refused.name == name);
    let begun: Vec<String> = match is_whole {
        true => Vec::new(),
        false => {
            ORIGINAL.iter().filter(|o| o.starts_with(typed)).map(|o| format!("--{o}")).collect()
        }
    };
    match begun.as_slice() {
        [] => Ok(name.to_string()),
        [whole] => Ok(whole.clone()),
        several => Err(Error::value(name, "the beginning of one option", several.join(", "))),
    }
}

/// Writes the names of the original's options out in the arguments of `train`, and takes out what
/// asks for nothing. `known` are the names, without hyphens before them, that `train` has here.
///
/// # Errors
/// An option is none of platon's; the error says what to do instead.
pub fn sift(arguments: Vec<OsString>, known: &[String]) -> Result<Vec<OsString>> {
    if arguments.get(1).is_none_or(|command| command != "train") {
        return Ok(arguments);
    }
    let mut whole = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        match argument
            .to_str()
            .map(|text| text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v))))
        {
            Some(("--", None)) => {
                whole.push(argument);
                break;
            }
            Some((name, None)) => whole.push(whole_name(name, known)?.into()),
            Some((name, Some(value))) if name.starts_with("--") => {
                whole.push(format!("{}={value}", whole_name(name, known)?).into());
            }
            _ => whole.push(argument),
        }
    }
    whole.extend(arguments);
    without_harmless(whole)
}

fn without_harmless(arguments: Vec<OsString>) -> Result<Vec<OsString>> {
    let mut kept = Vec::with_capacity(arguments.len());
    let mut rest = arguments.as_slice();
    while let Some((argument, after)) = rest.split_first() {
        rest = after;
        let text = argument.to_string_lossy();
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text.as_ref(), None),
        };
        let next = || after.first().map(|next| next.to_string_lossy().into_owned());
        let value = inline.clone().or_else(next);
        let is_inline =
            |text: &str| text.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        // Of an option that comes again, the last one counts.
        let again = || {
            let mut texts = after.iter().map(|after| after.to_string_lossy());
            texts.any(|text| text == name || is_inline(&text))
        };
        if name == "--backend"
            && let Some(library) = value.as_deref().filter(|v| PROCESS_BACKENDS.contains(v))
            && !again()
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
            None => kept.push(argument.clone()),
            Some(Refused { harmless: Some(harmless), .. })
                if value.as_deref().is_some_and(|v| is(v, harmless)) || again() =>
            {
                if inline.is_none() {
                    rest = after.get(1..).unwrap_or_default();
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
        let known = ["pruner", "no-tui", "max-steps", "tokenizer"].map(String::from);
        let kept: Vec<_> =
            sift(arguments, &known)?.into_iter().map(|a| a.into_string().unwrap()).collect();
        Ok(kept.join(" "))
    }

    #[test]
    fn what_asks_for_nothing_is_dropped() {
        for (line, expected) in [
            ("platon train --adv-opt 0 --seed 7", "platon train --seed 7"),
            ("platon train --adv-opt=0.0 --seed 7", "platon train --seed 7"),
            ("platon train --vb-dropout --adv-opt 0", "platon train"),
            ("platon evaluate --cuda", "platon evaluate --cuda"),
            ("platon train --backend flex", "platon train --backend flex"),
        ] {
            assert_eq!(sifted(line).unwrap(), expected);
        }
    }

    #[test]
    fn names_may_be_cut_short_as_python_s_argparse_has_it() {
        for (line, expected) in [
            ("platon train --train-dataset mnli", "platon train --train-datasets mnli"),
            ("platon train --warmup-st=5 --delta 3", "platon train --warmup-steps=5 --deltaT 3"),
            (
                "platon train --warmup 0.1 --batch-size 4",
                "platon train --warmup 0.1 --batch-size 4",
            ),
            ("platon train --tok x --see 7", "platon train --tok x --seed 7"),
            // Not a beginning of `max-seq-len` alone where platon has more than the original.
            ("platon train --max-s 128", "platon train --max-seq-len 128"),
            ("platon train --max-steps 128", "platon train --max-steps 128"),
            ("platon train --adv-o 0 -- --see", "platon train -- --see"),
            ("platon evaluate --see 7", "platon evaluate --see 7"),
        ] {
            assert_eq!(sifted(line).unwrap(), expected);
        }
        let text = sifted("platon train --warm 5").unwrap_err().to_string();
        let expected = "--warm: expected the beginning of one option, found --warmup, \
                        --warmup-schedule, --warmup-steps";
        assert_eq!(text, expected);
        // It would be the beginning of --lr-gamma.
        let text = sifted("platon train --lr 1e-4").unwrap_err().to_string();
        assert!(text.starts_with("--lr: ") && text.contains("--learning-rate"), "{text}");
        let text = sifted("platon train --do-pad").unwrap_err().to_string();
        assert!(text.starts_with("--do-padding: expected an option of platon"), "{text}");
    }

    #[test]
    fn of_an_option_that_comes_twice_the_last_one_counts() {
        let kept = sifted("platon train --adv-opt 1 --adv-opt=0 --backend nccl --backend flex");
        assert_eq!(kept.unwrap(), "platon train --backend nccl --backend flex");
        assert!(sifted("platon train --adv-opt 0 --adv-opt 1").is_err());
        assert!(sifted("platon train --backend flex --backend nccl").is_err());
    }

    #[test]
    fn every_option_of_the_original_is_known_here() {
        let command = crate::cli::train_flags();
        for name in ORIGINAL {
            let refused = REFUSED.iter().any(|refused| refused.name == format!("--{name}"));
            let known = command.iter().any(|known| known == name);
            assert!(refused || known || ["vb-dropout", "help"].contains(name), "{name}");
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
