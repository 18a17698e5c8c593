//! How often an update waits for the GPU: every number that is read back to the host stops the host
//! until the queue before it is empty.
//!
//! All of burn's reads on CubeCL's backends, whatever the type of the numbers, go through one function
//! that waits for a future, and which opens a span for `tracing`. It does so on the thread that
//! reads, and a subscriber can be that of one thread, so that other tests do not count here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::backend::Autodiff;
use burn::optim::Optimizer;
use burn::tensor::{ElementConversion, Int, Tensor};
use burn_train::TrainStep;
use burn_train::metric::ItemLazy;
use platon::glue::batch::UpdateBatch;
use platon::kernels::{LayerKernels, ModelKernels, UpdateKernels};
use platon::optim::{Adamax, AdamaxConfig};
use platon::pruning::{
    AnyCriterion, Counting, CriterionConfig, PlatonOptimizer, Pruner, PruningConfig, RatioSchedule,
    Scope, Smoothing,
};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::fixtures::say;
use crate::options::{SAMPLES, SINGLE, shares, trainee};

#[cfg(feature = "cuda")]
mod cuda {
    #[test]
    fn only_updates_that_mask_read_anything() {
        super::only_updates_that_mask_read_anything::<burn_cuda::Cuda<f32, i32>>();
    }
}

#[cfg(feature = "wgpu")]
mod wgpu {
    #[test]
    fn only_updates_that_mask_read_anything() {
        super::only_updates_that_mask_read_anything::<burn_wgpu::Wgpu<f32, i32>>();
    }
}

/// Counts the spans of CubeCL's waiting.
struct Waits(Arc<AtomicUsize>);

impl Subscriber for Waits {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cubecl_common::future" && metadata.name() == "block_on"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1 + self.0.fetch_add(1, Ordering::Relaxed) as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What `work` gives, and how often this thread waited in it.
fn waits<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let count = Arc::new(AtomicUsize::new(0));
    let result = tracing::subscriber::with_default(Waits(count.clone()), work);
    (result, count.load(Ordering::Relaxed))
}

/// Each kind of number is seen to be read, and nothing else is.
fn reads_are_counted<B: UpdateKernels>() {
    let device = B::Device::default();
    let ((), nothing) = waits(|| {
        let ones = Tensor::<B, 1>::ones([8], &device);
        let _ = (ones.clone() * ones).sum();
    });
    assert_eq!(nothing, 0);
    let ones = || Tensor::<B, 1>::ones([8], &device);
    for (kind, (_, count)) in [
        ("float", waits(|| drop(ones().sum().into_data()))),
        ("int", waits(|| drop(Tensor::<B, 1, Int>::arange(0..8, &device).into_data()))),
        ("bool", waits(|| drop(ones().greater_elem(0.5).into_data()))),
        ("scalar", waits(|| assert_eq!(ones().max().into_scalar().elem::<f32>(), 1.0))),
    ] {
        assert_eq!(count, 1, "{kind}");
    }
}

fn only_updates_that_mask_read_anything<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    /// The norm of all gradients and the loss, which burn-train's metrics take of every update, on
    /// a thread of their own.
    const NORM_AND_LOSS: usize = 2;
    /// For a threshold: the range of all scores is halved as often as they have bits.
    const BITS: usize = 32;
    reads_are_counted::<B>();
    let device = B::Device::default();
    let mut learner = trainee::<B>(&device, SINGLE);
    let smoothing = Smoothing { beta1: 0.85, beta2: 0.95 };
    let criterion = CriterionConfig { pruner: Pruner::Platon, smoothing, window: 4 };
    let config = PruningConfig::<AnyCriterion> {
        criterion: criterion.init(),
        // Falls from update 5 on, and is at its end from update 12 on.
        schedule: RatioSchedule::new((1.0, 0.5), 4, 1, 1, 4, 16).unwrap(),
        groups: Vec::new(),
        keep_zeros: false,
        max_grad_norm: Some(1.0),
        max_tensor_norm: None,
        counting: Counting::default(),
    };
    let scope = Scope::new(&learner, |path| Some(path.join(".")));
    let inner: Adamax = AdamaxConfig::new().init();
    let mut optimizer = PlatonOptimizer::<_, _, Autodiff<B>>::new(inner, config, scope);
    let monitor = optimizer.monitor();
    let mut counts = Vec::new();
    for update in 1..=16 {
        let shares = shares::<B>(std::slice::from_ref(&device), 8, 1);
        let (output, count) = waits(|| {
            let batch = UpdateBatch {
                update,
                started: None,
                shares,
                offset: 0,
                divisor: SAMPLES,
                samples: SAMPLES,
            };
            let output = learner.step(batch);
            learner = optimizer.step(1e-3, learner.clone(), output.grads);
            output.item
        });
        let norm = || monitor.at(update).map_or(0.0, |status| status.grad_norm.value());
        let ((loss, norm), metrics) = waits(|| (output.sync().0.loss, norm()));
        assert!(loss.is_finite() && norm > 0.0, "update {update}: {loss}, {norm}");
        assert_eq!(metrics, NORM_AND_LOSS, "update {update}");
        counts.push(count);
    }
    let device = B::name(&device);
    say(&format!("reads on {device}, updates 1 to 16: {counts:?}"));
    for (update, count) in (1..).zip(counts) {
        match update {
            // It is counted once what remains.
            1 => assert_eq!(count, 1, "update {update}"),
            // The ends of windows: a new threshold. Between them the final phase has its masks.
            8 | 12 | 16 => assert!((1..=BITS).contains(&count), "update {update}: {count}"),
            _ => assert_eq!(count, 0, "update {update}"),
        }
    }
}
