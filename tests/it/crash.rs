//! Runs that are killed, stopped or damaged, and go on as if nothing had happened.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::dir::{Dir, Ended};
use crate::fixtures::skipped;

/// A run of 36 updates with a checkpoint at every third: about a second.
const RUN: &str = "train tiny --no-tui --epochs 6 --eval-per-updates 5 --save-per-updates-on \
                   --save-per-updates 3 --tensorboard --keep-state";

/// The same with 120 updates: still at work when a signal comes late.
pub fn long() -> String {
    RUN.replace("--epochs 6", "--epochs 20")
}

pub fn tiny() -> Dir {
    Dir::new().with_tiny_demo("flex")
}

/// What two equal runs have in common: weights, metrics without times, scores.
pub fn outcome(dir: &Dir, run: &str) -> (Vec<u8>, Vec<serde_json::Value>, serde_json::Value) {
    let points = dir.read(&format!("{run}/metrics.jsonl"));
    let points = points.lines().map(|line| {
        let mut point: serde_json::Value = serde_json::from_str(line).unwrap();
        let point = point.as_object_mut().unwrap();
        point.remove("seconds");
        point.remove("pruning_seconds");
        point.clone().into()
    });
    let report = dir.json(&format!("{run}/report.json"));
    let model = dir.bytes(&format!("{run}/model/model.safetensors"));
    (
        model,
        points.collect(),
        serde_json::json!([report["dev"], report["sparsity"], report["steps"]]),
    )
}

pub fn signal(child: &std::process::Child, name: &str) {
    let killed = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

/// Whether a checkpoint is being written.
fn is_writing(run: &Path) -> bool {
    let entries = std::fs::read_dir(run.join("checkpoint"));
    entries.is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".unfinished")))
    })
}

#[test]
fn a_run_killed_25_times_ends_as_if_nothing_had_happened() {
    kill(&tiny(), 25);
}

#[cfg(feature = "ndarray")]
#[test]
fn a_run_on_ndarray_killed_6_times_ends_as_if_nothing_had_happened() {
    kill(&Dir::new().with_tiny_demo("ndarray"), 6);
}

#[allow(clippy::print_stdout)]
fn kill(dir: &Dir, times: usize) {
    dir.platon_ok(&format!("{RUN} --output-dir whole"));
    let expected = outcome(dir, "whole");
    let mut random = StdRng::seed_from_u64(7);
    let (mut kills, mut while_writing, mut runs) = (0, 0, 0);
    while kills < times {
        runs += 1;
        let run = format!("killed-{runs}");
        let mut command = format!("{RUN} --output-dir {run}");
        loop {
            let mut child = dir.start(&command);
            if kills >= times {
                assert!(child.wait().unwrap().success(), "run {runs} after {kills} kills");
                break;
            }
            // Every third time while a checkpoint is written, else at any instant.
            let patience = Duration::from_millis(random.random_range(20..400));
            let started = Instant::now();
            let at_writing = kills % 3 == 0;
            let mut written = false;
            while started.elapsed() < patience * if at_writing { 10 } else { 1 } {
                if at_writing && started.elapsed() > patience && is_writing(&dir.path(&run)) {
                    // Its first file, its last one, or in between.
                    std::thread::sleep(Duration::from_micros(random.random_range(0..6000)));
                    break;
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "run {runs} after {kills} kills: {status}");
                break;
            }
            written |= is_writing(&dir.path(&run));
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
            while_writing += usize::from(written);
            if dir.path(&run).join("config.toml").exists() {
                command = format!("resume {run} --no-tui");
            }
        }
        assert!(outcome(dir, &run) == expected, "run {runs}");
        assert!(!is_writing(&dir.path(&run)));
    }
    println!("{while_writing} of {kills} kills fell into the writing of a checkpoint");
    assert!(while_writing > 0);
}

#[test]
fn signals_end_a_run_with_a_checkpoint_and_their_code() {
    let (dir, long) = (tiny(), long());
    dir.platon_ok(&format!("{long} --output-dir whole"));
    let expected = outcome(&dir, "whole");
    for (name, code) in [
        ("-INT", 130),
        ("-TERM", 143),
        ("-HUP", 129),
        ("-XCPU", 152),
        ("-USR1", 138),
        ("-USR2", 140),
    ] {
        let run = format!("stopped{name}");
        let mut child = dir.start(&format!("{long} --output-dir {run}"));
        let metrics = dir.path(&format!("{run}/metrics.jsonl"));
        while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 3) {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        assert!(!dir.path(&run).join("model").exists());
        for command in ["evaluate", "predict --input recipes/tiny.toml"] {
            let line = dir.platon_refuses(&format!("{command} {run}"));
            let expected = format!("{run}: expected a finished run, found one without its model");
            assert!(line.contains(&expected), "{line}");
        }
        let ended = dir.platon_ok(&format!("resume {run} --no-tui"));
        assert!(ended.stderr.contains("going on after update"), "{}", ended.stderr);
        assert!(outcome(&dir, &run) == expected, "{name}");
        assert!(dir.platon_ok(&format!("resume {run}")).stderr.contains("this run is finished"));
    }
}

#[test]
fn a_damaged_checkpoint_is_skipped_for_the_one_before() {
    let dir = tiny();
    dir.platon_ok(&format!("{RUN} --output-dir whole"));
    dir.platon_ok(&format!("{RUN} --output-dir run --keep-checkpoints 4"));
    let checkpoint =
        |update: usize, file: &str| dir.path(&format!("run/checkpoint/update-{update}/{file}"));
    // Finished but for its end, with four damaged checkpoints of which the oldest is whole.
    for file in ["report.json", "model/model.safetensors"] {
        std::fs::remove_file(dir.path(&format!("run/{file}"))).unwrap();
    }
    let mut bytes = std::fs::read(checkpoint(36, "model.mpk")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(checkpoint(36, "model.mpk"), &bytes).unwrap();
    std::fs::write(checkpoint(35, "optimizer.mpk"), "short").unwrap();
    std::fs::remove_file(checkpoint(33, "manifest.json")).unwrap();
    let ended = dir.platon_ok("resume run --no-tui");
    for expected in [
        "update-36/model.mpk: expected the SHA-256",
        "update-35/optimizer.mpk: expected",
        "update-33/manifest.json: cannot read",
        "going on after update 30",
    ] {
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
    assert!(outcome(&dir, "run") == outcome(&dir, "whole"));
}

#[test]
fn the_latest_checkpoints_and_the_best_are_kept() {
    let dir = tiny();
    // The final ratio from update 17 on.
    dir.platon_ok(&format!(
        "{RUN} --output-dir run --keep-checkpoints 1 --final-warmup 10 --eval-per-updates 1 --seed 3 \
         --learning-rate 2e-2"
    ));
    let entries = std::fs::read_dir(dir.path("run/checkpoint")).unwrap();
    let mut kept: Vec<usize> = entries
        .map(|e| e.unwrap().file_name().to_str().unwrap()["update-".len()..].parse().unwrap())
        .collect();
    kept.sort_unstable();
    let best = dir.json("run/checkpoint/update-36/progress.json")["best"].clone();
    assert_eq!(best["at_final_ratio"], true);
    let update = best["update"].as_u64().unwrap() as usize;
    assert_ne!(update, 36, "another seed is needed: the last evaluation is the best");
    assert_eq!(kept, [update, 36]);
    let points = dir.read("run/metrics.jsonl");
    let points = points.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    let final_ones = points.filter(|p| p["split"] == "demo_dev" && p["ratio"] == 0.2);
    let highest = final_ones.map(|p| p["ACC"].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(best["score"].as_f64(), Some(highest));
}

#[test]
fn a_run_belongs_to_one_process_and_to_its_own_settings() {
    let dir = tiny();
    let long = RUN.replace("--epochs 6", "--epochs 60");
    let mut child = dir.start(&format!("{long} --output-dir run"));
    while !dir.path("run/metrics.jsonl").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains(&format!("found process {} at work", child.id())), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    let line = dir.platon_refuses(&format!("{long} --output-dir run --resume --seed 9"));
    assert!(line.contains("expected") && line.contains("as the run began"), "{line}");
    let line = dir.platon_refuses(&format!("{RUN} --output-dir run"));
    assert!(line.contains("expected a new or empty folder"), "{line}");
    let line = dir.platon_refuses("resume nowhere");
    assert!(line.contains("nowhere/config.toml: cannot read"), "{line}");
}

#[test]
fn a_loss_that_is_no_number_keeps_the_last_good_checkpoint() {
    let dir = tiny();
    // The rate explodes only after the warm-up's first update.
    let line = dir.platon_refuses(&format!(
        "{RUN} --output-dir run --learning-rate 1e30 --save-per-updates 1"
    ));
    assert!(line.contains("the training diverged"), "{line}");
    assert!(!dir.path("run/model").exists());
    let diverged = line.split("update ").nth(1).and_then(|rest| rest.split(' ').next());
    let diverged: usize = diverged.unwrap().parse().unwrap();
    let saved = std::fs::read_dir(dir.path("run/checkpoint")).unwrap();
    let saved: Vec<usize> = saved
        .map(|e| e.unwrap().file_name().to_str().unwrap()["update-".len()..].parse().unwrap())
        .collect();
    assert!(!saved.is_empty() && saved.iter().all(|u| *u < diverged), "{saved:?}, {diverged}");
    // The run itself tells why it ended.
    let listed = dir.platon_ok("list run").stdout;
    assert!(listed.contains("failed after update ") && listed.contains("diverged"), "{listed}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let dir = tiny();
    let model = |threads: usize| {
        let run = format!("threads-{threads}");
        let ended =
            dir.platon_with_threads(threads, &format!("train tiny --no-tui --output-dir {run}"));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        dir.bytes(&format!("{run}/model/model.safetensors"))
    };
    let one = model(1);
    for threads in [2, 4] {
        assert!(model(threads) == one, "{threads} threads");
    }
}

#[test]
fn output_that_nobody_takes_is_no_error_and_a_full_disk_is_one() {
    let dir = tiny();
    dir.platon_ok("train tiny --no-tui --output-dir run");
    dir.write("texts.txt", &"a cat\ta dog\n".repeat(5000));
    let program = env!("CARGO_BIN_EXE_platon");
    let shell = |script: &str| {
        let mut shell = Command::new("bash");
        let shell = shell.args(["-c", script]).current_dir(dir.path("."));
        shell.output().unwrap()
    };
    let ended = shell(&format!(
        "set -o pipefail; '{program}' predict run --input texts.txt --json | head -n 2"
    ));
    assert!(ended.status.success(), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.starts_with("engine: ") && said.lines().count() == 1, "{said}");
    assert_eq!(ended.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    if Path::new("/dev/full").exists() {
        let ended = shell(&format!("'{program}' predict run --input texts.txt >/dev/full"));
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{text}");
        let (said, error) = text.split_once('\n').unwrap();
        assert!(said.starts_with("engine: "), "{text}");
        assert!(error.starts_with("error: standard output: cannot write: "), "{text}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn a_checkpoint_that_only_lacks_its_name_gets_it() {
    let dir = tiny();
    dir.platon_ok(&format!("{RUN} --output-dir run"));
    let expected = outcome(&dir, "run");
    let unfinish = |run: &str| {
        std::fs::remove_file(dir.path(&format!("{run}/report.json"))).unwrap();
        std::fs::remove_dir_all(dir.path(&format!("{run}/model"))).unwrap();
    };
    unfinish("run");
    let folder = |name: &str| dir.path(&format!("run/checkpoint/{name}"));
    std::fs::rename(folder("update-36"), folder("update-36.unfinished")).unwrap();
    std::fs::create_dir(folder("update-37.unfinished")).unwrap();
    let ended = dir.platon_ok("resume run --no-tui");
    assert!(ended.stderr.contains("going on after update 36"), "{}", ended.stderr);
    assert!(outcome(&dir, "run") == expected);
    assert!(!folder("update-37.unfinished").exists());
}

#[test]
fn a_terminal_that_hangs_up_twice_loses_nothing() {
    let (dir, long) = (tiny(), long());
    let mut child = dir.start(&format!("{long} --output-dir run"));
    let metrics = dir.path("run/metrics.jsonl");
    while !std::fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 3) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..2 {
        signal(&child, "-HUP");
    }
    assert_eq!(child.wait().unwrap().code(), Some(129));
    let log = dir.read("run/log.log");
    assert!(log.contains("SIGHUP"), "{log}");
    let stopped = log.rsplit("stopped after update ").next().unwrap();
    let update = stopped.split(' ').next().unwrap();
    assert!(dir.path(&format!("run/checkpoint/update-{update}/manifest.json")).exists(), "{log}");
}

/// Starts a long run and waits for its first checkpoint.
fn at_work(dir: &Dir, run: &str) -> std::process::Child {
    let long = RUN.replace("--epochs 6", "--epochs 60");
    let mut child = dir.start(&format!("{long} --keep-checkpoints 20 --output-dir {run}"));
    let first = dir.path(&format!("{run}/checkpoint/update-3"));
    while !first.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_run_folder_that_vanishes_ends_the_run_in_one_line() {
    let dir = tiny();
    let mut child = at_work(&dir, "run");
    std::fs::rename(dir.path("run"), dir.path("away")).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let said = dir.read("stderr");
    let line = said.lines().last().unwrap();
    assert!(line.starts_with("error: run") && line.contains("No such file"), "{line}");
    assert!(!dir.path("run").exists(), "nothing is made where the folder was");
    // What was there is whole.
    let ended = dir.platon_ok("resume away --no-tui");
    assert!(ended.stderr.contains("going on after update"), "{}", ended.stderr);
}

#[test]
fn a_run_goes_on_only_with_the_data_that_it_began_with() {
    let dir = tiny();
    let mut child = at_work(&dir, "run");
    child.kill().unwrap();
    child.wait().unwrap();
    let file = "glue-data/canonical_data/model/demo_train.json";
    let samples = dir.read(file);
    let mut lines: Vec<&str> = samples.lines().collect();
    lines.swap(0, 1);
    dir.write(file, &(lines.join("\n") + "\n"));
    let line = dir.platon_refuses("resume run --no-tui");
    assert!(line.contains("data-dir: expected data of SHA-256 "), "{line}");
    assert!(
        line.contains("(hint: the files, or what config.toml says of a teacher, have changed"),
        "{line}"
    );
    dir.write(file, &samples);
    dir.platon_ok("resume run --no-tui");
}

/// The program as a user whom file permissions bind, also where the tests run as root; `None` where
/// such a user cannot start it.
fn bound_by_permissions(dir: &Dir, args: &str) -> Option<Ended> {
    const NOBODY: u32 = 65_534;
    let mut program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_platon"));
    // SAFETY: it has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if root {
        // The build folder may be root's alone.
        let copy = dir.path("platon");
        if !copy.exists() {
            std::fs::copy(&program, &copy).unwrap();
        }
        program = copy;
        permit(dir, ".", 0o777);
    }
    let mut command = Command::new(program);
    command.args(args.split_whitespace()).current_dir(dir.path("."));
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().ok().map(|output| Ended::of(&output))
}

fn permit(dir: &Dir, path: &str, mode: u32) {
    std::fs::set_permissions(dir.path(path), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_may_not_be_read_or_written_is_named_and_nothing_is_lost() {
    let dir = tiny();
    let readable = Command::new("chmod").args(["-R", "a+rX"]).arg(dir.path(".")).status();
    assert!(readable.unwrap().success());
    if bound_by_permissions(&dir, "--version").is_none_or(|ended| ended.code != 0) {
        skipped("what_may_not_be_read_or_written…", "no other user can start the program here");
        return;
    }
    dir.platon_ok(&format!("{RUN} --output-dir whole"));
    let refused = |args: &str, path: &str| {
        let ended = bound_by_permissions(&dir, args).unwrap();
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let line = ended.stderr.lines().last().unwrap();
        let named = line.starts_with(&format!("error: {path}"));
        assert!(named && line.contains("Permission denied"), "{line}");
    };
    for path in [
        "glue-data/canonical_data/model/demo_train.json",
        "glue-data/demo/model/config.json",
        "recipes/tiny.toml",
    ] {
        permit(&dir, path, 0o000);
        refused("train tiny --no-tui --output-dir new", path);
        permit(&dir, path, 0o644);
    }
    // A run that may no longer write.
    let mut child = at_work(&dir, "run");
    child.kill().unwrap();
    child.wait().unwrap();
    let everything = Command::new("chmod").args(["-R", "a+rwX"]).arg(dir.path("run")).status();
    assert!(everything.unwrap().success());
    for (path, named) in [("run/checkpoint", "run/checkpoint/"), ("run", "run/")] {
        permit(&dir, path, 0o555);
        refused("resume run --no-tui", named);
        permit(&dir, path, 0o777);
    }
    dir.platon_ok("resume run --no-tui");
}
