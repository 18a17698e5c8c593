//! Teachers, several tasks, smoothness: what they do to a run.

use std::collections::BTreeMap;
use std::path::Path;

use platon::bert::Checkpoint;
use platon::bert::weights::save;
use serde_json::Value;

use crate::dir::Dir;
use crate::fixtures::read;

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

fn weights(path: &Path) -> Vec<(String, Vec<u32>)> {
    let tensors = Checkpoint::open(path).unwrap().into_tensors().unwrap().tensors;
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
    tensors.into_iter().map(|(name, tensor)| (name, bits(&tensor.values))).collect()
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

/// The head of a task that comes later has no scores yet.
#[test]
fn a_run_goes_on_from_before_the_first_batch_of_a_task() {
    let dir = with_rte();
    let train = "train tiny --train-datasets rte,demo --mix-opt 1 --prune-include layer.,classifier \
                 --no-tui --save-per-updates-on --save-per-updates 2 --keep-checkpoints 99 --keep-state";
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
        ("--train-datasets demo,xyz", "xyz"),
        ("--train-datasets demo,rte --test-datasets xyz", "test_datasets: expected data sets of"),
        ("--mkd-opt 1", "mkd_opt: expected encoded training samples with a softlabel"),
    ] {
        let text = dir.platon_refuses(&format!("train tiny --no-tui --output-dir run {flags}"));
        assert!(text.contains(expected), "{flags}: {text}");
        assert!(!dir.path("run").exists(), "{flags}");
    }
}

#[test]
fn a_teacher_is_asked_once_and_listened_to_by_its_weight() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --pruner none --output-dir dense");
    dir.platon_ok("train tiny --no-tui --output-dir alone");
    let taught = |flags: &str, run: &str| {
        let command = format!("train tiny --no-tui --teacher dense --output-dir {run} {flags}");
        dir.platon_ok(&command);
        weights(&dir.path(run).join("model"))
    };
    let alone = weights(&dir.path("alone/model"));
    let whole = taught("", "whole");
    assert_ne!(whole, alone);
    assert_ne!(taught("--distill-weight 0.5", "half"), whole);
    assert_ne!(taught("--distill-temperature 5", "warm"), whole);
    assert_eq!(taught("--distill-weight 0", "none"), alone);
    let states = taught("--distill-hidden 1", "states");
    assert_ne!(states, whole);
    assert_eq!(taught("--distill-hidden 1", "states2"), states);
    assert!(dir.path("whole/teacher-answers.safetensors").is_file());
    assert_eq!(taught("", "again"), whole);
    for (teacher, expected) in
        [("nothing", "nothing/config.json: cannot read"), ("glue-data/demo/model", "weights")]
    {
        let text = dir.platon_refuses(&format!(
            "train tiny --no-tui --teacher {teacher} --output-dir refused"
        ));
        assert!(text.contains(expected), "{text}");
        assert!(!dir.path("refused").exists(), "{teacher}");
    }
    let text = dir.platon_refuses("train tiny --no-tui --teacher dense --mkd-opt 1 --output-dir x");
    assert!(text.contains("mkd_opt: expected 0 where there is a teacher"), "{text}");
}

#[test]
fn answers_of_a_teacher_are_kept_for_a_resumed_run() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --pruner none --output-dir dense");
    dir.platon_ok("train tiny --no-tui --teacher dense --output-dir whole");
    // As if killed after the last checkpoint: no report and no model.
    dir.platon_ok("train tiny --no-tui --teacher dense --keep-state --output-dir cut");
    for part in ["cut/report.json", "cut/model/model.safetensors"] {
        std::fs::remove_file(dir.path(part)).unwrap();
    }
    // Another stands in its place.
    std::fs::remove_dir_all(dir.path("dense")).unwrap();
    dir.platon_ok("train tiny --no-tui --pruner none --seed 5 --output-dir dense");
    let last = dir.path("cut/checkpoint");
    let mut updates: Vec<_> =
        std::fs::read_dir(&last).unwrap().map(|e| e.unwrap().path()).collect();
    updates.sort_by_key(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        name.strip_prefix("update-").unwrap().parse::<usize>().unwrap()
    });
    // Back to the one before.
    std::fs::remove_dir_all(updates.pop().unwrap()).unwrap();
    let answers = dir.bytes("cut/teacher-answers.safetensors");
    dir.write("cut/teacher-answers.safetensors", "x");
    let text = dir.platon_refuses("resume cut --no-tui");
    assert!(text.contains("put back the teacher and this file as the run began"), "{text}");
    std::fs::write(dir.path("cut/teacher-answers.safetensors"), answers).unwrap();
    dir.platon_ok("resume cut --no-tui");
    assert_eq!(weights(&dir.path("cut/model")), weights(&dir.path("whole/model")));
    dir.write("whole/report.json", "").write("whole/teacher-answers.safetensors", "x");
    std::fs::remove_file(dir.path("whole/report.json")).unwrap();
    let text = dir.platon_refuses("resume whole --no-tui");
    assert!(text.contains("teacher-answers.safetensors: expected a teacher's answers"), "{text}");
    assert!(text.contains("remove this file to have the teacher asked anew"), "{text}");
}

#[test]
fn a_run_trains_its_own_teacher_first() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --teacher self --output-dir run");
    let (teacher, run) = (dir.json("run/teacher/report.json"), dir.json("run/report.json"));
    assert_eq!((&teacher["pruner"], &run["pruner"]), (&"none".into(), &"platon".into()));
    assert_eq!(teacher["reached_ratio"], 1.0);
    dir.platon_ok("train tiny --no-tui --pruner none --output-dir dense");
    assert_eq!(weights(&dir.path("run/teacher/model")), weights(&dir.path("dense/model")));
    dir.platon_ok("train tiny --no-tui --teacher dense --output-dir taught");
    assert_eq!(weights(&dir.path("run/model")), weights(&dir.path("taught/model")));
    for args in ["resume run", "train tiny --teacher self --output-dir run --resume"] {
        let ended = dir.platon_ok(&format!("{args} --no-tui"));
        assert!(ended.stderr.contains("this run is finished"), "{args}: {}", ended.stderr);
    }
    let text = dir.platon_refuses("resume dense --no-tui --teacher taught");
    assert!(text.contains("teacher: expected none, as the run in dense began, found"), "{text}");
    // Moved before it was through: the teacher goes along.
    std::fs::remove_file(dir.path("run/report.json")).unwrap();
    std::fs::remove_file(dir.path("run/teacher-answers.safetensors")).unwrap();
    std::fs::rename(dir.path("run"), dir.path("moved")).unwrap();
    dir.platon_ok("resume moved --no-tui");
    assert_eq!(weights(&dir.path("moved/model")), weights(&dir.path("taught/model")));
    // Once it has answered it is needed no more.
    std::fs::remove_file(dir.path("moved/report.json")).unwrap();
    std::fs::remove_dir_all(dir.path("moved/teacher")).unwrap();
    dir.platon_ok("resume moved --no-tui");
    assert!(!dir.path("moved/teacher").exists());
    assert_eq!(weights(&dir.path("moved/model")), weights(&dir.path("taught/model")));
    // The recipe makes a teacher of its own wherever it is used.
    assert!(dir.read("moved/model/recipe.toml").contains("teacher = \"self\""));
}

#[test]
fn a_teacher_of_another_width_family_and_tokenizer_teaches() {
    let dir = Dir::new().with_tiny_demo("flex");
    let config = dir.read("glue-data/demo/model/config.json");
    let mut wide: Value = serde_json::from_str(&config).unwrap();
    wide["hidden_size"] = 48.into();
    wide["num_hidden_layers"] = 3.into();
    wide["num_attention_heads"] = 4.into();
    dir.write("wide/config.json", &wide.to_string());
    dir.write("wide/vocab.txt", &dir.read("glue-data/demo/model/vocab.txt"));
    dir.platon_ok("train tiny --no-tui --pruner none --init-checkpoint wide --output-dir dense");
    dir.platon_ok("train tiny --no-tui --teacher dense --distill-hidden 1 --output-dir run");
    let names: Vec<String> =
        weights(&dir.path("run/model")).into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains("projection")), "{names:?}");
    // Its hidden states are wanted to the end: moved, it is to be named.
    std::fs::rename(dir.path("dense"), dir.path("elsewhere")).unwrap();
    std::fs::remove_file(dir.path("run/report.json")).unwrap();
    let before = weights(&dir.path("run/model"));
    let text = dir.platon_refuses("resume run --no-tui");
    assert!(text.contains("dense") && text.contains("--teacher names a run"), "{text}");
    dir.platon_ok("resume run --no-tui --teacher elsewhere");
    assert_eq!(weights(&dir.path("run/model")), before);
    // The same words in another order: other token ids.
    let vocabulary = dir.read("wide/vocab.txt");
    let mut words: Vec<&str> = vocabulary.lines().collect();
    words[5..].reverse();
    dir.write("other/config.json", &wide.to_string());
    dir.write("other/vocab.txt", &(words.join("\n") + "\n"));
    dir.platon_ok("train tiny --no-tui --pruner none --init-checkpoint other --output-dir foreign");
    dir.platon_ok("train tiny --no-tui --teacher foreign --output-dir taught");
    let text = dir.platon_refuses(
        "train tiny --no-tui --teacher foreign --distill-hidden 1 --output-dir refused",
    );
    assert!(
        text.contains("distill_hidden: expected a teacher with the model's tokenizer"),
        "{text}"
    );
    // Its answers are those that it gives by itself.
    let text = dir.read("glue-data/demo/train.tsv");
    let pairs = text.lines().skip(1).map(|row| row.split('\t').collect::<Vec<_>>());
    let pairs: Vec<String> =
        pairs.map(|fields| format!("{}\t{}\n", fields[8], fields[9])).collect();
    dir.write("pairs.tsv", &pairs.concat());
    let lines = dir.platon_ok("predict foreign --input pairs.tsv --json --engine dense").stdout;
    let bytes = dir.bytes("taught/teacher-answers.safetensors");
    let kept = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept = kept.tensor("vectors").unwrap();
    let kept: Vec<f32> =
        kept.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(kept.len(), 3 * 96);
    for (line, kept) in lines.lines().zip(kept.chunks(3)) {
        let line: Value = serde_json::from_str(line).unwrap();
        for (found, kept) in line["logits"].as_array().unwrap().iter().zip(kept) {
            assert!((found.as_f64().unwrap() - f64::from(*kept)).abs() < 1e-5, "{line}, {kept}");
        }
    }
}

#[test]
fn a_run_that_was_stopped_at_its_teacher_goes_on_with_it() {
    let dir = Dir::new().with_tiny_demo("flex");
    let mut child = dir.start("train tiny --no-tui --epochs 60 --teacher self --output-dir run");
    while !dir.path("run/teacher/metrics.jsonl").is_file() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(dir.read("stderr").contains("go on with both: platon resume run"));
    assert!(!dir.path("run/metrics.jsonl").exists());
    let listed = dir.platon_ok("list run --json").stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed.len(), &listed[0]["state"]), (2, &"its teacher is not finished".into()));
    dir.platon_ok("resume run --no-tui");
    dir.platon_ok("train tiny --no-tui --epochs 60 --teacher self --output-dir whole");
    for model in ["teacher/model", "model"] {
        let [one, other] = ["run", "whole"].map(|run| weights(&dir.path(run).join(model)));
        assert!(one == other, "{model}");
    }
}

#[test]
fn softlabels_come_from_score_files() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok("train tiny --no-tui --output-dir plain");
    let text = dir.read("glue-data/demo/train.tsv");
    let uids: Vec<&str> = text.lines().skip(1).map(|row| row.split('\t').next().unwrap()).collect();
    let of_all = |scores: [f64; 3]| scores.repeat(uids.len());
    let scores = of_all([0.2, 0.3, 0.5]);
    let file = |scores: &[f64]| serde_json::json!({"uids": uids, "scores": scores}).to_string();
    dir.write("a.json", &file(&scores)).write("b.json", &file(&of_all([0.6, 0.3, 0.1])));
    let prepare = "prepare demo --tokenizer glue-data/demo/model --output-dir soft --scores";
    dir.platon_ok(&format!("{prepare} a.json b.json"));
    let line = dir.read("soft/demo_train.json").lines().next().unwrap().to_string();
    // The logarithms of 0.4, 0.3 and 0.3 less their mean: -0.916291, -1.203973 and -1.108079.
    let sample: Value = serde_json::from_str(&line).unwrap();
    let softlabel = sample["softlabel"].as_array().unwrap();
    for (found, expected) in softlabel.iter().zip([0.191_788, -0.095_894, -0.095_894]) {
        assert!((found.as_f64().unwrap() - expected).abs() < 2e-6, "{line}");
    }
    let train = |flags: &str, run: &str| {
        dir.platon_ok(&format!(
            "train tiny --no-tui --data-dir soft --tokenizer glue-data/demo/model --output-dir {run} {flags}"
        ));
        weights(&dir.path(run).join("model"))
    };
    assert_eq!(train("", "unused"), weights(&dir.path("plain/model")));
    assert_ne!(train("--mkd-opt 1", "used"), weights(&dir.path("plain/model")));
    // Those of one sample are missing.
    let soft = dir.read("soft/demo_train.json");
    let field = &line[line.find(", \"softlabel\"").unwrap()..line.len() - 1];
    dir.write("part/demo_train.json", &soft.replacen(field, "", 1));
    dir.write("part/demo_dev.json", &dir.read("soft/demo_dev.json"));
    let text = dir.platon_refuses(
        "train tiny --no-tui --data-dir part --tokenizer glue-data/demo/model --mkd-opt 1 \
         --output-dir part-run",
    );
    let first = format!("found none for 1 of {}, the first being {}", uids.len(), uids[0]);
    assert!(
        text.contains("mkd_opt: expected a softlabel for each") && text.contains(&first),
        "{text}"
    );
    let short: Vec<f64> = scores[1..].to_vec();
    dir.write("short.json", &file(&short)).write("none.json", "{\"uids\": [], \"scores\": []}");
    dir.write("logits.json", &file(&of_all([0.0, 2.0, 4.0])));
    for (name, expected) in [
        ("short.json", "expected 3 scores for each of 96 uids"),
        ("none.json", "expected scores of all training samples"),
        ("logits.json", "expected probabilities of the 3 classes, which add up to 1, found [0.0"),
        ("nothing.json", "cannot read"),
    ] {
        let text = dir.platon_refuses(&format!("{prepare} {name}"));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn smoothness_changes_a_run_and_its_noise_follows_from_the_seed() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = |flags: &str, run: &str| {
        dir.platon_ok(&format!("train tiny --no-tui --max-steps 4 --output-dir {run} {flags}"));
        weights(&dir.path(run).join("model"))
    };
    let smooth = train("--adv-train", "smooth");
    assert_eq!(smooth, train("--adv-train", "again"));
    assert_ne!(smooth, train("", "plain"));
    assert_ne!(smooth, train("--adv-train --adv-p-norm l2 --adv-norm-level 1 --adv-k 2", "l2"));
    assert_eq!(train("--adv-train --adv-alpha 0", "weightless"), train("", "plain2"));
}
