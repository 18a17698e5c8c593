//! The criteria to choose from. A new one has three lines here: in [`Pruner`], in
//! [`CriterionConfig::init`] and in the list of the macro `criteria`.

use burn::optim::LearningRate;
use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};

use super::magnitude::Magnitude;
use super::platon::{Platon, Smoothing};
use super::{Criterion, Parameter};
use crate::kernels::{InnerOptimizer, Scores, Stepped, UpdateKernels};
use crate::pruning::record::StateRecord;

/// The criteria by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruner {
    /// Importance times uncertainty.
    Platon,
    /// The weight's absolute value after the step.
    Magnitude,
    /// Nothing is pruned.
    None,
}

impl Pruner {
    /// Whether anything is pruned.
    pub fn prunes(self) -> bool {
        self != Self::None
    }

    /// The name, as in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platon => "platon",
            Self::Magnitude => "magnitude",
            Self::None => "none",
        }
    }

    /// The remaining ratio that a run ends with where `asked` is asked for.
    pub fn final_ratio(self, asked: f64) -> f64 {
        if self.prunes() { asked } else { 1.0 }
    }
}

/// Configuration of [`AnyCriterion`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CriterionConfig {
    /// Which one.
    pub pruner: Pruner,
    /// Smoothing of PLATON's scores.
    pub smoothing: Smoothing,
    /// Length of the window over which PLATON averages, in updates.
    pub window: usize,
}

impl CriterionConfig {
    /// The criterion; `None` where nothing is pruned.
    pub fn init(&self) -> Option<AnyCriterion> {
        let Self { pruner, smoothing, window } = *self;
        match pruner {
            Pruner::Platon => Some(AnyCriterion::Platon(Platon::new(smoothing, window))),
            Pruner::Magnitude => Some(AnyCriterion::Magnitude(Magnitude)),
            Pruner::None => None,
        }
    }
}

/// Makes the enum of the criteria, that of their states, and the choice between them.
macro_rules! criteria {
    ($($name:ident),* $(,)?) => {
        /// One of the criteria, chosen at run time so that the training is compiled once.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum AnyCriterion {
            $(
                #[doc = concat!("See [`Pruner::", stringify!($name), "`].")]
                $name($name),
            )*
        }

        /// The state of [`AnyCriterion`] for one parameter.
        #[derive(Clone)]
        pub enum AnyCriterionState<B: UpdateKernels> {
            $(
                #[doc = concat!("See [`Pruner::", stringify!($name), "`].")]
                $name(<$name as Criterion<B>>::State),
            )*
        }

        /// A state of another criterion is as good as none.
        impl<B: UpdateKernels> Criterion<B> for AnyCriterion {
            type State = AnyCriterionState<B>;

            fn observes(&self) -> bool {
                match self {
                    $(Self::$name(criterion) => Criterion::<B>::observes(criterion),)*
                }
            }

            fn init(&self, n: usize, device: &B::Device) -> Self::State {
                match self {
                    $(Self::$name(criterion) => {
                        Self::State::$name(Criterion::<B>::init(criterion, n, device))
                    })*
                }
            }

            fn to_device(state: Self::State, device: &B::Device) -> Self::State {
                match state {
                    $(Self::State::$name(state) => {
                        Self::State::$name(<$name as Criterion<B>>::to_device(state, device))
                    })*
                }
            }

            fn to_record(state: &Self::State) -> StateRecord<B> {
                match state {
                    $(Self::State::$name(state) => <$name as Criterion<B>>::to_record(state),)*
                }
            }

            fn restore(&self, record: StateRecord<B>) -> Option<Self::State> {
                match self {
                    $(Self::$name(criterion) => {
                        criterion.restore(record).map(Self::State::$name)
                    })*
                }
            }

            fn observe(
                &self,
                step: usize,
                state: Self::State,
                weight: Tensor<B, 1>,
                grad: Tensor<B, 1>,
            ) -> Self::State {
                match (self, state) {
                    $((Self::$name(criterion), Self::State::$name(state)) => {
                        Self::State::$name(criterion.observe(step, state, weight, grad))
                    })*
                    (_, state) => state,
                }
            }

            fn generation(&self, step: usize) -> usize {
                match self {
                    $(Self::$name(criterion) => Criterion::<B>::generation(criterion, step),)*
                }
            }

            fn scores(
                &self,
                state: Option<&Self::State>,
                weight: Tensor<B, 1>,
            ) -> Option<Scores<B>> {
                match self {
                    $(Self::$name(criterion) => {
                        let state = match state {
                            Some(Self::State::$name(state)) => Some(state),
                            _ => None,
                        };
                        criterion.scores(state, weight)
                    })*
                }
            }

            fn apply<const D: usize>(
                &self,
                weight: Tensor<B, D>,
                mask: Tensor<B, 1, Bool>,
            ) -> Tensor<B, D> {
                match self {
                    $(Self::$name(criterion) => criterion.apply(weight, mask),)*
                }
            }

            fn update<O: InnerOptimizer<B>, const D: usize>(
                &self,
                inner: &O,
                time: (usize, LearningRate),
                parameter: Parameter<B, O::State<D>, D>,
                state: Option<Self::State>,
                mask: Option<Tensor<B, 1, Bool>>,
            ) -> Stepped<B, O::State<D>, Self::State, D> {
                match self {
                    $(Self::$name(criterion) => {
                        let own = match state {
                            Some(Self::State::$name(state)) => Some(state),
                            _ => None,
                        };
                        let Stepped { weight, state, observed, pruning } =
                            criterion.update(inner, time, parameter, own, mask);
                        let observed = observed.map(Self::State::$name);
                        Stepped { weight, state, observed, pruning }
                    })*
                }
            }
        }
    };
}

criteria!(Platon, Magnitude);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_settings() {
        for pruner in [Pruner::Platon, Pruner::Magnitude, Pruner::None] {
            let parsed: Pruner = serde_json::from_value(pruner.name().into()).unwrap();
            assert_eq!(parsed, pruner);
        }
    }

    #[test]
    fn nothing_is_pruned_without_a_criterion() {
        for pruner in [Pruner::Platon, Pruner::Magnitude, Pruner::None] {
            let smoothing = Smoothing { beta1: 0.85, beta2: 0.95 };
            let criterion = CriterionConfig { pruner, smoothing, window: 10 }.init();
            assert_eq!(criterion.is_some(), pruner.prunes());
        }
        assert_eq!(Pruner::Platon.final_ratio(0.2), 0.2);
        assert_eq!(Pruner::None.final_ratio(0.2), 1.0);
    }
}
