//! The thread that a model lives on, and the box that texts for it are put into.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::StatusCode;
use tokio::sync::oneshot;

use super::meters::ModelMeters;
use super::pace::Pace;
use super::queue::{Queue, Room, Row};
use super::refusal::Refusal;
use crate::error::Error;
use crate::glue::sample::Sample;
use crate::infer::model::Model;
use crate::infer::scores::OVERFLOW;
use crate::panics;

/// The logits of a request's texts in their order, or why there are none.
pub type Answer = Result<Vec<Vec<f32>>, Refusal>;

/// Texts for a model.
#[derive(Debug)]
pub struct Mailbox {
    state: Mutex<State>,
    /// Rings when something is put in.
    bell: Condvar,
}

#[derive(Debug)]
struct State {
    queue: Queue<Work>,
    /// Nothing is put in any more.
    is_closed: bool,
}

/// A text to compute.
#[derive(Debug)]
struct Work {
    /// Its place in its request.
    place: usize,
    sample: Sample,
    request: Arc<Request>,
}

/// A request of which not all texts are computed.
#[derive(Debug)]
struct Request(Mutex<Pending>);

#[derive(Debug)]
struct Pending {
    logits: Vec<Vec<f32>>,
    left: usize,
    /// `None` once it is answered.
    asker: Option<oneshot::Sender<Answer>>,
}

impl Request {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody waits for the answer.
    fn is_wanted(&self) -> bool {
        self.pending().asker.as_ref().is_some_and(|asker| !asker.is_closed())
    }

    /// One of its texts is computed, or cannot be; whether that answers the request.
    fn is_answered(&self, place: usize, logits: Result<Vec<f32>, Refusal>) -> bool {
        let mut pending = self.pending();
        let answer = match logits {
            Err(refusal) => Err(refusal),
            Ok(logits) => {
                if let Some(own) = pending.logits.get_mut(place) {
                    *own = logits;
                    pending.left -= 1;
                }
                if pending.left > 0 {
                    return false;
                }
                Ok(std::mem::take(&mut pending.logits))
            }
        };
        // Whoever asked may have gone.
        pending.asker.take().is_some_and(|asker| asker.send(answer).is_ok())
    }
}

impl Mailbox {
    /// An empty box with room for so many texts.
    pub fn new(most: usize) -> Self {
        let state = State { queue: Queue::new(most), is_closed: false };
        Self { state: Mutex::new(state), bell: Condvar::new() }
    }

    /// Puts the texts of a request in; its answer comes through what is returned, and is not computed
    /// once that is dropped.
    ///
    /// # Errors
    /// There is no room.
    pub fn put(
        &self,
        samples: Vec<Sample>,
        meters: &ModelMeters,
    ) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let (asker, answer) = oneshot::channel();
        let pending = Pending {
            logits: vec![Vec::new(); samples.len()],
            left: samples.len(),
            asker: Some(asker),
        };
        let request = Arc::new(Request(Mutex::new(pending)));
        let rows = samples.into_iter().enumerate().map(|(place, sample)| Row {
            tokens: sample.token_id.len(),
            work: Work { place, sample, request: Arc::clone(&request) },
        });
        let (mut state, rows) = (self.state(), rows.collect());
        if !state.queue.has_room(&rows) {
            state.queue.retain(|work| work.request.is_wanted());
        }
        state.queue.push(rows).map_err(|waiting| {
            let reason =
                format!("the queue is full: {waiting} texts wait already; ask again later");
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, reason)
        })?;
        meters.waiting(state.queue.rows());
        drop(state);
        self.bell.notify_one();
        Ok(answer)
    }

    /// Lets the model's thread end once nothing waits any more.
    pub fn close(&self) {
        self.state().is_closed = true;
        self.bell.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for texts and for those that are to share their batch; whether there are any, which is
    /// not so once the box is closed.
    fn wait(&self, pace: &Pace) -> bool {
        let mut state = self.state();
        loop {
            let (requests, is_closed) = (state.queue.requests(), state.is_closed);
            if requests == 0 && is_closed {
                return false;
            }
            let rest = if is_closed { None } else { pace.rest(requests, Instant::now()) };
            state = match (requests, rest) {
                (0, _) => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                (_, None) => return true,
                (_, Some(rest)) => {
                    let woken = self.bell.wait_timeout(state, rest);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn take(&self, room: Room, meters: &ModelMeters) -> Vec<Row<Work>> {
        let mut state = self.state();
        state.queue.retain(|work| work.request.is_wanted());
        let batch = state.queue.next_batch(room);
        meters.waiting(state.queue.rows());
        batch
    }
}

/// One batch is computed at a time, whatever the model: each takes all cores. First come, first
/// served.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

/// Answers what is put into `mailbox` until it is closed.
pub fn work(
    model: &mut (dyn Model + Send),
    mailbox: &Mailbox,
    (batch_tokens, mut pace): (usize, Pace),
    (turn, meters): (&Turn, &ModelMeters),
) {
    let room = Room { tokens: batch_tokens, pads: model.pads() };
    while mailbox.wait(&pace) {
        let _turn = turn.blocking_lock();
        // Those that arrived meanwhile come along.
        let batch = mailbox.take(room, meters);
        if batch.is_empty() {
            continue;
        }
        meters.batch(batch.len(), batch.iter().map(|row| row.tokens).sum());
        let (mut asked, mut samples) = (Vec::new(), Vec::new());
        for Row { work: Work { place, sample, request }, .. } in batch {
            asked.push((place, request));
            samples.push(sample);
        }
        let logits = computed(model, samples);
        let mut answered = 0;
        for ((place, request), logits) in asked.iter().zip(logits) {
            let logits = logits.and_then(|logits| finite(*place, logits));
            answered += usize::from(request.is_answered(*place, logits));
        }
        pace.answered(answered, Instant::now());
    }
}

/// The logits of each of `samples`.
fn computed(
    model: &mut (dyn Model + Send),
    samples: Vec<Sample>,
) -> Vec<Result<Vec<f32>, Refusal>> {
    let count = samples.len();
    let predict = move || panics::catch(|| model.predict(vec![samples], count, &|_, _| ()));
    // On one of rayon's threads parallel loops begin at once. A single one must stay free for others.
    let computed = match rayon::current_num_threads() {
        1 => predict(),
        _ => rayon::scope(move |_| predict()),
    };
    let failed = |cause: &str| vec![Err(Refusal::internal(cause)); count];
    match computed {
        Err(cause) => failed(&cause),
        Ok(sets) => {
            let logits: Vec<f32> = sets.into_iter().flat_map(|(set, _)| set.logits).collect();
            let outputs = logits.len() / count.max(1);
            if outputs == 0 || outputs * count != logits.len() {
                return failed(&format!("{} logits for {count} texts", logits.len()));
            }
            logits.chunks(outputs).map(|row| Ok(row.to_vec())).collect()
        }
    }
}

fn finite(place: usize, logits: Vec<f32>) -> Result<Vec<f32>, Refusal> {
    match logits.iter().find(|logit| !logit.is_finite()) {
        None => Ok(logits),
        Some(logit) => {
            let error = Error::value(format!("inputs[{place}]"), "finite logits", logit);
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.hint(OVERFLOW)))
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
