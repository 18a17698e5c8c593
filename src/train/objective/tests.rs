#![cfg(feature = "flex")]

use std::path::Path;

use burn::backend::Autodiff;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn_flex::Flex;
use safetensors::SafeTensors;
use serde_json::Value;

use super::*;
use crate::bert::weights::{self, Parts};
use crate::bert::{Checkpoint, ClassifierConfig, HeadConfig};
use crate::config::{Layer, RunConfig};
use crate::glue::batch::Filling;
use crate::glue::sample::Sample;
use crate::infer::model::Load;
use crate::kernels::Precision;

type B = Autodiff<Flex>;

/// From `tests/fixtures/objective.py`.
fn expected() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/objective.json")).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| number(v) as f32).collect()
}

fn settings(text: &str) -> RunConfig {
    RunConfig::resolve(&[Layer::command_line(text.parse().unwrap())]).unwrap()
}

fn close(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-4 * expected.abs().max(1.0),
        "{what}: {found}, {expected}"
    );
}

fn value(loss: &Tensor<B, 1>) -> f64 {
    f64::from(loss.clone().into_scalar())
}

/// The model of the script without dropout, and its samples.
fn model() -> (BertClassifier<B>, Vec<Sample>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families/bert-silu");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let bert = checkpoint.config.clone();
    let (tensors, head) = Load::Classifier.read(checkpoint).unwrap();
    let heads = vec![HeadConfig { outputs: head.unwrap().labels.len(), dropout: 0.0 }];
    let device = Default::default();
    let net = ClassifierConfig { bert, bert_dropout: 0.0, heads }.init::<B>(&device);
    let net = weights::load(net, tensors, Parts::All, &device).unwrap().model;
    let bytes = std::fs::read(folder.join("expected.safetensors")).unwrap();
    let arrays = SafeTensors::deserialize(&bytes).unwrap();
    let rows = |name: &str| -> Vec<Vec<i64>> {
        let tensor = arrays.tensor(name).unwrap();
        let numbers =
            tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
        let all: Vec<i64> = numbers.collect();
        all.chunks(tensor.shape()[1]).map(<[i64]>::to_vec).collect()
    };
    let all = rows("input_ids").into_iter().zip(rows("attention_mask")).zip(rows("token_type_ids"));
    let samples = all.map(|((ids, mask), types)| {
        let length = mask.iter().sum::<i64>() as usize;
        Sample {
            uid: String::new(),
            label: Label::Class(0),
            token_id: ids[..length].iter().map(|id| *id as u32).collect(),
            type_id: types[..length].iter().map(|id| *id as u8).collect(),
            attention_mask: vec![1; length],
            softlabel: Vec::new(),
        }
    });
    let samples = samples.collect();
    (net, samples)
}

const TRAINING: Training = Training { noise: 1, precision: Precision::Single };

/// What `work` gets of the batch of `samples`.
fn answered<T>(
    net: &BertClassifier<B>,
    samples: &[Sample],
    work: impl FnOnce(&Answered<'_, B>) -> T,
) -> T {
    let batch = Batch::<B>::new(samples.iter(), Filling::Packed, &Default::default());
    let soft = batch.soft.clone();
    let ((ids, sequences), labels) = inputs(batch);
    let mut states = Vec::new();
    let see = |state: &Tensor<B, 2>| states.push(state.clone());
    let logits = net.forward_seen(ids.clone(), &sequences, 0, Pass::training(TRAINING), see);
    let (labels, soft) = (labels.as_slice(), soft.as_slice());
    work(&Answered {
        net,
        ids,
        sequences,
        head: 0,
        training: TRAINING,
        states,
        projection: None,
        logits,
        labels,
        soft,
    })
}

#[test]
fn smoothness_and_its_gradients_are_those_of_the_script() {
    let (expected, (net, mut samples)) = (expected(), model());
    let noise = numbers(&expected["noise"]);
    let term = |norm: &str, by_sequence: bool| {
        let level = i32::from(by_sequence);
        let text = format!(
            "adv_train = true\nadv_k = 2\nadv_step_size = 0.5\nadv_p_norm = \"{norm}\"\nadv_norm_level = {level}"
        );
        Smoothness::new(settings(&text).objective()).unwrap()
    };
    for case in expected["smart"].as_array().unwrap() {
        let (norm, by_sequence) = (case["norm"].as_str().unwrap(), case["by_sequence"] == true);
        let loss = answered(&net, &samples, |answered| {
            term(norm, by_sequence).after(answered, noise.clone()).unwrap()
        });
        let what = format!("{norm}, by sequence: {by_sequence}");
        close(value(&loss), number(&case["loss"]), &what);
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        let mut found = Lengths(&grads, Vec::new());
        net.visit(&mut found);
        // The table of words is the first parameter, and the matrix of the head's outputs the last but one.
        close(found.1[0], number(&case["word_gradient"]), &what);
        close(found.1[found.1.len() - 2], number(&case["head_gradient"]), &what);
    }
    samples.iter_mut().for_each(|sample| sample.label = Label::Score(1.0));
    let loss = answered(&net, &samples, |answered| {
        term("inf", false).after(answered, noise.clone()).unwrap()
    });
    close(value(&loss), number(&expected["smart_score"]), "scores");
}

/// The lengths of all gradients, parameter by parameter; 0 without one.
struct Lengths<'a>(&'a GradientsParams, Vec<f64>);

impl burn::module::ModuleVisitor<B> for Lengths<'_> {
    fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<B, D>>) {
        let grad = self.0.get::<Flex, D>(param.id);
        let length =
            |grad: Tensor<Flex, D>| f64::from((grad.clone() * grad).sum().into_scalar()).sqrt();
        self.1.push(grad.map_or(0.0, length));
    }
}

#[test]
fn noise_follows_from_the_seed_and_has_its_deviation() {
    let term =
        Smoothness::new(settings("adv_train = true\nadv_noise_var = 0.5").objective()).unwrap();
    let noise = term.noise(7, 10_000);
    assert_eq!(noise, term.noise(7, 10_000));
    assert_ne!(noise, term.noise(8, 10_000));
    let mean = noise.iter().sum::<f32>() / 1e4;
    let square = noise.iter().map(|v| v * v).sum::<f32>() / 1e4;
    assert!(mean.abs() < 0.02 && (square - 0.25).abs() < 0.02, "{mean}, {square}");
    assert!(Smoothness::new(settings("").objective()).is_none());
}

/// The same batch and answers.
fn like<'a>(answered: &Answered<'a, B>) -> Answered<'a, B> {
    Answered {
        net: answered.net,
        ids: answered.ids.clone(),
        sequences: answered.sequences.clone(),
        head: answered.head,
        training: answered.training,
        states: answered.states.clone(),
        projection: answered.projection,
        logits: answered.logits.clone(),
        labels: answered.labels,
        soft: answered.soft,
    }
}

/// A term's worth for the logits and the teacher's of the script, and its gradient.
fn worth(objective: &Objective, labels: [Label; 2]) -> (f64, Vec<f32>) {
    let (net, samples) = model();
    let logits = [[0.3, -1.2, 0.8], [2.0, 0.1, -0.7]];
    let logits = Tensor::<B, 2>::from_data(logits, &Default::default()).require_grad();
    let soft = [1.5, -0.4, 0.2, 0.3, 0.9, -2.0];
    answered(&net, &samples, |answered| {
        let answered =
            Answered { logits: logits.clone(), labels: &labels, soft: &soft, ..like(answered) };
        let loss = objective.sum(&answered);
        let grad = logits.grad(&loss.backward()).unwrap();
        (value(&loss), grad.into_data().to_vec().unwrap())
    })
}

#[test]
fn terms_are_weighted_and_added() {
    let expected = expected();
    let of = |name: &str| number(&expected["teacher"][name]);
    let classes = [Label::Class(0), Label::Class(1)];
    let scores = [Label::Score(0.0), Label::Score(0.0)];
    let objective = |text: &str| Objective::new(&settings(text));
    let (loss, grad) = worth(&objective("teacher = \"t\""), classes);
    close(loss, of("kl"), "divergence");
    for (found, expected) in grad.iter().zip(numbers(&expected["teacher"]["kl_gradient"])) {
        close(f64::from(*found), f64::from(expected), "its gradient");
    }
    let warm = worth(&objective("teacher = \"t\"\ndistill_temperature = 3.0"), classes).0;
    close(warm, of("kl_at_3"), "at another temperature");
    let half = worth(&objective("teacher = \"t\"\ndistill_weight = 0.25"), classes).0;
    close(half, 0.25 * of("kl") + 0.75 * of("cross_entropy"), "with labels");
    let none = worth(&objective("teacher = \"t\"\ndistill_weight = 0.0"), classes).0;
    close(none, of("cross_entropy"), "without the teacher");
    close(worth(&objective(""), classes).0, of("cross_entropy"), "labels alone");
    let kept = worth(&objective("mkd_opt = 1"), classes).0;
    close(kept, of("squares") + of("cross_entropy"), "softlabel");
    let squares = worth(&objective("teacher = \"t\""), scores).0;
    close(squares, of("squares"), "scores");
}

#[test]
fn hidden_states_are_compared_layer_by_layer() {
    let (net, samples) = model();
    let device = Default::default();
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/families/bert-gelu-new");
    let mut bert = Checkpoint::open(&folder).unwrap().config;
    // Four layers and another width: layers 0, 1 and 2 of two go with 0, 2 and 4.
    (bert.num_hidden_layers, bert.hidden_size) = (4, 24);
    let heads = vec![HeadConfig { outputs: 3, dropout: 0.0 }];
    <Flex as burn::tensor::backend::Backend>::seed(&device, 5);
    let teacher = ClassifierConfig { bert, bert_dropout: 0.0, heads }.init::<Flex>(&device);
    let projection = burn::nn::LinearConfig::new(16, 24).init::<B>(&device);
    let values = |x: Tensor<Flex, 2>| x.into_data().to_vec::<f32>().unwrap();
    let (found, expected, grads) = answered(&net, &samples, |answered| {
        let mut taught = Vec::new();
        let batch = Batch::<Flex>::new(samples.iter(), Filling::Packed, &device);
        let ((ids, sequences), _) = inputs(batch);
        let see = |state: &Tensor<Flex, 2>| taught.push(values(state.clone()));
        teacher.forward_seen(
            ids,
            &sequences,
            0,
            Pass::answers(crate::kernels::Zeros::Multiply),
            see,
        );
        let mut expected = 0.0;
        let lengths = answered.sequences.lengths();
        assert!(lengths.iter().any(|length| *length != lengths[0]));
        for (state, target) in answered.states.iter().zip([0, 2, 4]) {
            let own = values(projection.forward(state.clone()).inner());
            assert_eq!(own.len(), taught[target].len());
            let mut squares =
                own.iter().zip(&taught[target]).map(|(a, b)| f64::from(a - b).powi(2));
            // Of the last layer, one token of each sample.
            for length in lengths.iter().map(|length| if target == 4 { 1 } else { *length }) {
                let sum: f64 = squares.by_ref().take(24 * length).sum();
                expected += sum / (24 * length * lengths.len() * 3) as f64;
            }
            assert!(squares.next().is_none());
        }
        let term = Hidden::new::<B>(0.5, teacher.clone());
        let answered = Answered { projection: Some(&projection), ..like(answered) };
        let loss = term.of(&answered).unwrap();
        let grads = GradientsParams::from_grads(loss.backward(), &projection);
        (value(&loss), 0.5 * expected, grads.len())
    });
    close(found, expected, "hidden states");
    assert_eq!(grads, 2, "the projection is learnt");
    // However a batch is divided, by the samples of each part.
    let share = |part: &[Sample]| {
        let loss = answered(&net, part, |answered| {
            let answered = Answered { projection: Some(&projection), ..like(answered) };
            value(&Hidden::new::<B>(0.5, teacher.clone()).of(&answered).unwrap())
        });
        loss * part.len() as f64 / samples.len() as f64
    };
    let (first, rest) = samples.split_at(1);
    close(share(first) + share(rest), share(&samples), "a divided batch");
}
