#!/usr/bin/env python3
"""PyTorch's and ONNX Runtime's side of the race of answers.

The model is loaded and the rows are read before anything is timed. One JSON object on stdout: `dev`
(seconds for all rows in batches, each padded to its longest row; the assembly of the batches counts),
`sorted` (the same from the shortest row to the longest, if asked for), `logits` of the rows, `shapes`
(seconds of each call, for batches of random tokens as those of `platon bench`), `single` (seconds of
each call with one row, of the first rows), and `versions`.
"""
import argparse
import json
import os
import pathlib
import platform
import time

import numpy as np

SHAPES = [(batch, tokens) for batch in (1, 8, 32) for tokens in (16, 64, 128)]
WARM_UP_ROWS = 20


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=pathlib.Path, required=True, help="Hugging Face folder")
    p.add_argument("--onnx", type=pathlib.Path, help="file with the same model for ONNX Runtime, instead of PyTorch")
    p.add_argument("--rows", type=pathlib.Path, required=True, help="rows as platon encodes them, JSON lines")
    p.add_argument("--batch-size", type=int, default=32)
    p.add_argument("--calls", type=int, default=5, help="timed calls for each shape; more where they take little time")
    p.add_argument("--single-rows", type=int, default=200, help="first rows that are answered one by one")
    p.add_argument("--sorted", action="store_true", help="the rows once more, from the shortest to the longest")
    return p.parse_args()


# Engines: functions from ids, types and mask, each [texts, tokens], to logits [texts, outputs], and versions.

def torch_engine(o, threads):
    import torch
    import transformers
    torch.set_num_threads(threads)
    net = transformers.AutoModelForSequenceClassification.from_pretrained(o.model).eval()

    @torch.inference_mode()
    def answer(ids, types, mask):
        ids, types, mask = map(torch.from_numpy, (ids, types, mask))
        return net(input_ids=ids, token_type_ids=types, attention_mask=mask).logits.numpy()

    return answer, {"torch": torch.__version__, "transformers": transformers.__version__}


def onnx_engine(o, threads):
    import onnxruntime
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(o.onnx, settings, providers=["CPUExecutionProvider"])

    def answer(ids, types, mask):
        return session.run(["logits"], {"input_ids": ids, "token_type_ids": types, "attention_mask": mask})[0]

    return answer, {"onnxruntime": onnxruntime.__version__}


# Batches

def read_rows(path):
    """Token ids and types of each row."""
    with open(path, encoding="utf-8") as lines:
        return [(row["token_id"], row["type_id"]) for row in map(json.loads, lines)]


def padded(rows):
    """Ids, types and mask, each [rows, longest]."""
    length = max(len(ids) for ids, _ in rows)
    batch = np.zeros((3, len(rows), length), dtype=np.int64)
    for n, (ids, types) in enumerate(rows):
        batch[0, n, :len(ids)], batch[1, n, :len(ids)], batch[2, n, :len(ids)] = ids, types, 1
    return batch


def random_batch(batch, tokens, vocabulary):
    """Ids, types and mask of `platon bench`."""
    ids = (np.arange(batch)[:, None] * 7919 + np.arange(tokens) * 104729) % vocabulary
    return ids.astype(np.int64), np.zeros((batch, tokens), np.int64), np.ones((batch, tokens), np.int64)


# Times

def timed(work, *arguments):
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def over_rows(answer, rows, batch_size):
    """Logits of all rows, in their order."""
    return np.concatenate([answer(*padded(rows[n:n + batch_size])) for n in range(0, len(rows), batch_size)])


def of_shape(answer, arrays, calls):
    """Seconds of each call: as many as `platon bench` makes."""
    slower = timed(answer, *arrays)
    calls = max(calls, min(int(0.1 * calls / slower), 100 * calls))
    return [timed(answer, *arrays) for _ in range(calls)]


def one_by_one(answer, rows):
    """Seconds of each row, after a warm-up with the first of them."""
    for row in rows[:WARM_UP_ROWS]:
        answer(*padded([row]))
    return [timed(lambda: answer(*padded([row]))) for row in rows]


def measured(answer, rows, config, o):
    over_rows(answer, rows[:o.batch_size], o.batch_size)  # what the first call alone must do
    begin = time.perf_counter()
    logits = over_rows(answer, rows, o.batch_size)
    result = {"dev": time.perf_counter() - begin, "logits": logits.tolist()}
    if o.sorted:
        result["sorted"] = timed(over_rows, answer, sorted(rows, key=lambda row: len(row[0])), o.batch_size)
    shapes = [shape for shape in SHAPES if shape[1] <= config["max_position_embeddings"]]
    result["shapes"] = [{"batch": batch, "tokens": tokens, "seconds": of_shape(
        answer, random_batch(batch, tokens, config["vocab_size"]), o.calls)} for batch, tokens in shapes]
    return {**result, "single": one_by_one(answer, rows[:o.single_rows])}


def main():
    o = options()
    threads = os.cpu_count()
    answer, versions = (onnx_engine if o.onnx else torch_engine)(o, threads)
    config = json.loads((o.model / "config.json").read_text())
    versions |= {"python": platform.python_version(), "threads": threads}
    print(json.dumps({**measured(answer, read_rows(o.rows), config, o), "versions": versions}))


if __name__ == "__main__":
    main()
