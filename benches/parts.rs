//! The parts of a run, each timed alone: `cargo bench` (or `just bench`).

use std::path::Path;

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor};
use burn_flex::Flex;
use divan::Bencher;
use divan::counter::ItemsCount;
use platon::bert::{BertConfig, ClassifierConfig};
use platon::glue::demo;
use platon::glue::encode::Encoder;
use platon::glue::tsv::{Label, Row};
use platon::pruning::Smoothing;
use platon::pruning::importance::ScoreState;
use platon::pruning::threshold;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// The global threshold over the prunable weights of MiniLM (10.6 million) and BERT-base (85
/// million).
#[divan::bench(args = [10_600_000, 85_000_000], sample_count = 5)]
fn threshold_of_scores(bencher: Bencher, n: usize) {
    let mut random = StdRng::seed_from_u64(7);
    let scores: Vec<f32> = (0..n).map(|_| random.random::<f32>().powi(4)).collect();
    bencher
        .counter(ItemsCount::new(n))
        .with_inputs(|| scores.clone())
        .bench_local_values(|mut scores| threshold::cut(&mut scores, n / 5 * 4));
}

/// One update of the scores: inside a window, and at its end.
#[divan::bench(args = [1, 0], sample_count = 20)]
fn score_update_of_10_million(bencher: Bencher, position: usize) {
    const N: usize = 10_000_000;
    let device = Default::default();
    let mut state = Some(ScoreState::<Flex>::new(N, &device));
    let weight = Tensor::random([N], Distribution::Default, &device);
    let grad = Tensor::random([N], Distribution::Default, &device);
    let smoothing = Smoothing { beta1: 0.85, beta2: 0.95 };
    bencher.counter(ItemsCount::new(N)).bench_local(|| {
        let old = state.take();
        state = old.map(|s| s.update(weight.clone(), grad.clone(), position, smoothing));
    });
}

/// Forward and backward pass of 6 layers of 384 on 32 x 64 tokens, without an optimizer.
#[divan::bench(sample_count = 3)]
fn forward_and_backward(bencher: Bencher) {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let bert = BertConfig {
        vocab_size: 30_522,
        hidden_size: 384,
        num_hidden_layers: 6,
        num_attention_heads: 12,
        intermediate_size: 1536,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_act: "gelu".into(),
        initializer_range: 0.02,
        pad_token_id: 0,
    };
    let config = ClassifierConfig { bert, outputs: 2, bert_dropout: 0.1, head_dropout: 0.1 };
    B::seed(&device, 7);
    let net = config.init::<B>(&device);
    let shape = [32, 64];
    let ids = Tensor::<B, 2, Int>::random(shape, Distribution::Uniform(0.0, 30_000.0), &device);
    let types = Tensor::<B, 2, Int>::zeros(shape, &device);
    let mask = Tensor::<B, 2>::ones(shape, &device);
    bencher.counter(ItemsCount::new(32 * 64usize)).bench_local(|| {
        net.forward(ids.clone(), types.clone(), mask.clone(), Some(7)).sum().backward()
    });
}

/// WordPiece over the demo's training pairs, on one core.
#[divan::bench(sample_count = 10)]
fn encode_demo(bencher: Bencher) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("glue-data/demo/model");
    let Ok(encoder) = Encoder::from_dir(&model) else {
        unreachable!("the demo's vocabulary is in the repository")
    };
    let rows: Vec<Row> = demo::generate(demo::SEED)
        .train
        .into_iter()
        .map(|pair| Row {
            uid: String::new(),
            label: Label::Class(0),
            text_a: pair.premise,
            text_b: Some(pair.hypothesis),
        })
        .collect();
    bencher
        .counter(ItemsCount::new(rows.len()))
        .bench_local(|| encoder.encode_batch(&rows, 512).map(|samples| samples.len()));
}
