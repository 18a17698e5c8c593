//! Runs of several processes, launched by Open MPI's `mpirun` on this machine.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use safetensors::SafeTensors;

use crate::dir::{Dir, Ended};

const PLATON: &str = env!("CARGO_BIN_EXE_platon");
/// Without dropout, so that how a batch is divided changes nothing but rounding; 12 updates.
const TRAIN: &str = "train tiny --no-tui --bert-dropout-p 0 --dropout-p 0";

/// `mpirun` with what tests need of it: more ranks than cores, as root where CI is.
fn mpirun(dir: &Dir) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--quiet", "--oversubscribe", "--bind-to", "none"]);
    for name in ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] {
        command.env(name, "1");
    }
    // Where tests run side by side, ranks that wait must not take the cores of those that work.
    command.env("OMPI_MCA_mpi_yield_when_idle", "1");
    command.current_dir(dir.path(".")).env("RAYON_NUM_THREADS", "1");
    command
}

fn ranks(dir: &Dir, n: usize, args: &str) -> Ended {
    let mut command = mpirun(dir);
    command.args(["-n", &n.to_string(), PLATON]).args(args.split_whitespace());
    Ended::of(&command.output().unwrap())
}

fn ranks_ok(dir: &Dir, n: usize, args: &str) -> Ended {
    let ended = ranks(dir, n, args);
    assert_eq!(ended.code, 0, "{n} x {args}: {}", ended.stderr);
    ended
}

/// Starts ranks that are to be disturbed; what they say goes to the file `stderr`.
fn start(dir: &Dir, n: usize, args: &str) -> Child {
    let mut command = mpirun(dir);
    command.args(["-n", &n.to_string(), PLATON]).args(args.split_whitespace());
    let stderr = std::fs::File::create(dir.path("stderr")).unwrap();
    command.stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

fn tiny() -> Dir {
    Dir::new().with_tiny_demo("flex")
}

fn weights(dir: &Dir, run: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = dir.bytes(&format!("{run}/model/model.safetensors"));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| {
        data.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect::<Vec<_>>()
    };
    tensors.iter().map(|(name, view)| (name.to_string(), values(view.data()))).collect()
}

/// The process ids of the ranks that `mpirun` has started, by rank.
fn processes(launcher: u32) -> Vec<(usize, i32)> {
    let children = format!("/proc/{launcher}/task/{launcher}/children");
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let rank_of = |pid: &str| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let name = b"OMPI_COMM_WORLD_RANK=";
        let variable = environment.split(|byte| *byte == 0).find(|v| v.starts_with(name))?;
        String::from_utf8_lossy(&variable[name.len()..]).parse().ok()
    };
    let pids = children.split_whitespace();
    let mut ranks: Vec<_> =
        pids.filter_map(|pid| Some((rank_of(pid)?, pid.parse().ok()?))).collect();
    ranks.sort_unstable();
    ranks
}

/// Waits until the run has saved a checkpoint, and one more update has been logged.
fn wait_for_a_checkpoint(dir: &Dir, child: &mut Child) {
    let checkpoints = dir.path("run/checkpoint");
    let whole = || {
        let entries = std::fs::read_dir(&checkpoints).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.join("manifest.json").is_file())
    };
    let begun = Instant::now();
    while !whole() {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", dir.read("stderr"));
        assert!(begun.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn end(child: &mut Child, within: Duration) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if begun.elapsed() > within {
            child.kill().unwrap();
            panic!("it goes on after {within:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(pid: i32, number: i32) {
    // SAFETY: sends a signal to a process that this test has started.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0);
}

/// Compares the weights of two runs. Where the threshold falls between two sums that are rounded
/// differently a mask may differ, and from then on weights may drift apart; without that they are
/// the same but for rounding.
fn compare(dir: &Dir, one: &str, other: &str) {
    let one = weights(dir, one);
    let (mut masks, mut off, mut all) = (0, 0, 0);
    for (name, values) in weights(dir, other) {
        for (a, b) in values.iter().zip(&one[&name]) {
            all += 1;
            if (*a == 0.0) != (*b == 0.0) {
                masks += 1;
            } else if (a - b).abs() >= 1e-5 {
                off += 1;
            }
        }
    }
    assert!(masks * 10_000 <= all, "{other}: {masks} of {all} masks differ");
    let drifted = if masks == 0 { 0 } else { all / 100 };
    assert!(off <= drifted, "{other}: {off} of {all} weights differ, {masks} masks");
}

#[test]
fn ranks_train_the_same_model_as_one_process() {
    let dir = tiny();
    dir.platon_ok(&format!("{TRAIN} --output-dir one"));
    for (n, run) in [(2, "two"), (3, "three"), (4, "four")] {
        let ended = ranks_ok(&dir, n, &format!("{TRAIN} --output-dir {run}"));
        assert!(ended.stderr.contains(&format!("{n} ranks on ")), "{}", ended.stderr);
        let lines = ended.stderr.lines().filter(|line| line.contains("run folder ")).count();
        assert_eq!(lines, 1, "one rank speaks: {}", ended.stderr);
        compare(&dir, "one", run);
        let score = |run: &str| dir.json(&format!("{run}/report.json"))["dev"]["ACC"].as_f64();
        assert!((score(run).unwrap() - score("one").unwrap()).abs() < 5.0);
    }
}

#[test]
fn sixty_updates_of_ranks_end_in_the_model_of_one_process() {
    let dir = tiny();
    // Batches so large that every share of them leaves the zeros out, as one process does.
    for ratio in ["0.4", "0.2"] {
        let train = format!("{TRAIN} --batch-size 48 --epochs 30 --final-threshold {ratio}");
        dir.platon_ok(&format!("{train} --output-dir one-{ratio}"));
        assert_eq!(dir.json(&format!("one-{ratio}/report.json"))["steps"], 60);
        for n in [2, 4] {
            ranks_ok(&dir, n, &format!("{train} --output-dir {n}-{ratio}"));
            compare(&dir, &format!("one-{ratio}"), &format!("{n}-{ratio}"));
        }
    }
}

#[test]
fn a_teacher_teaches_all_ranks() {
    let dir = tiny();
    dir.platon_ok(&format!("{TRAIN} --pruner none --seed 5 --output-dir teacher"));
    for (n, run) in [(1, "one"), (2, "two")] {
        ranks_ok(&dir, n, &format!("{TRAIN} --teacher teacher --output-dir {run}"));
    }
    compare(&dir, "one", "two");
    // Each has computed its share of the answers; all of them are kept.
    let answers = |run: &str| {
        let bytes = dir.bytes(&format!("{run}/teacher-answers.safetensors"));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let shapes = tensors.iter().map(|(name, view)| (name.to_string(), view.shape().to_vec()));
        shapes.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(answers("one"), answers("two"));
    // Untaught, it is another model.
    ranks_ok(&dir, 2, &format!("{TRAIN} --output-dir untaught"));
    assert_ne!(weights(&dir, "two"), weights(&dir, "untaught"));
}

/// It is one process that trains the teacher.
#[test]
fn a_run_with_a_teacher_of_its_own_is_gone_on_with_by_several() {
    let dir = tiny();
    for (run, flags) in [("answers", ""), ("states", "--distill-hidden 1")] {
        dir.platon_ok(&format!("{TRAIN} --teacher self --keep-state --output-dir {run} {flags}"));
        let model = dir.bytes(&format!("{run}/model/model.safetensors"));
        // As if killed after its last checkpoint.
        std::fs::remove_file(dir.path(&format!("{run}/report.json"))).unwrap();
        std::fs::remove_dir_all(dir.path(&format!("{run}/model"))).unwrap();
        ranks_ok(&dir, 2, &format!("resume {run} --no-tui"));
        assert!(dir.bytes(&format!("{run}/model/model.safetensors")) == model);
        // From its first update on.
        std::fs::remove_file(dir.path(&format!("{run}/report.json"))).unwrap();
        std::fs::remove_dir_all(dir.path(&format!("{run}/checkpoint"))).unwrap();
        ranks_ok(&dir, 2, &format!("resume {run} --no-tui"));
    }
}

#[test]
fn the_same_launch_gives_the_same_bits() {
    let dir = tiny();
    let model = |run: &str| {
        ranks_ok(&dir, 2, &format!("train tiny --no-tui --output-dir {run}"));
        dir.bytes(&format!("{run}/model/model.safetensors"))
    };
    assert!(model("a") == model("b"));
}

#[test]
fn a_run_goes_on_with_as_many_ranks_bit_for_bit_and_with_others_too() {
    let dir = tiny();
    let train = "train tiny --no-tui";
    ranks_ok(&dir, 2, &format!("{train} --output-dir whole"));
    let mut child = start(&dir, 2, &format!("{train} --output-dir run --epochs 2"));
    wait_for_a_checkpoint(&dir, &mut child);
    for (_, pid) in processes(child.id()) {
        signal(pid, libc::SIGKILL);
    }
    assert_ne!(end(&mut child, Duration::from_secs(60)), 0);
    if !dir.path("run/report.json").exists() {
        for other in ["alone", "three"] {
            let mut copy = Command::new("cp");
            let copied = copy.args(["-r", "run", other]).current_dir(dir.path(".")).status();
            assert!(copied.unwrap().success());
        }
        ranks_ok(&dir, 2, "resume run --no-tui");
        dir.platon_ok("resume alone --no-tui");
        ranks_ok(&dir, 3, "resume three --no-tui");
        assert!(dir.path("alone/report.json").exists() && dir.path("three/report.json").exists());
    }
    assert!(dir.bytes("run/model/model.safetensors") == dir.bytes("whole/model/model.safetensors"));
}

/// A run that nobody waits for.
const LONG: &str = "train tiny --no-tui --epochs 2000 --peer-timeout 2 --output-dir run";

#[test]
fn a_rank_that_hangs_is_named_and_the_run_ends() {
    let dir = tiny();
    let mut child = start(&dir, 3, LONG);
    wait_for_a_checkpoint(&dir, &mut child);
    let (rank, pid) = processes(child.id())[1];
    signal(pid, libc::SIGSTOP);
    let code = end(&mut child, Duration::from_secs(40));
    let said = dir.read("stderr");
    assert_eq!((rank, code), (1, 1), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    // Within a transfer of all ranks, those that wait for it are silent too.
    assert!(errors[0].starts_with("error: no answer from rank "), "{said}");
    assert!(errors[0].contains("rank 1 ("), "{said}");
    assert!(errors[0].contains(") within 2 s (hint: the last checkpoint is whole"), "{said}");
    assert!(!said.contains("core dumped") && !said.contains("panicked"), "{said}");
    // The checkpoint is whole.
    let mut child = start(&dir, 2, "resume run --no-tui");
    let begun = Instant::now();
    while !dir.read("stderr").contains("2 ranks on ") {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {}", dir.read("stderr"));
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(dir.read("stderr").contains("going on after update "), "{}", dir.read("stderr"));
    signal(processes(child.id())[0].1, libc::SIGUSR1);
    end(&mut child, Duration::from_secs(60));
    assert!(dir.read("stderr").contains("stopped by SIGUSR1 after update"));
}

#[test]
fn a_rank_that_is_killed_ends_the_run() {
    let dir = tiny();
    let mut child = start(&dir, 3, LONG);
    wait_for_a_checkpoint(&dir, &mut child);
    signal(processes(child.id())[2].1, libc::SIGKILL);
    assert_ne!(end(&mut child, Duration::from_secs(30)), 0);
    let said = dir.read("stderr");
    assert!(!said.contains("core dumped") && !said.contains("panicked"), "{said}");
}

#[test]
fn a_signal_to_any_rank_stops_all_at_the_same_update() {
    let dir = tiny();
    let mut child = start(&dir, 3, LONG);
    wait_for_a_checkpoint(&dir, &mut child);
    signal(processes(child.id())[1].1, libc::SIGUSR1);
    end(&mut child, Duration::from_secs(60));
    let said = dir.read("stderr");
    assert_eq!(said.matches("stopped by SIGUSR1 after update").count(), 1, "{said}");
    assert!(said.contains("go on with: platon resume"), "{said}");
}

#[test]
fn what_one_rank_cannot_do_ends_the_run_with_its_name() {
    let dir = tiny();
    let other = |args: &str| {
        let mut command = mpirun(&dir);
        command.args(["-n", "1", PLATON]).args(format!("{TRAIN} --output-dir run").split(' '));
        command.args([":", "-n", "1", PLATON]).args(args.split_whitespace());
        let ended = Ended::of(&command.output().unwrap());
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        let errors: Vec<_> = ended.stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", ended.stderr);
        assert!(!dir.path("run").exists(), "nothing is left");
        errors[0].to_string()
    };
    let error = other(&format!("{TRAIN} --output-dir run --seed 8"));
    assert!(error.starts_with("error: rank 1 ("), "{error}");
    assert!(error.contains(") has other settings than rank 0 (hint: "), "{error}");
    // What a model's shapes do not show.
    let base = "glue-data/demo/model";
    let config = dir.read(&format!("{base}/config.json"));
    let changed = config.replace("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1e-5");
    assert_ne!(config, changed);
    dir.write("other/config.json", &changed)
        .write("other/vocab.txt", &dir.read(&format!("{base}/vocab.txt")));
    let error = other(&format!("{TRAIN} --output-dir run --init-checkpoint other"));
    assert!(error.starts_with("error: rank 1 ("), "{error}");
    assert!(
        error.contains(") has other settings in the model's config.json than rank 0 (hint: "),
        "{error}"
    );
    let error = other("train tiny --no-tui --data-dir nowhere --bert-dropout-p 0 --dropout-p 0");
    assert!(error.starts_with("error: rank 1 ("), "{error}");
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn other_commands_run_in_one_process() {
    let dir = tiny();
    let ended = ranks(&dir, 2, "recipe");
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let expected = "error: mpirun: expected one process for this command, found 2 of them";
    let errors = ended.stderr.lines().filter(|line| line.starts_with(expected)).count();
    assert_eq!(errors, 1, "{}", ended.stderr);
}
