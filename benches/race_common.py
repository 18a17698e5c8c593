"""What the races have in common: programs run and watched, what they need, and parts of a report."""
import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "race"
STEADY = 1.15  # slowest round over fastest; more is remarked on in the report


class RaceError(Exception):
    """What ends the race, in one line."""


class Finished(NamedTuple):
    stdout: str
    peak_rss_bytes: int
    seconds: float  # of the whole process
    gpu_bytes: tuple  # of all processes, less what was taken before, five times a second; () without a GPU


def say(text):
    print(text, file=sys.stderr, flush=True)


class GpuMemory(threading.Thread):
    """Watches how much of the first GPU's memory is taken, five times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.taken = [self.now()]
        self.ended = threading.Event()
        self.start()

    @staticmethod
    def now():
        taken = output("nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0")
        return int(taken) * 2**20 if taken.isdigit() else 0

    def run(self):
        while not self.ended.wait(0.2):
            self.taken.append(self.now())

    def end(self):
        """All that was taken, less what was taken before."""
        self.ended.set()
        self.join()
        return tuple(taken - self.taken[0] for taken in self.taken)


def run(command, log, gpu=False):
    """Runs `command` from the repository's folder, its output in `log`.stdout and `log`.stderr. The
    peak is the kernel's, of the process and those it waited for."""
    memory = GpuMemory() if gpu else None
    out, err = (log.with_name(f"{log.name}.{stream}") for stream in ("stdout", "stderr"))
    begin = time.perf_counter()
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        try:
            child = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL,
                                     stdout=stdout, stderr=stderr)
        except OSError as e:
            raise RaceError(f"{command[0]} cannot be started: {e.strerror}") from e
        try:
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - begin
        except BaseException:
            end(child)
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = err.read_text(errors="replace").strip().splitlines()[-5:]
        raise RaceError(f"{log.name} failed ({child.returncode}): " + " | ".join(tail))
    gpu_bytes = memory.end() if memory else ()
    return Finished(out.read_text(), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
                    seconds, gpu_bytes)


def end(child):
    """Ends a running child, gently for the first ten seconds."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        pass  # it may itself wait for a child that saves what it has
    finally:
        child.kill()
        child.wait()


def output(*command):
    """What a short command prints, or "unknown" where it cannot run."""
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def parsed(text):
    return [json.loads(line) for line in text.splitlines()]


def torch_python():
    """The interpreter of the race's own environment, which is made when requirements.txt is new."""
    requirements, venv = HERE / "requirements.txt", TARGET / "venv"
    stamp, python = venv / "stamp", venv / "bin/python"
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != key:
        say(f"installing PyTorch into {venv}, once")
        shutil.rmtree(venv, ignore_errors=True)
        run([sys.executable, "-m", "venv", venv], TARGET / "venv-create")
        run([python, "-m", "pip", "install", "-r", requirements], TARGET / "venv-install")
        stamp.write_text(key)
    return python


def built_platon():
    say("building platon")
    if subprocess.run(["cargo", "build", "--release"], cwd=ROOT, stdout=sys.stderr).returncode:
        raise RaceError("cargo build --release failed")
    return TARGET.parent / "release/platon"


def machine(binary, python_versions, gpu=False):
    """Names and values: what the figures depend on, apart from the settings."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpu = platform.processor() or platform.machine()
    if (info := pathlib.Path("/proc/cpuinfo")).is_file():
        cpu = next((line.split(": ")[1] for line in info.read_text().splitlines() if "model name" in line), cpu)
    commit = output("git", "describe", "--always", "--dirty", "--exclude", "*")
    driver = output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader") if gpu else None
    of_python = "torch {torch}, transformers {transformers}, Python {python}, {threads} threads"
    return {"date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
            "machine": f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}",
            "platon": f"{output(str(binary), '--version')}, commit {commit}, {output('rustc', '--version')}",
            "PyTorch": of_python.format(**python_versions),
            **({"GPU": driver} if driver else {})}


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def unsteady(name, rounds):
    """A remark where a program's rounds differ so much that something else must have run."""
    spread = max(rounds) / min(rounds)
    return {f"unsteady {name}": f"the rounds differ by a factor of {spread:.2f}; repeat on an idle machine"} \
        if spread > STEADY else {}


def started(start, program, *rest):
    """What `start` returns; output of `program` that is not as it should be ends the race."""
    try:
        return start(*rest)
    except (KeyError, ValueError, IndexError, TypeError) as e:
        raise RaceError(f"the output of {program} does not serve this race: {e!r}") from e


def absolute(o, *names):
    """Makes these paths absolute, but does not resolve them: a virtual environment's python is a link."""
    for name in names:
        if path := getattr(o, name):
            setattr(o, name, pathlib.Path(os.path.abspath(path)))


def exit_status(race, o):
    """Runs `race`, and says in one line what ended it early."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        race(o)
    except (RaceError, OSError) as e:
        say(f"error: {e}")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 0
