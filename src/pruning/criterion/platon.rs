//! PLATON: importance times uncertainty (equations 4 to 9).

use burn::optim::LearningRate;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Tensor};

use super::{Criterion, Parameter};
use crate::kernels::{
    Averages, Fusion, InnerOptimizer, Observation, Scores, Stepped, UpdateKernels,
};
use crate::pruning::record::StateRecord;

/// Smoothing constants of the scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Of the importance, in [0, 1).
    pub beta1: f64,
    /// Of the uncertainty, in [0, 1).
    pub beta2: f64,
}

/// Scores a weight by the importance I of its sensitivity |w g|, averaged over windows of updates
/// and smoothed, times the uncertainty U, how far windows depart from I.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Platon {
    smoothing: Smoothing,
    window: usize,
}

/// The state of one parameter of n weights.
#[derive(Debug, Clone)]
pub struct PlatonState<B: Backend>(Averages<B>);

// What a state's tensors are called in checkpoints.
const WINDOW: &str = "window";
const IMPORTANCE: &str = "importance";
const UNCERTAINTY: &str = "uncertainty";

impl Platon {
    /// Averages over windows of `window` updates, at least one.
    pub fn new(smoothing: Smoothing, window: usize) -> Self {
        Self { smoothing, window: window.max(1) }
    }

    /// The update, from 1, after which there are scores, for windows of `window` updates: the first
    /// window's end, but that the first update of all has nothing to look back on.
    pub fn first_scores(window: usize) -> usize {
        window.max(2)
    }

    fn observation(&self, step: usize) -> Observation {
        let Smoothing { beta1, beta2 } = self.smoothing;
        Observation { position: step % self.window, beta1, beta2 }
    }
}

impl<B: UpdateKernels> Criterion<B> for Platon {
    type State = PlatonState<B>;

    fn observes(&self) -> bool {
        true
    }

    fn init(&self, n: usize, device: &B::Device) -> PlatonState<B> {
        let zeros = || Tensor::zeros([n], device);
        PlatonState(Averages { window: zeros(), importance: zeros(), uncertainty: zeros() })
    }

    fn to_device(PlatonState(averages): PlatonState<B>, device: &B::Device) -> PlatonState<B> {
        let Averages { window, importance, uncertainty } = averages;
        let [window, importance, uncertainty] =
            [window, importance, uncertainty].map(|t| t.to_device(device));
        PlatonState(Averages { window, importance, uncertainty })
    }

    fn to_record(PlatonState(averages): &PlatonState<B>) -> StateRecord<B> {
        let Averages { window, importance, uncertainty } = averages.clone();
        [(WINDOW, window), (IMPORTANCE, importance), (UNCERTAINTY, uncertainty)].into()
    }

    fn restore(&self, mut record: StateRecord<B>) -> Option<PlatonState<B>> {
        Some(PlatonState(Averages {
            window: record.take(WINDOW)?,
            importance: record.take(IMPORTANCE)?,
            uncertainty: record.take(UNCERTAINTY)?,
        }))
    }

    fn observe(
        &self,
        step: usize,
        PlatonState(averages): PlatonState<B>,
        weight: Tensor<B, 1>,
        grad: Tensor<B, 1>,
    ) -> PlatonState<B> {
        PlatonState(B::observe(averages, weight, grad, self.observation(step)))
    }

    /// Importance and uncertainty change where windows end.
    fn generation(&self, step: usize) -> usize {
        step / self.window
    }

    /// S = I * U.
    fn scores(&self, state: Option<&PlatonState<B>>, _weight: Tensor<B, 1>) -> Option<Scores<B>> {
        let PlatonState(averages) = state?;
        Some(Scores::Product(averages.importance.clone(), averages.uncertainty.clone()))
    }

    /// All in the inner optimizer's pass over memory.
    fn update<O: InnerOptimizer<B>, const D: usize>(
        &self,
        inner: &O,
        (step, lr): (usize, LearningRate),
        parameter: Parameter<B, O::State<D>, D>,
        state: Option<PlatonState<B>>,
        mask: Option<Tensor<B, 1, Bool>>,
    ) -> Stepped<B, O::State<D>, PlatonState<B>, D> {
        let Parameter { weight, grad, grad_scale, state: inner_state } = parameter;
        let averages = state.map(|PlatonState(averages)| (averages, self.observation(step)));
        let fusion = Fusion { grad_scale, averages, mask };
        let Stepped { weight, state, observed, pruning } =
            inner.step_with(lr, weight, grad, inner_state, fusion);
        Stepped { weight, state, observed: observed.map(PlatonState), pruning }
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use super::*;
    use burn::tensor::{TensorData, Tolerance};

    type B = burn_ndarray::NdArray<f32>;

    #[test]
    fn a_window_is_averaged_and_then_smoothed_as_computed_by_hand() {
        // Sensitivities 2, 4 within a window: mean 3. At its end with b1 = 0.5, b2 = 0.25:
        // I = 1.5, U = 0.75 * |3 - 1.5| = 1.125, S = 1.6875, window = the new sensitivity 7.
        let device = Default::default();
        let platon = Platon::new(Smoothing { beta1: 0.5, beta2: 0.25 }, 2);
        let mut state: PlatonState<B> = platon.init(1, &device);
        for (step, weight, grad) in [(2, 2.0, -1.0), (3, -2.0, 2.0), (4, 1.0, 7.0)] {
            let (weight, grad) =
                (Tensor::from_floats([weight], &device), Tensor::from_floats([grad], &device));
            state = platon.observe(step, state, weight, grad);
        }
        let tolerance = Tolerance::absolute(1e-6);
        let scores = platon.scores(Some(&state), Tensor::zeros([1], &device)).unwrap().values();
        scores.to_data().assert_approx_eq::<f32>(&TensorData::from([1.6875f32]), tolerance);
        let PlatonState(Averages { window, .. }) = state;
        window.to_data().assert_approx_eq::<f32>(&TensorData::from([7.0f32]), tolerance);
    }

    #[test]
    fn scores_begin_where_the_first_window_ends() {
        let device = Default::default();
        for window in [1, 2, 3, 10] {
            let platon = Platon::new(Smoothing { beta1: 0.5, beta2: 0.25 }, window);
            let mut state: PlatonState<B> = platon.init(1, &device);
            let mut update = 0;
            let scored = |state: &PlatonState<B>| {
                let scores = platon.scores(Some(state), Tensor::zeros([1], &device));
                scores.unwrap().values().into_scalar() > 0.0
            };
            while !scored(&state) {
                update += 1;
                let one = || Tensor::from_floats([1.0], &device);
                state = platon.observe(update, state, one(), one());
            }
            assert_eq!(update, Platon::first_scores(window));
        }
    }

    #[test]
    fn scores_change_where_windows_end() {
        let platon = Platon::new(Smoothing { beta1: 0.5, beta2: 0.25 }, 10);
        let generation = |step| Criterion::<B>::generation(&platon, step);
        assert_eq!(generation(10), generation(19));
        assert_ne!(generation(9), generation(10));
    }
}
