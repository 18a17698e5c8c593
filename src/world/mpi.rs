//! The connection among ranks: MPI, by functions that return at once, so that no rank waits for
//! ever for one that has died.

use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::environment::Universe;
use mpi::ffi;
use mpi::topology::Communicator;

use super::link::{Link, Lost, Pending};
use super::word::{Bytes, WORD};
use crate::error::{Error, Result};

static UNIVERSE: Mutex<Option<Universe>> = Mutex::new(None);

/// The tag of words.
const TAG: c_int = 7;

/// All processes of an MPI launch.
pub struct Mpi {
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Starts MPI, on the main thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn connect() -> Result<Self> {
        let failed = |cause: &str| Error::run(format!("MPI cannot be started: {cause}"));
        // One thread at a time calls it, but not always the same one.
        let started = mpi::initialize_with_threading(Threading::Serialized);
        let (universe, threading) = started.ok_or_else(|| failed("it was started before"))?;
        if threading < Threading::Serialized {
            return Err(failed("this library can be called from the main thread only"));
        }
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        // SAFETY: MPI is initialised, and both are its own constants. Its way is to end the
        // process at an error.
        unsafe { ffi::MPI_Comm_set_errhandler(ffi::RSMPI_COMM_WORLD, ffi::RSMPI_ERRORS_RETURN) };
        *UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner) = Some(universe);
        Ok(Self { rank, size })
    }
}

/// Ends MPI: waits for all ranks to do so. On the thread that has called [`Mpi::connect`].
pub fn finalize() {
    drop(UNIVERSE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// The version of the MPI library: `Open MPI v4.1.4, package: ...`.
pub fn version() -> String {
    mpi::environment::library_version().unwrap_or_else(|_| "unknown".into())
}

/// An operation under way, with the memory that it works on.
struct Transfer<B> {
    request: ffi::MPI_Request,
    buffers: Option<B>,
}

// SAFETY: a request is a handle that any thread may use, one at a time; the memory is owned.
unsafe impl<B: Send> Send for Transfer<B> {}

impl<B> Transfer<B> {
    /// Starts what `start` starts, which fills in the request that it is given.
    ///
    /// # Safety
    /// The operation must work on memory that `buffers` owns on the heap.
    unsafe fn start(
        buffers: B,
        start: impl FnOnce(*mut ffi::MPI_Request) -> c_int,
    ) -> Result<Self, Lost> {
        // SAFETY: reads a constant of the library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        check(start(&raw mut request))?;
        Ok(Self { request, buffers: Some(buffers) })
    }

    /// Moves it on; whether it is done.
    fn poll(&mut self) -> Result<bool, Lost> {
        let mut done = 0;
        // SAFETY: the request is one that was started, or null once it is done, and its memory is
        // still there. Both constants are the library's.
        unsafe {
            check(ffi::MPI_Test(&raw mut self.request, &raw mut done, ffi::RSMPI_STATUS_IGNORE))?;
        }
        Ok(done != 0)
    }
}

impl<B> Drop for Transfer<B> {
    /// What MPI may still write to stays where it is.
    fn drop(&mut self) {
        // SAFETY: reads a constant of the library.
        if self.request != unsafe { ffi::RSMPI_REQUEST_NULL } {
            std::mem::forget(self.buffers.take());
        }
    }
}

/// Polls `transfers` until all are done: eagerly at first, then less and less often where `rests`.
/// The numbers of those that are not done in time.
fn finish<B>(
    transfers: &mut [Transfer<B>],
    patience: Duration,
    rests: bool,
) -> Result<Vec<usize>, Lost> {
    /// As long as it takes the system to wake a thread.
    const SPIN: Duration = Duration::from_micros(200);
    const REST: Duration = Duration::from_micros(100);
    let begun = Instant::now();
    loop {
        let mut left = Vec::new();
        for (n, transfer) in transfers.iter_mut().enumerate() {
            if !transfer.poll()? {
                left.push(n);
            }
        }
        let waited = begun.elapsed();
        if left.is_empty() || waited > patience {
            return Ok(left);
        }
        if rests && waited > SPIN {
            std::thread::sleep(REST);
        } else {
            std::thread::yield_now();
        }
    }
}

fn check(code: c_int) -> Result<(), Lost> {
    if code == 0 {
        return Ok(());
    }
    let mut text = vec![0u8; ffi::MPI_MAX_ERROR_STRING as usize];
    let mut length = 0;
    // SAFETY: the text has the length that the library may fill.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &raw mut length) };
    let text = String::from_utf8_lossy(text.get(..length as usize).unwrap_or_default());
    Err(Lost::Broken(text.into_owned()))
}

/// A length as MPI counts it.
fn count(length: usize) -> Result<c_int, Lost> {
    c_int::try_from(length).map_err(|_| Lost::Broken(format!("{length} are too many at once")))
}

impl Link for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> String {
        mpi::environment::processor_name().unwrap_or_else(|_| "unknown".into())
    }

    fn exchange(&self, word: &Bytes, patience: Duration) -> Result<Vec<Bytes>, Lost> {
        let word: Arc<Bytes> = Arc::new(*word);
        let others: Vec<usize> = (0..self.size).filter(|rank| *rank != self.rank).collect();
        let (mut sends, mut receives) = (Vec::new(), Vec::new());
        for rank in &others {
            let peer = count(*rank)?;
            let (mut buffer, to) = (Box::new([0; WORD]), word.clone());
            let (into, from) = (buffer.as_mut_ptr(), to.as_ptr());
            // SAFETY: both buffers are on the heap, WORD bytes long, and kept by the transfer.
            unsafe {
                receives.push(Transfer::start(buffer, |request| {
                    ffi::MPI_Irecv(
                        into.cast::<c_void>(),
                        WORD as c_int,
                        ffi::RSMPI_UINT8_T,
                        peer,
                        TAG,
                        ffi::RSMPI_COMM_WORLD,
                        request,
                    )
                })?);
                sends.push(Transfer::start(to, |request| {
                    ffi::MPI_Isend(
                        from.cast::<c_void>(),
                        WORD as c_int,
                        ffi::RSMPI_UINT8_T,
                        peer,
                        TAG,
                        ffi::RSMPI_COMM_WORLD,
                        request,
                    )
                })?);
            }
        }
        let missing = finish(&mut receives, patience, true)?;
        if !missing.is_empty() {
            let missing = missing.iter().filter_map(|n| others.get(*n).copied());
            return Err(Lost::Silent(missing.collect()));
        }
        // Whoever has sent a word takes this one, unless it dies right now.
        finish(&mut sends, patience, true)?;
        let mut words = receives.iter().filter_map(|transfer| transfer.buffers.as_deref());
        let word_of = |rank| if rank == self.rank { Some(*word) } else { words.next().copied() };
        Ok((0..self.size).filter_map(word_of).collect())
    }

    fn begin_sum(&self, values: Vec<f32>) -> Result<Box<dyn Pending>, Lost> {
        let mut sums = vec![0.0f32; values.len()];
        let (from, into, n) = (values.as_ptr(), sums.as_mut_ptr(), count(values.len())?);
        // SAFETY: both vectors are on the heap, n numbers long, and kept by the transfer.
        let transfer = unsafe {
            Transfer::start((values, sums), |request| {
                ffi::MPI_Iallreduce(
                    from.cast::<c_void>(),
                    into.cast::<c_void>(),
                    n,
                    ffi::RSMPI_FLOAT,
                    ffi::RSMPI_SUM,
                    ffi::RSMPI_COMM_WORLD,
                    request,
                )
            })?
        };
        Ok(Box::new(transfer))
    }

    fn gather(&self, own: &[u8], lengths: &[usize], wait: Duration) -> Result<Vec<Vec<u8>>, Lost> {
        let mut counts = Vec::with_capacity(lengths.len());
        let mut places = Vec::with_capacity(lengths.len());
        let mut total = 0;
        for length in lengths {
            counts.push(count(*length)?);
            places.push(count(total)?);
            total += length;
        }
        let (own, mut all) = (own.to_vec(), vec![0u8; total]);
        let (from, n, into) = (own.as_ptr(), count(own.len())?, all.as_mut_ptr());
        let (counted, placed) = (counts.as_ptr(), places.as_ptr());
        // SAFETY: all vectors are on the heap and kept by the transfer; each rank's part begins
        // at its place and is as long as the rank says.
        let mut transfer = [unsafe {
            Transfer::start((own, all, counts, places), |request| {
                ffi::MPI_Iallgatherv(
                    from.cast::<c_void>(),
                    n,
                    ffi::RSMPI_UINT8_T,
                    into.cast::<c_void>(),
                    counted,
                    placed,
                    ffi::RSMPI_UINT8_T,
                    ffi::RSMPI_COMM_WORLD,
                    request,
                )
            })?
        }];
        self.complete(&mut transfer, wait)?;
        let [transfer] = &transfer;
        let mut rest = transfer.buffers.as_ref().map_or(&[][..], |buffers| &buffers.1);
        let parts = lengths.iter().map(|length| {
            let (part, later) = rest.split_at((*length).min(rest.len()));
            rest = later;
            part.to_vec()
        });
        Ok(parts.collect())
    }

    fn broadcast(&self, bytes: &mut [u8], patience: Duration) -> Result<(), Lost> {
        let mut piece = bytes.to_vec();
        let (at, n) = (piece.as_mut_ptr(), count(piece.len())?);
        // SAFETY: the vector is on the heap, n bytes long, and kept by the transfer.
        let mut transfer = [unsafe {
            Transfer::start(piece, |request| {
                ffi::MPI_Ibcast(
                    at.cast::<c_void>(),
                    n,
                    ffi::RSMPI_UINT8_T,
                    0,
                    ffi::RSMPI_COMM_WORLD,
                    request,
                )
            })?
        }];
        self.complete(&mut transfer, patience)?;
        let [transfer] = &transfer;
        if let Some(piece) = &transfer.buffers {
            bytes.copy_from_slice(piece);
        }
        Ok(())
    }
}

impl Mpi {
    /// Waits for an operation of all ranks, which have just met.
    fn complete<B>(&self, transfer: &mut [Transfer<B>], patience: Duration) -> Result<(), Lost> {
        if finish(transfer, patience, false)?.is_empty() {
            return Ok(());
        }
        Err(Lost::Silent((0..self.size).filter(|rank| *rank != self.rank).collect()))
    }
}

impl Pending for Transfer<(Vec<f32>, Vec<f32>)> {
    fn poll(&mut self) -> Result<bool, Lost> {
        Self::poll(self)
    }

    fn take(mut self: Box<Self>) -> Vec<f32> {
        self.buffers.take().map(|(_, sums)| sums).unwrap_or_default()
    }
}
