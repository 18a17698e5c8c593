//! The optimizer's record: a restored run goes on as if nothing had happened.

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module};
use burn::optim::Optimizer;
use burn::tensor::backend::AutodiffBackend;
use platon::kernels::UpdateKernels;

use crate::backends::on_every_backend;
use crate::prune::{Case, Toy, gradients, start};

on_every_backend!(
    a_restored_optimizer_goes_on_identically_inside_a_window,
    a_checkpoint_loads_into_a_model_made_anew,
);

/// What a checkpoint does, for an optimizer of modules like `_toy`.
fn reload<M: AutodiffModule<B>, B: AutodiffBackend, O: Optimizer<M, B>>(
    _toy: &M,
    fresh: O,
    saved: &O,
) -> O {
    fresh.load_record(saved.to_record())
}

fn a_restored_optimizer_goes_on_identically_inside_a_window<B: UpdateKernels>() {
    let case = Case::read("default");
    let (mut toy, mut optimizer) = start::<B>(&case);
    let rate = case.rate();
    let mut restored = None;
    for update in 0..case.count("steps") {
        if update == 165 {
            // In the final phase, between two window boundaries: masks come from a cached decision.
            let (_, fresh) = start::<B>(&case);
            restored = Some((toy.clone(), reload(&toy, fresh, &optimizer)));
        }
        let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
        toy = optimizer.step(rate.at(update), toy, grads);
        if let Some((toy, optimizer)) = &mut restored {
            let grads = gradients::<B>(toy, &case.inputs, update, 1.0);
            *toy = optimizer.step(rate.at(update), toy.clone(), grads);
        }
    }
    assert_eq!(toy.weights(), restored.unwrap().0.weights());
}

/// As on resuming: module and optimizer are made anew, then load their records.
fn a_checkpoint_loads_into_a_model_made_anew<B: UpdateKernels>() {
    let case = Case::read("default");
    let (mut toy, mut optimizer) = start::<B>(&case);
    let rate = case.rate();
    let mut restored = None;
    for update in 0..case.count("steps") {
        if update == 95 {
            // While the ratio falls.
            let (fresh_toy, fresh) = start::<B>(&case);
            assert_ne!(toy.query_weight.id, fresh_toy.query_weight.id);
            let loaded = fresh_toy.load_record(toy.clone().into_record());
            let optimizer = reload(&toy, fresh, &optimizer);
            restored = Some((loaded, optimizer));
        }
        let grads = gradients::<B>(&toy, &case.inputs, update, 1.0);
        toy = optimizer.step(rate.at(update), toy, grads);
        if let Some((toy, optimizer)) = &mut restored {
            let grads = gradients::<B>(toy, &case.inputs, update, 1.0);
            *toy = optimizer.step(rate.at(update), toy.clone(), grads);
        }
    }
    let values = |toy: &Toy<Autodiff<B>>| -> Vec<Vec<f32>> {
        toy.weights().into_iter().map(|(_, values)| values).collect()
    };
    assert_eq!(values(&toy), values(&restored.unwrap().0));
}
