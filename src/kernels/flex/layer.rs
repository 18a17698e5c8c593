//! Fused operations inside the model.

use burn::tensor::Tensor;
use burn_flex::Flex;
use rayon::prelude::*;

use super::math::{exp, normal_cdf, random_bits};
use super::{CHUNK, new, read, take};
use crate::kernels::layer::{LayerKernels, NormGradients, NormOutput, SeededDropout};

/// Rows per unit of parallel work in row-wise operations; fixed, so that sums over rows come out
/// the same for every number of threads.
const ROWS: usize = 16;

type Matrix = Tensor<Flex, 2>;
type Vector = Tensor<Flex, 1>;

/// Dropout as a function of the element's place.
#[derive(Clone, Copy)]
struct Drop {
    seed: u64,
    /// Random bits below this mean zero.
    limit: u32,
    scale: f32,
}

impl Drop {
    fn new(dropout: Option<SeededDropout>) -> Self {
        let (rate, seed) = dropout.map_or((0.0, 0), |d| (d.rate, d.seed));
        let limit = (rate * 2f64.powi(32)) as u32;
        Self { seed, limit, scale: (1.0 / (1.0 - rate)) as f32 }
    }

    /// What the element at `index` is multiplied by.
    #[inline(always)]
    fn factor(self, index: u32) -> f32 {
        if random_bits(self.seed, index) < self.limit { 0.0 } else { self.scale }
    }
}

impl LayerKernels for Flex {
    fn gelu_forward(x: Matrix) -> Matrix {
        let shape = x.dims();
        let x = take(x);
        let mut output = vec![0.0f32; read(&x).len()];
        output.par_chunks_mut(CHUNK).zip(read(&x).par_chunks(CHUNK)).for_each(|(output, x)| {
            for (y, x) in output.iter_mut().zip(x) {
                *y = *x * normal_cdf(*x);
            }
        });
        new(output, shape)
    }

    fn gelu_with_slope(x: Matrix) -> [Matrix; 2] {
        /// 1 / sqrt(2 pi)
        const DENSITY: f32 = 0.398_942_3;
        let shape = x.dims();
        let x = take(x);
        let n = read(&x).len();
        let (mut output, mut slope) = (vec![0.0f32; n], vec![0.0f32; n]);
        (output.par_chunks_mut(CHUNK), slope.par_chunks_mut(CHUNK), read(&x).par_chunks(CHUNK))
            .into_par_iter()
            .for_each(|(output, slope, x)| {
                for ((y, d), x) in output.iter_mut().zip(slope).zip(x) {
                    let phi = normal_cdf(*x);
                    *y = *x * phi;
                    *d = phi + *x * exp(-0.5 * *x * *x) * DENSITY;
                }
            });
        [new(output, shape), new(slope, shape)]
    }

    fn add_norm_forward(
        x: Matrix,
        residual: Matrix,
        gamma: Vector,
        beta: Vector,
        epsilon: f64,
        dropout: Option<SeededDropout>,
    ) -> NormOutput<Flex> {
        let [rows, width] = x.dims();
        let (x, residual, gamma, beta) = (take(x), take(residual), take(gamma), take(beta));
        let (gamma, beta) = (read(&gamma), read(&beta));
        let drop = Drop::new(dropout);
        let mut output = vec![0.0f32; rows * width];
        let mut normalized = vec![0.0f32; rows * width];
        let mut deviation = vec![0.0f32; rows];
        let block = ROWS * width;
        (
            output.par_chunks_mut(block),
            normalized.par_chunks_mut(block),
            deviation.par_chunks_mut(ROWS),
            read(&x).par_chunks(block),
            read(&residual).par_chunks(block),
        )
            .into_par_iter()
            .enumerate()
            .for_each(|(n, (output, normalized, deviation, x, residual))| {
                let lines = output.chunks_mut(width).zip(normalized.chunks_mut(width));
                let inputs = x.chunks(width).zip(residual.chunks(width));
                let mut index = (n * block) as u32;
                for (((output, sum), (x, residual)), deviation) in lines.zip(inputs).zip(deviation)
                {
                    for ((s, (x, r)), i) in sum.iter_mut().zip(x.iter().zip(residual)).zip(index..)
                    {
                        *s = *x * drop.factor(i) + *r;
                    }
                    index += width as u32;
                    let mean = total(sum, |v| v) / width as f32;
                    let variance = total(sum, |v| (v - mean) * (v - mean)) / width as f32;
                    let inverse = 1.0 / (variance + epsilon as f32).sqrt();
                    *deviation = inverse;
                    let scale = gamma.iter().zip(beta);
                    for ((y, v), (g, b)) in output.iter_mut().zip(sum).zip(scale) {
                        *v = (*v - mean) * inverse;
                        *y = *v * *g + *b;
                    }
                }
            });
        NormOutput {
            output: new(output, [rows, width]),
            normalized: new(normalized, [rows, width]),
            inverse_deviation: new(deviation, [rows, 1]),
        }
    }

    fn add_norm_backward(
        normalized: Matrix,
        inverse_deviation: Matrix,
        gamma: Vector,
        grad: Matrix,
        dropout: Option<SeededDropout>,
    ) -> NormGradients<Flex> {
        let [rows, width] = grad.dims();
        let (normalized, deviation) = (take(normalized), take(inverse_deviation));
        let (gamma, grad) = (take(gamma), take(grad));
        let gamma = read(&gamma);
        let drop = Drop::new(dropout);
        let mut d_x = vec![0.0f32; rows * width];
        let mut d_residual = vec![0.0f32; rows * width];
        let block = ROWS * width;
        let partial: Vec<(Vec<f32>, Vec<f32>)> = (
            d_x.par_chunks_mut(block),
            d_residual.par_chunks_mut(block),
            read(&normalized).par_chunks(block),
            read(&grad).par_chunks(block),
            read(&deviation).par_chunks(ROWS),
        )
            .into_par_iter()
            .enumerate()
            .map(|(n, (d_x, d_residual, normalized, grad, deviation))| {
                let (mut d_gamma, mut d_beta) = (vec![0.0f32; width], vec![0.0f32; width]);
                let lines = d_x.chunks_mut(width).zip(d_residual.chunks_mut(width));
                let inputs = normalized.chunks(width).zip(grad.chunks(width));
                let mut index = (n * block) as u32;
                for (((d_x, d_residual), (normalized, grad)), inverse) in
                    lines.zip(inputs).zip(deviation)
                {
                    let sums = d_gamma.iter_mut().zip(d_beta.iter_mut());
                    for ((g_sum, b_sum), (v, g)) in sums.zip(normalized.iter().zip(grad)) {
                        *g_sum += *g * *v;
                        *b_sum += *g;
                    }
                    for ((d, g), gamma) in d_residual.iter_mut().zip(grad).zip(gamma) {
                        *d = *g * *gamma;
                    }
                    let mean = total(d_residual, |d| d) / width as f32;
                    for (x, (d, v)) in d_x.iter_mut().zip(d_residual.iter().zip(normalized)) {
                        *x = *d * *v;
                    }
                    let along = total(d_x, |p| p) / width as f32;
                    let results = d_residual.iter_mut().zip(d_x.iter_mut());
                    for (((d, x), v), i) in results.zip(normalized).zip(index..) {
                        *d = (*d - mean - *v * along) * *inverse;
                        *x = *d * drop.factor(i);
                    }
                    index += width as u32;
                }
                (d_gamma, d_beta)
            })
            .collect();
        let (mut d_gamma, mut d_beta) = (vec![0.0f32; width], vec![0.0f32; width]);
        for (gammas, betas) in partial {
            for ((g, b), (dg, db)) in
                d_gamma.iter_mut().zip(&mut d_beta).zip(gammas.iter().zip(&betas))
            {
                *g += dg;
                *b += db;
            }
        }
        NormGradients {
            x: new(d_x, [rows, width]),
            residual: new(d_residual, [rows, width]),
            gamma: new(d_gamma, [width]),
            beta: new(d_beta, [width]),
        }
    }
}

/// The sum of `f` over `values`, in 16 lanes so that the compiler can vectorise it.
#[inline(always)]
fn total(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let groups = values.chunks_exact(16);
    let rest: f32 = groups.remainder().iter().map(|v| f(*v)).sum();
    for group in groups {
        for (lane, v) in lanes.iter_mut().zip(group) {
            *lane += f(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest
}
