//! Chooses by measurement how a matrix is packed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::packing::{Packed, Packing};
use super::rows::Rows;
use super::vector::{Instructions, VECTORS};

/// Inputs of one block of a sparse product, as they are tried.
const BLOCKS: [usize; 3] = [128, 256, 512];

/// Above this density a sparse product is not tried: it takes about one load for each vector of
/// each weight, where a dense one takes a sixth.
const SPARSE_BELOW: f64 = 0.6;

/// The block that is taken where another is not clearly faster, so that most loads pack alike.
const USUAL: Packing = Packing::Sparse { block: 256 };

/// How much of the usual block's time another way may take to be clearly faster.
const CLEARLY: f64 = 0.9;

/// Measurements of one way of packing; the fastest counts, since whatever disturbs one only slows it.
const ROUNDS: usize = 3;

/// What has been measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The way of packing.
    pub packing: Packing,
    /// The time of one product with one full panel.
    pub time: Duration,
}

/// Packs matrices so that products are fast on this machine.
#[derive(Debug)]
pub struct Chooser {
    instructions: Instructions,
    /// What was found best for a shape and about a density.
    known: HashMap<Kind, Packing>,
}

/// Matrices that are packed alike: their shape, and the density in steps of a quarter.
type Kind = (usize, usize, i32);

impl Chooser {
    /// For products with these instructions.
    pub fn new(instructions: Instructions) -> Self {
        Self { instructions, known: HashMap::new() }
    }

    /// Packs `weight` with its `bias` in the way that was fastest for the first matrix of its shape
    /// and about its density.
    pub fn pack(&mut self, weight: &Rows, bias: Vec<f32>) -> Packed {
        let instructions = self.instructions;
        let known = self.known.entry(kind(weight));
        let packing = *known.or_insert_with(|| best(&measure(weight, instructions)));
        Packed::new(weight, bias, packing)
    }
}

/// The fastest way, or the usual one where that is about as fast.
fn best(measured: &[Measured]) -> Packing {
    let Some(fastest) = measured.iter().min_by_key(|measured| measured.time) else {
        return Packing::Dense;
    };
    let usual = measured.iter().find(|measured| measured.packing == USUAL);
    match usual {
        Some(usual) if fastest.time.as_secs_f64() > CLEARLY * usual.time.as_secs_f64() => USUAL,
        _ => fastest.packing,
    }
}

fn kind(weight: &Rows) -> Kind {
    let steps = (weight.density().max(1e-6).log2() * 4.0).round() as i32;
    // A few rows or columns make no difference.
    let about = |n: usize| n.next_multiple_of(64);
    (about(weight.height()), about(weight.width()), steps)
}

/// Times every way of packing `weight` that may be the fastest.
pub fn measure(weight: &Rows, instructions: Instructions) -> Vec<Measured> {
    let mut ways = vec![Packing::Dense];
    if weight.density() < SPARSE_BELOW {
        let width = weight.width();
        // A block that holds all inputs is like any larger one.
        let blocks = BLOCKS.iter().enumerate().filter(|(n, _)| *n == 0 || BLOCKS[n - 1] < width);
        ways.extend(blocks.map(|(_, block)| Packing::Sparse { block: *block }));
    }
    ways.into_iter()
        .map(|packing| Measured { packing, time: time(weight, packing, instructions) })
        .collect()
}

fn time(weight: &Rows, packing: Packing, instructions: Instructions) -> Duration {
    let packed = Packed::new(weight, vec![0.0; weight.height()], packing);
    let width = VECTORS * instructions.lanes();
    let x = vec![1.0; weight.width() * width];
    let mut y = vec![0.0; weight.height() * width];
    // The first brings everything into the caches.
    let times = (0..=ROUNDS).map(|_| {
        let started = Instant::now();
        packed.multiply(instructions, 0..packed.outputs(), &x, width, &mut y, false);
        std::hint::black_box(&mut y);
        started.elapsed()
    });
    times.skip(1).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_block_is_taken_unless_another_way_is_clearly_faster() {
        let measured = |packing, micros| Measured { packing, time: Duration::from_micros(micros) };
        let large = Packing::Sparse { block: 512 };
        let of = |large_micros, dense_micros| {
            let dense = measured(Packing::Dense, dense_micros);
            best(&[dense, measured(USUAL, 100), measured(large, large_micros)])
        };
        assert_eq!((of(95, 500), of(85, 500), of(95, 50)), (USUAL, large, Packing::Dense));
        assert_eq!(
            (of(120, 95), best(&[measured(large, 9)]), best(&[])),
            (USUAL, large, Packing::Dense)
        );
    }

    #[test]
    fn the_fastest_is_taken_and_known_from_then_on() {
        let instructions = Instructions::widest();
        let mut chooser = Chooser::new(instructions);
        let weight = |keep: usize| {
            let values = (0..512 * 512).map(|n| if n % keep == 0 { 0.5 } else { 0.0 });
            Rows::new([512, 512], values.enumerate())
        };
        // One in 61 left: no machine is as fast at the other sixty.
        let sparse = chooser.pack(&weight(61), vec![0.0; 512]);
        assert!(matches!(sparse.packing(), Packing::Sparse { .. }));
        let dense = chooser.pack(&weight(1), vec![0.0; 512]);
        assert_eq!(dense.packing(), Packing::Dense);
        assert_eq!(chooser.known.len(), 2);
        let again = chooser.pack(&weight(61), vec![0.0; 512]);
        assert_eq!((again.packing(), chooser.known.len()), (sparse.packing(), 2));
    }
}
