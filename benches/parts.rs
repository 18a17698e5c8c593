//! The parts of a run on the Flex backend, each timed alone: `cargo bench` (or `just bench`).

use std::path::Path;

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor, TensorData};
use burn_flex::Flex;
use divan::Bencher;
use divan::counter::ItemsCount;
use platon::activation::Activation;
use platon::bert::family::BERT;
use platon::bert::{BertConfig, ClassifierConfig, HeadConfig, Pass, Training};
use platon::glue::batch::{Batch, Filling};
use platon::glue::demo;
use platon::glue::encode::Encoder;
use platon::glue::sample::Sample;
use platon::glue::tsv::{Label, Row};
use platon::kernels::operands::{Dense, Heads, Norm, Setup, Tables, TokenIds};
use platon::kernels::{
    AdamaxStep, Averages, Fusion, LayerKernels, Observation, Precision, Products, Queries, Scores,
    SeededDropout, Sequences, UpdateKernels, Zeros,
};
use platon::sparse::vector::VECTORS;
use platon::sparse::{Instructions, Packed, Packing, Rows};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Default::default())
}

/// The global threshold over the prunable weights of MiniLM (10.6 million) and BERT-base (85
/// million), importance times uncertainty. Compare with `benches/kthvalue.py`.
#[divan::bench(args = [10_600_000, 85_000_000], sample_count = 5)]
fn threshold_of_scores(bencher: Bencher, n: usize) {
    let scores = [Scores::Product(random([n]).powi_scalar(4), random([n]).powi_scalar(4))];
    bencher.counter(ItemsCount::new(n)).bench_local(|| Flex::kth_smallest(&scores, n / 5 * 4));
}

const PARAMETER: usize = 10_000_000;

fn zeros() -> Tensor<Flex, 1> {
    Tensor::zeros([PARAMETER], &Default::default())
}

/// Clipping and Adamax over ten million weights, with what else the pass may take along.
#[divan::bench(args = ["adamax", "with scores", "at a window's end", "with masks"], sample_count = 20)]
fn update_of_10_million(bencher: Bencher, with: &str) {
    let step = AdamaxStep {
        learning_rate: 1e-4,
        beta_1: 0.9,
        beta_2: 0.999,
        epsilon: 1e-6,
        weight_decay: 0.01,
    };
    let position = if with == "at a window's end" { 0 } else { 3 };
    let observation = Observation { position, beta1: 0.85, beta2: 0.95 };
    let (weight, grad) = (random([PARAMETER]), random([PARAMETER]));
    let mask = (with == "with masks").then(|| weight.clone().lower_elem(0.0));
    let averages = (with != "adamax").then(|| Averages {
        window: zeros(),
        importance: zeros(),
        uncertainty: zeros(),
    });
    let mut state = Some((zeros(), zeros(), averages));
    bencher.counter(ItemsCount::new(PARAMETER)).bench_local(|| {
        let Some((moment, norm, averages)) = state.take() else { return };
        let averages = averages.map(|averages| (averages, observation));
        let fusion = Fusion { grad_scale: 0.5, averages, mask: mask.clone() };
        let updated = Flex::adamax(step, weight.clone(), grad.clone(), moment, norm, fusion);
        state = Some((updated.moment, updated.norm, updated.averages));
    });
}

#[divan::bench(sample_count = 20)]
fn gradient_norm_of_10_million(bencher: Bencher) {
    let grad = random([PARAMETER]);
    bencher
        .counter(ItemsCount::new(PARAMETER))
        .bench_local(|| Flex::sum_of_squares(vec![grad.clone()], &grad.device()).into_data());
}

/// A batch of 32 like MRPC's: tokens, widths and heads of MiniLM.
const ROWS: usize = 1700;
const WIDTH: usize = 384;
const INNER: usize = 1536;
const HEADS: usize = 12;
const DROPOUT: Option<SeededDropout> = Some(SeededDropout { rate: 0.1, seed: 7 });

fn dense(inputs: usize, outputs: usize) -> Dense<Flex> {
    let (weight, bias) = (random([inputs, outputs]), random([outputs]));
    Dense { weight, bias, products: Products::default() }
}

fn norm() -> Norm<Flex> {
    Norm { gamma: random([WIDTH]), beta: random([WIDTH]), epsilon: 1e-12 }
}

/// Forward and backward; items are floating-point operations, so that the rate is the machine's for
/// matrix products of these sizes.
#[divan::bench(args = [(WIDTH, WIDTH), (WIDTH, INNER), (INNER, WIDTH)], sample_count = 20)]
fn dense_layer(bencher: Bencher, (inputs, outputs): (usize, usize)) {
    let (x, layer, grad) =
        (random([ROWS, inputs]), dense(inputs, outputs), random([ROWS, outputs]));
    bencher.counter(ItemsCount::new(6 * ROWS * inputs * outputs)).bench_local(|| {
        let output = Flex::dense_forward(x.clone(), layer.clone());
        let weight = layer.weight.clone();
        (output, Flex::dense_backward(x.clone(), weight, grad.clone(), Products::default()))
    });
}

/// The same where a tenth of the weights remains and the others are left out: operations are counted
/// as if they were not.
#[divan::bench(args = [(WIDTH, WIDTH), (WIDTH, INNER), (INNER, WIDTH)], sample_count = 20)]
fn pruned_layer(bencher: Bencher, (inputs, outputs): (usize, usize)) {
    let (x, grad) = (random([ROWS, inputs]), random([ROWS, outputs]));
    let products = Products { zeros: Zeros::Skip, ..Products::default() };
    let kept = random([inputs, outputs]).greater_elem(0.8).float();
    let mut layer = Dense { products, ..dense(inputs, outputs) };
    layer.weight = layer.weight * kept;
    bencher.counter(ItemsCount::new(6 * ROWS * inputs * outputs)).bench_local(|| {
        let output = Flex::dense_forward(x.clone(), layer.clone());
        let weight = layer.weight.clone();
        (output, Flex::dense_backward(x.clone(), weight, grad.clone(), products))
    });
}

/// One product of the sparse engine with a full panel, on one thread; items are the operations of the
/// weights that are there. Where all are, the matrix is packed densely: the rate is then about what
/// the processor's multiply-adds allow.
#[divan::bench(
    args = [(48, 192, 100), (384, 384, 100), (384, 384, 20), (384, 384, 10), (384, 384, 5),
        (1536, 384, 10), (384, 1536, 10), (768, 768, 10), (3072, 768, 10), (768, 3072, 10)],
    sample_count = 200
)]
fn panel_product(bencher: Bencher, (outputs, inputs, percent): (usize, usize, usize)) {
    let instructions = Instructions::widest();
    let width = VECTORS * instructions.lanes();
    let keeps = |n: &usize| (n.wrapping_mul(2_654_435_761) >> 16) % 100 < percent;
    let weight =
        Rows::new([outputs, inputs], (0..outputs * inputs).filter(keeps).map(|n| (n, 0.5)));
    let packing = if percent == 100 { Packing::Dense } else { Packing::Sparse { block: 256 } };
    let packed = Packed::new(&weight, vec![0.0; outputs], packing);
    let x = vec![0.5; inputs * width];
    let mut y = vec![0.0; outputs * width];
    bencher.counter(ItemsCount::new(2 * weight.stored() * width)).bench_local(|| {
        packed.multiply(instructions, 0..outputs, &x, width, &mut y, false);
    });
}

/// Forward and backward.
#[divan::bench(sample_count = 20)]
fn dense_layer_with_gelu(bencher: Bencher) {
    let (x, layer, grad) = (random([ROWS, WIDTH]), dense(WIDTH, INNER), random([ROWS, INNER]));
    bencher.bench_local(|| {
        let (output, slope) =
            Flex::dense_activated_forward(x.clone(), layer.clone(), Activation::Gelu, true);
        let weight = layer.weight.clone();
        slope.map(|slope| {
            let grad = grad.clone();
            (
                output,
                Flex::dense_activated_backward(x.clone(), weight, slope, grad, Products::default()),
            )
        })
    });
}

/// Forward and backward.
#[divan::bench(sample_count = 20)]
fn dropout_add_norm(bencher: Bencher) {
    let [x, residual, grad] = [0; 3].map(|_| random([ROWS, WIDTH]));
    let norm = norm();
    bencher.bench_local(|| {
        let (output, saved) =
            Flex::add_norm_forward(x.clone(), residual.clone(), norm.clone(), DROPOUT, true);
        let gamma = norm.gamma.clone();
        saved.map(|saved| (output, Flex::add_norm_backward(saved, gamma, grad.clone(), DROPOUT)))
    });
}

/// Forward and backward, 1700 tokens in sequences of this length.
#[divan::bench(args = [13, 50, 170], sample_count = 20)]
fn attention(bencher: Bencher, length: usize) {
    let sequences = Sequences::new(vec![length; ROWS / length], None);
    let rows = sequences.rows();
    let [query, key, value, grad] = [0; 4].map(|_| random([rows, WIDTH]));
    let inputs = Heads { query, key, value };
    let precision = Precision::Single;
    let setup = Setup { heads: HEADS, queries: Queries::All, dropout: DROPOUT, precision };
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        let (context, saved) = Flex::attention_forward(inputs.clone(), &sequences, setup, true);
        saved.map(|saved| {
            let (inputs, grad) = (inputs.clone(), grad.clone());
            (context, Flex::attention_backward(inputs, saved, grad, &sequences, setup))
        })
    });
}

fn ids<B: Backend>(rows: usize) -> TokenIds<B> {
    let ids = |entries: usize| {
        let ids: Vec<i64> = (0..rows).map(|n| (n * 7919 % entries) as i64).collect();
        Tensor::<B, 1, Int>::from_data(TensorData::new(ids, [rows]), &Default::default())
    };
    Tables { word: ids(30_522), position: ids(50), segment: ids(2) }
}

/// Forward and backward.
#[divan::bench(sample_count = 20)]
fn embeddings(bencher: Bencher) {
    let entries = Tables { word: 30_522, position: 512, segment: 2 };
    let tables = Tables {
        word: random([entries.word, WIDTH]),
        position: random([entries.position, WIDTH]),
        segment: random([entries.segment, WIDTH]),
    };
    let (norm, grad) = (norm(), random([ROWS, WIDTH]));
    bencher.bench_local(|| {
        let (output, saved) =
            Flex::embed_forward(tables.clone(), ids(ROWS), norm.clone(), DROPOUT, true);
        let (gamma, grad) = (norm.gamma.clone(), grad.clone());
        let entries = entries.clone();
        saved.map(|s| (output, Flex::embed_backward(entries, ids(ROWS), s, gamma, grad, DROPOUT)))
    });
}

/// Forward and backward pass of 6 layers of 384 over 34 sequences of 50 tokens.
#[divan::bench(sample_count = 5)]
fn model(bencher: Bencher) {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let bert = BertConfig {
        family: &BERT,
        vocab_size: 30_522,
        hidden_size: WIDTH,
        num_hidden_layers: 6,
        num_attention_heads: HEADS,
        intermediate_size: INNER,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_act: Activation::Gelu,
        initializer_range: 0.02,
        pad_token_id: 0,
        embedding_size: None,
    };
    let heads = vec![HeadConfig { outputs: 2, dropout: 0.1 }];
    let config = ClassifierConfig { bert, bert_dropout: 0.1, heads };
    let training = Training { noise: 7, precision: Precision::Single };
    B::seed(&device, 7);
    let net = config.init::<B>(&device);
    let sequences = Sequences::new(vec![50; ROWS / 50], None);
    bencher.counter(ItemsCount::new(ROWS)).bench_local(|| {
        net.forward(ids(ROWS), &sequences, 0, Pass::training(training)).sum().backward()
    });
}

/// A batch of 32 samples of 53 tokens, as the loader makes it.
#[divan::bench(sample_count = 100)]
fn batch_assembly(bencher: Bencher) {
    let sample = Sample {
        uid: String::new(),
        label: Label::Class(0),
        token_id: vec![7; 53],
        type_id: vec![0; 53],
        attention_mask: vec![1; 53],
        softlabel: Vec::new(),
    };
    let samples = vec![sample; 32];
    bencher
        .bench_local(|| Batch::<Flex>::new(samples.iter(), Filling::Packed, &Default::default()));
}

/// WordPiece over the demo's training pairs.
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
    bencher.counter(ItemsCount::new(rows.len())).bench_local(|| {
        let mut words = encoder.words();
        encoder.encode_batch(&rows, 512, &mut words).map(|samples| samples.len())
    });
}
