//! Products of 16-bit factors, and losses scaled so that no gradient gets lost.

use burn::tensor::{DType, Tensor};
use half::f16;
use platon::kernels::operands::{Dense, DenseGradients, Heads, Setup};
use platon::kernels::{LayerKernels, ModelKernels, Precision, Queries, Sequences, UpdateKernels};
use platon::train::loss_scale::LossScale;

use crate::backends::on_every_backend;
use crate::dir::Dir;
use crate::fixtures::{distance, skipped};
use crate::kernels::random;
use crate::layers::{HEADS, WIDTH, heads, matrix};
use crate::options::{SINGLE, learned};

on_every_backend!(
    factors_and_results_are_of_16_bits,
    attention_of_16_bit_factors_is_near_that_in_single_precision,
    scaled_losses_give_the_gradients_of_the_loss,
    bf16_gives_the_gradients_of_the_loss_without_a_scale,
    a_scale_that_overflows_is_halved_until_it_does_not,
);

/// Whether the backend computes in `precision` here; tests say so where it does not.
fn has<B: LayerKernels>(precision: Precision, test: &str) -> bool {
    let kind = DType::from(precision.factors().unwrap());
    let has = B::supports_dtype(&B::Device::default(), kind);
    if !has {
        let name = precision.name();
        skipped(test, &format!("no {name} on {}", B::name(&B::Device::default())));
    }
    has
}

/// Both kinds of 16 bits, with how much coarser each is than the finer of them.
const KINDS: [(Precision, f32); 2] = [(Precision::Half, 1.0), (Precision::Bf16, 8.0)];

/// The nearest number of 16 bits; of two as near, the one that ends in an even bit.
fn rounded(x: f32, precision: Precision) -> f32 {
    match precision {
        Precision::Single => x,
        Precision::Half => f16::from_f32(x).to_f32(),
        // The upper half of the bits of f32.
        Precision::Bf16 => {
            let bits = x.to_bits();
            f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
        }
    }
}

fn numbers<B: LayerKernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// a b with factors rounded to 16 bits and sums of 64, `a` of `inner` columns.
fn product(a: &[f32], b: &[f32], inner: usize, precision: Precision) -> Vec<f32> {
    let round = |x: &f32| f64::from(rounded(*x, precision));
    let columns = b.len() / inner;
    let row = |row: &[f32]| -> Vec<f32> {
        let sum = |column: usize| -> f64 {
            let b = b.iter().skip(column).step_by(columns);
            row.iter().zip(b).map(|(a, b)| round(a) * round(b)).sum()
        };
        (0..columns).map(|column| rounded(sum(column) as f32, precision)).collect()
    };
    a.chunks(inner).flat_map(row).collect()
}

fn transposed(a: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|c| a.iter().skip(c).step_by(columns).copied()).collect()
}

fn factors_and_results_are_of_16_bits<B: LayerKernels>() {
    for (precision, coarser) in KINDS {
        if !has::<B>(precision, "factors_and_results_are_of_16_bits") {
            continue;
        }
        let [rows, inputs, outputs] = [33, 24, 16];
        let [x, weight, grad] =
            [rows * inputs, inputs * outputs, rows * outputs].map(|n| random(n, -2.0, 2.0));
        let layer = |precision: Precision| Dense::<B> {
            weight: matrix(&weight, [inputs, outputs]),
            bias: Tensor::zeros([outputs], &B::Device::default()),
            products: precision.into(),
        };
        let input = matrix::<B>(&x, [rows, inputs]);
        let output = numbers(B::dense_forward(input.clone(), layer(precision)));
        let DenseGradients { x: dx, weight: dw, bias: db } = B::dense_backward(
            input.clone(),
            layer(precision).weight,
            matrix(&grad, [rows, outputs]),
            precision.into(),
        );
        // Sums of up to 33 products of at most 4; an f16 in (32, 64] has steps of 1/32.
        let near = |a: &[f32], b: &[f32]| {
            let distance = distance(a, b);
            assert!(distance <= 0.04 * coarser, "{precision:?}: {distance}");
        };
        let product = |a: &[f32], b: &[f32], inner| product(a, b, inner, precision);
        near(&output, &product(&x, &weight, inputs));
        near(&numbers(dx), &product(&grad, &transposed(&weight, outputs), outputs));
        near(&numbers(dw), &product(&transposed(&x, inputs), &grad, rows));
        let sums = |column: usize| grad.iter().skip(column).step_by(outputs).sum::<f32>();
        assert!(distance(&numbers(db), &(0..outputs).map(sums).collect::<Vec<_>>()) < 1e-5);
        // 16 bits they are: nothing else rounds results so.
        assert!(output.iter().all(|y| rounded(*y, precision) == *y), "{precision:?}");
        let single = numbers(B::dense_forward(input, layer(Precision::Single)));
        assert!(single.iter().any(|y| rounded(*y, precision) != *y), "{precision:?}");
    }
}

fn attention_of_16_bit_factors_is_near_that_in_single_precision<B: LayerKernels>() {
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
    for (precision, coarser) in KINDS {
        if !has::<B>(precision, "attention_of_16_bit_factors_is_near_that_in_single_precision") {
            continue;
        }
        for (half, single) in run(precision).iter().zip(&run(Precision::Single)) {
            let distance = distance(half, single);
            assert!(distance > 0.0 && distance < 5e-3 * coarser, "{precision:?}: {distance}");
        }
    }
}

fn scaled_losses_give_the_gradients_of_the_loss<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    if !has::<B>(Precision::Half, "scaled_losses_give_the_gradients_of_the_loss") {
        return;
    }
    let (loss, expected) = learned::<B>(8, 1, SINGLE);
    let largest = expected.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    for parts in [1, 2] {
        let scale = LossScale::default();
        let (half, gradients) = learned::<B>(4, parts, (Precision::Half, Some(scale.clone())));
        assert!((half - loss).abs() < 2e-3, "{half} instead of {loss}");
        let distance = distance(&gradients, &expected);
        assert!(distance > 0.0 && distance < 5e-3 * largest, "{distance} of {largest}");
        assert_eq!(scale.factor(), LossScale::default().factor());
    }
}

fn bf16_gives_the_gradients_of_the_loss_without_a_scale<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    if !has::<B>(Precision::Bf16, "bf16_gives_the_gradients_of_the_loss_without_a_scale") {
        return;
    }
    let (loss, expected) = learned::<B>(8, 1, SINGLE);
    let (half, gradients) = learned::<B>(8, 1, (Precision::Bf16, None));
    assert!((half - loss).abs() < 1.6e-2, "{half} instead of {loss}");
    let norm = |values: &[f32]| values.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let off = |gradients: &[f32]| {
        let off: Vec<f32> = gradients.iter().zip(&expected).map(|(a, b)| a - b).collect();
        norm(&off) / norm(&expected)
    };
    let share = off(&gradients);
    assert!(share > 0.0 && share < 0.1, "{share}");
    if has::<B>(Precision::Half, "bf16 against f16") {
        // Three bits less: rounding is eight times as coarse. What it leads to is 8 to 15 times as
        // much in PyTorch, with autocast, for models like this one of twelve seeds.
        let scaled = (Precision::Half, Some(LossScale::default()));
        let coarser = share / off(&learned::<B>(8, 1, scaled).1);
        assert!((4.0..30.0).contains(&coarser), "{coarser}");
    }
    // No gradient is lost that is there in single precision: the range is the same.
    let lost = gradients.iter().zip(&expected).filter(|(half, g)| **half == 0.0 && **g != 0.0);
    assert_eq!(lost.count(), 0);
}

fn a_scale_that_overflows_is_halved_until_it_does_not<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    if !has::<B>(Precision::Half, "a_scale_that_overflows_is_halved_until_it_does_not") {
        return;
    }
    let scale = LossScale::default();
    while scale.factor() < 16_777_216.0 {
        scale.held();
    }
    let (_, gradients) = learned::<B>(8, 1, (Precision::Half, Some(scale.clone())));
    assert!((1.0..16_777_216.0).contains(&scale.factor()), "{}", scale.factor());
    let (_, expected) = learned::<B>(8, 1, SINGLE);
    let largest = expected.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    assert!(distance(&gradients, &expected) < 5e-3 * largest);
}

#[cfg(feature = "flex")]
#[test]
fn a_run_in_half_precision_prunes_and_goes_on_from_a_checkpoint_bit_for_bit() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = "train tiny --no-tui --fp16 --keep-state";
    let ended = dir.platon_ok(&format!("{train} --output-dir whole"));
    assert!(ended.stderr.contains("--precision f16 is for GPUs"), "{}", ended.stderr);
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
    // Also the scale's count went on.
    let scale = &dir.json("stopped/checkpoint/update-12/progress.json")["loss_scale"];
    assert_eq!(scale["updates"], 12, "{scale}");
    // What the report says holds for the saved model, in single precision.
    let evaluated = dir.platon_ok("evaluate whole --json").stdout;
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["ACC"], dir.json("whole/report.json")["dev"]["ACC"]);
}

#[cfg(feature = "flex")]
#[test]
fn a_run_in_bf16_prunes_without_a_loss_scale_and_goes_on_bit_for_bit() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = "train tiny --no-tui --keep-state";
    dir.platon_ok(&format!("{train} --precision bf16 --output-dir whole"));
    let sparsity = dir.json("whole/report.json")["sparsity"].as_f64().unwrap();
    assert!((sparsity - 0.8).abs() < 1e-3, "{sparsity}");
    let progress = dir.json("whole/checkpoint/update-12/progress.json");
    assert!(progress["loss_scale"].is_null(), "{progress}");
    let model = |run: &str| dir.bytes(&format!("{run}/model/model.safetensors"));
    let whole = model("whole");
    for other in ["f32", "f16"] {
        dir.platon_ok(&format!("{train} --precision {other} --output-dir {other}"));
        assert!(model(other) != whole, "{other}");
    }
    // The last updates are done anew after going on from the checkpoint before them.
    std::fs::remove_dir_all(dir.path("whole/checkpoint/update-12")).unwrap();
    std::fs::remove_file(dir.path("whole/report.json")).unwrap();
    let ended = dir.platon_ok("resume whole --no-tui");
    assert!(ended.stderr.contains("going on after update"), "{}", ended.stderr);
    assert!(model("whole") == whole);
}

#[cfg(feature = "flex")]
#[test]
fn fp16_is_another_name_for_one_precision() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = "train tiny --no-tui --max-steps 2";
    dir.platon_ok(&format!("{train} --fp16 --output-dir name"));
    dir.platon_ok(&format!("{train} --precision f16 --output-dir value"));
    let model = |run: &str| dir.bytes(&format!("{run}/model/model.safetensors"));
    assert!(model("name") == model("value"));
    let written = dir.read("name/config.toml");
    assert!(written.contains("precision = \"f16\"") && !written.contains("fp16"), "{written}");
    // Settings as older versions saved them.
    let older = written.replace("precision = \"f16\"", "fp16 = true");
    dir.write("older.toml", &older.replace("/name\"", "/older\""));
    dir.platon_ok("train older.toml --no-tui");
    assert!(model("older") == model("value"));
    let ended = dir.platon("train tiny --fp16 --precision bf16");
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot be used with"), "{}", ended.stderr);
    dir.write("both.toml", &(dir.read("recipes/tiny.toml") + "fp16 = true\nprecision = \"f32\"\n"));
    let line = dir.platon_refuses("train both.toml");
    assert!(line.contains("both.toml: expected precision or fp16, not both"), "{line}");
}

#[cfg(feature = "ndarray")]
#[test]
fn a_backend_without_16_bit_products_refuses_them() {
    let dir = Dir::new().with_tiny_demo("ndarray");
    for (flag, name) in [("--fp16", "f16"), ("--precision bf16", "bf16")] {
        let line = dir.platon_refuses(&format!("train tiny --no-tui {flag} --output-dir run"));
        let expected = format!(
            "precision: expected a backend and device that compute in {name}, found ndarray"
        );
        assert!(line.contains(&expected), "{line}");
        assert!(!dir.path("run").exists());
    }
}
