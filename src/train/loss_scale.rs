//! Dynamic loss scaling for products in half precision (Micikevicius et al., "Mixed Precision
//! Training", ICLR 2018): gradients too small for 16 bits are lifted, and lowered again afterwards.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::run::record::LossScaleRecord;

/// Updates without an overflow after which the factor doubles.
const PATIENCE: usize = 2000;
const FIRST: f64 = 65_536.0;
const LARGEST: f64 = 16_777_216.0;

const BEGINNING: LossScaleRecord = LossScaleRecord { factor: FIRST, updates: 0 };

/// What losses are multiplied by before their gradients are computed.
#[derive(Debug, Clone)]
pub struct LossScale(Arc<Mutex<LossScaleRecord>>);

impl Default for LossScale {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(BEGINNING)))
    }
}

impl LossScale {
    /// Goes on from a checkpoint's state.
    pub fn resume(&self, state: LossScaleRecord) {
        // A file may say anything.
        let factor =
            if state.factor.is_finite() { state.factor.clamp(1.0, LARGEST) } else { FIRST };
        *self.lock() = LossScaleRecord { factor, updates: state.updates.min(PATIENCE) };
    }

    /// For a checkpoint.
    pub fn state(&self) -> LossScaleRecord {
        *self.lock()
    }

    /// The factor for the next try.
    pub fn factor(&self) -> f64 {
        self.lock().factor
    }

    /// An update's gradients were finite.
    pub fn held(&self) {
        let mut state = self.lock();
        state.updates += 1;
        if state.updates >= PATIENCE {
            *state = LossScaleRecord { factor: (state.factor * 2.0).min(LARGEST), updates: 0 };
        }
    }

    /// They were not. Whether a smaller factor is left to try.
    pub fn overflowed(&self) -> bool {
        let mut state = self.lock();
        let smaller = state.factor > 1.0;
        *state = LossScaleRecord { factor: (state.factor / 2.0).max(1.0), updates: 0 };
        smaller
    }

    fn lock(&self) -> MutexGuard<'_, LossScaleRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_halves_at_once_and_doubles_after_a_while() {
        let scale = LossScale::default();
        assert!(scale.overflowed());
        assert_eq!(scale.factor(), 32_768.0);
        (0..1999).for_each(|_| scale.held());
        assert_eq!(scale.factor(), 32_768.0);
        scale.held();
        assert_eq!(scale.factor(), 65_536.0);
        (0..20 * PATIENCE).for_each(|_| scale.held());
        assert_eq!(scale.factor(), LARGEST);
    }

    #[test]
    fn below_one_there_is_nothing_left_to_try() {
        let scale = LossScale::default();
        assert_eq!((0..100).filter(|_| scale.overflowed()).count(), 16);
        assert_eq!(scale.factor(), 1.0);
    }

    #[test]
    fn a_state_goes_on_as_it_was_and_nonsense_is_bounded() {
        let (scale, other) = (LossScale::default(), LossScale::default());
        scale.overflowed();
        scale.held();
        other.resume(scale.state());
        assert_eq!(other.state(), scale.state());
        for (factor, expected) in [(-3.0, 1.0), (1e300, LARGEST), (f64::NAN, FIRST)] {
            other.resume(LossScaleRecord { factor, updates: usize::MAX });
            assert_eq!(other.factor(), expected);
            other.held();
        }
    }
}
