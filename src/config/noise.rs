//! How the noise of a perturbed input is brought to one size.

use serde::{Deserialize, Serialize};

/// What a direction is divided by (the original's `adv_p_norm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseNorm {
    /// Its largest absolute value.
    Inf,
    /// Its Euclidean norm.
    L2,
    /// Nothing: only the signs count.
    L1,
}
