//! Memory that is written before it is read, without being cleared first.

use std::mem::MaybeUninit;

/// Room for values that a kernel computes.
pub struct Fresh(Vec<f32>);

impl Fresh {
    /// Room for `n` values.
    pub fn new(n: usize) -> Self {
        Self(Vec::with_capacity(n))
    }

    /// The room, to be written in full; exactly the `n` of [`new`](Self::new).
    pub fn room(&mut self, n: usize) -> &mut [MaybeUninit<f32>] {
        let room = self.0.spare_capacity_mut();
        let n = n.min(room.len());
        &mut room[..n]
    }

    /// The values.
    ///
    /// # Safety
    /// The first `n` places of the room have been written.
    pub unsafe fn filled(mut self, n: usize) -> Vec<f32> {
        debug_assert!(n <= self.0.capacity());
        // SAFETY: the caller has written them; they lie within the capacity.
        unsafe { self.0.set_len(n) };
        self.0
    }
}

/// The values written to `room`.
///
/// # Safety
/// All of it has been written.
pub unsafe fn written(room: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    // SAFETY: the caller has written it; MaybeUninit<f32> has the layout of f32.
    unsafe { &mut *(std::ptr::from_mut(room) as *mut [f32]) }
}

/// Fills `room` with zeros.
pub fn clear(room: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    for place in room.iter_mut() {
        place.write(0.0);
    }
    // SAFETY: written just now.
    unsafe { written(room) }
}
