//! `platon report`, and what a run tells for its page.

use serde_json::Value;

use crate::dir::Dir;

fn with_run(flags: &str) -> Dir {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok(&format!("train tiny --no-tui --output-dir runs/a {flags}"));
    dir
}

/// How many numbers a histogram in a report holds.
fn number(histogram: &Value) -> u64 {
    let counts = histogram["counts"].as_array().unwrap();
    let counts = counts.iter().map(|count| count.as_u64().unwrap());
    histogram["zeros"].as_u64().unwrap() + counts.sum::<u64>()
}

#[test]
fn a_report_tells_of_phases_distributions_and_shrinking() {
    let report = with_run("").json("runs/a/report.json");
    // 12 updates, of which 2 are before pruning and 4 at the final ratio.
    assert_eq!(report["phases"], serde_json::json!({"before": 2, "falling": 8, "total": 12}));
    let prunable = report["prunable"].as_u64().unwrap();
    let layers = report["layers"].as_array().unwrap();
    let remaining: u64 = layers.iter().map(|row| row["remaining"].as_u64().unwrap()).sum();
    assert_eq!(report["weights"]["zeros"].as_u64().unwrap(), prunable - remaining);
    assert_eq!([number(&report["weights"]), number(&report["scores"])], [prunable; 2]);
    // What was pruned are the scores below the threshold, which is in one of the bars.
    let threshold = report["threshold"].as_f64().unwrap();
    assert!(threshold > 0.0);
    let from = report["scores"]["from"].as_i64().unwrap();
    let counts = report["scores"]["counts"].as_array().unwrap();
    let bar = threshold.log2().floor() as i64 - from;
    let upto = |bars: i64| -> u64 {
        let bars = counts.iter().take(usize::try_from(bars).unwrap());
        report["scores"]["zeros"].as_u64().unwrap() + bars.map(|c| c.as_u64().unwrap()).sum::<u64>()
    };
    let pruned = prunable - remaining;
    assert!(upto(bar) <= pruned && pruned <= upto(bar + 1), "{} {pruned}", upto(bar));
    // One row for each layer, none of which has more than there was.
    let shrinking = report["shrinking"].as_array().unwrap();
    let layer = |row: &Value| row["layer"].as_u64();
    assert_eq!(shrinking.len() as u64, layers.iter().filter_map(layer).max().unwrap() + 1);
    for row in shrinking {
        for part in ["neurons", "keys", "values", "heads"] {
            assert!(row[part]["alive"].as_u64() <= row[part]["of"].as_u64(), "{row}");
        }
    }
}

#[test]
fn without_pruning_there_is_nothing_of_it_to_show() {
    let dir = with_run("--pruner none");
    let report = dir.json("runs/a/report.json");
    assert_eq!([&report["phases"], &report["scores"], &report["threshold"]], [&Value::Null; 3]);
    assert_eq!(report["weights"]["zeros"], 0);
    let page = dir.read("runs/a/report.html");
    assert!(page.contains("Loss") && !page.contains("Threshold") && !page.contains("shrinking"));
}

#[test]
fn every_finished_run_has_its_page() {
    let dir = with_run("--log-per-updates 1");
    let page = dir.read("runs/a/report.html");
    for part in [
        "<title>a: platon</title>",
        "platon on demo, finished",
        "Remaining weights by layer and matrix",
        "aria-label=\"Loss by update\"",
        "What exact shrinking leaves",
        "warmup_steps",
        "platon train runs/a/config.toml --output-dir OTHER",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // A file of its own: nothing is named that lies elsewhere.
    for outside in ["http://", "https://", " src=", " href="] {
        // What names SVG's language is no place.
        let text = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!text.contains(outside), "{outside}");
    }
    // The numbers under the curves are the run's own.
    let logged = dir.read("runs/a/metrics.jsonl");
    let losses = logged.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for point in losses.filter(|point| point["split"] == "train") {
        let loss = point["loss"].as_f64().unwrap();
        assert!(page.contains(&format!("\n{},{loss}", point["step"])), "{point}");
    }
    // Again, elsewhere, and of a run that was stopped.
    dir.platon_ok("report runs/a --output again.html");
    assert_eq!(dir.read("again.html"), page);
    std::fs::remove_file(dir.path("runs/a/report.json")).unwrap();
    dir.platon_ok("report runs/a");
    let page = dir.read("runs/a/report.html");
    assert!(page.contains("platon resume runs/a") && page.contains("once a run is finished"));
}

#[test]
fn runs_are_compared_on_one_page() {
    let dir = with_run("--seed 1");
    for (name, flags) in [
        ("b", "--seed 2"),
        ("c", "--pruner magnitude"),
        ("d", "--pruner magnitude --final-threshold 0.5"),
    ] {
        dir.platon_ok(&format!("train tiny --no-tui --output-dir runs/{name} {flags}"));
    }
    let ended = dir.platon_ok("report runs/a runs/b runs/c runs/d");
    assert!(ended.stderr.contains("comparison.html: "), "{}", ended.stderr);
    let page = dir.read("comparison.html");
    for part in ["a and 1 more", "demo: ACC", "Training loss", "4 runs", "magnitude"] {
        assert!(page.contains(part), "{part}");
    }
    // Both methods' means, by what remains.
    let score =
        |run: &str| dir.json(&format!("runs/{run}/report.json"))["dev"]["ACC"].as_f64().unwrap();
    let mean = (score("a") + score("b")) / 2.0;
    let rows: Vec<&str> = page
        .split("&quot;remaining, %&quot;,magnitude,platon")
        .nth(1)
        .unwrap()
        .lines()
        .skip(1)
        .take(3)
        .collect();
    assert!(rows.iter().any(|row| row.ends_with(&format!(",{mean}"))), "{rows:?} {mean}");
    assert!(rows.iter().any(|row| row.contains(&format!(",{},", score("d")))), "{rows:?}");
    // Of two runs at the same ratio that differ in another setting both are there.
    dir.platon_ok("train tiny --no-tui --output-dir runs/e --beta1 0.5");
    dir.platon_ok("report runs/a runs/e --output two.html");
    let two = dir.read("two.html");
    assert!(two.contains("&quot;remaining, %&quot;,platon,platon (e)"), "no curve of its own");
    // A page of ours may be made anew, another file not.
    dir.platon_ok("report runs/a runs/c");
    dir.write("notes.html", "<p>mine</p>");
    let refused = dir.platon_refuses("report runs/a --output notes.html");
    assert!(
        refused.contains("expected a new file, or a page of platon's, found notes.html"),
        "{refused}"
    );
    assert_eq!(dir.read("notes.html"), "<p>mine</p>");
    for (runs, expected) in [("nothing", "name the folder of a run"), ("notes.html", "found none")]
    {
        let refused = dir.platon_refuses(&format!("report {runs}"));
        assert!(refused.contains(expected), "{refused}");
    }
}
