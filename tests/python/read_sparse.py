"""Turns a sparse model file of platon into an ordinary safetensors file, with numpy only.

    python read_sparse.py FILE.safetensors OUT.safetensors

An example of how to read the format, which src/bert/sparse.rs describes. In short: a tensor NAME whose
shape stands in the metadata as `shape.NAME` is stored as NAME.bitmap, one bit per element and the
least significant bit first, and NAME.values, the elements whose bit is set; all others are +0.0.
Every other tensor is stored as it is.
"""

import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file


def load_sparse(path):
    """The tensors of the file as numpy arrays by name, and the texts stored beside them."""
    tensors = {}
    with safe_open(path, framework="numpy") as file:
        metadata = dict(file.metadata() or {})
        if metadata.pop("format", None) != "platon-sparse":
            raise ValueError(f"{path}: not a sparse file of platon")
        version = metadata.pop("platon_format", None)
        if version != "1":
            raise ValueError(f"{path}: version {version}; this script reads version 1")
        sparse = {key[len("shape."):] for key in metadata if key.startswith("shape.")}
        halves = {name + ending for name in sparse for ending in (".bitmap", ".values")}
        for name in sparse:
            shape = [int(size) for size in metadata.pop(f"shape.{name}").split(",") if size]
            count = int(numpy.prod(shape, dtype=numpy.int64))
            bits = numpy.unpackbits(file.get_tensor(f"{name}.bitmap"), bitorder="little")
            dense = numpy.zeros(count, dtype=numpy.float32)
            dense[bits[:count].astype(bool)] = file.get_tensor(f"{name}.values")
            tensors[name] = dense.reshape(shape)
        for name in set(file.keys()) - halves:
            tensors[name] = file.get_tensor(name)
    return tensors, metadata


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    loaded, texts = load_sparse(sys.argv[1])
    save_file(loaded, sys.argv[2], metadata={**texts, "format": "pt"})
