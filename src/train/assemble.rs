//! Makes what a run consists of from its settings and its plan.

use burn::lr_scheduler::LrScheduler;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_train::Interrupter;

use super::checkpointer::read;
use super::clock::Clock;
use super::digest::digest_of;
use super::loss_scale::LossScale;
use super::objective::Objective;
use super::plan::Plan;
use super::start::Start;
use super::step::{StepContext, Trainee};
use super::teacher::states_teacher;
use crate::bert::weights::{self, Loaded, Parts};
use crate::bert::{BertClassifier, Checkpoint};
use crate::config::{Pruning, RunConfig};
use crate::error::{Error, Result};
use crate::infer::model::classifier_for;
use crate::kernels::{Precision, TrainingBackend};
use crate::optim::{AnyOptimizer, OptimizerConfig, WarmupSchedule};
use crate::pruning::{
    AnyCriterion, Counting, CriterionConfig, PlatonOptimizer, PruningConfig, Scope, Smoothing,
};
use crate::run::checkpoints::{PARTS, Whole};
use crate::run::journal::{Lines, Setup};
use crate::run::outputs::{Outputs, remove_events};
use crate::run::{Journal, RunFolder};
use crate::seed::mix;
use crate::world::World;

/// The optimizer of every run.
pub(super) type RunOptimizer<B> =
    PlatonOptimizer<AnyOptimizer<<B as AutodiffBackend>::InnerBackend>, AnyCriterion, B>;

/// What a run consists of besides its data.
pub(super) struct Assembled<B: TrainingBackend> {
    pub trainee: Trainee<B>,
    pub optimizer: RunOptimizer<B>,
    pub rate: WarmupSchedule,
    pub journal: Journal,
    pub loss_scale: Option<LossScale>,
    /// The remaining ratio that the run is for.
    pub final_ratio: f64,
    /// Tensors of the checkpoint that the model has no place for.
    pub unused: Vec<String>,
    /// What of the run's side files is lost.
    pub lost: Vec<String>,
}

/// What of a run's surroundings its parts need.
pub(super) struct Surroundings<'a> {
    pub config: &'a RunConfig,
    pub folder: &'a RunFolder,
    pub interrupter: &'a Interrupter,
    pub world: &'a World,
    /// Receives the journal's lines.
    pub lines: Option<Lines>,
}

/// Makes the parts of a run that begins at `start`; the weights are on the first of `devices`.
///
/// # Errors
/// A model or a record that cannot be loaded, before anything is written; a file that cannot be
/// written; devices without products of the precision that the settings want.
pub(super) fn assemble<B: TrainingBackend>(
    surroundings: Surroundings,
    plan: &Plan,
    checkpoint: Checkpoint,
    start: &Start,
    devices: &[B::Device],
) -> Result<Assembled<B>> {
    let Surroundings { config, folder, interrupter, world, lines } = surroundings;
    let device = devices.first().cloned().unwrap_or_default();
    check_precision::<B>(config, devices)?;
    let precision = config.run().precision;
    let loss_scale = (precision == Precision::Half).then(LossScale::default);
    if let (Some(scale), Some(record)) = (&loss_scale, start.record.loss_scale) {
        scale.resume(record);
    }
    let Loaded { model: net, unused } = model::<B>(config, plan, checkpoint, start, &device)?;
    if !world.is_alone() && start.whole.is_none() {
        world.same("weights in --init-checkpoint", &digest_of(&net))?;
    }
    let (objective, projection) = match states_teacher::<B>(plan, config, folder, &device)? {
        None => (Objective::new(config), None),
        Some((teacher, width)) => {
            let weight = config.objective().distill_hidden;
            let own = plan.bert.hidden_size;
            let projection = (own != width).then(|| projection::<B>(own, width, &device));
            (Objective::new(config).with_states_of::<B>(teacher, weight), projection)
        }
    };
    let scope = plan.selection.scope(&net).within("net");
    let final_ratio = plan.selection.final_ratio(config, &scope);
    let clock = Clock::default();
    let optimizer = optimizer::<B>(config, plan, scope.clone());
    let monitor = optimizer.monitor();
    let record = &start.record;
    clock.resume(record.update, record.seconds);
    monitor.resume(record.pruning_seconds);
    let (outputs, lost_events) = outputs(config, folder, &scope, start)?;
    let interrupter = interrupter.clone();
    let prunes = config.pruning().pruner.prunes();
    let mut courses = plan.selection.schedules(&plan.schedule);
    courses.push(plan.schedule.clone());
    let are_at_end = move |step| courses.iter().all(|course| course.reaches_final_ratio(step));
    let (journal, mut lost) = Journal::open(Setup {
        folder,
        log_file: &config.logging().log_file,
        updates: plan.updates.clone(),
        log_every: config.logging().log_per_updates,
        sets: plan.sets.iter().map(|set| set.about.clone()).collect(),
        outputs,
        stop: Box::new(move || interrupter.stop(Some(FAILED))),
        lines,
        reaches_final_ratio: Box::new(move |step| !prunes || are_at_end(step)),
        record: record.clone(),
    })?;
    lost.extend(lost_events.map(|error| format!("{error}; a new event file begins")));
    let context = StepContext {
        seed: config.optimisation().seed,
        monitor,
        clock,
        journal: Some(journal.clone()),
        precision,
        loss_scale: loss_scale.clone(),
        world: world.clone(),
        objective,
    };
    let trainee = Trainee::new(net, context).with_projection(projection);
    let rate = WarmupSchedule {
        learning_rate: config.optimisation().learning_rate,
        warmup: config.optimisation().warmup,
        schedule: config.optimisation().warmup_schedule,
        total: plan.updates.total(),
        update: 0,
    };
    let assembled =
        Assembled { trainee, optimizer, rate, journal, loss_scale, final_ratio, unused, lost };
    match &start.whole {
        Some(whole) => assembled.restored(whole, &device),
        None => Ok(assembled),
    }
}

/// The reason to give to the interrupter when a checkpoint or the journal fails.
const FAILED: &str = "the run cannot be recorded";

impl<B: TrainingBackend> Assembled<B> {
    /// The same as it was at a checkpoint.
    fn restored(self, whole: &Whole, device: &B::Device) -> Result<Self> {
        let [model, state, schedule] = PARTS;
        let trainee = self.trainee.load_record(read::<B, _>(whole, model, device)?);
        let record = read::<B, _>(whole, state, device)?;
        let optimizer = self.optimizer.restored::<Trainee<B>>(record, whole.update)?;
        let rate = read::<B, usize>(whole, schedule, device)?;
        let rate = LrScheduler::load_record::<B>(self.rate, rate);
        Ok(Self { trainee, optimizer, rate, ..self })
    }
}

/// A layer of so many inputs and outputs, drawn now: burn would do so where it is first used.
fn projection<B: AutodiffBackend>(inputs: usize, outputs: usize, device: &B::Device) -> Linear<B> {
    let layer = LinearConfig::new(inputs, outputs).init(device);
    let Linear { weight, bias } = &layer;
    let _ = (weight.val(), bias.as_ref().map(|bias| bias.val()));
    layer
}

/// Refuses products that the devices do not compute.
fn check_precision<B: Backend>(config: &RunConfig, devices: &[B::Device]) -> Result<()> {
    let precision = config.run().precision;
    let Some(kind) = precision.factors() else { return Ok(()) };
    if devices.iter().all(|device| B::supports_dtype(device, DType::from(kind))) {
        return Ok(());
    }
    let expected = format!("a backend and device that compute in {}", precision.name());
    let found = config.run().backend.name();
    Err(Error::value("precision", expected, found)
        .hint("`platon doctor` tells what each backend computes in; f32 is what all do"))
}

/// The model as the run begins, or one of its sizes for a record to be loaded into.
fn model<B: AutodiffBackend>(
    config: &RunConfig,
    plan: &Plan,
    checkpoint: Checkpoint,
    start: &Start,
    device: &B::Device,
) -> Result<Loaded<BertClassifier<B>>> {
    let classifier = plan.classifier(config);
    if start.whole.is_some() {
        return Ok(Loaded { model: classifier.init::<B>(device), unused: Vec::new() });
    }
    let settings = config.model();
    // Read first: a model of sizes that its file does not have would only take memory.
    let (tensors, parts) = if let Some(path) = &settings.model_ckpt {
        (Some(classifier_for(Checkpoint::open(path)?, plan.task)?.0), Parts::All)
    } else if settings.draws_weights() {
        (None, Parts::Encoder)
    } else if settings.keep_head {
        (Some(classifier_for(checkpoint, plan.task)?.0), Parts::All)
    } else {
        (Some(checkpoint.into_tensors()?), Parts::Encoder)
    };
    B::seed(device, mix(config.optimisation().seed, u64::MAX));
    let net = classifier.init::<B>(device);
    match tensors {
        Some(tensors) => weights::load(net, tensors, parts, device),
        None => Ok(Loaded { model: net, unused: Vec::new() }),
    }
}

fn optimizer<B: TrainingBackend>(config: &RunConfig, plan: &Plan, scope: Scope) -> RunOptimizer<B> {
    let settings = config.optimisation();
    let inner = OptimizerConfig {
        name: settings.optimizer,
        epsilon: settings.adam_eps,
        weight_decay: settings.weight_decay,
        momentum: settings.momentum,
    };
    let Pruning { pruner, beta1, beta2, delta_t, .. } = *config.pruning();
    let smoothing = Smoothing { beta1, beta2 };
    let criterion = CriterionConfig { pruner, smoothing, window: delta_t };
    let pruning = PruningConfig {
        criterion: criterion.init(),
        schedule: plan.schedule.clone(),
        groups: plan.selection.schedules(&plan.schedule),
        keep_zeros: config.pruning().keep_zeros,
        max_grad_norm: settings.global_grad_clipping,
        max_tensor_norm: settings.grad_clipping,
        counting: Counting {
            every: config.logging().log_per_updates,
            also: plan.updates.chunks().iter().map(|chunk| chunk.end).collect(),
        },
    };
    PlatonOptimizer::new(inner.init(), pruning, scope)
}

fn outputs(
    config: &RunConfig,
    folder: &RunFolder,
    scope: &Scope,
    start: &Start,
) -> Result<(Outputs, Option<Error>)> {
    let settings = config.logging();
    if start.update() == 0 {
        // What there is will be written again.
        remove_events(&folder.named(&settings.tensorboard_logdir))?;
    }
    let resumed = start.record.events.as_ref();
    Outputs::new(folder, settings.events(), settings.glue_format_on, scope, resumed)
}
