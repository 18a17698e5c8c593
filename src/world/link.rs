//! How ranks reach one another.

use std::time::Duration;

use super::word::Bytes;

/// A connection among the ranks of a run, all of which call the same functions in the same order.
/// Nothing waits longer than it is told to.
pub trait Link: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// The machine that this rank is on.
    fn host(&self) -> String;

    /// The words of all ranks, in their order.
    ///
    /// # Errors
    /// Some have not come in time.
    fn exchange(&self, word: &Bytes, patience: Duration) -> Result<Vec<Bytes>, Lost>;

    /// Begins to add up `values` over the ranks, element by element: the same number everywhere.
    ///
    /// # Errors
    /// The connection is broken.
    fn begin_sum(&self, values: Vec<f32>) -> Result<Box<dyn Pending>, Lost>;

    /// What each rank gives, which is `lengths` bytes long.
    ///
    /// # Errors
    /// The connection is broken, or it takes too long.
    fn gather(&self, own: &[u8], lengths: &[usize], wait: Duration) -> Result<Vec<Vec<u8>>, Lost>;

    /// The first rank's `bytes`, on all; as many on each.
    ///
    /// # Errors
    /// The connection is broken, or it takes too long.
    fn broadcast(&self, bytes: &mut [u8], patience: Duration) -> Result<(), Lost>;
}

/// A sum on its way.
pub trait Pending {
    /// Moves it on; whether it is there.
    ///
    /// # Errors
    /// The connection is broken.
    fn poll(&mut self) -> Result<bool, Lost>;

    /// The sum, once it is there.
    fn take(self: Box<Self>) -> Vec<f32>;
}

/// Why ranks can no longer be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// These have not answered in time.
    Silent(Vec<usize>),
    /// The connection says this.
    Broken(String),
}
