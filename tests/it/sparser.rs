//! Runs that prune other parts than usual, or begin with a pruned model, from end to end.

use std::collections::HashMap;

use crate::crash::{outcome, signal};
use crate::dir::Dir;
use crate::fixtures::{Array, read};

fn tensors(dir: &Dir, run: &str) -> HashMap<String, Array> {
    read(&dir.path(&format!("{run}/model/model.safetensors"))).0
}

fn is_dense(name: &str) -> bool {
    let parts = ["attention.self", "output.dense", "intermediate.dense"];
    parts.iter().any(|part| name.contains(part))
}

/// The share of `tensors` with one of `parts` in their names that is not zero.
fn remaining(tensors: &HashMap<String, Array>, is_counted: impl Fn(&str) -> bool) -> f64 {
    let counted = tensors.iter().filter(|(name, _)| is_counted(name));
    let values: Vec<f64> = counted.flat_map(|(_, tensor)| tensor.values.clone()).collect();
    values.iter().filter(|w| **w != 0.0).count() as f64 / values.len() as f64
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 2e-3, "{found} instead of {expected}");
}

/// The tiny demo with a run `first` that keeps half of the weights.
fn pruned() -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --output-dir first --final-threshold 0.5");
    dir
}

const SPARSER: &str = "train tiny --no-tui --from-scratch=false --init-checkpoint first \
                       --keep-zeros --initial-threshold auto --final-threshold 0.2";

#[test]
fn a_pruned_model_is_pruned_further_and_keeps_its_zeros() {
    let dir = pruned();
    let first = tensors(&dir, "first");
    for steps in [1, 2, 3, 6, 7, 11, 12] {
        let run = format!("second-{steps}");
        dir.platon_ok(&format!("{SPARSER} --output-dir {run} --max-steps {steps}"));
        let second = tensors(&dir, &run);
        for (name, before) in first.iter().filter(|(name, _)| is_dense(name)) {
            let pairs = before.values.iter().zip(&second[name].values);
            let grown = pairs.filter(|(before, after)| **before == 0.0 && **after != 0.0);
            assert_eq!(grown.count(), 0, "{name} after update {steps}");
        }
    }
    let settings: toml::Table = dir.read("second-12/config.toml").parse().unwrap();
    let found = settings["initial_threshold"].as_float().unwrap();
    assert_eq!(found, remaining(&first, is_dense));
    assert!(settings["init_checkpoint"].as_str().unwrap().ends_with("first/model"));
    assert_near(remaining(&tensors(&dir, "second-12"), is_dense), 0.2);
    assert_near(dir.json("second-12/report.json")["reached_ratio"].as_f64().unwrap(), 0.2);
    // They grow again where they are not kept.
    let flags = SPARSER.replace("--keep-zeros", "");
    // The first update has a learning rate of 0.
    dir.platon_ok(&format!("{flags} --output-dir free --max-steps 2"));
    let free = remaining(&tensors(&dir, "free"), |name| name.ends_with("query.weight"));
    assert!(free > 0.9, "{free}");
}

#[test]
fn zeros_stay_in_a_fine_tuning_that_prunes_nothing() {
    let dir = pruned();
    let flags = SPARSER.replace("--initial-threshold auto", "--pruner none");
    dir.platon_ok(&format!("{flags} --output-dir tuned"));
    let [first, tuned] = ["first", "tuned"].map(|run| tensors(&dir, run));
    assert_eq!(remaining(&tuned, is_dense), remaining(&first, is_dense));
    let name = "bert.encoder.layer.0.output.dense.weight";
    assert_ne!(first[name].values, tuned[name].values);
}

#[test]
fn a_sparser_run_that_is_killed_ends_as_if_nothing_had_happened() {
    let dir = pruned();
    let run = format!(
        "{SPARSER} --epochs 12 --prune-ratios layer.0.=0.4 --save-per-updates-on \
         --save-per-updates 3 --keep-state"
    );
    dir.platon_ok(&format!("{run} --output-dir whole"));
    let mut child = dir.start(&format!("{run} --output-dir killed"));
    let metrics = dir.path("killed/metrics.jsonl");
    while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 12) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    signal(&child, "-KILL");
    child.wait().unwrap();
    // What the run began with is needed no more; the original's command goes on as well.
    let ended = dir.platon_ok(&format!("{run} --output-dir killed --resume"));
    assert!(ended.stderr.contains("going on after update"), "{}", ended.stderr);
    assert!(outcome(&dir, "killed") == outcome(&dir, "whole"));
}

#[test]
fn a_checkpoint_without_room_or_without_zeros_is_refused_with_the_numbers() {
    let dir = pruned();
    let found = remaining(&tensors(&dir, "first"), is_dense);
    let line = dir.platon_refuses(&format!("{SPARSER} --final-threshold 0.6"));
    let expected = "initial_threshold: expected a checkpoint that has more than \
                    final_threshold (0.6) left, found ";
    assert!(line.contains(&format!("{expected}{found} in ")), "{line}");
    let line = dir.platon_refuses(&format!("{SPARSER} --prune-ratios layer.0.=0.9"));
    assert!(line.contains("prune_ratios: expected at most initial_threshold (0.5"), "{line}");
    dir.platon_ok("train tiny --no-tui --output-dir dense --pruner none");
    let flags = SPARSER.replace("checkpoint first", "checkpoint dense");
    // LayerNorm's and the head's parameters would be none.
    let line = dir.platon_refuses(&format!("{flags} --prune-exclude bias"));
    assert!(line.contains("keep_zeros: expected a checkpoint with zeros among"), "{line}");
    let line = dir.platon_refuses("train tiny --initial-threshold auto");
    assert!(line.contains("initial_threshold: expected a number with from_scratch"), "{line}");
    let line = dir.platon_refuses("train tiny --keep-zeros");
    assert!(line.contains("keep_zeros: expected weights of a checkpoint"), "{line}");
    let out = dir.platon_ok(&format!("{SPARSER} --dry-run")).stdout;
    assert!(out.contains(&format!("initial_threshold = {found}\n")), "{out}");
    assert!(out.contains(&format!("from {found} to 0.2")), "{out}");
}

#[test]
fn what_is_excluded_has_no_zeros_and_embeddings_have_their_own_ratio() {
    let dir = Dir::new().with_tiny_demo("flex");
    let flags = "--prune-embeddings --prune-exclude token_type,layer.0.intermediate \
                 --prune-ratios word_embeddings=0.6,layer.1.attention=0.4";
    dir.platon_ok(&format!("train tiny --no-tui --pruner magnitude --output-dir flags {flags}"));
    let model = tensors(&dir, "flags");
    let has = |part: &'static str| move |name: &str| name.contains(part);
    for part in ["token_type", "layer.0.intermediate.dense.weight", "classifier.weight"] {
        assert_eq!(remaining(&model, has(part)), 1.0, "{part}");
    }
    let norm = |name: &str| name.contains("LayerNorm.weight");
    assert_eq!(remaining(&model, norm), 1.0);
    assert_near(remaining(&model, has("word_embeddings")), 0.6);
    let attention = |name: &str| name.contains("layer.1.attention") && is_dense(name);
    assert_near(remaining(&model, attention), 0.4);
    let rest = |name: &str| {
        (is_dense(name) || name.contains("position_embeddings"))
            && !attention(name)
            && !name.contains("layer.0.intermediate")
    };
    assert_near(remaining(&model, rest), 0.2);

    // The report counts what was pruned, and asks for what its parts ask for together.
    let report = dir.json("flags/report.json");
    let pruned = |name: &str| rest(name) || attention(name) || name.contains("word_embeddings");
    let sizes: usize =
        model.iter().filter(|(name, _)| pruned(name)).map(|(_, t)| t.values.len()).sum();
    assert_eq!(report["prunable"], sizes);
    let reached = report["reached_ratio"].as_f64().unwrap();
    assert!((reached - remaining(&model, pruned)).abs() < 1e-12);
    assert_near(report["final_ratio"].as_f64().unwrap(), reached);
    let layers = report["layers"].as_array().unwrap();
    let modules: Vec<_> = layers.iter().filter(|row| row["layer"].is_null()).collect();
    assert_eq!(modules.len(), 2);
    assert_eq!(modules[1]["matrix"], "bert.embeddings.word_embeddings");
    // At its end the run is at its final ratio, which is what makes a model the best.
    let points = dir.read("flags/metrics.jsonl");
    let last = points.lines().rfind(|line| line.contains("\"train\"")).unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["ratio"], report["final_ratio"]);
    assert!(dir.platon_ok("evaluate flags").stdout.contains("ACC"));

    // A recipe says the same, and a dry run shows it.
    let recipe = dir.read("recipes/tiny.toml");
    let lines = "prune_embeddings = true\npruner = \"magnitude\"\n\
                 prune_exclude = [\"token_type\", \"layer.0.intermediate\"]\n\
                 prune_ratios = [\"word_embeddings=0.6\", \"layer.1.attention=0.4\"]\n";
    dir.write("recipes/parts.toml", &format!("{recipe}{lines}"));
    dir.platon_ok("train parts --no-tui --output-dir recipe");
    let bytes = |run: &str| dir.bytes(&format!("{run}/model/model.safetensors"));
    assert!(bytes("flags") == bytes("recipe"));
    let out = dir.platon_ok("train parts --dry-run").stdout;
    for part in [
        "part              word_embeddings to 0.6, ",
        "part              layer.1.attention to 0.4, ",
        "bert.embeddings.position_embeddings.weight",
        &format!("prunable          {sizes} in "),
    ] {
        assert!(out.contains(part), "{part} is not in:\n{out}");
    }
    assert!(!out.contains("layer.0.intermediate.dense"), "{out}");
}

#[test]
fn the_best_model_is_one_whose_parts_are_at_their_ratios_too() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok(
        "train tiny --no-tui --prune-embeddings --final-threshold 1 --eval-per-updates 1 --epochs 4 \
         --prune-ratios word_embeddings=0.3 --keep-state --output-dir run",
    );
    let best = dir.json("run/checkpoint/update-24/progress.json")["best"].clone();
    let points = dir.read("run/metrics.jsonl");
    let points = points.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let mut points = points.filter(|p| p["split"] == "demo_dev");
    let point = points.find(|p| p["step"] == best["update"]).unwrap();
    assert_eq!(point["ratio"], dir.json("run/report.json")["final_ratio"], "{best} {point}");
}

/// Most words of the vocabulary are in none of the 96 training samples.
#[test]
fn embeddings_without_gradients_reach_their_ratio_and_the_run_goes_on_in_a_window() {
    let dir = Dir::new().with_tiny_demo("flex");
    let run = "train tiny --no-tui --prune-embeddings --prune-ratios word_embeddings=0.7 \
               --epochs 8 --delta-t 10 --final-warmup 10 --save-per-updates-on --save-per-updates 3 --keep-state";
    dir.platon_ok(&format!("{run} --output-dir whole"));
    let words = |name: &str| name.contains("word_embeddings");
    assert_near(remaining(&tensors(&dir, "whole"), words), 0.7);
    let mut child = dir.start(&format!("{run} --output-dir killed"));
    while !dir.path("killed/checkpoint/update-33").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    signal(&child, "-KILL");
    child.wait().unwrap();
    dir.platon_ok("resume killed --no-tui");
    assert!(outcome(&dir, "killed") == outcome(&dir, "whole"));
}

#[test]
fn patterns_that_choose_nothing_are_refused_before_any_work() {
    let dir = Dir::new().with_tiny_demo("flex");
    for (flags, expected) in [
        ("--prune-include atention", "prune_include: expected a part of a parameter's name"),
        ("--prune-exclude layer.7.", "prune_exclude: expected a part of a parameter's name"),
        ("--prune-exclude bert", "prune_exclude: expected something left to prune"),
        ("--prune-include=", "prune_include: expected parts of names"),
        ("--prune-ratios layer.0.=2", "prune_ratios: expected PATTERN=RATIO"),
        ("--prune-ratios layer.0.=0.5,layer.0.=0.2", "prune_ratios: expected each pattern"),
        ("--prune-ratios embeddings=0.5", "prune_ratios: expected a part of what is pruned"),
    ] {
        let line = dir.platon_refuses(&format!("train tiny --no-tui --output-dir refused {flags}"));
        assert!(line.contains(expected), "{flags}: {line}");
        assert!(!dir.path("refused").exists());
    }
}
