//! `platon doctor`.

use serde_json::Value;

use crate::dir::Dir;

/// Whether this machine has what the default settings need but for what a test takes away.
fn findings(dir: &Dir) -> (i32, Value) {
    let ended = dir.platon("doctor --json");
    assert_eq!(ended.stderr, "");
    (ended.code, serde_json::from_str(&ended.stdout).unwrap())
}

fn stopping(findings: &Value) -> Vec<&str> {
    let problems = findings["problems"].as_array().unwrap().iter();
    problems.filter(|p| p["stops"] == true).map(|p| p["what"].as_str().unwrap()).collect()
}

#[test]
fn the_doctor_tells_backends_folders_and_problems_and_leaves_nothing() {
    let dir = Dir::new();
    let (code, found) = findings(&dir);
    // A small disk is the only thing of this machine that may be in the way.
    let stops = stopping(&found);
    assert!(stops.iter().all(|what| what.starts_with("runs: ")), "{stops:?}");
    assert_eq!(code, i32::from(!stops.is_empty()));
    let backends = found["backends"].as_array().unwrap();
    let names: Vec<&str> = backends.iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["flex", "ndarray", "cuda", "wgpu"]);
    let built = [
        cfg!(feature = "flex"),
        cfg!(feature = "ndarray"),
        cfg!(feature = "cuda"),
        cfg!(feature = "wgpu"),
    ];
    for (backend, built) in backends.iter().zip(built) {
        assert_eq!(backend["built_in"], built, "{backend}");
        assert_eq!(backend["works"] == true, backend["problem"].is_null(), "{backend}");
    }
    assert_eq!(backends.iter().filter(|b| b["default"] == true && b["works"] == true).count(), 1);
    let roots: Vec<_> = found["folders"].as_array().unwrap().iter().map(|f| &f["path"]).collect();
    let here = dir.path(".").canonicalize().unwrap();
    for (root, name) in
        roots.iter().zip(["checkpoints/runs", "glue-data", "checkpoints", "glue-data/downloads"])
    {
        assert_eq!(root.as_str().unwrap(), here.join(name).to_str().unwrap());
    }
    assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0);
}

#[test]
fn what_stops_a_run_is_a_line_with_a_remedy_and_exit_code_1() {
    let dir = Dir::new();
    dir.write("glue-data", "a file where a folder should be");
    let (code, found) = findings(&dir);
    assert_eq!(code, 1);
    assert!(stopping(&found).iter().any(|what| what.starts_with("data: ")), "{found}");
    let ended = dir.platon("doctor");
    assert_eq!((ended.code, ended.stderr.as_str()), (1, ""));
    let line = ended.stdout.lines().find(|l| l.starts_with("problem ") && l.contains("data: "));
    let line = line.unwrap_or_else(|| panic!("{}", ended.stdout));
    assert!(line.contains("glue-data: cannot write: ") && line.contains("(hint: "), "{line}");
    for name in ["platon", "processor", "threads", "memory", "backend flex", "mpi", "folder runs"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(name)), "{name}");
    }
}
