#!/usr/bin/env python3
"""The race: `platon train` against the same job in PyTorch, in turn, on this machine.

Both train on the same rows for 3 x STEPS updates: STEPS before pruning, STEPS while the ratio falls
and STEPS at the final ratio. Seconds per update are medians per phase, weighted by the phases'
shares of the updates in the task's recipe. The result is Markdown on stdout, progress is on stderr.
"""
import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import sys
from typing import NamedTuple

if sys.version_info < (3, 11):  # as the packages in requirements.txt
    sys.exit("error: the race needs Python 3.11 or later")
import tomllib

import race_data
from race_common import (HERE, ROOT, TARGET, RaceError, absolute, built_platon, exit_status, machine, parsed, row, run,
                         say, started, torch_python, unsteady)

PHASES = ("before", "falling", "final")
PROGRAMS = ("platon", "PyTorch")
PRECISIONS = ("f32", "f16", "bf16")
EVALUATION_BATCH = 64  # as in torch_platon.py
SHARED_KEYS = ("learning_rate", "initial_threshold", "beta1", "beta2", "delta_t")  # of the recipe


class Run(NamedTuple):
    """One program's training and evaluation."""
    seconds: list  # per update
    pruning_seconds: list  # per update
    peak_rss_bytes: int
    evaluation_seconds: float
    versions: dict
    gpu_bytes: tuple = ()  # as race_common has it


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    env = os.environ.get
    p.add_argument("task", nargs="?", choices=race_data.TASKS, default="mrpc")
    p.add_argument("--checkpoint", type=pathlib.Path, metavar="DIR",
                   default=env("PLATON_CHECKPOINT_DIR", ROOT / "checkpoints/bert-base-uncased"),
                   help="Hugging Face folder to start from [PLATON_CHECKPOINT_DIR or %(default)s]")
    p.add_argument("--data-dir", type=pathlib.Path, metavar="DIR", default=env("PLATON_GLUE_DIR", ROOT / "glue-data"),
                   help="folder with the raw files of GLUE [PLATON_GLUE_DIR or %(default)s]")
    p.add_argument("--base-size", action="store_true",
                   help="a random model of BERT-base's size, with the checkpoint's tokenizer")
    p.add_argument("--keep-ratio", type=float, metavar="R", help="share of the weights kept at the end [the recipe's]")
    p.add_argument("--batch-size", type=int, default=32, metavar="N", help="samples per update [32]")
    p.add_argument("--steps", type=int, default=36, metavar="N", help="updates per phase [36]")
    p.add_argument("--discard", type=int, default=4, metavar="N", help="first updates of a phase, not counted [4]")
    p.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each program [3]")
    p.add_argument("--platon", type=pathlib.Path, metavar="PATH", help="binary [cargo build --release]")
    p.add_argument("--python", type=pathlib.Path, metavar="PATH", help="interpreter with requirements.txt's packages "
                   "[a virtual environment made in cargo's target folder]")
    p.add_argument("--backend", default="flex", metavar="NAME",
                   help="platon's; with `cuda` PyTorch runs on the GPU as well, with TF32 [%(default)s]")
    p.add_argument("--precision", choices=PRECISIONS, default="f32",
                   help="of products, in both programs: f32 (TF32 on a GPU), f16 with a loss scale, bf16 [%(default)s]")
    p.add_argument("--json", type=pathlib.Path, metavar="FILE", help="save every update's figures here")
    o = p.parse_args()
    if min(o.batch_size, o.rounds) < 1 or not 0 <= o.discard < o.steps:
        p.error("--batch-size and --rounds begin at 1, --steps at one more than --discard")
    if o.keep_ratio is not None and not 0 < o.keep_ratio < 1:
        p.error("--keep-ratio must be between 0 and 1")
    absolute(o, "checkpoint", "data_dir", "platon", "python", "json")
    return o


# Programs

def flags(settings):
    return [part for key, value in settings.items() for part in (f"--{key.replace('_', '-')}", value)]


def updates(lines, count):
    """Seconds and pruning seconds of the updates 1 to `count`, from their JSON lines."""
    if [line["step"] for line in lines] != list(range(1, count + 1)):
        raise RaceError(f"{count} updates were asked for, {len(lines)} were reported")
    seconds, pruning = ([float(line[key]) for line in lines] for key in ("seconds", "pruning_seconds"))
    return seconds, pruning


def on_gpu(o):
    return o.backend == "cuda"


def run_platon(o, binary, checkpoint, settings, work):
    folder = work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    data = ["--data-dir", work / "data"]
    trained = run([binary, "train", o.task, *data, "--init-checkpoint", checkpoint, "--output-dir", folder,
                   "--pruner", "platon", "--batch-size-eval", EVALUATION_BATCH, "--eval-per-updates", 0,
                   "--log-per-updates", 1, "--no-tui", "--backend", o.backend, "--precision", o.precision,
                   *flags(settings)], work / "platon-train", on_gpu(o))
    lines = [line for line in parsed((folder / "metrics.jsonl").read_text()) if line["split"] == "train"]
    evaluated = run([binary, "evaluate", folder, *data, "--json", "--backend", o.backend], work / "platon-evaluate")
    shutil.rmtree(folder)
    return Run(*updates(lines, 3 * o.steps), trained.peak_rss_bytes, parsed(evaluated.stdout)[0]["seconds"], {},
               trained.gpu_bytes)


def run_torch(o, python, checkpoint, settings, work):
    trained = run([python, HERE / "torch_platon.py", "--task", o.task, "--data", work / "data", "--checkpoint",
                   checkpoint, "--device", "cuda" if on_gpu(o) else "cpu", "--precision", o.precision,
                   *flags(settings)], work / "torch", on_gpu(o))
    *lines, last = parsed(trained.stdout)
    versions = {key: last[key] for key in ("torch", "transformers", "python", "threads")}
    # Its own figure, taken before the packages of the scores are loaded.
    return Run(*updates(lines, 3 * o.steps), last["peak_rss_bytes"], last["evaluation_seconds"], versions,
               trained.gpu_bytes)


# What must be there first

def base_sized(python, checkpoint):
    say("writing a random model of BERT-base's size")
    folder = TARGET / f"base-size-{checkpoint.name}"
    run([python, HERE / "base_model.py", checkpoint, folder], TARGET / "base-model")
    return folder


def built_data(o, binary, checkpoint, work):
    """Makes the subset and lets platon encode it. Returns the number of all training rows and of
    the dev rows."""
    try:
        counts = race_data.build(o.task, o.data_dir, work / "data", o.batch_size * 3 * o.steps)
    except ValueError as e:
        raise RaceError(e) from e
    run([binary, "prepare", o.task, "--data-dir", work / "data", "--tokenizer", checkpoint], work / "platon-prepare")
    return counts


def race_settings(o, recipe):
    """What both programs are told, but for paths: three phases of `steps` updates in one epoch."""
    keep_ratio = recipe["final_threshold"] if o.keep_ratio is None else o.keep_ratio
    return {"batch_size": o.batch_size, "epochs": 1, "warmup_steps": o.steps, "initial_warmup": 1, "final_warmup": 1,
            "final_threshold": keep_ratio, **{key: recipe[key] for key in SHARED_KEYS}, "seed": recipe["seed"]}


# Figures

def phase_weights(recipe, rows):
    """Each phase's share of the updates of the recipe's run on `rows` training rows."""
    total = recipe["epochs"] * math.ceil(rows / recipe["batch_size"])
    before, final = (recipe[key] * recipe["warmup_steps"] / total for key in ("initial_warmup", "final_warmup"))
    return dict(zip(PHASES, (before, 1 - before - final, final)))


def counted(values, phase, steps, discard):
    """The values of a phase's updates but the first `discard`."""
    start = PHASES.index(phase) * steps
    return values[start + discard:start + steps]


def whole_windows(values, delta_t):
    """The last values, as many whole windows of `delta_t` as there are: each holds one masking."""
    return values[len(values) % delta_t:] if len(values) >= delta_t else values


def weighted(by_phase, weights):
    return sum(by_phase[phase] * weights[phase] for phase in PHASES)


def medians(runs, o):
    """Median seconds per update of each phase, over the updates of all `runs`."""
    return {p: statistics.median(s for r in runs for s in counted(r.seconds, p, o.steps, o.discard)) for p in PHASES}


def means(runs, field, o, delta_t):
    """Mean of `field` per update of each phase, over the whole windows of all `runs`."""
    return {p: statistics.fmean(s for r in runs for s in
                                whole_windows(counted(getattr(r, field), p, o.steps, o.discard), delta_t))
            for p in PHASES}


def figures(runs, weights, o, delta_t):
    """A program's figures: seconds, bytes, and `pruning_share` of the update."""
    by_phase = medians(runs, o)
    pruning = weighted(means(runs, "pruning_seconds", o, delta_t), weights)
    return {**by_phase, "weighted": weighted(by_phase, weights), "pruning": pruning,
            "pruning_share": pruning / weighted(means(runs, "seconds", o, delta_t), weights),
            "peak": statistics.median(r.peak_rss_bytes for r in runs),
            "gpu_peak": statistics.median(max(r.gpu_bytes, default=0) for r in runs),
            "evaluation": statistics.median(r.evaluation_seconds for r in runs),
            "rounds": [weighted(medians([r], o), weights) for r in runs]}


# The report

def compared(name, a, b, unit="", scale=1.0, digits=3):
    return row(name + (f", {unit}" if unit else ""), *(f"{x * scale:.{digits}f}" for x in (a, b)),
               f"{a / b:.2f}" if b else "-")


def table(title, a, b, weights, dev_rows):
    phases = {"before": "before pruning", "falling": "while the ratio falls", "final": "at the final ratio"}
    lines = [title, "", row("", *PROGRAMS, "ratio"), "|---|---|---|---|"]
    lines += [compared(f"{phases[p]} ({weights[p]:.1%} of the updates)", a[p], b[p], "s per update") for p in PHASES]
    lines += [compared("**weighted**", a["weighted"], b["weighted"], "s per update"),
              compared("of it pruning", a["pruning"], b["pruning"], "ms per update", 1e3, 1),
              compared("pruning's share", a["pruning_share"], b["pruning_share"], "%", 100, 1),
              compared("peak memory", a["peak"], b["peak"], "MiB", 2**-20, 0),
              *([compared("peak memory of the GPU", a["gpu_peak"], b["gpu_peak"], "MiB", 2**-20, 0)] if a["gpu_peak"]
                else []),
              compared(f"evaluation of {dev_rows} samples", a["evaluation"], b["evaluation"], "s", 1, 2)]
    lines += ["", row("round", *PROGRAMS, "ratio"), "|---|---|---|---|"]
    lines += [compared(str(n), x, y) for n, (x, y) in enumerate(zip(a["rounds"], b["rounds"]), 1)]
    return "\n".join(lines)


def race(o):
    for path in (o.checkpoint / "config.json", *(o.data_dir / race_data.TASKS[o.task].folder / f"{split}.tsv"
                                                 for split in ("train", "dev"))):
        if not path.is_file():
            raise RaceError(f"{path} is not there; --checkpoint and --data-dir name other folders")
    recipe = tomllib.loads((ROOT / "recipes" / f"{o.task}.toml").read_text())
    settings = race_settings(o, recipe)
    work = TARGET / o.task
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    binary, python = o.platon or built_platon(), o.python or torch_python()
    checkpoint = base_sized(python, o.checkpoint) if o.base_size else o.checkpoint
    train_rows, dev_rows = built_data(o, binary, checkpoint, work)
    weights = phase_weights(recipe, train_rows)
    runs = {name: [] for name in PROGRAMS}
    for n in range(1, o.rounds + 1):
        for name, start, program in (("platon", run_platon, binary), ("PyTorch", run_torch, python)):
            runs[name].append(started(start, name, o, program, checkpoint, settings, work))
            seconds = weighted(medians(runs[name][-1:], o), weights)
            say(f"round {n} of {o.rounds}, {name}: {seconds:.3f} s per update")
    a, b = (figures(runs[name], weights, o, recipe["delta_t"]) for name in PROGRAMS)
    facts = machine(binary, runs["PyTorch"][0].versions, on_gpu(o))
    for name, of in zip(PROGRAMS, (a, b)):
        facts |= unsteady(name, of["rounds"])
    title = (f"### {race_data.TASKS[o.task].folder}, {checkpoint.name}, batch {o.batch_size}, {o.precision}, "
             f"{settings['final_threshold']:.0%} kept; {o.rounds} rounds of 3 x {o.steps - o.discard} counted updates")
    print(table(title, a, b, weights, dev_rows), "", *(f"- {k}: {v}" for k, v in facts.items()), sep="\n")
    if o.json:
        o.json.write_text(json.dumps({
            "title": title.removeprefix("### "), **facts, "settings": settings, "weights": weights,
            "figures": dict(zip(PROGRAMS, (a, b))),
            "runs": {name: [r._asdict() for r in runs[name]] for name in PROGRAMS}}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(exit_status(race, options()))
