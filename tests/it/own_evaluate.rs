//! Runs on files of one's own are evaluated: where these were moved, and on other rows.

use crate::own_rows::{COLUMNS, mood, moods};

#[test]
fn a_run_is_evaluated_without_its_training_file() {
    let dir = moods();
    dir.write("dev.csv", &mood(120..150)).write("other.csv", &mood(150..180));
    let train = format!("train tiny --train-file mood.csv {COLUMNS} --no-tui");
    dir.platon_ok(&format!("{train} --dev-file dev.csv --output-dir run"));
    dir.platon_ok(&format!("{train} --output-dir drawn"));
    std::fs::rename(dir.path("mood.csv"), dir.path("moved.csv")).unwrap();
    std::fs::remove_dir_all(dir.path("glue-data/own")).unwrap();
    let evaluated = |args: &str| -> serde_json::Value {
        serde_json::from_str(&dir.platon_ok(&format!("evaluate {args} --json")).stdout).unwrap()
    };
    let of = |run: &str| dir.json(&format!("{run}/report.json"))["dev"]["ACC"].clone();
    assert_eq!(evaluated("run")["ACC"], of("run"));
    // Rows that are held back are drawn from it.
    let line = dir.platon_refuses("evaluate drawn");
    assert!(line.contains("mood.csv: cannot read") && line.contains("--train-file"), "{line}");
    assert_eq!(evaluated("drawn --train-file moved.csv")["ACC"], of("drawn"));
    let line = dir.platon_refuses("evaluate drawn --train-file other.csv");
    assert!(line.contains("expected the rows that the run began with"), "{line}");
    // Or other rows are named.
    for run in ["run", "drawn"] {
        let row = evaluated(&format!("{run} --dev-file other.csv"));
        assert_eq!((&row["data_set"], &row["rows"]), (&"mood_dev".into(), &30.into()));
    }
    for flag in ["--train-file", "--dev-file", "--test-file"] {
        let line = dir.platon_refuses(&format!("evaluate run {flag} nowhere.csv"));
        assert!(line.contains("expected a file, found nowhere.csv, which is not there"), "{line}");
    }
    // Evaluate has no flags for other columns.
    dir.write("named.csv", "Text,label\na dull film,sad\n");
    let line = dir.platon_refuses("evaluate run --dev-file named.csv");
    let expected = "named.csv: expected a column called text, found the columns Text, label (hint: the \
                    run's own files have it; name the column so in a copy of this one)";
    assert!(line.contains(expected), "{line}");
    dir.platon_ok("train tiny --no-tui --max-steps 1 --output-dir demo");
    let line = dir.platon_refuses("evaluate demo --dev-file dev.csv");
    assert!(line.contains("dev-file: expected none: only a run on files of your own"), "{line}");
}

#[test]
fn a_model_is_not_evaluated_on_rows_that_it_has_learnt_from() {
    let dir = moods();
    dir.write("dev.csv", &mood(120..150));
    let train = format!("train tiny --train-file mood.csv {COLUMNS} --no-tui --max-steps 1");
    dir.platon_ok(&format!("{train} --seed 1 --output-dir first"));
    let again = format!("{train} --from-scratch=false --init-checkpoint first");
    let warm = format!("{train} --resume --model-ckpt first");
    for (n, again) in [again, warm].into_iter().enumerate() {
        let line = dir.platon_refuses(&format!("{again} --seed 2 --output-dir refused"));
        let expected = "(hint: hold back what it held back (--label label --dev-share 0.1 --seed 1), or \
                        name rows to evaluate on with --dev-file)";
        assert!(line.contains("train-file: expected rows to hold back that "), "{line}");
        assert!(line.contains("first has not learnt from, found ") && line.ends_with(expected));
        assert!(!dir.path("refused").exists());
        for (m, flags) in ["--seed 1", "--seed 2 --dev-file dev.csv"].into_iter().enumerate() {
            dir.platon_ok(&format!("{again} {flags} --output-dir taken-{n}-{m}"));
        }
    }
    // One that was evaluated on other rows has learnt from them all.
    let line = dir.platon_refuses(&format!(
        "{train} --from-scratch=false --init-checkpoint taken-0-1 --output-dir refused"
    ));
    assert!(line.contains("taken-0-1 has not learnt from, found 12 of 12 that it has"), "{line}");
    // Nor one that began with a model that has: `taken-0-0` with `first`.
    let other = train.replace("mood.csv", "other.csv");
    dir.write("other.csv", &mood(200..320));
    dir.platon_ok(&format!(
        "{other} --from-scratch=false --init-checkpoint first --output-dir between"
    ));
    let last = format!("{train} --from-scratch=false --init-checkpoint between");
    let line = dir.platon_refuses(&format!("{last} --seed 2 --output-dir refused"));
    assert!(line.contains("first has not learnt from"), "{line}");
    dir.platon_ok(&format!("{last} --seed 1 --output-dir after"));
    // Nor where the file has grown, in its place or as another.
    dir.write("grown.csv", &mood(0..150));
    let grown = format!(
        "{} --seed 1 --from-scratch=false --init-checkpoint first --output-dir refused",
        train.replace("mood.csv", "grown.csv")
    );
    let line = dir.platon_refuses(&grown);
    assert!(line.contains("first has not learnt from, found "), "{line}");
    std::fs::rename(dir.path("mood.csv"), dir.path("old.csv")).unwrap();
    std::fs::rename(dir.path("grown.csv"), dir.path("mood.csv")).unwrap();
    let line = dir.platon_refuses(&grown.replace("grown.csv", "mood.csv"));
    assert!(line.contains("found rows of a file that has changed since"), "{line}");
    std::fs::rename(dir.path("old.csv"), dir.path("mood.csv")).unwrap();
    // Other labels draw other rows.
    let second = ["second", "x", "y", "x", "x"].into_iter();
    let second = second.chain(["y", "x"].into_iter().cycle());
    let both: String =
        mood(0..120).lines().zip(second).map(|(row, second)| format!("{row},{second}\n")).collect();
    dir.write("both.csv", &both);
    let on = |label: &str| {
        train.replace("mood.csv", "both.csv").replace("label label", &format!("label {label}"))
    };
    dir.platon_ok(&format!("{} --seed 1 --output-dir labelled", on("label")));
    let line = dir.platon_refuses(&format!(
        "{} --seed 1 --from-scratch=false --init-checkpoint labelled --output-dir refused",
        on("second")
    ));
    assert!(line.contains("labelled has not learnt from, found "), "{line}");
    // A file of that name beside a model need not be a run's.
    std::fs::create_dir(dir.path("site")).unwrap();
    std::fs::rename(dir.path("taken-0-0/model"), dir.path("site/model")).unwrap();
    dir.write("site/config.toml", "title = \"a site\"\n");
    dir.platon_ok(&format!(
        "{train} --from-scratch=false --init-checkpoint site/model --output-dir of-site"
    ));
    // Nothing is taken over where weights are drawn.
    dir.platon_ok(&format!("{train} --init-checkpoint first --seed 2 --output-dir fresh"));
}

#[test]
fn runs_that_are_scored_on_other_test_files_are_not_seeds_of_one() {
    let dir = moods();
    dir.write("ta.csv", &mood(150..171)).write("tb.csv", &mood(171..201));
    let train = format!("train tiny --train-file mood.csv {COLUMNS} --no-tui --max-steps 1");
    for (run, test) in [("a", "ta.csv"), ("b", "tb.csv"), ("c", "ta.csv")] {
        let seed = if run == "c" { 2 } else { 1 };
        dir.platon_ok(&format!("{train} --test-file {test} --seed {seed} --output-dir {run}"));
    }
    let rows = dir.platon_ok("compare a b c --json").stdout;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).unwrap();
    let files: Vec<_> = rows.iter().map(|row| row["test_file"].as_str().unwrap()).collect();
    assert!(files[0].ends_with("ta.csv") && files[1].ends_with("tb.csv"), "{files:?}");
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_tokenizer_that_is_named_is_used() {
    let dir = moods();
    dir.write("dev.csv", &mood(120..150));
    dir.platon_ok(&format!(
        "train tiny --train-file mood.csv --dev-file dev.csv {COLUMNS} --no-tui --output-dir run"
    ));
    let loss = |args: &str| -> serde_json::Value {
        let args = format!("evaluate run --engine dense {args} --json");
        let line = dir.platon_ok(&args).stdout;
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["loss"].clone()
    };
    let own = loss("");
    assert_eq!(loss("--tokenizer run/model"), own);
    let words = dir.read("run/model/vocab.txt");
    let mut words: Vec<&str> = words.lines().collect();
    words[5..].reverse();
    dir.write("turned/vocab.txt", &words.join("\n"));
    assert_ne!(loss("--tokenizer turned"), own);
    let line = dir.platon_refuses("evaluate run --tokenizer nowhere");
    assert!(line.contains("nowhere"), "{line}");
}
