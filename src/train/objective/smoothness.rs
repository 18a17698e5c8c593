//! How much the answers change with the input: SMART (Jiang et al., 2020), as the original has it.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::{Answered, Term};
use crate::bert::{BertClassifier, Pass, Training};
use crate::config::{NoiseNorm, Objective};
use crate::glue::tsv::Label;
use crate::kernels::TrainingBackend;
use crate::seed::mix;

/// The first of the streams of random numbers that perturbed passes take: dropout's own are below.
const STREAMS: u64 = 1 << 32;

/// The term: noise on the word vectors is moved to where the answers change most, and what they
/// change there is added to the loss. With z the logits and z' those of the noisy input:
///
/// - classes: KL(z || z') + KL(z' || z), each with the former held fixed;
/// - scores: the mean squared difference.
#[derive(Debug, Clone)]
pub(super) struct Smoothness {
    weight: f64,
    rounds: usize,
    step: f32,
    deviation: f32,
    norm: NoiseNorm,
    by_sequence: bool,
    epsilon: f32,
}

impl Smoothness {
    /// The term, where it is wanted.
    pub fn new(settings: &Objective) -> Option<Self> {
        settings.adv_train.then_some(Self {
            weight: settings.adv_alpha,
            rounds: settings.adv_k,
            step: settings.adv_step_size as f32,
            deviation: settings.adv_noise_var as f32,
            norm: settings.adv_p_norm,
            by_sequence: settings.adv_norm_level > 0,
            epsilon: settings.adv_epsilon as f32,
        })
    }

    /// N(0, deviation²), the same for the same seed.
    pub(super) fn noise(&self, seed: u64, count: usize) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(mix(seed, STREAMS));
        let normal = StandardNormal.sample_iter(&mut random).take(count);
        normal.map(|value: f32| value * self.deviation).collect()
    }
}

impl<B: TrainingBackend> Term<B> for Smoothness {
    fn of(&self, answered: &Answered<'_, B>) -> Option<Tensor<B, 1>> {
        let count = answered.net.words(&answered.ids).shape().num_elements();
        self.after(answered, self.noise(answered.training.noise, count))
    }
}

impl Smoothness {
    /// The term with this noise at first, `[rows, embedding width]`.
    pub(super) fn after<B: TrainingBackend>(
        &self,
        answered: &Answered<'_, B>,
        mut noise: Vec<f32>,
    ) -> Option<Tensor<B, 1>> {
        let Answered { net, ids, sequences, head, training, logits, labels, .. } = answered;
        let is_score = matches!(labels.first()?, Label::Score(_));
        let perturbed = |net: &BertClassifier<B>, noise: Tensor<B, 2>, round: usize| {
            let noise_of_pass = mix(training.noise, STREAMS + 1 + round as u64);
            let training = Training { noise: noise_of_pass, ..*training };
            let words = net.words(ids) + noise;
            net.forward_words(words, ids.clone(), sequences, *head, Pass::training(training))
        };
        // Only the noise's gradient is wanted.
        let still = (*net).clone().no_grad();
        let shape @ [rows, width] = still.words(ids).dims();
        let spans: Vec<Range<usize>> = match self.by_sequence {
            true => sequences.spans().map(|span| span.start * width..span.end * width).collect(),
            false => (0..rows).map(|row| row * width..(row + 1) * width).collect(),
        };
        let device = logits.device();
        for round in 0..self.rounds {
            let data = TensorData::new(noise.clone(), shape);
            let leaf = Tensor::<B, 2>::from_data(data, &device).require_grad();
            let answers = perturbed(&still, leaf.clone(), round);
            let clean = logits.clone().detach();
            let change = match is_score {
                true => squares(answers - clean).sum(),
                false => stable_divergence(answers, clean),
            };
            let slope = leaf.grad(&change.backward())?.into_data();
            let mut square = 0.0;
            for (noise, slope) in noise.iter_mut().zip(slope.iter::<f32>()) {
                square += f64::from(slope) * f64::from(slope);
                *noise += self.step * slope;
            }
            if !square.is_finite() {
                return None;
            }
            for span in &spans {
                normalise(noise.get_mut(span.clone())?, self.norm, self.epsilon);
            }
        }
        let noise = Tensor::from_data(TensorData::new(noise, shape), &device);
        let answers = perturbed(net, noise, self.rounds);
        let change = match is_score {
            true => squares(logits.clone() - answers).mean(),
            false => {
                divergence(logits.clone(), answers.clone()) + divergence(answers, logits.clone())
            }
        };
        Some(if self.weight == 1.0 { change } else { change.mul_scalar(self.weight) })
    }
}

fn squares<B: AutodiffBackend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    x.clone() * x
}

/// KL(fixed || moving) of logits, the mean over the batch; no gradient goes to `fixed`.
///
/// # Shapes
/// - `moving`, `fixed`: `[batch, classes]`
/// - output: `[1]`
fn divergence<B: AutodiffBackend>(moving: Tensor<B, 2>, fixed: Tensor<B, 2>) -> Tensor<B, 1> {
    let [batch, _] = moving.dims();
    let fixed = fixed.detach();
    let logarithms = log_softmax(fixed.clone(), 1) - log_softmax(moving, 1);
    (softmax(fixed, 1) * logarithms).sum().div_scalar(batch as f64)
}

/// MT-DNN's `stable_kl`, the sum over the batch: 2 Σ p (r(p) - r(q)) with r(x) = -ln(1 / (x + ε) - 1 +
/// ε), where r is held fixed.
///
/// # Shapes
/// As [`divergence`].
fn stable_divergence<B: AutodiffBackend>(own: Tensor<B, 2>, other: Tensor<B, 2>) -> Tensor<B, 1> {
    const EPSILON: f64 = 1e-6;
    let rate = |p: Tensor<B, 2>| {
        p.add_scalar(EPSILON).recip().sub_scalar(1.0 - EPSILON).log().neg().detach()
    };
    let (p, q) = (softmax(own, 1), softmax(other, 1));
    (p.clone() * (rate(p) - rate(q))).sum().mul_scalar(2.0)
}

/// Brings one direction to one size.
fn normalise(direction: &mut [f32], norm: NoiseNorm, epsilon: f32) {
    let size = match norm {
        NoiseNorm::Inf => direction.iter().fold(0.0f32, |most, v| most.max(v.abs())) + epsilon,
        NoiseNorm::L2 => direction.iter().map(|v| v * v).sum::<f32>().sqrt() + epsilon,
        NoiseNorm::L1 => {
            for value in direction {
                *value = if *value == 0.0 { 0.0 } else { value.signum() };
            }
            return;
        }
    };
    for value in direction {
        *value /= size;
    }
}
