//! `platon doctor`

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::download::default_cache;
use super::inference::default_backend;
use super::printer::Printer;
use crate::config::{BackendName, RunConfig};
use crate::error::{Error, Result, one_line};
use crate::machine::{
    BackendFacts, FolderFacts, HostFacts, MpiFacts, RUN_DISK_BYTES, RUN_MEMORY_BYTES, facts_of,
    folder_facts, host_facts, mpi_facts,
};
use crate::run::folder::RUNS;

/// A GPU's first use may compile kernels: half a minute.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Args)]
pub struct DoctorArgs {
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
    /// Try this backend alone, in this process, and print what was found as JSON.
    #[arg(long, value_name = "BACKEND", hide = true)]
    try_backend: Option<String>,
}

/// All that was found.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    system: String,
    host: HostFacts,
    backends: Vec<BackendFacts>,
    mpi: MpiFacts,
    folders: Vec<FolderFacts>,
    problems: Vec<Problem>,
}

/// Something that is in the way.
#[derive(Debug, PartialEq, Serialize)]
struct Problem {
    what: String,
    remedy: String,
    /// Whether it would stop a run with the default settings.
    stops: bool,
}

pub fn run(args: &DoctorArgs, printer: &Printer) -> Result<u8> {
    if let Some(name) = &args.try_backend {
        printer.data(&json(&facts_of(default_backend(Some(name))?))?)?;
        return Ok(0);
    }
    let findings = look()?;
    printer.data(&if args.json { json(&findings)? } else { lines(&findings) })?;
    let stops = findings.problems.iter().any(|problem| problem.stops);
    Ok(if stops { 1 } else { 0 })
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(Error::run)
}

fn look() -> Result<Findings> {
    let config = RunConfig::resolve(&[])?;
    let data = &config.data().data_dir;
    let checkpoints = config.model().init_checkpoint.parent().unwrap_or(Path::new("checkpoints"));
    let mut folders = vec![
        folder_facts("runs", config.run().output_dir.as_deref().unwrap_or(Path::new(RUNS))),
        folder_facts("data", data),
        folder_facts("checkpoints", checkpoints),
        folder_facts("downloads", &default_cache(data)),
    ];
    let kernels = crate::backend::kernel_cache().filter(|_| BackendName::Cuda.is_built_in());
    folders.extend(kernels.map(|cache| folder_facts("kernels", &cache)));
    let (host, backends) = (host_facts(), BackendName::ALL.map(tried_apart).to_vec());
    let problems = problems(&host, &backends, &folders);
    Ok(Findings {
        version: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        host,
        backends,
        mpi: mpi_facts(),
        folders,
        problems,
    })
}

/// Tries a backend in a process of its own: a bad driver may end it, or never come back.
fn tried_apart(name: BackendName) -> BackendFacts {
    if !name.is_built_in() {
        return facts_of(name);
    }
    let broken = |problem: String| {
        let remedy = match name {
            BackendName::Cuda => "check the driver with `nvidia-smi`",
            BackendName::Wgpu => "check the driver with `vulkaninfo --summary`",
            BackendName::Flex | BackendName::Ndarray => "this is a bug; please report it",
        };
        BackendFacts::broken(name, problem, remedy.into())
    };
    let child = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.args(["doctor", "--try-backend", name.name()]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    });
    match child.map_err(|error| error.to_string()).and_then(|child| answer(child, PATIENCE)) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|_| broken(one_line(text))),
        Err(problem) => broken(problem),
    }
}

/// What `child` says, which is short, if it ends well within `patience`.
fn answer(mut child: Child, patience: Duration) -> Result<String, String> {
    let started = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if started.elapsed() > patience => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(format!("the first test took more than {} s", patience.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    if !status.success() {
        return Err(format!("the first test ended its process ({status})"));
    }
    let mut text = String::new();
    let stdout = child.stdout.as_mut().map_or(Ok(0), |stdout| stdout.read_to_string(&mut text));
    stdout.map(|_| text).map_err(|error| error.to_string())
}

fn problems(host: &HostFacts, backends: &[BackendFacts], folders: &[FolderFacts]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for backend in backends.iter().filter(|backend| backend.built_in && !backend.works) {
        problems.push(Problem {
            what: format!(
                "backend {}: {}",
                backend.name.name(),
                backend.problem.clone().unwrap_or_default()
            ),
            remedy: backend.remedy.clone().unwrap_or_default(),
            stops: backend.default,
        });
    }
    if host.available_memory_bytes < RUN_MEMORY_BYTES {
        problems.push(Problem {
            what: format!(
                "memory: {} available, of which BERT-base takes up to {} at batch 32",
                size(host.available_memory_bytes),
                size(RUN_MEMORY_BYTES)
            ),
            remedy: "end other programs, or lower --batch-size with --grad-accumulation-step"
                .into(),
            stops: false,
        });
    }
    for folder in folders {
        let free = folder.free_bytes.filter(|free| folder.role == "runs" && *free < RUN_DISK_BYTES);
        // Kernels that cannot be kept are compiled anew.
        let stops = folder.role != "kernels";
        let cannot = folder.problem.clone().map(|what| {
            let remedy = "check the folder's permissions, or work in another one".to_string();
            Problem { what: format!("{}: {what}", folder.role), remedy, stops }
        });
        problems.extend(cannot);
        problems.extend(free.map(|free| Problem {
            what: format!(
                "{}: {} free in {}, of which a run of BERT-base takes up to {}",
                folder.role,
                size(free),
                folder.path.display(),
                size(RUN_DISK_BYTES)
            ),
            remedy: "free some space, or name another folder by --output-dir".into(),
            stops,
        }));
    }
    problems
}

fn lines(findings: &Findings) -> String {
    let Findings { version, system, host, backends, mpi, folders, problems } = findings;
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("{name:<18}  {}", one_line(text)));
    line("platon", format!("{version}, {system}"));
    let HostFacts { processor, cores, instructions, threads, .. } = host;
    line("processor", format!("{processor}, {cores} cores, vector instructions: {instructions}"));
    line("threads", threads.to_string());
    let [available, all] = [host.available_memory_bytes, host.memory_bytes].map(size);
    line("memory", format!("{available} available of {all}"));
    for backend in backends {
        line(&format!("backend {}", backend.name.name()), described(backend));
    }
    let ranks = mpi.ranks.map_or(String::new(), |n| format!(", {n} processes were started"));
    line(
        "mpi",
        match &mpi.version {
            Some(version) => format!("{version}{ranks}"),
            None => format!("not built in (cargo build --release --features mpi){ranks}"),
        },
    );
    for FolderFacts { role, path, exists, free_bytes, .. } in folders {
        let free = free_bytes.map_or("unknown space".into(), size);
        let there = if *exists { "" } else { ", not there yet" };
        line(&format!("folder {role}"), format!("{}: {free} free{there}", path.display()));
    }
    for Problem { what, remedy, stops } in problems {
        let name = if *stops { "problem" } else { "remark" };
        line(name, format!("{what} (hint: {remedy})"));
    }
    if problems.is_empty() {
        line("problems", "none".into());
    }
    lines.join("\n")
}

fn described(backend: &BackendFacts) -> String {
    let BackendFacts { works, built_in, default, precisions, driver, problem, remedy, .. } =
        backend;
    if !built_in {
        return format!("not built in ({})", remedy.clone().unwrap_or_default());
    }
    let mut parts = vec![match problem {
        Some(problem) => format!("does not work: {problem}"),
        None => format!("works, products in {}", precisions.join(", ")),
    }];
    for (n, device) in driver.devices.iter().enumerate() {
        let memory = device.memory_bytes.map_or(String::new(), |b| format!(" with {}", size(b)));
        parts.push(format!("device {n}: {}{memory}", device.name));
    }
    parts.extend(driver.versions.iter().map(|(of, version)| format!("{of} {version}")));
    parts.extend((*default && *works).then(|| "the default".to_string()));
    parts.join("; ")
}

fn size(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{DeviceFacts, Driver};

    fn host(available_memory_bytes: u64) -> HostFacts {
        HostFacts { available_memory_bytes, ..host_facts() }
    }

    fn folder(role: &'static str, free: u64, problem: Option<&str>) -> FolderFacts {
        let path = "/runs".into();
        let problem = problem.map(String::from);
        FolderFacts { role, path, exists: true, free_bytes: Some(free), problem }
    }

    fn stops(problems: &[Problem]) -> Vec<bool> {
        problems.iter().map(|problem| problem.stops).collect()
    }

    #[test]
    fn only_what_the_default_settings_need_stops_a_run() {
        let lots = 1 << 40;
        let broken = |name| BackendFacts {
            built_in: true,
            default: name == BackendName::Flex,
            ..BackendFacts::broken(name, "no".into(), "x".into())
        };
        let found = |backends: &[BackendFacts], folders: &[FolderFacts]| {
            problems(&host(lots), backends, folders)
        };
        assert_eq!(stops(&found(&[broken(BackendName::Flex)], &[])), [true]);
        assert_eq!(stops(&found(&[broken(BackendName::Cuda)], &[])), [false]);
        let absent = BackendFacts { built_in: false, ..broken(BackendName::Flex) };
        assert_eq!(found(&[absent], &[]), []);
        assert_eq!(stops(&found(&[], &[folder("runs", 9_999_999_999, None)])), [true]);
        assert_eq!(
            found(&[], &[folder("runs", 10_000_000_000, None), folder("data", 1, None)]),
            []
        );
        assert_eq!(stops(&found(&[], &[folder("data", lots, Some("no"))])), [true]);
        assert_eq!(stops(&found(&[], &[folder("kernels", lots, Some("no"))])), [false]);
        assert_eq!(stops(&problems(&host(RUN_MEMORY_BYTES - 1), &[], &[])), [false]);
        assert_eq!(problems(&host(RUN_MEMORY_BYTES), &[], &[]), []);
    }

    #[test]
    fn a_backend_is_told_with_its_devices_and_versions() {
        let devices =
            vec![DeviceFacts { name: "NVIDIA H100".into(), memory_bytes: Some(85_000_000_000) }];
        let versions = [("CUDA", "13.0"), ("NVRTC", "12.8")];
        let versions = versions.map(|(of, version)| (of.to_string(), version.to_string())).into();
        let facts = BackendFacts {
            works: true,
            built_in: true,
            default: false,
            precisions: vec!["f32".into(), "bf16".into()],
            driver: Driver { devices, versions, missing: None },
            problem: None,
            ..BackendFacts::broken(BackendName::Cuda, String::new(), String::new())
        };
        let expected = "works, products in f32, bf16; device 0: NVIDIA H100 with 85.0 GB; \
                        CUDA 13.0; NVRTC 12.8";
        assert_eq!(described(&facts), expected);
    }

    #[test]
    fn a_test_that_dies_or_hangs_is_told_and_ended() {
        let started = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
        };
        let patience = Duration::from_millis(300);
        assert_eq!(answer(started("echo x"), PATIENCE), Ok("x\n".into()));
        let killed = answer(started("kill -SEGV $$"), PATIENCE).unwrap_err();
        assert!(killed.starts_with("the first test ended its process (signal: 11"), "{killed}");
        let begun = Instant::now();
        let hung = answer(started("exec sleep 60"), patience).unwrap_err();
        assert!(hung.contains("took more than") && begun.elapsed().as_secs() < 30, "{hung}");
    }
}
