//! What a checkpoint holds of the optimizer.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::ParamId;
use burn::optim::record::AdaptorRecord;
use burn::record::{PrecisionSettings, Record};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use hashbrown::HashMap;

/// The version of [`PlatonRecord`].
pub const RECORD_FORMAT: usize = 2;

/// The record of [`PlatonOptimizer`](super::PlatonOptimizer): format version, updates done, the
/// inner optimizer's records, the criterion's states and the zeros that stay, and the last
/// threshold's bits (0 for none yet, else one more).
pub type PlatonRecord<O, B> =
    (usize, usize, HashMap<ParamId, AdaptorRecord<O, B>>, HashMap<ParamId, StateRecord<B>>, usize);

/// What a record says of itself, and of how many parameters it holds what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub format: usize,
    /// Updates done.
    pub update: usize,
    /// Parameters with states of the criterion.
    pub scored: usize,
    /// Parameters with zeros that stay.
    pub zeros: usize,
}

impl Contents {
    /// Whether a run that expects `expected` can go on with this.
    pub fn fits(&self, expected: &Self) -> bool {
        // A parameter has none before it first gets a gradient: the head of a task that comes later.
        let has_some =
            |found: usize, expected: usize| found <= expected && (found > 0) == (expected > 0);
        (self.format, self.update) == (expected.format, expected.update)
            && has_some(self.scored, expected.scored)
            && has_some(self.zeros, expected.zeros)
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, update, scored, zeros } = self;
        write!(
            f,
            "format {format} of update {update} with {scored} scored parameters and the zeros of {zeros}"
        )
    }
}

/// What is kept of one parameter, by the criterion and as zeros: tensors by name, `[n]` each. One form for all criteria,
/// so that a checkpoint's form does not depend on which there are; in a file it is that of a struct
/// of these fields.
#[derive(Debug, Clone, Default)]
pub struct StateRecord<B: Backend>(BTreeMap<String, Tensor<B, 1>>);

impl<B: Backend> StateRecord<B> {
    /// Takes a tensor out, `[n]`.
    pub fn take(&mut self, name: &str) -> Option<Tensor<B, 1>> {
        self.0.remove(name)
    }

    /// Adds a tensor, `[n]`.
    pub(super) fn put(&mut self, name: &str, tensor: Tensor<B, 1>) {
        self.0.insert(name.to_string(), tensor);
    }

    /// Whether there is a tensor `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether there are tensors besides one called `name`.
    pub(super) fn has_more_than(&self, name: &str) -> bool {
        self.0.keys().any(|other| other != name)
    }

    /// The same of the backend with autodiff, for which burn writes records.
    pub(super) fn lifted<A: AutodiffBackend<InnerBackend = B>>(self) -> StateRecord<A> {
        let tensors = self.0.into_iter();
        StateRecord(tensors.map(|(name, t)| (name, Tensor::from_inner(t))).collect())
    }

    /// The reverse of [`lifted`](Self::lifted).
    pub(super) fn inner(self) -> StateRecord<B::InnerBackend>
    where
        B: AutodiffBackend,
    {
        StateRecord(self.0.into_iter().map(|(name, t)| (name, t.inner())).collect())
    }
}

impl<B: Backend, const N: usize> From<[(&str, Tensor<B, 1>); N]> for StateRecord<B> {
    fn from(tensors: [(&str, Tensor<B, 1>); N]) -> Self {
        Self(tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect())
    }
}

impl<B: Backend> Record<B> for StateRecord<B> {
    type Item<S: PrecisionSettings> = BTreeMap<String, <Tensor<B, 1> as Record<B>>::Item<S>>;

    fn into_item<S: PrecisionSettings>(self) -> Self::Item<S> {
        self.0.into_iter().map(|(name, tensor)| (name, tensor.into_item::<S>())).collect()
    }

    fn from_item<S: PrecisionSettings>(item: Self::Item<S>, device: &B::Device) -> Self {
        let tensors = item.into_iter();
        Self(tensors.map(|(name, item)| (name, Tensor::from_item::<S>(item, device))).collect())
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use burn::record::FullPrecisionSettings as Full;

    use super::*;

    type B = burn_ndarray::NdArray<f32>;

    /// As records were first written.
    #[derive(Record, Clone)]
    struct Fields<B: Backend> {
        window: Tensor<B, 1>,
        importance: Tensor<B, 1>,
    }

    #[test]
    fn a_file_holds_a_state_as_a_struct_of_its_tensors() {
        let device = Default::default();
        let [window, importance] = [1.0, 2.0].map(|v| Tensor::<B, 1>::from_floats([v], &device));
        let fields = Fields { window: window.clone(), importance: importance.clone() };
        let file = rmp_serde::to_vec_named(&fields.into_item::<Full>()).unwrap();
        let item = rmp_serde::from_slice(&file).unwrap();
        let mut state = StateRecord::<B>::from_item::<Full>(item, &device);
        assert_eq!(state.take("window").unwrap().into_data(), window.to_data());
        assert_eq!(state.take("importance").unwrap().into_data(), importance.to_data());
        assert!(state.take("window").is_none() && state.0.is_empty());

        let state = StateRecord::from([("window", window.clone()), ("importance", importance)]);
        let file = rmp_serde::to_vec_named(&state.into_item::<Full>()).unwrap();
        let item = rmp_serde::from_slice(&file).unwrap();
        let fields = Fields::<B>::from_item::<Full>(item, &device);
        assert_eq!(fields.window.into_data(), window.into_data());
    }
}
