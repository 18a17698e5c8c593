//! Quality measures over whole splits, and the adapters that show them in burn-train.

pub mod learner;
pub mod scores;
