"""Loads `platon serve` with requests and compares it with itself, one text per batch, and with FastAPI
over transformers, on the same model and texts. Prints a Markdown table. Needs wrk, and for the
comparison a Python with the packages of requirements.txt, fastapi and uvicorn.

    python3 benches/serve_load.py checkpoints/runs/stsb-platon-0.1 --pairs pairs.tsv --python VENV/bin/python
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

import race_common as common
from race_common import RaceError, row, say

# Each of wrk's threads begins elsewhere in the texts, and says at the end what it measured.
SCRIPT = """
local bodies, threads = {}, 0
for line in io.lines(%s) do bodies[#bodies + 1] = line end
function setup(thread) thread:set("first", threads * 977); threads = threads + 1 end
function init() n = first or 0 end
function request()
  n = n + 1
  return wrk.format("POST", nil, nil, bodies[n %% #bodies + 1])
end
wrk.headers["content-type"] = "application/json"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"seconds": %%f, "requests": %%d, "p50": %%f, "p99": %%f, "errors": %%d}\\n',
    summary.duration / 1e6, summary.requests, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Server:
    """A server that runs; its answers come from `url`."""

    def __init__(self, name, command, address=None, **variables):
        self.name, environment = name, {**os.environ, **variables}
        self.child = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, text=True,
                                      stderr=subprocess.DEVNULL)
        if address is None:
            line = self.child.stdout.readline().strip()
            if not line.startswith("listening on "):
                common.end(self.child)
                raise RaceError(f"{name} did not start: run {' '.join(map(str, command))}")
            address = line.removeprefix("listening on ")
        self.url = address
        began = time.monotonic()
        while not self.answers():
            if self.child.poll() is not None or time.monotonic() - began > 120:
                common.end(self.child)
                raise RaceError(f"{name} did not start: run {' '.join(map(str, command))}")
            time.sleep(0.2)

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except OSError:
            return False

    def ask(self, body):
        request = urllib.request.Request(f"{self.url}/predict", body.encode(), {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=60))[0]

    def memory(self):
        """Of the process, in MiB."""
        lines = pathlib.Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        common.end(self.child)


def loaded(server, connections, seconds, script):
    """Requests per second and latencies in milliseconds, of wrk."""
    command = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "--latency",
               "-s", str(script), f"{server.url}/predict"]
    try:
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except OSError as e:
        raise RaceError(f"wrk cannot be started: {e.strerror}; install it (`apt-get install wrk`)") from e
    found = json.loads(found.splitlines()[-1])
    if found["errors"] or not found["requests"]:
        raise RaceError(f"{server.name} at {connections} connections: {found['errors']} errors")
    return found


def pairs(path):
    """The bodies of requests: a text, or two with a tab between them, a line."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not lines or any(len(line) > 2 for line in lines):
        raise RaceError(f"{path}: expected lines of a text, or of two with a tab between them")
    random.Random(1).shuffle(lines)  # files are often sorted by what decides the length
    return [json.dumps({"inputs": dict(zip(("text", "text_pair"), line))}) for line in lines]


def agree(server, bodies, expected):
    """The scores of the first texts, which are those of the other servers."""
    found = [{one["label"]: one["score"] for one in server.ask(body)} for body in bodies]
    for body, mine, other in zip(bodies, found, expected or found):
        if mine.keys() != other.keys() or any(abs(mine[name] - other[name]) > 1e-3 for name in mine):
            raise RaceError(f"{server.name} answers {mine}, others {other}, to {body}")
    return found


def race(o):
    program = o.program or common.built_platon()
    model = o.model / "model" if (o.model / "model/config.json").is_file() else o.model
    bodies = pairs(o.pairs)
    serve = [program, "serve", o.model, "--port", "0", *o.flags.split()]
    servers = [("platon", lambda name: Server(name, serve)),
               ("platon, each text its own batch", lambda name: Server(name, [*serve, "--max-batch-tokens", "1"])),
               ("platon, dense", lambda name: Server(name, [*serve, "--engine", "dense"]))]
    if o.python:
        fastapi = [o.python, "-m", "uvicorn", "--app-dir", common.HERE, "serve_fastapi:app", "--port", o.port,
                   "--log-level", "error", "--no-access-log"]
        servers.append(("FastAPI, uvicorn, transformers", lambda name: Server(
            name, fastapi, f"http://127.0.0.1:{o.port}", MODEL=str(model))))
    results, expected = [], None
    with tempfile.TemporaryDirectory() as folder:
        script, lines = pathlib.Path(folder, "load.lua"), pathlib.Path(folder, "bodies")
        lines.write_text("\n".join(bodies) + "\n")
        script.write_text(SCRIPT % json.dumps(str(lines)))
        for name, start in servers:
            say(f"loading {name}")
            with start(name) as server:
                expected = agree(server, bodies[:20], expected)
                loaded(server, 4, 2, script)  # so that nothing is done for the first time
                before = server.memory()
                for connections in o.connections:
                    results.append((name, connections, loaded(server, connections, o.seconds, script)))
                results[-1][2]["memory"] = (before, server.memory())
    facts = common.machine(program, {"torch": "", "transformers": "", "python": "", "threads": ""})
    for name in ("date", "machine", "platon"):
        print(f"{name}: {facts[name]}")
    print(f"\n{o.model.name}, {len(bodies)} different texts, {o.seconds} s each\n")
    print(row("server", "connections", "requests/s", "p50, ms", "p99, ms", "memory before and after, MiB"))
    print(row("---", "---:", "---:", "---:", "---:", "---"))
    for name, connections, found in results:
        memory = "{:.0f}, {:.0f}".format(*found["memory"]) if "memory" in found else ""
        print(row(name, str(connections), f"{found['requests'] / found['seconds']:.1f}", f"{found['p50']:.1f}",
                  f"{found['p99']:.1f}", memory))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path, help="run folder or Hugging Face folder")
    p.add_argument("--pairs", type=pathlib.Path, required=True,
                   help="file with a text a line, or two with a tab between them")
    p.add_argument("--python", type=pathlib.Path, help="with fastapi, uvicorn, torch and transformers; without, platon alone")
    p.add_argument("--program", type=pathlib.Path, help="platon; without, it is built")
    p.add_argument("--flags", default="", help="further flags of serve, in one text")
    p.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
    p.add_argument("--seconds", type=int, default=10)
    p.add_argument("--port", type=int, default=8765, help="of FastAPI")
    o = p.parse_args()
    common.absolute(o, "model", "pairs", "python", "program")
    return common.exit_status(race, o)


if __name__ == "__main__":
    sys.exit(main())
