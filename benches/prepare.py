#!/usr/bin/env python3
"""`platon prepare` against Python on the same texts: one batched call of transformers' fast tokenizer, on all
cores, one of the package `tokenizers` beneath it, and a loop that encodes one row after the other.

platon's time is that of the whole command: it loads the tokenizer, reads the raw files, encodes on all cores,
and writes both stages to disk. Python's is that of the calls alone. Run it by the interpreter that `just race`
has made:

    target/race/venv/bin/python benches/prepare.py --data-dir glue-data --tokenizer checkpoints/bert-base-uncased
    target/race/venv/bin/python benches/prepare.py --tasks mrpc stsb --repeat 20 --train-bpe 50265

The second makes a byte-level BPE of the texts themselves, as RoBERTa's.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

# Folder, and the columns of the texts in train and dev, and in test.
TASKS = {
    "sst": ("SST-2", (0,), (1,)),
    "mrpc": ("MRPC", (3, 4), (3, 4)),
    "stsb": ("STS-B", (7, 8), (7, 8)),
}
SPLITS = ("train", "dev", "test")


def repeated(folder, into, times):
    """Copies a task's files, each row so many times."""
    for split in SPLITS:
        head, *rows = (folder / f"{split}.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
        into.mkdir(parents=True, exist_ok=True)
        (into / f"{split}.tsv").write_text("\n".join([head] + rows * times) + "\n", encoding="utf-8", newline="")


def texts(folder, columns):
    """The texts of all splits, as platon reads them: one list per text of a row."""
    lists = tuple([] for _ in columns[0])
    for split in SPLITS:
        lines = (folder / f"{split}.tsv").read_text(encoding="utf-8").split("\n")[1:]
        for line in filter(None, lines):
            fields = line.rstrip("\r").split("\t")
            for column, texts_ in zip(columns[split == "test"], lists):
                texts_.append(fields[column])
    return lists


def train_bpe(rows, size, into):
    """A byte-level BPE of at most so many tokens, as the files of a RoBERTa."""
    import json
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator((text for lists in rows for texts_ in lists for text in texts_), vocab_size=size,
                                  min_frequency=1, show_progress=False,
                                  special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    into.mkdir()
    tokenizer.save_model(str(into))
    (into / "config.json").write_text(json.dumps({"model_type": "roberta"}))


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data-dir", type=pathlib.Path, default="glue-data")
    p.add_argument("--tasks", nargs="+", default=["sst"], choices=TASKS)
    p.add_argument("--repeat", type=int, default=1, help="how often each row is there")
    tokenizer = p.add_mutually_exclusive_group(required=True)
    tokenizer.add_argument("--tokenizer", type=pathlib.Path, help="folder with a tokenizer")
    tokenizer.add_argument("--train-bpe", type=int, metavar="SIZE", help="make one of so many tokens instead")
    p.add_argument("--platon", type=pathlib.Path, default="target/release/platon")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--loop", action="store_true", help="time the loop too")
    o = p.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["HF_HUB_OFFLINE"] = "1"
    import tokenizers
    import transformers

    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        for task in o.tasks:
            folder = TASKS[task][0]
            repeated(o.data_dir / folder, place / "data" / folder, o.repeat)
        rows = [texts(place / "data" / TASKS[task][0], TASKS[task][1:]) for task in o.tasks]
        if o.train_bpe:
            o.tokenizer = place / "tokenizer"
            train_bpe(rows, o.train_bpe, o.tokenizer)
        fast = transformers.AutoTokenizer.from_pretrained(o.tokenizer)
        bare = tokenizers.Tokenizer.from_str(fast.backend_tokenizer.to_str())
        bare.no_padding()
        bare.no_truncation()
        inputs = [lists[0] if len(lists) == 1 else list(zip(*lists)) for lists in rows]

        def prepare():
            for old in place.glob("data/canonical*"):
                subprocess.run(["rm", "-r", old], check=True)
            subprocess.run([o.platon.resolve(), "prepare", *o.tasks, "--data-dir", place / "data", "--tokenizer",
                            o.tokenizer], check=True, capture_output=True)

        ways = {
            "platon prepare": prepare,
            "a call of transformers": lambda: [fast(*lists, truncation=True, max_length=128) for lists in rows],
            "a call of tokenizers": lambda: [bare.encode_batch(pairs) for pairs in inputs],
        }
        if o.loop:
            ways["one by one"] = lambda: [bare.encode(*pair) if isinstance(pair, tuple) else bare.encode(pair)
                                          for pairs in inputs for pair in pairs]
        seconds = {name: [] for name in ways}
        for _ in range(o.rounds):
            for name, way in ways.items():
                seconds[name].append(timed(way))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    count = sum(len(pairs) for pairs in inputs)
    print(f"{count} rows, {len(fast)} tokens, transformers {transformers.__version__}, tokenizers "
          f"{tokenizers.__version__}, {os.cpu_count()} cores, median of {o.rounds}")
    for name, median in medians.items():
        print(f"{name:>22}: {median:.2f} s, platon's share {medians['platon prepare'] / median:.2f}")


if __name__ == "__main__":
    main()
