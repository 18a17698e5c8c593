//! `platon list` and `platon compare`.

use serde_json::Value;

use crate::dir::Dir;

/// Two seeds of two methods, one run that was stopped early, and one that is no run.
fn with_runs() -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    for seed in [1, 2] {
        for (pruner, name) in [("platon", "p"), ("magnitude", "m")] {
            dir.platon_ok(&format!(
                "train tiny --no-tui --pruner {pruner} --seed {seed} --output-dir runs/{name}{seed}"
            ));
        }
    }
    dir.write("runs/notes/readme.txt", "x");
    dir
}

fn table(dir: &Dir, command: &str) -> Vec<Value> {
    let text = dir.platon_ok(command).stdout;
    serde_json::from_str::<Vec<Value>>(&text).unwrap()
}

#[test]
fn seeds_are_folded_and_what_differs_is_shown() {
    let dir = with_runs();
    let rows = table(&dir, "compare runs/p1 runs/m1 runs/p2 runs/m2 --json");
    assert_eq!(rows.len(), 2);
    let report = |run: &str| dir.json(&format!("runs/{run}/report.json"));
    for (row, runs) in rows.iter().zip([["p1", "p2"], ["m1", "m2"]]) {
        assert_eq!(row["run"], runs.join(", "));
        assert_eq!((&row["seeds"], &row["state"]), (&"1, 2".into(), &"finished".into()));
        let scores = runs.map(|run| report(run)["dev"]["ACC"].as_f64().unwrap());
        let mean = (scores[0] + scores[1]) / 2.0;
        assert!((row["ACC"].as_f64().unwrap() - mean).abs() < 1e-9, "{row}");
        let ends = [scores[0].min(scores[1]), scores[0].max(scores[1])];
        assert_eq!([&row["ACC min"], &row["ACC max"]].map(|v| v.as_f64().unwrap()), ends);
        assert!((row["remaining, %"].as_f64().unwrap() - 20.0).abs() < 0.1, "{row}");
    }
    assert_eq!((&rows[0]["pruner"], &rows[1]["pruner"]), (&"platon".into(), &"magnitude".into()));
    // Nothing else differs.
    assert!(rows[0].get("batch_size").is_none() && rows[0].get("seed").is_none());
    let text = dir.platon_ok("compare runs/p1 runs/p2 --markdown").stdout;
    assert!(text.starts_with("| run | seeds | state | ACC |"), "{text}");
    assert!(text.contains(" to "), "{text}");
    let text = dir.platon_ok("compare runs/p1 runs/m1 --csv").stdout;
    assert_eq!(text.lines().count(), 3);
    assert!(text.lines().next().unwrap().contains("pruner"), "{text}");
    for (arguments, expected) in [
        ("runs/notes", "RUNS: expected folders of runs, found none"),
        ("runs/nothing", "name the folder of a run"),
        ("runs/notes/readme.txt", "RUNS: expected folders of runs, found none"),
    ] {
        let text = dir.platon_refuses(&format!("compare {arguments}"));
        assert!(text.contains(expected), "{text}");
    }
    let found = dir.platon_ok("compare runs/p1 runs/notes runs/notes/readme.txt --json");
    let expected = "already: runs/notes, runs/notes/readme.txt";
    assert!(found.stderr.contains(expected), "{}", found.stderr);
    std::os::unix::fs::symlink("p1", dir.path("runs/latest")).unwrap();
    for again in ["runs/p1", "./runs/p1", "runs/../runs/p1", "runs/latest"] {
        let rows = table(&dir, &format!("compare runs/p1 {again} --json"));
        assert_eq!((rows.len(), &rows[0]["seeds"]), (1, &"1".into()), "{again}");
    }
    assert!(dir.platon_ok("compare runs/p1 runs/p2").stdout.contains("p1 and 1 more"));
    // What has no effect makes no difference.
    for ratio in [0.3, 0.4] {
        dir.platon_ok(&format!(
            "train tiny --no-tui --pruner none --final-threshold {ratio} --seed {} --output-dir \
             runs/d{ratio}",
            (10.0 * ratio) as u64
        ));
    }
    let rows = table(&dir, "compare runs/p1 runs/d0.3 runs/d0.4 --json");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[1]["seeds"], &rows[1]["pruner"]), (&"3, 4".into(), &"none".into()));
    // Where one of two has no such thing as a final ratio, it is no difference to show.
    assert!(rows[0].get("final_threshold").is_none(), "{rows:?}");
    // Each seed may have its teacher; of two that a seed has, each makes a method.
    for (name, of, teacher) in [("a", "p1", "m1"), ("b", "p2", "m2"), ("c", "p1", "m2")] {
        let config = dir.read(&format!("runs/{of}/config.toml"));
        let taught = config.replace("teacher = \"\"", &format!("teacher = \"runs/{teacher}\""));
        assert_ne!(config, taught);
        dir.write(&format!("runs/{name}/config.toml"), &taught);
    }
    let rows = table(&dir, "compare runs/a runs/b --json");
    assert_eq!((rows.len(), &rows[0]["seeds"]), (1, &"1, 2".into()));
    // However somebody spells a name.
    for (name, metric) in [("f", "f1"), ("g", "F1")] {
        let config = dir.read("runs/p1/config.toml");
        let named = config.replace("metric = \"\"", &format!("metric = \"{metric}\""));
        assert_ne!(config, named);
        dir.write(&format!("runs/{name}/config.toml"), &named);
    }
    assert_eq!(table(&dir, "compare runs/f runs/g --json").len(), 1);
    dir.write("runs/h/config.toml", "epochs = 2\nbatch_size = 0\n");
    let line = dir.platon_refuses("compare runs/f runs/h");
    let expected = "runs/h/config.toml:2: batch_size: expected at least 1, found 0";
    assert!(line.contains(expected), "{line}");
    for name in ["f", "g", "h"] {
        std::fs::remove_dir_all(dir.path(&format!("runs/{name}"))).unwrap();
    }
    // Of a score that is not defined there is no number, and its run is none of those of the mean.
    let report = dir.read("runs/p2/report.json");
    let mut undefined = dir.json("runs/p2/report.json");
    undefined["dev"]["ACC"] = Value::Null;
    dir.write("runs/p2/report.json", &undefined.to_string());
    let defined = dir.json("runs/p1/report.json")["dev"]["ACC"].as_f64().unwrap();
    let text = dir.platon_ok("compare runs/p1 runs/p2").stdout;
    assert!(text.contains(&format!("{defined:.2}, 1 of 2 undefined")), "{text}");
    dir.write("runs/p2/report.json", &report);
    let rows = table(&dir, "compare runs/a runs/b runs/c --json");
    let teachers: Vec<_> = rows.iter().map(|row| row["teacher"].as_str().unwrap()).collect();
    let seeds: Vec<_> = rows.iter().map(|row| row["seeds"].as_str().unwrap()).collect();
    assert_eq!((teachers, seeds), (vec!["runs/m1", "runs/m2"], vec!["1", "2, 1"]));
}

#[test]
fn runs_are_listed_whatever_their_state() {
    let dir = with_runs();
    // As if killed, stopped, and damaged.
    std::fs::remove_file(dir.path("runs/p2/report.json")).unwrap();
    std::fs::remove_file(dir.path("runs/m2/report.json")).unwrap();
    let log = dir.read("runs/m2/log.log")
        + "2026-01-01T00:00:00Z stopped after update 5 of 12: SIGTERM\n";
    dir.write("runs/m2/log.log", &log);
    dir.write("runs/bad/config.toml", "task = [");
    let rows = table(&dir, "list runs --json");
    let names: Vec<&str> = rows.iter().map(|row| row["run"].as_str().unwrap()).collect();
    assert_eq!(names, ["bad", "m1", "m2", "p1", "p2"]);
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert!(
        states[0].starts_with("unreadable: runs/bad/config.toml:1: expected TOML"),
        "{states:?}"
    );
    assert_eq!(
        states[1..],
        ["finished", "stopped after update 5 of 12: SIGTERM", "finished", "killed after update 12"]
    );
    assert_eq!((&rows[1]["method"], &rows[3]["method"]), (&"magnitude".into(), &"platon".into()));
    // Of a run that is not finished what remains now is shown, not what it is to come to.
    assert!((rows[4]["remaining, %"].as_f64().unwrap() - 20.0).abs() < 0.1, "{}", rows[4]);
    let begun = dir.read("runs/m2/metrics.jsonl");
    dir.write("runs/m2/metrics.jsonl", begun.split_inclusive('\n').next().unwrap());
    assert_eq!(table(&dir, "list runs --json")[2]["remaining, %"], 100.0);
    // Nor does it count where others of its settings are finished.
    let rows_of = |runs: &str| table(&dir, &format!("compare {runs} --json"));
    let (both, one) = (rows_of("runs/m1 runs/m2"), rows_of("runs/m1"));
    assert_eq!(both[0]["state"], "1 of 2 unfinished");
    assert_eq!(
        (&both[0]["ACC"], &both[0]["remaining, %"]),
        (&one[0]["ACC"], &one[0]["remaining, %"])
    );
    // The scores of a run that is not finished are those of its last evaluation.
    assert!(rows[4]["metric"] == "ACC" && rows[4]["score"].is_f64(), "{}", rows[4]);
    // However many updates ago that was.
    let update = "{\"step\":13,\"split\":\"train\",\"loss\":1.0,\"sparsity\":0.8}\n";
    let points = dir.read("runs/p2/metrics.jsonl") + &update.repeat(3000);
    dir.write("runs/p2/metrics.jsonl", &points);
    assert_eq!(table(&dir, "list runs --json")[4]["score"], rows[4]["score"]);
    let text = dir.platon_ok("list runs/p1").stdout;
    assert!(text.lines().count() == 2 && text.contains("demo"), "{text}");
    assert!(dir.platon_refuses("list runs/notes").contains("FOLDER: expected a folder with runs"));
    assert!(dir.platon_refuses("list nowhere").contains("nowhere: cannot read"));
}

#[test]
fn runs_on_other_data_are_other_rows_and_have_names_of_their_own() {
    let dir = with_runs();
    let settings = dir.read("runs/p1/config.toml");
    let elsewhere = settings.replace("glue-data\"", "elsewhere\"");
    assert_ne!(elsewhere, settings);
    dir.write("other/p1/config.toml", &elsewhere);
    dir.write("other/p1/report.json", &dir.read("runs/p1/report.json"));
    let rows = table(&dir, "compare runs/p1 other/p1 runs/p2 --json");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["run"], &rows[1]["run"]), (&"runs/p1, p2".into(), &"other/p1".into()));
    assert!(rows[1]["data_dir"].as_str().unwrap().ends_with("elsewhere"), "{}", rows[1]);
    dir.platon_ok("report runs/p1 other/p1 --output page.html");
    let page = dir.read("page.html");
    assert!(page.contains("runs/p1") && page.contains("other/p1"));
}

#[test]
fn a_run_at_work_is_told_from_one_that_was_killed() {
    let dir = Dir::new().with_tiny_demo("flex");
    let mut child = dir.start("train tiny --no-tui --epochs 400 --output-dir runs/long");
    let listed = || table(&dir, "list runs --json")[0]["state"].as_str().unwrap().to_string();
    for _ in 0..600 {
        if dir.path("runs/long/metrics.jsonl").is_file() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let running = listed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(running.starts_with("running, at update "), "{running}");
    assert!(listed().starts_with("killed after update "), "{}", listed());
}
