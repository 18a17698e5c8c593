"""The race's data: a subset of a GLUE task whose single epoch has a wanted number of updates."""
import pathlib
import random
import shutil
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
SEED = 1


class Task(NamedTuple):
    folder: str
    header: bool  # whether train.tsv and dev.tsv begin with a line of column names


TASKS = {
    "cola": Task("CoLA", False), "sst": Task("SST-2", True), "mrpc": Task("MRPC", True),
    "stsb": Task("STS-B", True), "rte": Task("RTE", True), "wnli": Task("WNLI", True),
}


def split_rows(raw, header):
    """What stands before the rows (BOM, line of names) and the rows, all in bytes with line ends."""
    lines = raw.removeprefix(BOM).split(b"\n")
    if not lines[-1]:
        lines.pop()
    lines = [line + b"\n" for line in lines]
    start = 1 if header else 0
    return raw[: len(raw) - len(raw.removeprefix(BOM))] + b"".join(lines[:start]), lines[start:]


def sample(rows, count):
    """`count` rows in a fixed random order; none comes again before all have come."""
    rng, drawn = random.Random(SEED), []
    while len(drawn) < count:
        drawn += rng.sample(rows, len(rows))
    return drawn[:count]


def build(task, source, target, count):
    """Writes `count` training rows and the whole dev split of `task` from the folder `source` to the
    folder `target`. Returns the number of all training rows and of the dev rows in `source`."""
    folder, header = TASKS[task]
    source, target = pathlib.Path(source, folder), pathlib.Path(target, folder)
    head, rows = split_rows((source / "train.tsv").read_bytes(), header)
    dev = split_rows((source / "dev.tsv").read_bytes(), header)[1]
    if not rows or not dev:
        raise ValueError(f"{source}: train.tsv or dev.tsv has no rows")
    target.mkdir(parents=True)
    (target / "train.tsv").write_bytes(head + b"".join(sample(rows, count)))
    shutil.copyfile(source / "dev.tsv", target / "dev.tsv")
    return len(rows), len(dev)
