//! What working with others costs.

/// What working with others has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Costs {
    /// Seconds of waiting for slower ranks at the meetings of updates.
    pub waiting: f64,
    /// Seconds of adding gradients up.
    pub summing: f64,
    /// Updates.
    pub updates: usize,
    /// Bytes of gradients that each rank has handed in.
    pub bytes: u64,
}

impl Costs {
    /// In words, per update; `None` where none was done.
    pub fn line(self) -> Option<String> {
        let Self { waiting, summing, updates, bytes } = self;
        let per_update = |total: f64| total / updates as f64;
        (updates > 0).then(|| {
            format!(
                "ranks: per update {:.3} s of waiting for others, {:.3} s of adding up {:.1} MB \
                 of gradients",
                per_update(waiting),
                per_update(summing),
                per_update(bytes as f64) / 1e6
            )
        })
    }
}
