//! Gradients added up over all ranks, in a few large pieces.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

use super::link::{Link, Lost, Pending};
use super::word::{At, Word};
use super::{Shared, World};
use crate::error::Result;

/// Numbers that travel together, 16 MiB: enough for the network's full speed, and few enough that
/// the first are on their way while the others are still fetched from the device.
const PIECE: usize = 4 << 20;

/// The value of a loss, on its device.
type Loss<B> = Tensor<<B as AutodiffBackend>::InnerBackend, 1>;

impl World {
    /// The sums over all ranks of `loss`, `[1]`, and of the gradients of `model`, the same bits on
    /// each. A rank without samples in an update has no gradients, which counts as zeros.
    ///
    /// # Errors
    /// A rank has failed or is lost.
    pub fn sum<B: AutodiffBackend, M: AutodiffModule<B>>(
        &self,
        model: &M,
        loss: Loss<B>,
        grads: GradientsParams,
    ) -> Result<(Loss<B>, GradientsParams)> {
        let Some(shared) = &self.0 else { return Ok((loss, grads)) };
        self.meet(Word::at(At::Gradients))?;
        let begun = Instant::now();
        let patience = shared.lock().patience;
        let added = shared.add_up::<B, M>(model, loss, grads, patience);
        let (sums, bytes) = added.map_err(|lost| self.lost(self.roll_call(lost), patience))?;
        let mut state = shared.lock();
        state.costs.summing += begun.elapsed().as_secs_f64();
        state.costs.bytes += bytes;
        state.costs.updates += 1;
        Ok(sums)
    }
}

impl Shared {
    /// The sums, and the bytes that went out for them.
    #[allow(clippy::type_complexity)]
    fn add_up<B: AutodiffBackend, M: AutodiffModule<B>>(
        &self,
        model: &M,
        loss: Loss<B>,
        grads: GradientsParams,
        patience: Duration,
    ) -> Result<((Loss<B>, GradientsParams), u64), Lost> {
        let device = loss.device();
        let mut out = Outgoing { link: &*self.link, sums: Sums::default(), error: None };
        out.push(&loss.into_data());
        model.visit(&mut HandIn { out: &mut out, grads });
        let (mut sums, bytes) = out.finish(Instant::now() + patience)?;
        let loss = Tensor::from_data(TensorData::new(sums.take(1), [1]), &device);
        let mut taken = TakeOut { sums: &mut sums, device: &device, grads: GradientsParams::new() };
        model.visit(&mut taken);
        Ok(((loss, taken.grads), bytes))
    }
}

/// Numbers on their way to all ranks.
struct Outgoing<'a> {
    link: &'a dyn Link,
    sums: Sums,
    error: Option<Lost>,
}

/// Numbers handed in, on their way, and come back, in their order.
#[derive(Default)]
struct Sums {
    filling: Vec<f32>,
    under_way: VecDeque<Box<dyn Pending>>,
    done: VecDeque<Vec<f32>>,
    /// Numbers taken out of the first that is done.
    taken: usize,
    bytes: u64,
}

impl Outgoing<'_> {
    /// Hands in the numbers of a tensor.
    fn push(&mut self, data: &TensorData) {
        match data.as_slice::<f32>() {
            Ok(values) => self.extend(values),
            // A gradient of another type, as of a backend with half precision all through.
            Err(_) => self.extend(&data.iter::<f32>().collect::<Vec<_>>()),
        }
    }

    fn extend(&mut self, mut values: &[f32]) {
        while !values.is_empty() {
            let room = PIECE - self.sums.filling.len();
            let (now, later) = values.split_at(room.min(values.len()));
            self.sums.filling.extend_from_slice(now);
            values = later;
            if self.sums.filling.len() == PIECE {
                self.send();
            }
        }
    }

    /// Sends what has been handed in, and moves on what is under way.
    fn send(&mut self) {
        let values = std::mem::take(&mut self.sums.filling);
        self.sums.bytes += 4 * values.len() as u64;
        match self.link.begin_sum(values) {
            Ok(pending) => self.sums.under_way.push_back(pending),
            Err(lost) => self.error = self.error.take().or(Some(lost)),
        }
        if let Err(lost) = self.sums.poll() {
            self.error = self.error.take().or(Some(lost));
        }
    }

    /// All sums, once they are there.
    fn finish(mut self, deadline: Instant) -> Result<(Sums, u64), Lost> {
        if !self.sums.filling.is_empty() {
            self.send();
        }
        loop {
            if let Some(lost) = self.error {
                return Err(lost);
            }
            self.sums.poll()?;
            if self.sums.under_way.is_empty() {
                let bytes = self.sums.bytes;
                return Ok((self.sums, bytes));
            }
            if Instant::now() > deadline {
                let others = (0..self.link.size()).filter(|rank| *rank != self.link.rank());
                return Err(Lost::Silent(others.collect()));
            }
            // The data moves only while it is asked for.
            std::thread::yield_now();
        }
    }
}

impl Sums {
    fn poll(&mut self) -> Result<(), Lost> {
        for pending in &mut self.under_way {
            pending.poll()?;
        }
        while let Some(first) = self.under_way.front_mut() {
            if !first.poll()? {
                break;
            }
            self.done.extend(self.under_way.pop_front().map(Pending::take));
        }
        Ok(())
    }

    /// The next `n` numbers.
    fn take(&mut self, n: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(n);
        while let (Some(first), true) = (self.done.front(), values.len() < n) {
            let rest = first.get(self.taken..).unwrap_or_default();
            let now = rest.get(..n - values.len()).unwrap_or(rest);
            values.extend_from_slice(now);
            self.taken += now.len();
            if self.taken == first.len() {
                self.done.pop_front();
                self.taken = 0;
            }
        }
        values
    }
}

/// Hands in each parameter's gradient, and whether there is one.
struct HandIn<'a, 'b> {
    out: &'a mut Outgoing<'b>,
    grads: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for HandIn<'_, '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        match self.grads.remove::<B::InnerBackend, D>(param.id) {
            Some(grad) => {
                self.out.push(&grad.into_data());
                self.out.extend(&[1.0]);
            }
            None => {
                let n = param.shape().num_elements();
                self.out.extend(&vec![0.0; n + 1]);
            }
        }
    }
}

/// Makes gradients of the sums again.
struct TakeOut<'a, B: Backend> {
    sums: &'a mut Sums,
    device: &'a B::Device,
    grads: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for TakeOut<'_, B::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.shape();
        let values = self.sums.take(shape.num_elements());
        let ranks = self.sums.take(1);
        if ranks.first().is_some_and(|ranks| *ranks > 0.0) {
            let data = TensorData::new(values, shape);
            let grad = Tensor::<B::InnerBackend, D>::from_data(data, self.device);
            self.grads.register(param.id, grad);
        }
    }
}
