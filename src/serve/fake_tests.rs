//! A model without weights, which answers when it is let.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};

use crate::bert::HeadSettings;
use crate::glue::sample::Sample;
use crate::glue::tsv::Label;
use crate::infer::model::Model;
use crate::infer::predictions::Predictions;
use crate::infer::vectors::Pooling;

/// With this token in it a text has no answer.
pub const NAN: u32 = 7;
/// With this one the model panics.
pub const PANIC: u32 = 8;

/// Lets batches pass, one for each that is allowed.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<Passed>, Condvar)>);

#[derive(Debug, Default)]
struct Passed {
    allowed: usize,
    /// The lengths of the texts of each batch that came to the gate.
    batches: Vec<Vec<usize>>,
}

impl Gate {
    /// One that lets all pass.
    pub fn open() -> Self {
        let gate = Self::default();
        gate.allow(usize::MAX / 2);
        gate
    }

    pub fn allow(&self, batches: usize) {
        self.0.0.lock().unwrap().allowed += batches;
        self.0.1.notify_all();
    }

    /// Waits until so many batches have come.
    pub fn wait_for(&self, batches: usize) {
        let come = |passed: &mut Passed| passed.batches.len() < batches;
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), come).unwrap());
    }

    pub fn batches(&self) -> Vec<Vec<usize>> {
        self.0.0.lock().unwrap().batches.clone()
    }

    fn pass(&self, batch: Vec<usize>) {
        let mut passed = self.0.0.lock().unwrap();
        passed.batches.push(batch);
        self.0.1.notify_all();
        let mut passed = self.0.1.wait_while(passed, |passed| passed.allowed == 0).unwrap();
        passed.allowed -= 1;
    }
}

/// Of each text it answers the number of its tokens and zero.
#[derive(Debug)]
pub struct Fake {
    head: HeadSettings,
    pads: bool,
    gate: Gate,
}

impl Fake {
    pub fn new(gate: &Gate) -> Self {
        let head = HeadSettings::new(&["long", "zero"], 0.0);
        Self { head, pads: false, gate: gate.clone() }
    }
}

impl Model for Fake {
    fn head(&self) -> Option<&HeadSettings> {
        Some(&self.head)
    }

    fn pads(&self) -> bool {
        self.pads
    }

    fn predict(
        &self,
        sets: Vec<Vec<Sample>>,
        _batch_size: usize,
        _progress: &dyn Fn(usize, usize),
    ) -> Vec<(Predictions, f64)> {
        let samples = sets.concat();
        self.gate.pass(samples.iter().map(|sample| sample.token_id.len()).collect());
        assert!(!samples.iter().any(|sample| sample.token_id.contains(&PANIC)), "as asked for");
        let logits = samples.iter().flat_map(|sample| match sample.token_id.contains(&NAN) {
            true => [f32::NAN, 0.0],
            false => [sample.token_id.len() as f32, 0.0],
        });
        vec![(Predictions { logits: logits.collect(), ..Predictions::default() }, 0.0)]
    }

    fn vectors(
        &self,
        _samples: Vec<Sample>,
        _batch_size: usize,
        _pooling: Pooling,
        _progress: &dyn Fn(usize, usize),
    ) -> Vec<f32> {
        Vec::new()
    }
}

/// A text of so many tokens.
pub fn sample(tokens: usize) -> Sample {
    Sample {
        uid: String::new(),
        label: Label::Class(0),
        token_id: vec![5; tokens],
        type_id: vec![0; tokens],
        attention_mask: vec![1; tokens],
        softlabel: Vec::new(),
    }
}

/// The values of a text of metrics, by what stands before them.
pub fn values(metrics: &str) -> HashMap<String, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_string(), value.parse().unwrap())
    };
    lines.map(value).collect()
}
