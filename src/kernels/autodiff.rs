//! The fused operations as nodes of burn's autodiff graph.

use std::fmt::Debug;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use super::layer::LayerKernels;
use super::model::ModelKernels;
use super::operands::{
    AddNormGradients, Dense, DenseGradients, EmbedGradients, Heads, Norm, NormSaved, Products,
    SeededDropout, Setup, Tables, TokenIds,
};
use super::sequences::Sequences;
use crate::activation::Activation;

/// A primitive of D dimensions as a tensor of the same shape.
fn wrap<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The reverse of [`wrap`].
fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// An operation of N inputs that have gradients; shapes are those of [`LayerKernels`].
trait Fused<B: LayerKernels, const N: usize>: Clone + Debug + Send + 'static {
    /// What the gradient needs.
    type Saved: Clone + Debug + Send + 'static;

    /// The output, `[rows, width]`, and what the gradient needs where `keep` asks for it.
    fn forward(
        &self,
        inputs: [FloatTensor<B>; N],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>);

    /// The inputs' gradients, of their shapes, for the output's, `[rows, width]`: those at least that are
    /// `wanted`.
    fn backward(
        self,
        saved: Self::Saved,
        grad: Tensor<B, 2>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

#[derive(Debug)]
struct Node<F>(F);

impl<B: LayerKernels, F: Fused<B, N>, const N: usize> Backward<B, N> for Node<F> {
    type State = Option<F::Saved>;

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let Some(saved) = ops.state else { unreachable!("{:?} kept nothing", self.0) };
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(saved, wrap(grad), wanted);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

/// Runs `operation` and remembers it in the graph. The output is `[rows, width]`.
fn apply<B, C, F, const N: usize>(
    operation: F,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
) -> Tensor<Autodiff<B, C>, 2>
where
    B: LayerKernels,
    C: CheckpointStrategy,
    F: Fused<B, N>,
{
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let inputs = inputs.map(|input| input.primitive);
    wrap(match Node(operation.clone()).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(node) => {
            let (output, saved) = operation.forward(inputs, true);
            node.finish(saved, unwrap(output))
        }
        OpsKind::UnTracked(node) => node.finish(unwrap(operation.forward(inputs, false).0)),
    })
}

/// The gradients of a dense layer; where nobody wants those of its weights, they are not computed.
fn dense_backward<B: LayerKernels>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 2>,
    grad: Tensor<B, 2>,
    products: Products,
    wanted: [bool; 3],
) -> [Option<FloatTensor<B>>; 3] {
    if let [_, false, false] = wanted {
        return [Some(unwrap(B::dense_inputs_backward(weight, grad, products))), None, None];
    }
    let DenseGradients { x, weight, bias } = B::dense_backward(x, weight, grad, products);
    [unwrap(x), unwrap(weight), unwrap(bias)].map(Some)
}

#[derive(Debug, Clone)]
struct DenseLayer(Products);

impl<B: LayerKernels> Fused<B, 3> for DenseLayer {
    type Saved = (Tensor<B, 2>, Tensor<B, 2>);

    fn forward(
        &self,
        [x, weight, bias]: [FloatTensor<B>; 3],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>) {
        let x = wrap(x);
        let dense = Dense::<B> { weight: wrap(weight), bias: wrap(bias), products: self.0 };
        let saved = keep.then(|| (Tensor::clone(&x), dense.weight.clone()));
        (B::dense_forward(x, dense), saved)
    }

    fn backward(
        self,
        (x, weight): Self::Saved,
        grad: Tensor<B, 2>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        dense_backward(x, weight, grad, self.0, wanted)
    }
}

#[derive(Debug, Clone)]
struct DenseActivated(Products, Activation);

impl<B: LayerKernels> Fused<B, 3> for DenseActivated {
    type Saved = (Tensor<B, 2>, Tensor<B, 2>, Tensor<B, 2>);

    fn forward(
        &self,
        [x, weight, bias]: [FloatTensor<B>; 3],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>) {
        let (x, weight) = (wrap(x), wrap(weight));
        let bias = wrap(bias);
        let dense = Dense::<B> { weight: Tensor::clone(&weight), bias, products: self.0 };
        let (output, slope) = B::dense_activated_forward(Tensor::clone(&x), dense, self.1, keep);
        (output, slope.map(|slope| (x, weight, slope)))
    }

    fn backward(
        self,
        (x, weight, slope): Self::Saved,
        grad: Tensor<B, 2>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        if let [_, false, false] = wanted {
            return dense_backward(x, weight, grad * slope, self.0, wanted);
        }
        let DenseGradients { x, weight, bias } =
            B::dense_activated_backward(x, weight, slope, grad, self.0);
        [unwrap(x), unwrap(weight), unwrap(bias)].map(Some)
    }
}

#[derive(Debug, Clone)]
struct AddNorm {
    epsilon: f64,
    dropout: Option<SeededDropout>,
}

impl<B: LayerKernels> Fused<B, 4> for AddNorm {
    type Saved = (NormSaved<B>, Tensor<B, 1>);

    fn forward(
        &self,
        [x, residual, gamma, beta]: [FloatTensor<B>; 4],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>) {
        let norm = Norm::<B> { gamma: wrap(gamma), beta: wrap(beta), epsilon: self.epsilon };
        let gamma = norm.gamma.clone();
        let (output, saved) =
            B::add_norm_forward(wrap(x), wrap(residual), norm, self.dropout, keep);
        (output, saved.map(|saved| (saved, gamma)))
    }

    fn backward(
        self,
        (saved, gamma): Self::Saved,
        grad: Tensor<B, 2>,
        _wanted: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        let AddNormGradients { x, residual, gamma, beta } =
            B::add_norm_backward(saved, gamma, grad, self.dropout);
        [unwrap(x), unwrap(residual), unwrap(gamma), unwrap(beta)].map(Some)
    }
}

#[derive(Debug, Clone)]
struct Attention {
    sequences: Sequences,
    setup: Setup,
}

impl<B: LayerKernels> Fused<B, 3> for Attention {
    type Saved = (Heads<B>, Tensor<B, 1>);

    fn forward(
        &self,
        [query, key, value]: [FloatTensor<B>; 3],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>) {
        let inputs = Heads::<B> { query: wrap(query), key: wrap(key), value: wrap(value) };
        let kept = inputs.clone();
        let (output, probabilities) =
            B::attention_forward(inputs, &self.sequences, self.setup, keep);
        (output, probabilities.map(|probabilities| (kept, probabilities)))
    }

    fn backward(
        self,
        (inputs, kept): Self::Saved,
        grad: Tensor<B, 2>,
        _wanted: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let Self { sequences, setup } = self;
        let Heads { query, key, value } =
            B::attention_backward(inputs, kept, grad, &sequences, setup);
        [unwrap(query), unwrap(key), unwrap(value)].map(Some)
    }
}

#[derive(Debug, Clone)]
struct Embed<B: Backend> {
    ids: TokenIds<B>,
    entries: Tables<usize>,
    epsilon: f64,
    dropout: Option<SeededDropout>,
}

impl<B: LayerKernels> Fused<B, 5> for Embed<B> {
    type Saved = (NormSaved<B>, Tensor<B, 1>);

    fn forward(
        &self,
        [word, position, segment, gamma, beta]: [FloatTensor<B>; 5],
        keep: bool,
    ) -> (Tensor<B, 2>, Option<Self::Saved>) {
        let tables = Tables { word: wrap(word), position: wrap(position), segment: wrap(segment) };
        let norm = Norm::<B> { gamma: wrap(gamma), beta: wrap(beta), epsilon: self.epsilon };
        let gamma = norm.gamma.clone();
        let (output, saved) = B::embed_forward(tables, self.ids.clone(), norm, self.dropout, keep);
        (output, saved.map(|saved| (saved, gamma)))
    }

    fn backward(
        self,
        (saved, gamma): Self::Saved,
        grad: Tensor<B, 2>,
        _wanted: [bool; 5],
    ) -> [Option<FloatTensor<B>>; 5] {
        let Self { ids, entries, dropout, .. } = self;
        let EmbedGradients { tables, gamma, beta } =
            B::embed_backward(entries, ids, saved, gamma, grad, dropout);
        let Tables { word, position, segment } = tables;
        [unwrap(word), unwrap(position), unwrap(segment), unwrap(gamma), unwrap(beta)].map(Some)
    }
}

impl<B: LayerKernels, C: CheckpointStrategy> ModelKernels for Autodiff<B, C> {
    const PACKS: bool = B::PACKS;
    const HAS_PEERS: bool = <B as LayerKernels>::HAS_PEERS;

    fn dropout(x: Tensor<Self, 2>, dropout: Option<SeededDropout>) -> Tensor<Self, 2> {
        let Some(dropout) = dropout.filter(|d| d.rate > 0.0) else { return x };
        let mask = B::dropout_mask(x.dims(), dropout, &x.device());
        x * Tensor::from_inner(mask)
    }

    fn dense(x: Tensor<Self, 2>, dense: Dense<Self>) -> Tensor<Self, 2> {
        let Dense { weight, bias, products } = dense;
        apply(DenseLayer(products), [unwrap(x), unwrap(weight), unwrap(bias)])
    }

    fn dense_activated(
        x: Tensor<Self, 2>,
        dense: Dense<Self>,
        activation: Activation,
    ) -> Tensor<Self, 2> {
        let Dense { weight, bias, products } = dense;
        let operation = DenseActivated(products, activation);
        apply(operation, [unwrap(x), unwrap(weight), unwrap(bias)])
    }

    fn dropout_add_norm(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2> {
        let Norm { gamma, beta, epsilon } = norm;
        let inputs = [unwrap(x), unwrap(residual), unwrap(gamma), unwrap(beta)];
        apply(AddNorm { epsilon, dropout }, inputs)
    }

    fn self_attention(inputs: Heads<Self>, sequences: &Sequences, setup: Setup) -> Tensor<Self, 2> {
        let Heads { query, key, value } = inputs;
        let operation = Attention { sequences: sequences.clone(), setup };
        apply(operation, [unwrap(query), unwrap(key), unwrap(value)])
    }

    fn embed(
        tables: Tables<Tensor<Self, 2>>,
        ids: TokenIds<Self>,
        norm: Norm<Self>,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2> {
        let Tables { word, position, segment } = tables;
        let [words, positions, segments] =
            [&word, &position, &segment].map(|table| table.dims()[0]);
        let entries = Tables { word: words, position: positions, segment: segments };
        let ids = Tables {
            word: ids.word.inner(),
            position: ids.position.inner(),
            segment: ids.segment.inner(),
        };
        let Norm { gamma, beta, epsilon } = norm;
        let inputs = [unwrap(word), unwrap(position), unwrap(segment), unwrap(gamma), unwrap(beta)];
        apply(Embed { ids, entries, epsilon, dropout }, inputs)
    }
}

#[cfg(all(test, feature = "flex", feature = "ndarray"))]
mod tests {
    use super::*;
    use crate::kernels::{Precision, Zeros};

    /// The gradients of x, and of the weights where these are tracked, through two dense layers.
    fn gradients<B: LayerKernels>(are_tracked: bool) -> [Option<Vec<f32>>; 3] {
        let device = Default::default();
        let tracked = |tensor: Tensor<Autodiff<B>, 2>| match are_tracked {
            true => tensor.require_grad(),
            false => tensor,
        };
        let x = Tensor::<Autodiff<B>, 2>::from_floats([[1.0, -2.0], [0.5, 3.0]], &device);
        let x = x.require_grad();
        let first = tracked(Tensor::from_floats([[0.5, -1.0, 2.0], [0.25, 1.5, -0.5]], &device));
        let second = tracked(Tensor::from_floats([[1.0], [-0.5], [0.75]], &device));
        let products = Products { zeros: Zeros::Skip, precision: Precision::Single };
        let layer = |weight: &Tensor<Autodiff<B>, 2>| {
            let bias = Tensor::zeros([weight.dims()[1]], &device);
            Dense { weight: weight.clone(), bias, products }
        };
        let inner = Autodiff::<B>::dense_activated(x.clone(), layer(&first), Activation::Tanh);
        let loss = Autodiff::<B>::dense(inner, layer(&second)).sum();
        let grads = loss.backward();
        [x, first, second]
            .map(|tensor| tensor.grad(&grads).map(|grad| grad.into_data().iter::<f32>().collect()))
    }

    #[test]
    fn gradients_that_nobody_wants_are_left_out_and_change_no_other() {
        fn check<B: LayerKernels>() -> Vec<f32> {
            let [x, first, second] = gradients::<B>(true);
            assert!(first.is_some() && second.is_some());
            let alone = gradients::<B>(false);
            assert_eq!(alone, [x.clone(), None, None]);
            x.unwrap()
        }
        let (flex, ndarray) = (check::<burn_flex::Flex>(), check::<burn_ndarray::NdArray<f32>>());
        // import numpy as np; x = np.array([[1, -2], [.5, 3]]); a = np.array([[.5, -1, 2], [.25, 1.5, -.5]])
        // b = np.array([1, -.5, .75]); print(((1 - np.tanh(x @ a) ** 2) * b) @ a.T)
        let expected = [0.51547, 0.24529, 1.39033, -0.19093];
        for found in [flex, ndarray] {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        }
    }
}
