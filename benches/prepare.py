#!/usr/bin/env python3
"""`platon prepare sst` against the Python package `tokenizers` on the same sentences.

platon's time is that of the whole command: it reads the raw files, encodes on all cores, and writes
both stages to disk. Python's is that of the calls alone: one batched call on all cores, and a loop
that encodes one sentence after the other. Run it by the interpreter that `just race` has made:

    target/race/venv/bin/python benches/prepare.py --data-dir glue-data --tokenizer checkpoints/bert-base-uncased
"""
import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import tokenizers


def sentences(folder):
    """The texts of all splits, as platon reads them."""
    for split, column in (("train", 0), ("dev", 0), ("test", 1)):
        lines = (folder / f"{split}.tsv").read_text().split("\n")[1:]
        yield from (line.split("\t")[column] for line in lines if line)


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data-dir", type=pathlib.Path, default="glue-data")
    p.add_argument("--tokenizer", type=pathlib.Path, required=True, help="folder with tokenizer.json")
    p.add_argument("--platon", type=pathlib.Path, default="target/release/platon")
    p.add_argument("--rounds", type=int, default=3)
    o = p.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tokenizer = tokenizers.Tokenizer.from_file(str(o.tokenizer / "tokenizer.json"))
    tokenizer.no_padding()
    texts = list(sentences(o.data_dir / "SST-2"))

    def prepare(folder):
        subprocess.run([o.platon.resolve(), "prepare", "sst", "--data-dir", folder, "--tokenizer",
                        o.tokenizer], check=True, capture_output=True)

    seconds = {"platon prepare": [], "one batched call": [], "one by one": []}
    for _ in range(o.rounds):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(o.data_dir / "SST-2", pathlib.Path(folder) / "SST-2")
            seconds["platon prepare"].append(timed(lambda: prepare(folder)))
        seconds["one batched call"].append(timed(lambda: tokenizer.encode_batch(texts)))
        seconds["one by one"].append(timed(lambda: [tokenizer.encode(text) for text in texts]))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{len(texts)} sentences, tokenizers {tokenizers.__version__}, {os.cpu_count()} cores, median of {o.rounds}")
    for name, median in medians.items():
        print(f"{name:>17}: {median:.2f} s, platon's share {medians['platon prepare'] / median:.2f}")


if __name__ == "__main__":
    main()
