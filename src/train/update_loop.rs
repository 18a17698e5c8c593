//! The loop over a run's updates: burn-train's own one for a single device, but that it can begin
//! and end at any update, and that it waits for its checkpoints.

use std::sync::Arc;

use burn::data::dataloader;
use burn::module::AutodiffModule;
use burn::tensor::Device;
use burn::tensor::backend::DeviceOps;
use burn_train::checkpoint::{AsyncCheckpointer, CheckpointingAction, CheckpointingStrategy};
use burn_train::metric::store::EventStoreClient;
use burn_train::{
    EventProcessorTraining, InferenceStep, Interrupter, Learner, LearnerEvent,
    LearningCheckpointer, LearningComponentsTypes, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingBackend, TrainingComponents,
    TrainingItem, TrainingModel, ValidLoader,
};

use super::checkpointer::Writing;
use super::digest::digest_of;
use super::loss_scale::LossScale;
use crate::error::Result;
use crate::glue::updates::Updates;
use crate::run::checkpoints::{Checkpoints, PARTS};
use crate::run::record::Binding;
use crate::run::{Journal, RunLock};
use crate::world::{At, World};

/// The updates of a run; the loader's batches may lie on several devices.
pub struct UpdateLoop<LC: LearningComponentsTypes> {
    /// The run's updates, in chunks between its pauses.
    pub updates: Arc<Updates>,
    /// The updates done before.
    pub start: usize,
    /// Knows what has been logged and evaluated.
    pub journal: Journal,
    /// Where checkpoints go.
    pub checkpoints: Checkpoints,
    /// Of runs in half precision.
    pub loss_scale: Option<LossScale>,
    /// What checkpoints are bound to.
    pub binding: Binding,
    /// Keeps other processes from the run folder.
    pub lock: RunLock,
    /// Those that do these updates together.
    pub world: World,
    /// Where the weights are.
    pub device: Device<TrainingBackend<LC>>,
}

/// burn's way to be told when to save; this loop decides it.
struct Always;

impl CheckpointingStrategy for Always {
    fn checkpointing(
        &mut self,
        _epoch: usize,
        _store: &EventStoreClient,
    ) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

/// What the loop works with.
struct Work<'a, LC: LearningComponentsTypes> {
    plan: &'a UpdateLoop<LC>,
    learner: Learner<LC>,
    processor: SupervisedTrainingEventProcessor<LC>,
    interrupter: Interrupter,
    /// The last update done.
    update: usize,
    saver: LearningCheckpointer<LC>,
    writing: Writing,
}

impl<LC: LearningComponentsTypes> SupervisedLearningStrategy<LC> for UpdateLoop<LC> {
    fn fit(
        &self,
        components: TrainingComponents<LC>,
        mut learner: Learner<LC>,
        train: TrainLoader<LC>,
        valid: ValidLoader<LC>,
        _starting_epoch: usize,
    ) -> (TrainingModel<LC>, SupervisedTrainingEventProcessor<LC>) {
        let valid = valid.to_device(self.device.inner());
        learner.fork(&self.device);
        let writing = Writing::default();
        let [model, optimizer, rate] = PARTS;
        let mut work = Work {
            plan: self,
            learner,
            processor: components.event_processor,
            interrupter: components.interrupter,
            update: self.start,
            saver: LearningCheckpointer::new(
                AsyncCheckpointer::new(writing.part(model)),
                AsyncCheckpointer::new(writing.part(optimizer)),
                AsyncCheckpointer::new(writing.part(rate)),
                Box::new(Always),
            ),
            writing,
        };
        let result = work.run(&train, &valid, &components.event_store);
        if let Err(error) = result {
            self.journal.fail(error);
        }
        let Work { learner, processor, .. } = work;
        (learner.model(), processor)
    }
}

impl<LC: LearningComponentsTypes> Work<'_, LC> {
    fn run(
        &mut self,
        train: &TrainLoader<LC>,
        valid: &ValidLoader<LC>,
        store: &EventStoreClient,
    ) -> Result<()> {
        let UpdateLoop { updates, start, journal, .. } = self.plan;
        let chunks = updates.chunks();
        for (n, chunk) in (1..).zip(chunks) {
            let global = dataloader::Progress::new(n, chunks.len());
            // A run that stopped before an evaluation was complete begins with it.
            let evaluates = updates.evaluates_after(chunk.end);
            let evaluate_first =
                evaluates && chunk.end == *start && journal.evaluated_at() != *start;
            if chunk.end <= *start && !evaluate_first {
                continue;
            }
            if !evaluate_first {
                self.train(train, &global);
            }
            let mut known = journal.wait_for(self.update, false);
            if known && evaluates && !self.stops() && self.evaluate(valid, &global) {
                known = journal.wait_for(self.update, true);
            }
            // Whoever looks at updates has died: nobody knows what the weights are worth.
            if !known {
                break;
            }
            self.save(store)?;
            if self.stops() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the run is to stop here. Of many ranks, all stop at the same place: where all know of
    /// it. One that has failed stops at once, and tells the others when it ends.
    fn stops(&self) -> bool {
        let UpdateLoop { world, journal, .. } = self.plan;
        if world.is_alone() {
            return self.interrupter.should_stop();
        }
        let stop = world.stop();
        if let (Some(reason), false) = (&stop, self.interrupter.should_stop()) {
            self.interrupter.stop(Some(reason));
        }
        stop.is_some() || journal.has_failed()
    }

    /// Updates to the end of the chunk, or until a stop is asked for.
    fn train(&mut self, loader: &TrainLoader<LC>, global: &dataloader::Progress) {
        let mut iterator = loader.iter();
        let mut iteration = 0;
        while let Some(item) = iterator.next() {
            iteration += 1;
            self.learner.lr_step();
            let progress = iterator.progress();
            let output = self.learner.train_step(item);
            self.learner.optimizer_step(output.grads);
            self.update += 1;
            let rate = Some(self.learner.lr_current());
            let item =
                TrainingItem::new(output.item, progress, global.clone(), Some(iteration), rate);
            self.processor.process_train(LearnerEvent::ProcessedItem(item));
            if self.stops() {
                break;
            }
        }
        self.processor.process_train(LearnerEvent::EndEpoch(global.items_processed));
    }

    /// Whether all batches were evaluated, and any at all.
    fn evaluate(&mut self, loader: &ValidLoader<LC>, global: &dataloader::Progress) -> bool {
        let model = self.learner.model().valid();
        let mut iterator = loader.iter();
        let mut iteration = 0;
        while let Some(item) = iterator.next() {
            iteration += 1;
            let progress = iterator.progress();
            let item = model.step(item);
            let item = TrainingItem::new(item, progress, global.clone(), Some(iteration), None);
            self.processor.process_valid(LearnerEvent::ProcessedItem(item));
            if self.stops() {
                break;
            }
        }
        let done = iterator.progress();
        self.processor.process_valid(LearnerEvent::EndEpoch(global.items_processed));
        iteration > 0 && done.items_processed == done.items_total
    }

    /// Saves a checkpoint, unless the run has failed: what it would hold is of no use.
    fn save(&mut self, store: &EventStoreClient) -> Result<()> {
        let UpdateLoop { journal, world, .. } = self.plan;
        if journal.has_failed() {
            return Ok(());
        }
        if !world.is_alone() {
            world.same_weights(self.update, &digest_of(&self.learner.model()))?;
        }
        let written = if world.is_first() { self.write(store) } else { Ok(()) };
        world.agree(At::Saved, written)
    }

    fn write(&mut self, store: &EventStoreClient) -> Result<()> {
        let UpdateLoop { journal, checkpoints, loss_scale, binding, lock, .. } = self.plan;
        let unfinished = checkpoints.begin(self.update, lock)?;
        self.writing.begin(&unfinished);
        self.saver.checkpoint(&self.learner, self.update, store);
        let written = self.writing.wait();
        let complete = || {
            let loss_scale = loss_scale.as_ref().map(LossScale::state);
            checkpoints.complete(&unfinished, &journal.record(loss_scale, binding)?)
        };
        written.and_then(|()| complete()).inspect_err(|_| unfinished.discard())
    }
}
