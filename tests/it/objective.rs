//! Teachers and smoothness: what they do to a run.

use serde_json::Value;

use crate::dir::Dir;
use crate::fixtures::weights;

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
    // Another teacher's do not take the place of those that are lost.
    std::fs::remove_file(dir.path("cut/teacher-answers.safetensors")).unwrap();
    let text = dir.platon_refuses("resume cut --no-tui");
    let expected = "cut/teacher-answers.safetensors: expected the answers that the run began with";
    assert!(text.contains(expected) && text.contains("put this file back"), "{text}");
    assert!(!dir.path("cut/teacher-answers.safetensors").exists());
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
    // So does another run with the same settings.
    dir.platon_ok("train moved/config.toml --no-tui --output-dir repeated");
    assert!(dir.path("repeated/teacher/model").exists());
    assert_eq!(weights(&dir.path("repeated/model")), weights(&dir.path("taught/model")));
    // Whatever ratio it is to keep.
    dir.platon_ok("train moved/config.toml --no-tui --keep-ratio 0.2 --output-dir kept --seed 8");
    assert!(dir.path("kept/teacher/model").exists());
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
    assert_eq!(softlabel.len(), 3);
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
    // Another set's samples may be called as those of the training set are.
    let called = |uids: &[&str]| {
        let scores = [0.2, 0.3, 0.5].repeat(uids.len());
        serde_json::json!({"uids": uids, "scores": scores}).to_string()
    };
    dir.write("more.json", &called(&[&uids[..], &["another"]].concat()));
    dir.write("twice.json", &called(&[&uids[..1], &uids[..95]].concat()));
    dir.write("others.json", &called(&[&uids[1..], &["another"]].concat()));
    for (name, expected) in [
        ("short.json", "expected 3 scores for each of 96 uids"),
        ("none.json", "expected scores of the 96 training samples, each once, found those of 0"),
        ("more.json", "expected scores of the 96 training samples, each once, found those of 97"),
        ("twice.json", "found 0 twice (hint: have the model answer the training set"),
        ("others.json", "expected scores of all training samples, 0 among them"),
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
