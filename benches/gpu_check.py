#!/usr/bin/env python3
"""What to see first on a machine with an NVIDIA GPU: `platon doctor`, the CUDA tests, the demo, a model of
BERT-base's size against PyTorch, the threshold against torch.kthvalue, memory, and reads back to the host.

Each part stands for itself: what fails is reported, and the others still run. The result is Markdown on
stdout, progress is on stderr; exit code 1 if a part failed. Nothing needs a network where --platon, --tests
and --python name what was built and installed elsewhere.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

import race
import race_data
from race_common import HERE, ROOT, TARGET, RaceError, absolute, end, exit_status, output, row, say, torch_python

WORK = TARGET / "gpu-check"
TEST_FAILED = 101  # cargo's tests exit so
TAIL = 5  # lines of standard error that an error repeats


class LeftOut(Exception):
    """Why a part did not run."""


class Failed(Exception):
    """What went wrong in a part, with the lines that it has to show all the same."""

    def __init__(self, what, lines=()):
        super().__init__(what)
        self.lines = list(lines)


class Ended(NamedTuple):
    code: int
    stdout: str
    stderr: str


class Result(NamedTuple):
    part: str
    verdict: str  # passed, failed or left out
    why: str
    lines: list
    seconds: float


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    env = os.environ.get
    p.add_argument("--backend", choices=("cuda", "wgpu", "flex"), default="cuda",
                   help="platon's; PyTorch runs on the GPU with cuda, else on the CPU [%(default)s]")
    p.add_argument("--platon", type=pathlib.Path, metavar="PATH", help="binary [built with the backend]")
    p.add_argument("--tests", type=pathlib.Path, metavar="PATH",
                   help="integration tests' binary, with the features of the backend and `tracing` [built]")
    p.add_argument("--python", type=pathlib.Path, metavar="PATH", help="interpreter with requirements.txt's packages "
                   "[a virtual environment made in cargo's target folder]")
    p.add_argument("--checkpoint", type=pathlib.Path, metavar="DIR",
                   default=env("PLATON_CHECKPOINT_DIR", ROOT / "checkpoints/bert-base-uncased"),
                   help="Hugging Face folder, for its tokenizer [PLATON_CHECKPOINT_DIR or %(default)s]")
    p.add_argument("--data-dir", type=pathlib.Path, metavar="DIR", default=env("PLATON_GLUE_DIR", ROOT / "glue-data"),
                   help="folder with the raw files of GLUE [PLATON_GLUE_DIR or %(default)s]")
    p.add_argument("--task", choices=race_data.TASKS, default="mrpc", help="to race on [%(default)s]")
    p.add_argument("--own-size", action="store_true",
                   help="race with the checkpoint itself, not with a model of BERT-base's size")
    p.add_argument("--batch-size", type=int, default=32, metavar="N", help="samples per update [32]")
    p.add_argument("--steps", type=int, default=200, metavar="N", help="updates of a race, in three phases [200]")
    p.add_argument("--minutes", type=float, default=20, metavar="M", help="for all parts together [20]")
    p.add_argument("--parts", type=lambda names: names.split(","), default=list(PARTS), metavar="A,B",
                   help=f"some of {','.join(PARTS)} [all]")
    o = p.parse_args()
    if unknown := [name for name in o.parts if name not in PARTS]:
        p.error(f"--parts: there is no {unknown[0]}; there are {', '.join(PARTS)}")
    if o.batch_size < 1 or o.steps < 10 or o.minutes <= 0:
        p.error("--batch-size begins at 1, --steps at 10 (a window of the scores), --minutes above 0")
    absolute(o, "checkpoint", "data_dir", "platon", "tests", "python")
    o.deadline = time.monotonic() + 60 * o.minutes
    return o


# Programs

def ran(o, name, command, codes=(0,)):
    """How `command` ended, which must be with one of `codes`, in what is left of the part's time."""
    left = o.until - time.monotonic()
    if left <= 0:
        raise LeftOut("the time for it is over")
    out, err = (WORK / f"{name}.{stream}" for stream in ("stdout", "stderr"))
    # Tests that were built elsewhere find their files by it.
    env = {**os.environ, "CARGO_MANIFEST_DIR": str(ROOT)}
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        try:
            child = subprocess.Popen(list(map(str, command)), cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                                     stdout=stdout, stderr=stderr)
        except OSError as e:
            raise Failed(f"{command[0]} cannot be started: {e.strerror}") from e
        try:
            code = child.wait(left)
        except subprocess.TimeoutExpired:
            end(child)
            said = err.read_text(errors="replace").strip().splitlines()[-TAIL:]  # what is known by then
            raise Failed(f"{name} was not done in {left:.0f} s, all that it had; --minutes gives more",
                         fenced("\n".join(said))) from None
        except BaseException:
            end(child)
            raise
    ended = Ended(code, *(path.read_text(errors="replace") for path in (out, err)))
    if code not in codes:
        raise Failed(f"ended with {code}: " + " | ".join(ended.stderr.strip().splitlines()[-TAIL:]))
    return ended


def built(o):
    """Builds the program and its tests where they were not named."""
    if o.platon and (o.tests or not {"tests", "reads"} & set(o.parts)):
        return
    features = "tracing" if o.backend == "flex" else f"{o.backend},tracing"
    say(f"building platon and its tests with {features}")
    command = ["cargo", "test", "--release", "--no-run", "--features", features,
               "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        raise RaceError("the build failed; --platon and --tests name what was built elsewhere")
    programs = executables(built.stdout)
    o.platon, o.tests = o.platon or programs["platon"], o.tests or programs["it"]


def executables(messages):
    """The program and the integration tests that cargo has made, by the names of their targets."""
    lines = (json.loads(line) for line in messages.splitlines() if line.startswith("{"))
    made = (line for line in lines if line.get("executable"))
    return {line["target"]["name"]: pathlib.Path(line["executable"]) for line in made
            if line["target"]["kind"] == (["test"] if line["profile"]["test"] else ["bin"])}


def fenced(text):
    return ["```", *text.strip().splitlines(), "```"]


# Parts: each returns its lines of the report

def doctor(o, _):
    lines = fenced(ran(o, "doctor", [o.platon, "doctor"], codes=(0, 1)).stdout)
    found = json.loads(ran(o, "doctor-json", [o.platon, "doctor", "--json"], codes=(0, 1)).stdout)
    backend = next(b for b in found["backends"] if b["name"] == o.backend)
    if not backend["works"]:
        raise Failed(f"{backend['problem']} ({backend['remedy']})", lines)
    return lines


def counted_tests(text):
    """How many tests passed and failed, and the names of the latter."""
    total = re.search(r"^test result: \w+\. (\d+) passed; (\d+) failed", text, re.MULTILINE)
    names = re.findall(r"^    (\S+)$", text.rpartition("\nfailures:\n")[2], re.MULTILINE)
    passed, failed = map(int, total.groups()) if total else (0, 0)
    return passed, failed, names if failed else []


def tests(o, _):
    ended = ran(o, "tests", [o.tests, f"::{o.backend}::", "--test-threads", "1"], codes=(0, TEST_FAILED))
    passed, failed, names = counted_tests(ended.stdout)
    skipped = sorted({line for line in ended.stderr.splitlines() if line.startswith("skipped ")})
    lines = [f"{passed} passed, {failed} failed, of those with `::{o.backend}::` in their name.", "",
             *(f"- failed: `{name}`" for name in names), *(f"- {line}" for line in skipped)]
    if failed or not passed:
        raise Failed(f"{failed} of {passed + failed} tests failed" if failed else "there are no such tests", lines)
    return lines


def demo(o, _):
    folder = WORK / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    ran(o, "demo", [o.platon, "train", "demo", "--backend", o.backend, "--no-tui", "--output-dir", folder])
    report = json.loads((folder / "report.json").read_text())
    return [f"{report['steps']} updates, {report['seconds_per_step']:.4f} s each; "
            f"{report['reached_ratio']:.1%} of the weights remain; dev scores {scores(report['dev'])}"]


def scores(dev):
    """The scores of a report, at whatever depth they stand."""
    return ", ".join(f"{name} {scores(value) if isinstance(value, dict) else f'{value:.2f}'}"
                     for name, value in dev.items())


def phase_steps(o):
    """Updates of each phase, and how many of its first do not count."""
    steps = -(-o.steps // 3)
    return steps, min(10, steps // 4)


def raced(precision):
    def part(o, seen):
        steps, discard = phase_steps(o)
        file = WORK / f"race-{precision}.json"
        file.unlink(missing_ok=True)
        ended = ran(o, f"race-{precision}", [
            sys.executable, HERE / "race.py", o.task, *([] if o.own_size else ["--base-size"]), "--backend", o.backend,
            "--precision", precision, "--platon", o.platon, "--python", o.python, "--checkpoint", o.checkpoint,
            "--data-dir", o.data_dir, "--batch-size", o.batch_size, "--steps", steps, "--discard", discard,
            "--rounds", 1, "--json", file])
        seen[precision] = json.loads(file.read_text())
        return ended.stdout.strip().removeprefix("### ").splitlines()
    return part


def threshold_seconds(pruning, steps, discard, delta_t):
    """Seconds that an update takes more where it finds a new threshold and masks by it: medians of the phase
    in which the ratio falls. None where that has no such update, or no other."""
    falling = range(steps + discard + 1, 2 * steps + 1)
    masking, other = ([pruning[step - 1] for step in falling if (step % delta_t == 0) == masks]
                      for masks in (True, False))
    return statistics.median(masking) - statistics.median(other) if masking and other else None


def threshold(o, seen):
    data = seen.get("f32")
    if not data:
        raise LeftOut("it needs the figures of part f32")
    found = {name: threshold_seconds(runs[0]["pruning_seconds"], *phase_steps(o), data["settings"]["delta_t"])
             for name, runs in data["runs"].items()}
    device = "cuda" if o.backend == "cuda" else "cpu"
    alone = ran(o, "kthvalue", [o.python, HERE / "kthvalue.py", device]).stdout.strip().splitlines()
    lines = [row("", "ms"), "|---|---|"]
    lines += [row(f"{name}: a new threshold and its masks, per update",
                  "no such update in so few steps" if seconds is None else f"{1e3 * seconds:.1f}")
              for name, seconds in found.items()]
    for n, seconds in re.findall(r"kthvalue of ([\d,]+) scores: ([\d.]+) s", "\n".join(alone)):
        lines.append(row(f"torch.kthvalue alone, {n} scores on {device}", f"{1e3 * float(seconds):.1f}"))
    return lines + ["", "platon's figure has in it what the GPU still had to do of the update before."]


def tenths(samples):
    """The first sample and those at the ends of the ten parts of the time."""
    return [samples[round(n * (len(samples) - 1) / 10)] for n in range(11)] if samples else []


def memory(_, seen):
    taken = {(name, precision): data["runs"][name][0]["gpu_bytes"] for precision, data in seen.items()
             for name in race.PROGRAMS}
    if not taken:
        raise LeftOut("it needs the figures of part f32 or bf16")
    if not any(max(samples, default=0) for samples in taken.values()):
        raise LeftOut("nvidia-smi shows no memory of a GPU that was taken")
    lines = ["MiB on the GPU at each tenth of a program's time, loading and evaluation among it.", "",
             row("", *(f"{10 * n} %" for n in range(11))), "|---|" + "---|" * 11]
    return lines + [row(f"{name}, {precision}", *(f"{bytes_ / 2**20:.0f}" for bytes_ in tenths(samples)))
                    for (name, precision), samples in taken.items()]


def reads(o, _):
    if o.backend == "flex":
        raise LeftOut("the CPU has no queue: there is nothing to read back")
    ended = ran(o, "reads", [o.tests, f"reads::{o.backend}::"], codes=(0, TEST_FAILED))
    passed, failed, _names = counted_tests(ended.stdout)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("reads on ")]
    if failed:
        panics = [line for line in ended.stdout.splitlines() if line.startswith(("update ", "assertion "))]
        raise Failed("more is read back than should be: " + " | ".join(panics[:2]), lines)
    if not passed:
        raise LeftOut("the tests were built without the feature `tracing`")
    return [*lines, "", "Those are for a threshold, and once for a count. burn-train's metrics read two more of every update, the norm of its "
            "gradients and its loss, on a thread of their own."]


PARTS = {"doctor": doctor, "tests": tests, "demo": demo, "f32": raced("f32"), "bf16": raced("bf16"),
         "threshold": threshold, "memory": memory, "reads": reads}


# The report

def tried(part, o, seen, is_last=False):
    """The part's result, whatever happens in it. It may take half of the time that is left, so that one which
    never ends leaves some for the others."""
    begin = time.monotonic()
    o.until = begin + (o.deadline - begin) * (1 if is_last else 0.5)
    verdict, why, lines = "passed", "", []
    try:
        lines = PARTS[part](o, seen)
    except LeftOut as e:
        verdict, why = "left out", str(e)
    except Failed as e:
        verdict, why, lines = "failed", str(e), e.lines
    except (RaceError, OSError, KeyError, ValueError, IndexError, TypeError, StopIteration) as e:
        verdict, why = "failed", f"its output does not serve: {e!r}"
    return Result(part, verdict, why, lines, time.monotonic() - begin)


def report(results, head):
    lines = ["## GPU check", "", *(f"- {name}: {value}" for name, value in head.items()), "",
             row("part", "result", "seconds", ""), "|---|---|---|---|"]
    lines += [row(r.part, r.verdict, f"{r.seconds:.0f}", r.why.replace("|", "/")) for r in results]
    for r in results:
        lines += ["", f"### {r.part}: {r.verdict}", "", *([r.why, ""] if r.why else []), *r.lines]
    return "\n".join(lines)


def check(o):
    WORK.mkdir(parents=True, exist_ok=True)
    built(o)
    if {"f32", "bf16", "threshold"} & set(o.parts):
        o.python = o.python or torch_python()
    gpu = output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    head = {"GPU": gpu, "platon": f"{output(str(o.platon), '--version')}, backend {o.backend}",
            "commit": output("git", "describe", "--always", "--dirty", "--exclude", "*")}
    seen, results = {}, []
    parts = [name for name in PARTS if name in o.parts]
    try:
        for part in parts:
            say(f"{part} ...")
            results.append(tried(part, o, seen, part == parts[-1]))
            say(f"{part}: {results[-1].verdict} in {results[-1].seconds:.0f} s {results[-1].why}".rstrip())
    finally:  # whoever stops it gets what there is
        print(report(results, head), flush=True)
    if failed := [r.part for r in results if r.verdict == "failed"]:
        raise RaceError(f"{len(failed)} of {len(results)} parts failed: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(exit_status(check, options()))
