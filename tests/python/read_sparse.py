"""Turns a sparse model file of platon into an ordinary safetensors file, with numpy only.

    python read_sparse.py FILE.safetensors OUT.safetensors

An example of how to read the format, which src/bert/sparse/mod.rs describes. In short: a tensor NAME
whose shape stands in the metadata as `shape.NAME` is stored in parts. NAME.bitmap, one bit per element
and the least significant bit first, or NAME.gaps, Rice codes of the zeros before each stored element,
tell which elements are stored; all others are +0.0. Without either all are. NAME.values are the stored
elements, or NAME.high and NAME.low their bytes, of which the high ones are compressed. Every other
tensor is stored as it is. All tensors come out as float32.
"""

import json
import struct
import sys
import zlib

import numpy
from safetensors.numpy import save_file

UNSIGNED = {"F32": numpy.uint32, "F16": numpy.uint16, "BF16": numpy.uint16, "U8": numpy.uint8}


def read_safetensors(path):
    """The tensors' types and bits as arrays of unsigned integers (numpy has no bfloat16), and the texts."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    texts = header.pop("__metadata__", {})
    tensors = {}
    for name, info in header.items():
        start, end = info["data_offsets"]
        kind = numpy.dtype(UNSIGNED[info["dtype"]]).newbyteorder("<")
        tensors[name] = info["dtype"], numpy.frombuffer(data[start:end], kind).reshape(info["shape"])
    return tensors, texts


def floats(kind, bits):
    """Numbers of this type as float32."""
    if kind == "F16":
        return bits.view(numpy.float16).astype(numpy.float32)
    if kind == "BF16":
        return (bits.astype(numpy.uint32) << 16).view(numpy.float32)
    return bits.view(numpy.float32)


def join(kind, high, low):
    """The bits of numbers whose high bytes are compressed and whose sign comes last."""
    unsigned = UNSIGNED[kind]
    width = low.shape[1]
    high = numpy.frombuffer(zlib.decompress(high.tobytes()), numpy.uint8)
    bits = high.astype(unsigned) << unsigned(8 * width)
    for byte in range(width):
        bits |= low[:, byte].astype(unsigned) << unsigned(8 * byte)
    return (bits >> unsigned(1)) | (bits << unsigned(8 * width + 7))


def places(gaps, count):
    """Where the stored elements are, from Rice codes."""
    parameter, stream = int(gaps[0]), numpy.unpackbits(gaps[1:], bitorder="little")
    ones = numpy.flatnonzero(stream)
    weights = 1 << numpy.arange(parameter, dtype=numpy.int64)
    starts, ends = numpy.empty(count, numpy.int64), numpy.empty(count, numpy.int64)
    start = 0
    for number in range(count):
        # A code: zeros, a one, and `parameter` bits.
        one = ones[numpy.searchsorted(ones, start)]
        starts[number], ends[number] = start, one
        start = one + 1 + parameter
    low = stream[ends[:, None] + 1 + numpy.arange(parameter)].astype(numpy.int64) @ weights
    return numpy.cumsum(((ends - starts) << parameter) + low + 1) - 1


def load_sparse(path):
    """The tensors of the file as float32 arrays by name, and the texts stored beside them."""
    stored, texts = read_safetensors(path)
    if texts.pop("format", None) != "platon-sparse":
        raise ValueError(f"{path}: not a sparse file of platon")
    version = texts.pop("platon_format", None)
    if version not in ("1", "2"):
        raise ValueError(f"{path}: version {version}; this script reads versions 1 and 2")
    kind = texts.pop("dtype", "F32")
    tensors = {}
    for key in [key for key in texts if key.startswith("shape.")]:
        name = key[len("shape."):]
        shape = [int(size) for size in texts.pop(key).split(",") if size]
        size = int(numpy.prod(shape, dtype=numpy.int64))
        if f"{name}.high" in stored:
            values = join(kind, stored.pop(f"{name}.high")[1], stored.pop(f"{name}.low")[1])
        else:
            values = stored.pop(f"{name}.values")[1]
        if f"{name}.bitmap" in stored:
            bits = numpy.unpackbits(stored.pop(f"{name}.bitmap")[1], bitorder="little")
            index = numpy.flatnonzero(bits[:size])
        elif f"{name}.gaps" in stored:
            index = places(stored.pop(f"{name}.gaps")[1], len(values))
        else:
            index = numpy.arange(size)
        dense = numpy.zeros(size, dtype=numpy.float32)
        dense[index] = floats(kind, values)
        tensors[name] = dense.reshape(shape)
    for name, (own_kind, bits) in stored.items():
        tensors[name] = floats(own_kind, bits)
    return tensors, texts


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    loaded, texts = load_sparse(sys.argv[1])
    save_file(loaded, sys.argv[2], metadata={**texts, "format": "pt"})
