//! Processor, memory, folders and the processes that were started together.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

use crate::sparse::Instructions;
use crate::world::{self, Launch};

/// What BERT-base at batch 32 takes on a CPU at most, in bytes.
pub const RUN_MEMORY_BYTES: u64 = 5 << 30;
/// What a run of BERT-base takes in its folder at most, in bytes: with the default settings four
/// checkpoints at a time, each of 109 million weights, Adamax's two moments of them, and three
/// averages of the 85 million that may be pruned; and the best model.
pub const RUN_DISK_BYTES: u64 = 10_000_000_000;

/// The machine without its GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// As its maker calls it; empty where that cannot be found out.
    pub processor: String,
    /// Hardware threads that this process may use.
    pub cores: usize,
    /// The widest vector instructions that are used.
    pub instructions: &'static str,
    /// Threads that parallel work is divided among.
    pub threads: usize,
    /// All memory, or what this process's control group may have of it.
    pub memory_bytes: u64,
    /// What of it is free, or could be at once.
    pub available_memory_bytes: u64,
}

/// Looks at the machine.
pub fn host_facts() -> HostFacts {
    let wanted = RefreshKind::nothing()
        .with_memory(MemoryRefreshKind::nothing().with_ram())
        .with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(wanted);
    let (mut memory_bytes, mut available) = (system.total_memory(), system.available_memory());
    if let Some(limits) = system.cgroup_limits().filter(|limits| limits.total_memory > 0) {
        memory_bytes = memory_bytes.min(limits.total_memory);
        available = available.min(limits.free_memory);
    }
    HostFacts {
        processor: system.cpus().first().map_or("", |cpu| cpu.brand()).trim().to_string(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        instructions: Instructions::widest().name(),
        threads: rayon::current_num_threads(),
        memory_bytes,
        available_memory_bytes: available,
    }
}

/// A folder that commands read or write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderFacts {
    /// What it is for.
    pub role: &'static str,
    /// Its path from the root.
    pub path: PathBuf,
    /// Whether it is there; it is made where it is needed.
    pub exists: bool,
    /// What its file system has free for this user, in bytes; `None` where that cannot be found out.
    pub free_bytes: Option<u64>,
    /// What keeps this user from writing in it, or from making it.
    pub problem: Option<String>,
}

/// Looks at the folder `path`, or at the one that it would be made in.
pub fn folder_facts(role: &'static str, path: &Path) -> FolderFacts {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok());
    let there = there.unwrap_or(&path);
    let free = rustix::fs::statvfs(there).ok();
    // A file without a name, gone when it is closed.
    let problem = tempfile::tempfile_in(there).err();
    let problem = problem.map(|error| format!("{}: cannot write: {error}", there.display()));
    FolderFacts {
        role,
        exists: path.is_dir(),
        free_bytes: free.map(|free| free.f_bavail.saturating_mul(free.f_frsize)),
        problem,
        path,
    }
}

/// Several processes of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MpiFacts {
    /// Whether this program was built with it.
    pub built_in: bool,
    /// How many processes a launcher has started with this one; `None` without a launcher.
    pub ranks: Option<usize>,
    /// Name and version of the library; `None` where there is none.
    pub version: Option<String>,
}

/// What there is of MPI.
pub fn mpi_facts() -> MpiFacts {
    MpiFacts {
        built_in: cfg!(feature = "mpi"),
        ranks: Launch::found().map(|launch| launch.size),
        version: world::mpi_version(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_memory_cores_and_threads() {
        let host = host_facts();
        assert!(host.cores >= 1 && host.threads >= 1, "{host:?}");
        assert!(host.available_memory_bytes <= host.memory_bytes, "{host:?}");
        // The kernel's own figure, read in another way; a control group may have less.
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        if let Some(kib) = line.and_then(|l| l.trim_end_matches("kB").trim().parse::<u64>().ok()) {
            assert!(host.memory_bytes <= 1024 * kib, "{host:?} of {kib} KiB");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_has_the_space_of_the_one_it_would_be_made_in() {
        let dir = tempfile::tempdir().unwrap();
        let there = folder_facts("runs", dir.path());
        let not_there = folder_facts("runs", &dir.path().join("a/b"));
        assert_eq!((there.exists, not_there.exists), (true, false));
        assert_eq!((&there.problem, &not_there.problem), (&None, &None));
        let free = |facts: &FolderFacts| facts.free_bytes.unwrap() >> 30;
        assert!(free(&there).abs_diff(free(&not_there)) <= 1, "{there:?} {not_there:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_folder_cannot_be_written_to() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let facts = folder_facts("runs", &dir.path().join("file/runs"));
        let problem = facts.problem.unwrap();
        assert!(problem.contains("file: cannot write: "), "{problem}");
        assert!(!facts.exists);
    }
}
