//! A criterion of one's own, without a pass of its own over memory.

use burn::optim::Optimizer;
use burn::tensor::Tensor;
use platon::kernels::{Scores, UpdateKernels};
use platon::pruning::criterion::platon::{Platon, PlatonState};
use platon::pruning::{Criterion, PlatonOptimizer, PruningConfig, Smoothing, StateRecord};

use crate::backends::on_every_backend;
use crate::prune::{Case, gradients, start};

on_every_backend!(observing_after_the_step_is_observing_in_its_pass);

/// PLATON by the default bodies of the trait.
#[derive(Clone)]
struct Plain(Platon);

impl<B: UpdateKernels> Criterion<B> for Plain {
    type State = PlatonState<B>;

    fn observes(&self) -> bool {
        true
    }

    fn init(&self, n: usize, device: &B::Device) -> PlatonState<B> {
        self.0.init(n, device)
    }

    fn to_device(state: PlatonState<B>, device: &B::Device) -> PlatonState<B> {
        Platon::to_device(state, device)
    }

    fn to_record(state: &PlatonState<B>) -> StateRecord<B> {
        Platon::to_record(state)
    }

    fn restore(&self, record: StateRecord<B>) -> Option<PlatonState<B>> {
        self.0.restore(record)
    }

    fn observe(
        &self,
        step: usize,
        state: PlatonState<B>,
        weight: Tensor<B, 1>,
        grad: Tensor<B, 1>,
    ) -> PlatonState<B> {
        self.0.observe(step, state, weight, grad)
    }

    fn generation(&self, step: usize) -> usize {
        Criterion::<B>::generation(&self.0, step)
    }

    fn scores(&self, state: Option<&PlatonState<B>>, weight: Tensor<B, 1>) -> Option<Scores<B>> {
        self.0.scores(state, weight)
    }
}

fn observing_after_the_step_is_observing_in_its_pass<B: UpdateKernels>() {
    let case = Case::read("default");
    let (toy, mut fused) = start::<B>(&case);
    let smoothing = Smoothing { beta1: case.number("beta1"), beta2: case.number("beta2") };
    let PruningConfig { schedule, max_grad_norm, max_tensor_norm, counting, .. } = case.config();
    let config = PruningConfig {
        criterion: Some(Plain(Platon::new(smoothing, case.count("delta_t")))),
        schedule,
        groups: Vec::new(),
        keep_zeros: false,
        max_grad_norm,
        max_tensor_norm,
        counting,
    };
    let mut plain = PlatonOptimizer::new(case.adamax().init(), config, case.scope::<B>(&toy));
    let rate = case.rate();
    let (mut a, mut b) = (toy.clone(), toy);
    for update in 0..case.count("steps") {
        let ga = gradients::<B>(&a, &case.inputs, update, 1.0);
        let gb = gradients::<B>(&b, &case.inputs, update, 1.0);
        a = fused.step(rate.at(update), a, ga);
        b = plain.step(rate.at(update), b, gb);
    }
    for ((_, a), (_, b)) in a.weights().iter().zip(b.weights()) {
        assert!(crate::fixtures::distance(a, &b) < 1e-6);
    }
}
