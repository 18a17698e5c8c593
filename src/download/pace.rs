//! The least speed of a connection. A server that sends a byte now and then would pass every limit
//! on the time of a single read: in the headers, in the body, or in the trailers after a body in
//! chunks, whose end one read of the body waits for.
//!
//! The client's transports are its only place to see every byte. Their interface is not under its
//! promise of compatibility; what is used of it here is two traits.

use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Ends connections that bring too little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The fewest bytes in a second that is waited.
    pub slowest: u64,
    /// Their mean is taken over such a time.
    pub window: Duration,
}

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
#[error("the server sends fewer than {0} bytes a second")]
pub(super) struct TooSlow(u64);

impl<T: Transport> Connector<T> for Pace {
    type Out = Paced<T>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<T>,
    ) -> Result<Option<Paced<T>>, Error> {
        let paced = |inner| Paced { inner, pace: *self, waited: Duration::ZERO, bytes: 0 };
        Ok(chained.map(paced))
    }
}

/// A connection that is watched.
#[derive(Debug)]
pub(super) struct Paced<T> {
    inner: T,
    pace: Pace,
    /// Spent in waiting since the last look at the speed: what the disk takes is not the server's.
    waited: Duration,
    /// What has come since.
    bytes: usize,
}

impl<T: Transport> Transport for Paced<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let (before, started) = (self.inner.buffers().input().len(), Instant::now());
        let progress = self.inner.await_input(timeout)?;
        self.waited += started.elapsed();
        self.bytes += self.inner.buffers().input().len().saturating_sub(before);
        let Pace { slowest, window } = self.pace;
        if self.waited >= window {
            if (self.bytes as f64) < slowest as f64 * self.waited.as_secs_f64() {
                return Err(Error::Other(Box::new(TooSlow(slowest))));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
