//! Several processes, on one machine or many, that train one model: the ranks of a run.
//!
//! All ranks do the same updates on the same plan, each with its share of every batch. They meet at
//! each update, where gradients are added up, and tell one another whether they are to stop or have
//! failed, so that whatever happens on one of them ends the run on all.

mod costs;
mod files;
mod gradients;
mod launch;
pub mod link;
#[cfg(feature = "mpi")]
mod mpi;
mod start;
pub mod word;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

pub use costs::Costs;
pub use launch::Launch;
use link::{Link, Lost};
pub use start::{leave, mpi_version, refuse_many, speak_as_one, speaks};
pub use word::At;
use word::Word;

use crate::error::{Error, Result};

/// How much longer than usual ranks wait for one that writes a checkpoint or the final model.
const WRITING: u32 = 10;
/// How long they wait for one that prepares data or downloads it.
const PREPARING: Duration = Duration::from_secs(4 * 3600);
/// How much longer than for gradients ranks wait for each other's words.
const FIRST: Duration = Duration::from_secs(1);

/// All ranks of a run, seen from one of them; a run of one process is alone in it.
#[derive(Clone)]
pub struct World(Option<Arc<Shared>>);

struct Shared {
    link: Box<dyn Link>,
    /// The machines of all ranks.
    hosts: OnceLock<Vec<String>>,
    /// Words exchanged, and how long that and the sums took.
    state: Mutex<State>,
    /// Whether one rank has failed, and all know.
    failed: AtomicBool,
}

struct State {
    words: u64,
    patience: Duration,
    /// Who has asked for the run to stop, as all know.
    stop: Option<String>,
    /// Asks whether this rank is to stop.
    asked: Option<Box<dyn Fn() -> Option<String> + Send>>,
    costs: Costs,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({} of {})", self.rank(), self.size())
    }
}

impl World {
    /// Of one process.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Of the ranks that `link` connects, once they have met.
    ///
    /// # Errors
    /// One is lost.
    pub fn joined(link: Box<dyn Link>) -> Result<Self> {
        let state = State {
            words: 0,
            patience: PREPARING,
            stop: None,
            asked: None,
            costs: Costs::default(),
        };
        let host = link.host();
        let world = Self(Some(Arc::new(Shared {
            link,
            hosts: OnceLock::new(),
            state: Mutex::new(state),
            failed: AtomicBool::new(false),
        })));
        world.meet(Word::at(At::Start))?;
        let hosts = world.gather(At::Start, &host)?;
        if let Some(shared) = &world.0 {
            shared.hosts.get_or_init(|| hosts);
        }
        Ok(world)
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.link.rank())
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |shared| shared.link.size())
    }

    /// Whether there are no others.
    pub fn is_alone(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this rank keeps the run's books and talks to its user.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether a rank has failed, so that nobody waits for anybody any more.
    pub fn has_failed(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.failed.load(Ordering::SeqCst))
    }

    /// The ranks and their machines: `4 ranks on host1 (2) and host2 (2)`.
    pub fn describe(&self) -> Option<String> {
        let shared = self.0.as_ref()?;
        let hosts = shared.hosts.get()?;
        let mut places: Vec<(&str, usize)> = Vec::new();
        for host in hosts {
            match places.iter_mut().find(|(known, _)| known == host) {
                Some((_, count)) => *count += 1,
                None => places.push((host, 1)),
            }
        }
        let places: Vec<String> = places.iter().map(|(host, n)| format!("{host} ({n})")).collect();
        Some(format!("{} ranks on {}", hosts.len(), places.join(", ")))
    }

    /// From now on no rank may be silent for longer than `patience`, and `asked` says whether this
    /// rank is to stop, and why.
    pub fn begin(&self, patience: Duration, asked: impl Fn() -> Option<String> + Send + 'static) {
        if let Some(shared) = &self.0 {
            let mut state = shared.lock();
            state.patience = patience;
            state.asked = Some(Box::new(asked));
        }
    }

    /// Why the run is to stop, as all ranks know since they met last.
    pub fn stop(&self) -> Option<String> {
        self.0.as_ref().and_then(|shared| shared.lock().stop.clone())
    }

    /// What working with others has cost so far.
    pub fn costs(&self) -> Option<Costs> {
        self.0.as_ref().map(|shared| shared.lock().costs)
    }

    /// Waits for all ranks and tells them how this one's work went.
    ///
    /// # Errors
    /// Its own error, or another rank's, or one is lost.
    pub fn agree<T>(&self, at: At, result: Result<T>) -> Result<T> {
        if self.is_alone() || self.has_failed() {
            return result;
        }
        let error = result.as_ref().err().map(ToString::to_string);
        let met = self.meet(Word { error, ..Word::at(at) });
        result.and_then(|value| met.map(|_| value))
    }

    /// Does `work` on all ranks, one after the other where they may share files: the first rank, then
    /// the first of each other machine, then the rest.
    ///
    /// # Errors
    /// The work's, of any rank.
    pub fn in_turn<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(launch) = Launch::found().filter(|_| !self.is_alone()) else { return work() };
        let turn = match (launch.rank, launch.local_rank) {
            (0, _) => 0,
            (_, 0) => 1,
            _ => 2,
        };
        let (mut work, mut value) = (Some(work), None);
        for now in 0..3 {
            let mine = work.take_if(|_| now == turn);
            let done =
                mine.map(|work| work()).transpose().map(|done| value = value.take().or(done));
            self.agree(At::Ready, done)?;
        }
        value.ok_or_else(|| Error::run("a rank had no turn"))
    }

    /// Demands that all ranks have the same `value`, called `name`.
    ///
    /// # Errors
    /// They do not, or one is lost.
    pub fn same(&self, name: &str, value: &[u8]) -> Result<()> {
        self.compare(At::Same, value, |rank| {
            Error::run(format!("{rank} has other {name} than rank 0"))
                .hint("start the same program with the same settings and data on every machine")
        })
    }

    /// Demands that all ranks have the same weights after `update`.
    ///
    /// # Errors
    /// They do not, or one is lost.
    pub fn same_weights(&self, update: usize, digest: &[u8]) -> Result<()> {
        self.compare(At::Weights, digest, |rank| {
            Error::run(format!("after update {update} {rank} has other weights than rank 0")).hint(
                "a fault of a machine or of this program; go on from the checkpoint before with: \
                 platon resume",
            )
        })
    }

    fn compare(&self, at: At, value: &[u8], other: impl Fn(String) -> Error) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let digest: [u8; 32] = Sha256::digest(value).into();
        let words = self.meet(Word { digest: Some(digest), ..Word::at(at) })?;
        let first = words.first().and_then(|word| word.digest);
        match words.iter().position(|word| word.digest != first) {
            None => Ok(()),
            Some(rank) => {
                // All see the same words, so all end here.
                shared.failed.store(true, Ordering::SeqCst);
                Err(other(self.name(rank)))
            }
        }
    }

    /// What every rank gives, in their order.
    ///
    /// # Errors
    /// One has failed or is lost.
    pub fn gather<T: Serialize + DeserializeOwned>(&self, at: At, own: &T) -> Result<Vec<T>> {
        let unfit = |e: &dyn std::fmt::Display| Error::run(format!("a rank sent no {at:?}: {e}"));
        let own = rmp_serde::to_vec(own).map_err(|e| unfit(&e))?;
        let all = match &self.0 {
            None => vec![own],
            Some(shared) => {
                let words = self.meet(Word { length: own.len() as u64, ..Word::at(at) })?;
                let lengths: Vec<usize> = words.iter().map(|word| word.length as usize).collect();
                let patience = shared.lock().patience;
                let gathered = shared.link.gather(&own, &lengths, patience);
                gathered.map_err(|lost| self.lost(self.roll_call(lost), patience))?
            }
        };
        all.iter().map(|bytes| rmp_serde::from_slice(bytes).map_err(|e| unfit(&e))).collect()
    }

    /// The first rank's `bytes`.
    ///
    /// # Errors
    /// One has failed or is lost.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        /// As MPI counts with 32 bits.
        const PIECE: usize = 1 << 28;
        let Some(shared) = &self.0 else { return Ok(bytes) };
        let words = self.meet(Word { length: bytes.len() as u64, ..Word::at(At::File) })?;
        let length = words.first().map_or(0, |word| word.length as usize);
        let mut bytes = if self.is_first() { bytes } else { vec![0; length] };
        for piece in bytes.chunks_mut(PIECE) {
            let sent = shared.link.broadcast(piece, PREPARING);
            sent.map_err(|lost| self.lost(lost, PREPARING))?;
        }
        Ok(bytes)
    }

    /// Exchanges words: all ranks are at the same place, none has failed, and all know who wants to
    /// stop.
    fn meet(&self, word: Word) -> Result<Vec<Word>> {
        let Some(shared) = &self.0 else { return Ok(vec![word]) };
        if self.has_failed() {
            return Err(Error::run("another rank has failed"));
        }
        let begun = Instant::now();
        let (word, patience) = {
            let mut state = shared.lock();
            state.words += 1;
            let stop = state.asked.as_ref().and_then(|asked| asked());
            (Word { number: state.words, stop, ..word }, state.patience)
        };
        let patience = match word.at {
            At::Saved | At::End => patience * WRITING,
            _ => patience,
        };
        // A rank that waits elsewhere for the same silent one gives up first, and says so.
        let words = shared.link.exchange(&word.to_bytes(), patience + FIRST);
        let words = words.map_err(|lost| self.lost(lost, patience))?;
        let words: Vec<_> = words.iter().map(|bytes| Word::from_bytes(bytes)).collect();
        if word.at == At::Gradients {
            shared.lock().costs.waiting += begun.elapsed().as_secs_f64();
        }
        for (rank, other) in words.iter().enumerate() {
            let error = match other {
                Some(Word { error: None, number, at, .. })
                    if (*number, *at) == (word.number, word.at) =>
                {
                    continue;
                }
                Some(Word { error: Some(error), .. }) if rank == 0 => Error::run(error),
                Some(Word { error: Some(error), .. }) => {
                    Error::run(format!("{}: {error}", self.name(rank)))
                }
                other => Error::run(format!(
                    "{} is at {:?}, rank {} at {:?}",
                    self.name(rank),
                    other.as_ref().map(|word| (word.number, word.at)),
                    self.rank(),
                    (word.number, word.at)
                )),
            };
            shared.failed.store(true, Ordering::SeqCst);
            return Err(error);
        }
        let words: Vec<Word> = words.into_iter().flatten().collect();
        let stop = words.iter().find_map(|word| word.stop.clone());
        if stop.is_some() {
            shared.lock().stop = stop;
        }
        Ok(words)
    }

    /// What a rank that has waited in vain, together with all that are well, knows of the others: they
    /// are asked once more.
    fn roll_call(&self, lost: Lost) -> Lost {
        /// Ranks that wait together give up at nearly the same time.
        const ANSWER: Duration = Duration::from_secs(5);
        let (Lost::Silent(_), Some(shared)) = (&lost, &self.0) else { return lost };
        let word = Word::at(At::Lost).to_bytes();
        shared.link.exchange(&word, ANSWER).err().unwrap_or(lost)
    }

    /// A rank with its machine, for messages.
    fn name(&self, rank: usize) -> String {
        let host = self.0.as_ref().and_then(|shared| shared.hosts.get()?.get(rank));
        host.map_or_else(|| format!("rank {rank}"), |host| format!("rank {rank} ({host})"))
    }

    /// The error of ranks that are lost.
    fn lost(&self, lost: Lost, patience: Duration) -> Error {
        if let Some(shared) = &self.0 {
            shared.failed.store(true, Ordering::SeqCst);
        }
        let hint = "the last checkpoint is whole: platon resume RUN, started as this run was";
        let (missing, error) = match lost {
            Lost::Silent(missing) => {
                let names: Vec<String> = missing.iter().map(|rank| self.name(*rank)).collect();
                let seconds = patience.as_secs();
                let names = names.join(", ");
                let error = Error::run(format!("no answer from {names} within {seconds} s"));
                (missing, error.hint(format!("{hint}; --peer-timeout sets the time")))
            }
            Lost::Broken(cause) => {
                let error = Error::run(format!("the connection to other ranks is broken: {cause}"));
                (Vec::new(), error.hint(hint))
            }
        };
        start::note_lost(self.rank(), &missing);
        error
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
