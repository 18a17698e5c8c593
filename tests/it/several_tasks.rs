//! Several tasks learnt at once: one encoder, a head for each.

use std::collections::BTreeMap;

use platon::bert::Checkpoint;
use platon::bert::weights::save;
use serde_json::Value;

use crate::dir::Dir;
use crate::fixtures::{read, weights};

/// The tiny demo and a second task of two labels, made from its rows.
fn with_rte() -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    for (split, rows) in [("train", 40), ("dev", 24)] {
        let text = dir.read(&format!("glue-data/demo/{split}.tsv"));
        let mut lines = vec!["index\tsentence1\tsentence2\tlabel".to_string()];
        for (n, row) in text.lines().skip(1).take(rows).enumerate() {
            let fields: Vec<&str> = row.split('\t').collect();
            let is_entailed = fields.last() == Some(&"entailment");
            let label = if is_entailed { "entailment" } else { "not_entailment" };
            lines.push(format!("{n}\t{}\t{}\t{label}", fields[8], fields[9]));
        }
        dir.write(&format!("glue-data/RTE/{split}.tsv"), &(lines.join("\n") + "\n"));
    }
    dir
}

#[test]
fn several_tasks_share_an_encoder_and_have_heads_scores_and_models_of_their_own() {
    let dir = with_rte();
    dir.platon_ok("train tiny --train-datasets demo,rte --no-tui --output-dir run");
    let report = dir.json("run/report.json");
    assert_eq!(report["task"], "demo,rte");
    assert!((report["reached_ratio"].as_f64().unwrap() - 0.2).abs() < 1e-3, "{report}");
    // 6 + 3 batches of 16 an epoch.
    assert_eq!(report["steps"], 18);
    let models = ["run/model", "run/model-rte"].map(|model| weights(&dir.path(model)));
    for ((name, first), (other, second)) in models[0].iter().zip(&models[1]) {
        assert_eq!(name, other);
        assert_eq!(first == second, !name.starts_with("classifier"), "{name}");
    }
    let labels = |model: &str| dir.json(&format!("{model}/config.json"))["id2label"].clone();
    assert_eq!(labels("run/model-rte")["1"], "entailment");
    assert_eq!(labels("run/model").as_object().unwrap().len(), 3);
    for file in ["demo_dev_scores_epoch_2.json", "rte_dev_scores_epoch_2.json"] {
        assert!(dir.path("run").join(file).is_file(), "{file}");
    }
    let found = dir.platon_ok("evaluate run --json --engine dense").stdout;
    let lines: Vec<Value> = found.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|l| l["data_set"].as_str().unwrap()).collect();
    assert_eq!(names, ["demo_dev", "rte_dev"]);
    for line in &lines {
        let name = line["data_set"].as_str().unwrap();
        assert_eq!(report["dev"][format!("ACC {name}")], line["ACC"], "{name}");
    }
    let one = dir.platon_ok("evaluate run --task rte --json --engine dense").stdout;
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!((&one["data_set"], &one["ACC"]), (&lines[1]["data_set"], &lines[1]["ACC"]));
    // As the single task's alone, whatever the order they are named in; unknown names are refused.
    dir.platon_ok(
        "train tiny --train-datasets demo,rte --mix-opt 1 --ratio 0.4 --no-tui --output-dir mixed \
         --test-datasets rte --from-scratch=false --init-checkpoint run/model",
    );
    // 6 + int(6 * 0.4) batches.
    assert_eq!(dir.json("mixed/report.json")["steps"], 16);
    assert!(dir.path("mixed/rte_dev_scores_epoch_2.json").is_file());
    assert!(!dir.path("mixed/demo_dev_scores_epoch_2.json").exists());
    let names = |args: &str| -> Vec<String> {
        let found = dir.platon_ok(&format!("evaluate {args} --json")).stdout;
        let lines = found.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["data_set"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("mixed"), ["rte_dev"]);
    assert_eq!(names("mixed --task demo"), ["demo_dev"]);
    // A model's folder is that of its task; one without scores has a card all the same.
    assert_eq!(names("mixed/model-rte"), ["rte_dev"]);
    assert_eq!(names("mixed/model"), ["demo_dev"]);
    assert!(dir.read("mixed/model-rte/README.md").contains("model-index:"));
    let card = dir.read("mixed/model/README.md");
    assert!(!card.contains("model-index:") && !card.contains("| score |"), "{card}");
    // A teacher is that of the task that is learnt.
    let taught = |teacher: &str, run: &str| {
        dir.platon_ok(&format!(
            "train tiny --train-datasets rte --pruner none --no-tui --max-steps 2 \
             --teacher {teacher} --output-dir {run}"
        ));
        let (answers, _) = read(&dir.path(&format!("{run}/teacher-answers.safetensors")));
        answers.into_values().next().unwrap().values
    };
    assert_eq!(taught("run", "by-run"), taught("run/model-rte", "by-model"));
}

/// The head of a task that comes later has no moments yet.
#[test]
fn a_run_goes_on_from_before_the_first_batch_of_a_task() {
    let dir = with_rte();
    let train = "train tiny --train-datasets rte,demo --mix-opt 1 --no-tui --save-per-updates-on \
                 --save-per-updates 2 --keep-checkpoints 99 --keep-state";
    dir.platon_ok(&format!("{train} --output-dir whole"));
    dir.platon_ok(&format!("{train} --output-dir cut"));
    for part in ["cut/report.json", "cut/model/model.safetensors"] {
        std::fs::remove_file(dir.path(part)).unwrap();
    }
    for entry in std::fs::read_dir(dir.path("cut/checkpoint")).unwrap() {
        let entry = entry.unwrap();
        // 6 batches of the demo come first.
        if !["update-2", "update-4"].contains(&entry.file_name().to_str().unwrap()) {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let ended = dir.platon_ok("resume cut --no-tui");
    assert!(ended.stderr.contains("going on after update 4"), "{}", ended.stderr);
    for model in ["model", "model-demo"] {
        let of = |run: &str| weights(&dir.path(run).join(model));
        assert_eq!(of("cut"), of("whole"), "{model}");
    }
}

/// Writes models' weights to the folder `into` as the original program names those of one model: the
/// first one's encoder, and the output layers of all.
fn as_the_original(dir: &Dir, models: &[&str], into: &str) {
    let mut named = BTreeMap::new();
    for (n, model) in models.iter().enumerate() {
        let tensors = Checkpoint::open(&dir.path(model)).unwrap().into_tensors().unwrap().tensors;
        for (name, tensor) in tensors {
            match name.strip_prefix("classifier.") {
                Some(leaf) => _ = named.insert(format!("scoring_list.{n}.{leaf}"), tensor),
                None => _ = named.entry(name).or_insert(tensor),
            }
        }
    }
    std::fs::create_dir_all(dir.path(into)).unwrap();
    save(&named, &dir.path(into).join("model.safetensors")).unwrap();
    dir.write(&format!("{into}/config.json"), &dir.read(&format!("{}/config.json", models[0])));
}

#[test]
fn the_original_s_heads_of_several_tasks_are_read() {
    let dir = with_rte();
    dir.platon_ok("train tiny --train-datasets demo,rte --no-tui --output-dir run");
    as_the_original(&dir, &["run/model", "run/model-rte"], "original");
    let ended = dir.platon_ok("export original --format sparse --output original.safetensors");
    let left_out = "tensors left out: scoring_list.1.bias, scoring_list.1.weight";
    assert!(ended.stderr.contains(left_out), "{}", ended.stderr);
    // Nothing is learnt: what comes out is what was read.
    let train = "train tiny --no-tui --from-scratch=false --tokenizer glue-data/demo/model --pruner \
                 none --learning-rate 1e-30 --max-steps 1 --init-checkpoint run/model --resume \
                 --model-ckpt original";
    dir.platon_ok(&format!("{train} --train-datasets demo,rte --output-dir both"));
    for model in ["model", "model-rte"] {
        let [before, after] = ["run", "both"].map(|run| weights(&dir.path(run).join(model)));
        for ((name, before), (other, after)) in before.iter().zip(&after) {
            assert_eq!(name, other);
            for (a, b) in before.iter().zip(after) {
                let [a, b] = [a, b].map(|bits| f32::from_bits(*bits));
                assert!((a - b).abs() < 1e-6, "{model} {name}: {a} {b}");
            }
        }
    }
    // One task takes the first; three want one that is not there.
    let ended = dir.platon_ok(&format!("{train} --output-dir one"));
    assert!(
        ended.stderr.contains("scoring_list.1.bias, scoring_list.1.weight"),
        "{}",
        ended.stderr
    );
    as_the_original(&dir, &["run/model"], "first");
    let text = dir.platon_refuses(&format!(
        "{} --train-datasets demo,rte --output-dir none",
        train.replace("original", "first")
    ));
    assert!(text.contains("expected a tensor scoring_list.1.weight"), "{text}");
}

#[test]
fn what_does_not_go_with_several_tasks_is_refused() {
    let dir = with_rte();
    for (flags, expected) in [
        ("--train-datasets demo,rte,demo", "train-datasets: expected each task once"),
        ("--mix-opt 1", "mix_opt: expected several training sets"),
        ("--ratio 0.5", "ratio: expected several training sets"),
        ("--train-datasets demo,rte --teacher self", "teacher: expected one task"),
        ("--train-datasets demo,rte --ratio 0.1", "ratio: expected at least 0.1667, or 0 for all"),
        ("--train-datasets demo,xyz", "xyz"),
        ("--train-datasets demo,rte --test-datasets xyz", "test_datasets: expected data sets of"),
        (
            "--train-datasets demo,rte --prune-include classifier",
            "prune_include: expected no output layers, of which several tasks have one each",
        ),
        ("--mkd-opt 1", "mkd_opt: expected encoded training samples with a softlabel"),
    ] {
        let text = dir.platon_refuses(&format!("train tiny --no-tui --output-dir run {flags}"));
        assert!(text.contains(expected), "{flags}: {text}");
        assert!(!dir.path("run").exists(), "{flags}");
    }
}

/// The original's table of tasks has 0.05 for CoLA, and nothing for the others.
#[test]
fn each_of_glue_s_tasks_has_its_own_dropout() {
    let dir = with_rte();
    let rows = |n: usize| -> String {
        (0..n).map(|n| format!("gj04\t{}\t\ta cat sleeps {n}\n", n % 2)).collect()
    };
    dir.write("glue-data/CoLA/train.tsv", &rows(40)).write("glue-data/CoLA/dev.tsv", &rows(20));
    let train = "train --no-tui --max-steps 1";
    let dropout =
        |model: &str| dir.json(&format!("{model}/config.json"))["classifier_dropout"].clone();
    for (run, flags, expected) in [
        ("a", "tiny --train-datasets cola,rte", [("model", 0.05), ("model-rte", 0.1)]),
        ("b", "tiny --train-datasets rte,cola", [("model", 0.1), ("model-cola", 0.05)]),
        (
            "c",
            "tiny --train-datasets cola,rte --dropout-p 0.3",
            [("model", 0.3), ("model-rte", 0.3)],
        ),
        (
            "d",
            "tiny --train-datasets rte,cola --dropout-p 0.3",
            [("model", 0.3), ("model-cola", 0.3)],
        ),
        (
            "e",
            "tiny --train-datasets cola,rte --dropout-p 0.05",
            [("model", 0.05), ("model-rte", 0.05)],
        ),
        // The settings of a run make it again.
        ("f", "d/config.toml", [("model", 0.3), ("model-cola", 0.3)]),
        ("g", "a/config.toml", [("model", 0.05), ("model-rte", 0.1)]),
    ] {
        dir.platon_ok(&format!("{train} {flags} --output-dir {run}"));
        for (model, rate) in expected {
            assert_eq!(dropout(&format!("{run}/{model}")), rate, "{run} {model}");
        }
    }
}
