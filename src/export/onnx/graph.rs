//! A graph that grows node by node.

use super::messages::{
    AttributeProto, DimensionProto, GraphProto, NodeProto, Size, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute, element,
};

/// Numbers that a graph knows: a weight or a constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The name by which nodes take it.
    pub name: String,
    /// Its shape; empty of a single number.
    pub shape: Vec<usize>,
    /// Its elements, row by row.
    pub values: Values,
}

/// The elements of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Of weights and activations.
    Floats(Vec<f32>),
    /// Of shapes and places.
    Integers(Vec<i64>),
}

/// A dimension of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// The number of sequences.
    Batch,
    /// The tokens of the longest.
    Length,
    /// A fixed number.
    Of(usize),
}

/// Nodes in the order in which they are computed, and what they know.
#[derive(Debug, Default)]
pub struct Graph {
    /// Without initializers: those are `known`.
    pub proto: GraphProto,
    /// Weights and constants.
    pub known: Vec<Known>,
}

impl Graph {
    /// Adds a node whose output has the node's name; that name.
    pub fn node<const N: usize>(
        &mut self,
        name: impl Into<String>,
        operator: &str,
        inputs: [&str; N],
    ) -> String {
        self.node_with(name, operator, inputs, Vec::new())
    }

    /// The same of an operator with settings.
    pub fn node_with<const N: usize>(
        &mut self,
        name: impl Into<String>,
        operator: &str,
        inputs: [&str; N],
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = name.into();
        self.proto.node.push(NodeProto {
            input: inputs.map(String::from).to_vec(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.into(),
            attribute,
        });
        name
    }

    /// Adds a weight; its name.
    pub fn weight(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> String {
        let values = Values::Floats(values);
        self.known.push(Known { name: name.clone(), shape: shape.to_vec(), values });
        name
    }

    /// A constant number; its name.
    pub fn number(&mut self, value: f32) -> String {
        self.constant(format!("number_{value:?}"), Vec::new(), Values::Floats(vec![value]))
    }

    /// A constant integer; its name.
    pub fn integer(&mut self, value: i64) -> String {
        self.constant(format!("integer_{value}"), Vec::new(), Values::Integers(vec![value]))
    }

    /// A constant list of integers; its name.
    pub fn integers(&mut self, values: &[i64]) -> String {
        let numbers: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("integers_{}", numbers.join("_"));
        self.constant(name, vec![values.len()], Values::Integers(values.to_vec()))
    }

    /// Constants of one name have one value, and are there once.
    fn constant(&mut self, name: String, shape: Vec<usize>, values: Values) -> String {
        if !self.known.iter().any(|known| known.name == name) {
            self.known.push(Known { name: name.clone(), shape, values });
        }
        name
    }

    /// Says what dimensions the value `name` has, of floats. Readers find out by themselves but for
    /// dimensions that depend on the batch; ONNX Runtime fuses more where it knows them.
    pub fn describe(&mut self, name: &str, shape: &[Dim]) {
        self.proto.value_info.push(value(name, element::FLOAT, shape, ""));
    }
}

/// The type of the value `name`, with a word on it.
pub fn value(name: &str, elem_type: i32, shape: &[Dim], words: &str) -> ValueInfoProto {
    let size = |dim: &Dim| match dim {
        Dim::Batch => Size::Named("batch_size".into()),
        Dim::Length => Size::Named("sequence_length".into()),
        Dim::Of(size) => Size::Fixed(*size as i64),
    };
    let dim = shape.iter().map(|dim| DimensionProto { value: Some(size(dim)) }).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    let r#type = Some(TypeProto { tensor_type });
    ValueInfoProto { name: name.into(), r#type, doc_string: words.into() }
}

/// A setting that is an integer.
pub fn int(name: &str, value: i64) -> AttributeProto {
    let (name, i) = (name.into(), Some(value));
    AttributeProto { name, r#type: attribute::INT, i, ..AttributeProto::default() }
}

/// A setting that is a list of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    let (name, ints) = (name.into(), values.to_vec());
    AttributeProto { name, r#type: attribute::INTS, ints, ..AttributeProto::default() }
}

/// A setting that is a float.
pub fn float(name: &str, value: f32) -> AttributeProto {
    let (name, f) = (name.into(), Some(value));
    AttributeProto { name, r#type: attribute::FLOAT, f, ..AttributeProto::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_there_once_and_nodes_are_in_order() {
        let mut graph = Graph::default();
        let one = graph.number(1.0);
        let a = graph.node("a", "Add", ["input", &one]);
        let (again, other) = (graph.number(1.0), graph.number(1.5));
        let b = graph.node_with("b", "Softmax", [&a], vec![int("axis", 0)]);
        assert_eq!((one.as_str(), &again, b.as_str()), ("number_1.0", &one, "b"));
        let known: Vec<_> = graph.known.iter().map(|known| known.name.as_str()).collect();
        assert_eq!(known, ["number_1.0", other.as_str()]);
        assert_eq!(graph.known[0].shape, Vec::<usize>::new());
        let list = graph.integers(&[0, 0, 12, 32]);
        assert_eq!(
            (graph.known.last().unwrap().name.as_str(), list.as_str()),
            (list.as_str(), "integers_0_0_12_32")
        );
        assert_eq!(graph.known.last().unwrap().shape, [4]);
        let [first, second] = graph.proto.node.as_slice() else { panic!("two nodes") };
        assert_eq!((&first.input, &first.output), (&vec!["input".into(), one], &vec![a.clone()]));
        assert_eq!((&second.input, second.op_type.as_str()), (&vec![a], "Softmax"));
        // 0 is a value like any other.
        assert_eq!(second.attribute[0].i, Some(0));
    }
}
