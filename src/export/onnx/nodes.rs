//! The nodes of which encoder and head are made.

use super::graph::{Graph, float, int};
use super::places::Dense;
use crate::activation::{Activation, GELU_TANH};
use crate::bert::family::Family;
use crate::bert::names;
use crate::sparse::rowwise::Norm;

/// A module of the model: what its weights are called at Hugging Face, without the leaf, and what the
/// graph calls its output.
#[derive(Debug, Clone)]
pub struct Part {
    /// Of the weights.
    pub module: String,
    /// Of the output.
    pub output: String,
}

impl Part {
    /// The module with this path of fields.
    pub fn new(family: &Family, path: &str) -> Self {
        let weight = names::hf_name_at(family, &format!("{path}.weight"));
        let module = weight.strip_suffix(".weight").unwrap_or(&weight).to_string();
        Self { module, output: path.strip_prefix("bert.").unwrap_or(path).to_string() }
    }
}

impl Graph {
    /// weight x + bias of vectors in a tensor of any rank; the output's name.
    pub fn dense(&mut self, part: &Part, x: &str, dense: Dense) -> String {
        let Dense { inputs, outputs, weight, bias } = dense;
        let weight = self.weight(format!("{}.weight", part.module), &[inputs, outputs], weight);
        let bias = self.weight(format!("{}.bias", part.module), &[outputs], bias);
        let product = self.node(format!("{}.product", part.output), "MatMul", [x, &weight]);
        self.node(&part.output, "Add", [&product, &bias])
    }

    /// Normalises each vector; the output's name.
    pub fn normalise(&mut self, part: &Part, x: &str, norm: Norm) -> String {
        let Norm { gamma, beta, epsilon } = norm;
        let gamma = self.weight(format!("{}.weight", part.module), &[gamma.len()], gamma);
        let beta = self.weight(format!("{}.bias", part.module), &[beta.len()], beta);
        let settings = vec![int("axis", -1), float("epsilon", epsilon)];
        self.node_with(&part.output, "LayerNormalization", [x, &gamma, &beta], settings)
    }

    /// The activation of each number; the output's name. GELU is written as PyTorch's own export
    /// writes it: ONNX Runtime makes one operation of it.
    pub fn activate(&mut self, output: &str, x: &str, activation: Activation) -> String {
        let inner = |name: &str| format!("{output}.{name}");
        match activation {
            Activation::Relu => self.node(output, "Relu", [x]),
            Activation::Tanh => self.node(output, "Tanh", [x]),
            Activation::Silu => {
                let sigmoid = self.node(inner("sigmoid"), "Sigmoid", [x]);
                self.node(output, "Mul", [x, &sigmoid])
            }
            Activation::Gelu => {
                let [root, one, half] =
                    [std::f32::consts::SQRT_2, 1.0, 0.5].map(|v| self.number(v));
                let scaled = self.node(inner("scaled"), "Div", [x, &root]);
                let erf = self.node(inner("erf"), "Erf", [&scaled]);
                let sum = self.node(inner("sum"), "Add", [&erf, &one]);
                let product = self.node(inner("product"), "Mul", [x, &sum]);
                self.node(output, "Mul", [&product, &half])
            }
            Activation::GeluTanh => {
                let constants = [3.0, GELU_TANH.1, GELU_TANH.0, 1.0, 0.5];
                let [three, cubic, root, one, half] = constants.map(|v| self.number(v));
                let cube = self.node(inner("cube"), "Pow", [x, &three]);
                let cube = self.node(inner("cubic"), "Mul", [&cube, &cubic]);
                let sum = self.node(inner("polynomial"), "Add", [x, &cube]);
                let scaled = self.node(inner("scaled"), "Mul", [&sum, &root]);
                let tanh = self.node(inner("tanh"), "Tanh", [&scaled]);
                let sum = self.node(inner("sum"), "Add", [&tanh, &one]);
                let halved = self.node(inner("half"), "Mul", [x, &half]);
                self.node(output, "Mul", [&halved, &sum])
            }
        }
    }
}
