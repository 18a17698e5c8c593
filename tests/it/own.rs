//! Files of one's own, as a new user has them: from a file to a pruned model to predictions.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::crash::signal;
use crate::dir::Dir;
use crate::own_rows::{COLUMNS, csv, json_lines, mood, moods, parquet_file, sentences, with_model};

/// What a small model drawn afresh wants besides the flags that a user gives.
const SMALL: &str = "--init-checkpoint model --from-scratch --no-tui --learning-rate 2e-3 \
                     --bert-dropout-p 0";

#[test]
fn a_csv_becomes_a_pruned_model_and_predictions_in_two_commands() {
    let rows = sentences();
    assert_eq!(rows.len(), 2000);
    let (known, new) = rows.split_at(1900);
    let dir = Dir::new();
    with_model(&dir, known);
    dir.write("origins.csv", &csv(known)).write("new.csv", &csv(new));
    let columns = "--text sentence_text --label origin";
    let train = |file: &str, run: &str| {
        dir.platon_ok(&format!(
            "train --train-file {file} {columns} --keep-ratio 0.2 --epochs 4 {SMALL} \
             --output-dir {run}"
        ))
    };
    let ended = train("origins.csv", "run");
    let found =
        "origins.csv: 1900 rows; 10 % of them held back to evaluate on; 3 labels: a review ";
    assert!(ended.stderr.contains(found), "{}", ended.stderr);

    let report = dir.json("run/report.json");
    assert_eq!(report["task"], "origins");
    assert!((report["reached_ratio"].as_f64().unwrap() - 0.2).abs() < 1e-3, "{report}");
    let scores = |name: &str| report["dev"][name].as_f64().unwrap();
    // A third would be right by chance.
    assert!(scores("ACC") > 60.0 && scores("MacroF1") > 60.0, "{report}");
    let labels = serde_json::json!({"0": "a review", "1": "grammar", "2": "news"});
    assert_eq!(dir.json("run/model/config.json")["id2label"], labels);
    let settings: toml::Table = dir.read("run/config.toml").parse().unwrap();
    assert_eq!(settings["labels"], vec!["a review", "grammar", "news"].into());
    let shares = [&settings["initial_warmup_share"], &settings["final_warmup_share"]];
    assert_eq!(shares.map(|share| share.as_float().unwrap()), [0.07, 0.35]);

    // The sparse engine sums in an order that it measures anew each time.
    let predicted = dir.platon_ok("predict run --engine dense --input new.csv");
    let lines: Vec<Vec<&str>> =
        predicted.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(lines[0], ["index", "prediction", "a review", "grammar", "news"]);
    assert_eq!(lines.len(), 101);
    let right = lines[1..].iter().zip(new).filter(|(line, (_, label))| line[1] == label).count();
    assert!(right > 60, "{right}");

    // The same rows in another format are the same run, and the same predictions.
    std::fs::write(dir.path("origins.parquet"), parquet_file(known)).unwrap();
    train("origins.parquet", "again");
    let model = "model/model.safetensors";
    assert_eq!(dir.bytes(&format!("run/{model}")), dir.bytes(&format!("again/{model}")));
    let text = csv(new);
    let tabs = text.replace("sentence_text,origin", "sentence_text\torigin").replace("id,", "id\t");
    let tabs: String = tabs
        .lines()
        .map(|line| {
            let (id, rest) = line.split_once([',', '\t']).unwrap();
            let (text, label) = rest.rsplit_once([',', '\t']).unwrap();
            format!("{id}\t{text}\t{label}\n")
        })
        .collect();
    dir.write("new.tsv", &tabs).write("new.jsonl", &json_lines(new));
    std::fs::write(dir.path("new.parquet"), parquet_file(new)).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    std::fs::write(dir.path("new.csv.gz"), gzip.finish().unwrap()).unwrap();
    let packed = zstd::stream::encode_all(json_lines(new).as_bytes(), 1).unwrap();
    std::fs::write(dir.path("new.jsonl.zst"), packed).unwrap();
    for name in ["new.tsv", "new.jsonl", "new.parquet", "new.csv.gz", "new.jsonl.zst"] {
        let again = dir.platon_ok(&format!("predict run --engine dense --input {name}"));
        assert_eq!(again.stdout, predicted.stdout, "{name}");
        let word = if name.contains("json") { "fields" } else { "columns" };
        let said = format!("{name}: read from the {word} called sentence_text");
        assert!(again.stderr.contains(&said), "{}", again.stderr);
    }
    let piped = |flags: &str, text: &str| {
        dir.platon_with_input(&format!("predict {flags} --engine dense --input -"), text).stdout
    };
    for text in [&text, &tabs, &json_lines(new)] {
        assert_eq!(piped("run", text), predicted.stdout);
        assert_eq!(piped("run/model --text sentence_text", text), predicted.stdout);
    }
    // Plain lines are what they were, whatever the run learnt from.
    let plain: String = new.iter().map(|(text, _)| format!("{text}\n")).collect();
    assert_eq!(piped("run", &plain), predicted.stdout);
    let line = dir.platon_refuses("predict run --input new.csv --text sentence");
    assert!(line.contains("new.csv: expected a column called sentence, found the columns id, "));
    let line = dir.platon_refuses("predict run --input new.csv --text-pair id");
    assert!(line.contains("text-pair: expected none: origins is about one text"), "{line}");

    // The dev rows are the same ones, and what was prepared serves again.
    let evaluated = dir.platon_ok("evaluate run --json");
    assert!(!evaluated.stderr.contains("prepared"), "{}", evaluated.stderr);
    let evaluated: serde_json::Value = serde_json::from_str(&evaluated.stdout).unwrap();
    assert_eq!(
        (&evaluated["data_set"], &evaluated["ACC"]),
        (&"origins_dev".into(), &report["dev"]["ACC"])
    );
    // Others would be drawn from another file, most of which was learnt from.
    dir.write("origins.csv", &csv(&rows[1..1901]));
    let line = dir.platon_refuses("evaluate run");
    assert!(line.contains("origins.csv: expected the rows that the run began with"), "{line}");
    dir.write("origins.csv", &csv(known));
    assert!(!dir.platon_ok("evaluate run").stderr.contains("prepared"));
    let line = dir.platon_refuses("submit run");
    assert!(line.contains("a run of one of GLUE's tasks"), "{line}");
}

#[test]
fn a_recipe_names_the_files_and_dev_and_test_rows_are_scored() {
    let dir = moods();
    dir.write("dev.csv", &mood(120..150)).write("test.csv", &mood(150..171));
    let tiny = dir.read("recipes/tiny.toml").replace("task = \"demo\"", "task = \"moods\"");
    let own = "train_file = \"mood.csv\"\ndev_file = \"dev.csv\"\ntest_file = \"test.csv\"\n\
               text = \"text\"\nlabel = \"label\"\nlabels = [\"sad\", \"glad\"]\n\
               metric = \"MacroF1\"\n";
    dir.write("moods.toml", &format!("{tiny}{own}"));
    dir.platon_ok("train moods.toml --no-tui --output-dir run");
    let points = dir.read("run/metrics.jsonl");
    let named = |name: &str| points.lines().filter(|line| line.contains(name)).count();
    assert!(named("\"moods_dev\"") > 0 && named("\"moods_dev\"") == named("\"moods_test\""));
    let dev = dir.json("run/report.json")["dev"].clone();
    let names: Vec<&str> = dev.as_object().unwrap().keys().map(String::as_str).collect();
    let of = |set: &str| ["ACC", "MacroF1", "F1", "MCC"].map(|name| format!("{name} {set}"));
    assert_eq!(names, [of("moods_dev"), of("moods_test")].concat());
    let labels = serde_json::json!({"0": "sad", "1": "glad"});
    assert_eq!(dir.json("run/model/config.json")["id2label"], labels);
    // The explicit warm-ups of the recipe hold.
    let settings: toml::Table = dir.read("run/config.toml").parse().unwrap();
    assert_eq!(settings["initial_warmup_share"].as_float(), Some(0.0));
    dir.platon_ok("train run/config.toml --no-tui --output-dir again");
    let model = "model/model.safetensors";
    assert_eq!(dir.bytes(&format!("run/{model}")), dir.bytes(&format!("again/{model}")));

    // Without labels the test rows are predicted.
    let text: String =
        mood(150..171).lines().map(|l| l.split(',').next().unwrap().to_owned() + "\n").collect();
    dir.write("test.csv", &text);
    dir.platon_ok("train moods.toml --no-tui --output-dir blind --max-steps 2");
    let written = std::fs::read_dir(dir.path("blind")).unwrap();
    let written: Vec<String> =
        written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut tables = written
        .iter()
        .filter(|name| name.starts_with("moods_test_scores") && name.ends_with(".tsv"));
    let table = dir.read(&format!("blind/{}", tables.next_back().unwrap()));
    assert_eq!(table.lines().count(), 22);
    assert!(
        table.lines().skip(1).all(|l| l.ends_with("\tsad") || l.ends_with("\tglad")),
        "{table}"
    );
    // Under another task's name the run's own files are of no account.
    let line = dir.platon_refuses("evaluate run --task rte");
    assert!(line.contains("a task with the labels of moods"), "{line}");
}

#[test]
fn numbers_with_a_fraction_are_learnt_as_numbers() {
    let dir = moods();
    let row = |n: usize| {
        format!("{{\"a\": \"a cat {n}\", \"b\": \"dogs\", \"y\": {}}}\n", n as f64 * 12.5 - 40.0)
    };
    dir.write("size.jsonl", &(0..100).map(row).collect::<String>());
    let columns = "--text a --text-pair b --label y";
    dir.platon_ok(&format!(
        "train tiny --train-file size.jsonl {columns} --no-tui --output-dir run"
    ));
    let report = dir.json("run/report.json");
    let names: Vec<&str> = report["dev"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((names, &report["task"]), (vec!["Pearson", "Spearman"], &"size".into()));
    assert_eq!(dir.json("run/model/config.json")["problem_type"], "regression");
    let answers = dir.platon_ok("predict run --input size.jsonl").stdout;
    assert!(answers.lines().skip(1).all(|l| l.split('\t').nth(1).unwrap().parse::<f32>().is_ok()));
    let dense = dir.platon_ok("predict run --input size.jsonl --engine dense").stdout;
    // Two texts are wanted.
    dir.write("one.csv", "a\nx\n");
    let line = dir.platon_refuses("predict run --input one.csv");
    assert!(line.contains("one.csv: expected a column called b, found the columns a"), "{line}");
    dir.platon_ok("predict run --input size.jsonl --engine dense --output to/answers.tsv");
    assert_eq!(dir.read("to/answers.tsv"), dense);
    let line = dir.platon_refuses("predict run --input size.jsonl --output to/answers.tsv");
    assert!(line.contains("output: expected a new file, found to/answers.tsv"), "{line}");
    dir.platon_refuses("predict run --input one.csv --output to/others.tsv");
    assert!(!dir.path("to/others.tsv").exists());
    // The model knows its columns, and that it reads pairs, wherever it goes.
    std::fs::create_dir(dir.path("moved")).unwrap();
    for file in std::fs::read_dir(dir.path("run/model")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, dir.path("moved").join(file.file_name().unwrap())).unwrap();
    }
    dir.platon_ok("export run --format sparse --output some.safetensors");
    dir.platon_ok("convert some.safetensors converted");
    for model in ["moved", "some.safetensors", "converted"] {
        let found = dir.platon_ok(&format!("predict {model} --input size.jsonl --engine dense"));
        assert_eq!(found.stdout, dense, "{model}");
        let line = dir.platon_refuses(&format!("predict {model} --input one.csv"));
        assert!(line.contains("one.csv: expected a column called b"), "{model}: {line}");
        dir.write("one.txt", "a cat\n");
        let line = dir.platon_refuses(&format!("predict {model} --input one.txt"));
        let expected = "one.txt:1: expected two texts with a tab between them for this model";
        assert!(line.contains(expected), "{model}: {line}");
    }
}

#[test]
fn what_cannot_be_learnt_is_refused_in_a_line_and_leaves_nothing() {
    let dir = moods();
    let big = format!("text,label\na,x\n\"{}", "so many words\n".repeat(100_000));
    let parquet = parquet_file(&[("a".into(), "x".into())]);
    std::fs::write(dir.path("cut.parquet"), &parquet[..parquet.len() - 20]).unwrap();
    dir.write("ragged.csv", "text,label\na,x\nb,y,z\n")
        .write("open.csv", "text,label\na,x\n\"b,y\n")
        .write("one.csv", "text,label\na,x\nb,x\n")
        .write("empty.csv", "text,label\na,x\n,y\n")
        .write("big.csv", &big)
        .write("dev.csv", "text,label\na,sad\nb,calm\n")
        .write("copy.csv", &dir.read("mood.csv"))
        .write("list.json", "[\n{\"text\": \"a\", \"label\": 1}]")
        .write("a.txt", "text,label\n");
    std::fs::write(dir.path("latin.csv"), b"text,label\ncaf\xe9,x\n").unwrap();
    for (flags, expected) in [
        (
            "--train-file ragged.csv",
            "ragged.csv:3: expected 2 fields, as the first line names, found 3 fields (hint: ",
        ),
        (
            "--train-file open.csv",
            "open.csv:3: expected a closing quotation mark, found the end of the file (hint: ",
        ),
        (
            "--train-file one.csv",
            "one.csv: expected at least two labels in label, found only \"x\", in all 2 rows (hint: ",
        ),
        (
            "--train-file empty.csv",
            "empty.csv:3: expected a text in text, found an empty one (hint: ",
        ),
        (
            "--train-file big.csv",
            "big.csv:3: expected a row of at most 1048576 bytes, found more (hint: ",
        ),
        ("--train-file latin.csv", "latin.csv:2: expected UTF-8 text, found the byte 0xe9 (hint: "),
        ("--train-file cut.parquet", "cut.parquet: expected a whole Parquet file, found "),
        ("--train-file list.json", "list.json:1: expected a JSON object on each line, found "),
        ("--train-file a.txt", "a.txt: expected a name that ends in .csv, .tsv, .jsonl"),
        ("--train-file none.csv", "none.csv: cannot read: No such file"),
        (
            "--train-file mood.csv --dev-file dev.csv",
            "dev.csv:3: expected a label of glad, sad in label, found \"calm\" (hint: ",
        ),
        (
            "--train-file mood.csv --dev-file mood.csv",
            "dev_file: expected other rows than those of train_file",
        ),
        (
            "--train-file mood.csv --dev-file copy.csv",
            "copy.csv: expected other rows than those of mood.csv, found the same file (hint: without it, \
             --dev-share of the training rows are held back)",
        ),
        (
            "--train-file mood.csv --text txt",
            "mood.csv: expected a column called txt, found the columns text, label (hint: did you mean --text text?)",
        ),
        (
            "--train-file mood.csv --dev-share 0",
            "dev_share: expected a share above 0 where there is no dev_file",
        ),
        ("--train-file mood.csv --dev-share 1", "dev_share: expected a number in [0, 1)"),
        (
            "--train-file mood.csv --metric mcc2",
            "metric: expected one of ACC, F1, MacroF1, MCC, Pearson, Spearman, found mcc2",
        ),
        (
            "--train-file mood.csv --metric pearson",
            "metric: expected a metric of mood: ACC, MacroF1, F1, MCC, found Pearson",
        ),
        (
            "--train-file mood.csv --regression",
            "mood.csv:2: expected a number in label, found \"sad\"",
        ),
        ("--train-file mood.csv --labels sad", "labels: expected at least two labels, each once"),
        (
            "--train-file mood.csv --labels sad,calm",
            "mood.csv:3: expected a label of sad, calm in label, found \"glad\"",
        ),
        (
            "--train-file mood.csv --train_datasets demo",
            "train-file: expected one thing to learn, found also --train-datasets demo (hint: ",
        ),
        ("--train-file mood.csv --task-def x.yml", "train_file: expected train_file or task_def"),
        ("--dev-file dev.csv", "train_file: expected a file that dev_file is about, found none"),
    ] {
        let line =
            dir.platon_refuses(&format!("train tiny {COLUMNS} {flags} --no-tui --output-dir run"));
        assert!(line.starts_with(&format!("error: {expected}")), "{line}\n{expected}");
        assert!(!dir.path("run").exists() && !dir.path("glue-data/own").exists(), "{flags}");
    }
    let line = dir.platon_refuses("train tiny --train-file mood.csv --text text");
    let expected = "label: expected the column of label in mood.csv, found none (hint: platon data";
    assert!(line.contains(expected), "{line}");
    // A folder of settings that names the task of another.
    dir.write(
        "bad.toml",
        "task = \"mnli\"\ntrain_file = \"mood.csv\"\ntext = \"text\"\nlabel = \"label\"\n",
    );
    let line = dir.platon_refuses("train bad.toml");
    assert!(
        line.contains("task: expected a name of letters, digits and hyphens that is none"),
        "{line}"
    );
}

#[test]
fn a_run_goes_on_with_the_rows_that_it_began_with() {
    let dir = moods();
    let mut child = dir.start(&format!(
        "train tiny {COLUMNS} --train-file mood.csv --epochs 400 --eval-per-updates 0 --no-tui \
         --output-dir run"
    ));
    let deadline = Instant::now() + Duration::from_secs(120);
    let has_begun = || dir.path("run/metrics.jsonl").metadata().is_ok_and(|file| file.len() > 0);
    while !has_begun() {
        assert!(Instant::now() < deadline, "{}", dir.read("stderr"));
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rows = dir.read("mood.csv");
    dir.write("mood.csv", &(rows.clone() + "one more cat,sad\n"));
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains("data-dir: expected data of SHA-256 "), "{line}");
    std::fs::remove_file(dir.path("mood.csv")).unwrap();
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains("mood.csv: cannot read: No such file"), "{line}");
    dir.write("moved/rows.csv", &rows);
    let child = dir.start("resume run --no-tui --train-file moved/rows.csv");
    // It has begun to go on where its first line of the log is written.
    let lines = dir.read("run/metrics.jsonl").len();
    while dir.read("run/metrics.jsonl").len() == lines {
        assert!(Instant::now() < deadline, "{}", dir.read("stderr"));
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", dir.read("stderr"));
    assert!(dir.read("run/config.toml").contains("moved/rows.csv"));
}

#[test]
fn a_ratio_alone_takes_the_defaults_and_the_original_s_meaning_is_kept() {
    let dir = moods();
    let settings = |flags: &str| -> toml::Table {
        let text = dir.platon_ok(&format!("train {flags} --dry-run")).stdout;
        let end = text.find("\n\n").unwrap();
        text.get(..end).unwrap().parse().unwrap()
    };
    let number = |table: &toml::Table, name: &str| table[name].as_float().unwrap();
    let model = "--init-checkpoint glue-data/demo/model --from-scratch";
    let own = settings(&format!("--train-file mood.csv {COLUMNS} --keep-ratio 0.3 {model}"));
    assert_eq!((number(&own, "final_threshold"), number(&own, "beta2")), (0.3, 0.9));
    assert_eq!(
        (number(&own, "initial_warmup_share"), own["delta_t"].as_integer()),
        (0.07, Some(10))
    );
    let demo = settings(&format!("--train_datasets demo --keep-ratio 0.3 {model}"));
    assert_eq!(number(&demo, "final_warmup_share"), 0.35);
    // A flag goes before, each for its own part of the run.
    let flags = "--warmup-steps 5 --initial-warmup 1 --final-warmup 2";
    let own =
        settings(&format!("--train-file mood.csv {COLUMNS} --keep-ratio 0.3 {flags} {model}"));
    let shares = ["initial_warmup_share", "final_warmup_share"].map(|name| number(&own, name));
    assert_eq!(shares, [0.0, 0.0]);
    // The original's command: 5,400 updates to a unit are too many for the demo, as they were.
    let line = dir.platon_refuses(&format!("train --train_datasets demo {model} --dry-run"));
    assert!(line.contains("1 * 5400 = 5400: pruning would never start"), "{line}");
    // A ratio of a recipe's task still chooses among its recipes.
    let line = dir.platon_refuses("train tiny --keep-ratio 0.5");
    assert!(line.contains("one of tiny's recipes: 0.2"), "{line}");
}

#[test]
fn data_shows_what_a_file_holds() {
    let dir = moods();
    let rows = mood(0..90) + ",sad\na cat sleeps 0,glad\na dog,\n";
    dir.write("mood.csv", &rows).write("dev.csv", &mood(80..100));
    let text = dir.platon_ok("data mood.csv").stdout;
    assert!(text.starts_with("column  holds"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
    let flags = format!("data mood.csv {COLUMNS} --dev dev.csv --checkpoint glue-data/demo/model");
    let text = dir.platon_ok(&flags).stdout;
    for line in [
        "mood.csv: 93 rows",
        "  2 labels",
        "  tokens: 2 to ",
        "  rows without text: 1 (line 92)",
        "  rows without label: 1 (line 94)",
        "  rows whose text was there before: 1 (line 93)",
        "  of these, with another label: 1 (line 93)",
        "dev.csv: 20 rows",
        "  rows whose text is in mood.csv too: 10 (lines 2, 3, 4, 5, 6, ...)",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line}\n{text}");
    }
    let found = dir.platon_ok(&format!("{flags} --json")).stdout;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["columns"][1]["name"], "label");
    assert_eq!(found["files"][0]["labels"], serde_json::json!([["glad", 61], ["sad", 31]]));
    assert_eq!(found["files"][1]["shared"]["rows"], 10);
    assert_eq!(found["files"][0]["lengths"]["unit"], "tokens");
    let words = dir.platon_ok(&format!("data mood.csv {COLUMNS}")).stdout;
    assert!(words.contains("\n  words: 0 to 6, "), "{words}");
    let line = dir.platon_refuses("data mood.csv --text txt");
    assert!(line.contains("(hint: did you mean --text text?)"), "{line}");
}
