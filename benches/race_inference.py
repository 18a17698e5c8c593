#!/usr/bin/env python3
"""The race of answers: platon, dense and sparse, against PyTorch and ONNX Runtime, in turn, on this machine.

All load the same model, which PyTorch exports for ONNX Runtime, and get the same token ids. Measured are
the task's dev rows in batches of 32 and batches of random tokens, at one and at many texts a time. First
all logits are compared. The result is Markdown on stdout, progress is on stderr.
"""
import argparse
import json
import math
import os
import pathlib
import shlex
import shutil
import statistics
import sys
from typing import NamedTuple

import race_data
from race_common import (HERE, ROOT, TARGET, RaceError, absolute, built_platon, exit_status, machine, parsed, row, run,
                         say, started, torch_python, unsteady)

DENSE, SPARSE, TORCH, ONNX, INT8 = PROGRAMS = (
    "platon dense", "platon sparse", "PyTorch", "ONNX Runtime", "ONNX Runtime int8")
EXACT = (DENSE, SPARSE, ONNX)  # those whose logits must be PyTorch's
TOLERANCE = 1e-4
SINGLE_ROWS = 200  # dev rows that are answered one by one
BUSY = 0.5  # load before the race; more is remarked on in the report
BATCH = 32  # platon's own, for the evaluation of a model without a run
OUTPUTS = {"dense": DENSE, "sparse": SPARSE}  # platon's name for its engines, and ours


class Latency(NamedTuple):
    median: float  # in seconds, both
    p95: float


class Round(NamedTuple):
    """What one program took in one round."""
    dev: float  # seconds for all dev rows in batches, each padded to its longest row; platon pads nothing
    sorted: float  # the same from the shortest row to the longest, as platon has them anyway; or None
    shapes: dict  # (texts, tokens of each): Latency
    process: float = None  # seconds of the command that evaluates the dev rows, with all that it loads
    single: Latency = None  # of one dev row at a time


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    env = os.environ.get
    p.add_argument("task", choices=race_data.TASKS)
    p.add_argument("--model", type=pathlib.Path, metavar="DIR", required=True,
                   help="run folder, or Hugging Face folder with a classifier for the task")
    p.add_argument("--data-dir", type=pathlib.Path, metavar="DIR", default=env("PLATON_GLUE_DIR", ROOT / "glue-data"),
                   help="folder with the raw files of GLUE [PLATON_GLUE_DIR or %(default)s]")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each program [5]")
    p.add_argument("--sorted", action="store_true",
                   help="PyTorch and ONNX Runtime get the dev rows sorted by length as well, which spares them padding")
    p.add_argument("--platon", type=pathlib.Path, metavar="PATH", help="binary [cargo build --release]")
    p.add_argument("--python", type=pathlib.Path, metavar="PATH", help="interpreter with requirements.txt's packages "
                   "[a virtual environment made in cargo's target folder]")
    p.add_argument("--json", type=pathlib.Path, metavar="FILE", help="save every round's figures here")
    o = p.parse_args()
    if o.rounds < 1:
        p.error("--rounds begins at 1")
    absolute(o, "model", "data_dir", "platon", "python", "json")
    return o


# Programs

class Course(NamedTuple):
    """What is there before the first round."""
    o: argparse.Namespace
    binary: pathlib.Path
    python: pathlib.Path
    work: pathlib.Path
    model: pathlib.Path  # in `work`, so that no run's settings are found beside it
    rows: pathlib.Path  # the dev rows as platon encodes them


def evaluation(course, engine):
    return [course.binary, "evaluate", course.model, "--task", course.o.task, "--data-dir", course.work / "data",
            "--engine", engine, "--backend", "flex", "--json"]


def platon_round(course):
    """platon's two rounds, and what it tells about the model and itself."""
    dev = {}
    for engine in OUTPUTS:
        finished = run(evaluation(course, engine), course.work / f"platon-{engine}")
        dev[engine] = parsed(finished.stdout)[0]["seconds"], finished.seconds
    bench = run([course.binary, "bench", course.model, "--backend", "flex", "--json"], course.work / "platon-bench")
    about = parsed(bench.stdout)[0]
    return {name: Round(dev[engine][0], dev[engine][0], {
        (kind["batch"], kind["tokens"]): Latency(kind[engine]["median_ms"] / 1e3, kind[engine]["p95_ms"] / 1e3)
        for kind in about["batches"]}, process=dev[engine][1]) for engine, name in OUTPUTS.items()}, about


def other_round(course, name):
    """The round of PyTorch or ONNX Runtime, its logits, and the versions."""
    onnx = {ONNX: ["--onnx", course.work / "fp32.onnx"], INT8: ["--onnx", course.work / "int8.onnx"]}.get(name, [])
    by_length = ["--sorted"] if course.o.sorted else []
    finished = run([course.python, HERE / "answers.py", "--model", course.model, "--rows", course.rows, "--batch-size",
                    BATCH, "--single-rows", SINGLE_ROWS, *onnx, *by_length], course.work / name.replace(" ", "-"))
    taken = parsed(finished.stdout)[0]
    shapes = {(shape["batch"], shape["tokens"]): latency(shape["seconds"]) for shape in taken["shapes"]}
    return (Round(taken["dev"], taken.get("sorted"), shapes, single=latency(taken["single"])),
            taken["logits"], taken["versions"])


def platon_logits(course, engine):
    """The logits of the dev rows, from their texts: `predict` shows them, `evaluate` does not."""
    texts = course.work / "texts.jsonl"
    finished = run([course.binary, "predict", course.model, "--input", texts, "--engine", engine, "--backend", "flex",
                    "--json"], course.work / f"platon-predict-{engine}")
    return [line["logits"] for line in parsed(finished.stdout)]


# What must be there first

def model_folder(path):
    """The model of a run folder, or the folder itself."""
    folder = next((f for f in (path / "model", path) if (f / "config.json").is_file()), None)
    if not folder:
        raise RaceError(f"{path} holds no config.json: --model names a run folder or a Hugging Face folder")
    return folder


def write_texts(canonical, file):
    """The texts of a prepared file (uid, label, text or two) as JSON lines."""
    with open(canonical, encoding="utf-8", newline="\n") as lines, open(file, "w") as out:
        for line in lines:
            _, _, *texts = line.rstrip("\n").split("\t")
            names = ("sentence1", "sentence2") if len(texts) == 2 else ("sentence",)
            out.write(json.dumps(dict(zip(names, texts))) + "\n")


def prepared(o):
    """Everything that the rounds need."""
    folder = race_data.TASKS[o.task].folder
    work, source, model = TARGET / f"answers-{o.task}", o.data_dir / folder / "dev.tsv", model_folder(o.model)
    if not source.is_file():
        raise RaceError(f"{source} is not there; --data-dir names another folder")
    shutil.rmtree(work, ignore_errors=True)
    (work / "data" / folder).mkdir(parents=True)
    shutil.copyfile(source, work / "data" / folder / "dev.tsv")
    (work / "answering").symlink_to(model)
    rows = work / f"data/canonical_data/answering/{o.task}_dev.json"
    course = Course(o, o.platon or built_platon(), o.python or torch_python(), work, work / "answering", rows)
    say("encoding the dev rows")
    run(evaluation(course, "sparse"), work / "platon-prepare")
    write_texts(work / f"data/canonical_data/{o.task}_dev.tsv", work / "texts.jsonl")
    say("exporting the model")
    run([course.python, HERE / "export_onnx.py", course.model, work], work / "export")
    return course


# Figures

def quantile(values, share):
    """The value that a share of the values does not exceed, as in `platon bench`."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def latency(seconds):
    return Latency(quantile(seconds, 0.5), quantile(seconds, 0.95))


def difference(logits, others):
    """The largest absolute difference; infinite where the rows do not match or a logit is not a number."""
    if [len(a) for a in logits] != [len(b) for b in others]:
        return math.inf
    pairs = [abs(x - y) for a, b in zip(logits, others) for x, y in zip(a, b)]
    return math.inf if any(map(math.isnan, pairs)) else max(pairs, default=0.0)


def differences(logits):
    """Of each program's logits to PyTorch's; those of exact programs must be small."""
    found = {name: difference(of, logits[TORCH]) for name, of in logits.items()}
    if wrong := {name: found[name] for name in EXACT if found[name] > TOLERANCE}:
        raise RaceError("the logits are not PyTorch's: " + ", ".join(
            f"{name} differs by {value:.2g}" for name, value in wrong.items()))
    return found


def median(rounds, figure):
    """The median of a round's figure over the rounds, or `None` where a program has none."""
    values = [figure(r) for r in rounds]
    return None if None in values else statistics.median(values)


def over_shapes(rounds):
    """Medians over the rounds: (texts, tokens) to Latency."""
    return {shape: Latency(*(median(rounds, lambda r: r.shapes[shape][n]) for n in (0, 1)))
            for shape in rounds[0].shapes}


# The report

def table(head, lines):
    return "\n".join([row(*head), "|---" * len(head) + "|", *(row(*line) for line in lines)])


def number(value, digits=0, scale=1.0):
    return "-" if value is None else f"{value * scale:.{digits}f}"


def by_rows(rounds, count, found):
    """The table of the dev rows."""
    is_sorted = median(rounds[TORCH], lambda r: r.sorted) is not None
    kinds = [("rows per second", lambda r: r.dev)] + [("sorted by length", lambda r: r.sorted)] * is_sorted
    seconds = {name: [median(of, figure) for _, figure in kinds] for name, of in rounds.items()}
    head = ["", *(cell for kind, _ in kinds for cell in (kind, "to PyTorch's", "platon sparse's to it")),
            "whole process, s", "largest difference of logits"]
    lines = []
    for name, of in rounds.items():
        cells = [cell for n, s in enumerate(seconds[name]) for cell in (
            number(count / s), number(seconds[TORCH][n] / s, 2), number(s / seconds[SPARSE][n], 2))]
        differs = "-" if name == TORCH else f"{found[name]:.1e}"
        lines.append([name, *cells, number(median(of, lambda r: r.process), 2), differs])
    return table(head, lines)


def by_shapes(rounds):
    """The table of sentences per second."""
    taken = {name: over_shapes(of) for name, of in rounds.items()}
    against = (DENSE, TORCH, ONNX, INT8)
    lines = [[f"{texts} x {tokens}", *(number(texts / taken[name][texts, tokens].median) for name in PROGRAMS),
              *(number(taken[name][texts, tokens].median / taken[SPARSE][texts, tokens].median, 2) for name in against)]
             for texts, tokens in taken[SPARSE]]
    return table(["texts x tokens", *PROGRAMS, *(f"platon sparse's to {name}'s" for name in against)], lines)


def by_latency(rounds, tokens_of_rows):
    """The table of single texts' milliseconds: median and 95th percentile."""
    taken = {name: over_shapes(of) for name, of in rounds.items()}
    single = {name: Latency(*(median(of, lambda r: r.single and r.single[n]) for n in (0, 1)))
              for name, of in rounds.items()}

    def cells(of):
        return ["-" if l.median is None else f"{number(l.median, 2, 1e3)} ({number(l.p95, 2, 1e3)})" for l in of]

    shapes = [tokens for texts, tokens in taken[SPARSE] if texts == 1]
    lines = [[f"{tokens} tokens", *cells(taken[name][1, tokens] for name in PROGRAMS)] for tokens in shapes]
    lines.append([f"dev rows, {tokens_of_rows:.0f} tokens on average", *cells(single[name] for name in PROGRAMS)])
    return table(["one text, ms (p95)", *PROGRAMS], lines)


def by_round(rounds, count):
    lines = [[str(n), *(number(count / r.dev) for r in turn)] for n, turn in enumerate(zip(*rounds.values()), 1)]
    return table(["round, dev rows per second", *rounds], lines)


def command():
    """What was typed, with the last parts of absolute paths only."""
    return shlex.join(["benches/race_inference.py", *(
        pathlib.Path(word).name if os.path.isabs(word) else word for word in sys.argv[1:])])


def busy(load):
    """A remark where other programs ran: their threads keep those of the racers waiting for each other,
    which slows them down by very different factors, and may do so alike in all rounds."""
    return {"busy": f"the load before the race was {load:.1f}: do not compare these figures"} if load > BUSY else {}


def facts_of(course, rounds, about, versions):
    facts = machine(course.binary, versions[TORCH])
    facts["platon"] += f", {about['threads']} threads, {about['instructions']}"
    facts["ONNX Runtime"] = "onnxruntime {onnxruntime}, {threads} threads".format(**versions[ONNX])
    for name, of in rounds.items():
        facts |= unsteady(name, [r.dev for r in of])
    return {**facts, "command": f"`{command()}`"}


def all_rounds(course):
    """Each program's rounds, the differences of logits, what platon tells, and versions by program."""
    rounds, logits, versions = {name: [] for name in PROGRAMS}, {}, {}
    for engine, name in OUTPUTS.items():
        logits[name] = started(platon_logits, name, course, engine)
    for n in range(1, course.o.rounds + 1):
        taken, about = started(platon_round, "platon", course)
        for name in (TORCH, ONNX, INT8):
            taken[name], of_rows, versions[name] = started(other_round, name, course, name)
            logits.setdefault(name, of_rows)
        if n == 1:
            found = differences(logits)
        for name in PROGRAMS:
            rounds[name].append(taken[name])
            say(f"round {n} of {course.o.rounds}, {name}: {taken[name].dev:.3f} s for the dev rows")
    return rounds, found, about, versions


def race(o):
    if crowd := busy(os.getloadavg()[0]):
        say(f"warning: {crowd['busy']}")
    course = prepared(o)
    lengths = [len(of["token_id"]) for of in parsed(course.rows.read_text())]
    rounds, found, about, versions = all_rounds(course)
    facts = facts_of(course, rounds, about, versions) | crowd
    title = (f"{race_data.TASKS[o.task].folder}, {o.model.name}, {about['remaining']:.1%} of the encoder layers' "
             f"weights; {len(lengths)} dev rows of {statistics.fmean(lengths):.0f} tokens, batch {BATCH}; "
             f"{o.rounds} rounds")
    of_single = statistics.fmean(lengths[:SINGLE_ROWS])
    print(f"### {title}", by_rows(rounds, len(lengths), found), "Random tokens, sentences per second:",
          by_shapes(rounds), by_latency(rounds, of_single), by_round(rounds, len(lengths)),
          "\n".join(f"- {k}: {v}" for k, v in facts.items()), sep="\n\n")
    if o.json:
        o.json.write_text(json.dumps({"title": title, **facts, "differences": found, "rounds": {
            name: [{**r._asdict(), "shapes": [[*shape, *l] for shape, l in r.shapes.items()]} for r in of]
            for name, of in rounds.items()}}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_status(race, options()))
