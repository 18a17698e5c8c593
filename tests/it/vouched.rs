//! What a checkpoint vouches for, and what stands beside it in a run folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use crate::dir::{Dir, Ended};

/// A run of 12 updates with a checkpoint at every third.
const RUN: &str = "train tiny --no-tui --eval-per-updates 6 --save-per-updates-on \
                   --save-per-updates 3 --keep-checkpoints 9 --tensorboard --keep-state \
                   --output-dir";

/// A folder with the run `run` that has got to update 6, and the model that it comes to.
fn stopped() -> (Dir, Vec<u8>) {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok(&format!("{RUN} run"));
    let model = dir.bytes("run/model/model.safetensors");
    unfinish(&dir);
    (dir, model)
}

/// Takes `run` back to update 6.
fn unfinish(dir: &Dir) {
    fs::remove_file(dir.path("run/report.json")).unwrap();
    for folder in ["model", "checkpoint/update-9", "checkpoint/update-12"] {
        fs::remove_dir_all(dir.path("run").join(folder)).unwrap();
    }
}

fn edit(dir: &Dir, from: &str, to: &str) {
    let config = dir.read("run/config.toml");
    assert!(config.contains(from), "{config}");
    dir.write("run/config.toml", &config.replace(from, to));
}

/// Runs the program in another folder than the run's.
fn elsewhere(dir: &Dir, args: &str) -> Ended {
    let folder = dir.path("elsewhere");
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_platon"));
    Ended::of(&command.args(args.split_whitespace()).current_dir(folder).output().unwrap())
}

fn pipe(dir: &Dir, name: &str) {
    assert!(Command::new("mkfifo").arg(dir.path(name)).status().unwrap().success());
}

#[test]
fn settings_that_decide_the_weights_are_those_of_the_checkpoint() {
    let (dir, model) = stopped();
    for (from, to) in [
        ("batch_size = 16", "batch_size = 8"),
        ("seed = 2018", "seed = 7"),
        ("learning_rate = 0.001", "learning_rate = 0.002"),
        ("final_threshold = 0.2", "final_threshold = 0.5"),
        ("dropout_p = 0.1\nmore", "dropout_p = 0.2\nmore"),
    ] {
        edit(&dir, from, to);
        let line = dir.platon_refuses("resume run --no-tui");
        let said = format!(
            "run/config.toml: expected {} as in checkpoint update-6, found {} (hint: ",
            from.trim_end_matches("\nmore"),
            to.trim_end_matches("\nmore")
        );
        assert!(line.contains(&said), "{line}");
        edit(&dir, to, from);
    }
    edit(&dir, "seed = 2018", "seed = 7");
    edit(&dir, "epochs = 2", "epochs = 3");
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains("expected epochs = 2, seed = 2018 as in checkpoint update-6"), "{line}");
    edit(&dir, "seed = 7", "seed = 2018");
    edit(&dir, "epochs = 3", "epochs = 2");
    // What decides no weight may be another.
    edit(&dir, "log_per_updates = 2", "log_per_updates = 1");
    edit(&dir, "tensorboard = true", "tensorboard = false");
    edit(&dir, "batch_size_eval = 32", "batch_size_eval = 8");
    let ended = dir.platon_ok("resume run --no-tui");
    assert!(ended.stderr.contains("going on after update 6"), "{}", ended.stderr);
    assert!(dir.bytes("run/model/model.safetensors") == model);
}

#[test]
fn a_checkpoint_of_another_run_or_version_is_no_way_to_go_on() {
    let (dir, model) = stopped();
    let checkpoint =
        |run: &str, update: usize| dir.path(&format!("{run}/checkpoint/update-{update}"));
    dir.platon_ok(&format!("{RUN} other --seed 9 --final-threshold 0.5"));
    fs::rename(checkpoint("other", 9), checkpoint("run", 9)).unwrap();
    let line = dir.platon_refuses("resume run --no-tui");
    let said = "expected final_threshold = 0.2, seed = 2018 as in checkpoint update-9";
    assert!(line.contains("found final_threshold = 0.2, seed = 2018"), "{line}");
    assert!(line.contains("expected final_threshold = 0.5, seed = 9 as in checkpoint update-9"));
    assert!(!line.contains(said));
    fs::remove_dir_all(checkpoint("run", 9)).unwrap();

    let manifest = "run/checkpoint/update-6/manifest.json";
    let right = dir.read(manifest);
    dir.write(manifest, &right.replacen("\"format\": 3", "\"format\": 2, \"more\": 1", 1));
    for _ in 0..2 {
        let line = dir.platon_refuses("resume run --no-tui");
        let said =
            "manifest.json: expected format 3, found format 2 (hint: resume with the version";
        assert!(line.contains(said), "{line}");
        // The same while it lacks its name.
        let unnamed = dir.path("run/checkpoint/update-6.unfinished");
        if !unnamed.exists() {
            fs::rename(checkpoint("run", 6), unnamed).unwrap();
        }
    }
    fs::rename(dir.path("run/checkpoint/update-6.unfinished"), checkpoint("run", 6)).unwrap();
    dir.write(manifest, &right);
    dir.platon_ok("resume run --no-tui");
    assert!(dir.bytes("run/model/model.safetensors") == model);
}

#[test]
fn side_files_that_are_lost_keep_no_run_from_going_on() {
    let (dir, model) = stopped();
    let events = dir.path("run/tensorboard_logdir");
    let only = || fs::read_dir(&events).unwrap().next().unwrap().unwrap().path();
    let (file, points) = (only(), dir.read("run/metrics.jsonl"));
    for round in 0..3 {
        match round {
            0 => {
                fs::remove_file(&file).unwrap();
                fs::remove_file(dir.path("run/metrics.jsonl")).unwrap();
                fs::remove_file(dir.path("run/log.log")).unwrap();
            }
            1 => {
                fs::write(only(), "short").unwrap();
                dir.write("run/metrics.jsonl", &points[..points.find('\n').unwrap() + 5]);
            }
            _ => {
                fs::remove_dir_all(&events).unwrap();
                // As long as before, but for a line end where the checkpoint cuts.
                dir.write("run/metrics.jsonl", &points.replace('\n', " "));
            }
        }
        let ended = dir.platon_ok("resume run --no-tui");
        let said = |text: &str| ended.stderr.lines().filter(|line| line.contains(text)).count();
        assert_eq!(said("run/metrics.jsonl: expected "), 1, "{}", ended.stderr);
        assert_eq!(said("; a new event file begins"), 1, "{}", ended.stderr);
        assert_eq!(said("run/log.log: gone; a new one begins"), usize::from(round == 0));
        assert!(dir.bytes("run/model/model.safetensors") == model);
        let left = dir.read("run/metrics.jsonl");
        let steps = left.lines().map(|line| {
            let point: serde_json::Value = serde_json::from_str(line).unwrap();
            point["step"].as_u64().unwrap()
        });
        let steps: Vec<u64> = steps.collect();
        assert_eq!(steps, if round == 1 { vec![2, 8, 10, 12, 12] } else { vec![8, 10, 12, 12] });
        unfinish(&dir);
    }
}

#[test]
fn a_run_whose_lock_was_replaced_saves_nothing_more() {
    let dir = Dir::new().with_tiny_demo("flex");
    let mut child = dir.start(&format!("{RUN} run --epochs 60"));
    while !dir.path("run/checkpoint/update-3").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    // A new file of the name, as a second process makes it that found none.
    dir.write("run/new", "1\n");
    fs::rename(dir.path("run/new"), dir.path("run/lock")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = dir.read("stderr");
    let line = said.lines().last().unwrap();
    let expected = "error: run/lock: expected the file that this process has locked, found another";
    assert!(line.starts_with(expected), "{said}");
    let unfinished = fs::read_dir(dir.path("run/checkpoint")).unwrap();
    assert!(unfinished.flatten().all(|e| !e.file_name().to_string_lossy().contains("unfinished")));
}

/// Between the look at a run and its lock another process may finish it.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_another_process_has_just_finished_is_not_trained_again() {
    let dir = Dir::new().with_tiny_demo("flex");
    dir.platon_ok(&format!("{RUN} run").replace("--keep-state ", ""));
    assert!(!dir.path("run/checkpoint").exists());
    let points = dir.read("run/metrics.jsonl");
    fs::rename(dir.path("run/report.json"), dir.path("report.json")).unwrap();
    let lock = fs::File::open(dir.path("run/lock")).unwrap();
    lock.lock().unwrap();
    let mut child = dir.start("resume run --no-tui");
    // It has looked once it has opened the lock, and waits for it for a moment.
    let files = std::path::PathBuf::from(format!("/proc/{}/fd", child.id()));
    let has_opened = || {
        let files = fs::read_dir(&files).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|to| to.ends_with("run/lock"))
    };
    while !has_opened() {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", dir.read("stderr"));
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::rename(dir.path("report.json"), dir.path("run/report.json")).unwrap();
    drop(lock);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let said = dir.read("stderr");
    assert!(said.contains("run: this run is finished") && !said.contains("going on"), "{said}");
    assert_eq!(dir.read("run/metrics.jsonl"), points);
}

#[test]
fn planted_links_and_pipes_are_neither_followed_nor_waited_on() {
    let (dir, model) = stopped();
    dir.write("theirs", "content\n");
    for name in ["config.toml", "metrics.jsonl", "lock", "log.log", "report.json"] {
        let path = dir.path(&format!("run/{name}"));
        let kept = fs::read(&path).ok();
        for kind in ["a link", "a pipe"] {
            let _ = fs::remove_file(&path);
            match kind {
                "a link" => symlink(dir.path("theirs"), &path).unwrap(),
                _ => pipe(&dir, &format!("run/{name}")),
            }
            let line = dir.platon_refuses("resume run --no-tui");
            assert!(line.contains(&format!("{name}: expected a file")), "{line}");
            assert!(line.contains(&format!(", found {kind} (hint: ")), "{line}");
        }
        fs::remove_file(&path).unwrap();
        if let Some(kept) = kept {
            fs::write(&path, kept).unwrap();
        }
    }
    for name in ["checkpoint", "model", "tensorboard_logdir"] {
        let (path, aside) = (dir.path(&format!("run/{name}")), dir.path("aside"));
        let there = fs::rename(&path, &aside).is_ok();
        fs::create_dir_all(&aside).unwrap();
        symlink(&aside, &path).unwrap();
        let line = dir.platon_refuses("resume run --no-tui");
        let expected = format!("{name}: expected a file or folder of its own, found a link");
        assert!(line.contains(&expected), "{line}");
        fs::remove_file(&path).unwrap();
        if there {
            fs::rename(&aside, &path).unwrap();
        }
    }
    // Links to folders under the names of checkpoints are none, and what they lead to stays.
    fs::create_dir(dir.path("precious")).unwrap();
    dir.write("precious/manifest.json", "{}");
    for name in ["update-1", "update-2.unfinished", "update-20"] {
        symlink(dir.path("precious"), dir.path("run/checkpoint").join(name)).unwrap();
    }
    dir.platon_ok("resume run --no-tui --tokenizer glue-data/demo/model");
    assert!(dir.bytes("run/model/model.safetensors") == model);
    assert_eq!(
        (dir.read("precious/manifest.json"), dir.read("theirs")),
        ("{}".into(), "content\n".into())
    );
    pipe(&dir, "recipes/pipe.toml");
    let line = dir.platon_refuses("train recipes/pipe.toml");
    assert!(line.contains("pipe.toml"), "{line}");
}

#[test]
fn paths_hold_in_any_folder_and_what_was_moved_can_be_named() {
    let (dir, model) = stopped();
    let ended = elsewhere(&dir, "resume ../run --no-tui");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(dir.bytes("run/model/model.safetensors") == model);
    assert_eq!(elsewhere(&dir, "evaluate ../run").code, 0);
    unfinish(&dir);

    fs::rename(dir.path("glue-data"), dir.path("moved")).unwrap();
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains("glue-data/demo/model/config.json: cannot read"), "{line}");
    // Other data under a right name.
    let rows = dir.read("moved/demo/train.tsv");
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.swap(1, 2);
    dir.write("other/demo/train.tsv", &rows.join("\n"));
    dir.write("other/demo/dev.tsv", &dir.read("moved/demo/dev.tsv"));
    let model_folder = "--init-checkpoint moved/demo/model";
    let before = dir.read("run/config.toml");
    let line = dir.platon_refuses(&format!("resume run --no-tui --data-dir other {model_folder}"));
    assert!(line.contains("data-dir: expected data of SHA-256 "), "{line}");
    let config = dir.read("moved/demo/model/config.json");
    let wider = config.replacen("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1e-6", 1);
    assert_ne!(config, wider);
    dir.write("wide/config.json", &wider)
        .write("wide/vocab.txt", &dir.read("moved/demo/model/vocab.txt"));
    let line = dir.platon_refuses("resume run --no-tui --data-dir moved --init-checkpoint wide");
    assert!(line.contains("init-checkpoint: expected {") && line.contains("1e-6"), "{line}");
    assert_eq!(dir.read("run/config.toml"), before, "nothing is kept of what was refused");

    let ended = elsewhere(
        &dir,
        "resume ../run --no-tui --data-dir ../moved --init-checkpoint ../moved/demo/model",
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(dir.bytes("run/model/model.safetensors") == model);
    // It is known from now on.
    unfinish(&dir);
    dir.platon_ok("resume run --no-tui");
    dir.platon_ok("evaluate run");
}

#[test]
fn a_run_that_goes_on_needs_no_weights_but_its_own() {
    let (dir, _) = stopped();
    dir.platon_ok("resume run --no-tui");
    fs::rename(dir.path("run"), dir.path("first")).unwrap();
    dir.platon_ok(&format!("{RUN} run --from-scratch=false --init-checkpoint first/model"));
    let model = dir.bytes("run/model/model.safetensors");
    unfinish(&dir);
    fs::remove_file(dir.path("first/model/model.safetensors")).unwrap();
    dir.platon_ok("resume run --no-tui");
    assert!(dir.bytes("run/model/model.safetensors") == model);
    let line = dir
        .platon_refuses(&format!("{RUN} new --from-scratch=false --init-checkpoint first/model"));
    assert!(line.contains("first/model: expected a file model.safetensors"), "{line}");
}
