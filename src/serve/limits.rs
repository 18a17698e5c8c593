//! What a server allows.

use std::time::Duration;

/// The limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a batch waits, after one that was shared, for those who asked before.
    pub max_wait: Duration,
    /// The most tokens of a batch, with padding.
    pub max_batch_tokens: usize,
    /// The most texts that wait for a model.
    pub max_queue: usize,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The most texts of a request.
    pub max_inputs: usize,
    /// How long a request may take to arrive, and in all to be answered.
    pub timeout: Duration,
    /// The most connections that are open.
    pub max_connections: usize,
}

impl Limits {
    /// Those of a server that nobody has told otherwise.
    pub const DEFAULT: Self = Self {
        max_wait: Duration::ZERO,
        max_batch_tokens: 1024,
        max_queue: 1024,
        max_body_bytes: 1 << 20,
        max_inputs: 256,
        timeout: Duration::from_secs(30),
        max_connections: 1024,
    };
}
