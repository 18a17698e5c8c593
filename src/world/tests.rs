//! Ranks as threads of one process.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::link::{Link, Lost, Pending};
use super::word::{At, Bytes};
use super::{Costs, World};
use crate::error::{Error, Result};

/// What the ranks have handed in at each of their meetings, in the order of ranks.
#[derive(Default)]
struct Table {
    meetings: Mutex<Vec<Vec<Option<Vec<u8>>>>>,
    changed: Condvar,
}

/// A rank that is a thread.
struct Thread {
    rank: usize,
    size: usize,
    meeting: Mutex<usize>,
    table: Arc<Table>,
}

impl Thread {
    /// Hands in `own`, and takes what all have handed in.
    fn all(&self, own: &[u8], patience: Duration) -> Result<Vec<Vec<u8>>, Lost> {
        let number = {
            let mut meeting = self.meeting.lock().unwrap();
            *meeting += 1;
            *meeting - 1
        };
        let mut meetings = self.table.meetings.lock().unwrap();
        while meetings.len() <= number {
            meetings.push(vec![None; self.size]);
        }
        meetings[number][self.rank] = Some(own.to_vec());
        self.table.changed.notify_all();
        let missing = |all: &Vec<Vec<Option<Vec<u8>>>>| {
            (0..self.size).filter(|rank| all[number][*rank].is_none()).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + patience;
        while !missing(&meetings).is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Silent(missing(&meetings)));
            }
            meetings = self.table.changed.wait_timeout(meetings, left).unwrap().0;
        }
        Ok(meetings[number].iter().flatten().cloned().collect())
    }
}

struct Done(Vec<f32>);

impl Pending for Done {
    fn poll(&mut self) -> Result<bool, Lost> {
        Ok(true)
    }

    fn take(self: Box<Self>) -> Vec<f32> {
        self.0
    }
}

impl Link for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> String {
        format!("host{}", self.rank / 2)
    }

    fn exchange(&self, word: &Bytes, patience: Duration) -> Result<Vec<Bytes>, Lost> {
        let all = self.all(word, patience)?;
        Ok(all.iter().map(|bytes| bytes.as_slice().try_into().unwrap()).collect())
    }

    fn begin_sum(&self, values: Vec<f32>) -> Result<Box<dyn Pending>, Lost> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut sums = vec![0.0f32; values.len()];
        for part in self.all(&bytes, Duration::from_secs(60))? {
            for (sum, bytes) in sums.iter_mut().zip(part.chunks(4)) {
                *sum += f32::from_le_bytes(bytes.try_into().unwrap());
            }
        }
        Ok(Box::new(Done(sums)))
    }

    fn gather(&self, own: &[u8], lengths: &[usize], wait: Duration) -> Result<Vec<Vec<u8>>, Lost> {
        assert_eq!(own.len(), lengths[self.rank]);
        self.all(own, wait)
    }

    fn broadcast(&self, bytes: &mut [u8], patience: Duration) -> Result<(), Lost> {
        let all = self.all(bytes, patience)?;
        bytes.copy_from_slice(&all[0]);
        Ok(())
    }
}

/// What `work` gives on each of `size` ranks.
fn on_ranks<T: Send>(size: usize, work: impl Fn(World) -> T + Sync) -> Vec<T> {
    let table = Arc::<Table>::default();
    std::thread::scope(|scope| {
        let rank = |rank| {
            let (table, work) = (table.clone(), &work);
            scope.spawn(move || {
                let link = Thread { rank, size, meeting: Mutex::new(0), table };
                work(World::joined(Box::new(link)).unwrap())
            })
        };
        let ranks: Vec<_> = (0..size).map(rank).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn messages<T: std::fmt::Debug>(results: Vec<Result<T>>) -> Vec<String> {
    results.into_iter().map(|result| result.unwrap_err().to_string()).collect()
}

#[test]
fn ranks_are_counted_on_their_machines() {
    let described = on_ranks(3, |world| (world.rank(), world.is_first(), world.describe()));
    let text = Some("3 ranks on host0 (2), host1 (1)".to_string());
    let expected = [(0, true, text.clone()), (1, false, text.clone()), (2, false, text)];
    assert_eq!(described, expected);
    assert_eq!((World::alone().size(), World::alone().describe()), (1, None));
}

#[test]
fn an_error_of_one_rank_is_every_rank_s_with_its_name() {
    let results = on_ranks(3, |world| {
        let own = if world.rank() == 2 { Err(Error::run("no disk")) } else { Ok(()) };
        let told = world.agree(At::Ready, own);
        // Nobody waits for anybody any more.
        assert!(world.has_failed() && world.agree(At::End, Ok(())).is_ok());
        told
    });
    let other = "rank 2 (host1): no disk";
    assert_eq!(messages(results), [other, other, "no disk"]);
}

#[test]
fn ranks_that_differ_are_refused_everywhere() {
    let results = on_ranks(4, |world| {
        world.same("settings", b"equal")?;
        world.same("data", if world.rank() == 1 { b"B" } else { b"A" })
    });
    for message in messages(results) {
        assert!(message.starts_with("rank 1 (host0) has other data than rank 0"), "{message}");
    }
    let results = on_ranks(2, |world| world.same_weights(60, &[world.rank() as u8]));
    for message in messages(results) {
        let expected = "after update 60 rank 1 (host0) has other weights than rank 0";
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_rank_elsewhere_or_silent_is_named() {
    let results = on_ranks(2, |world| {
        let at = if world.is_first() { At::Ready } else { At::Saved };
        world.agree(at, Ok(()))
    });
    let messages_of = messages(results);
    assert!(
        messages_of[0].starts_with("rank 1 (host0) is at Some((3, Saved)), rank 0 at (3, Ready)")
    );
    let results = on_ranks(3, |world| {
        world.begin(Duration::from_secs(2), || None);
        if world.rank() == 1 { Err(Error::run("asleep")) } else { world.agree(At::Ready, Ok(())) }
    });
    let [first, _, third] = messages(results).try_into().unwrap();
    assert!(first.starts_with("no answer from rank 1 (host0) within 2 s (hint: "), "{first}");
    assert_eq!(first, third);
    assert!(first.contains("--peer-timeout"), "{first}");
}

#[test]
fn a_stop_that_one_rank_asks_for_is_known_to_all_at_once() {
    let stops = on_ranks(3, |world| {
        let asks = world.rank() == 1;
        world.begin(Duration::from_secs(60), move || asks.then(|| "SIGTERM".to_string()));
        let before = world.stop();
        world.agree(At::Ready, Ok(())).unwrap();
        (before, world.stop())
    });
    assert_eq!(stops, vec![(None, Some("SIGTERM".to_string())); 3]);
}

#[test]
fn files_of_the_first_rank_reach_the_others() {
    let contents = on_ranks(2, |world| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/a.bin");
        if world.is_first() {
            std::fs::create_dir(dir.path().join("sub")).unwrap();
            std::fs::write(&path, [7, 0, 9]).unwrap();
        }
        world.share_files(dir.path(), std::slice::from_ref(&path)).unwrap();
        std::fs::read(path).unwrap()
    });
    assert_eq!(contents, [[7, 0, 9], [7, 0, 9]]);
}

#[test]
fn values_are_gathered_in_the_order_of_ranks() {
    let own = |world: &World| "x".repeat(world.rank() * 700);
    let gathered = on_ranks(3, |world| world.gather(At::Answers, &own(&world)).unwrap());
    let expected = vec![String::new(), "x".repeat(700), "x".repeat(1400)];
    assert_eq!(gathered, vec![expected; 3]);
}

#[test]
fn costs_are_told_per_update() {
    assert_eq!(Costs::default().line(), None);
    let costs = Costs { waiting: 3.0, summing: 1.0, updates: 20, bytes: 1_800_000_000 };
    let expected = "ranks: per update 0.150 s of waiting for others, 0.050 s of adding up 90.0 MB \
                    of gradients";
    assert_eq!(costs.line().as_deref(), Some(expected));
}

#[cfg(feature = "flex")]
mod gradients {
    use super::*;
    use burn::backend::Autodiff;
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::GradientsParams;
    use burn::tensor::{Tensor, TensorData};

    type Inner = burn_flex::Flex;
    type B = Autodiff<Inner>;

    /// Of a layer of more numbers than travel together.
    const SIZE: [usize; 2] = [3000, 1500];

    /// Gradients of value `weight` and `bias`, where there are any.
    fn grads(model: &Linear<B>, weight: Option<f32>, bias: Option<f32>) -> GradientsParams {
        let mut grads = GradientsParams::new();
        let device = Default::default();
        if let Some(value) = weight {
            let grad = Tensor::<Inner, 2>::full(SIZE, value, &device);
            grads.register(model.weight.id, grad);
        }
        if let (Some(value), Some(param)) = (bias, &model.bias) {
            grads.register(param.id, Tensor::<Inner, 1>::full([SIZE[1]], value, &device));
        }
        grads
    }

    #[test]
    fn gradients_are_added_up_over_ranks_and_pieces() {
        let results = on_ranks(3, |world| {
            let model = LinearConfig::new(SIZE[0], SIZE[1]).init::<B>(&Default::default());
            let rank = world.rank() as f32;
            // The last rank had no samples; nobody has a gradient of the bias.
            let own = grads(&model, (rank < 2.0).then_some(1.0 + rank), None);
            let loss = Tensor::from_data(TensorData::from([rank]), &Default::default());
            let (loss, sums) = world.sum::<B, _>(&model, loss, own).unwrap();
            let weight = sums.get::<Inner, 2>(model.weight.id).unwrap().into_data();
            let bias = sums.get::<Inner, 1>(model.bias.as_ref().unwrap().id);
            let loss = loss.into_data().iter::<f32>().next().unwrap();
            let costs = world.costs().unwrap();
            (weight, bias.is_none(), loss, (costs.updates, costs.bytes))
        });
        let numbers = 1 + (SIZE[0] * SIZE[1] + 1) + (SIZE[1] + 1);
        for (weight, without_bias, loss, costs) in results {
            assert!(weight.iter::<f32>().all(|value| value == 3.0));
            assert!(without_bias);
            assert_eq!((loss, costs), (3.0, (1, 4 * numbers as u64)));
        }
    }
}
