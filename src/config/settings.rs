//! Every setting of a run. The names, and the defaults unless said otherwise, are the original
//! program's.

use std::path::{Path, PathBuf};

use toml::Table;

use super::declare::{self, Flag, Setting, settings};
use super::forms::{
    Any, AtLeast1, AutoIsNone, Bound, EmptyIsNone, Form, Fraction, MinusOneIsAll, NotNegative,
    NumberOrAuto, OptionalShare, OptionalText, Patterns, Positive, PositiveSingle, Ratios, Seconds,
    Share, Shares, Written, ZeroIsNone,
};
use super::{BackendName, NoiseNorm};
use crate::error::Result;
use crate::kernels::Precision;
use crate::optim::{OptimizerName, Schedule};
use crate::pruning::Pruner;

settings! {
    /// What is learnt, and from what.
    Data in "Data" {
        /// The GLUE task, demo, or one of the task table.
        task: Any<String> = "mnli".to_string(), Flag::Without;
        /// Further tasks that are learnt with it, by an encoder that all have in common and a head for
        /// each.
        more_tasks: Any<Vec<String>> = Vec::new(), Flag::Without;
        /// Of several training sets: above 0, the batches of the first come after those of the others
        /// in each epoch, instead of among them.
        mix_opt: Any<usize> = 0;
        /// Of several training sets: batches of the others for each of the first one, drawn anew each
        /// epoch; 0 for all that there are.
        ratio: NotNegative = 0.0;
        /// Folder with one folder of raw GLUE files per task, or folder of encoded samples.
        data_dir: Any<PathBuf> = PathBuf::from("glue-data");
        /// The original's task table in YAML; its tasks may be your own.
        task_def: EmptyIsNone = PathBuf::new();
        /// Data sets to evaluate, as mnli_matched,mnli_mismatched; without it all of the task's.
        test_datasets: Any<Vec<String>> = Vec::new();
        /// The test sets hold true labels (*_test_labeled.json): score them too.
        with_label: Any<bool> = false;
        /// Training samples of more tokens are dropped.
        max_seq_len: AtLeast1 = 512;
        /// Fill batches with samples of like length.
        bin_on: Any<bool> = false;
        /// Width of the bins that samples of like length share, in tokens.
        bin_size: AtLeast1 = 64;
        /// Growth of the batch size from one bin to the next, longer one.
        bin_grow_ratio: NotNegative = 0.5;
    }

    /// Files of one's own, instead of a GLUE task.
    Own in "Data of your own" {
        /// File to learn from: .csv, .tsv, .jsonl (these also with .gz or .zst) or .parquet.
        train_file: EmptyIsNone = PathBuf::new();
        /// File to evaluate on; without it, --dev-share of the training rows.
        dev_file: EmptyIsNone = PathBuf::new();
        /// File to predict at each evaluation, and to score where it has labels.
        test_file: EmptyIsNone = PathBuf::new();
        /// Column of the text.
        text: OptionalText = String::new();
        /// Column of the second text, of pairs.
        text_pair: OptionalText = String::new();
        /// Column of the label.
        label: OptionalText = String::new();
        /// The labels in the order of their numbers; without it those of the training file: whole
        /// numbers in their order, all others in that of their bytes.
        labels: Any<Vec<String>> = Vec::new();
        /// Learn the labels as numbers, which those with a fraction are in any case.
        regression: Any<bool> = false;
        /// Share of the training rows to evaluate on where there is no --dev-file: of each label
        /// alike, drawn by --seed.
        dev_share: Share = 0.1;
        /// What decides which evaluation was best: ACC, MacroF1, F1, MCC, Pearson or Spearman;
        /// without it the task's first.
        metric: OptionalText = String::new();
    }

    /// What the run begins with.
    Model in "Model" {
        /// What to start from: a Hugging Face folder, a run, or a .pt file of the original program.
        init_checkpoint: Any<PathBuf> = PathBuf::from("checkpoints/bert-base-uncased");
        /// Folder with tokenizer files; without it that of the checkpoint.
        tokenizer: EmptyIsNone = PathBuf::new();
        /// Fine-tuned checkpoint to start from with its head (a warm start, with --resume).
        model_ckpt: EmptyIsNone = PathBuf::new(), Flag::Requires("resume");
        /// Kind of the encoder, to be compared with the checkpoint's: bert (the original's 1), roberta
        /// (2), electra (7), distilbert, xlm-roberta or camembert.
        encoder_type: Any<String> = String::new();
        /// Begin with the head of a checkpoint that is fine-tuned for the task; labels are matched by
        /// name.
        keep_head: Any<bool> = false;
        /// Keep the first so many encoder layers; -1 for all.
        num_hidden_layers: MinusOneIsAll = -1;
        /// Draw the weights afresh, unless --model-ckpt brings some; take only sizes and tokenizer from
        /// the checkpoint.
        from_scratch: Any<bool> = false;
        /// Dropout before the last layer of the head, in [0, 1).
        dropout_p: Share = 0.1;
        /// Dropout before the heads of --more-tasks, found where the run begins.
        more_dropouts: Shares = Vec::new(), Flag::Without;
        /// Dropout inside the encoder, in [0, 1).
        bert_dropout_p: Share = 0.1;
    }

    /// Which weights go, and when.
    Pruning in "Pruning" {
        /// What decides which weights go: platon, magnitude or none.
        pruner: Any<Pruner> = Pruner::Platon;
        /// Remaining ratio before pruning, in (0, 1]; auto for the one that the checkpoint has.
        initial_threshold: AutoIsNone = NumberOrAuto::Number(1.0);
        /// Remaining ratio at the end, in (0, 1].
        final_threshold: Any<f64> = 0.15;
        /// Unit of the two warm-ups, in updates.
        warmup_steps: Any<usize> = 5400;
        /// Updates before pruning, in warmup-steps.
        initial_warmup: Any<usize> = 1;
        /// Updates at the final ratio, in warmup-steps.
        final_warmup: Any<usize> = 2;
        /// Updates before pruning, as a share of the run's; 0 for those of --initial-warmup.
        initial_warmup_share: OptionalShare = 0.0;
        /// Updates at the final ratio, as a share of the run's; 0 for those of --final-warmup.
        final_warmup_share: OptionalShare = 0.0;
        /// Smoothing of the importance, in [0, 1).
        beta1: Share = 0.85;
        /// Smoothing of the uncertainty, in [0, 1).
        beta2: Share = 0.0;
        /// Window over which sensitivities are averaged, in updates.
        delta_t: AtLeast1 = 1, Flag::Alias("deltaT");
        /// Prune only parameters that have one of these parts in their Hugging Face names, as
        /// layer.0.,layer.*.attention (* stands for any text); without it all dense layers of the
        /// encoder.
        prune_include: Patterns = Vec::new();
        /// Do not prune parameters that have one of these parts in their names.
        prune_exclude: Patterns = Vec::new();
        /// Prune the tables of the embeddings too.
        prune_embeddings: Any<bool> = false;
        /// Parts with thresholds and final ratios of their own, as embeddings=0.5,layer.0.=0.4; of
        /// several the first that is in a name counts.
        prune_ratios: Ratios = Vec::new();
        /// Prunable weights that are zero in the checkpoint stay zero.
        keep_zeros: Any<bool> = false;
    }

    /// What an update minimises besides the distance from the labels.
    Objective in "Objective" {
        /// Model whose answers are learnt from: a run, a Hugging Face folder with a classifier for the
        /// task, or self for the same model, which is then first trained without pruning.
        teacher: EmptyIsNone = PathBuf::new();
        /// Weight of the distance from the teacher's answers, in [0, 1]; the labels have the rest.
        distill_weight: Fraction = 1.0;
        /// Divides the logits of classes before they are compared with the teacher's.
        distill_temperature: Positive = 2.0;
        /// Weight of the distance from the teacher's hidden states, layer by layer, beside all else; 0
        /// for none. The teacher must have the same tokenizer.
        distill_hidden: NotNegative = 0.0;
        /// Learn from the field softlabel of encoded samples too, if above 0: by the squared distance
        /// of the logits from it.
        mkd_opt: Any<usize> = 0;
        /// Learn to answer alike where noise is added to the word vectors (SMART).
        adv_train: Any<bool> = false;
        /// Weight of what adv_train adds.
        adv_alpha: NotNegative = 1.0;
        /// How often the noise is moved to where the answers change more.
        adv_k: Any<usize> = 1;
        /// By how much of its gradient the noise is moved each time.
        adv_step_size: NotNegative = 1e-5;
        /// Standard deviation of the noise at first.
        adv_noise_var: NotNegative = 1e-5;
        /// What the noise is divided by: inf for its largest value, l2 for its length, l1 for its signs.
        adv_p_norm: Any<NoiseNorm> = NoiseNorm::Inf;
        /// Whose noise is brought to one size by itself: with 0 each token's, above that each text's.
        adv_norm_level: Any<usize> = 0;
        /// Added to what the noise is divided by.
        adv_epsilon: Positive = 1e-6;
    }

    /// How weights are updated.
    Optimisation in "Optimisation" {
        /// What updates the weights: adamax, adam, adamw, radam or sgd.
        optimizer: Any<OptimizerName> = OptimizerName::Adamax;
        /// Samples per batch.
        batch_size: AtLeast1 = 32;
        /// Batches per update, whose gradients add up.
        grad_accumulation_step: AtLeast1 = 1;
        /// Passes over the training set.
        epochs: AtLeast1 = 5;
        /// Full learning rate.
        learning_rate: Positive = 5e-5;
        /// Share of the updates over which the learning rate rises, in [0, 1).
        warmup: Share = 0.1;
        /// Course of the learning rate: warmup_linear, linear, constant or cosine.
        warmup_schedule: Any<Schedule> = Schedule::WarmupLinear;
        /// Decoupled weight decay (the original's flag has no effect: it always takes 0.01).
        weight_decay: NotNegative = 0.01;
        /// Epsilon of adamax, adam, adamw and radam.
        adam_eps: PositiveSingle = 1e-6;
        /// Momentum of sgd, in [0, 1).
        momentum: Share = 0.0;
        /// Largest norm of all gradients together; 0 for no clipping.
        global_grad_clipping: Bound = 1.0;
        /// After that, largest norm of each tensor's gradient; 0 for no clipping.
        grad_clipping: Bound = 0.0;
        /// Seeds initial weights, batch order and dropout.
        seed: Any<u64> = 2018;
    }

    /// What a run writes, and when it evaluates and saves.
    Logging in "Logging" {
        /// Updates between two log lines.
        log_per_updates: AtLeast1 = 500;
        /// Updates between two evaluations, besides those at each epoch's end; 0 for never.
        eval_per_updates: ZeroIsNone = 5000;
        /// Samples per batch of an evaluation.
        batch_size_eval: AtLeast1 = 32;
        /// Updates between two checkpoints, with --save-per-updates-on.
        save_per_updates: AtLeast1 = 10_000;
        /// Save a checkpoint every --save-per-updates updates too.
        save_per_updates_on: Any<bool> = false;
        /// How many of the latest checkpoints to keep, besides the best one.
        keep_checkpoints: AtLeast1 = 2;
        /// Keep the checkpoints of a finished run, optimizer state and all.
        keep_state: Any<bool> = false;
        /// Name of the log in the run folder.
        log_file: Any<String> = "log.log".to_string();
        /// Write TensorBoard event files.
        tensorboard: Any<bool> = false;
        /// Their folder in the run folder.
        tensorboard_logdir: Any<String> = "tensorboard_logdir".to_string();
        /// Predict the test sets too, and write files for the GLUE server.
        glue_format_on: Any<bool> = false;
    }

    /// Where and how long a run works.
    Run in "Run" {
        /// Run folder; without it checkpoints/runs/TASK-PRUNER-RATIO (or TASK-none), numbered where it
        /// exists.
        output_dir: EmptyIsNone = PathBuf::new();
        /// flex, ndarray, cuda or wgpu.
        backend: Any<BackendName> = BackendName::default();
        /// Divide each update among all GPUs of the backend.
        multi_gpu_on: Any<bool> = false;
        /// What the matrix products of updates take their factors in: f32, or, for GPUs, f16 with
        /// loss scaling (the original's --fp16) or bf16.
        precision: Any<Precision> = Precision::Single;
        /// Stop after so many updates, the schedules being those of the full run; 0 for never.
        max_steps: ZeroIsNone = 0;
        /// Seconds that the processes of a run (started by mpirun or srun) wait for one that does not
        /// answer.
        peer_timeout: Seconds = 60;
    }
}

/// The settings that may differ where a run goes on from a checkpoint. They say where it reads and
/// writes and what it reports, but decide no weight; what those of the paths lead to is compared
/// instead. A checkpoint is bound to all others.
pub const FREE: [&str; 22] = [
    "data_dir",
    "encoder_type",
    "train_file",
    "dev_file",
    "test_file",
    "task_def",
    "init_checkpoint",
    "tokenizer",
    "model_ckpt",
    "teacher",
    "log_per_updates",
    "eval_per_updates",
    "batch_size_eval",
    "save_per_updates",
    "save_per_updates_on",
    "keep_checkpoints",
    "keep_state",
    "log_file",
    "tensorboard",
    "tensorboard_logdir",
    "output_dir",
    "peer_timeout",
];

/// All groups.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Groups {
    pub data: Data,
    pub own: Own,
    pub model: Model,
    pub pruning: Pruning,
    pub objective: Objective,
    pub optimisation: Optimisation,
    pub logging: Logging,
    pub run: Run,
}

impl Groups {
    /// The meaning of `table`, which has all settings.
    pub fn read(table: &Table) -> Result<Self> {
        Ok(Self {
            data: Data::read(table)?,
            own: Own::read(table)?,
            model: Model::read(table)?,
            pruning: Pruning::read(table)?,
            objective: Objective::read(table)?,
            optimisation: Optimisation::read(table)?,
            logging: Logging::read(table)?,
            run: Run::read(table)?,
        })
    }

    /// The reverse.
    pub fn write(&self, table: &mut Table) -> Result<()> {
        self.data.write(table)?;
        self.own.write(table)?;
        self.model.write(table)?;
        self.pruning.write(table)?;
        self.objective.write(table)?;
        self.optimisation.write(table)?;
        self.logging.write(table)?;
        self.run.write(table)
    }
}

impl Data {
    /// Width of the bins in tokens, and the growth of their batches; `None` where any samples share a
    /// batch.
    pub fn bins(&self) -> Option<(usize, f64)> {
        self.bin_on.then_some((self.bin_size, self.bin_grow_ratio))
    }
}

impl Model {
    /// What the weights are read from; `None` where they are drawn afresh.
    pub fn weights(&self) -> Option<&Path> {
        let init = (!self.from_scratch).then_some(&self.init_checkpoint);
        self.model_ckpt.as_ref().or(init).map(PathBuf::as_path)
    }

    /// Whether all of them are drawn afresh.
    pub fn draws_weights(&self) -> bool {
        self.weights().is_none()
    }

    /// Whether they are those of `init_checkpoint`.
    pub fn reads_init_checkpoint(&self) -> bool {
        !self.from_scratch && self.model_ckpt.is_none()
    }
}

impl Pruning {
    /// Updates before pruning, and at the final ratio, of a run of `total`.
    pub fn warmups(&self, total: usize) -> (usize, usize) {
        let share = |share: Option<f64>, count: usize| match share {
            Some(share) => (share * total as f64).round() as usize,
            None => count.saturating_mul(self.warmup_steps),
        };
        let first = share(self.initial_warmup_share, self.initial_warmup);
        (first, share(self.final_warmup_share, self.final_warmup))
    }
}

impl Logging {
    /// Updates between two checkpoints, besides those at evaluations.
    pub fn save_every(&self) -> Option<usize> {
        self.save_per_updates_on.then_some(self.save_per_updates)
    }

    /// The folder of the events, where they are wanted.
    pub fn events(&self) -> Option<&str> {
        self.tensorboard.then_some(self.tensorboard_logdir.as_str())
    }
}
