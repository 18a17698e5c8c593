//! Groups of parameters with thresholds of their own, and zeros that stay, in the optimizer.

use std::collections::HashMap;

use burn::backend::Autodiff;
use burn::optim::Optimizer;
use platon::kernels::UpdateKernels;
use platon::optim::Adamax;
use platon::pruning::threshold::rank;
use platon::pruning::{AnyCriterion, CriterionConfig, PlatonOptimizer, PruningConfig, Scope};
use platon::pruning::{Pruner, Smoothing};

use crate::backends::on_every_backend;
use crate::fixtures::Array;
use crate::prune::{Case, Platon, Toy, gradients};

on_every_backend!(
    zeros_that_stay_have_no_gradient,
    zeros_that_stay_survive_a_record,
    zeros_stay_without_a_criterion_too,
    groups_have_thresholds_of_their_own,
    one_group_is_as_good_as_another,
);

/// The case, every third weight of the query's being zero at the beginning.
fn with_zeros() -> Case {
    let mut case = Case::read("default");
    let name = "init.layer.attention.self.query.weight";
    case.inputs.get_mut(name).unwrap().values.iter_mut().step_by(3).for_each(|w| *w = 0.0);
    case
}

/// Gradients that are zero at these places of the query's weight.
fn without_theirs(case: &Case) -> HashMap<String, Array> {
    let mut inputs = case.inputs.clone();
    let all = inputs.get_mut("grad.layer.attention.self.query.weight").unwrap();
    let size: usize = all.shape[1..].iter().product();
    for update in all.values.chunks_mut(size) {
        update.iter_mut().step_by(3).for_each(|g| *g = 0.0);
    }
    inputs
}

fn optimizer<B: UpdateKernels>(
    case: &Case,
    config: PruningConfig<AnyCriterion>,
    scope: Scope,
) -> Platon<B> {
    PlatonOptimizer::<Adamax, AnyCriterion, Autodiff<B>>::new(case.adamax().init(), config, scope)
}

/// Whether every third weight of the query's is zero, and whether all others are not.
fn thirds<B: UpdateKernels>(toy: &Toy<Autodiff<B>>) -> (bool, bool) {
    let (_, query) = &toy.weights()[0];
    let all = |which: &dyn Fn(usize) -> bool, zero: bool| {
        query.iter().enumerate().all(|(n, w)| !which(n) || (*w == 0.0) == zero)
    };
    (all(&|n| n % 3 == 0, true), all(&|n| n % 3 != 0, false))
}

fn zeros_that_stay_have_no_gradient<B: UpdateKernels>() {
    let (case, plain_case) = (with_zeros(), Case::read("default"));
    let cleared = without_theirs(&case);
    let toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let scope = plain_case.scope::<B>(&toy);
    let keeping = PruningConfig { keep_zeros: true, ..case.config() };
    let mut keeps = optimizer::<B>(&case, keeping, scope.clone());
    let mut plain = optimizer::<B>(&case, case.config(), scope);
    let monitors = [keeps.monitor(), plain.monitor()];
    let rate = case.rate();
    let (mut a, mut b) = (toy.clone(), toy);
    let mut others_were_zero = false;
    for update in 0..case.count("steps") {
        let ga = gradients::<B>(&a, &case.inputs, update, 1.0);
        let gb = gradients::<B>(&b, &cleared, update, 1.0);
        a = keeps.step(rate.at(update), a, ga);
        b = plain.step(rate.at(update), b, gb);
        let (stay, others) = thirds(&a);
        assert!(stay, "after update {}", update + 1);
        others_were_zero |= !others;
        let [kept, cleared] = monitors.each_ref().map(|m| m.at(update + 1).unwrap());
        assert_eq!(kept.grad_norm, cleared.grad_norm);
        assert_eq!(kept.threshold, cleared.threshold);
    }
    let values = |toy: &Toy<_>| toy.weights().into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(values(&a), values(&b));
    assert!(others_were_zero, "nothing else was pruned");
    // Without being told to, they do not stay.
    let toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let mut plain = optimizer::<B>(&case, case.config(), case.scope::<B>(&toy));
    let grads = gradients::<B>(&toy, &case.inputs, 0, 1.0);
    assert!(!thirds(&plain.step(rate.at(1), toy, grads)).0);
}

fn zeros_that_stay_survive_a_record<B: UpdateKernels>() {
    let case = with_zeros();
    let keeping = || PruningConfig { keep_zeros: true, ..case.config() };
    for magnitude in [false, true] {
        let config = || {
            let mut config = keeping();
            if magnitude {
                let smoothing = Smoothing { beta1: 0.5, beta2: 0.5 };
                let pruner = Pruner::Magnitude;
                config.criterion = CriterionConfig { pruner, smoothing, window: 1 }.init();
            }
            config
        };
        let mut toy = Toy::<Autodiff<B>>::new(&case.inputs);
        let scope = case.scope::<B>(&toy);
        let mut whole = optimizer::<B>(&case, config(), scope.clone());
        let rate = case.rate();
        let mut restored = None;
        for update in 0..case.count("steps") {
            if update == 95 {
                // While there are other zeros, which may grow again.
                let record = Optimizer::<Toy<Autodiff<B>>, _>::to_record(&whole);
                let fresh = optimizer::<B>(&case, config(), scope.clone());
                let fresh = fresh.restored::<Toy<Autodiff<B>>>(record, update).unwrap();
                restored = Some((toy.clone(), fresh));
            }
            let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
            toy = whole.step(rate.at(update), toy, grads);
            if let Some((toy, optimizer)) = &mut restored {
                let grads = gradients::<B>(toy, &case.inputs, update, 1.0);
                *toy = optimizer.step(rate.at(update), toy.clone(), grads);
            }
        }
        assert!(thirds(&toy).0);
        assert_eq!(toy.weights(), restored.unwrap().0.weights());
        // A record without the zeros is another run's.
        let toy = Toy::<Autodiff<B>>::new(&case.inputs);
        let plain = PruningConfig { keep_zeros: false, ..config() };
        let mut plain = optimizer::<B>(&case, plain, scope.clone());
        let grads = gradients::<B>(&toy, &case.inputs, 0, 1.0);
        plain.step(rate.at(0), toy, grads);
        let record = Optimizer::<Toy<Autodiff<B>>, _>::to_record(&plain);
        let fresh = optimizer::<B>(&case, config(), scope.clone());
        let error = fresh.restored::<Toy<Autodiff<B>>>(record, 1).err().unwrap().to_string();
        assert!(error.contains("the zeros of 4, found"), "{error}");
    }
}

fn zeros_stay_without_a_criterion_too<B: UpdateKernels>() {
    let case = with_zeros();
    let config = PruningConfig { criterion: None, keep_zeros: true, ..case.config() };
    let mut toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let mut optimizer = optimizer::<B>(&case, config, case.scope::<B>(&toy));
    for update in 0..60 {
        let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
        toy = optimizer.step(0.05, toy, grads);
    }
    assert_eq!(thirds(&toy), (true, true));
    let status = optimizer.monitor().at(60).unwrap();
    assert!(status.sparsity > 0.0 && status.threshold.is_none());
}

fn groups_have_thresholds_of_their_own<B: UpdateKernels>() {
    let case = Case::read("default");
    let mut toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let scope = case.scope::<B>(&toy);
    let scope = scope.in_groups(|name| usize::from(name.starts_with("query")));
    let sizes = scope.sizes(2);
    let groups = vec![case.config().schedule.towards(0.5)];
    let config = PruningConfig { groups, ..case.config() };
    let mut optimizer = optimizer::<B>(&case, config, scope);
    let (rate, steps) = (case.rate(), case.count("steps"));
    for update in 0..steps {
        let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
        toy = optimizer.step(rate.at(update), toy, grads);
    }
    let weights = toy.weights();
    let zeros = |range: std::ops::Range<usize>| {
        weights[range].iter().flat_map(|(_, v)| v).filter(|v| **v == 0.0).count()
    };
    // The k-th smallest score of each survives.
    assert_eq!(zeros(0..2), rank(sizes[1], 0.5) - 1);
    assert_eq!(zeros(2..4), rank(sizes[0], 0.2) - 1);
    let all = (sizes[0] as f64 * 0.2 + sizes[1] as f64 * 0.5) / (sizes[0] + sizes[1]) as f64;
    assert_eq!(optimizer.monitor().at(steps).unwrap().ratio, all);
}

fn one_group_is_as_good_as_another<B: UpdateKernels>() {
    let case = Case::read("default");
    let toy = Toy::<Autodiff<B>>::new(&case.inputs);
    let scope = case.scope::<B>(&toy);
    let mut plain = optimizer::<B>(&case, case.config(), scope.clone());
    // All parameters in a part of their own, to the same ratio.
    let groups = vec![case.config().schedule.towards(0.2)];
    let config = PruningConfig { groups, ..case.config() };
    let mut grouped = optimizer::<B>(&case, config, scope.in_groups(|_| 1));
    let (mut a, mut b) = (toy.clone(), toy);
    for update in 0..case.count("steps") {
        let ga = gradients::<B>(&a, &case.inputs, update, 1.0);
        let gb = gradients::<B>(&b, &case.inputs, update, 1.0);
        a = plain.step(case.rate().at(update), a, ga);
        b = grouped.step(case.rate().at(update), b, gb);
    }
    let values = |toy: &Toy<_>| toy.weights().into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(values(&a), values(&b));
}
