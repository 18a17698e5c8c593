//! Connections, and their end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::routes::Service;
use super::stop::Stop;

/// The most bytes of a request's head.
const LONGEST_HEAD: usize = 64 << 10;
/// Where none can be opened, as when there are too many files, the next try is so much later.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// The system needs a moment to tell of connections that it has taken already.
const LAST_LOOK: Duration = Duration::from_millis(10);
/// Requests that are on their way when the server is asked to stop have so long to arrive.
const ON_THEIR_WAY: Duration = Duration::from_millis(250);

/// Takes connections until the server is asked to stop, and returns once all are closed.
pub async fn listen(listener: TcpListener, service: Arc<Service>) {
    let most = u32::try_from(service.limits.max_connections).unwrap_or(u32::MAX);
    let slots = Arc::new(Semaphore::new(most as usize));
    let closing = Stop::new();
    let open = |stream, slot| {
        let connection = connection(stream, Arc::clone(&service), closing.clone());
        let service = Arc::clone(&service);
        service.meters.opened();
        tokio::spawn(async move {
            connection.await;
            service.meters.closed();
            drop::<OwnedSemaphorePermit>(slot);
        });
    };
    loop {
        let slot = tokio::select! {
            () = service.stop.asked() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        // Nobody closes the semaphore.
        let Ok(slot) = slot else { break };
        tokio::select! {
            () = service.stop.asked() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => open(stream, slot),
                Err(_) => sleep(TRY_AGAIN).await,
            },
        }
    }
    // Those that the system has taken already are no new ones.
    let until = Instant::now() + ON_THEIR_WAY;
    // Looked at each time, for new ones may come faster than they can be taken.
    while Instant::now() < until {
        let slot = timeout_at(until, Arc::clone(&slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { break };
        match timeout(LAST_LOOK, listener.accept()).await {
            Ok(Ok((stream, _))) => open(stream, slot),
            _ => break,
        }
    }
    drop(listener);
    let _ = timeout(ON_THEIR_WAY, slots.acquire_many(most)).await;
    closing.ask();
    let _ = slots.acquire_many(most).await;
}

/// Answers what comes over a connection until either side closes it.
async fn connection(stream: TcpStream, service: Arc<Service>, closing: Stop) {
    let allowed = service.limits.timeout;
    // Best effort: answers would come a little later.
    let _ = stream.set_nodelay(true);
    // Who takes nothing of an answer for so long is gone.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(allowed));
    let respond = |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.respond(request).await) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(allowed)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    let mut connection = pin!(connection);
    // What goes wrong on a connection concerns the other side alone, and it knows.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closing.asked() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
