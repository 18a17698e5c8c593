//! The fused operations as nodes of burn's autodiff graph.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};

use super::layer::{LayerKernels, ModelKernels, NormGradients, SeededDropout};

fn wrap<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn unwrap<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

#[derive(Debug)]
struct Gelu;

impl<B: LayerKernels> Backward<B, 1> for Gelu {
    /// The slope at each element.
    type State = FloatTensor<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        unary::<B, _>(ops.parents, ops.node, grads, |grad| B::float_mul(grad, ops.state));
    }
}

#[derive(Debug)]
struct AddNorm;

impl<B: LayerKernels> Backward<B, 4> for AddNorm {
    /// Normalised values, inverse deviation, gamma, dropout.
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, Option<SeededDropout>);

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (normalized, inverse_deviation, gamma, dropout) = ops.state;
        let grad = grads.consume::<B>(&ops.node);
        let NormGradients { x, residual, gamma, beta } = B::add_norm_backward(
            wrap(normalized),
            wrap(inverse_deviation),
            wrap(gamma),
            wrap(grad),
            dropout,
        );
        let all = [unwrap(x), unwrap(residual), unwrap(gamma), unwrap(beta)];
        for (parent, grad) in ops.parents.into_iter().zip(all) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

impl<B: LayerKernels, C: CheckpointStrategy> ModelKernels for Autodiff<B, C> {
    fn exact_gelu(x: Tensor<Self, 2>) -> Tensor<Self, 2> {
        let x = unwrap(x);
        let output = match Gelu.prepare::<C>([x.node.clone()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let [output, slope] = B::gelu_with_slope(wrap(x.primitive));
                prepared.finish(unwrap(slope), unwrap(output))
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(unwrap(B::gelu_forward(wrap(x.primitive))))
            }
        };
        wrap(output)
    }

    fn dropout_add_norm(
        x: Tensor<Self, 2>,
        residual: Tensor<Self, 2>,
        gamma: Tensor<Self, 1>,
        beta: Tensor<Self, 1>,
        epsilon: f64,
        dropout: Option<SeededDropout>,
    ) -> Tensor<Self, 2> {
        let (x, residual, gamma, beta) = (unwrap(x), unwrap(residual), unwrap(gamma), unwrap(beta));
        let nodes = [x.node.clone(), residual.node.clone(), gamma.node.clone(), beta.node.clone()];
        let forward = B::add_norm_forward(
            wrap(x.primitive),
            wrap(residual.primitive),
            wrap(gamma.primitive.clone()),
            wrap(beta.primitive),
            epsilon,
            dropout,
        );
        let output = unwrap(forward.output);
        let output = match AddNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (normalized, deviation) =
                    (unwrap(forward.normalized), unwrap(forward.inverse_deviation));
                prepared.finish((normalized, deviation, gamma.primitive, dropout), output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        wrap(output)
    }
}
