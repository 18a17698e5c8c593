use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::fake::{Fake, Gate, NAN, PANIC, sample, values};
use super::super::meters::Meters;
use super::*;

/// A model at work on a thread.
struct At {
    mailbox: Arc<Mailbox>,
    meters: Arc<ModelMeters>,
    gate: Gate,
    all: Meters,
    thread: JoinHandle<()>,
}

impl At {
    fn work(gate: Gate, batch_tokens: usize, max_wait: Duration) -> Self {
        let (mailbox, all) = (Arc::new(Mailbox::new(8)), Meters::default());
        let meters = Arc::new(all.of("fake"));
        let (mut model, pace) = (Fake::new(&gate), Pace::new(max_wait));
        let (own, seen) = (Arc::clone(&mailbox), Arc::clone(&meters));
        let thread = thread::spawn(move || {
            work(&mut model, &own, (batch_tokens, pace), (&Turn::default(), &seen));
        });
        Self { mailbox, meters, gate, all, thread }
    }

    fn ask(&self, lengths: &[usize]) -> oneshot::Receiver<Answer> {
        let samples = lengths.iter().map(|tokens| sample(*tokens)).collect();
        self.mailbox.put(samples, &self.meters).unwrap()
    }

    fn end(self) {
        self.mailbox.close();
        self.thread.join().unwrap();
    }
}

/// The tokens of the texts that were asked for, as the fake model answers them.
fn lengths(answer: oneshot::Receiver<Answer>) -> Vec<f32> {
    answer.blocking_recv().unwrap().unwrap().iter().map(|logits| logits[0]).collect()
}

#[test]
fn what_arrives_during_a_batch_shares_the_next_one_and_answers_keep_their_order() {
    let at = At::work(Gate::default(), 100, Duration::ZERO);
    let first = at.ask(&[3]);
    at.gate.wait_for(1);
    let (second, third) = (at.ask(&[4, 60, 5]), at.ask(&[6]));
    at.gate.allow(2);
    assert_eq!(lengths(first), [3.0]);
    assert_eq!(lengths(second), [4.0, 60.0, 5.0]);
    assert_eq!(lengths(third), [6.0]);
    assert_eq!(at.gate.batches(), [vec![3], vec![4, 6, 60, 5]]);
    let counted = values(&at.all.text());
    for (name, value) in [
        (r#"platon_texts_total{model="fake"}"#, 5.0),
        (r#"platon_tokens_total{model="fake"}"#, 78.0),
        (r#"platon_batch_texts_count{model="fake"}"#, 2.0),
        (r#"platon_waiting_texts{model="fake"}"#, 0.0),
    ] {
        assert_eq!(counted[name], value, "{name}");
    }
    at.end();
}

#[test]
fn a_batch_of_one_token_is_a_batch_of_one_text() {
    let at = At::work(Gate::open(), 1, Duration::ZERO);
    assert_eq!(lengths(at.ask(&[4, 6, 5])), [4.0, 6.0, 5.0]);
    assert_eq!(at.gate.batches(), [[4], [6], [5]]);
    at.end();
}

#[test]
fn after_a_shared_batch_the_next_waits_for_as_many_and_after_a_lone_one_it_does_not() {
    const WAIT: Duration = Duration::from_secs(1);
    let at = At::work(Gate::default(), 100, WAIT);
    let first = at.ask(&[1]);
    at.gate.wait_for(1);
    let (second, third) = (at.ask(&[2]), at.ask(&[3]));
    at.gate.allow(usize::MAX / 2);
    drop((lengths(first), lengths(second), lengths(third)));
    let began = Instant::now();
    drop(lengths(at.ask(&[4])));
    assert!(began.elapsed() > WAIT / 2, "{:?}", began.elapsed());
    let began = Instant::now();
    drop(lengths(at.ask(&[5])));
    assert!(began.elapsed() < WAIT / 2, "{:?}", began.elapsed());
    assert_eq!(at.gate.batches(), [vec![1], vec![2, 3], vec![4], vec![5]]);
    at.end();
}

#[test]
fn a_full_box_refuses_and_has_room_again() {
    let at = At::work(Gate::default(), 100, Duration::ZERO);
    let first = at.ask(&[1]);
    at.gate.wait_for(1);
    let second = at.ask(&[1; 8]);
    let refusal = at.mailbox.put(vec![sample(1)], &at.meters).unwrap_err();
    assert_eq!(refusal.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refusal.reason, "the queue is full: 8 texts wait already; ask again later");
    // Texts that nobody waits for any more give way at once, not only when a batch is taken.
    drop(second);
    let third = at.ask(&[1; 7]);
    at.gate.allow(3);
    assert_eq!((lengths(first).len(), lengths(third).len()), (1, 7));
    assert_eq!(lengths(at.ask(&[1])), [1.0]);
    assert_eq!(at.gate.batches(), [vec![1], vec![1; 7], vec![1]]);
    at.end();
}

#[test]
fn what_nobody_waits_for_is_not_computed() {
    let at = At::work(Gate::default(), 100, Duration::ZERO);
    let first = at.ask(&[1]);
    at.gate.wait_for(1);
    drop(at.ask(&[2, 2]));
    let third = at.ask(&[3]);
    at.gate.allow(2);
    assert_eq!((lengths(first), lengths(third)), (vec![1.0], vec![3.0]));
    assert_eq!(at.gate.batches(), [[1], [3]]);
    at.end();
}

#[test]
fn a_text_without_an_answer_spoils_its_own_request_alone() {
    let at = At::work(Gate::default(), 100, Duration::ZERO);
    let first = at.ask(&[1]);
    at.gate.wait_for(1);
    let mut bad = sample(2);
    bad.token_id[1] = NAN;
    let bad = at.mailbox.put(vec![sample(2), bad], &at.meters).unwrap();
    let good = at.ask(&[3]);
    at.gate.allow(2);
    assert_eq!((lengths(first), lengths(good)), (vec![1.0], vec![3.0]));
    let refusal = bad.blocking_recv().unwrap().unwrap_err();
    assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refusal.reason.starts_with("inputs[1]: expected finite logits, found NaN (hint: "));
    at.end();
}

#[test]
fn a_panic_of_the_model_ends_its_batch_and_not_the_thread() {
    let at = At::work(Gate::open(), 100, Duration::ZERO);
    let mut bad = sample(2);
    bad.token_id[0] = PANIC;
    let bad = at.mailbox.put(vec![bad], &at.meters).unwrap();
    let refusal = bad.blocking_recv().unwrap().unwrap_err();
    assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(refusal.reason.starts_with("internal error: "), "{}", refusal.reason);
    assert_eq!(lengths(at.ask(&[3])), [3.0]);
    at.end();
}

#[test]
fn a_closed_box_is_emptied_first() {
    let at = At::work(Gate::default(), 3, Duration::from_secs(60));
    let (first, second) = (at.ask(&[1]), at.ask(&[2, 3]));
    at.gate.wait_for(1);
    at.mailbox.close();
    at.gate.allow(usize::MAX / 2);
    assert_eq!((lengths(first), lengths(second)), (vec![1.0], vec![2.0, 3.0]));
    at.end();
}
