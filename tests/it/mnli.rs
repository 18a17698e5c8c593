//! MNLI, the task with two of everything, from its files to the GLUE server's.

use std::io::Read;

use serde_json::Value;

use crate::dir::Dir;

/// The demo's rows, which have MNLI's columns, as its files; `tests` rows of each test file and `diagnostic`
/// ones.
fn with_mnli(tests: [usize; 2], diagnostic: usize) -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    let rows = |file: &str, take: usize| -> String {
        let text = dir.read(&format!("glue-data/demo/{file}.tsv"));
        text.split_inclusive('\n').take(1 + take).collect()
    };
    let test = |n: usize| -> String {
        let row = |n: usize| {
            format!("{n}\t-\t-\t-\t-\t-\t-\t-\ta cat\tan animal {}\n", "a ".repeat(n % 3))
        };
        let head = "index\ta\tb\tc\td\te\tf\tg\tsentence1\tsentence2\n".to_string();
        head + &(0..n).map(row).collect::<String>()
    };
    for (file, text) in [
        ("train", rows("train", 96)),
        ("dev_matched", rows("dev", 48)),
        ("dev_mismatched", rows("dev", 20)),
        ("test_matched", test(tests[0])),
        ("test_mismatched", test(tests[1])),
    ] {
        dir.write(&format!("glue-data/MNLI/{file}.tsv"), &text);
    }
    let row = |n: usize| format!("{n}\ta cat\tan animal\n");
    let rows: String = (0..diagnostic).map(row).collect();
    dir.write("glue-data/AX/AX.tsv", &format!("index\tsentence1\tsentence2\n{rows}"));
    dir
}

#[test]
fn both_dev_sets_are_scored_and_their_mean_decides() {
    let dir = with_mnli([3, 2], 1);
    dir.platon_ok(
        "train tiny --train-datasets mnli --no-tui --epochs 4 --eval-per-updates 1 --seed 2 \
         --learning-rate 2e-2 --keep-state --glue-format-on --output-dir run",
    );
    let sets = ["mnli_matched_dev", "mnli_mismatched_dev"];
    let report = dir.json("run/report.json");
    let points: Vec<Value> =
        dir.read("run/metrics.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let at = |update: &Value, set: &str| {
        let point = points.iter().find(|p| p["step"] == *update && p["split"] == set).unwrap();
        point["ACC"].as_f64().unwrap()
    };
    for set in sets {
        let last = report["dev"][format!("ACC {set}")].as_f64().unwrap();
        assert!((last - at(&report["steps"], set)).abs() < 1e-9, "{set}");
    }
    let best = &dir.json("run/checkpoint/update-24/progress.json")["best"];
    let both = sets.map(|set| at(&best["update"], set));
    assert_ne!(both[0], both[1], "other rows are needed");
    assert!((best["score"].as_f64().unwrap() - (both[0] + both[1]) / 2.0).abs() < 1e-9, "{best}");
    for (set, rows) in [("matched", 3), ("mismatched", 2)] {
        let text = dir.read(&format!("run/mnli_{set}_test_scores.tsv"));
        assert_eq!(text.lines().count(), 1 + rows, "{set}");
    }
    let evaluated = dir.platon_ok("evaluate run --json --engine dense").stdout;
    for (line, set) in evaluated.lines().zip(sets) {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["data_set"], &line["ACC"]),
            (&set.into(), &report["dev"][format!("ACC {set}")])
        );
    }
    assert_eq!(evaluated.lines().count(), 2);
}

#[test]
fn a_submission_has_its_two_test_sets_and_the_diagnostic_one() {
    // As many rows as the server asks for.
    let sizes = [("MNLI-m.tsv", 9796), ("MNLI-mm.tsv", 9847), ("AX.tsv", 1104)];
    let dir = with_mnli([sizes[0].1, sizes[1].1], sizes[2].1);
    dir.platon_ok("train tiny --train-datasets mnli --no-tui --max-steps 2 --output-dir run");
    let ended = dir.platon_ok("submit run --output glue.zip");
    let file = std::fs::File::open(dir.path("glue.zip")).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    for (name, rows) in sizes {
        let said = format!("{name}: {rows} predictions of run");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1 + rows, "{name}");
    }
}
