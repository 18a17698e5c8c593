//! The `platon` program: parse, run, print one error, exit.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_freed_pages();
    platon::cli::main()
}

/// Every update frees and asks for the same large buffers. Giving them back to the operating
/// system in between makes it clear fresh pages each time, a quarter of a training step.
fn keep_freed_pages() {
    /// `mi_option_purge_delay` of mimalloc.h, in milliseconds; -1 for never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number inside the allocator that is in use, at any time allowed.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
