//! Options of the original's command line, and what they do to a run.

use std::collections::HashMap;

use burn::backend::Autodiff;
use burn::module::{ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_train::TrainStep;
use burn_train::metric::ItemLazy;
use platon::bert::{Checkpoint, ClassifierConfig, HeadConfig};
use platon::glue::batch::{Batch, Filling, UpdateBatch};
use platon::glue::sample::Sample;
use platon::glue::tsv::Label;
use platon::kernels::{LayerKernels, ModelKernels, Precision, UpdateKernels};
use platon::pruning::{PlatonOptimizer, PruningConfig};
use platon::train::clock::Clock;
use platon::train::loss_scale::LossScale;
use platon::train::step::{StepContext, Trainee};
use platon::world::World;

use crate::backends::{allowed, alone_with_random_numbers, on_every_backend};
use crate::dir::Dir;
use crate::fixtures::{Array, distance, fixture};
use crate::prune::{Case, Toy, gradients, start};

on_every_backend!(
    parts_of_an_update_give_the_gradients_of_the_whole,
    each_gradient_is_clipped_by_its_own_norm,
);

/// All gradients of `module`, one after the other.
struct Flat<'a>(&'a GradientsParams, Vec<f32>);

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let grad = self.0.get::<B, D>(param.id).unwrap();
        self.1.extend(grad.into_data().iter::<f32>());
    }
}

/// The precision of an update's products, and its loss scale.
pub type Arithmetic = (Precision, Option<LossScale>);

/// As updates are computed unless something else is asked for.
pub const SINGLE: Arithmetic = (Precision::Single, None);

/// Loss and gradients of one update of a tiny model without dropout, its samples in parts of the
/// given size, as many parts for each share.
pub fn learned<B>(size: usize, parts: usize, arithmetic: Arithmetic) -> (f64, Vec<f32>)
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    learned_on::<B>(&[B::Device::default()], size, parts, arithmetic)
}

/// The same, the shares being dealt out to `devices`.
fn learned_on<B>(
    devices: &[B::Device],
    size: usize,
    parts: usize,
    arithmetic: Arithmetic,
) -> (f64, Vec<f32>)
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    let trainee = trainee::<B>(&devices[0], arithmetic);
    let shares = shares(devices, size, parts);
    let divisor = SAMPLES;
    let output = trainee.step(UpdateBatch {
        update: 1,
        started: None,
        shares,
        offset: 0,
        divisor,
        samples: divisor,
    });
    let mut flat = Flat(&output.grads, Vec::new());
    burn::module::Module::visit(&trainee, &mut flat);
    (output.item.sync().0.loss, flat.1)
}

/// A tiny model without dropout, ready to learn.
pub fn trainee<B>(device: &B::Device, (precision, loss_scale): Arithmetic) -> Trainee<Autodiff<B>>
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    let bert = Checkpoint::open(&fixture("tiny_bert")).unwrap().config;
    let heads = vec![HeadConfig { outputs: 3, dropout: 0.0 }];
    let config = ClassifierConfig { bert, bert_dropout: 0.0, heads };
    let net = {
        let _alone = alone_with_random_numbers();
        B::seed(device, 5);
        config.init::<Autodiff<B>>(device)
    };
    let context = StepContext {
        seed: 1,
        monitor: Default::default(),
        clock: Clock::default(),
        journal: None,
        precision,
        loss_scale,
        world: World::alone(),
        objective: Default::default(),
    };
    Trainee::new(net, context)
}

/// Samples of [`shares`].
pub const SAMPLES: usize = 8;

/// Some samples of an update, in parts of `size`, `parts` of them for each share; the shares are
/// dealt out to `devices`.
pub fn shares<B: LayerKernels>(
    devices: &[B::Device],
    size: usize,
    parts: usize,
) -> Vec<Vec<Batch<Autodiff<B>>>> {
    let sample = |n: usize| Sample {
        uid: n.to_string(),
        label: Label::Class(n % 3),
        token_id: (0..3 + n as u32).map(|t| 5 + t * 7 % 50).collect(),
        type_id: vec![0; 3 + n],
        attention_mask: vec![1; 3 + n],
        softlabel: Vec::new(),
    };
    let samples: Vec<Sample> = (0..SAMPLES).map(sample).collect();
    let filling = if <B as LayerKernels>::PACKS { Filling::Packed } else { Filling::Padded };
    let share = |(share, device): (&[Sample], &B::Device)| {
        share.chunks(size).map(|part| Batch::new(part.iter(), filling, device)).collect()
    };
    samples.chunks(size * parts).zip(devices.iter().cycle()).map(share).collect()
}

fn parts_of_an_update_give_the_gradients_of_the_whole<B>()
where
    B: LayerKernels + ModelKernels + UpdateKernels,
{
    let (loss, whole) = learned::<B>(8, 1, SINGLE);
    let largest = whole.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    // The last three in shares, as for several devices.
    for (size, parts) in [(4, 2), (3, 3), (1, 8), (4, 1), (1, 3), (3, 1)] {
        let (sum, gradients) = learned::<B>(size, parts, SINGLE);
        assert!(
            distance(&gradients, &whole) < allowed::<B>(2e-6) * largest.max(1.0),
            "{parts} of {size}"
        );
        assert!((sum - loss).abs() < f64::from(allowed::<B>(1e-6)), "{sum} instead of {loss}");
    }
}

/// Two devices of one machine without GPUs: both are its software renderer, yet each has a queue
/// and a memory of its own.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu_two_devices_give_the_gradients_of_one() {
    use burn_wgpu::{Wgpu, WgpuDevice};
    let devices = [WgpuDevice::DefaultDevice, WgpuDevice::Cpu];
    let (loss, whole) = learned::<Wgpu<f32, i32>>(8, 1, SINGLE);
    let largest = whole.iter().fold(0.0, |m: f32, g| m.max(g.abs()));
    for (size, parts) in [(4, 1), (2, 2), (3, 1)] {
        let (sum, gradients) = learned_on::<Wgpu<f32, i32>>(&devices, size, parts, SINGLE);
        assert!(distance(&gradients, &whole) < 2e-6 * largest.max(1.0), "{parts} of {size}");
        assert!((sum - loss).abs() < 1e-6, "{sum} instead of {loss}");
    }
}

fn each_gradient_is_clipped_by_its_own_norm<B: UpdateKernels>() {
    const MAX: f64 = 0.3;
    let case = Case::read("default");
    let (toy, _) = start::<B>(&case);
    let optimizer = |max_tensor_norm: Option<f64>| {
        let config = PruningConfig { max_grad_norm: None, max_tensor_norm, ..case.config() };
        PlatonOptimizer::new(case.adamax().init(), config, case.scope::<B>(&toy))
    };
    let (mut clipping, mut plain) = (optimizer(Some(MAX)), optimizer(None));
    // Each gradient divided by its own norm, computed here.
    let shrink = |(name, array): (&String, &Array)| {
        let mut array = array.clone();
        if name.starts_with("grad.") {
            let size: usize = array.shape[1..].iter().product();
            for row in array.values.chunks_mut(size) {
                let norm = row.iter().map(|g| g * g).sum::<f64>().sqrt();
                let factor = (MAX / (norm + 1e-6)).min(1.0);
                row.iter_mut().for_each(|g| *g *= factor);
            }
        }
        (name.clone(), array)
    };
    let shrunk: HashMap<String, Array> = case.inputs.iter().map(shrink).collect();
    let (mut a, mut b): (Toy<_>, Toy<_>) = (toy.clone(), toy.clone());
    for update in 0..30 {
        let (ga, gb) = (
            gradients::<B>(&a, &case.inputs, update, 1.0),
            gradients::<B>(&b, &shrunk, update, 1.0),
        );
        a = clipping.step(0.05, a, ga);
        b = plain.step(0.05, b, gb);
    }
    for ((_, a), (_, b)) in a.weights().iter().zip(b.weights()) {
        assert!(distance(a, &b) < 1e-5);
    }
    assert_ne!(a.weights(), toy.weights());
}

fn tiny() -> Dir {
    Dir::new().with_tiny_demo("flex")
}

#[cfg(feature = "flex")]
#[test]
fn every_optimizer_trains_and_prunes() {
    let dir = tiny();
    for optimizer in ["adamax", "adam", "adamw", "radam", "sgd"] {
        let ended = dir.platon_ok(&format!(
            "train tiny --no-tui --output-dir {optimizer} --optimizer {optimizer} --momentum 0.9"
        ));
        assert!(ended.stderr.contains("update 12/12"), "{}", ended.stderr);
        let sparsity = dir.json(&format!("{optimizer}/report.json"))["sparsity"].as_f64().unwrap();
        assert!((sparsity - 0.8).abs() < 1e-3, "{optimizer}: {sparsity}");
    }
    let models = ["adamax", "adam", "adamw", "radam", "sgd"]
        .map(|name| std::fs::read(dir.path(&format!("{name}/model/model.safetensors"))).unwrap());
    for (n, model) in models.iter().enumerate() {
        assert!(models[..n].iter().all(|other| other != model), "two optimizers are one");
    }
}

#[cfg(feature = "flex")]
#[test]
fn batches_add_up_to_updates_and_bins_are_filled() {
    let dir = tiny();
    let run = |name: &str, flags: &str| {
        dir.platon_ok(&format!("train tiny --no-tui --output-dir {name} {flags}"));
        dir.json(&format!("{name}/report.json"))["steps"].as_u64().unwrap()
    };
    assert_eq!(run("plain", ""), 12);
    assert_eq!(run("accumulated", "--batch-size 4 --grad-accumulation-step 4"), 12);
    // The original's number: what is left of all batches is too little for an update.
    assert_eq!(run("over_epochs", "--pruner none --grad-accumulation-step 5"), 12 / 5);
    let line = dir.platon_refuses("train tiny --grad-accumulation-step 13");
    assert!(line.contains("grad_accumulation_step: expected at most the 12 batches"), "{line}");
    assert!(run("binned", "--bin-on --bin-size 16") >= 12, "the last batch of a bin is smaller");
    // A schedule that fits only because bins make more batches than the rows would fill.
    let long = "--warmup-steps 4 --initial-warmup 1 --final-warmup 2";
    let line = dir.platon_refuses(&format!("train tiny {long}"));
    assert!(line.contains("12"), "{line}");
    assert!(run("short_bins", &format!("--bin-on --bin-size 4 --bin-grow-ratio 0.5 {long}")) > 12);
    // What is logged is the mean loss of the samples, however few a batch has: three classes by chance.
    let points = dir.read("short_bins/metrics.jsonl");
    let points =
        points.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let losses: Vec<f64> = points
        .filter(|point| point["split"] == "train")
        .map(|point| point["loss"].as_f64().unwrap())
        .collect();
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((0.9..1.3).contains(&mean), "{mean} of {losses:?}");
    assert_eq!(run("clipped", "--grad-clipping 0.01"), 12);
    assert_ne!(
        dir.bytes("clipped/model/model.safetensors"),
        dir.bytes("plain/model/model.safetensors")
    );
}

/// Processors count as one device.
#[cfg(feature = "flex")]
#[test]
fn all_gpus_of_a_machine_without_any_are_the_one_device() {
    let dir = tiny();
    dir.platon_ok("train tiny --no-tui --output-dir plain");
    let ended = dir.platon_ok("train tiny --no-tui --output-dir divided --multi_gpu_on");
    assert!(ended.stderr.contains("one device only: --multi-gpu-on changes"), "{}", ended.stderr);
    let [plain, divided] =
        ["plain", "divided"].map(|run| dir.bytes(&format!("{run}/model/model.safetensors")));
    assert!(plain == divided);
}

#[cfg(feature = "flex")]
#[test]
fn the_original_s_command_runs_as_it_stands_on_its_own_files() {
    let dir = tiny();
    dir.platon_ok("prepare demo --tokenizer glue-data/demo/model");
    // From here on there are only encoded files and a checkpoint without a tokenizer.
    let encoded = "glue-data/canonical_data/model";
    let sizes = dir.read("glue-data/demo/model/config.json");
    dir.write("sizes/config.json", &sizes);
    std::fs::remove_dir_all(dir.path("glue-data/demo")).unwrap();
    let command = format!(
        "train --initial_threshold 1. --final_threshold 0.20 --warmup_steps 2 --initial_warmup 1 \
         --final_warmup 2 --beta1 0.85 --beta2 0.95 --deltaT 2 --data_dir {encoded} \
         --train_datasets demo --test_datasets demo --init_checkpoint sizes --batch_size 16 \
         --batch_size_eval 32 --optimizer adamax --learning_rate 8e-5 --epochs 2 --seed 7 \
         --log_per_updates 2 --eval_per_updates 6 --output_dir log/run --log_file other.log \
         --tensorboard --from_scratch --vb_dropout --mkd_opt 0"
    );
    let ended = dir.platon_ok(&command);
    assert!(ended.stderr.contains("model/ will lack"), "{}", ended.stderr);
    assert!(dir.read("log/run/other.log").contains("update 12/12"));
    assert!(!dir.path("log/run/model/tokenizer.json").exists());
    assert!(dir.path("log/run/tensorboard_logdir").is_dir());
    dir.platon_ok("evaluate log/run");
    let ended = dir.platon(&format!("{command} --do_padding"));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--do-padding: expected an option of platon"));
}

#[cfg(feature = "flex")]
#[test]
fn canonical_files_serve_without_the_raw_ones() {
    let dir = tiny();
    dir.platon_ok("prepare demo --tokenizer glue-data/demo/model");
    let samples = dir.read("glue-data/canonical_data/model/demo_train.json");
    for file in ["train.tsv", "dev.tsv"] {
        std::fs::remove_file(dir.path(&format!("glue-data/demo/{file}"))).unwrap();
    }
    std::fs::remove_dir_all(dir.path("glue-data/canonical_data/model")).unwrap();
    for data_dir in ["glue-data", "glue-data/canonical_data"] {
        dir.platon_ok(&format!(
            "prepare demo --tokenizer glue-data/demo/model --data-dir {data_dir}"
        ));
        assert_eq!(dir.read("glue-data/canonical_data/model/demo_train.json"), samples);
    }
}

#[cfg(feature = "flex")]
#[test]
fn a_task_of_one_s_own_trains_evaluates_and_predicts() {
    let dir = tiny();
    dir.write(
        "tasks.yml",
        "mood: {data_format: PremiseOnly, metric_meta: [ACC, F1], n_class: 2, labels: [sad, glad],\n\
         \x20 split_names: [train, dev], task_type: Classification, dropout_p: 0.2}\n\
         tone: {data_format: PremiseOnly, metric_meta: [ACC], n_class: 2, labels: [sad, glad],\n\
         \x20 split_names: [train, dev], task_type: Classification, dropout_p: 0.3}\n",
    );
    let rows = |n: usize| -> String {
        let mood = |n| if n % 2 == 0 { "sad\ta cat sleeps" } else { "glad\ta dog runs" };
        (0..n).map(|n| format!("{n}\t{}\n", mood(n))).collect()
    };
    dir.write("glue-data/canonical_data/mood_train.tsv", &rows(96));
    dir.write("glue-data/canonical_data/mood_dev.tsv", &rows(20));
    dir.platon_ok(
        "train tiny --no-tui --output-dir run --task-def tasks.yml --train_datasets mood",
    );
    assert!(dir.read("run/config.toml").contains("dropout_p = 0.2"), "the table's word");
    let report = dir.json("run/report.json");
    assert_eq!((&report["task"], report["dev"].as_object().unwrap().len()), (&"mood".into(), 2));
    let evaluated = dir.platon_ok("evaluate run --json").stdout;
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated).unwrap();
    assert_eq!(evaluated["ACC"], report["dev"]["ACC"]);
    dir.write("texts.txt", "a cat sleeps\n");
    let table = dir.platon_ok("predict run --input texts.txt").stdout;
    assert!(table.starts_with("index\tprediction\tsad\tglad\n0\t"), "{table}");
    let line = dir.platon_refuses("train tiny --task-def tasks.yml --train_datasets food");
    assert!(line.contains("tasks.yml: expected an entry food, found only mood, tone"), "{line}");
    // Each head has the dropout of its task.
    for split in ["train", "dev"] {
        let rows = dir.read(&format!("glue-data/canonical_data/mood_{split}.tsv"));
        dir.write(&format!("glue-data/canonical_data/tone_{split}.tsv"), &rows);
    }
    dir.platon_ok(
        "train tiny --no-tui --output-dir both --task-def tasks.yml --train_datasets mood,tone",
    );
    let dropout =
        |model: &str| dir.json(&format!("both/{model}/config.json"))["classifier_dropout"].clone();
    assert_eq!((dropout("model"), dropout("model-tone")), (0.2.into(), 0.3.into()));
    // A run goes on with what it began with.
    let train = "train tiny --no-tui --task-def tasks.yml --train_datasets mood,tone --max-steps 4";
    dir.platon_ok(&format!("{train} --output-dir cut --keep-state"));
    std::fs::remove_file(dir.path("cut/report.json")).unwrap();
    let table = dir.read("tasks.yml");
    dir.write("tasks.yml", &table.replace("[ACC, F1]", "[F1, ACC]"));
    let line = dir.platon_refuses("resume cut --no-tui");
    let expected = "task-def: expected the metrics ACC F1, ACC, found the metrics F1 ACC, ACC";
    assert!(line.contains(expected), "{line}");
    dir.write("tasks.yml", &table.replace("dropout_p: 0.3", "dropout_p: 0.9"));
    dir.platon_ok("resume cut --no-tui");
    assert_eq!(dir.json("cut/model-tone/config.json")["classifier_dropout"], 0.3);
    // What the first task's table says is not said of the others.
    dir.write("tasks.yml", &table.replace(", dropout_p: 0.3", ""));
    for (flags, rates) in [("", [0.2, 0.1]), ("--dropout-p 0.4", [0.2, 0.4])] {
        let run = format!("one{}", rates[1]);
        dir.platon_ok(&format!("{train} --output-dir {run} {flags}"));
        let rate = |model: &str| {
            dir.json(&format!("{run}/{model}/config.json"))["classifier_dropout"].clone()
        };
        assert_eq!([rate("model"), rate("model-tone")], rates, "{flags}");
    }
}
