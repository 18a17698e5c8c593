//! The fused operations inside the model. Products of 16-bit factors, which processors do no faster,
//! are left to the default bodies.

use burn::tensor::Tensor;
use burn_flex::Flex;

use super::activations;
use super::dropout::DropoutMask;
use super::embed::{self, Lookup};
use super::memory::Fresh;
use super::{Matrix, Vector, attention, linear, new, norm, read, simd, take};
use crate::activation::Activation;
use crate::kernels::default_layer as default;
use crate::kernels::layer::{LayerKernels, composed_attention, composed_attention_backward};
use crate::kernels::operands::{
    AddNormGradients, Dense, DenseGradients, EmbedGradients, Heads, Norm, NormSaved, Precision,
    Products, SeededDropout, Setup, Tables, TokenIds,
};
use crate::kernels::sequences::Sequences;

impl LayerKernels for Flex {
    const PACKS: bool = true;

    fn dropout_mask(
        shape: [usize; 2],
        dropout: SeededDropout,
        _device: &burn_flex::FlexDevice,
    ) -> Matrix {
        let n = shape[0] * shape[1];
        let mask = DropoutMask::new(Some(dropout));
        let mut factors = Fresh::new(n);
        simd(|| {
            for (place, i) in factors.room(n).iter_mut().zip(0u32..) {
                place.write(mask.factor(i));
            }
        });
        // SAFETY: written just now.
        new(unsafe { factors.filled(n) }, shape)
    }

    fn dense_forward(x: Matrix, dense: Dense<Flex>) -> Matrix {
        match dense.products.precision {
            Precision::Single => linear::forward(x, dense),
            Precision::Half | Precision::Bf16 => default::dense_forward(x, dense),
        }
    }

    fn dense_backward(
        x: Matrix,
        weight: Matrix,
        grad: Matrix,
        products: Products,
    ) -> DenseGradients<Flex> {
        match products.precision {
            Precision::Single => linear::backward(x, weight, &take(grad), products.zeros),
            Precision::Half | Precision::Bf16 => default::dense_backward(x, weight, grad, products),
        }
    }

    fn dense_inputs_backward(weight: Matrix, grad: Matrix, products: Products) -> Matrix {
        match products.precision {
            Precision::Single => linear::inputs_backward(weight, &take(grad), products.zeros),
            Precision::Half | Precision::Bf16 => {
                default::dense_inputs_backward(weight, grad, products)
            }
        }
    }

    fn dense_activated_forward(
        x: Matrix,
        dense: Dense<Flex>,
        activation: Activation,
        keep: bool,
    ) -> (Matrix, Option<Matrix>) {
        activations::activate(Self::dense_forward(x, dense), activation, keep)
    }

    fn dense_activated_backward(
        x: Matrix,
        weight: Matrix,
        slope: Matrix,
        grad: Matrix,
        products: Products,
    ) -> DenseGradients<Flex> {
        Self::dense_backward(x, weight, linear::hadamard(grad, slope), products)
    }

    fn add_norm_forward(
        x: Matrix,
        residual: Matrix,
        norm: Norm<Flex>,
        dropout: Option<SeededDropout>,
        keep: bool,
    ) -> (Matrix, Option<NormSaved<Flex>>) {
        let shape @ [_, width] = x.dims();
        assert_eq!(residual.dims(), shape, "shapes do not fit");
        let (x, residual) = (take(x), take(residual));
        let mask = DropoutMask::new(dropout);
        let input = |row: usize, sum: &mut [f32]| {
            let first = row * width;
            let (x, residual) = (&read(&x)[first..], &read(&residual)[first..]);
            simd(|| {
                let inputs = x.iter().zip(residual);
                if !mask.active() {
                    for (s, (x, r)) in sum.iter_mut().zip(inputs) {
                        *s = *x + *r;
                    }
                    return;
                }
                for ((s, (x, r)), i) in sum.iter_mut().zip(inputs).zip(first as u32..) {
                    *s = *x * mask.factor(i) + *r;
                }
            });
        };
        norm::forward(shape, norm, keep, input, DropoutMask::new(None))
    }

    fn add_norm_backward(
        saved: NormSaved<Flex>,
        gamma: Vector,
        grad: Matrix,
        dropout: Option<SeededDropout>,
    ) -> AddNormGradients<Flex> {
        let (residual, gamma, beta) = norm::backward(saved, gamma, grad, DropoutMask::new(None));
        let x = match dropout.filter(|d| d.rate > 0.0) {
            Some(dropout) => norm::drop_out(residual.clone(), DropoutMask::new(Some(dropout))),
            None => residual.clone(),
        };
        AddNormGradients { x, residual, gamma, beta }
    }

    fn attention_forward(
        inputs: Heads<Flex>,
        sequences: &Sequences,
        setup: Setup,
        keep: bool,
    ) -> (Matrix, Option<Vector>) {
        match setup.precision {
            Precision::Single => attention::forward(inputs, sequences, setup, keep),
            Precision::Half | Precision::Bf16 => composed_attention(inputs, sequences, setup, keep),
        }
    }

    fn attention_backward(
        inputs: Heads<Flex>,
        probabilities: Vector,
        grad: Matrix,
        sequences: &Sequences,
        setup: Setup,
    ) -> Heads<Flex> {
        let backward = match setup.precision {
            Precision::Single => attention::backward,
            Precision::Half | Precision::Bf16 => composed_attention_backward,
        };
        backward(inputs, probabilities, grad, sequences, setup)
    }

    fn embed_forward(
        tables: Tables<Matrix>,
        ids: TokenIds<Flex>,
        norm: Norm<Flex>,
        dropout: Option<SeededDropout>,
        keep: bool,
    ) -> (Matrix, Option<NormSaved<Flex>>) {
        let shape = [ids.word.dims()[0], tables.word.dims()[1]];
        let lookup = Lookup::new(tables, ids);
        let input = |row: usize, sum: &mut [f32]| lookup.sum(row, sum);
        norm::forward(shape, norm, keep, input, DropoutMask::new(dropout))
    }

    fn embed_backward(
        entries: Tables<usize>,
        ids: TokenIds<Flex>,
        saved: NormSaved<Flex>,
        gamma: Vector,
        grad: Tensor<Flex, 2>,
        dropout: Option<SeededDropout>,
    ) -> EmbedGradients<Flex> {
        let (sum, gamma, beta) = norm::backward(saved, gamma, grad, DropoutMask::new(dropout));
        EmbedGradients { tables: embed::scatter(entries, ids, sum), gamma, beta }
    }
}
