//! Half precision: products of 16-bit factors, and losses scaled so that no gradient gets lost.

use burn::tensor::{DType, Tensor};
use half::f16;
use platon::kernels::operands::{Dense, DenseGradients, Heads, Setup};
use platon::kernels::{LayerKernels, ModelKernels, Precision, Queries, Sequences, UpdateKernels};
use platon::train::loss_scale::LossScale;

use crate::backends::on_every_backend;
use crate::dir::Dir;
use crate::fixtures::{distance, skipped};
use crate::kernels::{on, random};
use crate::layers::{HEADS, WIDTH, heads, matrix};
use crate::options::learned;

on_every_backend!(
    factors_and_results_are_of_16_bits,
    attention_in_half_precision_is_near_that_in_single,
    scaled_losses_give_the_gradients_of_the_loss,
    a_scale_that_overflows_is_halved_until_it_does_not,
);

/// Whether the backend computes in half precision here; tests say so where it does not.
fn has_half<B: LayerKernels>(test: &str) -> bool {
    let has = B::supports_dtype(&B::Device::default(), DType::F16);
    if !has {
        skipped(test, &format!("no half precision on {}", B::name(&B::Device::default())));
    }
    has
}

fn numbers<B: LayerKernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// a b with factors rounded to 16 bits and sums of 64, `a` of `inner` columns.
fn product(a: &[f32], b: &[f32], inner: usize) -> Vec<f32> {
    let round = |x: &f32| f64::from(f16::from_f32(*x).to_f32());
    let columns = b.len() / inner;
    let row = |row: &[f32]| -> Vec<f32> {
        let sum = |column: usize| -> f64 {
            let b = b.iter().skip(column).step_by(columns);
            row.iter().zip(b).map(|(a, b)| round(a) * round(b)).sum()
        };
        (0..columns).map(|column| f16::from_f64(sum(column)).to_f32()).collect()
    };
    a.chunks(inner).flat_map(row).collect()
}

fn transposed(a: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| a.iter().skip(c).step_by(columns).copied()).collect()
}

fn factors_and_results_are_of_16_bits<B: LayerKernels>() {
    if !has_half::<B>("factors_and_results_are_of_16_bits") {
        return;
    }
    let [rows, inputs, outputs] = [33, 24, 16];
    let [x, weight, grad] =
        [rows * inputs, inputs * outputs, rows * outputs].map(|n| random(n, -2.0, 2.0));
    let bias = vec![0.0; outputs];
    let layer = |precision: Precision| Dense::<B> {
        weight: matrix(&weight, [inputs, outputs]),
        bias: on(&bias),
        products: precision.into(),
    };
    let input = matrix::<B>(&x, [rows, inputs]);
    let output = numbers(B::dense_forward(input.clone(), layer(Precision::Half)));
    let DenseGradients { x: dx, weight: dw, bias: db } = B::dense_backward(
        input.clone(),
        layer(Precision::Half).weight,
        matrix(&grad, [rows, outputs]),
        Precision::Half.into(),
    );
    // Sums of up to 33 products of at most 4; a result in (32, 64] has steps of 1/32.
    let near = |a: &[f32], b: &[f32]| assert!(distance(a, b) <= 0.04, "{}", distance(a, b));
    near(&output, &product(&x, &weight, inputs));
    near(&numbers(dx), &product(&grad, &transposed(&weight, outputs), outputs));
    near(&numbers(dw), &product(&transposed(&x, inputs), &grad, rows));
    let sums = |column: usize| grad.iter().skip(column).step_by(outputs).sum::<f32>();
    assert!(distance(&numbers(db), &(0..outputs).map(sums).collect::<Vec<_>>()) < 1e-5);
    // 16 bits they are: nothing else rounds results so.
    assert!(output.iter().all(|y| f16::from_f32(*y).to_f32() == *y));
    let single = numbers(B::dense_forward(input, layer(Precision::Single)));
    assert!(single.iter().any(|y| f16::from_f32(*y).to_f32() != *y));
}

fn attention_in_half_precision_is_near_that_in_single<B: LayerKernels>() {
    if !has_half::<B>("attention_in_half_precision_is_near_that_in_single") {
        return;
    }
    let sequences = if B::PACKS {
        Sequences::new(vec![5, 12], None)
    } else {
        Sequences::new(vec![12, 12], Some(12))
    };
    let rows = sequences.rows();
    let values = [0, 1, 2].map(|_| random(rows * WIDTH, -1.0, 1.0));
    let grad = random(rows * WIDTH, -1.0, 1.0);
    let run = |precision| {
        let setup = Setup { heads: HEADS, queries: Queries::All, dropout: None, precision };
        let inputs = heads::<B>(&values, rows);
        let (context, saved) = B::attention_forward(inputs.clone(), &sequences, setup, true);
        let grad = matrix(&grad, [rows, WIDTH]);
        let Heads { query, key, value } =
            B::attention_backward(inputs, saved.unwrap(), grad, &sequences, setup);
        [context, query, key, value].map(numbers)
    };
    for (half, single) in run(Precision::Half).iter().zip(&run(Precision::Single)) {
        let distance = distance(half, single);
        assert!(distance > 0.0 && distance < 5e-3, "{distance}");
    }
}

fn scaled_losses_give_the_gradients_of_the_loss<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    if !has_half::<B>("scaled_losses_give_the_gradients_of_the_loss") {
        return;
    }
    let (loss, expected) = learned::<B>(8, 1, None);
    let largest = expected.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    for parts in [1, 2] {
        let scale = LossScale::default();
        let (half, gradients) = learned::<B>(4, parts, Some(scale.clone()));
        assert!((half - loss).abs() < 2e-3, "{half} instead of {loss}");
        let distance = distance(&gradients, &expected);
        assert!(distance > 0.0 && distance < 5e-3 * largest, "{distance} of {largest}");
        assert_eq!(scale.factor(), LossScale::default().factor());
    }
}

fn a_scale_that_overflows_is_halved_until_it_does_not<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    if !has_half::<B>("a_scale_that_overflows_is_halved_until_it_does_not") {
        return;
    }
    let scale = LossScale::default();
    while scale.factor() < 16_777_216.0 {
        scale.held();
    }
    let (_, gradients) = learned::<B>(8, 1, Some(scale.clone()));
    assert!((1.0..16_777_216.0).contains(&scale.factor()), "{}", scale.factor());
    let (_, expected) = learned::<B>(8, 1, None);
    let largest = expected.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    assert!(distance(&gradients, &expected) < 5e-3 * largest);
}

#[cfg(feature = "flex")]
#[test]
fn a_run_in_half_precision_prunes_and_goes_on_from_a_checkpoint_bit_for_bit() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = "train tiny --no-tui --fp16 --keep-state";
    let ended = dir.platon_ok(&format!("{train} --output-dir whole"));
    assert!(ended.stderr.contains("--fp16 is for GPUs"), "{}", ended.stderr);
    let sparsity = dir.json("whole/report.json")["sparsity"].as_f64().unwrap();
    assert!((sparsity - 0.8).abs() < 1e-3, "{sparsity}");
    dir.platon_ok("train tiny --no-tui --output-dir single");
    let model = |run: &str| dir.bytes(&format!("{run}/model/model.safetensors"));
    assert!(model("whole") != model("single"));
    // The last update is done anew after going on from the checkpoint before it.
    dir.platon_ok(&format!("{train} --output-dir stopped"));
    let last = dir.path("stopped/checkpoint/update-12");
    let scale = &dir.json("stopped/checkpoint/update-12/progress.json")["loss_scale"];
    assert_eq!((&scale["factor"], &scale["updates"]), (&65_536.0.into(), &12.into()));
    std::fs::remove_dir_all(last).unwrap();
    std::fs::remove_file(dir.path("stopped/report.json")).unwrap();
    let ended = dir.platon_ok("resume stopped --no-tui");
    assert!(ended.stderr.contains("going on after update"), "{}", ended.stderr);
    assert!(model("stopped") == model("whole"));
    // What the report says holds for the saved model, in single precision.
    let evaluated = dir.platon_ok("evaluate whole --json").stdout;
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["ACC"], dir.json("whole/report.json")["dev"]["ACC"]);
}

#[cfg(feature = "ndarray")]
#[test]
fn a_backend_without_half_precision_refuses_it() {
    let dir = Dir::new().with_tiny_demo("ndarray");
    let line = dir.platon_refuses("train tiny --no-tui --fp16 --output-dir run");
    assert!(line.contains("fp16: expected a backend and device that compute in half"), "{line}");
    assert!(!dir.path("run").exists());
}
