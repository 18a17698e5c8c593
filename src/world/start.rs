//! The start and the end of this process as one of many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Launch, World};
use crate::error::{Error, Result};

/// Whether what this process says is meant for the user.
static SPEAKS: AtomicBool = AtomicBool::new(true);
/// Whether other ranks can no longer be reached.
static LOST: AtomicBool = AtomicBool::new(false);

/// How long those that say nothing let the one that does: a launcher ends all processes with the
/// first.
const BEFORE_THE_END: Duration = Duration::from_secs(3);

impl World {
    /// Meets the other processes that a launcher has started with this one, if it has.
    ///
    /// # Errors
    /// This program was built without MPI, or knows of no others.
    pub fn start() -> Result<Self> {
        let Some(launch) = speak_as_one() else { return Ok(Self::alone()) };
        #[cfg(feature = "mpi")]
        {
            let link = super::mpi::Mpi::connect()?;
            let known = super::link::Link::size(&link);
            if known != launch.size {
                let expected = format!("an MPI library that {} works with", launch.by);
                let found = format!("one that knows {known} of its {} processes", launch.size);
                return Err(Error::value(launch.by, expected, found).hint(
                    "start it by the mpirun of the library it was built with, or by \
                     `srun --mpi=pmix`",
                ));
            }
            Self::joined(Box::new(link))
        }
        #[cfg(not(feature = "mpi"))]
        {
            let Launch { by, size, .. } = launch;
            let found = format!("{size} processes started by {by}, and a platon without MPI");
            Err(Error::value(by, "one process, or a platon built with MPI", found)
                .hint("build it with `cargo build --release --features mpi`"))
        }
    }
}

/// Name and version of the MPI library, in one line; `None` in a build without one.
pub fn mpi_version() -> Option<String> {
    #[cfg(feature = "mpi")]
    {
        let version = super::mpi::version();
        Some(version.split([',', '\n']).next().unwrap_or_default().to_string())
    }
    #[cfg(not(feature = "mpi"))]
    None
}

/// Lets one process speak for all that a launcher has started, where each does the same.
pub fn speak_as_one() -> Option<Launch> {
    let launch = Launch::found();
    SPEAKS.store(launch.is_none_or(|launch| launch.rank == 0), Ordering::SeqCst);
    launch
}

/// Refuses to do the same many times over.
///
/// # Errors
/// A launcher has started more than one process.
pub fn refuse_many() -> Result<()> {
    let Some(Launch { by, size, .. }) = speak_as_one() else { return Ok(()) };
    let found = format!("{size} of them");
    Err(Error::value(by, "one process for this command", found)
        .hint("only `train` and `resume` divide their work among processes"))
}

/// Whether what this process says is meant for the user: of many processes one speaks.
pub fn speaks() -> bool {
    SPEAKS.load(Ordering::SeqCst)
}

/// Notes that `rank` has lost those that are `missing`: the first of the others tells the user.
pub(super) fn note_lost(rank: usize, missing: &[usize]) {
    LOST.store(true, Ordering::SeqCst);
    let first = (0..=rank).find(|rank| !missing.contains(rank));
    SPEAKS.store(first == Some(rank), Ordering::SeqCst);
}

/// Takes leave of the other processes, to be called last on the main thread: where some are lost,
/// this ends the process with `code`.
pub fn leave(code: u8) {
    if Launch::found().is_none() {
        return;
    }
    let lost = LOST.load(Ordering::SeqCst);
    if !speaks() && (lost || cfg!(not(feature = "mpi"))) {
        std::thread::sleep(BEFORE_THE_END);
    }
    if lost {
        // MPI's own end would wait for those that are lost.
        // SAFETY: nothing is left to be done, and what was printed was flushed.
        unsafe { libc::_exit(code.into()) }
    }
    #[cfg(feature = "mpi")]
    super::mpi::finalize();
}
