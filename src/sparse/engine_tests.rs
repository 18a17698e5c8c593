use proptest::prelude::*;

use super::*;
use crate::sparse::product::tests::numbers;
use crate::sparse::weights::Table;
use crate::sparse::{Packing, Rows};

/// The sizes of a model for tests.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    hidden: usize,
    heads: usize,
    neurons: usize,
    layers: usize,
    outputs: usize,
}

const WORDS: usize = 50;
const POSITIONS: usize = 200;

fn norm(features: usize, seed: u64) -> Norm {
    let gamma = numbers(features, seed, 1.0).iter().map(|v| 1.0 + v).collect();
    Norm { gamma, beta: numbers(features, seed + 1, 1.0), epsilon: 1e-12 }
}

fn linear(shape: [usize; 2], seed: u64, density: f64) -> Linear {
    // A variance of about one over the inputs, as trained models have it.
    let scale = (12.0 / (shape[1].max(1) as f64 * density.max(0.1))).sqrt() as f32;
    let weight: Vec<f32> =
        numbers(shape[0] * shape[1], seed, density).iter().map(|v| v * scale).collect();
    Linear { weight: Rows::dense(shape, &weight), bias: numbers(shape[0], seed + 1, density) }
}

fn layers(sizes: Sizes, density: f64) -> Vec<Layer> {
    let Sizes { hidden, neurons, .. } = sizes;
    let (heads, scale) = Layer::whole_heads(hidden, sizes.heads);
    let layer = |n: u64| Layer {
        heads: heads.clone(),
        scale,
        query: linear([hidden, hidden], 100 * n + 1, density),
        key: linear([hidden, hidden], 100 * n + 3, density),
        value: linear([hidden, hidden], 100 * n + 5, density),
        output: linear([hidden, hidden], 100 * n + 7, density),
        attention_norm: norm(hidden, 100 * n + 9),
        intermediate: linear([neurons, hidden], 100 * n + 11, density),
        activation: Activation::Gelu,
        feed_forward: linear([hidden, neurons], 100 * n + 13, density),
        norm: norm(hidden, 100 * n + 15),
    };
    (1..=sizes.layers as u64).map(layer).collect()
}

fn embeddings(hidden: usize) -> Embeddings {
    let table = |n: usize, seed| Table { values: numbers(n * hidden, seed, 1.0) };
    let (word, position, segment) = (table(WORDS, 21), table(POSITIONS, 22), table(2, 23));
    Embeddings { word, position, segment, norm: norm(hidden, 24), projection: None }
}

fn head(sizes: Sizes) -> Head {
    let Sizes { hidden, outputs, .. } = sizes;
    let dense = linear([hidden, hidden], 31, 1.0);
    Head { dense, activation: Activation::Tanh, output: linear([outputs, hidden], 33, 1.0) }
}

fn engine(sizes: Sizes, density: f64, instructions: Instructions) -> Engine {
    let mut builder = Builder::new(instructions, embeddings(sizes.hidden));
    for layer in layers(sizes, density) {
        builder.layer(layer);
    }
    builder.finish(Some(head(sizes)))
}

fn apply(linear: &Linear, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let row = |x: &Vec<f64>| {
        let mut y: Vec<f64> = linear.bias.iter().map(|b| f64::from(*b)).collect();
        for (row, column, value) in linear.weight.elements() {
            y[row] += f64::from(value) * x[column];
        }
        y
    };
    x.iter().map(row).collect()
}

fn normalize(norm: &Norm, x: &mut [Vec<f64>]) {
    for row in x {
        let n = row.len() as f64;
        let mean = row.iter().sum::<f64>() / n;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        for ((v, gamma), beta) in row.iter_mut().zip(&norm.gamma).zip(&norm.beta) {
            let normalized = (*v - mean) / (variance + f64::from(norm.epsilon)).sqrt();
            *v = normalized * f64::from(*gamma) + f64::from(*beta);
        }
    }
}

/// By Simpson's rule from 0 on.
fn normal_cdf(x: f64) -> f64 {
    const STEPS: usize = 200;
    let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let end = x.clamp(-8.0, 8.0);
    let step = end / STEPS as f64;
    let weight = |n: usize| if n == 0 || n == STEPS { 1.0 } else { 2.0 + 2.0 * (n % 2) as f64 };
    let sum: f64 = (0..=STEPS).map(|n| weight(n) * density(n as f64 * step)).sum();
    0.5 + sum * step / 3.0
}

fn add(x: &mut [Vec<f64>], y: &[Vec<f64>]) {
    for (x, y) in x.iter_mut().zip(y) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

/// The last layer's vectors of one text, by the definition, in f64, nothing left out.
fn expected_vectors(sizes: Sizes, density: f64, text: Text<'_>) -> Vec<Vec<f64>> {
    let Embeddings { word, position, segment, norm, .. } = embeddings(sizes.hidden);
    let row = |table: &Table, n: usize| table.values[n * sizes.hidden..][..sizes.hidden].to_vec();
    let tokens = text.words.iter().zip(text.positions).zip(text.segments);
    let mut hidden: Vec<Vec<f64>> = tokens
        .map(|((w, place), s)| {
            let all = [
                row(&word, *w as usize),
                row(&position, *place as usize),
                row(&segment, (*s).into()),
            ];
            (0..sizes.hidden).map(|n| all.iter().map(|r| f64::from(r[n])).sum()).collect()
        })
        .collect();
    normalize(&norm, &mut hidden);
    for layer in layers(sizes, density) {
        let [query, key, value] =
            [&layer.query, &layer.key, &layer.value].map(|linear| apply(linear, &hidden));
        let size = sizes.hidden / sizes.heads;
        let mut context = vec![vec![0.0; sizes.hidden]; hidden.len()];
        for first in (0..sizes.hidden).step_by(size) {
            for (q, context) in query.iter().zip(&mut context) {
                let dot = |k: &Vec<f64>| (first..first + size).map(|n| q[n] * k[n]).sum::<f64>();
                let weights: Vec<f64> =
                    key.iter().map(|k| (dot(k) / (size as f64).sqrt()).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (weight, v) in weights.iter().zip(&value) {
                    for n in first..first + size {
                        context[n] += weight / total * v[n];
                    }
                }
            }
        }
        add(&mut hidden, &apply(&layer.output, &context));
        normalize(&layer.attention_norm, &mut hidden);
        let mut inner = apply(&layer.intermediate, &hidden);
        for x in inner.iter_mut().flatten() {
            *x *= normal_cdf(*x);
        }
        add(&mut hidden, &apply(&layer.feed_forward, &inner));
        normalize(&layer.norm, &mut hidden);
    }
    hidden
}

fn expected_logits(sizes: Sizes, density: f64, text: Text<'_>) -> Vec<f64> {
    let first = expected_vectors(sizes, density, text).swap_remove(0);
    let Head { dense, output, .. } = head(sizes);
    let mut pooled = apply(&dense, &[first]);
    for v in pooled.iter_mut().flatten() {
        *v = v.tanh();
    }
    apply(&output, &pooled).swap_remove(0)
}

/// Words, positions and segments of a text.
type Tokens = (Vec<u32>, Vec<u32>, Vec<u8>);

/// Texts of these lengths; every fourth misses a position.
fn texts(lengths: &[usize]) -> Vec<Tokens> {
    let text = |(n, length): (usize, &usize)| {
        let words = (0..*length).map(|t| ((t * 7 + n * 13 + t * t) % WORDS) as u32).collect();
        let positions = (0..*length).map(|t| (t + usize::from(n % 4 == 3 && t > 5)) as u32);
        (words, positions.collect(), (0..*length).map(|t| u8::from(t > length / 2)).collect())
    };
    lengths.iter().enumerate().map(text).collect()
}

fn views(texts: &[Tokens]) -> Vec<Text<'_>> {
    let tokens = texts.iter();
    tokens.map(|(words, positions, segments)| Text { words, positions, segments }).collect()
}

fn assert_close(found: &[f32], expected: impl IntoIterator<Item = f64>, what: &str) {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs();
        assert!(error < 3e-5, "{found} instead of {expected}: {what}");
    }
}

const SMALL: Sizes = Sizes { hidden: 24, heads: 3, neurons: 70, layers: 2, outputs: 3 };

#[test]
fn logits_and_vectors_agree_with_the_definition_at_every_density_and_with_all_instructions() {
    let texts = texts(&[1, 9, 40, 3, 130, 17]);
    let texts = views(&texts);
    for instructions in Instructions::available() {
        for density in [0.0, 0.02, 0.1, 0.4, 1.0] {
            let engine = engine(SMALL, density, instructions);
            let what = format!("{density} {instructions:?}");
            let logits = engine.logits(&texts);
            let expected = texts.iter().flat_map(|text| expected_logits(SMALL, density, *text));
            assert_close(&logits, expected, &what);
            let all = |text: &Text<'_>| expected_vectors(SMALL, density, *text);
            let vectors = engine.vectors(&texts, Wanted::All);
            assert_close(&vectors, texts.iter().flat_map(all).flatten(), &what);
            let firsts = engine.vectors(&texts, Wanted::First);
            let first = |text: &Text<'_>| all(text).swap_remove(0);
            assert_close(&firsts, texts.iter().flat_map(first), &what);
        }
    }
}

#[test]
fn neither_threads_nor_neighbours_change_an_answer() {
    let texts = texts(&[5, 33, 12, 64, 2, 100, 31, 7, 9, 128]);
    let texts = views(&texts);
    let engine = engine(SMALL, 0.2, Instructions::widest());
    let whole = engine.logits(&texts);
    for threads in [1, 2, 5, 16] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let alone: Vec<f32> =
            pool.install(|| texts.iter().flat_map(|text| engine.logits(&[*text])).collect());
        assert_close(&alone, whole.iter().map(|v| f64::from(*v)), "one by one");
        let together = pool.install(|| engine.logits(&texts));
        assert_close(&together, whole.iter().map(|v| f64::from(*v)), "together");
    }
}

#[test]
fn what_is_reported_is_what_is_packed() {
    let engine = engine(SMALL, 0.1, Instructions::widest());
    assert_eq!((engine.choices().count(), engine.shrunk().len()), (12, 2));
    assert_eq!(engine.logits(&[]), [0.0f32; 0]);
    let choice = engine.choices().nth(10).unwrap();
    assert_eq!((choice.layer, choice.name), (1, "intermediate"));
    assert_eq!(choice.matrix.outputs(), engine.shrunk()[1].neurons.alive);
    // Of matrices with few inputs the smallest block holds all: no other is tried.
    let is_tried = |packing| matches!(packing, Packing::Dense | Packing::Sparse { block: 128 });
    assert!(engine.choices().all(|choice| is_tried(choice.matrix.packing())));
    let dense = 2 * 4 * (4 * 24 * 24 + 2 * 24 * 70);
    assert!(engine.layer_bytes() < dense / 2, "{} of {dense}", engine.layer_bytes());
    assert!(engine.other_bytes() >= 4 * 24 * (WORDS + POSITIONS + 2 + 24 + 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn shrinking_leaves_the_answers_as_they_are(
        heads in 1usize..5,
        size in 1usize..9,
        neurons in 1usize..80,
        density in 0.0f64..0.3,
        lengths in prop::collection::vec(1usize..70, 1..5),
    ) {
        let sizes = Sizes { hidden: heads * size * 2, heads, neurons, layers: 2, outputs: 2 };
        let texts = texts(&lengths);
        let texts = views(&texts);
        let engine = engine(sizes, density, Instructions::widest());
        let expected = texts.iter().flat_map(|text| expected_logits(sizes, density, *text));
        assert_close(&engine.logits(&texts), expected, "shrunk");
    }
}
