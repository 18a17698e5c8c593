//! The names a pickle may ask for, as inert values.

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    F16,
    BF16,
    /// Integers and booleans, of this many bytes: their tensors are skipped.
    Other(u8),
}

impl Element {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::BF16 => 2,
            Self::Other(bytes) => usize::from(bytes),
        }
    }
}

/// What an allowed name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// A function of storage, offset, shape, strides and what does not matter here.
    Tensor,
    /// A function of a tensor and what does not matter here.
    Parameter,
    Storage(Element),
    /// A name whose objects carry nothing of use: they become opaque.
    Inert,
}

/// What `module.name` stands for; none when a file must not ask for it.
pub(super) fn resolve(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Global::Tensor,
        ("torch._utils", "_rebuild_parameter") => Global::Parameter,
        // Plain values and types, as torch.load with weights_only takes them.
        ("torch", "Size" | "device") | ("collections", "Counter") => Global::Inert,
        ("builtins" | "__builtin__", "set" | "complex" | "bytearray") => Global::Inert,
        ("torch", dtype) if DTYPES.contains(&dtype) => Global::Inert,
        ("torch", storage) => Global::Storage(element(storage)?),
        ("argparse", "Namespace")
        | ("numpy", "dtype")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar")
        // How Python 3 writes the bytes of a numpy scalar in protocol 2.
        | ("_codecs", "encode")
        // The classes in the `config` of every checkpoint that MT-DNN's trainer, and so PLATON's
        // original program, writes: `encoder_type` and `task_def_list`.
        | ("data_utils.task_def", "EncoderModelType" | "TaskType" | "DataFormat")
        | ("data_utils.metrics", "Metric")
        | ("data_utils.vocab", "Vocabulary")
        | ("experiments.exp_def", "TaskDef")
        | ("mt_dnn.loss", "LossCriterion") => Global::Inert,
        _ => return None,
    })
}

/// Types of elements, as values of their own.
const DTYPES: [&str; 12] = [
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
];

fn element(storage: &str) -> Option<Element> {
    Some(match storage {
        "FloatStorage" => Element::F32,
        "DoubleStorage" => Element::F64,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::BF16,
        "LongStorage" => Element::Other(8),
        "IntStorage" => Element::Other(4),
        "ShortStorage" => Element::Other(2),
        "CharStorage" | "ByteStorage" | "BoolStorage" => Element::Other(1),
        _ => return None,
    })
}
