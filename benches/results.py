#!/usr/bin/env python3
"""Trains the runs of a table, one after the other, and makes the table from what they reached.

What is to be trained stands in a TOML file (benches/results.toml). Stopped at any time, it goes on where it
was: a run that was begun is resumed, one that is finished stands in the CSV file, with its commit and
machine. The table is Markdown on stdout, progress is on stderr.
"""
import argparse
import csv
import functools
import hashlib
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import tomllib
from typing import NamedTuple

import race_data
from race_common import HERE, ROOT, RaceError, absolute, built_platon, end, exit_status, output, row, say

FIELDS = ["name", "task", "method", "ratio", "seed", "settings", "scores", "seconds", "seconds_per_update", "updates",
          "reached_ratio", "inputs", "commit", "version", "machine", "date"]
ALL = 1.0  # the ratio of a run that prunes nothing
WEIGHTS = ["model.safetensors", "pytorch_model.bin"]
HELD_APART = 10  # one training row of so many becomes a dev row where the plan asks for that
# Of figures only: what they are does not decide a weight.
QUIET = {"eval_per_updates": 0, "batch_size_eval": 64}


def named(task, method, ratio, seed):
    """What a run is called."""
    return f"{task}-{method}{'' if ratio == ALL else f'-{ratio:.2f}'}-seed{seed}"


class Run(NamedTuple):
    """One training."""
    task: str
    recipe: str
    method: str
    ratio: float
    seed: int
    settings: tuple  # of (name, value)
    teacher: str = ""  # the run that teaches it
    start: str = ""  # the run whose model it begins with, instead of the checkpoint
    of: tuple = ()  # the keys of these runs
    main: str = ""  # the score that counts most, where it is not the first

    @property
    def name(self):
        return named(self.task, self.method, self.ratio, self.seed)

    @property
    def others(self):
        """The runs that it needs."""
        return [name for name in (self.teacher, self.start) if name]

    @property
    def key(self):
        """Of the settings, also of the runs it needs: a row of the CSV file with another one is another run's."""
        text = json.dumps([self.recipe, self.settings, self.teacher, self.start, self.of])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def options(arguments=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    env = os.environ.get
    p.add_argument("--plan", type=pathlib.Path, metavar="FILE", default=HERE / "results.toml",
                   help="what is to be trained [%(default)s]")
    p.add_argument("--csv", type=pathlib.Path, metavar="FILE", help="what was reached [beside the plan]")
    p.add_argument("--runs", type=pathlib.Path, metavar="DIR",
                   help="the runs' folders [checkpoints/NAME of the plan]")
    p.add_argument("--checkpoint", type=pathlib.Path, metavar="DIR",
                   default=env("PLATON_CHECKPOINT_DIR", ROOT / "checkpoints/bert-base-uncased"),
                   help="Hugging Face folder to start from [PLATON_CHECKPOINT_DIR or %(default)s]")
    p.add_argument("--data-dir", type=pathlib.Path, metavar="DIR", default=env("PLATON_GLUE_DIR", ROOT / "glue-data"),
                   help="folder with the raw files of GLUE [PLATON_GLUE_DIR or %(default)s]")
    p.add_argument("--platon", type=pathlib.Path, metavar="PATH", help="binary [cargo build --release]")
    p.add_argument("--commit", metavar="NAME", help="what the binary was built from [that of this folder]")
    p.add_argument("--only", metavar="TEXT", default="", help="runs with this text in their names")
    p.add_argument("--limit", type=int, metavar="N", help="trains at most so many runs")
    p.add_argument("--table", action="store_true", help="trains nothing: only the table of what there is")
    o = p.parse_args(arguments)
    o.csv = o.csv or o.plan.with_suffix(".csv")
    o.runs = o.runs or ROOT / "checkpoints" / o.plan.stem
    absolute(o, "plan", "csv", "runs", "checkpoint", "data_dir", "platon")
    return o


# What is to be trained

def ratio_of(plan, method, ratio):
    """What remains in the run of `method` that one of `ratio` learns from or begins with."""
    method = plan["methods"].get(method, {})
    is_dense = method.get("settings", {}).get("pruner") == "none" and "start" not in method
    return ALL if is_dense else ratio


def planned(plan):
    """All runs of a plan, in their order."""
    runs = []
    for block in plan["runs"]:
        task = plan["tasks"].get(block["task"])
        if task is None:
            raise RaceError(f"the plan has no task {block['task']}")
        for seed in block["seeds"]:
            for line in block["rows"]:
                method = plan["methods"].get(line["method"])
                if method is None:
                    raise RaceError(f"the plan has no method {line['method']}")
                for ratio in line.get("ratios", [ALL]):
                    settings = {**QUIET, **task["settings"], **method["settings"], "seed": seed}
                    if ratio != ALL:
                        settings["final_threshold"] = ratio
                    others = {of: named(block["task"], method[of], ratio_of(plan, method[of], ratio), seed)
                              for of in ("teacher", "start") if of in method}
                    runs.append(Run(block["task"], task["recipe"], line["method"], ratio, seed,
                                    tuple(sorted(settings.items())), **others, main=task.get("main", "")))
    names = [run.name for run in runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RaceError(f"the plan has {', '.join(sorted(twice))} more than once")
    if missing := {other for run in runs for other in run.others} - set(names):
        raise RaceError(f"the plan lacks the runs {', '.join(sorted(missing))}, which others learn from or begin with")
    return with_keys(runs)


def with_keys(runs):
    """The same runs, that know the keys of those they need."""
    known = {}
    while len(known) < len(runs):
        ready = [run for run in runs if run.name not in known and all(other in known for other in run.others)]
        if not ready:
            raise RaceError("runs of the plan need each other")
        known.update({run.name: run._replace(of=tuple(known[other].key for other in run.others)) for run in ready})
    return [known[run.name] for run in runs]


def digest(*paths):
    """Of the names and contents of files."""
    sha = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            sha.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return sha.hexdigest()[:12]


def raw_files(o, task):
    """The training and dev rows of a task."""
    folder = o.data_dir / race_data.TASKS[task].folder
    return [folder / f"{name}.tsv" for name in ("train", "dev")]


def inputs(o, task):
    """Of the checkpoint's weights and of the task's rows: a run from others is another run."""
    weights = [path for name in WEIGHTS if (path := o.checkpoint / name).is_file()][:1]
    if not weights:
        raise RaceError(f"{o.checkpoint}: expected {' or '.join(WEIGHTS)}, found neither (hint: name a Hugging Face "
                        "folder with --checkpoint)")
    return digest(*weights, *raw_files(o, task))


def held_apart(task, source, target):
    """Writes the task's training rows to the folder `target`, but for a tenth, which is its dev split there."""
    folder, header = race_data.TASKS[task]
    source, target = pathlib.Path(source, folder), pathlib.Path(target, folder)
    if (target / "dev.tsv").is_file():
        return
    head, rows = race_data.split_rows((source / "train.tsv").read_bytes(), header)
    dev = set(random.Random(race_data.SEED).sample(range(len(rows)), len(rows) // HELD_APART))
    target.mkdir(parents=True, exist_ok=True)
    for name, is_dev in ("train", False), ("dev", True):
        part = target / f"{name}.part"
        part.write_bytes(head + b"".join(line for n, line in enumerate(rows) if (n in dev) == is_dev))
        part.rename(target / f"{name}.tsv")


# What was reached

def reached(path):
    """The rows of the CSV file, by the names of the runs and their keys."""
    if not path.is_file():
        return {}
    with open(path, newline="") as file:
        lines = csv.DictReader(file)
        if lines.fieldnames != FIELDS:
            raise RaceError(f"{path}:1: expected {','.join(FIELDS)}, found {','.join(lines.fieldnames or [])} (hint: an "
                            "older version wrote it; name another file with --csv)")
        return {(line["name"], line["settings"]): line for line in lines}


def check_inputs(o, run, of, line):
    """Refuses a finished run of another checkpoint or other data than those named now."""
    if line["inputs"] != of:
        raise RaceError(f"{o.csv}: {run.name} was trained from another checkpoint or other data than {o.checkpoint} "
                        f"and {o.data_dir} (hint: name another file with --csv, and another folder with --runs)")


def note(path, line):
    """Adds a row to the CSV file."""
    is_new = not path.is_file()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(line)


def machine():
    cpu = "unknown"
    if (info := pathlib.Path("/proc/cpuinfo")).is_file():
        cpu = next((line.split(": ")[1].strip() for line in info.read_text().splitlines() if "model name" in line), cpu)
    return f"{cpu}, {os.cpu_count()} cores"


def flag(name, value):
    if isinstance(value, bool):
        return f"--{name.replace('_', '-')}={str(value).lower()}"
    return f"--{name.replace('_', '-')}={value}"


def trained(o, run, of, binary, commit):
    """Trains `run` from the inputs `of`, or goes on with it; its report, and from what, by whom, where and when it was
    made."""
    folder = o.runs / run.name
    check_settings(run, of, folder)
    maker = o.runs / f"{run.name}.by"
    if not (folder / "report.json").is_file():
        data = linked(o, run.task)
        if (folder / "config.toml").is_file():
            command = [binary, "resume", folder, "--no-tui", "--data-dir", data]
        else:
            command = [binary, "train", run.recipe, "--no-tui", "--output-dir", folder, "--data-dir", data,
                       "--init-checkpoint", o.runs / run.start if run.start else o.checkpoint,
                       *(flag(*setting) for setting in run.settings)]
            if run.teacher:
                command.append(flag("teacher", o.runs / run.teacher))
        log = o.runs / f"{run.name}.log"
        with open(log, "ab") as file:
            child = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file,
                                     stderr=subprocess.STDOUT)
            try:
                code = child.wait()
            except BaseException:
                end(child)
                raise
        if code:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RaceError(f"{run.name} ended with {code}: {' '.join(said)} (all of it in {log})")
        maker.write_text(json.dumps({"commit": commit, "version": output(str(binary), "--version"), "machine": machine(),
                                     "date": time.strftime("%Y-%m-%d", time.gmtime())}))
    report = folder / "report.json"
    # A run that was there before need not be of this commit and machine.
    by = json.loads(maker.read_text()) if maker.is_file() else {
        "commit": "unknown", "version": "unknown", "machine": "unknown",
        "date": time.strftime("%Y-%m-%d", time.gmtime(report.stat().st_mtime))}
    return json.loads(report.read_text()), {"inputs": of, **by}


def check_settings(run, of, folder):
    """Refuses a folder of other settings than those of `run`, or of other inputs, and notes these of a new one."""
    key, wanted = folder.with_name(f"{run.name}.key"), f"{run.key} {of}"
    if not folder.exists():
        key.write_text(wanted)
    elif not key.is_file() or key.read_text() != wanted:
        raise RaceError(f"{folder}: expected a run with the plan's settings, checkpoint and data, found one with others "
                        "(hint: remove it, or name another folder with --runs)")


def linked(o, task):
    """A folder with the raw files of a task: encoded rows go beside them, and theirs may be read-only. Each set of
    files has its own, with what is held apart or with the whole."""
    data = o.runs / f"{'held-apart' if o.held_apart else 'data'}-{digest(*raw_files(o, task))}"
    folder = race_data.TASKS[task].folder
    if o.held_apart:
        held_apart(task, o.data_dir, data)
    else:
        data.mkdir(parents=True, exist_ok=True)
        (data / folder).unlink(missing_ok=True)
        (data / folder).symlink_to(o.data_dir / folder)
    return data


def scores(dev):
    """The scores of a report, whatever set they are of."""
    flat = {}
    for name, value in dev.items():
        if isinstance(value, dict):
            flat.update(scores(value))
        else:
            # Of an undefined one, as the correlation of constant predictions, there is no number.
            flat[name] = None if value is None else round(value, 4)
    return flat


# The table

def mean(values):
    """Mean, the range where there are several, and how many there are of which none is defined."""
    runs = len(values)
    values = [value for value in values if value is not None]
    undefined = f", {runs - len(values)} of {runs} undefined" if len(values) < runs else ""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}{undefined}"
    return f"{statistics.fmean(values):.2f} ({min(values):.2f} to {max(values):.2f}){undefined}"


def table(runs, known):
    """The table, and what of the plan was not run."""
    lines, missing, order, found = [], [], [], {}
    for run in runs:
        place = (run.task, run.method, run.ratio)
        if place not in order:
            order.append(place)
        line = known.get((run.name, run.key))
        if line is None:
            missing.append(run.name)
        else:
            found.setdefault(place, {})[run.seed] = line
    by_task, main = {}, {run.task: run.main for run in runs}
    for place in order:
        by_task.setdefault(place[0], []).append(place)
    for task, places in by_task.items():
        done = [place for place in places if place in found]
        if not done:
            continue
        lines += ["", f"### {task}", "", row("method", "remaining", "seeds", "scores", "first score, of dense", "minutes"),
                  "|---|---|---|---|---|---|"]
        dense = found.get((task, "dense", ALL), {})
        for place in done:
            seeds = found[place]
            all_scores = {seed: json.loads(line["scores"]) for seed, line in seeds.items()}
            names = sorted(next(iter(all_scores.values())), key=lambda name: name != main[task])
            text = ", ".join(f"{name} {mean([s[name] for s in all_scores.values()])}" for name in names)
            # Runs of the same seeds are compared.
            both = [seed for seed in seeds if seed in dense]
            pairs = [(all_scores[seed][names[0]], json.loads(dense[seed]["scores"])[names[0]]) for seed in both]
            pairs = [pair for pair in pairs if None not in pair]
            first = sum(of_dense for _, of_dense in pairs)
            share = f"{100 * sum(own for own, _ in pairs) / first:.1f} %" if first else "-"
            minutes = statistics.fmean(float(line["seconds"]) for line in seeds.values()) / 60
            lines.append(row(place[1], f"{place[2]:.0%}", ", ".join(map(str, sorted(seeds))), text, share,
                             f"{minutes:.1f}"))
    seen = [line for seeds in found.values() for line in seeds.values()]
    lines += ["", f"Machine: {'; '.join(sorted({line['machine'] for line in seen})) or 'none'}. "
                  f"Commits: {', '.join(sorted({line['commit'] for line in seen})) or 'none'}."]
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return "\n".join(lines).strip()


def results(o):
    try:
        plan = tomllib.loads(o.plan.read_text())
    except tomllib.TOMLDecodeError as e:
        raise RaceError(f"{o.plan}: {e}") from e
    o.held_apart = plan.get("held_apart", False)
    runs = planned(plan)
    if not o.table:
        binary = o.platon or built_platon()
        commit = o.commit or output("git", "describe", "--always", "--dirty", "--exclude", "*")
        o.runs.mkdir(parents=True, exist_ok=True)
        tasks = {run.task for run in runs if o.only in run.name}
        done, inputs_of = 0, functools.cache(lambda task: inputs(o, task))
        for n, run in enumerate(runs, 1):
            line = reached(o.csv).get((run.name, run.key))
            # All of a task are compared with each other, also those that are not to be trained now.
            if line and run.task in tasks:
                check_inputs(o, run, inputs_of(run.task), line)
            if line or o.only not in run.name:
                continue
            if o.limit is not None and done >= o.limit:
                break
            say(f"{n} of {len(runs)}: {run.name}")
            of = inputs_of(run.task)  # as of all runs that it needs
            # They may be known by their figures alone.
            for name in run.others:
                if not (o.runs / name / "report.json").is_file():
                    say(f"first what it needs: {name}")
                # One that is there is looked at all the same: it may be of other settings.
                trained(o, next(other for other in runs if other.name == name), of, binary, commit)
            report, by = trained(o, run, of, binary, commit)
            done += 1
            note(o.csv, {
                "name": run.name, "task": run.task, "method": run.method, "ratio": run.ratio, "seed": run.seed,
                "settings": run.key, "scores": json.dumps(scores(report["dev"])),
                "seconds": round(report["seconds"], 1), "seconds_per_update": round(report["seconds_per_step"], 4),
                "updates": report["steps"], "reached_ratio": round(report["reached_ratio"], 4), **by})
            say(f"{run.name}: {scores(report['dev'])} in {report['seconds'] / 60:.1f} minutes")
    print(table(runs, reached(o.csv)))


if __name__ == "__main__":
    sys.exit(exit_status(results, options()))
