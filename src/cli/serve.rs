//! `platon serve`

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use super::inference::{EngineName, default_backend, model_on};
use super::printer::Printer;
use super::saved::{encoder_of, task_for};
use super::signals::ask_on_signals;
use crate::bert::Checkpoint;
use crate::error::{Error, Result};
use crate::infer::model::Load;
use crate::run::origin::model_in;
use crate::serve::{self, Limits, Served, Stop};

const DEFAULT: Limits = Limits::DEFAULT;

/// More than this are for no machine.
const MOST: u64 = 1 << 30;

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MOST)
}

#[derive(Args)]
pub struct ServeArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    #[arg(required_unless_present = "model")]
    run: Option<PathBuf>,
    /// A further model, asked at /models/NAME/predict; may be given several times.
    #[arg(long, value_name = "NAME=RUN", value_parser = named)]
    model: Vec<(String, PathBuf)>,
    /// Folder with tokenizer files, for every model; without it that of each.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Address to listen on; 0.0.0.0 for all of this machine's.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port to listen on; 0 for one that is free.
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// flex, ndarray, cuda or wgpu.
    #[arg(long)]
    backend: Option<String>,
    /// What computes the answers.
    #[arg(long, value_enum, default_value_t)]
    engine: EngineName,
    /// How long a batch waits, right after one that was shared, for those who asked before, in
    /// milliseconds. On a CPU nothing is gained by it.
    #[arg(long, default_value_t = DEFAULT.max_wait.as_millis() as u64,
        value_parser = clap::value_parser!(u64).range(..=10_000))]
    max_wait_ms: u64,
    /// The most tokens that are computed together, with padding; 1 for each text by itself.
    #[arg(long, default_value_t = DEFAULT.max_batch_tokens, value_parser = at_least_one())]
    max_batch_tokens: usize,
    /// The most texts that wait for a model; beyond, requests are answered with 429.
    #[arg(long, default_value_t = DEFAULT.max_queue, value_parser = at_least_one())]
    max_queue: usize,
    /// The longest body of a request; beyond, it is answered with 413.
    #[arg(long, default_value_t = DEFAULT.max_body_bytes, value_parser = at_least_one())]
    max_body_bytes: usize,
    /// The most texts of a request; beyond, it is answered with 422. 256, or as many as may wait.
    #[arg(long, value_parser = at_least_one())]
    max_inputs: Option<usize>,
    /// Seconds that a request may take to arrive, and in all to be answered.
    #[arg(long, default_value_t = DEFAULT.timeout.as_secs(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout: u64,
    /// The most connections that are open; further ones wait.
    #[arg(long, default_value_t = DEFAULT.max_connections, value_parser = at_least_one())]
    max_connections: usize,
}

pub fn run(args: &ServeArgs, printer: &Printer) -> Result<()> {
    let limits = args.limits()?;
    let models = args.models()?;
    let backend = default_backend(args.backend.as_deref())?;
    let stop = Stop::new();
    let asked = stop.clone();
    // Before anything takes long.
    ask_on_signals(move |_| asked.ask())?;
    // A port that is taken need not wait for a model.
    let listener = args.listener()?;
    let mut served = Vec::new();
    for (name, path) in models {
        let checkpoint = Checkpoint::open(&model_in(&path)?)?;
        checkpoint.check_weights()?;
        let encoder = encoder_of(args.tokenizer.as_deref(), &checkpoint)?;
        let (bert, task) = (checkpoint.config.clone(), task_for(&path, &checkpoint));
        printer.log(&format!("model {name}: {}", path.display()));
        let model = model_on((args.engine, backend), checkpoint, Load::Classifier, printer)?;
        served.push(Served { name, model, bert, encoder, task });
        if stop.is_asked() {
            printer.log("stopped before it could be asked");
            return Ok(());
        }
    }
    let ready = |address| printer.data(&format!("listening on http://{address}"));
    serve::run(listener, served, limits, stop, ready)?;
    printer.log("stopped: every request is answered");
    Ok(())
}

impl ServeArgs {
    fn limits(&self) -> Result<Limits> {
        let max_inputs = self.max_inputs.unwrap_or(DEFAULT.max_inputs.min(self.max_queue));
        if max_inputs > self.max_queue {
            let expected = format!("at most {}, as max-queue says", self.max_queue);
            return Err(Error::value("max-inputs", expected, max_inputs)
                .hint("a request waits with all of its texts or not at all"));
        }
        let (max_wait, timeout) =
            (Duration::from_millis(self.max_wait_ms), Duration::from_secs(self.timeout));
        if max_wait >= timeout {
            let expected = format!("less than {}, as timeout says", timeout.as_millis());
            return Err(Error::value("max-wait-ms", expected, self.max_wait_ms)
                .hint("a request that waits longer gets no answer"));
        }
        Ok(Limits {
            max_wait,
            max_batch_tokens: self.max_batch_tokens,
            max_queue: self.max_queue,
            max_body_bytes: self.max_body_bytes,
            max_inputs,
            timeout,
            max_connections: self.max_connections,
        })
    }

    /// All models with their names, which differ.
    fn models(&self) -> Result<Vec<(String, PathBuf)>> {
        let run = self.run.iter().map(|run| (name_of(run), run.clone()));
        let mut models: Vec<(String, PathBuf)> = Vec::new();
        for (name, path) in run.chain(self.model.iter().cloned()) {
            if models.iter().any(|(other, _)| *other == name) {
                return Err(Error::value("model", "names that differ", format!("{name} twice"))
                    .hint("name each with --model NAME=RUN"));
            }
            models.push((name, path));
        }
        Ok(models)
    }

    fn listener(&self) -> Result<TcpListener> {
        TcpListener::bind((self.host.as_str(), self.port)).map_err(|e| {
            let found = format!("{}:{}: {e}", self.host, self.port);
            let error = Error::value("host and port", "an address to listen on", found);
            match e.kind() {
                std::io::ErrorKind::AddrInUse => {
                    error.hint("another program has it; --port 0 takes one that is free")
                }
                _ => error,
            }
        })
    }
}

fn is_in_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// A name and a path.
fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        // A client would make another path of these.
        Some((".." | ".", _)) => Err("expected a NAME that is no step in a path".into()),
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            match name.chars().find(|c| !is_in_a_name(*c)) {
                None => Ok((name.into(), path.into())),
                Some(_) => Err("expected a NAME of letters, digits, '.', '_' and '-'".into()),
            }
        }
        _ => Err("expected NAME=RUN".into()),
    }
}

/// What a model without a name is called: as its folder or file, or its run.
fn name_of(path: &Path) -> String {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let own = match whole.ends_with("model") {
        true => whole.parent().unwrap_or(&whole),
        false => &whole,
    };
    let name = own.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().map(|c| if is_in_a_name(c) { c } else { '-' }).collect();
    if name.is_empty() { "model".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_its_run_or_file() {
        for (path, name) in [
            ("runs/rte-platon-0.2", "rte-platon-0.2"),
            ("runs/rte-platon-0.2/model", "rte-platon-0.2"),
            ("a b/my model.safetensors", "my-model.safetensors"),
            ("/", "model"),
        ] {
            assert_eq!(name_of(Path::new(path)), name);
        }
    }

    #[test]
    fn a_name_is_one_that_stands_in_a_path() {
        assert_eq!(named("a-1=b=c"), Ok(("a-1".into(), "b=c".into())));
        for wrong in ["a", "=b", "a=", "a/b=c", "a b=c", "..=b", ".=b"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
