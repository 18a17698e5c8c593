//! The program as a user runs it.

use std::collections::BTreeMap;

use crate::dir::Dir;
use crate::fixtures::read;

#[cfg(feature = "ndarray")]
const BACKEND: &str = "ndarray";
#[cfg(not(feature = "ndarray"))]
const BACKEND: &str = "flex";

/// Each backend that trains on the CPU and is built in.
const BACKENDS: &[&str] = &[
    #[cfg(feature = "ndarray")]
    "ndarray",
    #[cfg(feature = "flex")]
    "flex",
];

fn tiny() -> Dir {
    Dir::new().with_tiny_demo(BACKEND)
}

/// Zeros among the prunable tensors, counted from the names alone.
fn sparsity_of(dir: &Dir, model: &str) -> f64 {
    let (tensors, metadata) = read(&dir.path(model));
    assert_eq!(metadata["format"], "pt");
    let (mut zeros, mut all) = (0, 0);
    for (name, tensor) in tensors {
        let dense = [
            ".attention.self.",
            ".attention.output.dense.",
            ".output.dense.",
            ".intermediate.dense.",
        ];
        if dense.iter().any(|part| name.contains(part)) {
            zeros += tensor.values.iter().filter(|v| **v == 0.0).count();
            all += tensor.values.len();
        }
    }
    zeros as f64 / all as f64
}

#[test]
fn a_run_leaves_a_complete_folder_that_evaluates_to_the_same_scores() {
    for backend in BACKENDS {
        run_evaluate_and_compare(&Dir::new().with_tiny_demo(backend));
    }
}

fn run_evaluate_and_compare(dir: &Dir) {
    let ended = dir.platon_ok("train tiny --output-dir run --no-tui");
    assert!(ended.stdout.contains("all layers"), "{}", ended.stdout);
    assert!(ended.stderr.contains("update 12/12"), "{}", ended.stderr);

    let report = dir.json("run/report.json");
    assert_eq!((&report["task"], &report["pruner"]), (&"demo".into(), &"platon".into()));
    assert_eq!((&report["steps"], &report["final_ratio"]), (&12.into(), &0.2.into()));
    for key in ["seconds_per_step", "pruning_seconds_per_step", "peak_rss_bytes", "model_bytes"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}");
    }
    let counted = sparsity_of(dir, "run/model/model.safetensors");
    assert_eq!(report["sparsity"].as_f64(), Some(counted));
    assert!((counted - 0.8).abs() < 1e-3, "{counted}");
    assert_eq!(report["layers"].as_array().unwrap().len(), 12);

    let json = dir.platon_ok("evaluate run --json");
    let scores: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(scores["ACC"], report["dev"]["ACC"]);
    assert_eq!(scores["data_set"], "demo_dev");
    let points: Vec<serde_json::Value> =
        dir.read("run/metrics.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let steps = |split: &str| -> Vec<u64> {
        points.iter().filter(|p| p["split"] == split).map(|p| p["step"].as_u64().unwrap()).collect()
    };
    assert_eq!(steps("train"), [2, 4, 6, 8, 10, 12]);
    assert_eq!(steps("demo_dev"), [4, 6, 8, 12], "every 4 updates, and at both epochs' ends");
    for key in ["epoch", "loss", "ratio", "sparsity", "threshold", "learning_rate"] {
        assert!(points.iter().all(|p| p[key].is_number()), "{key}");
    }
    for key in ["seconds", "pruning_seconds"] {
        let train = points.iter().filter(|p| p["split"] == "train");
        assert!(train.into_iter().all(|p| p[key].as_f64().unwrap() > 0.0), "{key}");
    }
    assert!(scores["seconds"].as_f64().unwrap() > 0.0);
    let last = points.last().unwrap();
    assert_eq!(last["ACC"], report["dev"]["ACC"]);
    // Training and the sparse engine sum in another order.
    let loss = |scores: &serde_json::Value| scores["loss"].as_f64().unwrap();
    assert!((loss(last) - loss(&scores)).abs() < 1e-6, "{last} {scores}");
    assert!(dir.read("run/log.log").contains("update 12/12"));
    assert!(dir.read("run/config.toml").contains("warmup_steps = 2"));
    for file in ["config.json", "tokenizer.json", "vocab.txt"] {
        assert!(dir.path(&format!("run/model/{file}")).is_file(), "{file}");
    }
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_seed_another() {
    for backend in BACKENDS {
        compare_seeds(&Dir::new().with_tiny_demo(backend));
    }
}

fn compare_seeds(dir: &Dir) {
    let model = |name: &str, seed: u32| {
        dir.platon_ok(&format!("train tiny --output-dir {name} --seed {seed} --no-tui"));
        let (tensors, _) = read(&dir.path(&format!("{name}/model/model.safetensors")));
        let sorted: BTreeMap<_, _> = tensors.into_iter().map(|(k, v)| (k, v.values)).collect();
        sorted
    };
    let first = model("a", 1);
    assert_eq!(first, model("b", 1));
    assert_ne!(first, model("c", 2));
}

#[test]
fn runs_are_named_after_task_pruner_and_ratio_and_never_overwritten() {
    let dir = tiny();
    let args = "train tiny --max-steps 2 --no-tui";
    dir.platon_ok(args);
    dir.platon_ok(args);
    dir.platon_ok("train tiny --max-steps 2 --no-tui --pruner none");
    for name in ["demo-platon-0.2", "demo-platon-0.2-2", "demo-none"] {
        assert_eq!(dir.json(&format!("checkpoints/runs/{name}/report.json"))["steps"], 2, "{name}");
    }
    let refused = dir.platon_refuses("train tiny --output-dir checkpoints/runs/demo-none --no-tui");
    assert!(refused.contains("expected a new or empty folder"), "{refused}");
}

#[test]
fn magnitude_pruning_reaches_the_same_ratio() {
    let dir = tiny();
    dir.platon_ok("train tiny --output-dir run --pruner magnitude --no-tui");
    assert!((sparsity_of(&dir, "run/model/model.safetensors") - 0.8).abs() < 1e-3);
    assert_eq!(dir.json("run/report.json")["pruner"], "magnitude");
}

#[test]
fn a_dry_run_prints_settings_plan_and_parameters_and_leaves_no_run() {
    let dir = tiny();
    let out = dir.platon_ok("train tiny --dry-run --seed 5").stdout;
    for part in [
        "seed = 5",
        "warmup_steps = 2",
        "updates           12 (6 per epoch), evaluated 4 times",
        "ratio falls       updates 3 to 8, from 1 to 0.2",
        "final ratio       updates 9 to 12",
        "bert.encoder.layer.1.output.dense.bias",
        "prunable          99456 in 24 tensors",
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(!dir.path("checkpoints").exists());
}

#[test]
fn wrong_settings_are_refused_in_one_line_before_any_work() {
    let dir = tiny();
    dir.write("recipes/odd.toml", "sed = 1\n").write("recipes/broken.toml", "a = 1\nb =\n");
    dir.write("recipes/far.toml", "task = \"demo\"\nepochs = 0\n");
    for (args, expected) in [
        ("train nowhere", "TASK: expected a recipe: cola, demo, mnli"),
        ("train odd", "known setting, found \"sed\" (hint: did you mean seed?)"),
        ("train far", "recipes/far.toml:2: epochs: expected at least 1, found 0"),
        ("train new.csv", "(hint: data of your own: platon train --train-file new.csv --text "),
        ("train tiny --peer-timeout 2000000000", "peer_timeout: expected 1 to 31536000 seconds"),
        ("train tiny --log-file demo_dev_scores_epoch_1.json", "log_file: expected a name of its"),
        ("train broken", "recipes/broken.toml:2: expected TOML"),
        ("train tiny --keep-ratio 0.5", "expected one of tiny's recipes: 0.2, found 0.5"),
        ("train tiny --final-threshold 0", "final_threshold: expected a remaining ratio in (0, 1]"),
        (
            "train tiny --final-threshold 1.5",
            "final_threshold: expected a remaining ratio in (0, 1]",
        ),
        ("train tiny --warmup-steps 12", "1 * 12 = 12: pruning would never start"),
        ("train tiny --warmup-steps 4", "(1 + 2) * 4 = 12: the ratio would jump"),
        ("train tiny --beta1 1", "beta1: expected a number in [0, 1), found 1"),
        ("train tiny --epochs 0", "epochs: expected at least 1"),
        ("train tiny --pruner best", "command line: expected a valid pruner, found \"best\""),
        ("train tiny --backend abacus", "command line: expected a valid backend"),
        ("train tiny --init-checkpoint nowhere", "nowhere/config.json: cannot read"),
        ("train tiny --data-dir nowhere", "nowhere/demo/train.tsv"),
        (
            "train tiny --max-seq-len 3",
            "max_seq_len: expected training samples of at most 3 tokens",
        ),
        (
            "train tiny --from-scratch=false",
            "glue-data/demo/model: expected a file model.safetensors or pytorch_model.bin, found none \
             (hint: put the weights into this folder, or draw them afresh with --from-scratch)",
        ),
        ("train tiny --epochs 9223372036854775807", "epochs: expected at most 100000000 updates"),
        ("train tiny --init-checkpoint glue-data", "glue-data/config.json"),
        ("evaluate nowhere", "nowhere/config.json: cannot read"),
        ("prepare sst --tokenizer glue-data/demo/model", "SST-2/train.tsv"),
        ("prepare --data-dir nowhere --tokenizer glue-data/demo/model", "nowhere"),
        ("prepare chess --tokenizer glue-data/demo/model", "chess"),
        ("prepare rtee --tokenizer glue-data/demo/model", "(hint: did you mean rte?)"),
        ("train tinny", "(hint: did you mean tiny?)"),
        ("train tiny --train-datasets rtee", "(hint: did you mean rte?)"),
        ("train tiny --test-datasets dmeo", "(hint: did you mean demo?)"),
        ("train tiny --train_datasets ax", "task: expected a task with training data, found ax"),
    ] {
        let line = dir.platon_refuses(args);
        assert!(line.contains(expected), "platon {args}: {line}");
    }
}

#[test]
fn runs_and_models_are_found_where_the_program_puts_them() {
    let dir = tiny();
    let line = dir.platon_refuses("list");
    let expected = "FOLDER: expected a folder with runs below it, found checkpoints/runs (hint: ";
    assert!(line.contains(expected), "{line}");
    dir.platon_ok("train tiny --no-tui --max-steps 2");
    let run = "checkpoints/runs/demo-platon-0.2";
    assert!(dir.path(run).is_dir());
    // As `list` names it.
    for command in ["resume", "evaluate", "bench", "predict --input new.txt"] {
        let line = dir.platon_refuses(&format!("{command} demo-platon-0.2"));
        assert!(line.ends_with(&format!("(hint: did you mean {run}?)")), "{command}: {line}");
    }
    std::fs::remove_file(dir.path(run).join("report.json")).unwrap();
    let line = dir.platon_refuses(&format!("train tiny --no-tui --output-dir {run}"));
    assert!(line.contains(&format!("(hint: platon resume {run} goes on with")), "{line}");
    // By their names at Hugging Face, where they have been downloaded.
    let base = "glue-data/demo/model";
    for file in ["config.json", "vocab.txt"] {
        dir.write(&format!("checkpoints/other/{file}"), &dir.read(&format!("{base}/{file}")));
    }
    dir.write("checkpoints/other/.repository", "me/other");
    for name in ["me/other", "other"] {
        let plan = dir.platon_ok(&format!("train tiny --dry-run --init-checkpoint {name}")).stdout;
        assert!(plan.contains("init_checkpoint = \"checkpoints/other\""), "{name}: {plan}");
    }
    let line = dir.platon_refuses("train tiny --dry-run --init-checkpoint you/other");
    assert!(line.contains("you/other/config.json: cannot read"), "{line}");
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    let dir = Dir::new();
    assert_eq!(dir.platon("train --no-such-flag").code, 2);
    assert_eq!(dir.platon("").code, 2);
    assert_eq!(dir.platon("--help").code, 0);
    let help = dir.platon("train --help").stdout;
    for heading in ["Data:", "Model:", "Pruning:", "Optimisation:", "Logging:", "Run:"] {
        assert!(help.contains(heading), "{heading}");
    }
}

#[test]
fn a_backend_that_was_not_built_in_is_refused_with_the_command_that_builds_it() {
    let dir = tiny();
    if !cfg!(feature = "cuda") {
        let ended = dir.platon("train tiny --backend cuda --output-dir run");
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("--features cuda"), "{}", ended.stderr);
        // Before anything is made or downloaded.
        let dir = Dir::new();
        let line = dir.platon_refuses("train demo --backend cuda --no-tui");
        assert!(line.contains("--features cuda"), "{line}");
        assert!(!dir.path("glue-data").exists() && !dir.path("checkpoints").exists());
    }
}

#[test]
fn a_diverging_run_is_an_error_and_leaves_no_model() {
    let dir = tiny();
    let line = dir.platon_refuses("train tiny --output-dir run --no-tui --learning-rate 1e30");
    assert!(line.contains("the training diverged"), "{line}");
    assert!(!dir.path("run/model").exists() && !dir.path("run/report.json").exists());
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_an_error() {
    let dir = tiny();
    dir.platon_ok("prepare demo --tokenizer glue-data/demo/model");
    // No file may grow beyond 64 KiB: the journal fits, a checkpoint does not.
    let ended = dir.platon_with_files_up_to(128, "train tiny --output-dir run --no-tui");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("error: run/checkpoint/update-4"), "{}", ended.stderr);
    assert!(last.contains("cannot write: File too large"), "{}", ended.stderr);
    assert!(last.contains("`ulimit -f`"), "{}", ended.stderr);
    assert!(!dir.path("run/model").exists());
    assert_eq!(std::fs::read_dir(dir.path("run/checkpoint")).unwrap().count(), 0);
}

#[cfg(not(feature = "mpi"))]
#[test]
fn a_platon_without_mpi_does_not_train_many_times_over() {
    let dir = Dir::new().with_tiny_demo("ndarray");
    let started = |rank: usize, args: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_platon"));
        command.args(args.split_whitespace()).current_dir(dir.path("."));
        command.env("OMPI_COMM_WORLD_SIZE", "2").env("OMPI_COMM_WORLD_RANK", rank.to_string());
        crate::dir::Ended::of(&command.output().unwrap())
    };
    let first = started(0, "train tiny --no-tui --output-dir run");
    let expected = "error: mpirun: expected one process, or a platon built with MPI, found 2 \
                    processes started by mpirun, and a platon without MPI (hint: build it with \
                    `cargo build --release --features mpi`)\n";
    assert_eq!((first.code, first.stderr.as_str()), (1, expected));
    let second = started(1, "train tiny --no-tui --output-dir run");
    assert_eq!((second.code, second.stderr.as_str()), (1, ""));
    assert!(!dir.path("run").exists());
    let other = started(0, "recipe");
    assert!(other.stderr.contains("expected one process for this command"), "{}", other.stderr);
    assert_eq!(started(0, "doctor --help").code, 0);
}
