//! What this machine and this build can do, for somebody who wants to know before a run does.

mod backends;
mod drivers;
mod host;

pub use backends::{BackendFacts, facts_of};
pub use drivers::{DeviceFacts, Driver};
pub use host::{
    FolderFacts, HostFacts, MpiFacts, RUN_DISK_BYTES, RUN_MEMORY_BYTES, folder_facts, host_facts,
    mpi_facts,
};
