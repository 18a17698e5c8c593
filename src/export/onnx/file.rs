//! An ONNX file, written piece by piece: the weights are in memory once.

use std::io::{self, Write};
use std::path::Path;

use prost::{Message, length_delimiter_len};

use super::graph::{Graph, Known, Values};
use super::messages::{ModelProto, TensorProto, element};
use crate::error::{Error, Result};

/// No reader of protobuf takes more.
const MOST_BYTES: usize = i32::MAX as usize;
/// How fields begin that hold bytes: the tag, and the type 2.
const GRAPH: u8 = (7 << 3) | 2;
const INITIALIZER: u8 = (5 << 3) | 2;
const RAW_DATA: u8 = (9 << 3) | 2;
/// Numbers that are turned into bytes at a time.
const BLOCK: usize = 1 << 14;

/// What an ONNX file holds.
pub struct File {
    /// All but the graph.
    pub model: ModelProto,
    /// What it computes.
    pub graph: Graph,
}

impl File {
    /// The bytes that it will have.
    pub fn bytes(&self) -> usize {
        self.model.encoded_len() + field(self.graph_bytes())
    }

    fn graph_bytes(&self) -> usize {
        let known = self.graph.known.iter().map(|known| field(tensor_bytes(known)));
        self.graph.proto.encoded_len() + known.sum::<usize>()
    }

    /// Checks that the file can be written, and read again.
    ///
    /// # Errors
    /// It would be too large for its format, or a weight is not finite; `path` is named.
    pub fn check(&self, path: &Path) -> Result<()> {
        check_size(path, self.bytes())?;
        for Known { name, values, .. } in &self.graph.known {
            if let Values::Floats(values) = values
                && let Some(found) = values.iter().find(|value| !value.is_finite())
            {
                let expected = format!("finite f32 numbers in {name}");
                return Err(Error::content(path, None, expected, found)
                    .hint("the model's weights are too large; --whole changes none"));
            }
        }
        Ok(())
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// `out` takes no more.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.model.encode_to_vec())?;
        begin(out, GRAPH, self.graph_bytes())?;
        out.write_all(&self.graph.proto.encode_to_vec())?;
        let mut block = Vec::with_capacity(size_of::<i64>() * BLOCK);
        for known in &self.graph.known {
            begin(out, INITIALIZER, tensor_bytes(known))?;
            out.write_all(&header(known).encode_to_vec())?;
            begin(out, RAW_DATA, known.values.bytes())?;
            match &known.values {
                Values::Floats(values) => blocks(out, &mut block, values, |v| v.to_le_bytes())?,
                Values::Integers(values) => blocks(out, &mut block, values, |v| v.to_le_bytes())?,
            }
        }
        Ok(())
    }
}

impl Values {
    fn bytes(&self) -> usize {
        match self {
            Self::Floats(values) => size_of_val(values.as_slice()),
            Self::Integers(values) => size_of_val(values.as_slice()),
        }
    }
}

fn check_size(path: &Path, bytes: usize) -> Result<()> {
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let expected = format!("at most {MOST_BYTES} bytes, as a file of protobuf has");
    Err(Error::content(path, None, expected, bytes)
        .hint("the model is too large for an ONNX file: use --format hf or sparse"))
}

/// A tensor but for its elements.
fn header(Known { name, shape, values }: &Known) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|size| *size as i64).collect(),
        data_type: match values {
            Values::Floats(_) => element::FLOAT,
            Values::Integers(_) => element::INT64,
        },
        name: name.clone(),
        raw_data: Vec::new(),
    }
}

fn tensor_bytes(known: &Known) -> usize {
    header(known).encoded_len() + field(known.values.bytes())
}

/// The bytes of a field that holds so many.
fn field(bytes: usize) -> usize {
    1 + length_delimiter_len(bytes) + bytes
}

fn begin(out: &mut impl Write, key: u8, bytes: usize) -> io::Result<()> {
    let mut start = vec![key];
    prost::encode_length_delimiter(bytes, &mut start)?;
    out.write_all(&start)
}

fn blocks<T: Copy, const N: usize>(
    out: &mut impl Write,
    block: &mut Vec<u8>,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    for values in values.chunks(BLOCK) {
        block.clear();
        block.extend(values.iter().flat_map(|value| bytes(*value)));
        out.write_all(block)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::onnx::messages::GraphProto;

    fn file() -> File {
        let mut graph = Graph::default();
        let many = graph.weight("many".into(), &[3, BLOCK], vec![-1.5; 3 * BLOCK]);
        let one = graph.integer(-2);
        graph.weight("none".into(), &[0], Vec::new());
        graph.node("sum", "Add", [&many, &one]);
        File { model: ModelProto { ir_version: 8, ..ModelProto::default() }, graph }
    }

    #[test]
    fn what_is_written_piece_by_piece_is_the_message() {
        let file = file();
        let mut bytes = Vec::new();
        file.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), file.bytes());
        let initializer = file.graph.known.iter().map(|known| TensorProto {
            raw_data: match &known.values {
                Values::Floats(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Values::Integers(values) => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            },
            ..header(known)
        });
        let initializer = initializer.collect();
        let graph = Some(GraphProto { initializer, ..file.graph.proto.clone() });
        let expected = ModelProto { graph, ..file.model.clone() };
        assert_eq!(ModelProto::decode(bytes.as_slice()).unwrap(), expected);
    }

    #[test]
    fn a_file_too_large_for_protobuf_is_refused() {
        let path = Path::new("out/model.onnx");
        check_size(path, 2_147_483_647).unwrap();
        let line = check_size(path, 2_147_483_648).unwrap_err().to_string();
        let expected = "out/model.onnx: expected at most 2147483647 bytes, as a file of protobuf has, \
                        found 2147483648 (hint: the model is too large";
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn a_weight_that_is_not_finite_is_refused_by_name() {
        let mut file = file();
        file.check(Path::new("a")).unwrap();
        file.graph.weight("b.bias".into(), &[2], vec![0.0, f32::INFINITY]);
        let line = file.check(Path::new("a")).unwrap_err().to_string();
        assert!(line.starts_with("a: expected finite f32 numbers in b.bias, found inf"), "{line}");
    }
}
