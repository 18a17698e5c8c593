//! The whole optimizer against an independent NumPy implementation.
//!
//! Expected arrays: `tests/fixtures/platon_numpy.py`, written from the formulas alone.

use std::collections::HashMap;

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::{AdamWConfig, GradientsParams, MultiGradientsParams, Optimizer, SimpleOptimizer};
use burn::tensor::backend::{Backend, DeviceOps};
use burn::tensor::{Device, Tensor, TensorData};
use platon::optim::{Adamax, AdamaxConfig, AdamaxState, Schedule, WarmupSchedule};
use platon::pruning::threshold::rank;
use platon::pruning::{
    AnyCriterion, Counting, CriterionConfig, PlatonOptimizer, Pruner, PruningConfig, RatioSchedule,
    Scope, Smoothing,
};

use platon::kernels::{InnerOptimizer, UpdateKernels};

use crate::backends::{on_every_backend, rounds_factors};
use crate::fixtures::{Array, fixture, read};

on_every_backend!(
    default_settings_match_numpy,
    beta2_zero_matches_numpy,
    a_window_of_one_update_matches_numpy,
    a_window_that_divides_nothing_matches_numpy,
    ties_match_numpy,
    exact_ties_match_numpy,
    an_initial_ratio_below_one_matches_numpy,
    magnitude_pruning_matches_numpy,
    the_linear_schedule_without_clipping_matches_numpy,
    any_optimizer_of_burn_can_be_decorated,
    several_devices_give_the_mean_gradient,
    without_a_pruner_only_the_inner_optimizer_acts,
);

const NAMES: [&str; 6] = [
    "layer.attention.self.query.weight",
    "layer.attention.self.query.bias",
    "layer.output.dense.weight",
    "layer.output.dense.bias",
    "layer.LayerNorm.weight",
    "classifier.weight",
];

#[derive(Module, Debug)]
pub struct Toy<B: Backend> {
    pub query_weight: Param<Tensor<B, 2>>,
    query_bias: Param<Tensor<B, 1>>,
    dense_weight: Param<Tensor<B, 2>>,
    dense_bias: Param<Tensor<B, 1>>,
    norm_weight: Param<Tensor<B, 1>>,
    classifier_weight: Param<Tensor<B, 2>>,
}

fn tensor<B: Backend, const D: usize>(array: &Array) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), &B::Device::default())
}

impl<B: Backend> Toy<B> {
    pub fn new(arrays: &HashMap<String, Array>) -> Self {
        let get = |n: usize| &arrays[&format!("init.{}", NAMES[n])];
        Self {
            query_weight: Param::from_tensor(tensor(get(0))),
            query_bias: Param::from_tensor(tensor(get(1))),
            dense_weight: Param::from_tensor(tensor(get(2))),
            dense_bias: Param::from_tensor(tensor(get(3))),
            norm_weight: Param::from_tensor(tensor(get(4))),
            classifier_weight: Param::from_tensor(tensor(get(5))),
        }
    }

    pub fn weights(&self) -> Vec<(ParamId, Vec<f32>)> {
        struct Values(Vec<(ParamId, Vec<f32>)>);
        impl<B: Backend> ModuleVisitor<B> for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
                self.0.push((param.id, param.val().into_data().to_vec().unwrap()));
            }
        }
        let mut values = Values(Vec::new());
        self.visit(&mut values);
        values.0
    }
}

/// Registers the gradients of one update, times `factor`.
pub fn gradients<B: Backend>(
    toy: &Toy<Autodiff<B>>,
    arrays: &HashMap<String, Array>,
    update: usize,
    factor: f64,
) -> GradientsParams {
    struct Register<'a> {
        arrays: &'a HashMap<String, Array>,
        update: usize,
        factor: f64,
        next: usize,
        grads: GradientsParams,
    }
    impl<B: Backend> ModuleVisitor<Autodiff<B>> for Register<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
            let all = &self.arrays[&format!("grad.{}", NAMES[self.next])];
            let shape = all.shape[1..].to_vec();
            let array = Array { shape, values: all.row(self.update) };
            let grad = tensor::<B, D>(&array).mul_scalar(self.factor);
            self.grads.register(param.id, grad);
            self.next += 1;
        }
    }
    let grads = GradientsParams::new();
    let mut register = Register { arrays, update, factor, next: 0, grads };
    toy.visit(&mut register);
    register.grads
}

pub struct Case {
    arrays: HashMap<String, Array>,
    pub inputs: HashMap<String, Array>,
    settings: HashMap<String, String>,
}

impl Case {
    pub fn read(name: &str) -> Self {
        let (arrays, settings) = read(&fixture(&format!("platon_numpy/{name}.safetensors")));
        let (inputs, _) = read(&fixture(&format!("platon_numpy/{}", settings["gradients"])));
        Self { arrays, inputs, settings }
    }

    pub fn number(&self, key: &str) -> f64 {
        self.settings[key].parse().unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    pub fn count(&self, key: &str) -> usize {
        self.number(key) as usize
    }

    pub fn config(&self) -> PruningConfig<AnyCriterion> {
        let criterion = CriterionConfig {
            pruner: match self.settings["pruner"].as_str() {
                "platon" => Pruner::Platon,
                "magnitude" => Pruner::Magnitude,
                other => panic!("{other}"),
            },
            smoothing: Smoothing { beta1: self.number("beta1"), beta2: self.number("beta2") },
            window: self.count("delta_t"),
        };
        PruningConfig {
            criterion: criterion.init(),
            schedule: RatioSchedule::new(
                (self.number("initial_threshold"), self.number("final_threshold")),
                self.count("warmup_steps"),
                self.count("initial_warmup"),
                self.count("final_warmup"),
                self.count("delta_t"),
                self.count("steps"),
            )
            .unwrap(),
            groups: Vec::new(),
            keep_zeros: false,
            max_grad_norm: Some(self.number("global_grad_clipping")).filter(|norm| *norm > 0.0),
            max_tensor_norm: None,
            counting: Counting { every: 1, ..Counting::default() },
        }
    }

    pub fn rate(&self) -> WarmupSchedule {
        WarmupSchedule {
            learning_rate: self.number("learning_rate"),
            warmup: self.number("warmup"),
            schedule: match self.settings["warmup_schedule"].as_str() {
                "warmup_linear" => Schedule::WarmupLinear,
                "linear" => Schedule::Linear,
                other => panic!("{other}"),
            },
            total: self.count("steps"),
            update: 0,
        }
    }

    pub fn adamax(&self) -> AdamaxConfig {
        AdamaxConfig::new()
            .with_beta_1(self.number("adamax_beta1"))
            .with_beta_2(self.number("adamax_beta2"))
            .with_epsilon(self.number("adamax_eps"))
            .with_weight_decay(self.number("weight_decay"))
    }

    pub fn scope<B: Backend>(&self, toy: &Toy<Autodiff<B>>) -> Scope {
        Scope::new(toy, |path| {
            let prunable = path.iter().any(|p| p.starts_with("query") || p.starts_with("dense"));
            prunable.then(|| path.join("."))
        })
    }
}

pub type Platon<B> = PlatonOptimizer<Adamax, AnyCriterion, Autodiff<B>>;

pub fn start<B: UpdateKernels>(case: &Case) -> (Toy<Autodiff<B>>, Platon<B>) {
    let toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let scope = case.scope::<B>(&toy);
    assert_eq!(scope.size(), case.count("prunable_elements"));
    (toy, PlatonOptimizer::new(case.adamax().init(), case.config(), scope))
}

fn follow<B: UpdateKernels>(name: &str) {
    let case = Case::read(name);
    let (mut toy, mut optimizer) = start::<B>(&case);
    let monitor = optimizer.monitor();
    let rate = case.rate();
    let boundaries = &case.arrays["boundary"].values;
    for update in 0..case.count("steps") {
        let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
        assert!((rate.at(update) - case.arrays["learning_rate"].values[update]).abs() < 1e-12);
        toy = optimizer.step(rate.at(update), toy, grads);

        let status = monitor.at(update + 1).unwrap();
        assert!((status.ratio - case.arrays["ratio"].values[update]).abs() < 1e-12);
        let norm = case.arrays["norm"].values[update];
        let found = status.grad_norm.value();
        assert!((found - norm).abs() <= 1e-5 * norm, "norm of update {}", update + 1);
        let expected = case.arrays["threshold"].values[update];
        if !expected.is_nan() {
            let got = f64::from(status.threshold.unwrap());
            assert!((got - expected).abs() <= 2e-5 * expected, "{got} is not {expected}");
        }
        let weights = toy.weights();
        let not_zero =
            |(_, values): &(ParamId, Vec<f32>)| values.iter().filter(|w| **w != 0.0).count();
        let remaining: Vec<usize> = weights[..4].iter().map(not_zero).collect();
        assert_eq!(status.remaining.as_deref(), Some(remaining.as_slice()));
        for ((id, values), name) in weights.iter().zip(NAMES).take(4) {
            let zeros: Vec<f64> = values.iter().map(|w| f64::from(*w == 0.0)).collect();
            let mask = case.arrays[&format!("mask.{name}")].row(update);
            assert_eq!(zeros, mask, "{name} after update {}", update + 1);
            let boundary = boundaries.iter().position(|b| *b as usize == update + 1);
            if let (Some(n), "platon") = (boundary, case.settings["pruner"].as_str()) {
                let expected = case.arrays[&format!("score.{name}")].row(n);
                let weight = Tensor::from_floats(values.as_slice(), &B::Device::default());
                let score = optimizer.scores(*id, weight).unwrap().values();
                let score: Vec<f32> = score.into_data().to_vec().unwrap();
                // All parameters compete, so the largest score of all is the measure.
                let largest = NAMES[..4]
                    .iter()
                    .flat_map(|n2| case.arrays[&format!("score.{n2}")].row(n))
                    .fold(0.0, f64::max);
                for (got, want) in score.iter().zip(expected) {
                    let difference = (f64::from(*got) - want).abs();
                    assert!(difference <= 1e-6 * largest, "{got} is not {want}, {name}");
                }
            }
        }
    }
    for ((_, values), name) in toy.weights().iter().zip(NAMES) {
        let expected = case.arrays[&format!("final.{name}")].f32();
        let distance = crate::fixtures::distance(values, &expected);
        assert!(distance < 1e-5, "{name} ends {distance} away");
    }
}

fn default_settings_match_numpy<B: UpdateKernels>() {
    follow::<B>("default");
}

fn beta2_zero_matches_numpy<B: UpdateKernels>() {
    follow::<B>("beta2_zero");
}

fn a_window_of_one_update_matches_numpy<B: UpdateKernels>() {
    follow::<B>("delta_t_one");
}

fn a_window_that_divides_nothing_matches_numpy<B: UpdateKernels>() {
    follow::<B>("delta_t_seven");
}

fn ties_match_numpy<B: UpdateKernels>() {
    follow::<B>("ties");
}

fn exact_ties_match_numpy<B: UpdateKernels>() {
    follow::<B>("ties_exact");
}

fn an_initial_ratio_below_one_matches_numpy<B: UpdateKernels>() {
    follow::<B>("initial_below_one");
}

fn magnitude_pruning_matches_numpy<B: UpdateKernels>() {
    follow::<B>("magnitude");
}

fn the_linear_schedule_without_clipping_matches_numpy<B: UpdateKernels>() {
    follow::<B>("linear_schedule");
}

/// Adamax without its shared pass: the default body of the decoration.
#[derive(Clone)]
struct Plain(Adamax);

impl<B: UpdateKernels> SimpleOptimizer<B> for Plain {
    type State<const D: usize> = AdamaxState<B, D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<B, D>,
        grad: Tensor<B, D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<B, D>, Option<Self::State<D>>) {
        self.0.step(lr, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device<B>) -> Self::State<D> {
        Adamax::to_device(state, device)
    }
}

impl<B: UpdateKernels> InnerOptimizer<B> for Plain {}

fn any_optimizer_of_burn_can_be_decorated<B: UpdateKernels>() {
    let case = Case::read("default");
    let (toy, mut shared) = start::<B>(&case);
    let plain = Plain(case.adamax().init());
    let mut plain = PlatonOptimizer::new(plain, case.config(), case.scope::<B>(&toy));
    let adamw = AdamWConfig::new().init::<Autodiff<B>, Toy<Autodiff<B>>>();
    let adamw = adamw.optim().clone();
    let mut other = PlatonOptimizer::new(adamw, case.config(), case.scope::<B>(&toy));
    let rate = case.rate();
    let (mut a, mut b, mut c) = (toy.clone(), toy.clone(), toy);
    for update in 0..case.count("steps") {
        let grads = |toy: &Toy<Autodiff<B>>| gradients::<B>(toy, &case.inputs, update, 1.0);
        let (ga, gb, gc) = (grads(&a), grads(&b), grads(&c));
        a = shared.step(rate.at(update), a, ga);
        b = plain.step(rate.at(update), b, gb);
        c = other.step(rate.at(update), c, gc);
    }
    for ((_, a), (_, b)) in a.weights().iter().zip(b.weights()) {
        assert!(crate::fixtures::distance(a, &b) < 1e-6);
    }
    let zeros = c.weights()[..4].iter().flat_map(|(_, v)| v).filter(|v| **v == 0.0).count();
    // The k-th smallest score survives.
    assert_eq!(zeros, rank(case.count("prunable_elements"), 0.2) - 1);
}

fn several_devices_give_the_mean_gradient<B: UpdateKernels>() {
    let case = Case::read("default");
    let ((toy, mut one), (other, mut two)) = (start::<B>(&case), start::<B>(&case));
    let expected = one.step(0.1, toy.clone(), gradients::<B>(&toy, &case.inputs, 0, 1.0));
    let device = B::Device::default().id();
    let halves = [0.5, 1.5].map(|f| (gradients::<B>(&other, &case.inputs, 0, f), device));
    let got = two.step_multi(0.1, other, MultiGradientsParams { grads: halves.into() });
    // Clipping and Adamax's first step make nearly the same of any multiple of it.
    let [a, b] = [one, two].map(|o| o.monitor().at(1).unwrap().grad_norm.value());
    assert!((a - b).abs() < 1e-5 * a, "{a} {b}");
    for ((_, a), (_, b)) in expected.weights().iter().zip(got.weights()) {
        assert!(crate::fixtures::distance(a, &b) < 1e-6);
    }
}

fn without_a_pruner_only_the_inner_optimizer_acts<B: UpdateKernels>() {
    let case = Case::read("default");
    let (toy, _) = start::<B>(&case);
    let adamax = case.adamax().init();
    let mut inner = OptimizerAdaptor::<_, Toy<Autodiff<B>>, Autodiff<B>>::from(adamax.clone());
    let config = PruningConfig { criterion: None, max_grad_norm: None, ..case.config() };
    let mut decorated = PlatonOptimizer::new(adamax, config, case.scope::<B>(&toy));
    let (mut a, mut b) = (toy.clone(), toy);
    for update in 0..60 {
        let (ga, gb) = (
            gradients::<B>(&a, &case.inputs, update, 1.0),
            gradients::<B>(&b, &case.inputs, update, 1.0),
        );
        a = inner.step(0.05, a, ga);
        b = decorated.step(0.05, b, gb);
    }
    // Fused otherwise, a kernel may contract other sums.
    let tolerance = if rounds_factors::<B>() { 1e-5 } else { 0.0 };
    for ((_, a), (_, b)) in a.weights().iter().zip(b.weights()) {
        assert!(crate::fixtures::distance(a, &b) <= tolerance);
    }
}
