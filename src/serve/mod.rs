//! An HTTP server over models' answers.
//!
//! One thread takes connections and reads and writes HTTP (`listen`, `routes`, `body`); bodies become
//! samples beside it (`request`, `model`). Each model lives on a thread of its own, which computes
//! together what waits (`queue`, `pace`, `worker`), and logits become labels (`reply`).

mod body;
mod limits;
mod listen;
mod meters;
mod model;
mod pace;
mod queue;
mod refusal;
mod reply;
mod request;
mod routes;
mod stop;
mod worker;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use self::meters::Meters;
use self::model::Front;
use self::pace::Pace;
use self::routes::Service;
use self::worker::{Turn, work};
use crate::error::{Error, Result};

pub use self::limits::Limits;
pub use self::model::Served;
pub use self::stop::Stop;

/// Serves `models` on `listener`, the first of them also without its name, until `stop` is asked and
/// every request is answered. `ready` is told the address when the first can be asked.
///
/// # Errors
/// A model cannot be served, `ready` fails, or the system gives no thread.
pub fn run(
    listener: TcpListener,
    models: Vec<Served>,
    limits: Limits,
    stop: Stop,
    ready: impl FnOnce(SocketAddr) -> Result<()>,
) -> Result<()> {
    let failed = |e: std::io::Error| Error::run(format!("the server cannot be started: {e}"));
    let meters = Meters::default();
    let (mut fronts, mut backs) = (Vec::new(), Vec::new());
    for served in models {
        let (front, model) = Front::of(served, limits.max_queue, &meters)?;
        let front = Arc::new(front);
        backs.push((Arc::clone(&front), model));
        fronts.push(front);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(std::thread::available_parallelism().map_or(1, usize::from))
        .build()
        .map_err(failed)?;
    let turn = Turn::default();
    let mut threads = Vec::new();
    for (front, mut model) in backs {
        let (turn, limits) =
            (Arc::clone(&turn), (limits.max_batch_tokens, Pace::new(limits.max_wait)));
        let thread = std::thread::Builder::new().name(front.name.clone());
        let thread = thread.spawn(move || {
            work(model.as_mut(), &front.mailbox, limits, (&turn, &front.meters));
        });
        threads.push(thread.map_err(failed)?);
    }
    let service = Service { models: fronts.clone(), limits, meters, stop };
    let served = runtime.block_on(async {
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        ready(listener.local_addr().map_err(failed)?)?;
        listen::listen(listener, Arc::new(service)).await;
        Ok(())
    });
    for front in fronts {
        front.mailbox.close();
    }
    for thread in threads {
        // Its panics are caught where they happen.
        let _ = thread.join();
    }
    served
}

#[cfg(test)]
#[path = "asked_tests.rs"]
mod asked;
#[cfg(test)]
#[path = "fake_tests.rs"]
mod fake;
#[cfg(test)]
#[path = "hardship_tests.rs"]
mod hardship_tests;
#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
