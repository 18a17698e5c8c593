//! `platon bench`

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::inference::{Inference, default_backend};
use super::left::describe;
use super::printer::Printer;
use crate::backend::run_on;
use crate::bert::checkpoint::weight_files;
use crate::bert::compact::CompactTensor;
use crate::bert::weights::Tensors;
use crate::bert::{BertConfig, Checkpoint};
use crate::error::{Error, Result};
use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::infer::model::{Load, Model};
use crate::infer::packed::{PackedModel, remaining};
use crate::infer::vectors::Pooling;
use crate::run::origin::model_in;
use crate::sparse::{Engine, Instructions, Packing};

/// Texts of a batch, and tokens of each, that are timed.
const BATCHES: [usize; 3] = [1, 8, 32];
const TOKENS: [usize; 3] = [16, 64, 128];

#[derive(Args)]
pub struct BenchArgs {
    /// Run folder, Hugging Face folder, .pt file or sparse file.
    model: PathBuf,
    /// Rounds of each batch, dense and sparse in turn; more where a batch takes little time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..),
        conflicts_with = "layers")]
    rounds: u16,
    /// What the dense model runs on: flex, ndarray, cuda or wgpu.
    #[arg(long, conflicts_with = "layers")]
    backend: Option<String>,
    /// How each matrix is packed, and what of each layer is left, instead of times.
    #[arg(long)]
    layers: bool,
    /// JSON instead of tables.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &BenchArgs, printer: &Printer) -> Result<()> {
    let path = model_in(&args.model)?;
    let started = Instant::now();
    let checkpoint = Checkpoint::open(&path)?;
    let bert = checkpoint.config.clone();
    let read = Load::Encoder.read(checkpoint)?;
    let reading = started.elapsed().as_secs_f64();
    let share = remaining(&read.0);
    let Tensors { tensors, compact, .. } = &read.0;
    let expanded: usize = tensors.values().map(|tensor| tensor.values.len()).sum();
    let parameters = expanded + compact.values().map(CompactTensor::elements).sum::<usize>();
    let started = Instant::now();
    let packed = PackedModel::new(&bert, read.clone(), Instructions::widest())?;
    let packing = started.elapsed().as_secs_f64();
    if args.layers {
        return layers(packed.engine(), args.json, printer);
    }
    let backend = default_backend(args.backend.as_deref())?;
    let started = Instant::now();
    let rounds = usize::from(args.rounds);
    let work = |dense: &dyn Model| {
        let loading = started.elapsed().as_secs_f64();
        Ok((loading, times(dense, &packed, &bert, rounds)))
    };
    let (loading, times) = run_on(backend, Inference { bert: bert.clone(), read, work })?;
    let engine = packed.engine();
    let whole = 4 * parameters;
    let (hidden, inner) = (bert.hidden_size, bert.intermediate_size);
    let layer = (4 * hidden + 2 * inner) * hidden + 9 * hidden + inner;
    let about = json!({
        "model": path,
        "instructions": engine.instructions().name(),
        "threads": rayon::current_num_threads(),
        "remaining": share,
        "bytes_on_disk": bytes_of(&path)?,
        "dense": {"load_s": reading + loading, "bytes": whole, "layer_bytes": 4 * layer * bert.num_hidden_layers},
        "sparse": {
            "load_s": reading + packing,
            "bytes": engine.layer_bytes() + engine.other_bytes(),
            "layer_bytes": engine.layer_bytes(),
        },
    });
    if args.json {
        let mut about = about;
        if let Value::Object(about) = &mut about {
            about.insert("batches".into(), times.iter().map(Timed::to_json).collect());
        }
        return printer.data(&about.to_string());
    }
    print(&about, &times, printer)
}

/// The times of one kind of batch, in seconds, each sorted.
struct Timed {
    batch: usize,
    tokens: usize,
    dense: Vec<f64>,
    sparse: Vec<f64>,
}

/// Times batches of each kind, dense and sparse in turn, on random tokens.
fn times(dense: &dyn Model, sparse: &dyn Model, bert: &BertConfig, rounds: usize) -> Vec<Timed> {
    let kinds = BATCHES.into_iter().flat_map(|batch| TOKENS.map(|tokens| (batch, tokens)));
    let fits = kinds.filter(|(_, tokens)| *tokens <= bert.max_tokens());
    fits.map(|(batch, tokens)| {
        let samples: Vec<Sample> = (0..batch).map(|n| sample(n, tokens, bert)).collect();
        let time = |model: &dyn Model| {
            let samples = samples.clone();
            let started = Instant::now();
            std::hint::black_box(model.vectors(samples, batch, Pooling::First, &|_, _| ()));
            started.elapsed().as_secs_f64()
        };
        // The first of each brings what it needs into the caches; it tells how many are quick.
        let slower = time(dense).max(time(sparse));
        let rounds = rounds.max(((0.1 * rounds as f64 / slower) as usize).min(100 * rounds));
        let (mut of_dense, mut of_sparse): (Vec<f64>, Vec<f64>) =
            (0..rounds).map(|_| (time(dense), time(sparse))).unzip();
        of_dense.sort_by(f64::total_cmp);
        of_sparse.sort_by(f64::total_cmp);
        Timed { batch, tokens, dense: of_dense, sparse: of_sparse }
    })
    .collect()
}

/// A text of tokens that follow from its number.
fn sample(number: usize, tokens: usize, bert: &BertConfig) -> Sample {
    let id = |n: usize| ((number * 7919 + n * 104_729) % bert.vocab_size) as u32;
    Sample {
        uid: number.to_string(),
        label: Label::Class(0),
        token_id: (0..tokens).map(id).collect(),
        type_id: vec![0; tokens],
        attention_mask: vec![1; tokens],
        softlabel: Vec::new(),
    }
}

/// The value that a share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

impl Timed {
    fn to_json(&self) -> Value {
        let of = |times: &[f64]| {
            let median = quantile(times, 0.5);
            json!({
                "median_ms": 1e3 * median,
                "p95_ms": 1e3 * quantile(times, 0.95),
                "sentences_per_second": self.batch as f64 / median,
                "tokens_per_second": (self.batch * self.tokens) as f64 / median,
            })
        };
        json!({
            "batch": self.batch,
            "tokens": self.tokens,
            "rounds": self.dense.len(),
            "dense": of(&self.dense),
            "sparse": of(&self.sparse),
            "speedup": quantile(&self.dense, 0.5) / quantile(&self.sparse, 0.5),
        })
    }
}

fn print(about: &Value, times: &[Timed], printer: &Printer) -> Result<()> {
    let number = |path: &str| about.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let text = |path: &str| about.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let megabytes = |path: &str| format!("{:.1} MB", number(path) / 1e6);
    printer.data(&format!(
        "{}: {:.1} % of the encoder layers' weights remain; {} on disk; {} threads, {}",
        text("/model"),
        100.0 * number("/remaining"),
        megabytes("/bytes_on_disk"),
        number("/threads"),
        text("/instructions"),
    ))?;
    for (what, engine) in [("dense", "/dense"), ("sparse", "/sparse")] {
        printer.data(&format!(
            "{what:6}  loaded in {:.2} s; {} in memory, of it encoder layers {}",
            number(&format!("{engine}/load_s")),
            megabytes(&format!("{engine}/bytes")),
            megabytes(&format!("{engine}/layer_bytes")),
        ))?;
    }
    printer.data("")?;
    printer.data("batch tokens         dense: ms  (p95)  sentences/s        sparse: ms  (p95)  sentences/s  tokens/s  faster")?;
    for timed in times {
        let part = |times: &[f64]| {
            let median = quantile(times, 0.5);
            let p95 = format!("({:.2})", 1e3 * quantile(times, 0.95));
            format!("{:10.2} {p95:>9} {:10.0}", 1e3 * median, timed.batch as f64 / median)
        };
        let sparse = quantile(&timed.sparse, 0.5);
        printer.data(&format!(
            "{:5} {:6}  {}  {} {:9.0} {:6.2}x",
            timed.batch,
            timed.tokens,
            part(&timed.dense),
            part(&timed.sparse),
            (timed.batch * timed.tokens) as f64 / sparse,
            quantile(&timed.dense, 0.5) / sparse,
        ))?;
    }
    Ok(())
}

/// How each matrix is packed, and what is left of each layer.
fn layers(engine: &Engine, json: bool, printer: &Printer) -> Result<()> {
    if !json {
        printer.data("layer  matrix              outputs  inputs  filled  packing")?;
    }
    for choice in engine.choices() {
        let matrix = choice.matrix;
        let packing = match matrix.packing() {
            Packing::Dense => "dense".to_string(),
            Packing::Sparse { block } => format!("sparse, blocks of {block}"),
        };
        let share =
            100.0 * matrix.stored() as f64 / (matrix.outputs() * matrix.inputs()).max(1) as f64;
        printer.data(&if json {
            json!({"layer": choice.layer, "matrix": choice.name, "outputs": matrix.outputs(),
                "inputs": matrix.inputs(), "stored": matrix.stored(), "packing": packing})
            .to_string()
        } else {
            format!(
                "{:5}  {:18}  {:7}  {:6}  {share:4.1} %  {packing}",
                choice.layer,
                choice.name,
                matrix.outputs(),
                matrix.inputs(),
            )
        })?;
    }
    if json {
        return Ok(());
    }
    printer.data("")?;
    describe(engine.shrunk()).iter().try_for_each(|line| printer.data(line))
}

/// The bytes of the files that a model's weights are read from.
fn bytes_of(path: &Path) -> Result<u64> {
    let length = |file: &PathBuf| {
        let about = std::fs::metadata(file).map_err(|e| Error::io(file, "read", e))?;
        Ok(about.len())
    };
    weight_files(path)?.iter().map(length).sum()
}
