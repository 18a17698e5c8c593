//! What a launcher, `mpirun` or `srun`, tells each of the processes that it starts.

use std::ffi::OsString;

/// One process of those that a launcher has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The launcher.
    pub by: &'static str,
    /// The process, from 0.
    pub rank: usize,
    /// How many processes there are.
    pub size: usize,
    /// The process among those on its machine, from 0.
    pub local_rank: usize,
    /// How many processes there are on its machine.
    pub local_size: usize,
    /// Whether the launcher has given this process cores of its own.
    bound: bool,
}

/// The variables in which a launcher numbers its processes: the number of all, a process's number,
/// its number on its machine, and the number of those there; the last two may be missing.
struct Variables {
    by: &'static str,
    names: [&'static str; 4],
    /// Set where processes are bound to cores.
    bound: &'static str,
}

const LAUNCHERS: [Variables; 3] = [
    Variables {
        by: "mpirun",
        names: [
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
        ],
        bound: "OMPI_MCA_orte_bound_at_launch",
    },
    // Before MPICH's, which Slurm may set as well. A batch script's own process has none of them.
    Variables {
        by: "srun",
        names: [
            "SLURM_STEP_NUM_TASKS",
            "SLURM_PROCID",
            "SLURM_LOCALID",
            "SLURM_STEP_TASKS_PER_NODE",
        ],
        bound: "SLURM_CPU_BIND",
    },
    Variables {
        by: "mpirun",
        names: ["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"],
        bound: "HYDRA_BINDING",
    },
];

/// Which of the job's nodes this is, from 0, as Slurm says.
const NODE: &str = "SLURM_NODEID";
/// What launchers call processes that may use any core.
const UNBOUND: &str = "none";

/// The number for node `node` in `2(x3),1`, as Slurm counts tasks on its nodes.
fn tasks_on(node: usize, counts: &str) -> Option<usize> {
    let mut before = 0_usize;
    for part in counts.split(',') {
        let (count, nodes) = match part.strip_suffix(')').and_then(|part| part.split_once("(x")) {
            Some((count, nodes)) => (count, nodes.parse().ok()?),
            None => (part, 1),
        };
        before = before.saturating_add(nodes);
        if node < before {
            return count.parse().ok();
        }
    }
    None
}

impl Launch {
    /// What the environment says; `None` where no launcher has started this process, or only this.
    pub fn found() -> Option<Self> {
        Self::read(|name| std::env::var_os(name))
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let number = |name: &str| {
            // `2(x3)`, as Slurm counts tasks on nodes, begins with the number.
            let text = variable(name)?.into_string().ok()?;
            let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text.get(..digits)?.parse::<usize>().ok()
        };
        let here =
            |name: &str| tasks_on(number(NODE).unwrap_or(0), &variable(name)?.into_string().ok()?);
        LAUNCHERS.iter().find_map(|Variables { by, names: [size, rank, place, there], bound }| {
            let (size, rank) = (number(size)?, number(rank)?);
            (size > 1 && rank < size).then(|| Self {
                by,
                rank,
                size,
                local_rank: number(place).unwrap_or(0),
                local_size: here(there).or_else(|| number(there)).unwrap_or(1).max(1),
                bound: variable(bound)
                    .is_some_and(|bound| !bound.to_string_lossy().contains(UNBOUND)),
            })
        })
    }

    /// The threads for this process where it may use `cores`: all, where they are its own, or else
    /// its part of them.
    pub fn threads(&self, cores: usize) -> usize {
        if self.bound { cores } else { (cores / self.local_size).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Launch> {
        Launch::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn tasks_are_counted_node_by_node() {
        let counts = |text: &str| (0..5).map(|node| tasks_on(node, text)).collect::<Vec<_>>();
        assert_eq!(counts("2(x3),1"), [Some(2), Some(2), Some(2), Some(1), None]);
        assert_eq!(counts("1,3"), [Some(1), Some(3), None, None, None]);
        assert_eq!(counts("4"), [Some(4), None, None, None, None]);
        assert_eq!(counts(""), [None; 5]);
    }

    #[test]
    fn launchers_are_known_by_their_variables() {
        assert_eq!(read(&[]), None);
        let open_mpi = read(&[
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ])
        .unwrap();
        let expected =
            Launch { by: "mpirun", rank: 3, size: 4, local_rank: 1, local_size: 2, bound: false };
        assert_eq!(open_mpi, expected);
        let slurm = read(&[
            ("SLURM_STEP_NUM_TASKS", "6"),
            ("SLURM_PROCID", "5"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "2(x3)"),
            ("SLURM_CPU_BIND", "quiet,mask_cpu:0x3"),
            ("PMI_SIZE", "6"),
            ("PMI_RANK", "5"),
        ])
        .unwrap();
        let expected =
            Launch { by: "srun", rank: 5, size: 6, local_rank: 1, local_size: 2, bound: true };
        assert_eq!(slurm, expected);
        // Four tasks on two nodes, any core for each.
        let unbound = read(&[
            ("SLURM_STEP_NUM_TASKS", "4"),
            ("SLURM_PROCID", "3"),
            ("SLURM_LOCALID", "2"),
            ("SLURM_NODEID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "1,3"),
            ("SLURM_CPU_BIND", "quiet,none"),
        ]);
        let expected =
            Launch { by: "srun", rank: 3, size: 4, local_rank: 2, local_size: 3, bound: false };
        assert_eq!(unbound, Some(expected));
        // A single process needs no others, and a batch script's own process is not one of many.
        assert_eq!(read(&[("PMI_SIZE", "1"), ("PMI_RANK", "0")]), None);
        assert_eq!(read(&[("SLURM_NTASKS", "6"), ("SLURM_PROCID", "0")]), None);
    }

    #[test]
    fn processes_of_a_machine_divide_its_cores_unless_they_have_their_own() {
        let launch =
            Launch { by: "mpirun", rank: 0, size: 4, local_rank: 0, local_size: 4, bound: false };
        assert_eq!([16, 6, 2].map(|cores| launch.threads(cores)), [4, 1, 1]);
        assert_eq!(Launch { bound: true, ..launch }.threads(3), 3);
    }
}
