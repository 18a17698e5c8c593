//! What runs leave for other programs, and the commands that use a saved model.

use std::io::Read;

use crate::dir::Dir;
use crate::fixtures::{distance, fixture, read};

/// The lines of a command's output as JSON.
fn json_lines(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// RTE's raw files from the demo's rows, with a test file of `tests` rows.
fn with_rte(dir: Dir, tests: usize) -> Dir {
    for file in ["train", "dev"] {
        let rows = dir.read(&format!("glue-data/demo/{file}.tsv"));
        let mut out = String::from("index\tsentence1\tsentence2\tlabel\n");
        for (n, line) in rows.lines().skip(1).enumerate() {
            let fields: Vec<&str> = line.split('\t').collect();
            let label =
                if fields.last() == Some(&"entailment") { "entailment" } else { "not_entailment" };
            out += &format!("{n}\t{}\t{}\t{label}\n", fields[8], fields[9]);
        }
        dir.write(&format!("glue-data/RTE/{file}.tsv"), &out);
    }
    let rows: String =
        (0..tests).map(|n| format!("{n}\ta cat\tan animal {}\n", "a ".repeat(n % 5))).collect();
    dir.write("glue-data/RTE/test.tsv", &format!("index\tsentence1\tsentence2\n{rows}"));
    dir
}

#[test]
fn events_have_the_original_s_tags() {
    let dir = Dir::with_finished_run("--tensorboard --tensorboard-logdir events");
    let file = std::fs::read_dir(dir.path("run/events")).unwrap().next().unwrap().unwrap().path();
    let content = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    for tag in [
        "train/loss",
        "train/learning_rate",
        "Prune/ratio",
        "Prune/threshold",
        "Prune/sparsity",
        "Dev/demo/ACC",
        "Dev/demo/ACC(epoch)",
        "Remaining/layer_1/attention.output.dense",
    ] {
        assert!(content.contains(tag), "{tag}");
    }
    assert!(!Dir::with_finished_run("").path("run/tensorboard_logdir").exists());
}

#[test]
fn every_evaluation_leaves_its_predictions() {
    let dir = Dir::with_finished_run("");
    // An evaluation that ends an epoch bears the epoch's name alone.
    for name in ["updates_6", "updates_12"] {
        assert!(!dir.path(&format!("run/demo_dev_scores_{name}.json")).exists());
    }
    for name in ["updates_4", "updates_8", "epoch_1", "epoch_2"] {
        let file = dir.json(&format!("run/demo_dev_scores_{name}.json"));
        let count = |key: &str| file[key].as_array().unwrap().len();
        assert_eq!((count("predictions"), count("uids"), count("scores")), (48, 48, 3 * 48));
        let sum: f64 = file["scores"].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 48.0).abs() < 1e-3, "probabilities");
    }
    let last = dir.json("run/demo_dev_scores_epoch_2.json");
    assert_eq!(last["metrics"]["ACC"], dir.json("run/report.json")["dev"]["ACC"]);
    // Labels and identifiers in the order of the rows.
    let rows = dir.read("glue-data/demo/dev.tsv");
    let rows: Vec<Vec<&str>> = rows.lines().skip(1).map(|l| l.split('\t').collect()).collect();
    let names = ["contradiction", "neutral", "entailment"];
    let right = rows.iter().enumerate().filter(|(n, row)| {
        assert_eq!(last["uids"][n], row[0]);
        Some(&names[last["predictions"][n].as_u64().unwrap() as usize]) == row.last()
    });
    let accuracy = 100.0 * right.count() as f64 / 48.0;
    assert!((accuracy - last["metrics"]["ACC"].as_f64().unwrap()).abs() < 1e-9);
}

#[test]
fn test_sets_are_predicted_for_the_server_and_scored_with_labels() {
    let dir = with_rte(Dir::new().with_tiny_demo("flex"), 20);
    dir.platon_ok("train tiny --train-datasets rte --no-tui --output-dir run --glue-format-on");
    for (file, rows) in [("rte_test_scores", 20), ("rte_dev_scores", 48)] {
        let text = dir.read(&format!("run/{file}.tsv"));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("index\tprediction"));
        for n in 0..rows {
            let (index, label) = lines.next().unwrap().split_once('\t').unwrap();
            assert_eq!(index, n.to_string());
            assert!(["entailment", "not_entailment"].contains(&label), "{label}");
        }
        assert_eq!(lines.next(), None);
    }
    let unlabelled = dir.json("run/rte_test_scores_epoch_1.json");
    assert_eq!(unlabelled["metrics"], serde_json::json!({}));
    assert!(dir.json("run/report.json")["dev"].as_object().unwrap().len() == 1);

    let line = dir
        .platon_refuses("train tiny --train-datasets rte --no-tui --output-dir other --with-label");
    assert!(line.contains("rte_test_labeled.json"), "{line}");
    let encoded = "glue-data/canonical_data/model";
    dir.write(
        &format!("{encoded}/rte_test_labeled.json"),
        &dir.read(&format!("{encoded}/rte_dev.json")),
    );
    dir.platon_ok(
        "train tiny --train-datasets rte --no-tui --output-dir other --with-label --tensorboard",
    );
    let points = json_lines(&dir.read("other/metrics.jsonl"));
    let last =
        |split: &str| points.iter().rev().find(|p| p["split"] == split).unwrap()["ACC"].clone();
    assert_eq!(last("rte_test"), last("rte_dev"), "the same rows");
    assert!(dir.json("other/rte_test_scores_epoch_2.json")["metrics"]["ACC"].is_number());
}

#[test]
fn predictions_for_one_s_own_sentences_are_those_of_the_evaluation() {
    let dir = Dir::with_finished_run("");
    let rows = dir.read("glue-data/demo/dev.tsv");
    let pairs: String = rows
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            format!("{}\t{}\n", fields[8], fields[9])
        })
        .collect();
    dir.write("pairs.tsv", &pairs);
    let lines = json_lines(&dir.platon_ok("predict run --input pairs.tsv --json").stdout);
    let expected = dir.json("run/demo_dev_scores_epoch_2.json");
    assert_eq!(lines.len(), 48);
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["index"], n.to_string());
        assert_eq!(line["label"], expected["predictions"][n]);
        for class in 0..3 {
            let (a, b) = (&line["scores"][class], &expected["scores"][3 * n + class]);
            assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-4, "{a} {b}");
        }
    }
    let table = dir.platon_with_input("predict run/model --input -", &pairs).stdout;
    let mut table = table.lines();
    assert_eq!(table.next(), Some("index\tprediction\tcontradiction\tneutral\tentailment"));
    let fields: Vec<&str> = table.next().unwrap().split('\t').collect();
    assert_eq!(
        (fields[0], fields[1], fields.len()),
        ("0", lines[0]["prediction"].as_str().unwrap(), 5)
    );
    assert_eq!(table.count(), 47);

    dir.write("wrong.tsv", "a\tb\na\tb\tc\n");
    let line = dir.platon_refuses("predict run --input wrong.tsv");
    assert!(
        line.contains(
            "wrong.tsv:2: expected two texts with a tab between them for demo, found 3 fields"
        ),
        "{line}"
    );
    let line = dir.platon_refuses("predict run --input nowhere.tsv");
    assert!(line.contains("nowhere.tsv: cannot read"), "{line}");
    let line = dir.platon_refuses("predict glue-data/demo/model --input pairs.tsv");
    assert!(line.contains("glue-data/demo/model: expected a file model.safetensors or"), "{line}");
}

#[test]
fn vectors_of_texts_are_one_per_row() {
    let dir = Dir::with_finished_run("");
    dir.write("texts.txt", "a cat\na dog sleeps\n\n");
    let lines = json_lines(&dir.platon_ok("encode run --input texts.txt").stdout);
    assert_eq!(lines.len(), 3);
    dir.platon_ok("encode run --input texts.txt --output first.safetensors");
    dir.platon_ok("encode run --input texts.txt --output mean.safetensors --pooling mean");
    let vectors = |name: &str| read(&dir.path(name)).0["vectors"].clone();
    let (first, mean) = (vectors("first.safetensors"), vectors("mean.safetensors"));
    assert_eq!(first.shape, [3, 64]);
    for (n, line) in lines.iter().enumerate() {
        let printed: Vec<f32> =
            line["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        let stored: Vec<f32> = first.row(n).iter().map(|v| *v as f32).collect();
        // How matrices are packed is measured anew each time, and sums are rounded accordingly.
        assert!(distance(&printed, &stored) < 1e-5, "{printed:?}, not {stored:?}");
    }
    assert_ne!(first.values, mean.values);
    let line = dir.platon_refuses("encode run --input texts.txt --output first.safetensors");
    assert!(line.contains("output: expected a new file"), "{line}");

    dir.platon_ok(
        "train tiny --no-tui --output-dir vectors --resume --model-ckpt run/model --max-steps 1",
    );
    dir.platon_ok("train tiny --output-dir only --encode-mode --init-checkpoint run/model --from-scratch=false");
    assert_eq!(vectors("only/demo_dev_encoding.safetensors").shape, [48, 64]);
    assert!(!dir.path("only/model").exists());
    let line = dir.platon_refuses("train tiny --output-dir none --encode-mode");
    assert!(line.contains("from_scratch: expected weights of a checkpoint"), "{line}");
    dir.platon_ok("train tiny --no-tui --output-dir other --seed 5 --max-steps 2");
    let only = |name: &str, settings: &str| {
        dir.platon_ok(&format!(
            "train tiny --output-dir {name} --encode-mode --from-scratch=false {settings}"
        ));
        vectors(&format!("{name}/demo_dev_encoding.safetensors")).values
    };
    let whole = only("whole", "--init-checkpoint run/model");
    let warm = only("warm", "--init-checkpoint run/model --resume --model-ckpt other/model");
    let first = only("layer", "--init-checkpoint run/model --num-hidden-layers 1");
    assert!(whole != warm && whole != first);
    let same = only("same", "--init-checkpoint other/model");
    assert!(same.iter().zip(&warm).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn a_checkpoint_of_the_original_becomes_a_hugging_face_folder() {
    let dir = Dir::new();
    let (input, tokenizer) = (fixture("tiny_bert/mtdnn.pt"), fixture("tiny_bert"));
    let out = dir.path("out");
    let args = format!(
        "convert {} {} --tokenizer {}",
        input.display(),
        out.display(),
        tokenizer.display()
    );
    dir.platon_ok(&args);
    let (converted, _) = read(&out.join("model.safetensors"));
    let (expected, _) = read(&fixture("tiny_bert/model.safetensors"));
    assert_eq!(converted.len(), expected.len());
    for (name, tensor) in expected {
        assert_eq!(
            (&converted[&name].values, &converted[&name].shape),
            (&tensor.values, &tensor.shape),
            "{name}"
        );
    }
    let config = dir.json("out/config.json");
    assert_eq!((&config["hidden_size"], &config["model_type"]), (&32.into(), &"bert".into()));
    assert_eq!(
        config["id2label"],
        serde_json::json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    );
    dir.write("texts.txt", "a\tb\n");
    let tokenizer = tokenizer.display();
    let of = |model: &str| {
        dir.platon_ok(&format!("predict {model} --tokenizer {tokenizer} --input texts.txt")).stdout
    };
    assert_eq!(of(&input.display().to_string()), of("out"));
    // What a trainer saves beside the weights need not say anything of the model.
    let trainer = fixture("tiny_bert/trainer.pt");
    assert_eq!(of(&trainer.display().to_string()), of(&fixture("tiny_bert").display().to_string()));
    std::fs::copy(trainer, dir.path("alone.pt")).unwrap();
    let line = dir.platon_refuses("convert alone.pt other");
    assert!(line.contains("alone.pt: expected a configuration of the model, found none"), "{line}");
    let line = dir.platon_refuses("convert out other --tokenizer nowhere");
    assert!(line.contains("nowhere") && !dir.path("other").exists(), "{line}");
}

#[test]
fn a_submission_holds_eleven_files_with_constants_for_what_is_missing() {
    let dir = with_rte(Dir::new().with_tiny_demo("flex"), 3000);
    dir.platon_ok("train tiny --train-datasets rte --no-tui --output-dir run");
    dir.write("mine.tsv", "a\tb\n");
    let line = dir.platon_refuses("submit run --output mine.tsv");
    assert!(line.contains("output: expected a new file, or an earlier submission"), "{line}");
    assert_eq!(dir.read("mine.tsv"), "a\tb\n");
    dir.platon_ok("submit run --output glue.zip");
    let ended = dir.platon_ok("submit run --output glue.zip");
    assert!(ended.stderr.contains("RTE.tsv: 3000 predictions of run"), "{}", ended.stderr);
    assert!(ended.stderr.contains("AX.tsv: no run of mnli was named"), "{}", ended.stderr);
    let mut archive =
        zip::ZipArchive::new(std::fs::File::open(dir.path("glue.zip")).unwrap()).unwrap();
    assert_eq!(archive.len(), 11);
    let mut text = String::new();
    archive.by_name("RTE.tsv").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 3001);
    let folder = dir.platon_refuses("submit run run --output other.zip");
    assert!(folder.contains("expected one run per task"), "{folder}");
    // Whichever of a run's tasks it is.
    dir.platon_ok("train tiny --train-datasets demo,rte --no-tui --output-dir both --max-steps 2");
    let ended = dir.platon_ok("submit both --output both.zip");
    assert!(ended.stderr.contains("RTE.tsv: 3000 predictions of both"), "{}", ended.stderr);
    assert!(ended.stderr.contains("both: left out what GLUE has not: demo"), "{}", ended.stderr);
    dir.platon_ok("train tiny --no-tui --output-dir demo --max-steps 2");
    let line = dir.platon_refuses("submit demo --output other.zip");
    assert!(line.contains("expected a run of one of GLUE's tasks"), "{line}");
    assert!(!dir.path("other.zip").exists());
}

#[test]
fn a_finished_run_keeps_its_best_model_and_no_state() {
    let dir = Dir::new().with_tiny_demo("flex");
    let train = "train tiny --no-tui --epochs 4 --eval-per-updates 1 --seed 2 \
                 --learning-rate 2e-2";
    let ended = dir.platon_ok(&format!("{train} --output-dir run"));
    assert!(!dir.path("run/checkpoint").exists());
    // What a run that was killed in its last moment had no time to remove.
    dir.write("run/checkpoint/update-3/progress.json", "{}");
    assert!(dir.platon_ok("resume run --no-tui").stderr.contains("this run is finished"));
    assert!(!dir.path("run/checkpoint").exists());
    let kept = format!("{train} --output-dir kept --keep-state --keep-checkpoints 99");
    dir.platon_ok(&kept);
    let progress = dir.json("kept/checkpoint/update-24/progress.json");
    let best = progress["best"]["update"].as_u64().unwrap();
    assert!(best < 23, "another seed is needed: the best of all is among the two latest");
    assert!(ended.stderr.contains(&format!("the model after update {best}")), "{}", ended.stderr);

    dir.platon_ok("export run --checkpoint best --format hf --whole --output best");
    // Each has a place of its own.
    for moment in ["best", "last"] {
        dir.platon_ok(&format!("export run --checkpoint {moment} --format sparse"));
    }
    assert_ne!(dir.bytes("run/best-sparse.safetensors"), dir.bytes("run/model-sparse.safetensors"));
    let page = dir.read("run/report.html");
    dir.platon_ok("report run");
    let page = (page, dir.read("run/report.html"));
    assert!(!page.0.contains("best-sparse") && page.1.contains("best-sparse.safetensors"));
    let points = json_lines(&dir.read("run/metrics.jsonl"));
    let at = |update: u64| points.iter().find(|p| p["step"] == update && p["split"] == "demo_dev");
    let expected = at(best).unwrap()["ACC"].as_f64().unwrap();
    let rows = dir.read("glue-data/demo/dev.tsv");
    let rows = rows.lines().skip(1).map(|l| l.split('\t').collect::<Vec<_>>());
    let (texts, labels): (Vec<_>, Vec<_>) =
        rows.map(|r| (format!("{}\t{}", r[8], r[9]), r.last().unwrap().to_string())).unzip();
    dir.write("texts.tsv", &(texts.join("\n") + "\n"));
    let predicted = dir.platon_ok("predict best --input texts.tsv").stdout;
    let right = predicted.lines().skip(1).zip(&labels);
    let right = right.filter(|(line, label)| line.split('\t').nth(1) == Some(label)).count();
    assert!((100.0 * right as f64 / 48.0 - expected).abs() < 1e-9, "{right} of 48, not {expected}");

    dir.platon_ok("export run --format hf --whole --output last");
    assert_ne!(dir.bytes("best/model.safetensors"), dir.bytes("last/model.safetensors"));
    assert_eq!(dir.bytes("last/model.safetensors"), dir.bytes("run/model/model.safetensors"));
    std::fs::remove_file(dir.path("run/report.json")).unwrap();
    let line = dir.platon_refuses("export run --checkpoint best --format hf --output other");
    assert!(line.contains("run: expected a finished run"), "{line}");

    // A run without its best model is not finished.
    std::fs::remove_file(dir.path("kept/report.json")).unwrap();
    std::fs::remove_dir_all(dir.path("kept/best")).unwrap();
    dir.write("kept/best", "in the way");
    assert!(dir.platon_refuses("resume kept --no-tui").contains("kept/best"));
    assert!(!dir.path("kept/report.json").exists());
    std::fs::remove_file(dir.path("kept/best")).unwrap();
    dir.platon_ok("resume kept --no-tui");
    assert_eq!(dir.bytes("kept/best/model.safetensors"), dir.bytes("run/best/model.safetensors"));
    assert!(dir.path("kept/report.json").exists());
    assert_eq!(dir.json("kept/report.json")["best_update"], best);

    // One whose best checkpoint is damaged is finished without it, and nothing else is called best.
    std::fs::remove_file(dir.path("kept/report.json")).unwrap();
    std::fs::remove_dir_all(dir.path("kept/best")).unwrap();
    let weights = format!("kept/checkpoint/update-{best}/model.mpk");
    let mut bytes = dir.bytes(&weights);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(dir.path(&weights), bytes).unwrap();
    let ended = dir.platon_ok("resume kept --no-tui");
    let expected = format!("no best/: the model after update {best} is lost: ");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    let line = dir.platon_refuses("export kept --checkpoint best --format hf --output lost");
    assert!(line.contains(&format!("kept/best: expected the model after update {best}")), "{line}");
}

#[test]
fn a_model_has_a_card_for_the_hub_and_the_recipe_that_made_it() {
    let dir = Dir::with_finished_run("");
    let card = dir.read("run/model/README.md");
    let head = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0;
    let head: serde_json::Value = serde_saphyr::from_str(head).unwrap();
    assert_eq!(head["pipeline_tag"], "text-classification");
    assert_eq!(head["tags"], serde_json::json!(["platon", "pruning", "sparse"]));
    // Its weights were drawn afresh, and the demo is not on the hub.
    assert!(head.get("base_model").is_none() && head.get("datasets").is_none(), "{head}");
    let result = &head["model-index"][0]["results"][0];
    let score = dir.json("run/report.json")["dev"]["ACC"].as_f64().unwrap();
    let value = result["metrics"][0]["value"].as_f64().unwrap();
    assert!((value - score / 100.0).abs() < 1e-4, "{result}");
    assert_eq!(
        (&result["dataset"]["split"], &result["metrics"][0]["type"]),
        (&"dev".into(), &"accuracy".into())
    );
    assert!(card.contains("20.0 % of its 99456 prunable weights remain"), "{card}");
    assert!(
        card.contains("| layer | query | key | value | attn.out | ffn.in | ffn.out | all |"),
        "{card}"
    );
    assert!(!card.contains(&*dir.path("run").to_string_lossy()), "no path of this machine: {card}");
    dir.platon_ok("train run/model/recipe.toml --no-tui --output-dir again");
    assert_eq!(
        dir.bytes("again/model/model.safetensors"),
        dir.bytes("run/model/model.safetensors")
    );
}
